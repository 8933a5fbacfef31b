"""A replacement for the package mrcfile: its functions, classes and modules, under the same names.

>>> from xarray_mrc import mrcfile
>>> with mrcfile.open("map.mrc") as mrc:  # doctest: +SKIP
...     print(mrc.data.shape, mrc.voxel_size)

``docs/mrcfile.md`` describes how to switch, and the intended differences.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xarray_mrc.mrcfile import (
    bzip2mrcfile,
    constants,
    dtypes,
    future_mrcfile,
    gzipmrcfile,
    load_functions,
    mrcfile,
    mrcinterpreter,
    mrcmemmap,
    mrcobject,
    utils,
    version,
)
from xarray_mrc.mrcfile.alias import install_alias
from xarray_mrc.mrcfile.load_functions import (
    mmap,
    new,
    new_mmap,
    open,
    open_async,
    read,
    write,
)
from xarray_mrc.mrcfile.version import __version__

if TYPE_CHECKING:
    from xarray_mrc.mrcfile import command_line, validator
    from xarray_mrc.mrcfile.validator import validate

__all__ = [
    "__version__",
    "bzip2mrcfile",
    "command_line",
    "constants",
    "dtypes",
    "future_mrcfile",
    "gzipmrcfile",
    "install_alias",
    "load_functions",
    "mmap",
    "mrcfile",
    "mrcinterpreter",
    "mrcmemmap",
    "mrcobject",
    "new",
    "new_mmap",
    "open",
    "open_async",
    "read",
    "utils",
    "validate",
    "validator",
    "version",
    "write",
]


def __getattr__(name: str) -> Any:
    # Not imported above: `python -m` warns when a package has imported the module that it runs.
    if name in ("command_line", "validator"):
        return import_module(f"{__name__}.{name}")
    if name == "validate":
        return import_module(f"{__name__}.validator").validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
