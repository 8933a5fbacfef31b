"""Float32 numbers of a header as the decimals that were meant: 1.35, not 1.35000002384."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DECIMALS",
    "FARTHEST",
    "SHORTEST_VOXEL",
    "Triple",
    "place_of",
    "shortest",
    "start_of",
    "step_of",
    "voxel_size",
]

Triple = tuple[float, float, float]

# Positions are kept to DECIMALS places of an angstrom; outside these bounds float64 can't do that,
# or neighbours would fall together.
DECIMALS = 6
SHORTEST_VOXEL = 1e-5
FARTHEST = 1e9
# A place that a float32 can't hold is sought in these parts of a voxel, as slices with a step and
# bins need them; in none of which there are fewer than so many float32, or chance would find one.
PARTS, FEWEST = (1, 2, 3, 4), 500
CLEAN_DIGITS = 6  # every decimal of so many is its own float32
PLACE_DECIMALS = 9  # more than positions have: these add whole voxels before they are rounded


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


def step_of(positions: NDArray[np.float64], intervals: int, first: int | None = None) -> float:
    """Give the voxel size with which a header gives back positions; the inverse of reading them.

    Parameters
    ----------
    positions : ndarray of float64
        Two or more evenly spaced positions, known to 6 decimals.
    intervals : int
        Grid intervals of the cell whose length will be stored.
    first : int, optional
        Grid point of the first position, where its place is counted in voxels.

    Returns
    -------
    float
        The shortest decimal whose stored cell length gives every position; if none does, the
        shortest that comes within two units of the last decimal; else the mean distance.

    Examples
    --------
    >>> step_of(np.array([0.0, 1.35, 2.7]), 3)
    1.35
    """
    count = len(positions)
    mean = float(positions[-1] - positions[0]) / (count - 1)
    start = float(positions[0]) if first is None else 0.0
    grid = np.arange(count) + (first or 0)
    nearly = mean
    for digits in range(1, 16):
        candidate = float(f"{mean:.{digits}g}")
        read = voxel_size((float(np.float32(candidate * intervals)),) * 3, (intervals,) * 3)[0]
        away = np.abs(np.round(start + grid * read, DECIMALS) - positions).max()
        if away < 0.1 * 10.0**-DECIMALS:
            return candidate
        if nearly == mean and away < 2.1 * 10.0**-DECIMALS:
            nearly = candidate
    return nearly


@lru_cache(maxsize=256)
def place_of(stored: float, voxel: float) -> float:
    """Give the position of the first voxel that a float32 stands for.

    Parameters
    ----------
    stored : float
        The float32.
    voxel : float
        Voxel size; nan if it is not known.

    Returns
    -------
    float
        The shortest decimal if it has few digits, and so was meant. Else a whole number of voxels,
        or of halves, thirds or quarters of one, if that is the same float32: so that a cut-out has
        the positions of its parent, which may have more digits than a float32.

    Examples
    --------
    >>> shortest(2587 * 0.4007), place_of(2587 * 0.4007, 0.4007)
    (1036.6108, 1036.6109)
    """
    decimal = shortest(stored)
    if decimal == float(f"{decimal:.{CLEAN_DIGITS}g}") or math.isnan(voxel):
        return decimal
    spacing = float(np.spacing(np.float32(abs(stored))))
    for parts in PARTS:
        place = round(round(decimal * parts / voxel) * voxel / parts, PLACE_DECIMALS)
        if voxel / parts >= FEWEST * spacing and np.float32(place) == np.float32(stored):
            return place
    return decimal


def start_of(positions: NDArray[np.float64], voxel: float) -> float:
    """Give the start with which a header gives back positions.

    Parameters
    ----------
    positions : ndarray of float64
        Evenly spaced positions, known to 6 decimals.
    voxel : float
        Voxel size that will be read.

    Returns
    -------
    float
        The first position; or half a unit of the last decimal beside it, from where it was rounded
        to one side and others to the other, if only that gives every position.

    Examples
    --------
    >>> start_of(np.array([-10.994, -9.494, -7.993999]), 1.5)
    -10.9939995
    """
    half = 0.5 * 10.0**-DECIMALS
    first = float(positions[0])
    grid = np.arange(len(positions)) * voxel
    for start in (first, round(first - half, 7), round(first + half, 7)):
        read = np.round(place_of(start, voxel) + grid, DECIMALS)
        if np.abs(read - positions).max() < 0.1 * 10.0**-DECIMALS:
            return start
    return first
