"""From an index to the bytes that it needs: a pure plan, which `array` carries out.

An index is outer ("orthogonal"): each axis has its own integer, slice or list of integers. A
selection that lies in one piece is one run of bytes. Any other is cut into pieces of a bounded
span, each with the bands of bytes that it really needs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout

__all__ = ["Piece", "Plan", "plan"]

Band = tuple[int, int]  # offset and number of bytes

SPAN_NBYTES = 64 * 2**20  # of one piece: bounds the memory of a read, and what a map shows
MAX_BANDS = 2**14  # of one piece
MAX_PROBES = 8
GAP_NBYTES = 64 * 2**10  # rows that lie closer are read in one go


@dataclass(frozen=True, slots=True)
class Pick:
    """What is taken of one stored axis: `index` is a slice with a positive step, or integers."""

    index: slice | NDArray[np.intp]
    count: int
    dropped: bool = False  # an integer was given: the axis goes
    reversed: bool = False  # a slice with a negative step was: read forwards, then turned round

    @classmethod
    def whole(cls, length: int) -> Pick:
        return cls(slice(0, length, 1), length)

    @classmethod
    def parse(cls, key: Any, length: int, axis: int) -> Pick:
        """Read one entry of an index; IndexError if it is out of bounds or no index."""
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
        if step != 0 and (np.diff(array) == step).all():  # a slice in disguise
            low, high = int(min(array[0], array[-1])), int(max(array[0], array[-1]))
            return cls(slice(low, high + 1, abs(step)), len(array), reversed=step < 0)
        return cls(array, len(array))

    @property
    def positions(self) -> NDArray[np.intp]:
        """Every position taken, in the order of the result (before it is turned round)."""
        if isinstance(self.index, slice):
            return np.arange(self.index.start, self.index.stop, self.index.step)
        return self.index

    def sorted(self) -> NDArray[np.intp]:
        """Give every position taken once, in rising order."""
        return self.positions if isinstance(self.index, slice) else np.unique(self.index)

    @property
    def bounds(self) -> tuple[int, int]:
        """First position taken, and the one behind the last."""
        if isinstance(self.index, slice):
            return self.index.start, self.index.stop
        return int(self.index.min()), int(self.index.max()) + 1

    @property
    def is_run(self) -> bool:
        """Whether the positions are consecutive and rising."""
        return isinstance(self.index, slice) and (self.index.step == 1 or self.count == 1)

    def shifted(self, low: int) -> slice | NDArray[np.intp]:
        """Give the index within an array that begins at position `low`."""
        if isinstance(self.index, slice):
            return slice(self.index.start - low, self.index.stop - low, self.index.step)
        return self.index - low

    def part(self, first: int, last: int) -> Pick:
        """Entries `first` to `last` of the positions, as a Pick of their own."""
        if isinstance(self.index, slice):
            step = self.index.step
            start = self.index.start + first * step
            return Pick(slice(start, start + (last - first - 1) * step + 1, step), last - first)
        return Pick(self.index[first:last], last - first)

    def split(self, most: int) -> Iterator[tuple[int, Pick]]:
        """Cut into groups of at most `most` entries; yields the first's number and the group."""
        for first in range(0, self.count, most):
            yield first, self.part(first, min(first + most, self.count))

    def split_span(self, most: int) -> Iterator[tuple[int, Pick]]:
        """Cut into groups of entries whose positions span at most `most`; yields as `split`."""
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


def first_column(layout: Layout, columns: Pick) -> int:
    """Give the first column that is read: a whole byte holds two of a packed mode."""
    low = columns.bounds[0]
    return low - low % 2 if layout.sample.packed else low


def crop(layout: Layout, columns: Pick) -> Band:
    """Give the first byte of a row that is needed, and the one behind the last."""
    row_nbytes = layout.sample.row_nbytes
    return row_nbytes(first_column(layout, columns)), row_nbytes(columns.bounds[1])


def row_runs(layout: Layout, rows: Pick) -> list[Band]:
    """Give the runs of rows that are read in one go (first, number of rows), in rising order."""
    if rows.is_run:
        return [(rows.bounds[0], rows.count)]
    there = rows.sorted()
    far = np.flatnonzero((np.diff(there) - 1) * layout.row_nbytes > GAP_NBYTES)
    first = there[np.append(0, far + 1)]
    last = there[np.append(far, -1)]
    return list(zip(first.tolist(), (last - first + 1).tolist(), strict=True))


