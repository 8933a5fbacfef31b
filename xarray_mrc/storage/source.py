"""`open_source`: the source of a path or an object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Head, Source
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import (
    FsspecFile,
    StorePath,
    is_remote,
    path_text,
    public_url,
)

__all__ = ["HEAD_NBYTES", "MemMap", "Openable", "open_head", "open_source"]

# Objects with `fs` and `path` are of fsspec or universal_pathlib; a Head is a file that is open.
Openable = (
    str | os.PathLike[str] | FsspecFile | StorePath | bytes | bytearray | memoryview | MemorySource
    | BinaryIO | Head
)  # fmt: skip
MemMap = bool | Literal["auto"]
# The header, and the first record of an extended header.
HEAD_NBYTES = HEADER_SIZE + 80


def open_source(
    path: Openable,
    *,
    memmap: MemMap = "auto",
    storage_options: Mapping[str, Any] | None = None,
    local_copy: str | os.PathLike[str] | None = None,
) -> Source:
    """Return the source of a path, URL, bytes or binary file object, compressed or not.

    Compressed files (gzip, bzip2, xz, zstd) are found by their first bytes, not by a suffix.

    Parameters
    ----------
    path : str, os.PathLike, fsspec.OpenFile, bytes, bytearray, memoryview or binary file object
        What to read. A local path is made absolute.
    memmap : {"auto", True, False}
        Whether local files may be mapped; "auto" permits it except on network file systems.
    storage_options : mapping, optional
        How a URL is reached, as in `xarray_mrc.open_mrc`.
    local_copy : str or os.PathLike, optional
        Directory for a copy of a remote file, as in `xarray_mrc.open_mrc`.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    OSError
        It cannot be read.
    MrcError
        The URL cannot be read.

    Examples
    --------
    >>> open_source(bytes(2048)).size_if_known
    2048
    """
    return open_head(
        path, memmap=memmap, storage_options=storage_options, local_copy=local_copy
    ).source


def open_head(
    path: Openable,
    *,
    memmap: MemMap = "auto",
    storage_options: Mapping[str, Any] | None = None,
    local_copy: str | os.PathLike[str] | None = None,
) -> Head:
    """Return a source with the bytes that were read to open it.

    Parameters
    ----------
    path, memmap, storage_options, local_copy
        As in `open_source`. A `Head` is returned as it is.

    Returns
    -------
    Head
        The source and its first bytes: HEAD_NBYTES of a local file, 64 KiB of a remote one, or all
        if there are fewer. Of a compressed file they are those that the first stored bytes give.
    """
    if isinstance(path, Head):
        return path
    found = open_stored(path, memmap, StorageOptions(storage_options), local_copy)
    container = container_of(found.data[:HEADER_SIZE])
    if container is None:
        return found
    stored, most = found.source, max(HEAD_NBYTES, len(found.data))
    if isinstance(stored, LocalSource):
        stored = replace(stored, layout_bytes_at_open=b"")
    # It loads as much as all before, which a plain file does not need.
    from xarray_mrc.storage.compressed.block_files import START_NBYTES
    from xarray_mrc.storage.compressed.source import CompressedSource

    source = CompressedSource(stored, container, start=found.data[:START_NBYTES])
    return Head(source, decompress_start(container, found.data, most))


def open_stored(
    path: Any, memmap: MemMap, options: StorageOptions, local_copy: str | os.PathLike[str] | None
) -> Head:
    """Return the source of the stored bytes, compressed or not, with the first of them."""
    if is_remote(path):
        # It loads fsspec and a client of HTTP.
        from xarray_mrc.storage.remote.opening import open_remote

        opened = open_remote(path, options, local_copy)
        if isinstance(opened, Head):
            return opened
        path = opened
    elif options.others():
        named = path_text(path) or type(path).__name__
        raise ValueError(
            f"storage_options= was passed, but {named} is not remote, expected a URL such as "
            f"https://... or s3://..."
        )
    if isinstance(path, str | os.PathLike):
        return Head(*LocalSource.open(local_path(path), memmap, HEAD_NBYTES))
    stored: Source
    if isinstance(path, MemorySource):
        stored = path
    elif isinstance(path, bytes | bytearray | memoryview):
        stored = MemorySource(path)
    elif hasattr(path, "readinto") and hasattr(path, "seek"):
        stored = FileObjectSource(path)
    else:
        raise TypeError(
            f"{type(path).__name__} was found, expected a path, URL, bytes or binary file object; "
            f"for many files use xr.open_mfdataset"
        )
    return Head(stored, Head(stored).read(0, HEAD_NBYTES))


def decompress_start(container: str, stored: bytes, most: int) -> bytes:
    """Return the first bytes that the first stored bytes give; none if they are damaged."""
    from xarray_mrc.storage.compressed.cursor import Cursor

    cursor, inner, found = Cursor(container), MemorySource(stored), b""
    with suppress(MrcError):
        while block := cursor.read(inner, most - len(found)):
            found += block
            if len(found) == most:
                break
    return found


def local_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path for a path or file URL; MrcError for a file that is remote."""
    text = os.fsdecode(path)
    if "://" not in text:
        return os.path.abspath(os.path.expanduser(text))
    parts = urlsplit(text)
    if parts.scheme != "file":
        raise MrcError(
            f"{public_url(text)}: {parts.scheme}:// is not supported for a file that is written, "
            f"expected a local path or file://"
        )
    if parts.netloc not in ("", "localhost"):
        raise MrcError(
            f"{text}: a file on the computer {parts.netloc!r} was found, expected file:///, with "
            f"three slashes before the path from the root"
        )
    from urllib.request import url2pathname  # loads a client of HTTP: half the time of our import

    return os.path.abspath(url2pathname(parts.path))
