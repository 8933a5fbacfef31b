"""Where the pixels of a file lie: from a region of the data to the byte ranges that hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.modes import ByteOrder, Sample

__all__ = ["Box", "Positions", "Region", "StoredArray", "runs_of"]

Positions = range | NDArray[np.intp]
# Along volumes, sections, rows and columns, as they are stored.
Region = tuple[Positions, Positions, Positions, range]
Box = tuple[range, range, range, range]  # ranges with step 1


@dataclass(frozen=True, slots=True)
class StoredArray:
    """The pixels of a file as one array in C order: volumes, sections, rows, columns.

    Attributes
    ----------
    sample : Sample
        How one pixel is stored.
    byteorder : {"<", ">"}
        Byte order of the file.
    stored : tuple of int
        Numbers of volumes, of sections in a volume, of rows and of columns.
    offset : int
        First byte of the data in the file.
    """

    sample: Sample
    byteorder: ByteOrder
    stored: tuple[int, int, int, int]
    offset: int

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row in the file."""
        return self.sample.row_nbytes(self.stored[3])

    @property
    def section_nbytes(self) -> int:
        """Bytes of a section in the file."""
        return self.stored[2] * self.row_nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all data in the file."""
        return self.stored[0] * self.stored[1] * self.section_nbytes

    @property
    def end(self) -> int:
        """Offset of the first byte after the data."""
        return self.offset + self.nbytes

    @property
    def strides(self) -> tuple[int, int, int, int]:
        """Bytes from one volume, section, row and column to the next."""
        volume = self.stored[1] * self.section_nbytes
        return (volume, self.section_nbytes, self.row_nbytes, self.sample.row_nbytes(1))

    @property
    def stored_dtype(self) -> np.dtype[np.generic] | None:
        """Data type of the file, if its numbers become pixels without a cast; else None."""
        sample = self.sample
        same = sample.stored == sample.dtype and not sample.packed
        return np.dtype(self.byteorder + sample.stored) if same else None

    @property
    def is_plain(self) -> bool:
        """Return True if the bytes of the file are the pixels, in native byte order."""
        return self.sample.is_plain(self.byteorder)

    def offset_of(self, position: Sequence[Any]) -> Any:
        """Return the first byte of a pixel, or of many.

        Parameters
        ----------
        position : sequence of int or of ndarray of int
            Volume, section, row and column, as stored. Missing ones at the end are 0.

        Returns
        -------
        int or ndarray of int
            Offset in the file, in bytes. Two pixels of a packed mode share their byte.

        Examples
        --------
        >>> from xarray_mrc.codec.modes import MODES
        >>> StoredArray(MODES[2].sample, "<", (1, 2, 3, 4), 1024).offset_of((0, 1, 2, 3))
        1116
        """
        offset = self.offset
        for axis, (index, stride) in enumerate(zip(position, self.strides, strict=False)):
            offset = offset + (index // 2 if axis == 3 and self.sample.packed else index) * stride
        return offset

    def column_bytes(self, columns: range) -> tuple[int, int]:
        """Return the bytes of a row that hold some columns: the first, and the one after the last.

        Parameters
        ----------
        columns : range
            Columns in rising order; those between them are included.

        Returns
        -------
        tuple of int
            Counted from the start of the row.

        Examples
        --------
        >>> from xarray_mrc.codec.modes import MODES
        >>> StoredArray(MODES[101].sample, "<", (1, 1, 1, 5), 1024).column_bytes(range(1, 3))
        (0, 2)
        """
        first = columns[0]
        if self.sample.packed:  # its byte also holds the column before it
            first -= first % 2
        return self.sample.row_nbytes(first), self.sample.row_nbytes(columns[-1] + 1)

    @property
    def whole(self) -> Box:
        """The region of all data."""
        volumes, sections, rows, columns = map(range, self.stored)
        return volumes, sections, rows, columns

    def byte_ranges(self, region: Region) -> Iterator[tuple[int, int]]:
        """Yield the byte ranges of the file that hold a region of the data.

        Parameters
        ----------
        region : tuple
            Positions along volumes, sections, rows and columns, as stored: for each axis a range or
            an array of int, without repetitions and in rising order. The region is the product of
            all four. Columns are a range; those between its first and last are included.

        Yields
        ------
        tuple of int
            Offset and number of bytes, in the order of the file, none of them overlapping. Pixels
            that follow one another in the file share a range, up to the whole file. The bytes of a
            region of ranges with step 1 come in ranges of equal length.

        Examples
        --------
        >>> from xarray_mrc.codec.modes import MODES
        >>> layout = StoredArray(MODES[2].sample, "<", (1, 2, 3, 4), 1024)
        >>> list(layout.byte_ranges((range(1), range(2), range(1), range(4))))
        [(1024, 16), (1072, 16)]
        >>> list(layout.byte_ranges(layout.whole))
        [(1024, 96)]
        """
        if not all(map(len, region)):
            return
        low, high = self.column_bytes(region[3])
        ranges = [(low, high - low)]  # within one row
        axis, strides = 3, self.strides
        # While one entry of an axis is needed whole, the next entry follows without a gap, so that
        # a run of entries is one range. The first axis whose entries are needed in part ends this.
        while axis and ranges == [(0, strides[axis - 1])]:
            axis -= 1
            stride = strides[axis]
            ranges = [(first * stride, n * stride) for first, n in runs_of(region[axis])]
        # From here on every position has all these ranges. The fastest of the axes that are left is
        # not part of the product, because for a box it needs no Python code for each position.
        *outer, last = [range(1), *map(scaled, region[:axis], strides)]
        for start in map(sum, product([self.offset], *outer)):
            if len(ranges) == 1 and isinstance(last, range):
                first, nbytes = start + ranges[0][0], ranges[0][1]
                shifted = range(last.start + first, last.stop + first, last.step)
                yield from zip(shifted, repeat(nbytes))
                continue
            for position in last:
                for offset, nbytes in ranges:
                    yield start + position + offset, nbytes

    def slabs(self, nbytes: int, region: Box | None = None) -> Iterator[Box]:
        """Cut the data into parts of a bounded size.

        Parameters
        ----------
        nbytes : int
            Most bytes of a part. A pixel is never cut, nor a byte that two pixels share.
        region : tuple of range, optional
            Cut this region instead of all data: positions with step 1 along volumes, sections, rows
            and columns, as stored. In a packed mode it starts at an even column.

        Yields
        ------
        tuple of range
            Parts in the order of the file, as many whole volumes, sections, rows or columns as fit.
            Each part of all data is one byte range.

        Examples
        --------
        >>> from xarray_mrc.codec.modes import MODES
        >>> stored = StoredArray(MODES[2].sample, "<", (1, 2, 3, 4), 1024)
        >>> [(len(s), len(r)) for _, s, r, _ in stored.slabs(40)]
        [(1, 2), (1, 1), (1, 2), (1, 1)]
        """
        region = self.whole if region is None else region
        if not all(map(len, region)):
            return
        low, high = self.column_bytes(region[3])
        # Bytes of one entry of each axis, within the region.
        row = high - low
        entry = [len(region[1]) * len(region[2]) * row, len(region[2]) * row, row]
        axis = next((axis for axis in range(3) if entry[axis] <= nbytes), 3)
        if axis == 3 and self.sample.packed:
            step = max(2, 2 * nbytes)
        else:
            step = max(1, nbytes // (*entry, self.strides[3])[axis])
        steps = (*[1] * axis, step, *map(len, region[axis + 1 :]))

        def cut(number: int) -> Iterator[range]:
            positions, step = region[number], steps[number]
            return (positions[i : i + step] for i in range(0, len(positions), step))

        # Not itertools.product, which makes lists first: a header may claim 2**31 rows.
        for volumes in cut(0):
            for sections in cut(1):
                for rows in cut(2):
                    for columns in cut(3):
                        yield volumes, sections, rows, columns


def scaled(positions: Positions, stride: int) -> range | list[int]:
    """Return the offsets of positions along an axis."""
    if isinstance(positions, range):
        return range(positions.start * stride, positions.stop * stride, positions.step * stride)
    offsets: list[int] = (positions.astype(np.int64) * stride).tolist()
    return offsets


def runs_of(positions: Positions) -> list[tuple[int, int]]:
    """Return the runs of consecutive positions: the first of each, and how many they are."""
    if isinstance(positions, range) and (positions.step == 1 or len(positions) == 1):
        return [(positions[0], len(positions))]
    array = np.asarray(positions)
    starts = np.flatnonzero(np.diff(array, prepend=array[0] - 2) != 1)
    counts = np.diff(starts, append=len(array))
    return list(zip(array[starts].tolist(), counts.tolist(), strict=True))
