"""`install_alias`: make the drop-in importable as ``mrcfile``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

__all__ = ["install_alias"]

ALIAS = "mrcfile"
PACKAGE = "xarray_mrc.mrcfile"
FOLDER = os.path.dirname(os.path.abspath(__file__))


def install_alias() -> None:
    """Make ``import mrcfile`` and its submodules give this package, for the whole process.

    Modules that were imported from mrcfile before keep it. Modules of this package get the name
    ``mrcfile`` (``__name__`` and ``__spec__``), so that warning filters by module,
    `importlib.reload`, pickles of mrcfile and ``python -m mrcfile.validator`` find them. It may be
    called again.

    Examples
    --------
    >>> from xarray_mrc import mrcfile
    >>> mrcfile.install_alias()  # doctest: +SKIP
    >>> import mrcfile  # doctest: +SKIP
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    for name in [name for name in sys.modules if name.split(".")[0] == ALIAS]:
        del sys.modules[name]
    sys.meta_path.insert(0, AliasFinder())
    for name in [name for name in sys.modules if is_within(name, PACKAGE)]:
        import_module(ALIAS + name.removeprefix(PACKAGE))


def is_within(name: str, package: str) -> bool:
    """Return True if a module is a package or one of its submodules."""
    return name == package or name.startswith(f"{package}.")


class AliasFinder(MetaPathFinder):
    """Finds the modules of this package under the name mrcfile."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of a module of this package; None for all other modules."""
        if not is_within(fullname, ALIAS):
            return None
        is_package = fullname == ALIAS
        file = os.path.join(FOLDER, f"{'__init__' if is_package else fullname.split('.')[1]}.py")
        if fullname.count(".") > 1 or not os.path.isfile(file):
            return None
        return spec_from_file_location(
            fullname,
            file,
            loader=AliasLoader(fullname, file),
            submodule_search_locations=[FOLDER] if is_package else None,
        )


class AliasLoader(SourceFileLoader):
    """Loader that names a module of this package as it was imported."""

    is_imported = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, imported under its own name."""
        self.is_imported = True
        return import_module(PACKAGE + spec.name.removeprefix(ALIAS))

    def exec_module(self, module: ModuleType) -> None:
        """Set the names of a module; run its code only if it is reloaded."""
        if not self.is_imported:
            super().exec_module(module)
        module.__name__, module.__package__, module.__loader__ = self.name, ALIAS, self
