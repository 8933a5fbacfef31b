"""Conventions of our datasets: names of dimensions, the data variable, its kind and voxel size."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xarray_mrc.codec.decimals import DECIMALS
from xarray_mrc.codec.layout import DIMS, Kind

__all__ = ["AXES", "RAW_DIM", "data_variable", "kind_of", "voxel_size_of"]

AXES = {"x": 0, "y": 1, "z": 2}
RAW_DIM = "extended_header_byte"


def data_variable(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Give the one array that an object stands for; ValueError if there is not just one."""
    if isinstance(obj, xr.DataArray):
        return obj
    if not isinstance(obj, xr.Dataset):
        raise TypeError(
            f"{type(obj).__name__} was found, expected a Dataset or DataArray: pass "
            f"xr.DataArray(array, dims=('z', 'y', 'x')), or other dimensions"
        )
    names = list(obj.data_vars)
    if "data" not in names and len(names) != 1:
        raise ValueError(
            f"the dataset has the variables {names}, expected one that is called 'data', or only "
            f"one: pass the one to be written, as in ds['name'].mrc.to_mrc(...)"
        )
    return obj["data" if "data" in names else names[0]]


def voxel_size_of(obj: xr.Dataset | xr.DataArray) -> dict[str, float]:
    """Distance between neighbours along x, y and z, from coordinates in angstrom.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        What to look at.

    Returns
    -------
    dict
        Angstrom by dimension; axes of length 1, or without coordinates in angstrom, are left out.

    Raises
    ------
    ValueError
        A coordinate is not evenly spaced.

    Examples
    --------
    >>> x = xr.Variable("x", [2.0, 3.5], {"units": "angstrom"})
    >>> voxel_size_of(xr.DataArray([0.0, 1.0], {"x": x}, "x"))
    {'x': 1.5}
    """
    sizes: dict[str, float] = {}
    for dim in AXES:
        coord = obj.coords.get(dim)
        if coord is None or coord.dims != (dim,) or coord.size < 2:
            continue
        if coord.attrs.get("units") != "angstrom":
            continue
        values = coord.values
        step = (values[-1] - values[0]) / (len(values) - 1)
        if not np.allclose(np.diff(values), step, rtol=1e-3, atol=2 * 10.0**-DECIMALS):
            raise ValueError(
                f"the coordinate {dim} is not evenly spaced (steps from {np.diff(values).min():g} "
                f"to {np.diff(values).max():g}), so there is no one voxel size along it"
            )
        sizes[dim] = round(abs(float(step)), DECIMALS)
    return sizes


def kind_of(obj: xr.Dataset | xr.DataArray) -> Kind:
    """Tell from the dimensions what an object is.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        What to look at.

    Returns
    -------
    {"image", "image_stack", "volume", "volume_stack"}

    Raises
    ------
    ValueError
        The dimensions are none that an MRC file can have.

    Examples
    --------
    >>> kind_of(xr.DataArray(np.zeros((2, 3, 4)), dims=("image", "y", "x")))
    'image_stack'
    """
    found = set(obj.dims) - {RAW_DIM, "rgb"}
    for kind, dims in DIMS.items():
        if found == set(dims):
            return kind
    expected = ", ".join(f"({', '.join(dims)})" for dims in DIMS.values())
    raise ValueError(f"the dimensions are {tuple(obj.dims)}, expected one of {expected}")
