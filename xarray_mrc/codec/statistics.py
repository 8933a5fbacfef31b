"""Statistics of the density: what a header states, its "unknown" included, and what data are.

Source: the notes on words 20 to 22 and 55 of the MRC2014 specification; the habits of programs that
leave zeros or huge numbers where nothing was computed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.old_header import old_origin

__all__ = ["UNKNOWN", "StatedStatistics", "Statistics", "measure", "stated_statistics"]

# The format's values for "not computed": DMAX < DMIN, DMEAN below both, a negative RMS.
UNKNOWN = {"dmin": 0.0, "dmax": -1.0, "dmean": -2.0, "rms": -1.0}
# Values that are measured in one go: of fewer, threads would wait for each other between the steps;
# of more, the copy in float64 would not stay in the processor's cache.
BLOCK = 2**17
# Values whose squares are summed in one go: of more, some libraries for that begin threads.
ROW = 2**13
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
class Statistics:
    """What data really are; those of parts are merged into those of the whole.

    Attributes
    ----------
    count : int
        Finite values. Of RGB pixels each of the three numbers counts.
    minimum, maximum : float or int
        Least and greatest finite value, exactly, whole numbers as int; nan of complex values, or
        where there is none.
    mean : float or complex
        Mean of the finite values, computed in float64; nan where there is none.
    squares : float
        Sum of the squared distances from the mean.
    nans, infinities : int
        Values that are not finite. A complex value counts once, as nan if any part is nan.

    Notes
    -----
    Means and squares of parts are merged as in T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating
    formulae and a pairwise algorithm for computing sample variances" (1979).

    Examples
    --------
    >>> whole = measure(np.array([1.0, 2.0])).merge(measure(np.array([6.0, np.nan])))
    >>> whole.mean, whole.maximum, whole.nans
    (3.0, 6.0, 1)
    >>> print(whole)
    minimum 1, maximum 6, mean 3, rms 2.1602469 of 3 values, 1 nan or infinite
    """

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    mean: float | complex = math.nan
    squares: float = 0.0
    nans: int = 0
    infinities: int = 0

    def __str__(self) -> str:
        said = f"minimum {self.minimum:.9g}, maximum {self.maximum:.9g}, "
        said += f"mean {self.mean:.9g}, rms {self.rms:.9g} of {self.count} values"
        return f"{said}, {self.nonfinite} nan or infinite" if self.nonfinite else said

    @property
    def rms(self) -> float:
        """Standard deviation of the finite values; nan where there is none."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    @property
    def nonfinite(self) -> int:
        """Values that are nan or infinite."""
        return self.nans + self.infinities

    def merge(self, other: Statistics) -> Statistics:
        """Give the statistics of two disjoint parts together.

        Parameters
        ----------
        other : Statistics
            Those of the other part.

        Returns
        -------
        Statistics
        """
        nans, infinities = self.nans + other.nans, self.infinities + other.infinities
        if not (self.count and other.count):
            known = self if self.count else other
            return replace(known, nans=nans, infinities=infinities)
        count = self.count + other.count
        apart = other.mean - self.mean
        squares = abs(apart) ** 2 * (self.count / count) * other.count
        return Statistics(
            count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + apart * (other.count / count),
            self.squares + other.squares + squares,
            nans,
            infinities,
        )

    def fields(self) -> dict[str, float]:
        """Give the fields of a header that state these statistics.

        Returns
        -------
        dict
            ``dmin``, ``dmax``, ``dmean`` and ``rms``; with the format's values for "unknown" where
            there is no finite value or one that is not finite, which no range would cover, and for
            all but ``rms`` of complex data.
        """
        if not self.count or self.nonfinite:
            return dict(UNKNOWN)
        known = {"rms": self.rms}
        if not isinstance(self.mean, complex):
            known |= {"dmin": self.minimum, "dmax": self.maximum, "dmean": self.mean}
        return UNKNOWN | known


