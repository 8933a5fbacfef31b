"""Statistics of the density: what the header states, with its ways of saying "unknown".

Source: the notes on words 20 to 22 and 55 of the MRC2014 specification; the habits of programs that
leave zeros or huge numbers where nothing was computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xarray_mrc.codec.header import Header

__all__ = ["DataStatistics", "StatedStatistics", "stated_statistics"]

UNSET = 1e37  # SerialEM and IMOD begin with 1e38 or the greatest float32


@dataclass(frozen=True, slots=True)
class StatedStatistics:
    """What a header states; None is unknown.

    Attributes
    ----------
    minimum, maximum, mean, rms : float or None
        In the units of the data; `rms` is the standard deviation.
    """

    minimum: float | None
    maximum: float | None
    mean: float | None
    rms: float | None


@dataclass(frozen=True, slots=True)
class DataStatistics:
    """What the data really are.

    Attributes
    ----------
    minimum, maximum, mean, rms : float
        Of the finite values, computed in float64; `rms` is the standard deviation.
    nonfinite : int
        Values that are nan or infinite.
    """

    minimum: float
    maximum: float
    mean: float
    rms: float
    nonfinite: int = 0


def stated_statistics(header: Header) -> StatedStatistics:
    """Read the statistics out of a header.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    StatedStatistics

    Notes
    -----
    Unknown are: extremes with DMAX < DMIN; a mean below both; a negative RMS; what is nan or huge.
    Four zeros mean that nothing was computed, and so does an RMS of zero where the extremes differ.

    Examples
    --------
    >>> stated_statistics(Header.blank())
    StatedStatistics(minimum=None, maximum=None, mean=None, rms=None)
    """
    low, high, mean, rms = header.dmin, header.dmax, header.dmean, header.rms
    if not any((low, high, mean, rms)):
        return StatedStatistics(None, None, None, None)
    ordered = low <= high and is_set(low) and is_set(high)
    has_mean = is_set(mean) and is_set(low) and is_set(high) and mean >= min(low, high)
    has_rms = is_set(rms) and (rms > 0 or (rms == 0 and low == high))
    return StatedStatistics(
        low if ordered else None,
        high if ordered else None,
        mean if has_mean else None,
        rms if has_rms else None,
    )


def is_set(value: float) -> bool:
    """Whether a value is a number that someone computed."""
    return math.isfinite(value) and abs(value) < UNSET
