"""Blocks of an array to byte ranges of a file: the task of the writer, run anywhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics, measure
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import Sink

__all__ = ["Destination", "blocks_of", "write_block"]

# Bytes that are cast, measured and written in one go, so that they are still in the cache.
BAND_NBYTES = 2**20

Starts = tuple[Sequence[int], ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the blocks of an array go: small and picklable.

    Attributes
    ----------
    sink : Sink
        The file.
    layout : Layout
        How the data lie in it.
    stats : bool
        Whether they are measured.
    encoder : Encoder or None
        What packs them.
    region : tuple of range
        Positions of the array along the axes of the file; empty if it is all of the data.
    """

    sink: Sink
    layout: Layout
    stats: bool = True
    encoder: Encoder | None = None
    region: tuple[range, ...] = ()

    @property
    def axes(self) -> list[int]:
        """Axes of the file (volumes, sections, rows, columns) that those of the array are."""
        return [axis for axis in sorted(self.layout.axes) if axis < 4]

    @property
    def ranges(self) -> tuple[range, ...]:
        """Positions of the array along each of its axes."""
        lengths = [self.layout.stored[axis] for axis in self.axes]
        return self.region or tuple(map(range, (*lengths, *self.layout.sample.trailing)))

    def starts(self, chunks: tuple[tuple[int, ...], ...]) -> Starts:
        """Give the first position of each block along each axis, in few bytes if they are even."""
        found: list[Sequence[int]] = []
        for whole, lengths in zip(self.ranges, chunks, strict=True):
            even = range(whole.start, whole.stop, lengths[0])
            exact = tuple(accumulate(lengths[:-1], initial=whole.start))
            found.append(even if tuple(even) == exact else exact)
        return tuple(found)

    def offset_of(self, position: Sequence[int]) -> int:
        """Give the place in the file of a position in the data."""
        offset = self.layout.offset
        for axis, index in zip(self.axes, position, strict=False):
            packed = axis == 3 and self.layout.sample.packed
            offset += self.layout.strides[axis] * (index // 2 if packed else index)
        return offset

    def bands(
        self, block: NDArray[Any], position: tuple[int, ...]
    ) -> Iterator[tuple[range, NDArray[Any]]]:
        """Cut a block into parts; give the places of each: of the whole, or of its entries.

        Runs of a few bytes, as of chunks that are cut along the rows, share a part.
        """
        axes, layout = self.axes, self.layout
        level = len(axes) - 1
        while level and block.shape[level] == layout.stored[axes[level]]:
            level -= 1
        deepest = axes.index(2) if self.encoder is None else max(0, axes.index(2) - 1)
        while level < deepest and layout.strides[axes[level]] > BAND_NBYTES:
            level += 1
        run_nbytes = layout.strides[axes[level]] * block.shape[level]
        is_short = level > 0 and run_nbytes <= BAND_NBYTES
        level -= is_short
        stride = layout.strides[axes[level]]
        count = max(1, BAND_NBYTES // (run_nbytes if is_short else stride))
        count += level == len(axes) - 1 and layout.sample.packed and count % 2
        for index in np.ndindex(block.shape[:level]):
            part = block[index]
            for start in range(0, len(part), count):
                inner = (*index, start) + (0,) * (len(axes) - level - 1)
                whole = [a + b for a, b in zip(position, inner, strict=False)]
                offset, values = self.offset_of(whole), part[start : start + count]
                end = offset + stride * (len(values) if is_short else 1)
                yield range(offset, end, stride), values


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
        for offsets, band in place.bands(values, position):
            pixels = sample.fit(band)
            if place.stats:
                found.append(measure(pixels))
            data = sample.encode(pixels, place.layout.byteorder)
            yield from zip(offsets, data.reshape(len(offsets), -1), strict=True)

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
