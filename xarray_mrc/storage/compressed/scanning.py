"""`StoredBytes`: the stored bytes of a file, looked through from the first to the last."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np

from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Bytes, MappedSource, Source, full_size

__all__ = ["StoredBytes", "can_scan"]

# Bytes that are copied at a time if the source has no maps, and bytes of a map. Maps touch only
# the pages that are looked at: going from header to header of 3,000 blocks takes 4 ms.
COPY_NBYTES = 4 * 2**20
MAP_NBYTES = 64 * 2**20


def can_scan(inner: Source) -> bool:
    """Return True if looking through all stored bytes is quick: they are on this computer."""
    return inner.local_path is not None or isinstance(inner, MemorySource)


class StoredBytes:
    """A window that moves over the stored bytes. It is a context, in which its views are valid.

    Parameters
    ----------
    inner : Source
        The stored file.

    Examples
    --------
    >>> from xarray_mrc.storage.memory import MemorySource
    >>> with StoredBytes(MemorySource(b"abcd")) as stored:
    ...     bytes(stored.view(1, 2)[:2])
    b'bc'
    """

    def __init__(self, inner: Source) -> None:
        self.inner, self.size = inner, full_size(inner)
        self._open = ExitStack()
        self._data: Bytes = np.empty(0, np.uint8)
        self._start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def view(self, start: int, nbytes: int) -> memoryview:
        """Return the bytes from an offset on: `nbytes` or more, fewer only at the end."""
        wanted = min(nbytes, self.size - start)
        if not self._start <= start <= start + wanted <= self._start + self._data.size:
            self._move(start, wanted)
        return memoryview(self._data.data)[start - self._start :]

    def _move(self, start: int, nbytes: int) -> None:
        """Move the window."""
        self._open.close()
        left, found = self.size - start, None
        if isinstance(self.inner, MappedSource):
            reach = min(left, max(nbytes, MAP_NBYTES))
            found = self._open.enter_context(self.inner.window(start, reach, ()))
        if found is None:
            found = np.empty(min(left, max(nbytes, COPY_NBYTES)), np.uint8)
            self.inner.read_ranges([(start, found)])
        self._start, self._data = start, found
