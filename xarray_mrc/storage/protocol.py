"""The protocol `Source`, and base classes for sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcTruncatedError

__all__ = ["ByteRanges", "Bytes", "CopyingSource", "PlainSource", "Source", "truncated"]

Bytes = NDArray[np.uint8]
ByteRanges = Sequence[tuple[int, int]]  # offset and number of bytes of each


class Source(Protocol):
    """The bytes of a file, decompressed: small, hashable, picklable, with nothing open.

    All methods may be called by several threads at the same time. The results of `readinto` and
    `read_ranges` share no memory with anything else.
    """

    @property
    def uri(self) -> str:
        """Path or URL, or a description of bytes that have none."""

    @property
    def size(self) -> int:
        """Number of bytes; for a compressed file this costs a pass."""

    @property
    def size_if_known(self) -> int | None:
        """Number of bytes, or None if finding it costs a pass."""

    @property
    def stored_size(self) -> int:
        """Number of bytes that are stored, compressed or not."""

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Values that change when the content does."""

    def bounded_size(self, limit: int) -> int:
        """Return the size, or some number above `limit` if it is larger, at the cost of `limit`."""

    def allow_truncated(self) -> Source:
        """Return a source that ends where its stream is cut off, without an error."""

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on; MrcTruncatedError if there are fewer."""

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

    def read_ranges(self, byte_ranges: ByteRanges) -> Bytes:
        """Read several ranges, and return them concatenated."""

    def verify_trailer(self, end: int) -> None:
        """Verify the rest of the stream once the last data byte, before `end`, has been read."""


class CopyingSource:
    """Base class of sources that cannot show bytes without a copy."""

    __slots__ = ()

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Return None."""
        return None

    @contextmanager
    def whole(
        self, probes: Sequence[int], byte_ranges: Iterable[ByteRanges]
    ) -> Iterator[Bytes | None]:
        """Yield None."""
        yield None

    @contextmanager
    def window(self, offset: int, nbytes: int, byte_ranges: ByteRanges) -> Iterator[Bytes | None]:
        """Yield None."""
        yield None

    def read_ranges(self: Source, byte_ranges: ByteRanges) -> Bytes:
        """Read several ranges, one after the other, and return them concatenated."""
        data = np.empty(sum(nbytes for _, nbytes in byte_ranges), np.uint8)
        end = 0
        for offset, nbytes in byte_ranges:
            start, end = end, end + nbytes
            self.readinto(offset, data[start:end])
        return data


class PlainSource(CopyingSource):
    """Base class of sources that are not compressed."""

    __slots__ = ()

    @property
    def size_if_known(self: Source) -> int:
        """Number of bytes."""
        return self.size

    @property
    def stored_size(self: Source) -> int:
        """Number of bytes."""
        return self.size

    def bounded_size(self: Source, limit: int) -> int:
        """Return the size."""
        return self.size

    def allow_truncated(self: Source) -> Source:
        """Return the source itself, which has no stream."""
        return self

    def verify_trailer(self, end: int) -> None:
        """Do nothing: the size was compared when the file was opened."""


def truncated(uri: str, offset: int, expected: int, found: int) -> MrcTruncatedError:
    """Return the error for a read that came back short."""
    return MrcTruncatedError(
        f"{uri}: {expected} bytes were wanted from byte {offset}, but only {found} are there: the "
        f"file is cut off, or became shorter after it was opened"
    )
