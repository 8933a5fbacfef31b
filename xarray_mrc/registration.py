"""Registers ``ds.mrc`` and ``da.mrc`` as soon as xarray is loaded, without loading it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["register_accessor"]

LOCK = threading.Lock()


def register_accessor() -> None:
    """Register the accessor if xarray is loaded already, else once it will be."""
    if not register():
        with LOCK:
            if FINDER not in sys.meta_path:
                sys.meta_path.insert(0, FINDER)


def register() -> bool:
    """Register the accessor, and stop waiting for xarray; return False if it is not loaded."""
    xarray: Any = sys.modules.get("xarray")
    # The names that are used here may be missing while xarray is being loaded. They are not
    # imported: that could wait for a thread which loads xarray and waits for this one.
    if not hasattr(xarray, "register_dataset_accessor"):
        return False
    with LOCK:
        if FINDER in sys.meta_path:  # before the next import, which would ask it
            sys.meta_path.remove(FINDER)
    from xarray_mrc.accessor import MrcAccessor

    with LOCK:
        if getattr(xarray.Dataset, "mrc", None) is not MrcAccessor:
            xarray.register_dataset_accessor("mrc")(MrcAccessor)
            xarray.register_dataarray_accessor("mrc")(MrcAccessor)
    return True


class XarrayFinder:
    """Waits on `sys.meta_path` until xarray is loaded; finds no module of its own."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the accessor be registered after xarray was executed."""
        if name != "xarray":
            register()  # if xarray was being loaded when this finder was put there
            return None
        finders = list(sys.meta_path)
        after = finders.index(self) + 1 if self in finders else len(finders)
        for finder in finders[after:]:
            spec: ModuleSpec | None = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = RegisteringLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class RegisteringLoader:
    """Loader of xarray that registers the accessor at the end, and puts itself out of the way."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute xarray, then register the accessor."""
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        register()


FINDER: Any = XarrayFinder()
