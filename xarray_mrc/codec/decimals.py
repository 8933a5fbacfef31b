"""Float32 numbers of a header as the decimals that were meant: 1.35, not 1.35000002384.

`voxel_size` and `first_position` read, `step_of` and `start_of` are their inverses for writing.
docs/positions.md derives the constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DECIMALS",
    "FARTHEST",
    "SHORTEST_VOXEL",
    "Triple",
    "first_position",
    "shortest",
    "start_of",
    "step_of",
    "voxel_size",
]

Triple = tuple[float, float, float]

# Places after the point, in angstrom, of positions and of a voxel size that was meant.
DECIMALS = 6
UNIT = 10.0**-DECIMALS
SHORTEST_VOXEL = 1e-5
FARTHEST = 1e9
# Units in the last place that float32 programs lose when they compute a cell length.
CELL_ULPS = 3
# Every decimal of this many digits is the shortest one of its own float32.
CLEAN_DIGITS = 6
SMALLEST_NORMAL = 2.0**-126
# A start that a float32 cannot hold is sought at these parts of a voxel, if it spans that many
# float32.
PARTS, MIN_FLOATS = (1, 2, 3, 4), 500
START_DECIMALS = 9
# Cell lengths to try on either side of the likeliest one.
NEIGHBOURS = 8


def shortest(value: float) -> float:
    """Return the float64 of the shortest decimal with this float32: 0.1 for float32(0.1)."""
    stored = float(np.float32(value))
    for digits in range(CLEAN_DIGITS if abs(stored) >= SMALLEST_NORMAL else 1, 9):
        decimal = float(f"{stored:.{digits}g}")
        if np.float32(decimal) == stored:
            return decimal
    return float(f"{stored:.9g}")


def ulp(value: float) -> float:
    """Return the unit in the last place of a float32."""
    return math.ldexp(1.0, max(math.frexp(value)[1], -125) - 24)


@lru_cache(maxsize=256)  # most cells are cubes, and the files of a data set have one voxel size
def meant_voxel(length: float, intervals: int) -> float:
    """Return the shortest decimal whose product with the intervals is near the stored length."""
    quotient = length / intervals
    for places in range(DECIMALS + 1):
        decimal = round(quotient, places)
        if abs(decimal * intervals - length) <= CELL_ULPS * ulp(length):
            return decimal
    return quotient


def voxel_size(lengths: Triple, intervals: tuple[int, int, int]) -> Triple:
    """Return the voxel size along X, Y, Z.

    Parameters
    ----------
    lengths : tuple of float
        Cell lengths in angstrom, as stored (float32).
    intervals : tuple of int
        Grid intervals of the cell.

    Returns
    -------
    tuple of float
        The cell length over the grid intervals (never over NX, NY, NZ) in angstrom, as the shortest
        decimal of up to six places whose product with the intervals is within three units in the
        last place of the stored length, else as the quotient. Files of one data set so get the same
        voxel size, whatever their number of voxels and the precision of the program. It is nan
        where a length or number of intervals is zero, negative or not finite.

    Examples
    --------
    >>> voxel_size((4.05, 4.05, 0.0), (3, 3, 3))
    (1.35, 1.35, nan)
    """
    sizes = [math.nan] * 3
    for axis, (length, count) in enumerate(zip(lengths, intervals, strict=True)):
        if count > 0 and SHORTEST_VOXEL * count <= length <= FARTHEST:
            sizes[axis] = meant_voxel(length, count)
    return (sizes[0], sizes[1], sizes[2])


def step_of(positions: NDArray[np.float64], intervals: int, first: int | None = None) -> float:
    """Return the voxel size to store so that a header gives back positions.

    Parameters
    ----------
    positions : ndarray of float64
        Two or more evenly spaced positions in angstrom, known to 6 decimals.
    intervals : int
        Grid intervals of the cell whose length will be stored.
    first : int, optional
        Grid point of the first position, if the start will be stored in voxels.

    Returns
    -------
    float
        The shortest decimal whose stored cell length gives every position, else a quotient that
        does. If there is none, the one that comes nearest.

    Examples
    --------
    >>> step_of(np.array([0.0, 1.35, 2.7]), 3)
    1.35
    """
    grid = np.arange(len(positions), dtype=np.float64) + (first or 0)
    weights = grid - (grid.mean() if first is None else 0)
    nearest = fitted = float(weights @ positions / (weights @ weights))
    least = math.inf
    # Farther off, positions at the ends differ: reading moves a size by 3 of 2**23.
    reach = 2 * UNIT / np.abs(weights).max() + 4e-7 * fitted
    steps = [step for step in likely_steps(fitted, intervals) if abs(step - fitted) <= reach]
    # A start beside the first position is the last resort: that of a grid with more decimals.
    for is_exact in (True, False) if first is None else (True,):
        for step in steps:
            size = read_back(step, intervals)
            start = 0.0 if first is not None else float(positions[0])
            if not is_exact:
                start = first_position(start_of(positions, size), size)
            away = float(np.abs(np.round(start + grid * size, DECIMALS) - positions).max())
            if away < 0.1 * UNIT:
                return step
            if away < least:
                nearest, least = step, away
    return nearest


def read_back(step: float, intervals: int) -> float:
    """Return the voxel size that is read from the cell length stored for a voxel size."""
    length = float(np.float32(step * intervals))
    return voxel_size((length,) * 3, (intervals,) * 3)[0]


def likely_steps(fitted: float, intervals: int) -> Iterator[float]:
    """Yield the decimals near a fitted voxel size, then those of the cell lengths around it."""
    for places in range(DECIMALS + 1):
        yield round(fitted, places)
    length = float(np.float32(fitted * intervals))
    for away in range(NEIGHBOURS + 1):
        yield (length + away * ulp(length)) / intervals
        yield (length - away * ulp(length)) / intervals


@lru_cache(maxsize=256)
def first_position(stored: float, voxel: float) -> float:
    """Return the position of the first voxel that a stored start means.

    Parameters
    ----------
    stored : float
        The start in angstrom (float32).
    voxel : float
        Voxel size in angstrom; nan if it is unknown.

    Returns
    -------
    float
        The shortest decimal with this float32 if it has up to six digits. Else a whole number of
        voxels, or of halves, thirds or quarters of one, if it has the same float32: a cut-out then
        keeps the positions of its parent, which may have more digits than a float32. Else the
        shortest decimal.

    Examples
    --------
    >>> shortest(2587 * 0.4007), first_position(2587 * 0.4007, 0.4007)
    (1036.6108, 1036.6109)
    """
    decimal = shortest(stored)
    if decimal == float(f"{decimal:.{CLEAN_DIGITS}g}") or math.isnan(voxel):
        return decimal
    spacing = ulp(stored)
    for parts in PARTS:
        start = round(round(decimal * parts / voxel) * voxel / parts, START_DECIMALS)
        if voxel / parts >= MIN_FLOATS * spacing and np.float32(start) == np.float32(stored):
            return start
    return decimal


def start_of(positions: NDArray[np.float64], voxel: float) -> float:
    """Return the start to store so that a header gives back positions.

    Parameters
    ----------
    positions : ndarray of float64
        Evenly spaced positions in angstrom, known to 6 decimals.
    voxel : float
        Voxel size in angstrom that will be read.

    Returns
    -------
    float
        The first position, or one less than a unit of the sixth decimal beside it, if only this
        gives every position: the first one was rounded too.

    Examples
    --------
    >>> start_of(np.array([-10.994, -9.494, -7.993999]), 1.5)
    -10.9939995
    """
    first, half = float(positions[0]), 0.5 * UNIT
    grid = np.arange(len(positions)) * voxel
    starts = positions - grid
    low, high = float(starts.max()) - half, float(starts.min()) + half
    if low > high + 0.1 * UNIT:
        return first
    for start in (first, round(low, 7), round(high, 7), (low + high) / 2, low, high):
        read = np.round(first_position(start, voxel) + grid, DECIMALS)
        if np.abs(read - positions).max() < 0.1 * UNIT:
            return start
    return first
