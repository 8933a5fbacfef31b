"""The files that a list, a pattern or a folder stands for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xarray_mrc.codec.containers import MRC_ENDINGS, has_mrc_suffix
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import HTTP, is_remote, public_url

__all__ = ["Paths", "as_items", "find_files"]

# The name of an MRC file that is no pattern, URL or place in a home directory.
PLAIN_FILE = re.compile(rf"[^*?\[:~]+(?:{'|'.join(map(re.escape, MRC_ENDINGS))})")
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def find_files(
    paths: Paths,
    storage_options: Mapping[str, Any] | None = None,
    *,
    trust_names: bool = False,
) -> list[str]:
    """Find files.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        Files, patterns (``"data/**/*.mrc"``) and folders. A folder stands for all files in it and
        below whose names are those of MRC files, also compressed ones, hidden ones excepted.
        Symbolic links are followed. Patterns are those of `glob.glob`; ``**`` is any folders. URLs
        of HTTP are files.
    storage_options : mapping, optional
        How the storage of other URLs is reached, to list them.
    trust_names : bool
        Whether a path with the suffix of an MRC file is taken for a file, without asking the system
        whether it is a folder. For thousands of paths that takes as long as reading a header.

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
    found: set[str] = set()
    for item in as_items(paths):
        if trust_names and isinstance(item, str) and PLAIN_FILE.fullmatch(item):
            found.add(item)
            continue
        if is_remote(item):
            found.update(find_remote(str(item), storage_options))
            continue
        path = os.path.expanduser(os.fsdecode(item))
        if os.path.isdir(path):
            matches = list(walk(path, frozenset()))
            what = "no file below this folder has a name of an MRC file"
        elif glob.has_magic(path) and not os.path.lexists(path):
            matches = [p for p in glob.iglob(path, recursive=True) if not os.path.isdir(p)]
            what = "no file matches this pattern; patterns are those of Python's glob"
        else:
            matches = [path]
        if not matches:
            raise FileNotFoundError(f"{path}: {what}")
        found.update(matches)
    return sorted(found)


def find_remote(url: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    """Return the files that a URL stands for: itself, or what a storage lists for it."""
    if url.lower().startswith(HTTP):
        return [url]
    from xarray_mrc.storage.remote.filesystem import file_system
    from xarray_mrc.storage.remote.upload import refuse

    fs, path = file_system(url, StorageOptions(storage_options))
    try:
        if glob.has_magic(path):
            matches = fs.glob(path)
        elif fs.isdir(path):
            matches = [name for name in fs.find(path) if has_mrc_suffix(name)]
        else:
            return [url]
    except Exception as error:
        refuse(public_url(url), error)
    if not matches:
        raise FileNotFoundError(f"{public_url(url)}: there is no MRC file")
    return [fs.unstrip_protocol(name) for name in matches]


def as_items(paths: Paths) -> Iterator[str | os.PathLike[str]]:
    """Return an iterator over one path, or over several of them.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        The paths.

    Returns
    -------
    iterator

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        return iter([paths])
    try:
        return iter(paths)
    except TypeError:
        raise TypeError(
            f"{paths!r} was passed, expected a path, or a list of several of them"
        ) from None


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
