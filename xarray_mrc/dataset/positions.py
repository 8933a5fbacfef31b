"""Positions to the fields of a header that say where the voxels are: cell, ORIGIN and NSTART."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.decimals import DECIMALS, FARTHEST, SHORTEST_VOXEL, Triple, start_of, step_of
from xarray_mrc.codec.geometry import NSTART_LIMIT, RIGHT_ANGLES, cell_angles, cell_matrix
from xarray_mrc.codec.header import Header
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.errors import warn

__all__ = ["TINY", "VoxelSize", "header_geometry", "parse_voxel_size"]

VoxelSize = float | Sequence[float] | Mapping[str, float]

# Of a voxel: what positions may be off the line that is written.
LARGEST_BEND = 1e-3
TINY = 2.1 * 10.0**-DECIMALS


def header_geometry(
    array: xr.DataArray, dims: dict[str, Any], header: Header, voxel_size: VoxelSize | None
) -> dict[str, Any]:
    """Give the fields that say where the voxels are.

    Parameters
    ----------
    array : xarray.DataArray
        What shall be written, with coordinates in angstrom where it has some.
    dims : dict
        Its dimension for each of those of the file.
    header : Header
        The numbers of voxels and grid intervals.
    voxel_size : float, sequence of 3 floats, dict or None
        As in `xarray_mrc.to_mrc`.

    Returns
    -------
    dict
        Cell lengths and angles, and ORIGIN, or NSTART if the place came from there.

    Raises
    ------
    ValueError
        The positions are not even or not increasing, or the header can't hold them.

    Examples
    --------
    >>> x = xr.Variable("x", [2.5, 5.0], {"units": "angstrom"})
    >>> header = Header.blank().replace(nx=2, mx=2, my=1, mz=1)
    >>> fields = header_geometry(xr.DataArray([1, 2], {"x": x}), {"x": "x"}, header, None)
    >>> header.replace(**fields).origin
    (2.5, 0.0, 0.0)
    """
    lines = {axis: positions(array, dims.get(axis, axis), axis) for axis in AXES}
    given = parse_voxel_size(voxel_size)
    firsts = grid_points(array, lines, header, given)
    steps: list[float | None] = []
    for axis, index in AXES.items():
        line, step = lines[axis], given.get(axis)
        if step is None and line is not None and line.size > 1:
            step = step_of(line, header.m[index], firsts[index] if firsts else None)
        steps.append(step)
    known = next((step for step in steps if step is not None), None)
    if known is None and any(line is not None for line in lines.values()):
        warn(
            "there is one voxel along every axis with positions, so that they give no voxel size, "
            "and will not be read back: pass voxel_size="
        )
    lonely = [
        step is None and (line is not None or array.sizes.get(dims.get(axis, axis), 1) == 1)
        for step, (axis, line) in zip(steps, lines.items(), strict=True)
    ]
    sizes = [
        (steps[0] or known or 0.0) if alone else step or 0.0
        for step, alone in zip(steps, lonely, strict=True)
    ]
    fields: dict[str, Any] = {
        "cella": tuple(size * m for size, m in zip(sizes, header.m, strict=True))
    }
    for axis, size, found in zip(AXES, sizes, header.replace(**fields).voxel_size, strict=True):
        if size and math.isnan(found):
            raise ValueError(
                f"the voxel size along {axis} is {size:g} angstrom, expected more than "
                f"{SHORTEST_VOXEL:g}, and at most {FARTHEST:g} in all: look at the units"
            )
    angles = fields["cellb"] = angles_noted(array, header)
    if firsts:
        return fields | dict(zip(("nxstart", "nystart", "nzstart"), firsts, strict=True))
    if angles != RIGHT_ANGLES:
        begin = [0.0 if line is None else float(line[0]) for line in lines.values()]
        return fields | {"origin": tuple((cell_matrix(angles) @ begin).tolist())}
    read = zip(lines.values(), header.replace(**fields).voxel_size, strict=True)
    start = [0.0 if line is None else start_of(line, size) for line, size in read]
    return fields | {"origin": tuple(start)}


def angles_noted(array: xr.DataArray, header: Header) -> Triple:
    """Give the cell angles of the attributes; ValueError if they make no cell."""
    noted = array.attrs.get("mrc_cell_angles", RIGHT_ANGLES)
    angles = tuple(np.ravel(noted).tolist())
    found = cell_angles(header.replace(cellb=angles))
    if found == RIGHT_ANGLES != angles:
        raise ValueError(f"mrc_cell_angles is {noted!r}, expected the three angles of a cell")
    return found


def positions(array: xr.DataArray, dim: Any, axis: str) -> NDArray[np.float64] | None:
    """Give the positions along an axis, checked; None if the object does not tell them."""
    coord = array.coords.get(dim)
    if coord is None or coord.ndim > 1 or coord.dims not in ((), (dim,)):
        return None
    units = coord.attrs.get("units")
    if units != "angstrom":
        is_index = coord.dtype.kind in "iu" or "index" in coord.attrs.get("long_name", "")
        if units is not None or (coord.ndim and not is_index):
            warn(
                f"the coordinate {dim} has the units {units!r}, expected 'angstrom', so that its "
                f"positions are not written: set obj.{dim}.attrs['units'], or pass voxel_size= and "
                f"obj.drop_vars({dim!r})"
            )
        return None
    is_number = coord.dtype.kind in "iuf"
    values = np.atleast_1d(np.asarray(coord.values, np.float64 if is_number else None))
    if not (is_number and (np.abs(values) <= FARTHEST).all()):
        raise ValueError(f"the coordinate {dim} has values that are no positions in angstrom")
    if values.size == 1:
        return values
    step = (values[-1] - values[0]) / (values.size - 1)
    if step < 0:
        raise ValueError(
            f"the coordinate {dim} decreases, expected it to increase, as in a file: turn the data "
            f"with obj.sortby({dim!r}), or obj.isel({dim}=slice(None, None, -1))"
        )
    bend = np.abs(values[0] + step * np.arange(values.size) - values).max()
    if step == 0 or bend > max(TINY, LARGEST_BEND * step):
        steps = np.diff(values)
        raise ValueError(
            f"the coordinate {dim} is not evenly spaced (steps from {steps.min():g} to "
            f"{steps.max():g}), expected one voxel size: put it in order with obj.sortby({dim!r}), "
            f"or on an even grid with obj.interp({dim}=...)"
        )
    return values


def parse_voxel_size(voxel_size: VoxelSize | None) -> dict[str, float]:
    """Give the voxel sizes that were passed, in angstrom by axis.

    Parameters
    ----------
    voxel_size : float, sequence of 3 floats, dict or None
        One for all axes, or by axis; 0 if it is not known.

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
    """Whether a number is a voxel size, or 0 for one that is not known."""
    try:
        return size == 0 or SHORTEST_VOXEL <= float(size) <= FARTHEST
    except (TypeError, ValueError):
        return False


def grid_points(
    array: xr.DataArray,
    lines: Mapping[str, NDArray[np.float64] | None],
    header: Header,
    given: Mapping[str, float],
) -> tuple[int, int, int] | None:
    """Give the first grid points, if the place came from NSTART and is a whole number of voxels."""
    if str(array.attrs.get("mrc_origin_source")) != "nstart":
        return None
    spacings = [
        (v[-1] - v[0]) / (v.size - 1) for v in lines.values() if v is not None and v.size > 1
    ]
    firsts = [0, 0, 0]
    for axis, line in lines.items():
        if line is None:
            continue
        if not spacings:
            return None
        spacing = given.get(axis) or spacings[0]
        if line.size > 1:
            spacing = (line[-1] - line[0]) / (line.size - 1)
        first = round(line[0] / spacing)
        near = abs(first * spacing - line[0]) <= max(TINY, abs(first) * TINY / line.size)
        length = max(header.n[AXES[axis]], header.m[AXES[axis]])
        if not near or abs(first) > NSTART_LIMIT * length:
            return None
        firsts[AXES[axis]] = first
    return (firsts[0], firsts[1], firsts[2])
