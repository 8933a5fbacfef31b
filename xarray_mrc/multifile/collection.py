"""`open_collection`: some hundreds of files as a tree of datasets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xarray_mrc.errors import MrcError, MrcWarning, warn
from xarray_mrc.multifile.heads import reason
from xarray_mrc.multifile.paths import Paths, find_files

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
        Files, patterns and folders, as for `xarray_mrc.index`.
    chunks : mapping, int, "auto" or None
        Chunks of dask, as for `xarray_mrc.open_mrc`.
    **options
        Options of `xarray_mrc.open_mrc`, for all files.

    Returns
    -------
    DataTree
        A node is named as its file, with the suffix, so that ``a.mrc`` stands beside ``a.rec``, and
        lies in nodes that are named as the folders between the common folder of all files and it.

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
    files = find_files(paths)
    if len(files) > MAX_FILES:
        raise ValueError(
            f"{len(files)} files were found, expected {MAX_FILES} at most: "
            f"xarray_mrc.index(paths) reads the headers of thousands as one table, whose rows can "
            f"be selected and then opened"
        )
    if not files:
        raise ValueError("paths is an empty list, expected files, patterns or folders")
    absolute = [os.path.abspath(path) for path in files]
    top = os.path.commonpath([os.path.dirname(path) for path in absolute])
    nodes: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    for path in absolute:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = xr.open_dataset(path, engine="mrc", chunks=chunks, **options)
            except (MrcError, OSError) as error:
                notes.append(f"{os.path.relpath(path, top)} was left out: {reason(error, path)}")
                continue
        notes += [
            str(each.message).removeprefix(f"{top}{os.sep}")
            for each in caught
            if issubclass(each.category, MrcWarning)
        ]
        nodes[os.path.relpath(path, top).replace(os.sep, "/")] = found
    if not nodes:
        raise MrcError(f"{top}: no file can be read; the first: {notes[0]}")
    if notes:
        more = f"; and {len(notes) - MAX_NAMED} others" if len(notes) > MAX_NAMED else ""
        warn(f"{top}: {'; '.join(notes[:MAX_NAMED])}{more}")
    return xr.DataTree.from_dict(nodes)
