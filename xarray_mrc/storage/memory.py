"""Files in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np

from xarray_mrc.storage.protocol import ByteRanges, Bytes, Parts, truncated

__all__ = ["MemorySource"]


class MemorySource:
    """A file whose bytes are in memory. Reads return copies.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        The whole file, which a pickle of the source contains.
    """

    __slots__ = ("_data",)
    uri = "<bytes>"
    local_path = None
    read_ahead_nbytes = 256 * 2**10

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        contiguous = data if memoryview(data).c_contiguous else memoryview(data).tobytes()
        self._data = np.frombuffer(contiguous, np.uint8)

    @property
    def size_if_known(self) -> int:
        """Number of bytes."""
        return self._data.size

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size and a hash of the content, which costs a pass."""
        return self._data.size, blake2b(self._data.data, digest_size=16).hexdigest()

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on."""
        for offset, out in parts:
            found = self._data[offset : offset + out.size]
            if found.size < out.size:
                raise truncated(self.uri, offset, out.size, found.size)
            out[:] = found

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Return None: a view would share memory with the bytes."""
        return None

    @contextmanager
    def whole(
        self, probes: Sequence[int], byte_ranges: Iterable[ByteRanges]
    ) -> Iterator[Bytes | None]:
        """Yield None: a part of the bytes is as quick."""
        yield None

    @contextmanager
    def window(self, offset: int, nbytes: int, byte_ranges: ByteRanges) -> Iterator[Bytes | None]:
        """Yield a range of the bytes themselves."""
        yield self._data[offset : offset + nbytes] if offset + nbytes <= self._data.size else None

    def __reduce__(self) -> tuple[type[MemorySource], tuple[bytes]]:
        return MemorySource, (self._data.tobytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemorySource):
            return NotImplemented
        return np.array_equal(self._data, other._data)

    def __hash__(self) -> int:
        return hash(self.fingerprint)
