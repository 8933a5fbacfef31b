"""`index`: the headers of many files as one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xarray_mrc.multifile.header_table import Column, decode_heads
from xarray_mrc.multifile.heads import NOT_A_FILE, FileHead, read_heads, read_remote_head
from xarray_mrc.multifile.paths import Paths, find_files
from xarray_mrc.storage.remote.urls import is_remote

__all__ = ["index", "read_table"]

T = TypeVar("T")

# Requests at a time to one host, which the storage limits too.
MAX_THREADS = 8
NOT_A_TIME = np.iinfo(np.int64).min


def index(
    paths: Paths,
    *,
    progress: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read the headers of many files as a table; their data are not read.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        Files, patterns (``"data/**/*.mrcs"``) and folders. A folder stands for all MRC files in it
        and below it, compressed ones too. URLs are files; in storages that can list, as S3, they
        may be patterns and folders, too.
    progress : bool
        Whether to show a progress bar on the standard error stream.
    storage_options : mapping, optional
        How the storage of URLs is reached, as in `xarray_mrc.open_mrc`.

    Returns
    -------
    xarray.Dataset
        Dimension ``file``, sorted by path, with the paths as its coordinate. The variables are
        every field of the header under its name, those of several numbers as one variable a number
        (``cella_x``), and:

        - ``voxel_size_x``, ``voxel_size_y``, ``voxel_size_z``: float64, in angstrom; nan if unknown
        - ``kind``: "image", "image_stack", "volume" or "volume_stack"
        - ``dtype``: name of the data type as `open_mrc` would have it
        - ``byteorder``: "<" or ">"
        - ``size``: int64, bytes of the file as it is stored
        - ``mtime``: datetime64[ns], time of the last change (UTC)
        - ``problem``: why the file cannot be read, or what is damaged; "" if all is well

        A file that cannot be read is a row like others, with its problem.

    Raises
    ------
    FileNotFoundError
        A pattern or a folder has no files.

    Notes
    -----
    ``index(...).to_pandas()`` is a table of pandas. Local files are read one after the other:
    threads make it slower where the headers are in memory. Of remote files the first 64 KiB are
    read, eight at a time.

    Examples
    --------
    >>> import tempfile, xarray_mrc
    >>> image = xr.DataArray(np.zeros((2, 4, 4), "f4"), dims=("image", "y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.mrcs", "b.mrcs"):
    ...         xarray_mrc.to_mrc(image, f"{folder}/{name}", voxel_size=1.35)
    ...     table = index(folder)
    >>> table.nz.values.tolist(), table.voxel_size_x.values.tolist()
    ([2, 2], [1.35, 1.35])
    """
    files = find_files(paths, storage_options, trust_names=True)
    return read_table(files, progress=progress, storage_options=storage_options)


def read_table(
    files: Sequence[str],
    *,
    progress: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read the headers of files as the table of `index`.

    Parameters
    ----------
    files : sequence of str
        Paths and URLs, sorted.
    progress, storage_options
        As for `index`.

    Returns
    -------
    xarray.Dataset
    """
    urls = [path for path in files if "://" in path and is_remote(path)]
    local = files if not urls else sorted({*files} - {*urls})
    heads = list(read_heads(shown(local, progress and bool(local))))
    folders = [head.path for head in heads if head.problem == NOT_A_FILE]
    if folders := [path for path in folders if os.path.isdir(path)]:  # with the name of a file
        heads = [head for head in heads if head.path not in folders]
        heads += read_heads(find_files(folders))
        heads.sort(key=lambda head: head.path)
    if urls:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(MAX_THREADS) as pool:
            found = pool.map(lambda url: read_remote_head(url, storage_options), urls)
            heads += shown(found, progress, len(urls))
        heads.sort(key=lambda head: head.path)
    return as_dataset(heads)


def shown(items: Iterable[T], progress: bool, total: int | None = None) -> Iterable[T]:
    """Return the items, with a progress bar if that is wanted."""
    if not progress:
        return items
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, "Reading headers", total, console=console, transient=True)


def as_dataset(heads: list[FileHead]) -> xr.Dataset:
    """Return the table of files whose first bytes were read."""
    columns = decode_heads(heads)
    stored = np.array([head.stored_size for head in heads], np.int64)
    columns["size"] = Column(stored, "size of the file as it is stored", "byte")
    times = [NOT_A_TIME if head.mtime_ns is None else head.mtime_ns for head in heads]
    columns["mtime"] = Column(np.array(times, "M8[ns]"), "time of the last change")
    variables = {}
    for name, column in columns.items():
        attrs = {"long_name": column.doc} | ({"units": column.unit} if column.unit else {})
        # xarray would look for dates among the texts, as long as decoding all headers takes.
        variables[name] = xr.Variable("file", column.values, attrs, fastpath=True)
    paths = np.array([head.path for head in heads], object)
    return xr.Dataset(variables, {"file": xr.Variable("file", paths, fastpath=True)})
