"""The levels of a pyramid: their shapes, chunks and shards, and the regions that are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xarray_mrc.conversion.block_means import Factors, coarse_region, coarse_shape
from xarray_mrc.conversion.grid import (
    PART_NBYTES,
    PLANE_DIMS,
    REGION_NBYTES,
    Region,
    Shards,
    cut,
    cut_region,
    gather_chunks,
    grid_for,
)

__all__ = ["Level", "Pyramid", "check_factors", "plan_pyramid"]

# A task writes all levels of a part of this size, or of one chunk of the coarsest level.
TASK_NBYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Level:
    """One array of a pyramid.

    Attributes
    ----------
    factors : tuple of int
        Voxels of the first level along each axis that one voxel stands for.
    shape : tuple of int
        Number of voxels.
    chunks : tuple of int
        Lengths of a chunk.
    shards : tuple of int or None
        Lengths of a shard; None if each chunk is a file.
    span : tuple of int
        Lengths, in voxels of the first level, of the region that is written at once: a shard, or
        several chunks. Spans of finer levels divide it.
    """

    factors: Factors
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    span: tuple[int, ...]

    def region(self, whole: Region) -> Region:
        """Return the region of this level that stands for a region of the first one."""
        return coarse_region(whole, self.factors)


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels of a pyramid, from fine to coarse.

    Attributes
    ----------
    dims : tuple of str
        Names of the axes.
    levels : tuple of Level
        The levels; the first one has the data themselves.
    part : tuple of int, optional
        Lengths of the part of a region of the first level that is in memory at a time: whole chunks
        and whole blocks. By default that is all of the region.
    """

    dims: tuple[str, ...]
    levels: tuple[Level, ...]
    part: tuple[int, ...] | None = None

    def in_parts(self, itemsize: int) -> Pyramid:
        """Return the pyramid with regions of the first level in parts of bounded size."""
        first = self.levels[0]
        factors = [level.factors for level in self.levels]
        unit = tuple(map(math.lcm, first.chunks, *factors))
        lengths = tuple(map(min, first.span, first.shape))
        return replace(self, part=gather_chunks(unit, lengths, itemsize, PART_NBYTES))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels of the data."""
        return self.levels[0].shape

    def tasks(self) -> list[Region]:
        """Return the regions of the data whose levels share no file with those of another."""
        return cut(self.shape, self.levels[-1].span)

    def parts(self, region: Region, level: int) -> list[Region]:
        """Return the regions that are written at once in a level, in a region of the data."""
        return cut_region(region, self.levels[level].span)

    def slabs(self) -> list[Region]:
        """Return slabs of whole sections in file order, each of whole parts of the first level."""
        span = self.levels[0].span
        whole = [
            length if dim in PLANE_DIMS else step
            for dim, length, step in zip(self.dims, self.shape, span, strict=True)
        ]
        return cut(self.shape, whole)


def check_factors(scale_factors: Any) -> tuple[int, ...]:
    """Return the factors of the coarse levels; ValueError unless they are integers that increase.

    Parameters
    ----------
    scale_factors : sequence of int
        Voxels of the data along an axis for one voxel of each level.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> check_factors([2, 4])
    (2, 4)
    """
    factors = tuple(scale_factors) if np.ndim(scale_factors) == 1 else (0,)
    before = 1
    for factor in factors:
        if not isinstance(factor, int | np.integer) or factor <= before:
            raise ValueError(
                f"scale_factors={scale_factors!r}, expected whole numbers above 1 that increase, "
                f"such as (2, 4): how many voxels of the data along an axis one voxel stands for"
            )
        before = int(factor)
    return tuple(map(int, factors))


def plan_pyramid(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    itemsize: int,
    scale_factors: Sequence[int],
    *,
    binned: Sequence[bool],
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    in_order: bool = False,
    exact_chunks: bool = False,
) -> Pyramid:
    """Plan the levels of a pyramid.

    Parameters
    ----------
    dims : tuple of str
        Names of the axes, as in an opened file.
    shape : tuple of int
        Number of voxels.
    itemsize : int
        Bytes of a voxel.
    scale_factors : sequence of int
        From `check_factors`.
    binned : sequence of bool
        Whether the coarse levels have fewer voxels along each axis.
    chunks, shards, in_order
        As in `grid_for`. The lengths hold for all levels.
    exact_chunks : bool
        Whether chunks have the lengths that were asked for along axes that are shorter too.

    Returns
    -------
    Pyramid

    Raises
    ------
    ValueError
        As `grid_for`.

    Examples
    --------
    >>> found = plan_pyramid(("z", "y", "x"), (500, 960, 928), 2, (2, 4), binned=(True,) * 3)
    >>> [(level.shape, level.shards) for level in found.levels][1:]
    [((250, 480, 464), (128, 256, 512)), ((125, 240, 232), (64, 128, 256))]
    """
    grid = grid_for(dims, shape, itemsize, chunks=chunks, shards=shards, in_order=in_order)
    is_chosen = shards is None or shards == "auto"
    chunk = grid.chunks
    if exact_chunks and chunks is not None:
        chunk = tuple(chunks.get(dim, length) for dim, length in zip(dims, chunk, strict=True))
    levels = [(1,) * len(shape)]
    levels += [tuple(f if is_binned else 1 for is_binned in binned) for f in scale_factors]
    unit = chunk if is_chosen or grid.shards is None else grid.shards
    spans = least_spans(unit, levels)
    fixed = [in_order and dim in PLANE_DIMS for dim in dims]
    if in_order:  # a task never goes back to an earlier slab, so its parts differ in depth only
        spans = [
            tuple(c if f else n for n, c, f in zip(span, spans[-1], fixed, strict=True))
            for span in spans
        ]
    if is_chosen:
        spans = grown_spans(spans, levels, shape, itemsize, fixed)
    found = []
    for factors, span in zip(levels, spans, strict=True):
        size = coarse_shape(shape, factors)
        inner = chunk if exact_chunks else tuple(map(min, chunk, size))
        steps = [length // factor for length, factor in zip(span, factors, strict=True)]
        steps = steps if is_chosen else list(unit)
        outer = tuple(
            min(step, -(-length // part) * part)
            for step, length, part in zip(steps, size, inner, strict=True)
        )
        found.append(Level(factors, size, inner, None if shards is None else outer, span))
    return Pyramid(dims, tuple(found))


def least_spans(unit: tuple[int, ...], levels: Sequence[Factors]) -> list[tuple[int, ...]]:
    """Return the least span of each level: of whole chunks or shards, and of whole finer spans.

    The span of the first level holds whole blocks of all levels.
    """
    span = tuple(map(math.lcm, unit, *levels))
    found = []
    for factors in levels:
        own = [length * factor for length, factor in zip(unit, factors, strict=True)]
        span = tuple(map(math.lcm, own, span))
        found.append(span)
    return found


def grown_spans(
    least: list[tuple[int, ...]],
    levels: Sequence[Factors],
    shape: tuple[int, ...],
    itemsize: int,
    fixed: Sequence[bool],
) -> list[tuple[int, ...]]:
    """Return spans for regions of useful size, from those of the least size.

    The spans of all levels are the same along the axes that are fixed.
    """
    nbytes = TASK_NBYTES
    if any(fixed):  # then only the depth makes the region of the first level less than a task
        nbytes = min(nbytes, REGION_NBYTES * (math.prod(least[-1]) // math.prod(least[0])))
    span = gather_chunks(least[-1], shape, itemsize, nbytes)
    found = []
    for unit, factors in zip(reversed(least), reversed(levels), strict=True):
        lengths = list(span)
        for axis in range(len(span)):
            count = 1 if fixed[axis] else lengths[axis] // unit[axis]
            # Divide the span, slowest axis first, until its region in the level is small enough.
            while count > 1 and region_nbytes(lengths, factors, shape, itemsize) > REGION_NBYTES:
                divisor = next(d for d in range(2, count + 1) if count % d == 0)
                lengths[axis] //= divisor
                count //= divisor
        span = tuple(lengths)
        found.append(span)
    return found[::-1]


def region_nbytes(
    span: Sequence[int], factors: Factors, shape: tuple[int, ...], itemsize: int
) -> int:
    """Return the size of the region of a level that stands for a span of the data."""
    clipped = [min(length, whole) for length, whole in zip(span, shape, strict=True)]
    return math.prod(coarse_shape(clipped, factors)) * itemsize
