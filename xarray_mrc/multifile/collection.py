"""`open_collection`: some hundreds of files as a tree of datasets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import xarray as xr

from xarray_mrc.errors import MrcError, MrcWarning, warn
from xarray_mrc.multifile.heads import reason
from xarray_mrc.multifile.indexing import MAX_THREADS
from xarray_mrc.multifile.paths import Paths, find_files
from xarray_mrc.storage import Head, open_head
from xarray_mrc.storage.remote.urls import is_remote, public_url

__all__ = ["open_collection"]

# Opening takes 2 to 3 ms a file, and a tree of more nodes than that is no longer looked at.
MAX_FILES = 1000
MAX_NAMED = 5


def open_collection(
    paths: Paths, chunks: Mapping[str, Any] | int | str | None = {}, **options: Any
) -> xr.DataTree:
    """Open a folder of files as a tree, one node a file; no data are read.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        Files, patterns, folders and URLs, as for `xarray_mrc.index`.
    chunks : mapping, int, "auto" or None
        Chunks of dask, as for `xarray_mrc.open_mrc`.
    **options
        Options of `xarray_mrc.open_mrc`, for all files; those of storages for URLs only.

    Returns
    -------
    DataTree
        A node is named as its file, with the suffix, so that ``a.mrc`` stands beside ``a.rec``, and
        lies in nodes that are named as the folders between the common folder of all files and it.
        In a list of several hosts, or of URLs and paths, the first nodes are the hosts.

    Raises
    ------
    FileNotFoundError
        A pattern or a folder has no files.
    MrcError
        No file can be read.
    ValueError
        There are none, or more than 1000. `xarray_mrc.index` reads the headers of thousands.

    Warns
    -----
    MrcWarning
        Once, if files were left out because they cannot be read, or are odd.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray_mrc
    >>> image = xr.DataArray(np.zeros((4, 4), "f4"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.mrc", "b.mrc"):
    ...         xarray_mrc.to_mrc(image, f"{folder}/{name}", voxel_size=1.35)
    ...     tree = open_collection(folder)
    >>> list(tree), tree["a.mrc"].data.sizes
    (['a.mrc', 'b.mrc'], Frozen({'y': 4, 'x': 4}))
    """
    storage = {name: options.pop(name, None) for name in ("storage_options", "local_copy")}
    files = find_files(paths, storage["storage_options"])
    if len(files) > MAX_FILES:
        raise ValueError(
            f"{len(files)} files were found, expected {MAX_FILES} at most: "
            f"xarray_mrc.index(paths) reads the headers of thousands as one table, whose rows can "
            f"be selected and then opened"
        )
    if not files:
        raise ValueError("paths is an empty list, expected files, patterns or folders")
    remote = open_remote([path for path in files if is_remote(path)], storage)
    places = {path: place_of(path) for path in files}
    top = os.path.commonpath([os.path.dirname(place) for place in places.values()])
    title = top.lstrip(os.sep) if len(remote) == len(files) else top
    nodes: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    for path, place in places.items():
        name = os.path.relpath(place, top).replace(os.sep, "/")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found: Any = remote[path] if path in remote else os.path.abspath(path)
                if isinstance(found, Exception):
                    raise found
                nodes[name] = xr.open_dataset(found, engine="mrc", chunks=chunks, **options)
            except (MrcError, OSError) as error:
                notes.append(f"{name} was left out: {reason(error, public_url(path))}")
        notes += [
            str(each.message).removeprefix(f"{top}{os.sep}")
            for each in caught
            if issubclass(each.category, MrcWarning)
        ]
    if not nodes:
        raise MrcError(f"{title}: no file can be read; the first: {notes[0]}")
    if notes:
        more = f"; and {len(notes) - MAX_NAMED} others" if len(notes) > MAX_NAMED else ""
        warn(f"{title}: {'; '.join(notes[:MAX_NAMED])}{more}")
    return xr.DataTree.from_dict(nodes)


def open_remote(urls: Sequence[str], storage: Mapping[str, Any]) -> dict[str, Head | Exception]:
    """Open remote files, eight at a time; an error becomes the result for its file."""

    def open_one(url: str) -> Head | Exception:
        try:
            return open_head(url, **storage)
        except (MrcError, OSError) as error:
            return error

    if not urls:
        return {}
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        return dict(zip(urls, pool.map(open_one, urls), strict=True))


def place_of(path: str) -> str:
    """Return the place of a file in a tree of folders, in which hosts are folders, too."""
    if not is_remote(path):
        return os.path.abspath(path)
    return os.path.join(os.sep, *public_url(path).rpartition("://")[2].split("/"))
