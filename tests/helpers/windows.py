"""Windows' rule that a file in use is neither renamed, replaced nor removed, simulated on Linux."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from xarray_mrc.storage import local, local_sink, maps

__all__ = ["needs_simulation", "windows_rules"]

needs_simulation = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def used_paths() -> set[str]:
    """Return the current paths of the files that this process has open or has mapped."""
    opened = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            opened.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the descriptor that lists the directory
            continue
    lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    mapped = [line.split(maxsplit=5)[5] for line in lines if " /" in line]
    return {path for path in (*opened, *mapped) if os.path.isfile(path)}


def is_same(path: str, other: str) -> bool:
    """Return True if two paths name one file; another thread may have removed either."""
    try:
        return os.path.samefile(path, other)
    except FileNotFoundError:
        return False


def refuse_used(*paths: str) -> None:
    """Raise PermissionError if a path, or a file below it, is in use by this process."""
    for path in paths:
        target = os.path.realpath(path)
        for used in used_paths():
            if is_same(used, target) or used.startswith(target + os.sep):
                raise PermissionError(13, "the file is being used by this process", path)


@contextmanager
def windows_rules() -> Iterator[list[str]]:
    """Refuse to rename, replace or remove files in use, as Windows does.

    Yields
    ------
    list of str
        Names of the functions that were called and had nothing to refuse, in order. A test that
        expects a rename can see that there was one.
    """
    maps.cached_maps.clear()
    calls: list[str] = []

    def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*paths: Any, **options: Any) -> Any:
            directory = options.get("dir_fd")
            base = "" if directory is None else os.readlink(f"/proc/self/fd/{directory}")
            texts = [os.path.join(base, os.fsdecode(path)) for path in paths]
            refuse_used(*texts)
            if name == "rename" and os.path.lexists(texts[1]):
                raise FileExistsError(17, "Windows renames to no name that exists", texts[1])
            found = real(*paths, **options)
            calls.append(name)
            return found

        return call

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(local_sink, "RENAMES_OPEN_FILES", False))
        patches.enter_context(mock.patch.object(local, "may_cache_maps", return_value=False))
        for name in ("rename", "replace", "unlink", "remove"):
            patches.enter_context(mock.patch.object(os, name, guarded(name, getattr(os, name))))
        yield calls
