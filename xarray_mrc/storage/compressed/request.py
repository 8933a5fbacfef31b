"""`Request`: the bytes of a stream that one reader waits for."""

from __future__ import annotations

from collections import deque

import numpy as np

from xarray_mrc.storage.protocol import Bytes, Parts

__all__ = ["Request"]


class Request:
    """Ranges of a stream that are filled as its bytes pass by, in the order of the file.

    Parameters
    ----------
    parts : sequence of (int, ndarray of uint8)
        As in `Source.read_ranges`.
    start, goal : int, optional
        Instead of ranges: a position that a cursor, which is at `start` or before it, has to reach.

    Attributes
    ----------
    goal : int
        End of the last range, or the position to reach.
    reached : int
        Position up to which the stream was read for this request.
    is_advance : bool
        Whether a position has to be reached, rather than ranges filled.
    """

    def __init__(self, parts: Parts = (), *, start: int = 0, goal: int = 0) -> None:
        self._missing: deque[tuple[int, Bytes]] = deque()
        self._repeats: list[tuple[Bytes, Bytes]] = []  # bytes of overlapping ranges: to, from
        self._start = start
        self.is_advance = not parts
        self.goal = goal
        self.reached = 0
        before, last = 0, np.empty(0, np.uint8)  # the range that reaches furthest so far
        for offset, out in sorted(parts, key=lambda part: part[0]):
            known = last[offset - before :][: out.size]
            if known.size:
                self._repeats.append((out[: known.size], known))
            if out.size > known.size:
                self._missing.append((offset + known.size, out[known.size :]))
            if offset + out.size > before + last.size:
                before, last = offset, out
        if self._missing:
            self.goal = before + last.size

    @property
    def next_offset(self) -> int:
        """Position of the next byte that is missing, or where an advance starts."""
        return self._missing[0][0] if self._missing else self._start

    @property
    def missing_nbytes(self) -> int:
        """Number of bytes that are missing."""
        return sum(out.size for _, out in self._missing)

    @property
    def is_done(self) -> bool:
        """Return True if no bytes are missing, or the goal is reached."""
        return self.reached >= self.goal if self.is_advance else not self._missing

    def take(self, position: int, block: bytes) -> None:
        """Copy the bytes that are missing from a block that starts at a position."""
        self.reached = end = position + len(block)
        while self._missing and self._missing[0][0] < end:
            offset, out = self._missing.popleft()
            data = np.frombuffer(block, np.uint8)[offset - position :][: out.size]
            out[: data.size] = data
            if data.size < out.size:
                self._missing.appendleft((offset + data.size, out[data.size :]))
            elif not self._missing:
                for target, origin in self._repeats:
                    target[...] = origin
