"""Files that lie in memory as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np

from xarray_mrc.storage.protocol import Bytes, PlainSource, truncated

__all__ = ["MemorySource"]


class MemorySource(PlainSource):
    """A file whose bytes are at hand. What it gives out are copies.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        The whole file. A pickle of the source carries it.
    """

    __slots__ = ("_data",)
    uri = "<bytes>"

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        contiguous = data if memoryview(data).c_contiguous else memoryview(data).tobytes()
        self._data = np.frombuffer(contiguous, np.uint8)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._data.size

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size and a hash of the content; the hash costs a pass."""
        return self.size, blake2b(self._data.data, digest_size=16).hexdigest()

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on."""
        found = self._data[offset : offset + out.size]
        if found.size < out.size:
            raise truncated(self.uri, offset, out.size, found.size)
        out[:] = found

    @contextmanager
    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> Iterator[Bytes | None]:
        """Show a range of the bytes themselves."""
        yield self._data[offset : offset + nbytes] if offset + nbytes <= self.size else None

    def __reduce__(self) -> tuple[type[MemorySource], tuple[bytes]]:
        return MemorySource, (self._data.tobytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemorySource):
            return NotImplemented
        return np.array_equal(self._data, other._data)

    def __hash__(self) -> int:
        return hash(self.fingerprint)
