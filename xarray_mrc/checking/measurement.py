"""Measure the data of a file in one pass and bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import Box
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics, measure
from xarray_mrc.storage import Source
from xarray_mrc.storage.compressed.encoders import cores
from xarray_mrc.storage.progress import report_progress
from xarray_mrc.storage.protocol import is_sequential

__all__ = ["NumpyStatistics", "measure_file"]

# Bytes that are read and measured at once, which stay in the processor's cache.
SLAB_NBYTES = 2 * 2**20
# Bytes of the slabs that a thread measures in a row. Measured on 256 MiB of float32 with 2 threads:
# a task for each slab takes a quarter more CPU time.
TASK_NBYTES = 8 * SLAB_NBYTES
# More threads would need more memory, and would wait for the memory bus.
MAX_THREADS = 8
# Tasks that wait for the threads, for each thread: a task costs about 1 KB.
QUEUED_TASKS = 64


class Mergeable(Protocol):
    """Statistics of a part, which can be merged with those of another part."""

    def merge(self, other: Self, /) -> Self:
        """Return the statistics of both parts together."""


M = TypeVar("M", bound=Mergeable)


def measure_file(source: Source, layout: Layout, measure_values: Callable[[NDArray[Any]], M]) -> M:
    """Measure all data of a file in one pass, from the first byte to the last.

    A file that can be read in any order is measured on all cores, up to 8; others in order.

    Parameters
    ----------
    source : Source
        The file.
    layout : Layout
        How its data lie.
    measure_values : callable
        Computes statistics of an array: `measure` or `NumpyStatistics.of`.

    Returns
    -------
    Statistics or NumpyStatistics

    Raises
    ------
    MrcTruncatedError
        The file ends before the data do.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> from xarray_mrc.storage import open_source
    >>> header = Header.blank().replace(nx=3, ny=1, nz=1)
    >>> source = open_source(header.raw + bytes([1, 2, 3]))
    >>> measure_file(source, Layout.from_header(header), measure).mean
    2.0
    """
    spare: list[NDArray[np.uint8]] = []  # buffers that no thread uses now

    def measure_part(part: Box) -> M:
        # New memory for each slab would cost a page fault for every 4 KiB.
        buffer = spare.pop() if spare else np.empty(min(layout.nbytes, SLAB_NBYTES), np.uint8)
        found = nothing
        for slab in layout.slabs(SLAB_NBYTES, part):
            ((offset, nbytes),) = layout.byte_ranges(slab)
            source.read_ranges([(offset, buffer[:nbytes])])
            volumes, sections, rows, columns = map(len, slab)
            raw = buffer[:nbytes].reshape(volumes * sections * rows, -1)
            pixels = layout.sample.decode(raw, layout.byteorder)[:, :columns]
            found = found.merge(measure_values(pixels))
            if is_stream:
                report_progress(offset + nbytes, layout.end)
        spare.append(buffer)
        return found

    found = nothing = measure_values(np.empty(0, layout.dtype))
    is_stream = is_sequential(source)
    if is_stream:
        return measure_part(layout.whole)
    # Not above: what is loaded when Python ends, as the statistics of a header are, has no threads.
    from concurrent.futures import ThreadPoolExecutor

    done = 0
    threads, parts = min(cores(), MAX_THREADS), layout.slabs(TASK_NBYTES)
    with ThreadPoolExecutor(threads) as pool:
        while queued := list(islice(parts, QUEUED_TASKS * threads)):
            for part, result in zip(queued, pool.map(measure_part, queued), strict=True):
                found = found.merge(result)
                done += math.prod(map(len, part))
                report_progress(done, math.prod(layout.stored))
    return found


@dataclass(frozen=True, slots=True)
class NumpyStatistics:
    """Statistics as numpy's functions compute them, where values that are not finite count.

    Attributes
    ----------
    statistics : Statistics
        Those of the finite values.
    low, high : float or complex
        Least and greatest value: nan if any value is nan. Infinite values count. Complex values
        are ordered by their real parts first.

    Examples
    --------
    >>> finite = NumpyStatistics.of(np.array([1.0, 2.0]))
    >>> both = finite.merge(NumpyStatistics.of(np.array([-np.inf])))
    >>> both.low, both.high, both.mean, both.rms
    (-inf, 2.0, -inf, nan)
    """

    statistics: Statistics
    low: complex | float
    high: complex | float

    @classmethod
    def of(cls, values: NDArray[Any]) -> NumpyStatistics:
        """Measure values of any shape."""
        found = measure(values)
        if values.size and (found.nonfinite or values.dtype.kind == "c"):
            with np.errstate(invalid="ignore"):
                return cls(found, values.min().item(), values.max().item())
        return cls(found, found.minimum, found.maximum)

    def merge(self, other: NumpyStatistics) -> NumpyStatistics:
        """Return the statistics of two disjoint parts together."""
        if not self.size or not other.size:
            return self if self.size else other
        low = np.array([self.low, other.low]).min().item()
        high = np.array([self.high, other.high]).max().item()
        return NumpyStatistics(self.statistics.merge(other.statistics), low, high)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.statistics.count + self.statistics.nonfinite

    @property
    def mean(self) -> float:
        """Mean of the real parts; nan or infinite if a value is."""
        if self.statistics.nonfinite:
            return complex(self.low).real + complex(self.high).real
        return complex(self.statistics.mean).real

    @property
    def rms(self) -> float:
        """Standard deviation; nan if any value is not finite."""
        return math.nan if self.statistics.nonfinite else self.statistics.rms