def is_exact(runs: list[Band]) -> bool:
    """Whether every row is read by itself, and so can be cut to the columns that are needed."""
    return all(count == 1 for _, count in runs)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a selection, within one volume.

    Attributes
    ----------
    target : tuple
        Where it goes in an array of the whole selection (volumes, sections, rows, columns).
    runs : list of tuple of int
        Rows that are read in one go: the first of them and how many.
    """

    layout: Layout
    volume: int
    sections: Pick
    rows: Pick
    columns: Pick
    runs: list[Band]
    target: tuple[int | slice, ...]

    def offset_of(self, section: int, row: int) -> int:
        """Where a row begins in the file."""
        layout = self.layout
        number = self.volume * layout.stored[1] + section
        return layout.offset + number * layout.section_nbytes + row * layout.row_nbytes

    @property
    def span(self) -> Band:
        """The smallest run of whole rows that holds the piece."""
        (s0, s1), (r0, r1) = self.sections.bounds, self.rows.bounds
        start = self.offset_of(s0, r0)
        return start, self.offset_of(s1 - 1, r1 - 1) + self.layout.row_nbytes - start

    @property
    def bands(self) -> list[Band]:
        """The runs of bytes that are needed; of rows read one by one only the columns that are."""
        left, right = self.band_crop
        width = self.layout.row_nbytes
        first, section_nbytes = self.offset_of(0, 0) + left, self.layout.section_nbytes
        parts = [(row * width, (count - 1) * width + right - left) for row, count in self.runs]
        if self.sections.is_run and parts[0][1] == section_nbytes:  # nothing lies between them
            low, high = self.sections.bounds
            return [(first + low * section_nbytes, (high - low) * section_nbytes)]
        starts = [first + n * section_nbytes for n in self.sections.sorted().tolist()]
        return [(start + offset, nbytes) for start in starts for offset, nbytes in parts]

    @property
    def band_crop(self) -> Band:
        """First byte of a row that is read, and the one behind the last."""
        return (
            crop(self.layout, self.columns) if is_exact(self.runs) else (0, self.layout.row_nbytes)
        )

    def from_span(self, span: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Take the pixels out of the bytes of `span`; a view where that is possible."""
        (s0, s1), (r0, r1) = self.sections.bounds, self.rows.bounds
        layout = self.layout
        rows = np.lib.stride_tricks.as_strided(
            span,
            (s1 - s0, r1 - r0, layout.row_nbytes),
            (layout.section_nbytes, layout.row_nbytes, 1),
        )
        return self.take(rows, self.sections.shifted(s0), self.rows.shifted(r0), 0)

    def from_bands(self, data: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Take the pixels out of the bytes of all `bands`, one behind the other."""
        left, right = self.band_crop
        there = self.sections.sorted()
        rows = data.reshape(len(there), -1, right - left)
        sections = np.searchsorted(there, self.sections.positions)
        starts, counts = np.array(self.runs).T
        before = np.cumsum(counts) - counts
        wanted = self.rows.positions
        run = np.searchsorted(starts, wanted, side="right") - 1
        return self.take(rows, sections, wanted - starts[run] + before[run], left)

    def take(
        self,
        rows: NDArray[np.uint8],
        sections: slice | NDArray[np.intp],
        wanted: slice | NDArray[np.intp],
        left: int,
    ) -> NDArray[np.generic]:
        """Pick sections, rows and columns of (sections, rows, bytes from byte `left` on)."""
        low, high = crop(self.layout, self.columns)
        chosen = rows[:, :, low - left : high - left]
        if isinstance(sections, slice):
            chosen = chosen[sections][:, wanted]
        elif isinstance(wanted, slice):
            chosen = chosen[:, wanted][sections]
        else:
            chosen = chosen[sections[:, np.newaxis], wanted]
        pixels = self.layout.sample.decode(chosen, self.layout.byteorder)
        return pixels[:, :, self.columns.shifted(first_column(self.layout, self.columns))]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a selection needs of the file, and how its result is put together.

    Attributes
    ----------
    picks : tuple of Pick
        What is taken of volumes, sections, rows and columns as they are stored, and of RGB.
    order : tuple of int
        For each axis given out, the number of its pick.
    """

    layout: Layout
    picks: tuple[Pick, ...]
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is read: volumes, sections, rows, columns, and 3 for RGB."""
        counts = tuple(pick.count for pick in self.picks[:4])
        return counts + self.layout.sample.trailing

    @property
    def run(self) -> Band | None:
        """Offset and number of bytes of a selection in one piece, else None.

        It lies in one piece if an axis is taken in part, all slower ones at one place and all
        faster ones whole.
        """
        layout = self.layout
        if layout.sample.packed or not all(pick.is_run for pick in self.picks[:4]):
            return None
        item = layout.sample.row_nbytes(1)
        units = (layout.stored[1] * layout.section_nbytes, layout.section_nbytes,
                 layout.row_nbytes, item)  # fmt: skip
        whole = True
        for pick, length in zip(self.picks[3::-1], layout.stored[::-1], strict=True):
            if pick.count > 1 and not whole:
                return None
            whole = whole and pick.count == length
        start = sum(pick.bounds[0] * unit for pick, unit in zip(self.picks, units, strict=False))
        count = 1
        for pick in self.picks[:4]:
            count *= pick.count
        return layout.offset + start, count * item

    @property
    def slices(self) -> tuple[slice, ...] | None:
        """Slices of the stored axes, where it takes nothing else."""
        found = tuple(pick.index for pick in self.picks[:4] if isinstance(pick.index, slice))
        return found if len(found) == 4 else None

    @property
    def probes(self) -> list[int]:
        """Offsets of a few of the bytes that are needed, from all over the selection."""
        counts = [pick.count for pick in self.picks[:3]]
        rows = math.prod(counts)
        some = np.unravel_index(range(0, rows, max(1, rows // MAX_PROBES)), counts)
        places = [pick.positions[at] for pick, at in zip(self.picks[:3], some, strict=True)]
        places.append(np.array(self.picks[3].bounds[0]))
        offsets: list[int] = sum(map(operator.mul, places, self.layout.strides)).tolist()
        return [self.layout.offset + offset for offset in offsets]

    @property
    def reaches_end(self) -> bool:
        """Whether the last row of the file is among what is read."""
        pairs = zip(self.picks[:3], self.layout.stored[:3], strict=True)
        return all(pick.bounds[1] == length for pick, length in pairs)

    def pieces(self) -> Iterator[Piece]:
        """Cut the selection into pieces, each within one volume.

        Where rows are read one by one the bands of a piece are bounded, else its span.
        """
        volumes, sections, rows, columns = self.picks[:4]
        layout = self.layout
        all_runs = row_runs(layout, rows)
        if is_exact(all_runs):
            low, high = crop(layout, columns)
            row_nbytes, cut = high - low, Pick.split
            room = SPAN_NBYTES // (rows.count * row_nbytes)
        else:
            row_nbytes, cut = layout.row_nbytes, Pick.split_span
            room = SPAN_NBYTES // layout.section_nbytes
        parts = cut(sections, max(1, min(room, MAX_BANDS // len(all_runs))))
        most = max(1, min(SPAN_NBYTES // row_nbytes, MAX_BANDS))
        row_parts = [(r, some, row_runs(layout, some)) for r, some in cut(rows, most)]
        all_rows = [(0, rows, all_runs)]
        blocks = list(parts)
        for v, volume in enumerate(volumes.positions.tolist()):
            for s, some_sections in blocks:
                for r, some_rows, runs in row_parts if some_sections.count == 1 else all_rows:
                    target = (v, slice(s, s + some_sections.count), slice(r, r + some_rows.count))
                    yield Piece(layout, volume, some_sections, some_rows, columns, runs, target)

    def finish(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Turn what was read into the result: axes in z, y, x order, integers dropped."""
        index: list[int | slice | NDArray[np.intp]] = []
        kept = []
        for axis, pick in enumerate(self.picks):
            if pick.dropped:
                index.append(0)
                continue
            kept.append(axis)
            index.append(slice(None, None, -1) if pick.reversed else slice(None))
        if len(self.picks) == 5:
            colour = self.picks[4]
            pixels = pixels[..., colour.index]
        order = [kept.index(axis) for axis in self.order if axis in kept]
        return pixels[tuple(index)].transpose(order)


def plan(layout: Layout, key: Any) -> Plan:
    """Find out which bytes an index needs.

    Parameters
    ----------
    layout : Layout
        Layout of the file.
    key : index
        An integer, slice, list of integers or ellipsis, or a tuple of them, one for each axis
        given out. Lists are outer: each works on its own axis.

    Returns
    -------
    Plan

    Raises
    ------
    IndexError
        An entry is out of bounds or of a wrong type, or there are too many.

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
    place = ellipses[0] if ellipses else len(entries)
    entries[place : place + len(ellipses)] = [slice(None)] * missing
    picks = [Pick(slice(0, 1, 1), 1, dropped=True)] * 4
    picks += [Pick.whole(n) for n in layout.sample.trailing]
    for axis, (entry, length) in enumerate(zip(entries, layout.shape, strict=True)):
        picks[layout.axes[axis]] = Pick.parse(entry, length, axis)
    return Plan(layout, tuple(picks), layout.axes)
