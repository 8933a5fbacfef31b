"""The protocol `Source`, and `open_source`, which finds the right one for a path or an object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import BinaryIO, Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError, MrcTruncatedError

__all__ = ["Bytes", "MemMap", "Openable", "PlainSource", "Source", "fill", "open_source"]

Bytes = NDArray[np.uint8]
Openable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
MemMap = bool | Literal["auto"]


class Source(Protocol):
    """Bytes that can be read from any place: small, hashable, picklable, with nothing open.

    What a source gives out never shares memory with the file or with what it gave before.
    """

    @property
    def uri(self) -> str:
        """Path or URL, or a description of what has none."""

    @property
    def size(self) -> int:
        """Number of bytes, decompressed; of a compressed file this costs a pass."""

    @property
    def known_size(self) -> int | None:
        """Number of bytes, or None where finding out costs a pass."""

    @property
    def stored_size(self) -> int:
        """Number of bytes that are stored, compressed or not."""

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Numbers that change when the content does."""

    def size_up_to(self, limit: int) -> int:
        """Give the size, or any number above `limit` if it is larger; costs no more than that."""

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on; a short read is a MrcTruncatedError."""

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Give bytes that need no copy and are the caller's to keep and to change, or None."""

    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> AbstractContextManager[Bytes | None]:
        """Show a range of bytes, to be read within the context only, or None.

        `bands` are the ranges (offset, number of bytes) of it that will be looked at.
        """

    def read_bands(self, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges (offset, number of bytes), given one behind the other."""

    def finish(self, end: int) -> None:
        """Hear that the last byte of the data, before `end`, was read; check what is left."""


class PlainSource:
    """What holds for every source whose bytes are stored as they are."""

    __slots__ = ()

    @property
    def known_size(self: Source) -> int:
        """Number of bytes."""
        return self.size

    @property
    def stored_size(self: Source) -> int:
        """Number of bytes."""
        return self.size

    def size_up_to(self: Source, limit: int) -> int:
        """Give the size."""
        return self.size

    def finish(self, end: int) -> None:
        """Do nothing: the size was compared when the file was opened."""


def fill(source: Source, bands: Sequence[tuple[int, int]]) -> Bytes:
    """Read ranges one by one with `readinto`, for a source that knows nothing better."""
    data = np.empty(sum(nbytes for _, nbytes in bands), np.uint8)
    end = 0
    for offset, nbytes in bands:
        start, end = end, end + nbytes
        source.readinto(offset, data[start:end])
    return data


def truncated(uri: str, offset: int, wanted: int, found: int) -> MrcTruncatedError:
    """Make the error for a read that came back short."""
    return MrcTruncatedError(
        f"{uri}: {wanted} bytes were wanted from byte {offset}, but only {found} are there: the "
        f"file is cut off, or became shorter after it was opened"
    )


def open_source(path: Openable, *, memmap: MemMap = "auto") -> Source:
    """Give the source for a path, a file URL, bytes or a binary file object, compressed or not.

    Containers (gzip, bzip2, xz, zstd) are recognised by their first bytes, whatever the suffix.

    Parameters
    ----------
    path : str, os.PathLike, bytes, bytearray, memoryview or binary file object
        What to read. A local path is made absolute.
    memmap : {"auto", True, False}
        Whether local files are mapped; "auto" does it unless they lie on a network file system.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        There is no such file.
    MrcError
        The URL is of a kind that can't be read.

    Examples
    --------
    >>> open_source(bytes(2048)).size
    2048
    """
    from xarray_mrc.storage.compressed import CompressedSource, container_of
    from xarray_mrc.storage.fileobject import FileObjectSource
    from xarray_mrc.storage.local import LocalSource
    from xarray_mrc.storage.memory import MemorySource

    stored: Source
    if isinstance(path, bytes | bytearray | memoryview):
        stored = MemorySource(path)
    elif isinstance(path, str | os.PathLike):
        stored = LocalSource.open(local_path(path), memmap=memmap)
    elif hasattr(path, "readinto") and hasattr(path, "seek"):
        stored = FileObjectSource(path)
    else:
        raise TypeError(
            f"{path!r} can't be opened: expected a path, a URL, bytes or a binary file object"
        )
    head = np.empty(min(HEADER_SIZE, stored.size), np.uint8)
    stored.readinto(0, head)
    container = container_of(head.tobytes())
    if container is None:
        return stored
    if isinstance(stored, LocalSource):
        stored = replace(stored, pinned=b"")
    return CompressedSource(stored, container)


def local_path(path: str | os.PathLike[str]) -> str:
    """Make a path or file URL an absolute path; MrcError for any other URL."""
    text = os.fspath(path)
    if "://" not in text:
        return os.path.abspath(os.path.expanduser(text))
    parts = urlsplit(text)
    if parts.scheme != "file":
        raise MrcError(
            f"{text}: a URL of the kind {parts.scheme}:// was found, expected a local path or "
            f"file://; download the file, or pass a binary file object such as fsspec.open gives"
        )
    return os.path.abspath(url2pathname(parts.path))
