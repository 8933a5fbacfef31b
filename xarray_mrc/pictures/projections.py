"""`projection`: the mean, sum or extreme along one dimension."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import Literal, get_args

import numpy as np
import xarray as xr

from xarray_mrc.dataset.conventions import data_variable

__all__ = ["projection"]

Method = Literal["mean", "sum", "max", "min", "std"]

# Facts about the data of a file that are no longer true of a projection.
STALE = ("mrc_kind", "mrc_kind_source")


def projection(
    obj: xr.Dataset | xr.DataArray, dim: Hashable = "z", method: Method = "mean"
) -> xr.DataArray:
    """Project data along a dimension.

    Parameters
    ----------
    obj : Dataset or DataArray
        The data; lazy if they are in dask chunks.
    dim : hashable
        The dimension to project along: "z" for a view from above, "image" for the average of a
        movie.
    method : {"mean", "sum", "max", "min", "std"}
        What becomes of the values along the dimension. Values that are nan do not count.

    Returns
    -------
    DataArray
        Without the dimension. Other coordinates and the attributes are kept, so that `to_mrc`
        writes it with its voxel size; a projection along y or x with ``kind="image"``, where y and
        x keep their places. Extremes have the data type of the data. Others are computed in
        float64, and are float32 (float64 if the data are), or colours again where the data are
        colours.

    Raises
    ------
    ValueError
        There is no such dimension or method, or complex values have no such projection.

    Examples
    --------
    >>> data = xr.DataArray([[[1, 2]], [[3, 6]]], dims=("z", "y", "x"))
    >>> projection(data).values.tolist(), projection(data, "x", "max").values.tolist()
    ([[2.0, 4.0]], [[2], [6]])
    """
    array = data = data_variable(obj)
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}, expected one of {', '.join(get_args(Method))}")
    if dim not in array.dims:
        raise ValueError(f"dim={dim!r}, expected one of the dimensions {array.dims}")
    is_complex = array.dtype.kind == "c"
    if is_complex and method not in ("mean", "sum"):
        raise ValueError(f"method={method!r}, expected mean or sum of complex values, or abs(obj)")
    found: xr.DataArray
    if method in ("max", "min"):
        found = getattr(array, method)(dim)
    else:
        options = {"min_count": 1} if method == "sum" and array.dtype.kind in "fc" else {}
        wide, narrow = (np.complex128, np.complex64) if is_complex else (np.float64, np.float32)
        if method == "std":  # numpy takes the differences from the mean in the type of the data
            array = array.astype(wide)
        with warnings.catch_warnings():
            # From older xarray, where all values are nan.
            warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
            found = getattr(array, method)(dim, dtype=wide, **options)
        if "rgb" in found.dims and method == "mean" and data.dtype == np.uint8:
            found = found.round().astype(np.uint8)
        elif data.dtype != wide:
            found = found.astype(narrow)
    found.attrs = {name: value for name, value in array.attrs.items() if name not in STALE}
    return found
