"""Blocks of voxels to one voxel each: means, middle voxels, or the most frequent values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.grid import Region, cut

__all__ = [
    "Factors",
    "Method",
    "check_method",
    "coarse_region",
    "coarse_shape",
    "reduce_levels",
]

Method = Literal["mean", "nearest", "mode"]
Factors = tuple[int, ...]

# Voxels that are added up at a time, so that all steps of a strip find it in the processor's cache.
# Two levels of 64 x 512 x 1024 voxels of int16 took 0.72 ns a voxel, of float32 1.2 ns. Strips of a
# quarter took 1.3 times as long, because of more calls; so did strips that are eight times larger.
STRIP_VOXELS = 2**19
# Sums of this many 16-bit numbers fit in 32 bits.
MAX_SHORT_SUM = 2**15


def check_method(method: str, dtype: np.dtype[Any]) -> None:
    """Raise ValueError if data of a type cannot be reduced by a method.

    Parameters
    ----------
    method : {"mean", "nearest", "mode"}
        How a block becomes one voxel.
    dtype : dtype
        Data type of the voxels.

    Raises
    ------
    ValueError
        The method is unknown, counts values that are not whole numbers, or its sums could overflow.

    Examples
    --------
    >>> check_method("mean", np.dtype("int16"))
    """
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}, expected {', '.join(map(repr, get_args(Method)))}")
    if method == "mode" and dtype.kind not in "iu":
        raise ValueError(
            f"method='mode' finds the most frequent whole number, but the data are {dtype}; pass "
            f"method='mean' or 'nearest', or cast labels with obj.astype('int16')"
        )
    if method == "mean" and dtype.kind in "iu" and dtype.itemsize == 8:
        raise ValueError(
            f"method='mean' is not exact for {dtype}, whose sums can overflow; cast the data with "
            f"obj.astype('int32') or 'float64', or pass method='nearest' or 'mode' for labels"
        )


def coarse_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a level, whose last voxels may stand for incomplete blocks.

    Parameters
    ----------
    shape : sequence of int
        Shape of the data.
    factors : sequence of int
        Lengths of a block along each axis.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> coarse_shape((5, 8), (2, 4))
    (3, 2)
    """
    return tuple(-(-length // factor) for length, factor in zip(shape, factors, strict=True))


def reduce_levels(
    values: NDArray[Any], levels: Sequence[Factors], method: Method = "mean"
) -> list[NDArray[Any]]:
    """Reduce the blocks of an array to one voxel each, for several sizes of blocks.

    Parameters
    ----------
    values : ndarray
        Integers, floating or complex numbers in native byte order.
    levels : sequence of tuple of int
        Lengths of the blocks along each axis, for each level.
    method : {"mean", "nearest", "mode"}
        "mean" is the mean of the voxels of a block. "nearest" is its middle voxel, of two the first
        one. "mode" is its most frequent value, of several the least.

    Returns
    -------
    list of ndarray
        One array for each level, of the data type of the values. Blocks at the end of an axis have
        the voxels that are there.

    Notes
    -----
    Sums are exact for integers of up to 32 bits, and have the double precision of the values in
    floating and complex numbers. Means of integers are rounded to the nearest, ties to the even
    one, which leaves the mean of all voxels unbiased. A nan is left out, as in xarray's
    ``coarsen(...).mean()``: the mean is nan if all voxels of a block are.

    Examples
    --------
    >>> reduce_levels(np.array([[1, 2, 9], [3, 5, 9]]).astype("int16"), [(2, 2)])
    [array([[3, 9]], dtype=int16)]
    >>> reduce_levels(np.array([4, 7, 7, 1, 2]), [(2,), (4,)], "mode")
    [array([4, 1, 2]), array([7, 2])]
    """
    if method == "mean":
        return mean_levels(values, levels)
    reduce_piece = middle_voxels if method == "nearest" else most_frequent
    found = []
    for factors in levels:
        coarse = np.empty(coarse_shape(values.shape, factors), values.dtype)
        for source, target, lengths in whole_blocks(values.shape, factors):
            coarse[target] = reduce_piece(values[source], lengths)
        found.append(coarse)
    return found


def mean_levels(values: NDArray[Any], levels: Sequence[Factors]) -> list[NDArray[Any]]:
    """Return the means of blocks, strip by strip."""
    found = [np.empty(coarse_shape(values.shape, level), values.dtype) for level in levels]
    unit = tuple(map(math.lcm, *levels)) if levels else ()
    for strip in cut(values.shape, strip_lengths(values.shape, unit)) if levels else ():
        with np.errstate(invalid="ignore"):  # of infinite values, and of blocks of nan
            means = strip_means(values[strip], levels)
        for coarse, factors, mean in zip(found, levels, means, strict=True):
            coarse[coarse_region(strip, factors)] = mean
    return found


def strip_lengths(shape: Sequence[int], unit: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of a strip: whole rows if they are short, and a multiple of the unit."""
    lengths = list(unit)
    room = max(1, STRIP_VOXELS // math.prod(lengths))
    for axis in reversed(range(len(shape))):
        count = min(room, max(1, -(-shape[axis] // unit[axis])))
        lengths[axis] *= count
        room = max(1, room // count)
    return tuple(lengths)


def coarse_region(region: Region, factors: Sequence[int]) -> Region:
    """Return the region of a level that stands for a region of the data, which starts a block."""
    return tuple(
        slice(part.start // factor, -(-part.stop // factor))
        for part, factor in zip(region, factors, strict=True)
    )


def strip_means(part: NDArray[Any], levels: Sequence[Factors]) -> list[NDArray[Any]]:
    """Return the means of blocks for each level; a level adds up the sums of one before it."""
    wide = sum_type(part.dtype, levels)
    means = []
    has_nan: bool | None = None
    done: list[tuple[Factors, NDArray[Any], Any]] = [((1,) * part.ndim, part, None)]
    for factors in levels:
        base, sums, counts = next(
            found
            for found in reversed(done)
            if all(f % b == 0 for f, b in zip(factors, found[0], strict=True))
        )
        ratio = tuple(f // b for f, b in zip(factors, base, strict=True))
        total = block_sums(sums, ratio, wide)
        if has_nan is None:
            has_nan = part.dtype.kind in "fc" and bool(np.isnan(total).any())
            if has_nan:
                present = ~np.isnan(part)
                sums, counts = np.where(present, part, 0), present
                done[0] = (base, sums, counts)
                total = block_sums(sums, ratio, wide)
        number = block_sums(counts, ratio, np.dtype("i4")) if has_nan else None
        done.append((factors, total, number))
        mean = total / (block_counts(part.shape, factors) if number is None else number)
        if part.dtype.kind in "iu":
            np.rint(mean, out=mean)
        means.append(mean.astype(part.dtype, copy=False))
    return means


def sum_type(dtype: np.dtype[Any], levels: Sequence[Factors]) -> np.dtype[Any]:
    """Return a data type for sums that can neither overflow nor round away what the means hold."""
    if dtype.kind in "iu":
        is_short = dtype.itemsize <= 2 and max(map(math.prod, levels)) < MAX_SHORT_SUM
        return np.dtype("i4" if is_short else "i8")
    if dtype.kind == "c":
        return np.dtype("c16")
    return np.dtype("f4" if dtype.itemsize == 2 else "f8")


def block_sums(values: NDArray[Any], lengths: Sequence[int], wide: np.dtype[Any]) -> NDArray[Any]:
    """Return the sums of blocks in a wide data type: the slowest axis first, in whole rows."""
    for axis, length in enumerate(lengths):
        if length == 1:
            continue
        parts = [
            values[(slice(None),) * axis + (slice(start, None, length),)]
            for start in range(min(length, values.shape[axis]))
        ]
        if len(parts) > 1 and parts[0].shape == parts[1].shape:
            sums = np.add(parts[0], parts[1], dtype=wide)
            parts = parts[2:]
        else:
            sums = parts[0].astype(wide)
            parts = parts[1:]
        for part in parts:  # the last block may have no voxel in it
            inner = sums[(slice(None),) * axis + (slice(part.shape[axis]),)]
            np.add(inner, part, out=inner)
        values = sums
    return values.astype(wide, copy=False)


def block_counts(shape: Sequence[int], factors: Sequence[int]) -> Any:
    """Return the numbers of voxels in the blocks; one number if all blocks are complete."""
    if not any(length % factor for length, factor in zip(shape, factors, strict=True)):
        return math.prod(factors)
    along = [
        np.minimum(factor, length - np.arange(0, length, factor))
        for length, factor in zip(shape, factors, strict=True)
    ]
    return math.prod(np.ix_(*along))


def whole_blocks(
    shape: Sequence[int], factors: Sequence[int]
) -> Iterator[tuple[Region, Region, Factors]]:
    """Yield regions of equal blocks, their regions in the level, and the lengths of the blocks."""
    axes = []
    for length, factor in zip(shape, factors, strict=True):
        count, rest = divmod(length, factor)
        parts = []
        if count:
            parts.append((slice(count * factor), slice(count), factor))
        if rest:
            parts.append((slice(count * factor, length), slice(count, count + 1), rest))
        axes.append(parts)
    for piece in product(*axes):
        source, target, lengths = zip(*piece, strict=True)
        yield source, target, lengths


def middle_voxels(values: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
    """Return the middle voxel of each block, of two the first one."""
    return values[tuple(slice((length - 1) // 2, None, length) for length in lengths)]


def most_frequent(values: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
    """Return the most frequent value of each block, of several the least."""
    places = product(*map(range, lengths))
    voxels = np.stack(
        [values[tuple(map(slice, place, (None,) * values.ndim, lengths))] for place in places]
    )
    voxels.sort(axis=0)
    best: NDArray[Any] = voxels[0].copy()
    most = np.ones(best.shape, np.int32)
    run = most.copy()
    for before, value in pairwise(voxels):
        run = np.where(value == before, run + 1, 1)
        is_better = run > most
        np.copyto(best, value, where=is_better)
        np.copyto(most, run, where=is_better)
    return best
