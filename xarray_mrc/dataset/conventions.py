"""Conventions of our datasets: names of dimensions, the data variable and the kind of the data."""

from __future__ import annotations

from collections.abc import Hashable
from typing import get_args

import xarray as xr

from xarray_mrc.codec.layout import DIMS, Kind

__all__ = ["AXES", "RAW_DIM", "data_variable", "kind_of", "match_dims"]

AXES = {"x": 0, "y": 1, "z": 2}
RAW_DIM = "extended_header_byte"
# Names that xarray gives to unnamed dimensions, and the suffix that groupby_bins adds.
UNNAMED = ("dim_0", "dim_1", "dim_2", "dim_3", "dim_4")
BINS = "_bins"
KIND_BY_NDIM: dict[int, Kind] = {2: "image", 3: "volume", 4: "volume_stack"}


def data_variable(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the one array that an object stands for.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        A Dataset with a variable ``data``, or with only one variable.

    Returns
    -------
    xarray.DataArray

    Raises
    ------
    TypeError, ValueError
        It is neither, or a Dataset of several variables.

    Examples
    --------
    >>> data_variable(xr.Dataset({"density": ("x", [1, 2])})).name
    'density'
    """
    if isinstance(obj, xr.DataArray):
        return obj
    if not isinstance(obj, xr.Dataset):
        raise TypeError(
            f"expected a Dataset or DataArray, got {type(obj).__name__}: pass "
            f"xr.DataArray(array, dims=('z', 'y', 'x')), or other dimensions"
        )
    names = list(obj.data_vars)
    if "data" not in names and len(names) != 1:
        raise ValueError(
            f"the dataset has the variables {names}, expected one called 'data', or only one: "
            f"write one of them, as in ds['name'].mrc.to_mrc(...)"
        )
    return obj["data" if "data" in names else names[0]]


def kind_of(obj: xr.Dataset | xr.DataArray) -> Kind:
    """Return the kind of data that an object holds, as `to_mrc` would write it.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object.

    Returns
    -------
    {"image", "image_stack", "volume", "volume_stack"}

    Raises
    ------
    ValueError
        An MRC file cannot have these dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> kind_of(xr.DataArray(np.zeros((2, 3, 4)), dims=("tilt", "y", "x")))
    'image_stack'
    """
    return match_dims(data_variable(obj), None)[0]


def match_dims(array: xr.DataArray, kind: Kind | None) -> tuple[Kind, dict[str, Hashable]]:
    """Find the kind of an array, and its dimension for each dimension of that kind.

    Parameters
    ----------
    array : xarray.DataArray
        The array, with its dimensions in any order.
    kind : {"image", "image_stack", "volume", "volume_stack"} or None
        The kind, if the user named one.

    Returns
    -------
    kind : str
    dims : dict
        The array's dimension by the name that it has in a file, in the order of the file.

    Raises
    ------
    ValueError
        The dimensions do not fit the kind, or fit none.

    Examples
    --------
    >>> match_dims(xr.DataArray([[1, 2]], dims=("x", "y")), None)
    ('image', {'y': 'y', 'x': 'x'})
    """
    found = [dim for dim in array.dims if dim not in ("rgb", RAW_DIM)]
    if len(set(found)) != len(found):
        raise ValueError(
            f"the dimensions are {tuple(found)}, expected a different name for each: make the "
            f"array anew with xr.DataArray(obj.values, dims=('z', 'y', 'x')), or other dimensions"
        )
    if kind is None:
        kind = kind_by_dims(array, found)
    elif kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}, expected one of {', '.join(get_args(Kind))}")
    wanted = DIMS[kind]
    if len(found) != len(wanted):
        raise ValueError(
            f"the dimensions are {tuple(found)}, but kind={kind!r} has {len(wanted)}: "
            f"{wanted}; add one with obj.expand_dims(...), select one with obj.isel(...), or pass "
            f"another kind="
        )
    named = {axis_name(dim): dim for dim in found}
    others = iter([dim for dim in found if axis_name(dim) not in wanted])
    dims: dict[str, Hashable] = {
        dim: named[dim] if dim in named else next(others) for dim in wanted
    }
    if "rgb" in array.dims:
        dims["rgb"] = "rgb"
    return kind, dims


def axis_name(dim: Hashable) -> Hashable:
    """Return the name of the axis that a dimension lies along: ``x`` for the bins ``x_bins``."""
    name = str(dim).removesuffix(BINS)
    return name if name in AXES else dim


def kind_by_dims(array: xr.DataArray, found: list[Hashable]) -> Kind:
    """Find the kind by the names of the dimensions, or by their number if they have no names.

    An attribute ``mrc_kind`` counts only if the names leave it open: it may be older than they are.
    """
    names = {axis_name(dim) for dim in found}
    for kind, dims in DIMS.items():
        if names == set(dims):
            return kind
    unnamed = all(dim in UNNAMED for dim in names - {"x", "y", "z", "volume", "image"})
    if len(found) == len(names) and not any(dim in UNNAMED for dim in names):
        slow = names - {"x", "y"}
        if {"x", "y"} < names and len(slow) == 1 and not slow & {"z", "volume"}:
            return "image_stack"
        if {"x", "y", "z"} < names and len(names) == 4:
            return "volume_stack"
    noted = str(array.attrs.get("mrc_kind"))
    if any(array.coords[axis].ndim > 1 for axis in AXES if axis in array.coords):
        noted = ""  # indexing by points made other axes of the old ones
    guesses = (noted, KIND_BY_NDIM.get(len(found)) if unnamed else None)
    named = names & {"x", "y", "z", "volume", "image"}
    for kind, dims in DIMS.items():
        if kind in guesses and len(dims) == len(found) and named <= set(dims):
            return kind
    expected = ", ".join(f"({', '.join(dims)})" for dims in DIMS.values())
    raise ValueError(
        f"the dimensions are {tuple(found)}, expected one of {expected}, or another slow dimension "
        f"over (y, x): rename them, or pass kind='image_stack' or another kind"
    )
