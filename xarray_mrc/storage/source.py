"""`open_source`: the source of a path or an object."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

import numpy as np

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Source

__all__ = ["HEAD_NBYTES", "MemMap", "Openable", "Source", "open_head", "open_source"]

Openable = str | os.PathLike[str] | bytes | bytearray | memoryview | MemorySource | BinaryIO
MemMap = bool | Literal["auto"]
# The header, and the first record of an extended header.
HEAD_NBYTES = HEADER_SIZE + 80


def open_source(path: Openable, *, memmap: MemMap = "auto") -> Source:
    """Return the source of a path, file URL, bytes or binary file object, compressed or not.

    Compressed files (gzip, bzip2, xz, zstd) are found by their first bytes, not by a suffix.

    Parameters
    ----------
    path : str, os.PathLike, bytes, bytearray, memoryview, MemorySource or binary file object
        What to read. A local path is made absolute.
    memmap : {"auto", True, False}
        Whether local files may be mapped; "auto" permits it except on network file systems.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    MrcError
        The URL cannot be read.

    Examples
    --------
    >>> open_source(bytes(2048)).size
    2048
    """
    return open_head(path, memmap=memmap)[0]


def open_head(path: Openable, *, memmap: MemMap = "auto") -> tuple[Source, bytes]:
    """Return a source, and the bytes that were read to open it.

    Parameters
    ----------
    path, memmap
        As in `open_source`.

    Returns
    -------
    source : Source
    head : bytes
        Its first HEAD_NBYTES bytes, or all if there are fewer; empty if it is compressed.
    """
    stored: Source
    if isinstance(path, str | os.PathLike):
        stored, head = LocalSource.open(local_path(path), memmap, HEAD_NBYTES)
    else:
        if isinstance(path, MemorySource):
            stored = path
        elif isinstance(path, bytes | bytearray | memoryview):
            stored = MemorySource(path)
        elif hasattr(path, "readinto") and hasattr(path, "seek"):
            stored = FileObjectSource(path)
        else:
            raise TypeError(
                f"{type(path).__name__} was found, expected a path, file URL, bytes or binary file "
                f"object; for many files use xr.open_mfdataset"
            )
        first = np.empty(min(HEAD_NBYTES, stored.size), np.uint8)
        stored.readinto(0, first)
        head = first.tobytes()
    container = container_of(head[:HEADER_SIZE])
    if container is None:
        return stored, head
    if isinstance(stored, LocalSource):
        stored = replace(stored, layout_bytes_at_open=b"")
    return CompressedSource(stored, container), b""


def local_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path for a path or file URL; MrcError for any other URL."""
    text = os.fsdecode(path)
    if "://" not in text:
        return os.path.abspath(os.path.expanduser(text))
    parts = urlsplit(text)
    if parts.scheme != "file":
        raise MrcError(
            f"{text}: {parts.scheme}:// is not supported, expected a local path or file://; "
            f"download the file, or pass a binary file object, from fsspec.open for example"
        )
    if parts.netloc not in ("", "localhost"):
        raise MrcError(
            f"{text}: a file on the computer {parts.netloc!r} was found, expected file:///, with "
            f"three slashes before the path from the root"
        )
    from urllib.request import url2pathname  # loads a client of HTTP: half the time of our import

    return os.path.abspath(url2pathname(parts.path))
