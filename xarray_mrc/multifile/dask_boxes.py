"""Boxes of dask arrays.

This module imports dask, so it is imported by the functions that need it.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate, product
from typing import Any

import dask
import dask.array
import numpy as np
from numpy.typing import NDArray

from xarray_mrc.reading.boxes import Corners, overlaps

__all__ = ["boxes_of_blocks"]

# Number of a box, its place there, and its pixels.
Part = tuple[int, tuple[slice, ...], NDArray[Any]]


def boxes_of_blocks(
    data: Any,
    corners: Corners,
    size: tuple[int, ...],
    kept: tuple[int, ...],
    fill: float,
    block: int,
) -> Any:
    """Return boxes of a dask array as a dask array; each of its blocks is computed once.

    Parameters
    ----------
    data : dask array
        The array.
    corners : ndarray of int
        First position of each box along each axis, of shape (boxes, axes).
    size : tuple of int
        Length of a box along each axis.
    kept : tuple of int
        Axes that the boxes have; along the others their length is 1.
    fill : float
        Value beyond the array.
    block : int
        Number of boxes in a block of the result.

    Returns
    -------
    dask array
    """
    starts = [[0, *accumulate(lengths)] for lengths in data.chunks]
    blocks = data.to_delayed()
    shape = tuple(size[axis] for axis in kept)
    copy, join = dask.delayed(copy_parts, pure=True), dask.delayed(join_parts, pure=True)
    found = []
    for first in range(0, max(1, len(corners)), block):
        some = corners[first : first + block]
        touched: dict[tuple[int, ...], list[int]] = defaultdict(list)
        spans = [
            (
                np.searchsorted(cuts, np.maximum(some[:, axis], 0), "right") - 1,
                np.searchsorted(cuts, np.minimum(some[:, axis] + size[axis], cuts[-1]), "left"),
            )
            for axis, cuts in enumerate(starts)
        ]
        for number in range(len(some)):
            ranges = (range(low[number], high[number]) for low, high in spans)
            for index in product(*ranges):
                touched[index].append(number)
        parts = []
        for index, numbers in sorted(touched.items()):
            limits = [
                range(cuts[number], cuts[number + 1])
                for number, cuts in zip(index, starts, strict=True)
            ]
            parts.append(copy(blocks[index], some[numbers], np.array(numbers), limits, size))
        joined = join(parts, len(some), size, shape, fill, data.dtype)
        meta = np.empty((0,) * (1 + len(shape)), data.dtype)
        found.append(dask.array.from_delayed(joined, (len(some), *shape), data.dtype, meta=meta))
    return dask.array.concatenate(found)


def copy_parts(
    block: NDArray[Any],
    corners: Corners,
    numbers: NDArray[np.intp],
    limits: Any,
    size: tuple[int, ...],
) -> list[Part]:
    """Return copies of the parts of boxes that a block holds, which is freed afterwards."""
    first = [limit.start for limit in limits]
    parts: list[Part] = []
    for number, key, target in overlaps(corners, limits, size):
        inside: Any = tuple(slice(k.start - f, k.stop - f) for k, f in zip(key, first, strict=True))
        parts.append((int(numbers[number]), target, np.array(block[inside])))
    return parts


def join_parts(
    parts: list[list[Part]],
    count: int,
    size: tuple[int, ...],
    shape: tuple[int, ...],
    fill: float,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return boxes, from the parts that the blocks of the array hold of them."""
    boxes: Any = np.full((count, *size), fill, dtype)
    for part in parts:
        for number, target, pixels in part:
            boxes[(number, *target)] = pixels
    found: NDArray[Any] = boxes.reshape((count, *shape))
    return found
