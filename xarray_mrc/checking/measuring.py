"""`statistics`: what the values of a file or an array really are, in one pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.layout import PREFERRED_NBYTES
from xarray_mrc.codec.statistics import Statistics, measure
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.storage.compressed.encoders import cores

__all__ = ["statistics"]


def statistics(
    data: str | os.PathLike[str] | bytes | xr.Dataset | xr.DataArray | NDArray[Any],
) -> Statistics:
    """Measure a file or an array in one pass and bounded memory.

    Parameters
    ----------
    data : str, os.PathLike, bytes, Dataset, DataArray, dask array or ndarray
        A file, compressed or not, or an array. One of dask is computed as one graph.

    Returns
    -------
    Statistics
        Least and greatest value, exactly; mean and standard deviation (``rms``) in float64; the
        number of values that are nan or infinite, which do not count for the others.

    Raises
    ------
    OSError, MrcError
        The file can't be read.

    Examples
    --------
    >>> found = statistics(np.array([1.0, 3.0, np.nan]))
    >>> found.mean, found.rms, found.nans
    (2.0, 1.0, 1)
    """
    if isinstance(data, str | os.PathLike | bytes):
        return of_file(open_file(data, extended="none", sidecar=False).array)
    values: Any = data
    if isinstance(data, xr.Dataset | xr.DataArray):
        variable = data_variable(data).variable
        if variable.chunks is None:
            return of_variable(variable)
        values = variable.data
    if hasattr(values, "map_blocks"):
        return of_blocks(values)
    return measure(np.asanyarray(values))


def of_file(array: MrcArray) -> Statistics:
    """Measure a file slab by slab; a compressed one in order, a plain one on threads."""
    lengths = array.layout.preferred_chunks()
    ranges = [
        [slice(start, start + lengths[dim]) for start in range(0, size, lengths[dim])]
        for dim, size in zip(array.layout.dims, array.shape, strict=True)
    ]
    keys: Iterator[tuple[slice, ...]] = product(*ranges)

    def measured(key: tuple[slice, ...]) -> Statistics:
        return measure(array.read(key, transient=True))

    if array.source.size_if_known is None:
        return reduce(Statistics.merge, map(measured, keys), Statistics())
    with ThreadPoolExecutor(cores()) as pool:
        return reduce(Statistics.merge, pool.map(measured, keys), Statistics())


def of_variable(variable: xr.Variable) -> Statistics:
    """Measure data that xarray holds or reads, part by part along the slowest axes."""
    if variable.nbytes <= PREFERRED_NBYTES or variable.ndim < 1:
        return measure(variable.to_numpy())
    count = variable.shape[0]
    step = PREFERRED_NBYTES * count // variable.nbytes
    keys = [slice(i, i + step) for i in range(0, count, step)] if step else range(count)
    return reduce(Statistics.merge, (of_variable(variable[key]) for key in keys), Statistics())


def of_blocks(values: Any) -> Statistics:
    """Measure an array of dask, block by block."""
    found = values.map_blocks(
        measured_block,
        chunks=tuple((1,) * len(lengths) for lengths in values.chunks),
        dtype=object,
        meta=np.empty((0,) * values.ndim, object),
    ).compute()
    return reduce(Statistics.merge, np.asarray(found, object).reshape(-1), Statistics())


def measured_block(block: Any) -> NDArray[Any]:
    """Measure a block; the result has as many dimensions."""
    result = np.empty((1,) * block.ndim, object)
    result[...] = measure(np.asanyarray(block))
    return result
