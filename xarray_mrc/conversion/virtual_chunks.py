"""The data of a plain file as chunks of a Zarr array: byte ranges of the file, never copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout
from xarray_mrc.conversion.grid import replace_lengths
from xarray_mrc.errors import MrcError

__all__ = ["VirtualChunks", "virtual_chunks"]

# Readers decode a whole chunk for one element, and make one request for each chunk. From 1 MiB to
# 8 MiB a pass over 512 MiB took 0.6 of the time and a section 5 times as long; a terabyte in chunks
# of this size has 65,536 references.
CHUNK_NBYTES = 16 * 2**20
# Larger sections are cut into runs of rows; smaller ones stay whole, because viewers show sections.
MAX_SECTION_NBYTES = 64 * 2**20
# A section whose rows have no divisor that gives chunks of this size stays whole, too.
MIN_RUN_NBYTES = 2**20

# Axes of `Layout.stored`.
VOLUMES, SECTIONS, ROWS, COLUMNS = range(4)


@dataclass(frozen=True, slots=True)
class VirtualChunks:
    """The chunks of an array as byte ranges of a file, in terms of Zarr.

    Attributes
    ----------
    dims : tuple of str
        Names of the axes.
    shape : tuple of int
        Lengths of the axes.
    chunks : tuple of int
        Lengths of a chunk. Each divides the length of its axis, because Zarr pads the last chunk,
        and the file does not.
    dtype : str
        numpy code of a stored number, with its byte order.
    order : tuple of int
        For each axis of a stored chunk the axis of the array: ``(0, 1, 2)`` is C order.
    offset : int
        First byte of the data in the file.
    nbytes : int
        Bytes of a chunk.
    grid_axes : tuple of int
        For each axis of the array its place among the axes of the file, the slowest first.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]
    offset: int
    nbytes: int
    grid_axes: tuple[int, ...]

    @property
    def zarr_2_order(self) -> Literal["C", "F"] | None:
        """The order of a stored chunk in Zarr format 2; None if that cannot express it."""
        long = [axis for axis in self.order if self.chunks[axis] > 1]
        if long == sorted(long):
            return "C"
        return "F" if long == sorted(long, reverse=True) else None

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(n // step for n, step in zip(self.shape, self.chunks, strict=True))

    def offsets(self) -> NDArray[np.uint64]:
        """Return the first byte of each chunk in the file; axes as those of the array.

        Examples
        --------
        >>> from xarray_mrc.codec.header import Header
        >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mz=2, mode=2)
        >>> chunks = virtual_chunks(Layout.from_header(header), {"z": 1})
        >>> chunks.offsets().ravel().tolist(), chunks.nbytes
        ([1024, 1072], 48)
        """
        # The chunks follow each other in the file, whatever the order of its axes.
        in_file = sorted(range(len(self.shape)), key=self.grid_axes.__getitem__)
        numbers = np.arange(math.prod(self.grid), dtype=np.uint64)
        starts = numbers * np.uint64(self.nbytes) + np.uint64(self.offset)
        stored = starts.reshape([self.grid[axis] for axis in in_file])
        return stored.transpose(np.argsort(in_file))


def virtual_chunks(layout: Layout, chunks: Mapping[str, int] | None = None) -> VirtualChunks:
    """Compute the chunks of a Zarr array that lie in a file as they are.

    Parameters
    ----------
    layout : Layout
        How the data of the file lie. The file is not compressed.
    chunks : mapping of str to int, optional
        Lengths of a chunk by dimension; the others are chosen. A chunk is one run of bytes: several
        volumes, several sections of a volume, or several rows of a section. Without it a chunk has
        whole sections of about 16 MiB or one section, and sections above 64 MiB are cut into runs
        of rows.

    Returns
    -------
    VirtualChunks

    Raises
    ------
    MrcError
        Zarr has no data type for the mode.
    ValueError
        `chunks` names no dimension of the data, a length does not divide the length of its
        dimension, or a chunk would not be one run of bytes.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> header = Header.blank().replace(nx=1024, ny=1024, nz=512, mz=512, mode=2)
    >>> found = virtual_chunks(Layout.from_header(header))
    >>> found.chunks, found.grid, found.dtype
    ((4, 1024, 1024), (128, 1, 1), '<f4')
    """
    check_mode(layout)
    asked: dict[int, int] = {}
    if chunks is not None:
        wanted = replace_lengths(layout.shape, layout.dims, chunks, "chunks")
        for axis, dim, length in zip(layout.axes, layout.dims, wanted, strict=True):
            if dim in chunks:
                check_length(layout, axis, length)
                asked[axis] = length
    lengths = [*chunk_lengths(layout, asked), *layout.sample.trailing]
    order = tuple(range(len(layout.axes)))
    # An axis along which a chunk has the length 1 has no place in an order.
    long = [axis for axis in layout.axes if lengths[axis] > 1]
    if long != sorted(long):
        order = tuple(sorted(order, key=layout.axes.__getitem__))
    return VirtualChunks(
        layout.dims,
        layout.shape,
        tuple(lengths[axis] for axis in layout.axes),
        np.dtype(layout.byteorder + layout.sample.stored).str,
        order,
        layout.offset,
        math.prod(lengths[:COLUMNS]) * layout.row_nbytes,
        layout.axes,
    )


def check_mode(layout: Layout) -> None:
    """Raise MrcError if the stored numbers are not those of a Zarr data type."""
    sample = layout.sample
    if sample.packed or sample.stored != sample.dtype:
        what, mode = ("4-bit integers", 0) if sample.packed else ("complex 16-bit integers", 4)
        raise MrcError(
            f"the data are {what}, and Zarr has no such data type; write them in another mode with "
            f"xarray_mrc.convert(path, 'other.mrc', mode={mode}), or as a Zarr group with "
            f"xarray_mrc.convert(path, 'copy.zarr')"
        )


def check_length(layout: Layout, axis: int, length: int) -> None:
    """Raise ValueError if a chunk cannot have a length along an axis of `Layout.stored`."""
    dim = layout.dims[layout.axes.index(axis)]
    whole = layout.shape[layout.axes.index(axis)]
    if axis >= COLUMNS and length != whole:
        raise ValueError(
            f"chunks={{{dim!r}: {length}}}, but a chunk has whole rows, which run along {dim}; "
            f"pass {whole}, or no length for {dim}"
        )
    if whole % length:
        above = min((n for n in divisors(whole) if n > length), default=whole)
        near = " or ".join(map(str, sorted({largest_divisor(whole, length), above})))
        raise ValueError(
            f"chunks={{{dim!r}: {length}}}, but {length} does not divide the length {whole} of "
            f"{dim}, and Zarr pads the last chunk, which a file does not; pass {near}"
        )


def chunk_lengths(layout: Layout, asked: Mapping[int, int]) -> list[int]:
    """Return the lengths of a chunk along volumes, sections, rows and columns."""
    lengths = [1, 1, 1, layout.stored[COLUMNS]]
    nbytes, is_whole = layout.row_nbytes, True
    for axis in (ROWS, SECTIONS, VOLUMES):
        whole = layout.stored[axis]
        if axis in asked:
            length = asked[axis]
        elif not is_whole:
            length = 1
        elif any(asked.get(outer, 1) > 1 for outer in range(axis)):
            length = whole
        else:
            length = default_length(layout, axis, nbytes)
        if length > 1 and not is_whole:
            by_axis = dict(zip(layout.axes, layout.dims, strict=True))
            raise ValueError(
                f"chunks={{{by_axis[axis]!r}: {length}}} was passed with a part of "
                f"{by_axis[axis + 1]}, but a chunk is one run of bytes; pass 1 for "
                f"{by_axis[axis]}, or no length for {by_axis[axis + 1]}"
            )
        lengths[axis] = length
        nbytes *= length
        is_whole = is_whole and length == whole
    return lengths


def default_length(layout: Layout, axis: int, nbytes: int) -> int:
    """Return the length of a chunk along an axis, given the bytes of one step along it."""
    whole = layout.stored[axis]
    if axis == ROWS:
        if whole * nbytes <= MAX_SECTION_NBYTES:
            return whole
        length = largest_divisor(whole, CHUNK_NBYTES // nbytes)
        return length if length * nbytes >= MIN_RUN_NBYTES else whole
    # Several sections of permuted axes would need a transpose, which few readers have.
    is_permuted = list(layout.axes) != sorted(layout.axes)
    return 1 if is_permuted else largest_divisor(whole, CHUNK_NBYTES // nbytes)


def largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number up to a limit; 1 if there is none."""
    return max(n for n in divisors(number) if n <= max(1, limit))


def divisors(number: int) -> set[int]:
    """Return the numbers that divide a number."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return {*small, *(number // n for n in small)}
