"""From an index to the byte ranges that hold it: a pure plan, which `array` carries out.

An index is outer ("orthogonal"): each axis has its own integer, slice or list of integers. A
selection without gaps is one byte range. Any other is cut into pieces of a bounded span, each with
the byte ranges that it needs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import Positions, Region, runs_of
from xarray_mrc.codec.layout import Layout

__all__ = ["ByteRange", "Piece", "Plan", "plan"]

ByteRange = tuple[int, int]  # offset and number of bytes

SPAN_NBYTES = 64 * 2**20  # of one piece: bounds the memory of a read, and the size of a map
MAX_RANGES = 2**14  # of one piece
MAX_PROBES = 8
GAP_NBYTES = 64 * 2**10  # rows that lie closer are read together, with the bytes between them


@dataclass(frozen=True, slots=True)
class Pick:
    """The selected positions of one stored axis: a slice with a positive step, or integers."""

    index: slice | NDArray[np.intp]
    count: int
    dropped: bool = False  # the key was an integer: the result lacks the axis
    reversed: bool = False  # the key had a negative step: read forwards, then reversed

    @classmethod
    def whole(cls, length: int) -> Pick:
        return cls(slice(0, length, 1), length)

    @classmethod
    def parse(cls, key: Any, length: int, axis: int) -> Pick:
        """Parse one entry of an index; IndexError if it is out of bounds or not an index."""
        if isinstance(key, slice):
            steps = range(*key.indices(length))
            if not steps:
                return cls(slice(0, 0, 1), 0)
            forward = steps if steps.step > 0 else steps[::-1]
            index = slice(forward[0], forward[-1] + 1, forward.step)
            return cls(index, len(steps), reversed=steps.step < 0)
        if isinstance(key, int | np.integer) and not isinstance(key, bool):
            first = operator.index(key)
            if not -length <= first < length:
                raise IndexError(f"index {key} is out of bounds for axis {axis} of length {length}")
            first %= length
            return cls(slice(first, first + 1, 1), 1, dropped=True)
        array = np.asarray(key)
        if array.dtype == bool and array.shape == (length,):
            array = np.flatnonzero(array)
        if array.ndim == 1 and array.size == 0:
            return cls(slice(0, 0, 1), 0)
        if array.ndim == 0 and array.dtype.kind in "iu":
            return cls.parse(int(array), length, axis)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise IndexError(
                f"index {key!r} of axis {axis}: expected an integer, a slice, or a list of integers"
            )
        if int(array.min()) < -length or int(array.max()) >= length:
            raise IndexError(f"index {key!r} is out of bounds for axis {axis} of length {length}")
        array = array.astype(np.intp)
        array = np.where(array < 0, array + length, array)
        step = int(array[1] - array[0]) if len(array) > 1 else 1
        if step != 0 and (np.diff(array) == step).all():  # a list that a slice can express
            low, high = int(min(array[0], array[-1])), int(max(array[0], array[-1]))
            return cls(slice(low, high + 1, abs(step)), len(array), reversed=step < 0)
        return cls(array, len(array))

    @property
    def positions(self) -> NDArray[np.intp]:
        """Every position, in the order of the result (before it is reversed)."""
        if isinstance(self.index, slice):
            return np.arange(self.index.start, self.index.stop, self.index.step)
        return self.index

    def sorted(self) -> Positions:
        """Return every position once, in rising order."""
        if isinstance(self.index, slice):
            return range(self.index.start, self.index.stop, self.index.step)
        return np.unique(self.index)

    @property
    def bounds(self) -> tuple[int, int]:
        """The first position, and the one after the last."""
        if isinstance(self.index, slice):
            return self.index.start, self.index.stop
        return int(self.index.min()), int(self.index.max()) + 1

    @property
    def is_run(self) -> bool:
        """Return True if the positions are consecutive and rising."""
        return isinstance(self.index, slice) and (self.index.step == 1 or self.count == 1)

    def shifted(self, low: int) -> slice | NDArray[np.intp]:
        """Return the index into an array that starts at position `low`."""
        if isinstance(self.index, slice):
            return slice(self.index.start - low, self.index.stop - low, self.index.step)
        return self.index - low

    def part(self, first: int, last: int) -> Pick:
        """Return the positions number `first` to `last` (not included)."""
        if isinstance(self.index, slice):
            step = self.index.step
            start = self.index.start + first * step
            return Pick(slice(start, start + (last - first - 1) * step + 1, step), last - first)
        return Pick(self.index[first:last], last - first)

    def split(self, most: int) -> Iterator[tuple[int, Pick]]:
        """Yield groups of at most `most` positions, each with the number of its first."""
        for first in range(0, self.count, most):
            yield first, self.part(first, min(first + most, self.count))

    def split_span(self, most: int) -> Iterator[tuple[int, Pick]]:
        """Yield groups of positions that span at most `most`, as `split` does."""
        if isinstance(self.index, slice):
            yield from self.split((most - 1) // self.index.step + 1)
            return
        first, low, high = 0, int(self.index[0]), int(self.index[0])
        for i, position in enumerate(self.index.tolist()):
            low, high = min(low, position), max(high, position)
            if high - low >= most:
                yield first, self.part(first, i)
                first, low, high = i, position, position
        yield first, self.part(first, self.count)


def rows_to_read(layout: Layout, rows: Pick) -> Positions:
    """Return the rows that are read: the wanted ones, and those in short gaps between them.

    One large read costs less than two small ones with little between them.
    """
    if rows.is_run:
        return range(*rows.bounds)
    wanted = np.asarray(rows.sorted())
    far = np.flatnonzero((np.diff(wanted) - 1) * layout.row_nbytes > GAP_NBYTES)
    if len(far) == len(wanted) - 1:
        return wanted
    return np.concatenate([np.arange(p[0], p[-1] + 1) for p in np.split(wanted, far + 1)])


def are_alone(rows: Positions) -> bool:
    """Return True if no two rows follow one another: then each can be read in part."""
    return len(runs_of(rows)) == len(rows)


def columns_to_read(layout: Layout, rows: Positions, columns: Pick) -> range:
    """Return the columns that are read: all of them, unless every row is read by itself."""
    return range(*(columns.bounds if are_alone(rows) else (0, layout.stored[3])))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a selection, within one volume.

    Attributes
    ----------
    sections, rows, columns : Pick
        The pixels that are wanted.
    region : tuple
        The pixels that are read: the wanted ones, and others that lie between them.
    target : tuple
        Index of the piece in an array of the whole selection.
    """

    layout: Layout
    sections: Pick
    rows: Pick
    columns: Pick
    region: Region
    target: tuple[int | slice, ...]

    @property
    def span(self) -> ByteRange:
        """The smallest run of whole rows that holds the piece."""
        volume, (s0, s1), (r0, r1) = self.region[0][0], self.sections.bounds, self.rows.bounds
        start = self.layout.offset_of((volume, s0, r0))
        end = self.layout.offset_of((volume, s1 - 1, r1 - 1)) + self.layout.row_nbytes
        return start, end - start

    @property
    def byte_ranges(self) -> list[ByteRange]:
        """The bytes of `region`, in the order of the file."""
        return list(self.layout.byte_ranges(self.region))

    def from_span(self, span: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Return the pixels, from the bytes of `span`; a view where that is possible."""
        (s0, s1), (r0, r1) = self.sections.bounds, self.rows.bounds
        layout = self.layout
        rows = np.lib.stride_tricks.as_strided(
            span,
            (s1 - s0, r1 - r0, layout.row_nbytes),
            (layout.section_nbytes, layout.row_nbytes, 1),
        )
        return self.take(rows, self.sections.shifted(s0), self.rows.shifted(r0), 0)

    def from_ranges(self, data: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Return the pixels, from the bytes of all `byte_ranges`, one after the other."""
        _, sections, rows, columns = self.region
        left, right = self.layout.column_bytes(columns)
        found = data.reshape(len(sections), len(rows), right - left)
        # Both axes of the region are sorted, and hold every position that is wanted.
        at_section = np.searchsorted(np.asarray(sections), self.sections.positions)
        at_row = np.searchsorted(np.asarray(rows), self.rows.positions)
        return self.take(found, at_section, at_row, left)

    def take(
        self,
        rows: NDArray[np.uint8],
        sections: slice | NDArray[np.intp],
        wanted: slice | NDArray[np.intp],
        left: int,
    ) -> NDArray[np.generic]:
        """Pick sections, rows and columns of an array of (sections, rows, bytes of a row).

        Its bytes start with byte `left` of the row.
        """
        columns = range(*self.columns.bounds)
        low, high = self.layout.column_bytes(columns)
        chosen = rows[:, :, low - left : high - left]
        if isinstance(sections, slice):
            chosen = chosen[sections][:, wanted]
        elif isinstance(wanted, slice):
            chosen = chosen[:, wanted][sections]
        else:
            chosen = chosen[sections[:, np.newaxis], wanted]
        pixels = self.layout.sample.decode(chosen, self.layout.byteorder)
        # The first byte of a packed mode may also hold the column before the first one.
        odd = columns[0] % 2 if self.layout.sample.packed else 0
        return pixels[:, :, self.columns.shifted(columns[0] - odd)]


@dataclass(frozen=True, slots=True)
class Plan:
    """The pixels that a selection reads, and how they become its result.

    Attributes
    ----------
    picks : tuple of Pick
        Selected positions along volumes, sections, rows and columns as stored, and of RGB.
    order : tuple of int
        For each axis of the array, the number of its pick.
    """

    layout: Layout
    picks: tuple[Pick, ...]
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels that are read: volumes, sections, rows, columns, and 3 for RGB."""
        counts = tuple(pick.count for pick in self.picks[:4])
        return counts + self.layout.sample.trailing

    @property
    def run(self) -> ByteRange | None:
        """The byte range that holds the selection and nothing else, or None."""
        picks = self.picks[:4]
        if self.layout.sample.packed or not all(pick.is_run for pick in picks):
            return None
        volumes, sections, rows, columns = (range(*pick.bounds) for pick in picks)
        ranges = self.layout.byte_ranges((volumes, sections, rows, columns))
        first = next(ranges)
        return first if next(ranges, None) is None else None

    @property
    def slices(self) -> tuple[slice, ...] | None:
        """Slices of the stored axes, or None if a list of positions is among them."""
        found = tuple(pick.index for pick in self.picks[:4] if isinstance(pick.index, slice))
        return found if len(found) == 4 else None

    @property
    def probes(self) -> list[int]:
        """Offsets of a few pixels from all over the selection, to ask the page cache for."""
        counts = [pick.count for pick in self.picks[:3]]
        rows = math.prod(counts)
        some = np.unravel_index(range(0, rows, max(1, rows // MAX_PROBES)), counts)
        position = [pick.positions[at] for pick, at in zip(self.picks[:3], some, strict=True)]
        offsets: list[int] = self.layout.offset_of([*position, self.picks[3].bounds[0]]).tolist()
        return offsets

    @property
    def reaches_end(self) -> bool:
        """Return True if the last row of the file is read."""
        pairs = zip(self.picks[:3], self.layout.stored[:3], strict=True)
        return 0 not in self.shape and all(pick.bounds[1] == length for pick, length in pairs)

    def pieces(self) -> Iterator[Piece]:
        """Cut the selection into pieces, each within one volume.

        Where every row is read by itself the bytes that are read are bounded, else the span.
        """
        volumes, sections, rows, columns = self.picks[:4]
        layout = self.layout
        all_rows = rows_to_read(layout, rows)
        if are_alone(all_rows):
            low, high = layout.column_bytes(range(*columns.bounds))
            row_nbytes, cut = high - low, Pick.split
            room = SPAN_NBYTES // (rows.count * row_nbytes)
        else:
            row_nbytes, cut = layout.row_nbytes, Pick.split_span
            room = SPAN_NBYTES // layout.section_nbytes
        parts = list(cut(sections, max(1, min(room, MAX_RANGES // len(runs_of(all_rows))))))
        most = max(1, min(SPAN_NBYTES // row_nbytes, MAX_RANGES))
        row_parts = [(r, some, rows_to_read(layout, some)) for r, some in cut(rows, most)]
        for v, volume in enumerate(volumes.positions.tolist()):
            for s, part in parts:
                for r, some, read in row_parts if part.count == 1 else [(0, rows, all_rows)]:
                    read_columns = columns_to_read(layout, read, columns)
                    region = (range(volume, volume + 1), part.sorted(), read, read_columns)
                    target = (v, slice(s, s + part.count), slice(r, r + some.count))
                    yield Piece(layout, part, some, columns, region, target)

    def to_result(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the result: axes in the order z, y, x, without those of integers."""
        index: list[int | slice | NDArray[np.intp]] = []
        remaining = []
        for axis, pick in enumerate(self.picks):
            if pick.dropped:
                index.append(0)
                continue
            remaining.append(axis)
            index.append(slice(None, None, -1) if pick.reversed else slice(None))
        if len(self.picks) == 5:
            colour = self.picks[4]
            pixels = pixels[..., colour.index]
        order = [remaining.index(axis) for axis in self.order if axis in remaining]
        return pixels[tuple(index)].transpose(order)


def plan(layout: Layout, key: Any) -> Plan:
    """Plan which bytes an index reads.

    Parameters
    ----------
    layout : Layout
        Layout of the file.
    key : index
        An integer, slice, list of integers or ellipsis, or a tuple of them, one for each axis of
        the array. Lists are outer: each selects along its own axis.

    Returns
    -------
    Plan

    Raises
    ------
    IndexError
        An entry is out of bounds or of a wrong type, or there are too many entries.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mz=2, mode=2)
    >>> plan(Layout.from_header(header), (1, slice(1, 3))).run
    (1088, 32)
    """
    entries = list(key) if isinstance(key, tuple) else [key]
    ellipses = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    missing = len(layout.shape) - (len(entries) - len(ellipses))
    if missing < 0 or len(ellipses) > 1:
        raise IndexError(f"index {key!r} has too many entries for {len(layout.shape)} dimensions")
    at = ellipses[0] if ellipses else len(entries)
    entries[at : at + len(ellipses)] = [slice(None)] * missing
    picks = [Pick(slice(0, 1, 1), 1, dropped=True)] * 4
    picks += [Pick.whole(n) for n in layout.sample.trailing]
    for axis, (entry, length) in enumerate(zip(entries, layout.shape, strict=True)):
        picks[layout.axes[axis]] = Pick.parse(entry, length, axis)
    return Plan(layout, tuple(picks), layout.axes)
