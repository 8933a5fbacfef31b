"""Blocks of an array and the parts of the file that they fill."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import Box
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.sink import Receipt, Sink

__all__ = ["Destination", "Starts", "WrittenBlock", "split_into_blocks"]

# Bytes that are cast, measured and written at a time. They then stay in the processor's cache
# from one step to the next; and short runs, of chunks that are cut along the rows, share each step.
SLAB_NBYTES = 2**20

Starts = tuple[Sequence[int], ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the blocks of an array are written: a small picklable value.

    Attributes
    ----------
    sink : Sink
        The file.
    layout : Layout
        How the data lie in it.
    stats : bool
        Whether the data are measured.
    encoder : Encoder or None
        Compresses the data.
    region : tuple of range
        Positions in the file along each axis of the array; empty if the array is all of the data.
    """

    sink: Sink
    layout: Layout
    stats: bool = True
    encoder: Encoder | None = None
    region: tuple[range, ...] = ()

    @property
    def axes(self) -> list[int]:
        """Stored axes (volumes, sections, rows, columns) in the order of the array's axes."""
        return [axis for axis in sorted(self.layout.axes) if axis < 4]

    @property
    def ranges(self) -> tuple[range, ...]:
        """Positions in the file along each axis of the array."""
        lengths = [self.layout.stored[axis] for axis in self.axes]
        return self.region or tuple(map(range, (*lengths, *self.layout.sample.trailing)))

    def starts(self, chunks: tuple[tuple[int, ...], ...]) -> Starts:
        """Return the first position of each block along each axis.

        Evenly spaced ones are a range, so that a task with millions of sisters stays small.
        """
        found: list[Sequence[int]] = []
        for whole, lengths in zip(self.ranges, chunks, strict=True):
            even = range(whole.start, whole.stop, lengths[0])
            exact = tuple(accumulate(lengths[:-1], initial=whole.start))
            found.append(even if tuple(even) == exact else exact)
        return tuple(found)

    def box_of(self, position: Sequence[int], shape: Sequence[int]) -> Box:
        """Return the part of the file that a block of this shape fills, from its first position."""
        box = [range(1)] * 4  # axes that the array does not have are of length 1
        for axis, start, length in zip(self.axes, position, shape, strict=False):
            box[axis] = range(start, start + length)
        return box[0], box[1], box[2], box[3]

    def offset_of(self, position: Sequence[int]) -> int:
        """Return the offset of a position of the array in the (uncompressed) file."""
        box = self.box_of(position, (1,) * len(position))
        offset: int = self.layout.offset_of([positions.start for positions in box])
        return offset

    def slabs(
        self, block: NDArray[Any], position: Sequence[int]
    ) -> Iterator[tuple[Box, NDArray[Any]]]:
        """Cut a block into slabs: yield the part of the file that each fills, and its values."""
        box = self.box_of(position, block.shape)
        nbytes = SLAB_NBYTES
        if self.encoder is not None:  # a compressed member ends where a section does
            nbytes = max(nbytes, self.layout.section_nbytes)
        for slab in self.layout.slabs(nbytes, box):
            index = tuple(
                slice(slab[axis].start - box[axis].start, slab[axis].stop - box[axis].start)
                for axis in self.axes
            )
            yield slab, block[index]


@dataclass(frozen=True, slots=True)
class WrittenBlock:
    """The result of writing a block, or all blocks: small, because it travels to the client.

    Attributes
    ----------
    statistics : Statistics
        Those of the values; empty if they were not asked for.
    receipt : Receipt
        That of the sink.
    """

    statistics: Statistics = field(default_factory=Statistics)
    receipt: Receipt = field(default_factory=Receipt)

    def merge(self, other: WrittenBlock) -> WrittenBlock:
        """Return the result of both."""
        return WrittenBlock(
            self.statistics.merge(other.statistics), self.receipt.merge(other.receipt)
        )


def split_into_blocks(data: xr.Variable, destination: Destination) -> Any:
    """Return data as a dask array whose blocks can be written independently of each other.

    Parameters
    ----------
    data : xarray.Variable
        The data, with the axes in the order of the file.
    destination : Destination
        Where the data are written.

    Returns
    -------
    dask.array.Array
        The chunks of the data. They are merged only where two would share a byte, or be too small
        for the sink, and split only where the sections of one would not follow one another in a
        compressed file.
    """
    import dask.array as da

    layout, axes = destination.layout, destination.axes
    if data.chunks is None:
        lengths = layout.preferred_chunks()
        by_axis = dict(zip(layout.axes, layout.dims, strict=True))
        chunks = [min(lengths[by_axis[axis]], n) for axis, n in zip(axes, data.shape, strict=False)]
        chunks += list(data.shape[len(axes) :])
        meta = np.empty((0,) * data.ndim, data.dtype)
        name = f"mrc-data-{secrets.token_hex(8)}"  # dask would read all data to make one from them
        blocks = da.from_array(LazyData(data), chunks=tuple(chunks), name=name, meta=meta)
    else:
        # An empty block starts where the next one does, and would be written to its place.
        blocks = data.data.rechunk(tuple(tuple(filter(None, c)) for c in data.data.chunks))
    if destination.sink.min_block_nbytes:
        return blocks.rechunk(whole_parts(blocks.chunks, destination))
    merged = dict.fromkeys(range(len(axes), data.ndim), -1)
    columns = len(axes) - 1
    if layout.sample.packed and any(length % 2 for length in blocks.chunks[columns][:-1]):
        merged[columns] = -1
    if destination.encoder is not None and len(axes) == 4 and blocks.numblocks[1] > 1:
        merged[0] = 1
    return blocks.rechunk(merged) if merged else blocks


def whole_parts(
    chunks: tuple[tuple[int, ...], ...], destination: Destination
) -> tuple[tuple[int, ...], ...]:
    """Return chunks that are one byte range each, of at least the size that the sink asks for."""
    least, layout = destination.sink.min_block_nbytes, destination.layout
    volumes, sections = layout.stored[:2]
    found: list[tuple[int, ...]] = [(sum(lengths),) for lengths in chunks]
    axis_of = {axis: i for i, axis in enumerate(destination.axes)}
    if volumes > 1 and sections * layout.section_nbytes < 2 * least:
        count = -(-least // (sections * layout.section_nbytes))
        found[axis_of[0]] = merge_lengths(chunks[axis_of[0]], count)
    elif 1 in axis_of:
        found[axis_of[1]] = merge_lengths(chunks[axis_of[1]], -(-least // layout.section_nbytes))
        if 0 in axis_of:
            found[axis_of[0]] = (1,) * volumes
    return tuple(found)


def merge_lengths(lengths: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Merge chunks that follow one another until each has a length, the last one too."""
    merged: list[int] = []
    for length in lengths:
        if merged and merged[-1] < least:
            merged[-1] += length
        else:
            merged.append(length)
    if len(merged) > 1 and merged[-1] < least:
        merged[-2:] = [merged[-2] + merged[-1]]
    return tuple(merged)


class LazyData:
    """Data for dask.array.from_array, which would copy and hash an xarray object or an array."""

    __slots__ = ("data", "dtype", "ndim", "shape")

    def __init__(self, data: xr.Variable) -> None:
        self.data, self.dtype, self.ndim, self.shape = data, data.dtype, data.ndim, data.shape

    def __getitem__(self, key: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.data[key].to_numpy()
        return found
