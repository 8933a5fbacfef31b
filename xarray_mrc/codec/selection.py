"""From an index to the bytes that it needs: a pure plan, which `array` carries out.

An index is outer ("orthogonal"): each axis has its own integer, slice or list of integers. A
selection that lies in one piece is one run of bytes. Any other is cut into pieces of a bounded
span, each with the bands of bytes that it really needs.
"""

from __future__ import annotations

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
        array = np.asarray(key)
        if array.dtype == bool and array.shape == (length,):
            array = np.flatnonzero(array)
        if array.ndim == 1 and array.size == 0:
            return cls(slice(0, 0, 1), 0)
        if array.ndim > 1 or array.dtype.kind not in "iu":
            raise IndexError(
                f"index {key!r} of axis {axis}: expected an integer, a slice, or a list of integers"
            )
        if array.min() < -length or array.max() >= length:
            raise IndexError(f"index {key!r} is out of bounds for axis {axis} of length {length}")
        array = np.where(array < 0, array + length, array).astype(np.intp)
        if array.ndim == 0:
            first = operator.index(array[()])
            return cls(slice(first, first + 1, 1), 1, dropped=True)
        return cls(array, len(array))

    @property
    def positions(self) -> NDArray[np.intp]:
        """Every position taken, in the order of the result (before it is turned round)."""
        if isinstance(self.index, slice):
            return np.arange(self.index.start, self.index.stop, self.index.step)
        return self.index

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


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a selection, within one volume.

    Attributes
    ----------
    target : tuple
        Where it goes in an array of the whole selection (volumes, sections, rows, columns).
    """

    layout: Layout
    volume: int
    sections: Pick
    rows: Pick
    columns: Pick
    target: tuple[int | slice, ...]

    def offset_of(self, section: int, row: int) -> int:
        """Where a row begins in the file."""
        layout = self.layout
        number = self.volume * layout.stored[1] + section
        return layout.offset + number * layout.section_nbytes + row * layout.row_nbytes

    @property
    def crop(self) -> tuple[int, int]:
        """First byte of a row that is needed, and the one behind the last."""
        low, high = self.columns.bounds
        sample = self.layout.sample
        low -= low % 2 if sample.packed else 0
        return sample.row_nbytes(low), sample.row_nbytes(high)

    @property
    def span(self) -> Band:
        """The smallest run of whole rows that holds the piece."""
        (s0, s1), (r0, r1) = self.sections.bounds, self.rows.bounds
        start = self.offset_of(s0, r0)
        return start, self.offset_of(s1 - 1, r1 - 1) + self.layout.row_nbytes - start

    @property
    def row_runs(self) -> list[tuple[int, int]]:
        """Runs of rows (first, last + 1) that are read in one go, in rising order."""
        if self.rows.is_run:
            return [self.rows.bounds]
        rows = np.unique(self.rows.positions)
        far = np.flatnonzero((np.diff(rows) - 1) * self.layout.row_nbytes > GAP_NBYTES) + 1
        parts = np.split(rows, far)
        return [(int(part[0]), int(part[-1]) + 1) for part in parts]

    @property
    def bands(self) -> list[Band]:
        """The runs of bytes that are needed; of a single row only the columns that are."""
        runs = self.row_runs
        left, right = self.band_crop
        width = self.layout.row_nbytes
        return [
            (self.offset_of(section, r0) + left, (r1 - r0 - 1) * width + right - left)
            for section in np.unique(self.sections.positions).tolist()
            for r0, r1 in runs
        ]

    @property
    def is_exact(self) -> bool:
        """Whether every row is read by itself, cut to the columns that are needed."""
        return all(r1 - r0 == 1 for r0, r1 in self.row_runs)

    @property
    def band_crop(self) -> tuple[int, int]:
        """First byte of a row that is read, and the one behind the last."""
        return self.crop if self.is_exact else (0, self.layout.row_nbytes)

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
        runs = self.row_runs
        left, right = self.band_crop
        there = np.unique(self.sections.positions)
        rows = data.reshape(len(there), -1, right - left)
        section_index = np.searchsorted(there, self.sections.positions)
        starts = np.array([r0 for r0, _ in runs])
        before = np.cumsum([0] + [r1 - r0 for r0, r1 in runs[:-1]])
        wanted = self.rows.positions
        run = np.searchsorted(starts, wanted, side="right") - 1
        return self.take(rows, section_index, wanted - starts[run] + before[run], left)

    def take(
        self,
        rows: NDArray[np.uint8],
        sections: slice | NDArray[np.intp],
        wanted: slice | NDArray[np.intp],
        left: int,
    ) -> NDArray[np.generic]:
        """Pick sections, rows and columns of (sections, rows, bytes from byte `left` on)."""
        low, high = self.crop
        chosen = rows[:, :, low - left : high - left]
        chosen = chosen[sections][:, wanted]
        pixels = self.layout.sample.decode(chosen, self.layout.byteorder)
        first = self.columns.bounds[0]
        first -= first % 2 if self.layout.sample.packed else 0
        return pixels[:, :, self.columns.shifted(first)]


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
        whole = Piece(layout, 0, sections, rows, columns, ())
        if whole.is_exact:
            row_nbytes = whole.crop[1] - whole.crop[0]
            parts = sections.split(max(1, SPAN_NBYTES // (rows.count * row_nbytes)))
            cut = Pick.split
        else:
            row_nbytes = layout.row_nbytes
            parts = sections.split_span(max(1, SPAN_NBYTES // layout.section_nbytes))
            cut = Pick.split_span
        most = max(1, SPAN_NBYTES // row_nbytes)
        blocks = [
            (s, some_sections, list(cut(rows, most)) if some_sections.count == 1 else [(0, rows)])
            for s, some_sections in parts
        ]
        for v, volume in enumerate(volumes.positions.tolist()):
            for s, some_sections, row_parts in blocks:
                for r, some_rows in row_parts:
                    target = (v, slice(s, s + some_sections.count), slice(r, r + some_rows.count))
                    yield Piece(layout, volume, some_sections, some_rows, columns, target)

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
