"""Write the blocks of an array to a file: one task a block, run in any process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import Box
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics, measure
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import Sink

__all__ = ["Destination", "blocks_of", "write_block"]

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


def blocks_of(data: xr.Variable, place: Destination) -> Any:
    """Give data as a dask array whose blocks can be written each for itself.

    Parameters
    ----------
    data : xarray.Variable
        The data, with the axes in the order of the file.
    place : Destination
        Where they go.

    Returns
    -------
    dask.array.Array
        Blocks are brought together only where two would share a byte.
    """
    import dask.array as da

    layout, axes = place.layout, place.axes
    if data.chunks is None:
        lengths = layout.preferred_chunks()
        by_axis = dict(zip(layout.axes, layout.dims, strict=True))
        chunks = [min(lengths[by_axis[axis]], n) for axis, n in zip(axes, data.shape, strict=False)]
        chunks += list(data.shape[len(axes) :])
        meta = np.empty((0,) * data.ndim, data.dtype)
        name = f"mrc-data-{secrets.token_hex(8)}"  # nothing is read for a name
        blocks = da.from_array(LazySource(data), chunks=tuple(chunks), name=name, meta=meta)
    else:
        # Blocks without a length would be taken for those that begin where they do.
        blocks = data.data.rechunk(tuple(tuple(filter(None, c)) for c in data.data.chunks))
    whole = dict.fromkeys(range(len(axes), data.ndim), -1)
    columns = len(axes) - 1
    if layout.sample.packed and any(length % 2 for length in blocks.chunks[columns][:-1]):
        whole[columns] = -1
    if place.encoder is not None and len(axes) == 4 and blocks.numblocks[1] > 1:
        whole[0] = 1  # the sections of a block follow one another
    return blocks.rechunk(whole) if whole else blocks


class LazySource:
    """Data that dask cuts into blocks; unlike an array it is neither copied nor hashed."""

    __slots__ = ("data", "dtype", "ndim", "shape")

    def __init__(self, data: xr.Variable) -> None:
        self.data, self.dtype, self.ndim, self.shape = data, data.dtype, data.ndim, data.shape

    def __getitem__(self, key: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.data[key].to_numpy()
        return found


def write_block(
    block: Any, *, place: Destination, starts: Starts, block_id: tuple[int, ...]
) -> NDArray[Any]:
    """Write a block, and measure it on the way; doing it twice changes nothing.

    Parameters
    ----------
    block : ndarray
        The values.
    place : Destination
        Where it goes.
    starts : tuple of sequences of int
        First position of each block along each axis.
    block_id : tuple of int
        Which block it is.

    Returns
    -------
    ndarray of object
        One `Statistics`, of as many dimensions as the block.

    Raises
    ------
    ValueError
        It is not the block that the chunks announced, or holds values that do not fit.
    """
    if np.ma.is_masked(block):
        raise ValueError("the data have masked values, which MRC has not: fill them first")
    values = np.asarray(block)
    position = tuple(which[i] for which, i in zip(starts, block_id, strict=True))
    check_block(values, place, starts, block_id)
    found = [Statistics()]

    def stored() -> Iterator[tuple[int, Bytes]]:
        sample = place.layout.sample
        for slab, part in place.slabs(values, position):
            pixels = sample.fit(part)
            if place.stats:
                found.append(measure(pixels))
            data = sample.encode(pixels, place.layout.byteorder).reshape(-1)
            start = 0
            for offset, nbytes in place.layout.byte_ranges(slab):
                yield offset, data[start : start + nbytes]
                start += nbytes

    if place.encoder is None:
        place.sink.write_ranges(stored())
    else:
        unit = place.layout.section_nbytes
        encode = place.encoder.encode
        packed = (piece for _, data in stored() for piece in encode(data, unit))
        write_piece(place.sink, place.offset_of(position), packed)
    merged = Statistics()
    for part in found:
        merged = merged.merge(part)
    result = np.empty((1,) * len(block_id), object)
    result[...] = merged
    return result


def check_block(
    block: NDArray[Any], place: Destination, starts: Starts, block_id: tuple[int, ...]
) -> None:
    """Raise ValueError if a block would leave a gap, lie over others, or be cut to its real part.

    dask believes what it is told of the blocks that a function will make.
    """
    wanted = tuple(
        (which[i + 1] if i + 1 < len(which) else whole.stop) - which[i]
        for which, i, whole in zip(starts, block_id, place.ranges, strict=True)
    )
    kinds = "biufc" if place.layout.dtype.kind == "c" else "biuf"
    if block.shape != wanted or block.dtype.kind not in kinds:
        kind = "complex or real" if "c" in kinds else "real"
        raise ValueError(
            f"block {block_id} of the data has the shape {block.shape} and the data type "
            f"{block.dtype}, expected {wanted} and {kind} numbers, as the chunks and the data type "
            f"of the array say: correct these where it is made, as in dask's map_blocks"
        )