def measure(values: NDArray[np.generic]) -> Statistics:
    """Measure values in one pass, in float64, with no temporary of their size.

    Parameters
    ----------
    values : ndarray
        Real or complex numbers of any shape, strides and byte order. Masked ones do not count.

    Returns
    -------
    Statistics

    Raises
    ------
    TypeError
        They are no numbers.

    Examples
    --------
    >>> measure(np.array([[1, 2], [3, 6]], np.int16)).rms ** 2
    3.5
    """
    if values.dtype.kind not in "biufc":
        raise TypeError(f"the data type is {values.dtype}, expected numbers")
    if isinstance(values, np.ma.MaskedArray):
        values = values.compressed()
    found = Statistics()
    with np.errstate(invalid="ignore"):  # a nan that signals, as junk may be one, is a nan
        for block in blocks(values):
            found = found.merge(measure_block(block))
    return found


def blocks(values: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Cut an array into runs of at most BLOCK values, without copying more than one of them."""
    if is_one_run(values):
        values = values.ravel(order="K")
    within = values[0].size if values.ndim and len(values) else 1
    step = max(1, BLOCK // max(1, within))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        if part.size <= BLOCK:
            yield part.reshape(-1)
        else:
            yield from blocks(part[0])


def is_one_run(values: NDArray[np.generic]) -> bool:
    """Whether the values lie in memory without a gap, in whatever order of axes."""
    order = np.argsort([-abs(stride) for stride in values.strides], kind="stable")
    return values.transpose(order).flags.c_contiguous


def measure_block(block: NDArray[np.generic]) -> Statistics:
    """Measure values of which a copy in float64 fits into the processor's cache."""
    is_complex = block.dtype.kind == "c"
    exact = int if block.dtype.kind in "biu" else float
    # numpy has no fast way to compare what is not native or of 16 bits, which float64 holds.
    slow = block.itemsize < 8 and (not block.dtype.isnative or block.dtype == np.float16)
    wide = scratch(block.size, np.complex128 if is_complex else np.float64)
    np.copyto(wide, block)
    if is_complex:
        low = high = math.nan
    else:
        source = wide if slow else block
        low, high = exact(source.min()), exact(source.max())
    nans = infinities = 0
    if block.dtype.kind in "fc" and (is_complex or not math.isfinite(high - low)):
        finite = np.isfinite(wide)
        count = int(np.count_nonzero(finite))
        if count < wide.size:
            nans = int(np.count_nonzero(np.isnan(wide)))
            infinities = wide.size - count - nans
            wide = wide[finite]
            if not count:
                return Statistics(nans=nans, infinities=infinities)
            if not is_complex:
                low, high = float(wide.min()), float(wide.max())
    mean = wide.sum() / wide.size
    wide -= mean
    squares = sum_of_squares(wide.view(np.float64))
    mean = complex(mean) if is_complex else float(mean)
    return Statistics(wide.size, low, high, mean, squares, nans, infinities)


def sum_of_squares(values: NDArray[np.float64]) -> float:
    """Sum row by row, so that the error does not grow with the number of values."""
    rest = len(values) % ROW
    rows, end = values[: len(values) - rest].reshape(-1, ROW), values[len(values) - rest :]
    return float(np.vecdot(rows, rows).sum() + np.vecdot(end, end))


_local = threading.local()


def scratch(count: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Give a thread's one working array: new memory would be filled with zeros first, each time."""
    if not hasattr(_local, "memory"):
        _local.memory = np.empty(BLOCK, np.complex128)
    memory: NDArray[np.complex128] = _local.memory
    return memory.view(dtype)[:count]


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
    A header from before 2000 has no RMS.

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
    has_rms = is_set(rms) and (rms > 0 or (rms == 0 and low == high)) and not old_origin(header)
    return StatedStatistics(
        low if ordered else None,
        high if ordered else None,
        mean if has_mean else None,
        rms if has_rms else None,
    )


def is_set(value: float) -> bool:
    """Whether a value is a number that someone computed."""
    return math.isfinite(value) and abs(value) < UNSET
