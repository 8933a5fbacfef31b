"""The protocol `Source`, and what the sources have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcTruncatedError

__all__ = ["Bytes", "CopyingSource", "PlainSource", "Source", "truncated"]

Bytes = NDArray[np.uint8]


class Source(Protocol):
    """Bytes that can be read from any place: small, hashable, picklable, with nothing open.

    What `readinto` and `read_ranges` give shares no memory with anything else.
    """

    @property
    def uri(self) -> str:
        """Path or URL, or a description of what has none."""

    @property
    def size(self) -> int:
        """Number of bytes, decompressed; of a compressed file this costs a pass."""

    @property
    def size_if_known(self) -> int | None:
        """Number of bytes, or None where finding out costs a pass."""

    @property
    def stored_size(self) -> int:
        """Number of bytes that are stored, compressed or not."""

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Numbers that change when the content does."""

    def bounded_size(self, limit: int) -> int:
        """Give the size, or any number above `limit` if it is larger; costs no more than that."""

    def allow_truncated(self) -> Source:
        """Give a source for which a stream that is cut off just ends there."""

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on; a short read is a MrcTruncatedError."""

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Give a private map that is the caller's to change, but shows the file, or None."""

    def whole(
        self, probes: Sequence[int], bands: Iterable[Sequence[tuple[int, int]]]
    ) -> AbstractContextManager[Bytes | None]:
        """Show all bytes, to be read within the context only, or None.

        `bands` are lists of the ranges (offset, number of bytes) that will be looked at, of which
        no more are asked for if the bytes at the offsets `probes` are at hand.
        """

    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> AbstractContextManager[Bytes | None]:
        """Show a range of bytes, to be read within the context only, or None.

        `bands` are the ranges (offset, number of bytes) of it that will be looked at.
        """

    def read_ranges(self, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges (offset, number of bytes), given one behind the other."""

    def finish(self, end: int) -> None:
        """Hear that the last byte of the data, before `end`, was read; check what is left."""


class CopyingSource:
    """What holds for a source with nothing to show: all that it gives is read with `readinto`."""

    __slots__ = ()

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """None: what it gives are copies."""
        return None

    @contextmanager
    def whole(
        self, probes: Sequence[int], bands: Iterable[Sequence[tuple[int, int]]]
    ) -> Iterator[Bytes | None]:
        """None: there is nothing to look at."""
        yield None

    @contextmanager
    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> Iterator[Bytes | None]:
        """None: there is nothing to look at."""
        yield None

    def read_ranges(self: Source, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges one by one."""
        data = np.empty(sum(nbytes for _, nbytes in bands), np.uint8)
        end = 0
        for offset, nbytes in bands:
            start, end = end, end + nbytes
            self.readinto(offset, data[start:end])
        return data


class PlainSource(CopyingSource):
    """What holds for every source whose bytes are stored as they are."""

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
        """Give the size."""
        return self.size

    def allow_truncated(self: Source) -> Source:
        """Give the source itself: it has no stream."""
        return self

    def finish(self, end: int) -> None:
        """Do nothing: the size was compared when the file was opened."""


def truncated(uri: str, offset: int, wanted: int, found: int) -> MrcTruncatedError:
    """Make the error for a read that came back short."""
    return MrcTruncatedError(
        f"{uri}: {wanted} bytes were wanted from byte {offset}, but only {found} are there: the "
        f"file is cut off, or became shorter after it was opened"
    )
