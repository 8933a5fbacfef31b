"""Read-only maps of whole files, cached for scattered reads.

A new map has its pages faulted in one by one: a plane across 256 sections of a file of 1 GiB in
the page cache takes 0.9 ms through a new map and 0.3 ms through a cached one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from xarray_mrc.storage.protocol import Bytes

__all__ = ["MapCache", "may_cache_maps"]


class MapCache:
    """A few maps, each kept until it was idle for some time.

    A map keeps the disk space of a removed file in use, so it must not outlive its use for long.
    All methods may be called by several threads at the same time.

    Parameters
    ----------
    max_count : int
        Number of maps; each holds a file descriptor.
    max_nbytes : int
        Size of all maps. Their pages count as memory of the process.
    max_idle_seconds : float
        Time after which an unused map is dropped. It may take twice as long.
    """

    def __init__(self, max_count: int, max_nbytes: int, max_idle_seconds: float) -> None:
        self.max_count, self.max_nbytes = max_count, max_nbytes
        self.max_idle_seconds = max_idle_seconds
        self.clear()

    def clear(self) -> None:
        """Drop all maps and replace the lock, which another thread held when the process forked."""
        self._lock = threading.Lock()
        self._maps: OrderedDict[Hashable, tuple[Bytes, float]] = OrderedDict()
        self._has_timer = False

    def __len__(self) -> int:
        return len(self._maps)

    def get(self, key: Hashable, make: Callable[[], Bytes | None]) -> Bytes | None:
        """Return the map with a key, made by `make` if it is not cached; None if that failed."""
        with self._lock:
            found = self._maps.pop(key, (None, 0.0))[0]
            if found is None:
                found = make()
            if found is not None:
                self._maps[key] = found, time.monotonic()
            sizes = [data.size for data, _ in self._maps.values()]
            while len(sizes) > self.max_count or sum(sizes) > self.max_nbytes:
                self._maps.popitem(last=False)
                del sizes[0]
            self._start_timer()
        return found

    def _start_timer(self) -> None:
        """Have idle maps dropped later; at once if Python is ending and starts no more threads."""
        if self._maps and not self._has_timer:
            timer = threading.Timer(self.max_idle_seconds, self._drop_idle)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:
                self._maps.clear()
            else:
                self._has_timer = True

    def _drop_idle(self) -> None:
        """Drop the maps that nobody asked for lately."""
        with self._lock:
            self._has_timer = False
            oldest = time.monotonic() - self.max_idle_seconds
            for key, (_, used) in list(self._maps.items()):
                if used <= oldest:
                    del self._maps[key]
            self._start_timer()


def may_cache_maps() -> bool:
    """Return True if maps may be cached: they hinder nobody and count against no memory limit.

    On Windows a mapped file cannot be replaced. A dask worker whose pages are too many, cached maps
    included, is restarted by its nanny, or pauses for as long as they stay.
    """
    name = multiprocessing.current_process().name  # also where a task has started threads
    return not (
        sys.platform == "win32" or name.startswith("Dask Worker process") or is_task_of_worker()
    )


def is_task_of_worker() -> bool:
    """Return True if a task on a dask worker calls this, with a nanny or without one."""
    try:
        sys.modules["distributed"].get_worker()
    except (KeyError, AttributeError, ValueError):  # not loaded, being loaded, no worker
        return False
    return True


# Shared by all local files of the process.
cached_maps = MapCache(max_count=8, max_nbytes=2 * 2**30, max_idle_seconds=0.5)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=cached_maps.clear)
