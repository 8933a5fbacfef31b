"""The files that a list, a pattern or a folder stands for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from xarray_mrc.codec.containers import has_mrc_suffix

__all__ = ["Paths", "find_files"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def find_files(paths: Paths) -> list[str]:
    """Find files.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        Files, patterns (``"data/**/*.mrc"``) and folders. A folder stands for all files in it and
        below whose names are those of MRC files, also compressed ones, hidden ones excepted.
        Symbolic links are followed. Patterns are those of `glob.glob`; ``**`` is any folders.

    Returns
    -------
    list of str
        Paths as they were given or found, each once, sorted. A path that is neither a folder nor a
        pattern is returned even if no such file exists.

    Raises
    ------
    FileNotFoundError
        A pattern or a folder has no files.

    Examples
    --------
    >>> find_files(["b.mrc", "a.mrc", "b.mrc"])
    ['a.mrc', 'b.mrc']
    """
    items = [paths] if isinstance(paths, str | os.PathLike) else paths
    found: set[str] = set()
    for item in items:
        path = os.path.expanduser(os.fsdecode(item))
        if os.path.isdir(path):
            matches = list(walk(path, frozenset()))
            what = "no file below this folder has a name of an MRC file"
        elif glob.has_magic(path) and not os.path.lexists(path):
            matches = [p for p in glob.iglob(path, recursive=True) if not os.path.isdir(p)]
            what = "no file matches this pattern"
        else:
            matches = [path]
        if not matches:
            raise FileNotFoundError(f"{path}: {what}; patterns are those of Python's glob")
        found.update(matches)
    return sorted(found)


def walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the MRC files of a folder and of those below it; `above` are the folders around it.

    glob would ask the system about each file whether it is a folder.
    """
    status = os.stat(folder)
    identity = status.st_dev, status.st_ino
    if identity in above:  # a symbolic link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk(entry.path, above | {identity})
            elif has_mrc_suffix(entry.name):
                yield entry.path
