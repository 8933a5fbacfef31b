"""How far a long pass over a file is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["report_progress", "watch_progress"]

_watcher: ContextVar[Callable[[float], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_progress(watcher: Callable[[float], None]) -> Iterator[None]:
    """Call a function with the part that is done, as long passes go on in this thread.

    Parameters
    ----------
    watcher : callable
        Takes a number from 0 to 1.

    Yields
    ------
    None

    Examples
    --------
    >>> with watch_progress(print):
    ...     report_progress(1, 4)
    0.25
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def report_progress(done: int, total: int) -> None:
    """Report how far a pass is to the function of `watch_progress`, if there is one.

    Parameters
    ----------
    done, total : int
        Bytes that are done, and all bytes.
    """
    watcher = _watcher.get()
    if watcher is not None:
        watcher(done / total if total else 1.0)
