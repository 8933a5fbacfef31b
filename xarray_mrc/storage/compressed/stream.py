"""Streams that threads read together: passes under way, cursors kept between reads, seek points.

A pass is a cursor that one thread drives, up to the end of the bytes that it wants. Another thread
that wants later bytes does not start again: the driver fills its ranges as they pass by, and hands
the cursor over to it when the driver has all of its own. After the last of them the cursor is kept
for the next read.

For gzip there are two kinds of cursors. A pass in order takes the faster one. A read out of order
takes one that can be copied: it leaves a seek point every few MiB, and later reads start there, on
several threads at the same time. So reads in any order decompress a stream about twice, once in the
pass that leaves the points and once from them.
"""

from __future__ import annotations

import os
import threading

from xarray_mrc.errors import warn
from xarray_mrc.storage.compressed.cursor import BLOCK_NBYTES, Cursor, End
from xarray_mrc.storage.compressed.points import MIN_SPACING_NBYTES, Key, SeekPoints
from xarray_mrc.storage.compressed.request import Request
from xarray_mrc.storage.protocol import Source

__all__ = ["StreamCache", "streams"]

# A read is in order for a cursor that leaves no points if it starts at most this far after it, or
# at most that many times its own bytes. isal takes 0.6 of the time of zlib-ng, so that blocks in
# any order take no longer without points if there are five or six: 0.75 of the time for six blocks
# of 32 MiB in dask's order.
MAX_SKIP_NBYTES = 4 * 2**20
MAX_SKIP_RATIO = 4

# Before it skips bytes, a thread that reads a large block waits for others that may want them, half
# the time that isal takes for the skip. dask's threads ask for adjacent blocks 1 to 15 ms apart, in
# any order, and a block that was missed is decompressed again.
SKIPPED_NBYTES_PER_SECOND = 2 * 2**30
MAX_JOIN_SECONDS = 0.02

# Cursors that are kept. Those of xz and zstd hold their window, up to 128 MiB.
MAX_CURSORS = 8
HEAVY_CONTAINERS, MAX_HEAVY_CURSORS = ("xz", "zstd"), 1
MAX_ENDS = 4096


class Pass:
    """A cursor under way, the request of the thread that drives it, and the waiting requests.

    Attributes
    ----------
    others : Event
        Set once another request has joined.
    position : int
        Position up to which all requests have got their bytes. The cursor itself may be further.
    is_sound : bool
        False while the cursor is driven, and for good if that ends with an error.
    """

    def __init__(self, key: Key, cursor: Cursor) -> None:
        self.key, self.cursor, self.position = key, cursor, cursor.position
        self.driver: Request | None = None
        self.waiting: dict[Request, threading.Condition] = {}
        self.others = threading.Event()
        self.is_sound = True

    def pass_on(self, block: bytes) -> None:
        """Fill the ranges of waiting requests from the next block."""
        for request, condition in [*self.waiting.items()]:
            request.take(self.position, block)
            if request.is_done:
                del self.waiting[request]
                condition.notify()
        self.position += len(block)

    @property
    def goal(self) -> int:
        """Position up to which it is known to go."""
        driver = self.driver.goal if self.driver else self.position
        return max(driver, *(request.goal for request in self.waiting), 0)


