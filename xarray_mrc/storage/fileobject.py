"""Files that the caller has opened: any binary object that can seek and read."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from xarray_mrc.storage.protocol import Bytes, PlainSource, fill, truncated

__all__ = ["FileObjectSource"]

# One lock for each object that sources hold, because two of them may hold the same.
_locks: weakref.WeakValueDictionary[int, threading.Lock] = weakref.WeakValueDictionary()
_guard = threading.Lock()


class FileObjectSource(PlainSource):
    """A binary file object, which is held; reads of several threads take turns.

    Parameters
    ----------
    file : binary file object
        Must be readable and able to seek. It is not closed, and its position changes.
    """

    __slots__ = ("_file", "_lock", "size")

    def __init__(self, file: Any) -> None:
        self._file = file
        with _guard:
            self._lock = _locks.setdefault(id(file), threading.Lock())
        self.size: int = file.seek(0, io.SEEK_END)

    @property
    def uri(self) -> str:
        """Name of the file, where the object knows it."""
        return str(getattr(self._file, "name", "") or getattr(self._file, "path", "<file object>"))

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size and identity of the object: two objects are never taken for one."""
        return self.size, id(self._file)

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on."""
        buffer, done = out.data, 0
        with self._lock:
            self._file.seek(offset)
            while done < len(buffer) and (count := self._file.readinto(buffer[done:])):
                done += count
        if done < len(buffer):
            raise truncated(self.uri, offset, len(buffer), done)

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """None: what the object reads is copied."""
        return None

    @contextmanager
    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> Iterator[Bytes | None]:
        """None: there is nothing to look at."""
        yield None

    def read_bands(self, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges."""
        return fill(self, bands)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a dataset opened from a file object ({self._file!r}) can't be pickled, because the "
            f"object is open in this process: open the dataset by its path or URL instead"
        )
