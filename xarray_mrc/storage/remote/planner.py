"""Plan requests: which byte ranges are asked for together, and which are split. Pure functions."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from xarray_mrc.storage.protocol import Parts

__all__ = ["MAX_PART_NBYTES", "Request", "plan_requests"]

# A request of nothing takes a round trip of 10 to 100 ms. In that time a connection of 2.5 to
# 25 MB/s transfers this many bytes, so that reading a shorter gap costs less than another request.
MAX_GAP_NBYTES = 256 * 2**10
# Longer gaps than this are read only while the request has at least as many wanted bytes as others.
SHORT_GAP_NBYTES = 8 * 2**10
# Longer ranges are split, so that several connections share them.
MAX_PART_NBYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A range of bytes to ask for, and the arrays that take them.

    Attributes
    ----------
    offset, nbytes : int
        The range.
    parts : sequence of (int, ndarray of uint8)
        Offsets and arrays inside the range, sorted by offset. They may overlap or leave gaps.
    """

    offset: int
    nbytes: int
    parts: Parts
    # The largest end of a part so far, for each: it rises, so that it can be searched.
    _reach: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ends = (offset + out.size for offset, out in self.parts)
        object.__setattr__(self, "_reach", list(accumulate(ends, max)))

    def take(self, position: int, data: bytes | memoryview) -> None:
        """Copy bytes that came from the server into the arrays.

        Parameters
        ----------
        position : int
            Offset of the bytes in the file.
        data : bytes or memoryview
            Bytes inside the range.
        """
        found = np.frombuffer(data, np.uint8)
        end = position + found.size
        for number in range(bisect_right(self._reach, position), len(self.parts)):
            start, out = self.parts[number]
            if start >= end:
                break
            low, high = max(start, position), min(start + out.size, end)
            if low < high:
                out[low - start : high - start] = found[low - position : high - position]


def plan_requests(
    parts: Parts, *, max_gap: int = MAX_GAP_NBYTES, max_part: int = MAX_PART_NBYTES
) -> list[Request]:
    """Plan the requests for ranges of bytes.

    Ranges that overlap or touch are one request. So are ranges with a gap of up to 8 KiB, and those
    with a gap of up to `max_gap` as long as no more than half of the request is gaps. A request for
    more than `max_part` bytes is split into equal parts.

    Parameters
    ----------
    parts : sequence of (int, ndarray of uint8)
        Offset of each range, and the array that takes its bytes.
    max_gap : int
        Bytes between two ranges that may be read to save a request.
    max_part : int
        Bytes of the longest request.

    Returns
    -------
    list of Request
        In the order of the file, without overlaps. Empty ranges are left out.

    Examples
    --------
    >>> [(r.offset, r.nbytes) for r in plan_requests([(0, np.empty(100, np.uint8))], max_part=60)]
    [(0, 50), (50, 50)]
    """
    requests: list[Request] = []
    group: list[tuple[int, Any]] = []
    start = end = wanted = 0
    for offset, out in sorted((part for part in parts if part[1].size), key=lambda part: part[0]):
        gap, last = offset - end, max(end, offset + out.size)
        more = wanted + last - max(end, offset)
        is_near = gap <= min(SHORT_GAP_NBYTES, max_gap)
        if group and (is_near or (gap <= max_gap and last - start <= 2 * more)):
            group.append((offset, out))
            end, wanted = last, more
            continue
        requests += split_request(start, end, group, max_part)
        group, start, end, wanted = [(offset, out)], offset, last, out.size
    return requests + split_request(start, end, group, max_part)


def split_request(start: int, end: int, parts: Parts, max_part: int) -> list[Request]:
    """Return the request for a range, or several of equal length if it is too long."""
    if end - start <= max_part:
        return [Request(start, end - start, parts)] if parts else []
    count = -(-(end - start) // max_part)
    cuts = [start + (end - start) * number // count for number in range(count + 1)]
    requests = []
    for low, high in pairwise(cuts):
        inside = [
            (max(offset, low), out[max(0, low - offset) : high - offset])
            for offset, out in parts
            if offset < high and offset + out.size > low
        ]
        requests.append(Request(low, high - low, inside))
    return requests
