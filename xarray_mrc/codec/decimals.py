"""Float32 numbers of a header as the decimals that were meant: 1.35, not 1.35000002384."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

__all__ = ["DECIMALS", "FARTHEST", "Triple", "shortest", "voxel_size"]

Triple = tuple[float, float, float]

# Positions are kept to DECIMALS places of an angstrom; outside these bounds float64 can't do that,
# or neighbours would fall together.
DECIMALS = 6
SHORTEST_VOXEL = 1e-5
FARTHEST = 1e9


def shortest(value: float) -> float:
    """Give the float64 of the shortest decimal that a float32 stands for: 0.1 for float32(0.1)."""
    return float(str(np.float32(value)))


@lru_cache(maxsize=256)  # most cells are cubes, and a data set has one voxel size
def shortest_voxel(length: float, intervals: int) -> float:
    """Give the shortest decimal whose float32 product with the intervals is the stored length."""
    stored = np.float32(length)
    quotient = length / intervals
    for digits in range(1, 10):
        decimal = float(f"{quotient:.{digits}g}")
        if np.float32(decimal * intervals) == stored:
            return decimal
    return quotient


def voxel_size(lengths: Triple, intervals: tuple[int, int, int]) -> Triple:
    """Give the voxel size along X, Y, Z.

    Parameters
    ----------
    lengths : tuple of float
        Cell lengths in angstrom.
    intervals : tuple of int
        Grid intervals of the cell.

    Returns
    -------
    tuple of float
        The cell length over the grid intervals (never over NX, NY, NZ) in angstrom, as the shortest
        decimal that gives back the stored float32 length. Two files of one data set so get the same
        voxel size. It is nan where a length or number of intervals is zero, negative or not finite.

    Examples
    --------
    >>> voxel_size((4.05, 4.05, 0.0), (3, 3, 3))
    (1.35, 1.35, nan)
    """
    sizes = [math.nan] * 3
    for axis, (length, count) in enumerate(zip(lengths, intervals, strict=True)):
        if count > 0 and SHORTEST_VOXEL * count <= length <= FARTHEST:
            sizes[axis] = shortest_voxel(length, count)
    return (sizes[0], sizes[1], sizes[2])
