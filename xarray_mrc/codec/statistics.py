"""Statistics of the density: those that a header states, and those of the data.

Source: the notes on words 20 to 22 and 55 of the MRC2014 specification; the habits of programs that
write zeros or huge numbers if nothing was computed.
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
from xarray_mrc.codec.old_header import stored_origin

__all__ = [
    "UNKNOWN",
    "StatedStatistics",
    "Statistics",
    "grown_statistics",
    "measure",
    "stated_statistics",
]

# The values that mean "not computed" in the format: DMAX < DMIN, DMEAN below both, a negative RMS.
UNKNOWN = {"dmin": 0.0, "dmax": -1.0, "dmean": -2.0, "rms": -1.0}
# Values that are measured at a time. With fewer, threads wait for each other between the steps;
# with more, the copy in float64 does not stay in the processor's cache.
BLOCK = 2**17
# Values whose squares are summed at a time. For more, some libraries start threads of their own.
ROW = 2**13
UNSET = 1e37  # SerialEM and IMOD initialise extremes with 1e38 or the largest float32


@dataclass(frozen=True, slots=True)
class StatedStatistics:
    """The statistics that a header states; None means unknown.

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
    """The statistics of data; those of parts can be merged into those of the whole.

    Attributes
    ----------
    count : int
        Finite values. Of RGB pixels each of the three numbers counts.
    minimum, maximum : float or int
        Smallest and largest finite value, exactly; whole numbers as int. nan for complex data and
        if no value is finite.
    mean : float or complex
        Mean of the finite values, computed in float64; nan if there is none.
    squares : float
        Sum of the squared distances from the mean.
    nans, infinities : int
        Numbers of values that are not finite. A complex value counts once: as nan if a part is nan.

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
        """Standard deviation of the finite values; nan if there is none."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    @property
    def nonfinite(self) -> int:
        """Number of values that are nan or infinite."""
        return self.nans + self.infinities

    def merge(self, other: Statistics) -> Statistics:
        """Return the statistics of two disjoint parts together.

        Parameters
        ----------
        other : Statistics
            Statistics of the other part.

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
        """Return the header fields that state these statistics.

        Returns
        -------
        dict
            ``dmin``, ``dmax``, ``dmean`` and ``rms``. They are "unknown", in the format's way, if a
            value is not finite or there are none. For complex data only ``rms`` is known.
        """
        if not self.count or self.nonfinite:
            return dict(UNKNOWN)
        known = {"rms": self.rms}
        if not isinstance(self.mean, complex):
            known |= {"dmin": self.minimum, "dmax": self.maximum, "dmean": self.mean}
        return UNKNOWN | known


def measure(values: NDArray[np.generic]) -> Statistics:
    """Measure values in one pass, in float64, without a temporary array of their size.

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
        The values are not numbers.

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
    with np.errstate(invalid="ignore"):  # junk may contain signalling nans
        for block in cut_into_runs(values):
            found = found.merge(measure_block(block))
    return found


def cut_into_runs(values: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Yield the values in runs of at most BLOCK, without copying more than one of them."""
    if is_one_run(values):
        values = values.ravel(order="K")
    within = values[0].size if values.ndim and len(values) else 1
    step = max(1, BLOCK // max(1, within))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        if part.size <= BLOCK:
            yield part.reshape(-1)
        else:
            yield from cut_into_runs(part[0])


def is_one_run(values: NDArray[np.generic]) -> bool:
    """Return True if the values lie in memory without a gap, in any order of axes."""
    order = np.argsort([-abs(stride) for stride in values.strides], kind="stable")
    return values.transpose(order).flags.c_contiguous


def measure_block(block: NDArray[np.generic]) -> Statistics:
    """Measure at most BLOCK values, by way of a copy in float64."""
    is_complex = block.dtype.kind == "c"
    exact = int if block.dtype.kind in "biu" else float
    # numpy compares foreign byte orders and float16 slowly; float64 holds them exactly.
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
    """Return the sum of squares, row by row, so that the error does not grow with their number."""
    rest = len(values) % ROW
    rows, end = values[: len(values) - rest].reshape(-1, ROW), values[len(values) - rest :]
    return float(np.vecdot(rows, rows).sum() + np.vecdot(end, end))


_local = threading.local()


def scratch(count: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Return the working array of this thread: the system would fill new memory with zeros."""
    if not hasattr(_local, "memory"):
        _local.memory = np.empty(BLOCK, np.complex128)
    memory: NDArray[np.complex128] = _local.memory
    return memory.view(dtype)[:count]


def stated_statistics(header: Header) -> StatedStatistics:
    """Return the statistics that a header states.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    StatedStatistics

    Notes
    -----
    Unknown are: extremes with DMAX < DMIN; a mean below both; a negative RMS; nan and huge values.
    Four zeros mean that nothing was computed; so does an RMS of zero if the extremes differ.
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
    has_rms = is_set(rms) and (rms > 0 or (rms == 0 and low == high))
    has_rms = has_rms and stored_origin(header) is None
    return StatedStatistics(
        low if ordered else None,
        high if ordered else None,
        mean if has_mean else None,
        rms if has_rms else None,
    )


def grown_statistics(header: Header, count: int, added: Statistics) -> dict[str, float]:
    """Return the header fields that state the statistics of a file and of values added to it.

    Parameters
    ----------
    header : Header
        The header of the file.
    count : int
        Number of values in the file.
    added : Statistics
        Statistics of the values added.

    Returns
    -------
    dict
        ``dmin``, ``dmax``, ``dmean`` and ``rms``. Each is "unknown", in the format's way, if the
        header does not state it, or if an added value is not finite. Of complex data none is known,
        because a header has no place for their mean.

    Examples
    --------
    >>> header = Header.blank().replace(dmin=1.0, dmax=3.0, dmean=2.0, rms=1.0)
    >>> grown_statistics(header, 2, measure(np.array([2.0, 6.0])))
    {'dmin': 1.0, 'dmax': 6.0, 'dmean': 3.0, 'rms': 1.8708286933869707}
    """
    stated = stated_statistics(header)
    fields = dict(UNKNOWN)
    if added.nonfinite or not added.count or isinstance(added.mean, complex):
        return fields
    if stated.minimum is None or stated.maximum is None:
        return fields
    squares = 0.0 if stated.rms is None else stated.rms**2 * count
    mean = math.nan if stated.mean is None else stated.mean
    whole = Statistics(count, stated.minimum, stated.maximum, mean, squares).merge(added)
    low = float(whole.minimum)
    # An unknown mean is below both extremes.
    below = float(np.nextafter(np.float32(low), np.float32(-math.inf)))
    fields |= {"dmin": low, "dmax": float(whole.maximum), "dmean": min(below, UNKNOWN["dmean"])}
    if stated.mean is not None:
        fields["dmean"] = float(whole.mean.real)
        if stated.rms is not None:
            fields["rms"] = whole.rms
    return fields


def is_set(value: float) -> bool:
    """Return True if a value was computed, rather than left at an initial value."""
    return math.isfinite(value) and abs(value) < UNSET
