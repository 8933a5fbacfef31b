"""Compute the statistics that `MrcObject` writes to the header."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.checking.measurement import NumpyStatistics

__all__ = ["statistics_fields"]

# Up to this number of values, mean and RMS are numpy's float32 sums if these are right to RTOL.
MAX_SUMMED_VALUES = 2**15
RTOL = 1e-6


def statistics_fields(data: NDArray[Any]) -> dict[str, float]:
    """Return the statistics fields of the header for data, as mrcfile sets them."""
    found = NumpyStatistics.of(data)
    if data.dtype.kind == "c":
        exact = {"rms": found.rms}
        return exact | numpy_sums(data, exact)
    low, high = float(found.low.real), float(found.high.real)
    fields = {"dmin": low, "dmax": high, "dmean": found.mean, "rms": found.rms}
    if math.isnan(low):
        warnings.warn("Data array contains NaN values", RuntimeWarning, stacklevel=2)
    elif math.isinf(low) or math.isinf(high):
        warnings.warn("Data array contains infinite values", RuntimeWarning, stacklevel=2)
    else:
        fields |= numpy_sums(data, fields)
    return fields


def numpy_sums(data: NDArray[Any], exact: dict[str, float]) -> dict[str, float]:
    """Return mean and RMS of small data as numpy computes them in float32, if they are accurate.

    Programs compare the header with these numbers for equality.
    """
    if data.size > MAX_SUMMED_VALUES:
        return {}
    with np.errstate(all="ignore"):
        if data.dtype.kind == "c":
            sums = {"rms": float(data.std())}
        else:
            sums = {"dmean": float(data.mean(dtype="f4")), "rms": float(data.std(dtype="f4"))}
    return {
        name: sums[name] for name in sums if math.isclose(sums[name], exact[name], rel_tol=RTOL)
    }