class StreamCache:
    """Facts about compressed files that a process keeps: cursors, points, ends, warnings given.

    All methods may be called by several threads at the same time. A key names a file with its
    content, so that facts about a changed file are not found.
    """

    def __init__(self) -> None:
        self._ends: dict[Key, End] = {}
        self._warned: set[Key] = set()
        self.clear()

    def clear(self) -> None:
        """Drop cursors and points and replace the lock, as a forked child must.

        Another thread may have held the lock and used a cursor when the process forked.
        """
        self._lock = threading.Lock()
        self._cursors: list[tuple[Key, Cursor]] = []
        self._passes: list[Pass] = []
        self._points = SeekPoints()

    def find_end(self, key: Key) -> End | None:
        """Return the end of a stream, if it was reached before."""
        return self._ends.get(key)

    def add_end(self, key: Key, end: End) -> None:
        """Keep the end of a stream, all of which was right."""
        with self._lock:
            self._keep_end(key, end)

    def warn_once(self, key: Key, message: str) -> None:
        """Issue a warning, unless there was one about the same file before."""
        with self._lock:
            was_warned = key in self._warned
            self._warned.add(key)
        if not was_warned:
            warn(message)

    def is_at(self, key: Key, position: int) -> bool:
        """Return True if a cursor is kept that is exactly at a position."""
        with self._lock:
            return any(item[0] == key and item[1].position == position for item in self._cursors)

    def run(self, key: Key, container: str, inner: Source, request: Request) -> End | None:
        """Decompress until a request is done or the stream ends; return the end if it is known.

        The calling thread drives a pass or waits for one under way. If that fails, the calling
        thread starts again where the nearest point is, and gets the error itself.
        """
        end = None
        while not request.is_done:
            joined: list[Pass] = []
            try:
                with self._lock:
                    self._join(key, container, request, joined)
                for found in joined:
                    if found.driver is not request:
                        self._wait(found, request)
                    if found.driver is request:
                        self._drive(found, inner, request)
            finally:
                for found in joined:
                    self._leave(found, request)
            end = self.find_end(key)
            if end is not None and (request.is_advance or request.next_offset >= end.size):
                break
        return end

    def _join(self, key: Key, container: str, request: Request, joined: list[Pass]) -> None:
        """Add the pass to `joined` that a request waits for, or a new one that it drives.

        The nearest of all positions before the bytes is taken: of kept cursors, points, and passes
        under way. The caller has to leave the pass even if it is interrupted in here.
        """
        offset = request.next_offset
        kept = [
            cursor
            for file, cursor in self._cursors
            if file == key
            and cursor.position <= offset
            and is_in_order(cursor, cursor.position, request)
        ]
        cursor = max(kept, key=lambda cursor: cursor.position, default=None)
        point = self._points.before(key, offset)
        if point is not None and (cursor is None or cursor.position < point.position):
            start = point.position
        else:
            start, point = cursor.position if cursor else 0, None
        under_way = [
            item
            for item in self._passes
            if item.key == key
            and start <= item.position <= offset
            and is_in_order(item.cursor, item.goal, request)
        ]
        if under_way:
            nearest = max(under_way, key=lambda item: item.position)
            joined.append(nearest)
            nearest.waiting[request] = threading.Condition(self._lock)
            nearest.others.set()
            return
        if point is not None:
            cursor = self._points.start(key, point, request.goal)
        elif cursor is not None:
            self._cursors.remove((key, cursor))
        if cursor is None:
            cursor = Cursor(container)
            if not is_in_order(cursor, 0, request):
                cursor = Cursor(container, is_copyable=True)
        joined.append(Pass(key, cursor))
        joined[0].driver = request
        self._passes.append(joined[0])

    def _wait(self, found: Pass, request: Request) -> None:
        """Wait until a request is done, its thread is to drive the pass, or the pass failed."""
        condition = found.waiting.get(request)
        if condition is not None:
            with condition:
                while request in found.waiting:
                    condition.wait()

    def _drive(self, found: Pass, inner: Source, request: Request) -> None:
        """Decompress until a request is done, the stream ends, or a point is nearer."""
        cursor = found.cursor
        found.is_sound, request.reached = False, cursor.position
        if request.missing_nbytes >= MAX_SKIP_NBYTES and threading.active_count() > 1:
            skipped_nbytes = request.next_offset - cursor.position
            found.others.wait(min(MAX_JOIN_SECONDS, skipped_nbytes / SKIPPED_NBYTES_PER_SECOND))
        while not request.is_done:
            block = cursor.read(inner, min(BLOCK_NBYTES, request.goal - cursor.position))
            request.take(found.position, block)
            if not block:
                break
            with self._lock:
                is_far = request.next_offset - cursor.position > MIN_SPACING_NBYTES
                found.pass_on(block)
                self._points.add(found.key, cursor)
                point = self._points.before(found.key, request.next_offset) if is_far else None
            if point is not None and point.position > found.position:
                break
        found.is_sound = True

    def _leave(self, found: Pass, request: Request) -> None:
        """Hand the cursor to the waiting request that needs it first, or keep it if there is none.

        After an error or at the end of the stream, waiting requests start again.
        """
        with self._lock:
            found.waiting.pop(request, None)
            if found.driver is not request:
                return
            found.driver = None
            cursor = found.cursor
            is_over = cursor.end is not None or not found.is_sound
            if found.waiting and not is_over:
                found.driver = min(found.waiting, key=lambda waiting: waiting.next_offset)
                found.waiting.pop(found.driver).notify()
                return
            if found in self._passes:
                self._passes.remove(found)
            for condition in found.waiting.values():
                condition.notify()
            found.waiting.clear()
            if cursor.end is not None:
                self._keep_end(found.key, cursor.end)
            elif cursor.position and not is_over:
                self._add_cursor(found.key, cursor)

    def _keep_end(self, key: Key, end: End) -> None:
        """Keep the end of a stream; the oldest are dropped."""
        self._ends[key] = end
        while len(self._ends) > MAX_ENDS:
            del self._ends[next(iter(self._ends))]

    def _add_cursor(self, key: Key, cursor: Cursor) -> None:
        """Keep a cursor; those that were not used for longest are dropped."""
        self._cursors.append((key, cursor))
        heavy = [item for item in self._cursors if item[1].container in HEAVY_CONTAINERS]
        for item in heavy[:-MAX_HEAVY_CURSORS]:
            self._cursors.remove(item)
        del self._cursors[:-MAX_CURSORS]


def is_in_order(cursor: Cursor, position: int, request: Request) -> bool:
    """Return True if a request should be served by a cursor that will come to a position.

    A cursor of gzip that leaves no points does not skip far.
    """
    if cursor.container != "gzip" or cursor.is_copyable or request.is_advance:
        return True
    max_skip_nbytes = max(MAX_SKIP_NBYTES, MAX_SKIP_RATIO * request.missing_nbytes)
    return request.next_offset - position <= max_skip_nbytes


streams = StreamCache()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=streams.clear)
