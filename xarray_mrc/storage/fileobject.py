"""Binary file objects that the caller has opened."""

from __future__ import annotations

import io
import os
import threading
import weakref
from itertools import count
from typing import Any, NoReturn

from xarray_mrc.storage.protocol import Bytes, Parts, truncated
from xarray_mrc.storage.remote.urls import is_url, public_url

__all__ = ["FileObjectSource"]


class Turn:
    """A lock and a unique number, shared by all sources of one file object."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.serial = next(_serials)


_serials = count(1)
_turns: weakref.WeakKeyDictionary[Any, Turn] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def turn_of(file: Any) -> Turn:
    """Return the turn of an object; a new one each time if the object has no weak references."""
    with _guard:
        try:
            return _turns.setdefault(file, Turn())
        except TypeError:
            return Turn()


def renew_locks() -> None:
    """Replace the locks in a forked child, where other threads' locks are never released."""
    global _guard
    _guard = threading.Lock()
    _turns.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_locks)


class FileObjectSource:
    """A binary file object. It is kept referenced; reads by several threads take turns.

    Parameters
    ----------
    file : binary file object
        Must be readable and seekable. It is not closed, and its position changes.
    """

    __slots__ = ("_file", "_process", "_turn", "size_if_known")
    local_path = None
    read_ahead_nbytes = 256 * 2**10

    def __init__(self, file: Any) -> None:
        self._file = file
        self._turn = turn_of(file)
        self._process = os.getpid()
        with self._turn.lock:
            self.size_if_known: int = file.seek(0, io.SEEK_END)

    @property
    def uri(self) -> str:
        """Name of the file, if the object has one; of a URL without secrets."""
        name = getattr(self._file, "name", "") or getattr(self._file, "path", "<file object>")
        return public_url(str(name)) if is_url(str(name)) else str(name)

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size and the unique number of the object."""
        return self.size_if_known, self._turn.serial

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on."""
        if os.getpid() != self._process:  # parent and child share the position of the object
            self.refuse()
        for offset, out in parts:
            self._read_range(offset, out)

    def _read_range(self, offset: int, out: Bytes) -> None:
        """Fill an array while other threads wait."""
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
        """Raise TypeError for any use in another process."""
        raise TypeError(
            f"{self.uri}: a dataset opened from a {type(self._file).__name__} can't be pickled, "
            f"or read in another process, because the object is open in this one: open "
            f"the dataset by its path or URL instead"
        )
