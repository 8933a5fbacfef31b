"""Seek points: copies of decompressors, from which a stream is read without its beginning."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict

from xarray_mrc.storage.compressed.cursor import Cursor

__all__ = ["MIN_SPACING_NBYTES", "Key", "SeekPoints"]

Key = tuple[object, ...]

# Decompressed bytes between points. zlib-ng takes 4 ms for 2 MiB, and 0.07 ms for a copy of 40 KB.
MIN_SPACING_NBYTES = 2 * 2**20
# Points of one file, 20 MiB: the spacing of a file above 1 GiB doubles as often as it has to.
MAX_FILE_POINTS = 512
# Points of all files, 60 MiB: those of the files that were not read for longest are dropped.
MAX_POINTS = 3 * MAX_FILE_POINTS


class FilePoints:
    """The points of one file, in rising order of their positions."""

    def __init__(self) -> None:
        self.cursors: list[Cursor] = []
        self.spacing = MIN_SPACING_NBYTES

    @property
    def end(self) -> int:
        """Position of the last point; 0 if there is none."""
        return self.cursors[-1].position if self.cursors else 0

    def thin(self) -> None:
        """Drop every second point and double the spacing."""
        del self.cursors[::2]
        self.spacing *= 2


class SeekPoints:
    """The points of all files that a process has read out of order.

    The caller holds a lock during each call.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[Key, FilePoints] = OrderedDict()
        self._count = 0

    def before(self, key: Key, offset: int) -> Cursor | None:
        """Return the last point of a file at or before an offset. It must be copied for use."""
        file = self._files.get(key)
        if file is None:
            return None
        self._files.move_to_end(key)
        number = bisect_right(file.cursors, offset, key=position_of)
        return file.cursors[number - 1] if number else None

    def start(self, key: Key, point: Cursor, goal: int) -> Cursor:
        """Return a cursor that starts at a point, and reads what it needs to come to a goal."""
        file = self._files[key]
        cursor = point.copy() or Cursor(point.container)  # a point can always be copied
        number = bisect_left(file.cursors, goal, key=position_of)
        if number < len(file.cursors):
            cursor.prepare(file.cursors[number])
        return cursor

    def add(self, key: Key, cursor: Cursor) -> None:
        """Add a copy of a cursor, if it is far enough after the last point and can be copied."""
        file = self._files.setdefault(key, FilePoints())
        if cursor.position < file.end + file.spacing or (point := cursor.copy()) is None:
            return
        self._count -= len(file.cursors)
        file.cursors.append(point)
        if len(file.cursors) > MAX_FILE_POINTS:
            file.thin()
        self._count += len(file.cursors)
        self._files.move_to_end(key)
        while self._count > MAX_POINTS and len(self._files) > 1:
            self._count -= len(self._files.popitem(last=False)[1].cursors)


def position_of(cursor: Cursor) -> int:
    """Return the position of a cursor."""
    return cursor.position
