"""MRC/CCP4 files of electron microscopy in xarray: lazy, labelled, at any size.

Names are loaded when they are first used, so that the drop-in starts without xarray.

>>> import xarray as xr
>>> ds = xr.open_dataset("tomo.mrc", engine="mrc", chunks={})  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xarray_mrc.registration import register_accessor

if TYPE_CHECKING:
    from xarray_mrc import mrcfile as mrcfile
    from xarray_mrc import virtual as virtual
    from xarray_mrc.checking.array_statistics import statistics
    from xarray_mrc.checking.report import Report
    from xarray_mrc.checking.validation import validate
    from xarray_mrc.codec.header import Header
    from xarray_mrc.codec.statistics import Statistics
    from xarray_mrc.conversion.converter import convert
    from xarray_mrc.conversion.ome_zarr import to_ome_zarr
    from xarray_mrc.errors import (
        MrcChangedError,
        MrcError,
        MrcFormatError,
        MrcHeaderError,
        MrcModeError,
        MrcTruncatedError,
        MrcWarning,
    )
    from xarray_mrc.installation import show_versions
    from xarray_mrc.multifile.collection import open_collection
    from xarray_mrc.multifile.indexing import index
    from xarray_mrc.multifile.stack_writing import write_stack
    from xarray_mrc.multifile.stacks import open_stack
    from xarray_mrc.opening import open_mrc
    from xarray_mrc.pictures.contact import contact_sheet
    from xarray_mrc.reading.header_reading import read_header
    from xarray_mrc.writing.growing import append
    from xarray_mrc.writing.header_edit import HeaderDifference, edit_header
    from xarray_mrc.writing.writer import to_mrc

    __version__: str

__all__ = [
    "Header",
    "HeaderDifference",
    "MrcChangedError",
    "MrcError",
    "MrcFormatError",
    "MrcHeaderError",
    "MrcModeError",
    "MrcTruncatedError",
    "MrcWarning",
    "Report",
    "Statistics",
    "__version__",
    "append",
    "contact_sheet",
    "convert",
    "edit_header",
    "index",
    "open_collection",
    "open_mrc",
    "open_stack",
    "read_header",
    "show_versions",
    "statistics",
    "to_mrc",
    "to_ome_zarr",
    "validate",
    "write_stack",
]

if not TYPE_CHECKING:  # with it, type checkers would believe that any name exists
    # Modules of the public names; the imports above show the same to type checkers.
    MODULES = {
        "Header": "codec.header",
        "HeaderDifference": "writing.header_edit",
        "MrcChangedError": "errors",
        "MrcError": "errors",
        "MrcFormatError": "errors",
        "MrcHeaderError": "errors",
        "MrcModeError": "errors",
        "MrcTruncatedError": "errors",
        "MrcWarning": "errors",
        "Report": "checking.report",
        "Statistics": "codec.statistics",
        "append": "writing.growing",
        "contact_sheet": "pictures.contact",
        "convert": "conversion.converter",
        "edit_header": "writing.header_edit",
        "open_collection": "multifile.collection",
        "open_mrc": "opening",
        "open_stack": "multifile.stacks",
        "index": "multifile.indexing",
        "read_header": "reading.header_reading",
        "show_versions": "installation",
        "statistics": "checking.array_statistics",
        "to_mrc": "writing.writer",
        "to_ome_zarr": "conversion.ome_zarr",
        "validate": "checking.validation",
        "write_stack": "multifile.stack_writing",
    }
    SUBMODULES = ("mrcfile", "testing", "virtual")

    def __getattr__(name: str) -> Any:
        """Load a public name on its first use."""
        if name in SUBMODULES:
            return import_module(f"{__name__}.{name}")
        if name == "__version__":
            value = find_version()
        elif name in MODULES:
            value = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def find_version() -> str:
        """Return the version of the installed package."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("xarray-mrc")
        except PackageNotFoundError:  # used from a source tree that was not installed
            return "unknown"

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *SUBMODULES})


register_accessor()
