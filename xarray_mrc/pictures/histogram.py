"""Histograms: how many pixels have each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.contrast import around, contrast_limits

__all__ = ["Histogram", "histogram_of", "log_of"]

BINS = 128
# Bins reach this many times the range of contrast beyond it.
MAX_REACH = 2
# Whole numbers below it get bins of whole numbers.
MAX_WHOLE = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of the values in planes.

    Attributes
    ----------
    counts : ndarray of int64
        Pixels in each bin.
    edges : ndarray of float64
        Edges of the bins, one more than there are bins.
    nonfinite : int
        Pixels that are nan or infinite, which no bin counts.
    outside : int
        Pixels far from all others, such as hot ones, which no bin counts either.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    nonfinite: int
    outside: int = 0


def log_of(amplitude: NDArray[Any]) -> NDArray[Any]:
    """Return log10 of amplitudes; zeros become the least amplitude that is there."""
    usable = amplitude[np.isfinite(amplitude) & (amplitude > 0)]
    floor = usable.min() if usable.size else 1.0
    found: NDArray[Any] = np.log10(np.where(amplitude == 0, floor, amplitude))
    return found


def histogram_of(values: NDArray[Any]) -> Histogram:
    """Count values in bins; whole numbers in bins of whole numbers.

    The bins reach from the least to the greatest finite value, but not farther from the contrast
    limits than twice their distance.

    Parameters
    ----------
    values : ndarray
        Real numbers of any shape.

    Returns
    -------
    Histogram

    Examples
    --------
    >>> found = histogram_of(np.array([1.0, 1.0, 3.0, np.inf]))
    >>> found.counts.tolist(), found.edges.tolist(), found.nonfinite
    ([2, 0, 1], [0.5, 1.5, 2.5, 3.5], 1)
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    nonfinite = values.size - finite.size
    if not finite.size:
        return Histogram(np.zeros(1, np.int64), np.array([0.0, 1.0]), nonfinite)
    near = contrast_limits(finite)
    reach = MAX_REACH * (near[1] - near[0])
    inside = finite[(finite >= near[0] - reach) & (finite <= near[1] + reach)]
    outside = finite.size - inside.size
    finite, low, high = inside, float(inside.min()), float(inside.max())
    whole = max(-low, high) < MAX_WHOLE and bool((finite == np.rint(finite)).all())
    if whole:  # bins of equal numbers of whole values: others make a comb
        step = max(1, -(-int(high - low + 1) // BINS))
        count = -(-int(high - low + 1) // step)
        edges = low - 0.5 + step * np.arange(count + 1, dtype=np.float64)
    elif low < high:
        edges = np.unique(np.linspace(low, high, BINS + 1))
    else:
        edges = np.array(around(low))
    counts, edges = np.histogram(finite, edges)
    return Histogram(counts.astype(np.int64), edges.astype(np.float64), nonfinite, outside)
