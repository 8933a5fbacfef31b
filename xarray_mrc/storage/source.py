"""`open_source`: the source of a path or an object."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.compressed.stream import Cursor
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Head, Source

__all__ = ["HEAD_NBYTES", "MemMap", "Openable", "open_head", "open_source"]

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
    >>> open_source(bytes(2048)).size_if_known
    2048
    """
    return open_head(path, memmap=memmap).source


def open_head(path: Openable, *, memmap: MemMap = "auto") -> Head:
    """Return a source with the bytes that were read to open it.

    Parameters
    ----------
    path, memmap
        As in `open_source`.

    Returns
    -------
    Head
        The source and its first HEAD_NBYTES bytes, or all if there are fewer. Of a compressed file
        they are those that the first stored bytes give.
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
        head = Head(stored).read(0, HEAD_NBYTES)
    container = container_of(head[:HEADER_SIZE])
    if container is None:
        return Head(stored, head)
    if isinstance(stored, LocalSource):
        stored = replace(stored, layout_bytes_at_open=b"")
    return Head(CompressedSource(stored, container), decompress_start(container, head))


def decompress_start(container: str, stored: bytes) -> bytes:
    """Return the first bytes that the first stored bytes give; none if they are damaged."""
    cursor, inner, found = Cursor(container), MemorySource(stored), b""
    with suppress(MrcError):
        while block := cursor.read(inner, HEAD_NBYTES - len(found)):
            found += block
            if len(found) == HEAD_NBYTES:
                break
    return found


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
