"""Boxes of one size, cut from a file at many places, with few and ordered reads.

A box has a start and a length along every axis of the array: a length of 1 where it lies in one
section, the whole length along an axis that is not cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.selection import plan
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.protocol import MappedSource

__all__ = ["Corners", "Readable", "copy_boxes", "overlaps", "read_boxes", "sweep_boxes"]

Corners = NDArray[np.int64]  # first position of each box along each axis, also outside the array

# Of boxes that share sections or rows: bounds the memory beside the result.
SWEEP_NBYTES = 64 * 2**20
MAX_PROBES = 8
# A read of its own takes as long as this much of a longer one, 0.1 ms.
READ_NBYTES = 256 * 2**10


class Readable(Protocol):
    """An array with outer indexing."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of what is read."""

    def read(self, key: Any, *, transient: bool = False) -> NDArray[Any]:
        """Read a selection."""


def read_boxes(array: MrcArray, corners: Corners, limits: Sequence[range], out: Any) -> None:
    """Read boxes from a file; parts of them outside the limits are left as they are.

    Local files that may be mapped are read box by box, in the order of the file. Of all others,
    compressed and remote ones, what several boxes share is read once, and in order.

    Parameters
    ----------
    array : MrcArray
        The data of the file.
    corners : ndarray of int
        First position of each box along each axis, of shape (boxes, axes).
    limits : sequence of range
        Positions along each axis that boxes may show.
    out : ndarray
        Takes the boxes, of shape (boxes, length along each axis).

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> from xarray_mrc.codec.layout import Layout
    >>> from xarray_mrc.storage import open_source
    >>> header = Header.blank().replace(nx=3, ny=2, nz=1, ispg=0)
    >>> array = MrcArray(open_source(header.raw + bytes(range(6))), Layout.from_header(header))
    >>> out = np.full((1, 2, 2), 9, "i1")
    >>> read_boxes(array, np.array([[1, 1]]), [range(2), range(3)], out)
    >>> out.tolist()
    [[[4, 5], [9, 9]]]
    """
    # Along the axes as they are stored, neighbours in the order are neighbours in the file.
    stored = np.argsort(array.layout.axes)
    array = array.transpose(stored.tolist())
    corners = corners[:, stored]
    limits = [limits[axis] for axis in stored]
    out = out.transpose([0, *(stored + 1)])
    order = np.lexsort(corners.T[::-1])
    source = array.source
    if not isinstance(source, MappedSource):
        sweep_boxes(array, corners, limits, out)
        return
    if array.layout.stored_dtype is not None:
        keys = (key for _, key, _ in overlaps(corners, limits, out.shape[1:], order))
        ranges = (piece.byte_ranges for key in keys for piece in plan(array.layout, key).pieces())
        with source.whole(probes(array, corners, limits), ranges) as whole:
            if whole is not None:
                copy_boxes(mapped(array, whole.data, limits), corners, limits, out)
                return
    is_mapped = not isinstance(source, LocalSource) or source.is_mapped
    if not is_mapped or is_dense(array, corners, limits, out):
        sweep_boxes(array, corners, limits, out)
        return
    for number, key, target in overlaps(corners, limits, out.shape[1:], order):
        out[(number, *target)] = array.read(key)


def is_dense(array: MrcArray, corners: Corners, limits: Sequence[range], out: Any) -> bool:
    """Return True if reading what the boxes span costs less than reading each box by itself."""
    size: tuple[int, ...] = out.shape[1:]
    lengths = [
        covered(corners[:, axis], size[axis], limit).size for axis, limit in enumerate(limits)
    ]
    # Rows are read as a whole.
    itemsize: int = array.dtype.itemsize
    nbytes = math.prod(lengths[:-1]) * array.shape[-1] * itemsize
    return nbytes <= len(corners) * max(READ_NBYTES, 2 * math.prod(size) * itemsize)


