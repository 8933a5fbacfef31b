"""Write all blocks of an array: one task a block, run in any process that sees the file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.statistics import UNKNOWN, Statistics, measure
from xarray_mrc.errors import warn
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.local_sink import LocalSink
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import Receipt
from xarray_mrc.writing.blocks import Destination, Starts, WrittenBlock, split_into_blocks

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = [
    "is_small",
    "warn_nonfinite",
    "write_block",
    "write_blocks",
    "write_blocks_later",
    "write_statistics",
]

# Data in memory of at most this size are written without dask, which takes some milliseconds.
SMALL_NBYTES = 64 * 2**20
# The bytes of DMIN, DMAX, DMEAN and of RMS in the header.
STATISTICS_RANGES = ((76, 88), (216, 220))


def is_small(data: xr.Variable) -> bool:
    """Return True if data are written as one block, without dask."""
    return data.chunks is None and data.nbytes <= SMALL_NBYTES


def write_blocks(data: xr.Variable, destination: Destination) -> WrittenBlock:
    """Write all blocks, and return the statistics and the receipts of all data.

    Parameters
    ----------
    data : xarray.Variable
        The data, with the axes in the order of the file.
    destination : Destination
        Where they are written.

    Returns
    -------
    WrittenBlock
        That of all blocks together.
    """
    if is_small(data):
        starts = destination.starts(tuple((length,) for length in data.shape))
        block_id = (0,) * data.ndim
        return merge_all(
            write_block(data.to_numpy(), destination=destination, starts=starts, block_id=block_id)
        )
    import dask

    # Workers of a cluster would have to be sent data that are in this process.
    options = {"scheduler": "threads"} if data.chunks is None else {}
    (found,) = dask.compute(block_tasks(data, destination), **options)
    return merge_all(found)


def write_blocks_later(
    data: xr.Variable, destination: Destination, sink: LocalSink, header: Header
) -> Delayed:
    """Return a delayed object that writes all blocks into a file, and then their statistics."""
    import dask

    # dask.delayed does not optimize the graph of its argument, so that tasks would not be fused.
    (found,) = dask.optimize(block_tasks(data, destination))
    later: Delayed = dask.delayed(write_found, pure=False)(found, destination.stats, sink, header)
    return later


def write_found(found: Any, stats: bool, sink: LocalSink, header: Header) -> None:
    """Write the statistics of all blocks into the header, if they were asked for."""
    whole = merge_all(found).statistics
    write_statistics(sink, header, whole if stats else None)
    warn_nonfinite(sink.path, whole)


def write_statistics(sink: LocalSink, header: Header, found: Statistics | None) -> None:
    """Write statistics (None: unknown) into the header of a file, and wait for the disk."""
    raw = header.replace(**(UNKNOWN if found is None else found.fields())).raw
    sink.write_ranges((start, raw[start:end]) for start, end in STATISTICS_RANGES)
    sink.sync()


def warn_nonfinite(path: str, found: Statistics) -> None:
    """Issue a warning if nan or infinite values were written."""
    for note in nonfinite_notes(found):
        warn(f"{path}: {note}")


def nonfinite_notes(found: Statistics) -> list[str]:
    """Return a sentence if there are nan or infinite values: many programs stumble over them."""
    if not found.nonfinite:
        return []
    text = (
        f"the data contain {found.nans} nan and {found.infinities} infinite values, which many "
        f"programs do not expect, and the header states no statistics"
    )
    return [text]


def block_tasks(data: xr.Variable, destination: Destination) -> Any:
    """Return a dask array of results: one task a block, which writes it."""
    blocks = split_into_blocks(data, destination)
    return blocks.map_blocks(  # dask.array.map_blocks takes no array expressions
        write_block,
        destination=destination,
        starts=destination.starts(blocks.chunks),
        chunks=tuple((1,) * len(lengths) for lengths in blocks.chunks),
        dtype=object,
        meta=np.empty((0,) * blocks.ndim, object),
    )


def merge_all(found: NDArray[Any]) -> WrittenBlock:
    """Return the results of all blocks together."""
    return reduce(WrittenBlock.merge, found.reshape(-1), WrittenBlock())


def write_block(
    block: Any, *, destination: Destination, starts: Starts, block_id: tuple[int, ...]
) -> NDArray[Any]:
    """Write a block, and measure it on the way; a task that runs twice writes the same.

    Parameters
    ----------
    block : ndarray
        The values.
    destination : Destination
        Where they are written.
    starts : tuple of sequences of int
        First position of each block along each axis.
    block_id : tuple of int
        Number of the block along each axis.

    Returns
    -------
    ndarray of object
        One `WrittenBlock`, of as many dimensions as the block.

    Raises
    ------
    ValueError
        The block is not as its chunks and data type said, or has values that do not fit.
    """
    if np.ma.is_masked(block):
        raise ValueError("the data contain masked values, which MRC cannot store; fill them first")
    values = np.asarray(block)
    position = tuple(which[i] for which, i in zip(starts, block_id, strict=True))
    check_block(values, destination, starts, block_id)
    found = [Statistics()]

    def stored() -> Iterator[tuple[int, Bytes]]:
        sample = destination.layout.sample
        for slab, part in destination.slabs(values, position):
            pixels = sample.fit(part)
            if destination.stats:
                found.append(measure(pixels))
            data = sample.encode(pixels, destination.layout.byteorder)
            # The ranges of a slab are of equal length: one row of the data each.
            offsets = [offset for offset, _ in destination.layout.byte_ranges(slab)]
            yield from zip(offsets, data.reshape(len(offsets), -1), strict=True)

    receipt = Receipt()
    if destination.encoder is None:
        receipt = destination.sink.write_ranges(stored())
    else:
        unit = destination.layout.section_nbytes
        encode = destination.encoder.encode
        packed = (piece for _, data in stored() for piece in encode(data, unit))
        write_piece(destination.sink, destination.offset_of(position), packed)
    merged = Statistics()
    for part in found:
        merged = merged.merge(part)
    result = np.empty((1,) * len(block_id), object)
    result[...] = WrittenBlock(merged, receipt)
    return result


def check_block(
    block: NDArray[Any], destination: Destination, starts: Starts, block_id: tuple[int, ...]
) -> None:
    """Raise ValueError if a block would leave a gap, overwrite others, or lose its imaginary part.

    dask does not check that blocks have the shape and data type that it was told.
    """
    wanted = tuple(
        (which[i + 1] if i + 1 < len(which) else whole.stop) - which[i]
        for which, i, whole in zip(starts, block_id, destination.ranges, strict=True)
    )
    kinds = "biufc" if destination.layout.dtype.kind == "c" else "biuf"
    if block.shape != wanted or block.dtype.kind not in kinds:
        kind = "complex or real" if "c" in kinds else "real"
        raise ValueError(
            f"block {block_id} of the data has the shape {block.shape} and the data type "
            f"{block.dtype}, expected {wanted} and {kind} numbers, as the chunks and the data type "
            f"of the array say: correct these where it is made, as in dask's map_blocks"
        )
