"""The public `statistics`: what the values of a file or an array are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.checking.measurement import measure_file
from xarray_mrc.codec.layout import PREFERRED_NBYTES
from xarray_mrc.codec.statistics import Statistics, measure
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.protocol import StreamSource
from xarray_mrc.storage.remote.urls import FsspecFile, StorePath, is_remote

__all__ = ["statistics"]


def statistics(
    data: str
    | os.PathLike[str]
    | FsspecFile
    | StorePath
    | bytes
    | xr.Dataset
    | xr.DataArray
    | NDArray[Any],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Statistics:
    """Measure a file or an array in one pass and bounded memory.

    Parameters
    ----------
    data : str, os.PathLike, URL, bytes, Dataset, DataArray, dask array or ndarray
        A file, compressed or not, or an array of real or complex numbers of any shape. A dask
        array is computed as one graph.
    storage_options : mapping, optional
        How a URL is reached, as in `open_mrc`.

    Returns
    -------
    Statistics
        Least and greatest value, exactly; mean and standard deviation (``rms``) in float64; the
        number of values that are nan or infinite, which do not count for the others. All are in
        the units of the data.

    Raises
    ------
    OSError, MrcError
        The file can't be read.
    TypeError
        The values are not numbers.

    Examples
    --------
    >>> found = statistics(np.array([1.0, 3.0, np.nan]))
    >>> found.mean, found.rms, found.nans
    (2.0, 1.0, 1)
    """
    if isinstance(data, str | os.PathLike | bytes) or is_remote(data):
        options = ReadingOptions(extended_header="none", storage_options=storage_options)
        path: Any = data
        array = open_file(path, options).array
        found = measure_file(array.source, array.layout, measure)
        if isinstance(array.source, StreamSource):
            array.source.verify_trailer(array.layout.end)
        return found
    values: Any = data
    if isinstance(data, xr.Dataset | xr.DataArray):
        variable = data_variable(data).variable
        if variable.chunks is None:
            return measure_variable(variable)
        values = variable.data
    if hasattr(values, "map_blocks"):
        return measure_blocks(values)
    return measure(np.asanyarray(values))


def measure_variable(variable: xr.Variable) -> Statistics:
    """Measure data that xarray holds or reads, part by part along the slowest axes."""
    if variable.nbytes <= PREFERRED_NBYTES or variable.ndim < 1:
        return measure(variable.to_numpy())
    count = variable.shape[0]
    step = PREFERRED_NBYTES * count // variable.nbytes
    keys = [slice(i, i + step) for i in range(0, count, step)] if step else range(count)
    return reduce(Statistics.merge, (measure_variable(variable[key]) for key in keys), Statistics())


def measure_blocks(values: Any) -> Statistics:
    """Measure a dask array block by block."""
    found = values.map_blocks(
        measure_block,
        chunks=tuple((1,) * len(lengths) for lengths in values.chunks),
        dtype=object,
        meta=np.empty((0,) * values.ndim, object),
    ).compute()
    return reduce(Statistics.merge, np.asarray(found, object).reshape(-1), Statistics())


def measure_block(block: Any) -> NDArray[Any]:
    """Measure a block; the result has one value and as many dimensions as the block."""
    result = np.empty((1,) * block.ndim, object)
    result[...] = measure(np.asanyarray(block))
    return result