def probes(array: MrcArray, corners: Corners, limits: Sequence[range]) -> list[int]:
    """Return the offsets of the first pixels of a few boxes, to ask the page cache for."""
    some = corners[:: max(1, len(corners) // MAX_PROBES)]
    inside = [np.clip(some[:, axis], r.start, r.stop - 1) for axis, r in enumerate(limits)]
    offsets: list[int] = array.layout.pixel_offsets(inside).tolist()
    return offsets


def mapped(array: MrcArray, data: Any, limits: Sequence[range]) -> NDArray[Any]:
    """Return the pixels within the limits as a view of the bytes of the whole file."""
    layout = array.layout
    shape = layout.stored + layout.sample.trailing
    pixels: NDArray[Any] = np.ndarray(shape, layout.stored_dtype, data, layout.offset)
    others = [axis for axis in range(pixels.ndim) if axis not in layout.axes]  # of length 1
    pixels = pixels.transpose([*others, *layout.axes])[(0,) * len(others)]
    return pixels[tuple(slice(r.start, r.stop) for r in limits)]


def copy_boxes(block: Any, corners: Corners, limits: Sequence[range], out: Any) -> None:
    """Copy the boxes from an array in memory that holds what lies within the limits.

    Parameters
    ----------
    block : ndarray
        The pixels within the limits.
    corners, limits, out
        As for `read_boxes`.
    """
    first = [limit.start for limit in limits]
    for number, key, target in overlaps(corners, limits, out.shape[1:]):
        inside = (slice(k.start - f, k.stop - f) for k, f in zip(key, first, strict=True))
        out[(number, *target)] = block[tuple(inside)]


def overlaps(
    corners: Corners, limits: Sequence[range], size: Sequence[int], order: Any = None
) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """Yield number, part of the array and place in the box, of each box within the limits."""
    order = np.arange(len(corners)) if order is None else order
    starts = np.array([r.start for r in limits], np.int64)
    stops = np.array([r.stop for r in limits], np.int64)
    low = np.maximum(corners, starts)
    high = np.minimum(corners + np.array(size, np.int64), stops)
    is_there = np.all(low < high, axis=1)
    order = order[is_there[order]]
    spans = np.stack([low, high, low - corners, high - corners], -1)
    for number, box in zip(order.tolist(), spans[order].tolist(), strict=True):
        yield (
            number,
            tuple(slice(start, stop) for start, stop, _, _ in box),
            tuple(slice(start, stop) for _, _, start, stop in box),
        )


def sweep_boxes(array: Readable, corners: Corners, limits: Sequence[range], out: Any) -> None:
    """Read boxes in one pass over the array, band by band; each band is read once.

    Parameters
    ----------
    array : Readable
        The array; its first axis is the slowest one in the file.
    corners, limits, out
        As for `read_boxes`.
    """
    sweep(array, (), np.arange(len(corners)), corners, limits, out)


def sweep(
    array: Readable,
    above: tuple[int, ...],
    numbers: NDArray[np.intp],
    corners: Corners,
    limits: Sequence[range],
    out: Any,
) -> None:
    """Read the boxes with some numbers, which lie at the positions `above` along the first axes."""
    axis, size = len(above), out.shape[1:]
    if size[axis] == 1 and axis < len(size) - 1:
        for position in np.unique(corners[numbers, axis]).tolist():
            if position in limits[axis]:
                some = numbers[corners[numbers, axis] == position]
                sweep(array, (*above, position), some, corners, limits, out)
        return
    positions = covered(corners[numbers, axis], size[axis], limits[axis])
    rest = spans(corners[numbers], size, limits, axis)
    nbytes = array.dtype.itemsize * math.prod(map(len, rest))
    step = max(1, SWEEP_NBYTES // max(1, nbytes))
    for start in range(0, len(positions), step):
        window = positions[start : start + step]
        at = corners[numbers, axis]
        some = numbers[(at > window[0] - size[axis]) & (at <= window[-1])]
        read = [window, *spans(corners[some], size, limits, axis)]
        if all(each.size for each in read):
            band = array.read((*above, *read), transient=True)
            copy_band(band, read, some, corners[:, axis:], out, axis)


def spans(
    corners: Corners, size: Sequence[int], limits: Sequence[range], axis: int
) -> list[NDArray[np.int64]]:
    """Return the positions that boxes need along the axes after one.

    Along the next axis gaps between boxes are left out. Along the others they are not, because rows
    are mostly read as a whole.
    """
    found = []
    for other in range(axis + 1, len(size)):
        along = covered(corners[:, other], size[other], limits[other])
        if along.size and (other > axis + 1 or other == len(size) - 1):
            along = np.arange(along[0], along[-1] + 1)
        found.append(along)
    return found


def copy_band(
    band: Any, read: Sequence[Any], numbers: Any, corners: Corners, out: Any, axis: int
) -> None:
    """Copy the parts of boxes that lie in a band; `read` are its positions along each axis.

    Of the positions of a box, a band holds consecutive ones.
    """
    size = out.shape[axis + 1 :]
    wanted = corners[numbers]
    first = [np.searchsorted(at, wanted[:, n]) for n, at in enumerate(read)]
    last = [np.searchsorted(at, wanted[:, n] + size[n]) for n, at in enumerate(read)]
    is_there = np.all([low < high for low, high in zip(first, last, strict=True)], axis=0)
    for row in np.flatnonzero(is_there).tolist():
        inside, target = [], []
        for n, at in enumerate(read):
            low, high = int(first[n][row]), int(last[n][row])
            start = int(at[low] - wanted[row, n])
            inside.append(slice(low, high))
            target.append(slice(start, start + high - low))
        out[(int(numbers[row]), *[0] * axis, *target)] = band[tuple(inside)]


def covered(starts: Any, length: int, limit: range) -> NDArray[np.int64]:
    """Return the positions within a limit that intervals of one length cover, sorted."""
    low = np.clip(starts, limit.start, limit.stop) - limit.start
    high = np.clip(starts + length, limit.start, limit.stop) - limit.start
    steps = np.zeros(len(limit) + 1, np.int64)
    np.add.at(steps, low, 1)
    np.add.at(steps, high, -1)
    return np.flatnonzero(np.cumsum(steps[:-1]) > 0) + limit.start
