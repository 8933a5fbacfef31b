"""Files that the caller has opened: any binary object that can seek and read."""

from __future__ import annotations

import io
import os
import threading
import weakref
from itertools import count
from typing import Any, NoReturn

from xarray_mrc.storage.protocol import Bytes, PlainSource, truncated

__all__ = ["FileObjectSource"]


class Turn:
    """What all sources of one object share: a lock, and a number that no other object has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.serial = next(_serials)


_serials = count(1)
_turns: weakref.WeakKeyDictionary[Any, Turn] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def turn_of(file: Any) -> Turn:
    """Give the turn of an object; one of its own each time where it can't be remembered."""
    with _guard:
        try:
            return _turns.setdefault(file, Turn())
        except TypeError:
            return Turn()


class FileObjectSource(PlainSource):
    """A binary file object, which is held; reads of several threads take turns.

    Parameters
    ----------
    file : binary file object
        Must be readable and able to seek. It is not closed, and its position changes.
    """

    __slots__ = ("_file", "_process", "_turn", "size")

    def __init__(self, file: Any) -> None:
        self._file = file
        self._turn = turn_of(file)
        self._process = os.getpid()
        with self._turn.lock:
            self.size: int = file.seek(0, io.SEEK_END)

    @property
    def uri(self) -> str:
        """Name of the file, where the object knows it."""
        return str(getattr(self._file, "name", "") or getattr(self._file, "path", "<file object>"))

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size and a number of its own: two objects are never taken for one."""
        return self.size, self._turn.serial

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on."""
        if os.getpid() != self._process:  # parent and child would move one position
            self.refuse()
        buffer, done = out.data, 0
        with self._turn.lock:
            self._file.seek(offset)
            while done < len(buffer) and (nread := self._file.readinto(buffer[done:])):
                done += nread
        if done < len(buffer):
            raise truncated(self.uri, offset, len(buffer), done)

    def __reduce__(self) -> NoReturn:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise the error for any use in another process."""
        raise TypeError(
            f"a dataset opened from a file object ({self._file!r}) can't be pickled, or read in "
            f"another process, because the object is open in this one: open the dataset by its "
            f"path or URL instead"
        )
