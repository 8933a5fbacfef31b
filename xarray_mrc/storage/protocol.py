"""Protocols of sources: one small protocol for each capability.

Every source reads ranges of bytes (`Source`). Some can also do so without blocking an event loop
(`AsyncSource`), show bytes without a copy (`MappedSource`), or have to be read in order, at least
once, to know their size (`StreamSource`). A caller asks with `isinstance`. All methods of all
protocols may be called by several threads at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcTruncatedError

__all__ = [
    "AsyncSource",
    "ByteRanges",
    "Bytes",
    "Head",
    "MappedSource",
    "Parts",
    "PlacedSource",
    "Source",
    "StreamSource",
    "address_of",
    "bounded_size",
    "full_size",
    "is_sequential",
    "split_parts",
    "truncated",
]

Bytes = NDArray[np.uint8]
ByteRanges = Sequence[tuple[int, int]]  # offset and number of bytes of each
Parts = Sequence[tuple[int, Bytes]]  # offset of each range, and the array that takes its bytes


class Source(Protocol):
    """The bytes of a file, decompressed: small, hashable, picklable, with nothing open."""

    @property
    def uri(self) -> str:
        """Path or URL without secrets, or a description of bytes that have none."""

    @property
    def local_path(self) -> str | None:
        """Absolute path of a file on this computer's file systems, else None."""

    @property
    def size_if_known(self) -> int | None:
        """Number of bytes, or None if finding it costs a pass (`StreamSource`)."""

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Values that change when the content does."""

    @property
    def read_ahead_nbytes(self) -> int:
        """Bytes that a reader who goes through the file in order should ask for at once."""

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on.

        Parameters
        ----------
        parts : sequence of (int, ndarray of uint8)
            Offsets and arrays, in any order; the ranges may overlap, the arrays may not.

        Raises
        ------
        MrcTruncatedError
            The file ends before a range does.
        MrcChangedError
            The file is another one than when it was opened.
        """


@runtime_checkable
class AsyncSource(Protocol):
    """A source that can be read without blocking the event loop, with requests side by side."""

    async def aread_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on, as `Source.read_ranges` does."""


@runtime_checkable
class MappedSource(Protocol):
    """A source that can show its bytes without a copy."""

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Return a private, writeable map that shows the file until it is written to, or None."""

    def whole(
        self, probes: Sequence[int], byte_ranges: Iterable[ByteRanges]
    ) -> AbstractContextManager[Bytes | None]:
        """Return a context with all bytes, to be read only inside it, or None.

        `byte_ranges` are lists of the ranges that will be read. They are prefetched unless the
        bytes at the offsets `probes` are in memory.
        """

    def window(
        self, offset: int, nbytes: int, byte_ranges: ByteRanges
    ) -> AbstractContextManager[Bytes | None]:
        """Return a context with a range of bytes, to be read only inside it, or None.

        `byte_ranges` are the parts of it that will be read.
        """


@runtime_checkable
class PlacedSource(Protocol):
    """A source that has a name, so that other files may belong to it."""

    def open_beside(self, suffix: str) -> Head | None:
        """Return the file whose name has a suffix more, or None if there is none."""


@runtime_checkable
class StreamSource(Protocol):
    """A source whose size and checksums are known only after a pass over it."""

    @property
    def is_sequential(self) -> bool:
        """True if the bytes are best read from the first to the last, by a guess."""

    @property
    def chunk_nbytes(self) -> int | None:
        """Bytes of a chunk of an array, for chunks in any order; None if any size is as good."""

    def measure_size(self) -> int:
        """Return the number of bytes. Once a process this costs a pass, which checks them all."""

    def bounded_size(self, limit: int) -> int:
        """Return the size, or some number above `limit` if it is larger, at the cost of `limit`."""

    def stored_size(self) -> int:
        """Return the number of bytes that are stored."""

    def trailing_nbytes(self) -> int:
        """Return the number of stored bytes after the stream; 0 until a read finds its end."""

    def allow_truncated(self) -> Source:
        """Return a source that ends where its stream is cut off, without an error."""

    def verify_trailer(self, end: int) -> None:
        """Verify the rest of the stream once the last data byte, before `end`, has been read."""


@dataclass(frozen=True, slots=True)
class Head:
    """A source and its first bytes, as far as opening it read them: they are not read twice.

    Attributes
    ----------
    source : Source
        The file.
    data : bytes
        Its first bytes, decompressed; there may be none.

    Examples
    --------
    >>> from xarray_mrc.storage import open_head
    >>> open_head(b"abcd").read(1, 2)
    b'bc'
    """

    source: Source
    data: bytes = field(default=b"", repr=False)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Read bytes, from `data` if it has them; stop at a known end of the source."""
        end = offset + nbytes
        if self.source.size_if_known is not None:
            end = min(end, self.source.size_if_known)
        if end <= len(self.data):
            return self.data[offset:end]
        found = np.empty(max(0, end - offset), np.uint8)
        self.source.read_ranges([(offset, found)])
        return found.tobytes()

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return "xarray_mrc.Head", self.source.uri, self.source.fingerprint


def address_of(source: Source) -> str | None:
    """Return the path or URL that alone opens a file again; None if it needs more, or has none."""
    if source.local_path is not None:
        return source.local_path
    stored: Any = getattr(source, "inner", source)  # of a compressed file
    address: str | None = stored.adapter.address if hasattr(stored, "adapter") else None
    return address


def full_size(source: Source) -> int:
    """Return the number of bytes of a source; for a stream this costs a pass."""
    if source.size_if_known is None and isinstance(source, StreamSource):
        return source.measure_size()
    return source.size_if_known or 0


def bounded_size(source: Source, limit: int) -> int:
    """Return the size of a source, or some number above `limit` if it is larger.

    Of a stream no more than `limit` bytes and one are read.
    """
    if source.size_if_known is None and isinstance(source, StreamSource):
        return source.bounded_size(limit)
    return source.size_if_known or 0


def is_sequential(source: Source) -> bool:
    """Return True if the bytes of a source are best read from the first to the last."""
    return isinstance(source, StreamSource) and source.is_sequential


def split_parts(byte_ranges: ByteRanges) -> tuple[Bytes, Parts]:
    """Return new memory for ranges one after the other, and the part of it for each."""
    data = np.empty(sum(nbytes for _, nbytes in byte_ranges), np.uint8)
    parts, end = [], 0
    for offset, nbytes in byte_ranges:
        start, end = end, end + nbytes
        parts.append((offset, data[start:end]))
    return data, parts


def truncated(uri: str, offset: int, expected: int, found: int) -> MrcTruncatedError:
    """Return the error for a read that came back short."""
    return MrcTruncatedError(
        f"{uri}: {expected} bytes were wanted from byte {offset}, but only {found} are there: the "
        f"file is cut off, or became shorter after it was opened"
    )
