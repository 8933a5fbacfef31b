"""Coordinates to positions in angstrom along x, y and z: units, order and spacing."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.decimals import DECIMALS, FARTHEST, SHORTEST_VOXEL, step_of
from xarray_mrc.dataset.conventions import AXES

__all__ = [
    "TINY",
    "AxisPositions",
    "VoxelSize",
    "check_increasing",
    "even_step",
    "parse_voxel_size",
    "read_positions",
    "voxel_size_of",
]

VoxelSize = float | Sequence[float] | Mapping[str, float]

# Positions may be off an even grid by this part of a voxel, and by two units of the last decimal.
MAX_BEND = 1e-3
TINY = 2.1 * 10.0**-DECIMALS
# Powers of ten from a unit to the angstrom. NFKC makes one of the code points that look alike.
SYMBOLS = {"A": 0, "\u00c5": 0, "pm": -2, "nm": 1, "\u03bcm": 4, "um": 4, "mm": 7, "cm": 8, "m": 10}
PREFIXES = {"pico": -2, "nano": 1, "micro": 4, "milli": 7, "centi": 8, "": 10}
WORDS = dict.fromkeys(("angstrom", "\u00e5ngstr\u00f6m", "angstr\u00f6m"), 0) | {"micron": 4}
WORDS |= {prefix + word: e for prefix, e in PREFIXES.items() for word in ("meter", "metre")}


@dataclass(frozen=True, slots=True)
class AxisPositions:
    """Positions along one axis, as a coordinate has them.

    Attributes
    ----------
    name : hashable
        Name of the coordinate.
    values : ndarray of float64
        Positions in angstrom; nan where padding left none.
    has_units : bool
        Whether the coordinate names its units.
    """

    name: Hashable
    values: NDArray[np.float64]
    has_units: bool


def read_positions(
    array: xr.Dataset | xr.DataArray, axis: str, dim: Hashable | None
) -> AxisPositions | str | None:
    """Read the positions along an axis from a coordinate.

    Parameters
    ----------
    array : xarray.Dataset or xarray.DataArray
        The object with the coordinates.
    axis : {"x", "y", "z"}
        The axis.
    dim : hashable or None
        Dimension of the array along it; None if there is none, and a scalar can give the place.

    Returns
    -------
    AxisPositions, str or None
        None if the array has no positions; a str says why a coordinate holds none.

    Raises
    ------
    ValueError
        The units are not a length, or the values are not positions.

    Examples
    --------
    >>> x = xr.Variable("x", [0.1, 0.2], {"units": "nm"})
    >>> read_positions(xr.DataArray([0, 1], {"x": x}), "x", "x").values.tolist()
    [1.0, 2.0]
    """
    coord = find_coordinate(array, axis, dim)
    if coord is None:
        if dim is None or axis not in array.coords:
            return None
        return f"it has the dimensions {array.coords[axis].dims}, expected {(dim,)}"
    units = coord.attrs.get("units")
    units = None if units is None or not str(units).strip() else str(units)
    if units is None and is_index(coord):
        return None
    exponent = 0 if units is None else exponent_of(units, coord.name)
    values = numbers(coord)
    if values is None and units is None:
        return f"it holds no numbers, but {coord.dtype}" if coord.ndim else None
    if values is None or (np.abs(values) > FARTHEST).any():
        raise ValueError(
            f"the coordinate {coord.name} has values that are no positions in angstrom: correct "
            f"them, or leave them out with obj.drop_vars({coord.name!r})"
        )
    scale = 10.0 ** abs(exponent)
    values = values * scale if exponent >= 0 else values / scale
    return AxisPositions(coord.name, values, units is not None)


def find_coordinate(
    array: xr.Dataset | xr.DataArray, axis: str, dim: Hashable | None
) -> xr.DataArray | None:
    """Find the coordinate along an axis: named as the axis, or as the dimension along it."""
    for name in dict.fromkeys((axis, dim)):
        # Asking for one that is not there would make up labels for a dimension.
        if name is None or name not in array.coords:
            continue
        along = array.coords[name].dims
        if along == (dim,) or (not along and array.sizes.get(dim, 1) == 1):
            return array.coords[name]
    return None


def is_index(coord: xr.DataArray) -> bool:
    """Return True if a coordinate holds the labels of ``coords="index"``, which are no positions.

    Other whole numbers are positions: so are those of a grid of 1 or 2 angstrom.
    """
    if "index" not in str(coord.attrs.get("long_name", "")) or coord.dtype.kind not in "iu":
        return False
    steps = np.unique(np.diff(np.atleast_1d(coord.values).astype(np.int64)))
    return steps.tolist() in ([], [1], [-1])


def exponent_of(units: str, name: Hashable) -> int:
    """Return the power of ten from a unit of length to the angstrom."""
    text = unicodedata.normalize("NFKC", units).strip()
    word = text.casefold()
    for table, key in ((SYMBOLS, text), (WORDS, word), (WORDS, word.removesuffix("s"))):
        if key in table:
            return table[key]
    raise ValueError(
        f"the coordinate {name} has units={units!r}, expected a length: set "
        f"obj.{name}.attrs['units'] to 'angstrom', 'nm', 'um' or another one, or leave the "
        f"positions out with obj.drop_vars({name!r}) and pass voxel_size="
    )


def numbers(coord: xr.DataArray) -> NDArray[np.float64] | None:
    """Return the numbers of a coordinate, or the middles of its intervals; None if it has none."""
    values = np.atleast_1d(np.asarray(coord.values))
    if values.dtype.kind == "O" and values.size and all(hasattr(v, "mid") for v in values):
        values = np.array([v.mid for v in values])  # of groupby_bins
    return values.astype(np.float64) if values.dtype.kind in "iuf" else None


def even_step(values: NDArray[np.float64]) -> float | None:
    """Return the mean distance of positions that are evenly spaced, or None if they are not.

    Parameters
    ----------
    values : ndarray of float64
        Two or more positions in angstrom, increasing or decreasing.

    Returns
    -------
    float or None

    Examples
    --------
    >>> even_step(np.array([3.0, 1.5, 0.0])), even_step(np.array([0.0, 1.0, 3.0]))
    (-1.5, None)
    """
    step = float(values[-1] - values[0]) / (values.size - 1)
    bend = np.abs(values[0] + step * np.arange(values.size) - values).max()
    return step if step and bend <= max(TINY, MAX_BEND * abs(step)) else None


def check_increasing(name: Hashable, values: NDArray[np.float64]) -> None:
    """Raise ValueError if positions are not even and increasing, as a file needs them.

    Parameters
    ----------
    name : hashable
        Name of the coordinate.
    values : ndarray of float64
        Two or more positions in angstrom.
    """
    step = even_step(values)
    if step is None:
        steps = np.diff(values)
        raise ValueError(
            f"the coordinate {name} is not evenly spaced (steps from {steps.min():g} to "
            f"{steps.max():g}), expected one voxel size: sort it with obj.sortby({name!r}), "
            f"interpolate with obj.interp({name}=...), or set even positions with "
            f"obj.assign_coords({name}=...), as after roll(roll_coords=True) or pad(mode='edge')"
        )
    if step < 0:
        raise ValueError(
            f"the coordinate {name} decreases, but positions increase in a file: to write the "
            f"data flipped on the same grid use obj.assign_coords({name}=original.{name}); to put "
            f"them back in order use obj.sortby({name!r}) or obj.isel({name}=slice(None, None, -1))"
        )


def voxel_size_of(obj: xr.Dataset | xr.DataArray) -> dict[str, float]:
    """Return the distance between neighbours along x, y and z, as `to_mrc` would write it.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object.

    Returns
    -------
    dict of str to float
        Angstrom by axis. Axes without positions, or with a single one, are left out.

    Raises
    ------
    ValueError
        The positions along an axis are not evenly spaced, or are not lengths.

    Examples
    --------
    >>> x = xr.Variable("x", [2.0, 3.5], {"units": "angstrom"})
    >>> voxel_size_of(xr.DataArray([0.0, 1.0], {"x": x}, "x"))
    {'x': 1.5}
    """
    sizes: dict[str, float] = {}
    for axis in AXES:
        found = read_positions(obj, axis, axis)
        if not isinstance(found, AxisPositions):
            continue
        values = found.values[~np.isnan(found.values)]
        if values.size < 2:
            continue
        step = even_step(values)
        if step is None:
            check_increasing(found.name, values)
        elif step < 0:
            values = values[::-1]
        sizes[axis] = step_of(values, values.size)
    return sizes


def parse_voxel_size(voxel_size: VoxelSize | None) -> dict[str, float]:
    """Return the voxel sizes of a parameter in angstrom, by axis.

    Parameters
    ----------
    voxel_size : float, sequence of 3 floats, dict or None
        One for all axes, or by axis; 0 if it is unknown.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        It is none of these.

    Examples
    --------
    >>> parse_voxel_size((1.5, 1.5, 3))
    {'x': 1.5, 'y': 1.5, 'z': 3.0}
    """
    if voxel_size is None:
        return {}
    if isinstance(voxel_size, Mapping):
        given = dict(voxel_size)
    elif isinstance(voxel_size, Sequence | np.ndarray) and np.ndim(voxel_size):
        given = dict(zip(AXES, voxel_size, strict=True)) if len(voxel_size) == 3 else {"": 0.0}
    else:
        given = dict.fromkeys(AXES, cast("float", voxel_size))
    if not set(given) <= set(AXES) or not all(map(is_length, given.values())):
        raise ValueError(
            f"voxel_size={voxel_size!r}, expected a length in angstrom, three of them for x, y and "
            f"z, or a dict of them by axis"
        )
    return {axis: float(size) for axis, size in given.items()}


def is_length(size: Any) -> bool:
    """Return True if a number is a voxel size, or 0 for an unknown one."""
    try:
        return size == 0 or SHORTEST_VOXEL <= float(size) <= FARTHEST
    except (TypeError, ValueError):
        return False
