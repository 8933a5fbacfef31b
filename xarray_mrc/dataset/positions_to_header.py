"""Header fields of the grid (cell, ORIGIN, NSTART) for positions, read back to find differences."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.decimals import DECIMALS, FARTHEST, SHORTEST_VOXEL, Triple, start_of, step_of
from xarray_mrc.codec.geometry import (
    NSTART_LIMIT,
    RIGHT_ANGLES,
    Geometry,
    axis_order,
    cell_angles,
    cell_matrix,
    true_nstart,
    true_origin,
)
from xarray_mrc.codec.header import Header
from xarray_mrc.dataset.axis_positions import (
    TINY,
    AxisPositions,
    VoxelSize,
    check_increasing,
    parse_voxel_size,
    read_positions,
)
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.errors import MrcError
from xarray_mrc.reading.header_reading import read_header

__all__ = ["GridFields", "angles_noted", "header_geometry"]

Lines = dict[str, NDArray[np.float64]]
# Positions that are read back may be off by so much of the farthest one: ORIGIN is a float32, and
# the voxel size that is read may be three units in the last place off the cell length.
MAX_ROUNDING = 5e-7
STARTS = ("nxstart", "nystart", "nzstart")


@dataclass(frozen=True, slots=True)
class GridFields:
    """Where the voxels are, in the fields of a header.

    Attributes
    ----------
    fields : dict
        Grid intervals, cell lengths and angles, ORIGIN and NSTART by name.
    has_cell : bool
        Whether the cell is that of the file to copy from, which may be larger than the data.
    notes : list of str
        Sentences on positions that the header does not hold.
    """

    fields: dict[str, Any]
    has_cell: bool
    notes: list[str]


def header_geometry(
    array: xr.DataArray,
    dims: Mapping[str, Hashable],
    header: Header,
    voxel_size: VoxelSize | None,
    like: Header | None = None,
    *,
    is_volume: bool = False,
) -> GridFields:
    """Find the fields that say where the voxels are.

    Parameters
    ----------
    array : xarray.DataArray
        The array, with its coordinates.
    dims : mapping
        Its dimension for each dimension of the file.
    header : Header
        Numbers of voxels and grid intervals.
    voxel_size : float, sequence of 3 floats, dict or None
        As in `xarray_mrc.to_mrc`.
    like : Header, optional
        Header of the file to copy from.
    is_volume : bool
        Whether both are volumes, so that the unit cell of the other one may be theirs.

    Returns
    -------
    GridFields

    Raises
    ------
    ValueError
        The positions are not even or not increasing, or a header cannot hold them.

    Examples
    --------
    >>> x = xr.Variable("x", [2.5, 5.0], {"units": "angstrom"})
    >>> header = Header.blank().replace(nx=2, mx=2, my=1, mz=1)
    >>> found = header_geometry(xr.DataArray([1, 2], {"x": x}), {"x": "x"}, header, None)
    >>> header.replace(**found.fields).origin
    (2.5, 0.0, 0.0)
    """
    given = parse_voxel_size(voxel_size)
    read = {axis: read_positions(array, axis, dims.get(axis)) for axis in AXES}
    coords = {axis: p for axis, p in read.items() if isinstance(p, AxisPositions)}
    lines = {axis: continued(p, given.get(axis)) for axis, p in coords.items()}
    angles, notes = angles_noted(array, coords)
    header = header.replace(cellb=angles)
    cell = cell_of(like, header, lines) if like and is_volume and not given else {}
    header = header.replace(**cell)
    # Programs of crystallography know a place in a unit cell by NSTART, and ignore ORIGIN.
    in_cell = bool(cell) and like is not None and true_origin(like) is None
    is_counted = in_cell or str(array.attrs.get("mrc_origin_source")) == "nstart"
    firsts = grid_points(array, lines, header, given) if is_counted else None
    lengths = cell_lengths(array, dims, lines, header, given, firsts)
    fields: dict[str, Any] = {"cella": lengths, "cellb": angles} | cell
    header = header.replace(**fields)
    if firsts:
        start: dict[str, Any] = dict(zip(STARTS, firsts, strict=True))
    elif lines:
        start = {"origin": origin_of(lines, header)}
    else:
        start = copied_start(like, header) if like else {}
    lost = {axis: p for axis, p in read.items() if isinstance(p, str) and axis not in given}
    if lines or not start:
        for axis in missing_axes(array, dims, coords, set(lost), given):
            lost[axis] = "it has no coordinate"
    header = header.replace(**start)
    notes += [*unit_notes(coords), *lost_notes(lost), *rounding_notes(lines, header, given)]
    return GridFields(fields | start, bool(cell), notes)


def continued(found: AxisPositions, given: float | None) -> NDArray[np.float64]:
    """Return positions with those at the ends that padding left nan; ValueError if they are uneven.

    Positions are known to 6 decimals, so that a grid that was padded and cut again is the same.
    """
    values, name = found.values, found.name
    known = np.flatnonzero(~np.isnan(values))
    if not known.size or known[-1] - known[0] + 1 != known.size:
        raise ValueError(
            f"the coordinate {name} has values that are no positions (nan): set them with "
            f"obj.assign_coords({name}=...), or leave them out with obj.drop_vars({name!r})"
        )
    inner: NDArray[np.float64] = values[known[0] : known[-1] + 1]
    if inner.size > 1:
        check_increasing(name, inner)
    if inner.size == values.size:
        return values
    step = step_of(inner, inner.size) if inner.size > 1 else given
    if not step:
        raise ValueError(
            f"the coordinate {name} has one position that is not nan, expected two or more to "
            f"continue them at the ends: pass voxel_size="
        )
    line: NDArray[np.float64] = np.round(
        inner[0] + step * (np.arange(values.size) - known[0]), DECIMALS
    )
    line[known] = inner
    return line


def angles_noted(
    array: xr.DataArray, coords: Mapping[str, AxisPositions]
) -> tuple[Triple, list[str]]:
    """Return the cell angles of the attributes, and a sentence if they were lost."""
    noted = array.attrs.get("mrc_cell_angles")
    if noted is None:
        skewed = any(
            "cell axis" in str(array.coords[p.name].attrs.get("long_name", ""))
            for p in coords.values()
        )
        lost = (
            "the positions are distances along the axes of a skewed cell, but the attribute "
            "mrc_cell_angles is missing, so right angles are written: set it again"
        )
        return RIGHT_ANGLES, [lost] if skewed else []
    angles = tuple(np.ravel(noted).tolist())
    found = cell_angles(Header.blank().replace(cellb=angles))
    if found == RIGHT_ANGLES != angles:
        raise ValueError(f"mrc_cell_angles={noted!r}, expected the three angles of a cell")
    return found, []


def cell_of(like: Header, header: Header, lines: Lines) -> dict[str, Any]:
    """Return the unit cell of another map of the same grid, if it is more than the data.

    The symmetry of a crystal is that of its cell, which neither coordinates nor attributes hold.
    """
    lengths = [n for _, n in sorted(zip(axis_order(like), like.n, strict=True))]
    if (like.ispg < 2 and list(like.m) == lengths) or cell_angles(like) != cell_angles(header):
        return {}
    away = [
        abs(mean_step(line) - like.voxel_size[AXES[axis]]) * (line.size - 1)
        for axis, line in lines.items()
        if line.size > 1
    ]
    # At the last position; both are known to the decimals of positions.
    same = bool(away) and all(distance <= 2 * TINY for distance in away)
    return {"mx": like.mx, "my": like.my, "mz": like.mz, "cella": like.cella} if same else {}


def mean_step(line: NDArray[np.float64]) -> float:
    """Return the mean distance of two or more positions."""
    return float(line[-1] - line[0]) / (line.size - 1)


def cell_lengths(
    array: xr.DataArray,
    dims: Mapping[str, Hashable],
    lines: Lines,
    header: Header,
    given: Mapping[str, float],
    firsts: tuple[int, int, int] | None,
) -> tuple[float, ...]:
    """Return the cell lengths in angstrom, 0 along axes of unknown voxel size.

    An axis of one voxel has the voxel size of x, or of the next axis that has one.
    """
    steps: dict[str, float] = dict(given)
    for axis, line in lines.items():
        if axis not in given and line.size > 1:
            first = firsts[AXES[axis]] if firsts else None
            steps[axis] = step_of(line, header.m[AXES[axis]], first)
    usual = next((steps[axis] for axis in AXES if axis in steps), 0.0)
    lengths = []
    for axis, count in zip(AXES, header.m, strict=True):
        is_alone = axis in lines or array.sizes.get(dims.get(axis), 1) == 1
        size = steps.get(axis, usual if is_alone else 0.0)
        length = float(np.float32(size * count))
        if size and not SHORTEST_VOXEL * count <= length <= FARTHEST:
            raise ValueError(
                f"the voxel size along {axis} is {size:g} angstrom, expected more than "
                f"{SHORTEST_VOXEL:g}, and at most {FARTHEST:g} in all: look at the units"
            )
        lengths.append(length)
    return tuple(lengths)


def grid_points(
    array: xr.DataArray, lines: Lines, header: Header, given: Mapping[str, float]
) -> tuple[int, int, int] | None:
    """Return the first grid points, if the start is in whole voxels.

    A start farther off than the limit of `true_nstart` would not be read back from NSTART.
    """
    usual = next((mean_step(line) for line in lines.values() if line.size > 1), None)
    if lines and usual is None:
        return None
    firsts = [0, 0, 0]
    for axis, line in lines.items():
        step = mean_step(line) if line.size > 1 else given.get(axis) or usual or 0.0
        first = round(line[0] / step)
        near = abs(first * step - line[0]) <= max(TINY, abs(first) * TINY / line.size)
        length = max(header.n[AXES[axis]], header.m[AXES[axis]])
        if not near or abs(first) > NSTART_LIMIT * length:
            return None
        firsts[AXES[axis]] = first
    return (firsts[0], firsts[1], firsts[2]) if lines else None


def origin_of(lines: Lines, header: Header) -> tuple[float, ...]:
    """Return the ORIGIN with which a reader finds the first positions."""
    angles = cell_angles(header)
    if angles != RIGHT_ANGLES:
        begin = [float(lines[axis][0]) if axis in lines else 0.0 for axis in AXES]
        return tuple((cell_matrix(angles) @ begin).tolist())
    return tuple(
        start_of(lines[axis], size) if axis in lines else 0.0
        for axis, size in zip(AXES, header.voxel_size, strict=True)
    )


def copied_start(like: Header, header: Header) -> dict[str, Any]:
    """Return ORIGIN and NSTART of a file of as many voxels that has no voxel size."""
    lengths = tuple(n for _, n in sorted(zip(axis_order(like), like.n, strict=True)))
    if lengths != header.n or not all(map(math.isnan, like.voxel_size[:2])):
        return {}
    start: dict[str, Any] = {}
    origin, nstart = true_origin(like), true_nstart(like)
    if origin is not None:
        start["origin"] = origin
    if nstart is not None:
        start |= dict(zip(STARTS, nstart, strict=True))
    return start


def missing_axes(
    array: xr.DataArray,
    dims: Mapping[str, Hashable],
    coords: Mapping[str, AxisPositions],
    lost: set[str],
    given: Mapping[str, float],
) -> set[str]:
    """Return the axes, besides those that are known to be lost, that had positions and have none.

    The file tells this, if the array still knows it; so does a start in the attributes. Else the
    other axes do: if a file has no voxel size along one axis, reading gives the others a
    ``long_name`` but no ``axis``. Where an operation dropped all attributes of coordinates, it may
    have dropped a coordinate too.
    """
    origin = noted_triple(array, "mrc_origin", (0, 0, 0))
    order = noted_triple(array, "mrc_axes", (1, 2, 3))
    nstart = dict(zip(order, noted_triple(array, "mrc_nstart", (0, 0, 0)), strict=True))
    names = {found.name for found in coords.values()} | (lost & set(array.coords))
    others = [array.coords[name].attrs for name in names]
    is_from_file = "mrc_kind" in array.attrs
    has_grid = any(
        "axis" in attrs or "units" not in attrs or (is_from_file and "long_name" not in attrs)
        for attrs in others
    )
    missing = set()
    absent = [a for a in AXES if not (a in coords or a in lost)]
    absent = [a for a in absent if array.sizes.get(dims.get(a), 1) > 1]
    source = source_header(array) if absent else None
    for axis in absent:
        index = AXES[axis]
        had_size = has_grid if source is None else not math.isnan(source.voxel_size[index])
        had_start = origin[index] or nstart.get(index + 1)
        if had_start or (had_size and axis not in given):
            missing.add(axis)
    return missing


def source_header(array: xr.DataArray) -> Header | None:
    """Read the header of the file that an array was opened from, if the array still knows it."""
    source = array.encoding.get("source")
    try:
        return None if source is None else read_header(source)
    except (OSError, MrcError, TypeError):
        return None


def noted_triple(
    array: xr.DataArray, name: str, default: tuple[int, int, int]
) -> tuple[float, ...]:
    """Return an attribute that holds three numbers, or the default."""
    values = np.ravel(array.attrs.get(name, ()))
    is_triple = values.size == 3 and values.dtype.kind in "iuf"
    return tuple(values.tolist()) if is_triple else default


def unit_notes(coords: Mapping[str, AxisPositions]) -> list[str]:
    """Return a sentence that names the coordinates without units."""
    names = [str(found.name) for found in coords.values() if not found.has_units]
    if not names:
        return []
    note = (
        f"the positions along {', '.join(names)} have no units and were taken as angstrom: set "
        f"obj.{names[0]}.attrs['units'] = 'angstrom', or the unit that they are in"
    )
    return [note]


def lost_notes(lost: Mapping[str, str]) -> list[str]:
    """Return sentences that name the axes whose positions are not written, by reason."""
    reasons: dict[str, list[str]] = {}
    for axis in sorted(lost):
        reasons.setdefault(lost[axis], []).append(axis)
    return [
        f"the positions along {', '.join(axes)} are not written ({reason}): set them with "
        f"obj.assign_coords({axes[0]}=...), or pass voxel_size="
        for reason, axes in reasons.items()
    ]


def rounding_notes(lines: Lines, header: Header, given: Mapping[str, float]) -> list[str]:
    """Return sentences that name the axes whose positions will be read back as others."""
    geometry = Geometry.from_header(header)
    unread, moved = [], []
    for axis, line in lines.items():
        read = geometry.positions(AXES[axis], line.size)
        if read is None:
            unread.append(axis)
            continue
        count = 1 if axis in given else line.size  # another voxel size was asked for
        away = float(np.abs(read - line)[:count].max())
        farthest = np.abs(line).max() + line[-1] - line[0]
        if away > TINY + MAX_ROUNDING * farthest:
            moved.append(f"{axis} (by up to {away:.2g} angstrom)")
    notes = []
    if unread:
        notes.append(
            f"the positions along {', '.join(unread)} will not be read back, because their voxel "
            f"size is unknown: pass voxel_size="
        )
    if moved:
        notes.append(
            f"the positions along {', '.join(moved)} are rounded to an even grid, whose start "
            f"and cell length are float32"
        )
    return notes
