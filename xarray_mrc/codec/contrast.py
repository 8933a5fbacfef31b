"""Contrast: which values are drawn black and white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["around", "contrast_limits"]

# Percentiles of the drawn pixels that become black and white: they leave out hot pixels, and keep
# the beads of gold in a tomogram from taking all greys.
PERCENTILES = (0.5, 99.5)


def contrast_limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the values to draw black and white: percentiles of the finite ones.

    Parameters
    ----------
    values : ndarray
        Real numbers of any shape.

    Returns
    -------
    low, high : float
        The least and greatest value if the percentiles are equal, as in a mask of few voxels. Of
        equal values, half a unit on either side of them, so that they are grey.

    Examples
    --------
    >>> contrast_limits(np.array([0, 0, 0, 1, np.nan])), contrast_limits(np.array([7.0]))
    ((0.0, 0.98...), (6.5, 7.5))
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(finite, PERCENTILES))
    if not low < high:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else around(low)


def around(value: float) -> tuple[float, float]:
    """Return the values half a unit below and above a value, or farther where floats are coarse."""
    half = max(0.5, abs(value) * 1e-6)
    return value - half, value + half
