"""Boxes around points of micrographs and tomograms: `da.mrc.extract`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.dataset.conventions import AXES, RAW_DIM, data_variable
from xarray_mrc.dataset.lazy_variable import ReadableArray, find_selection, lazy_variable
from xarray_mrc.multifile.box_array import BoxArray, SelectedArray
from xarray_mrc.multifile.points import (
    Grid,
    Points,
    number_along,
    read_columns,
    some_points,
)
from xarray_mrc.reading.boxes import copy_boxes

__all__ = ["check_fill", "extract_boxes"]

IMAGE = "image"
BLOCK_NBYTES = 64 * 2**20
# They describe the file that the boxes are cut from, or where it lies.
LEFT_ATTRS = ("mrc_kind", "mrc_kind_source", "mrc_origin", "mrc_nstart", "mrc_origin_source")


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes in an array.

    Attributes
    ----------
    dims : tuple of hashable
        Dimensions of the array.
    corners : ndarray of int64
        First position of each box along each of them, of shape (boxes, dimensions).
    size : tuple of int
        Length of a box along each of them.
    picked : hashable or None
        The dimension along which a box has a single position, which it drops.
    fill : float
        Value beyond the array.
    """

    dims: tuple[Hashable, ...]
    corners: NDArray[np.int64]
    size: tuple[int, ...]
    picked: Hashable | None
    fill: float

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of the dimensions that the boxes have."""
        return tuple(axis for axis, dim in enumerate(self.dims) if dim != self.picked)


def extract_boxes(
    obj: xr.Dataset | xr.DataArray,
    points: Points,
    size: int | Mapping[str, int],
    *,
    fill: float | None = None,
    drop: bool = False,
) -> xr.DataArray:
    """Cut a box around each of many points.

    Parameters
    ----------
    obj : Dataset or DataArray
        A micrograph ``(y, x)``, a tomogram ``(z, y, x)``, or a stack of either.
    points : mapping, xarray.Dataset or pandas.DataFrame
        Positions ``x``, ``y`` and, in a tomogram, ``z`` in angstrom, as the coordinates of the data
        have them; a Dataset may have other units of length. In a stack the column with the name of
        its dimension says in which image a point lies: by label as ``sel`` does, or by number from
        0 if the dimension has no labels. Each other column becomes a coordinate.
    size : int or mapping of str to int
        Voxels of a box along each axis. The voxel that is nearest to the point is number
        ``size // 2``, counted from 0. Halfway between two voxels it is the one with the larger
        number.
    fill : float, optional
        Value of voxels beyond the edge of the data. By default boxes that reach there are refused.
    drop : bool
        Whether to leave out the boxes that reach beyond the edge.

    Returns
    -------
    DataArray
        Dimension ``image`` over those of the data, in the data type of the data. Data that are read
        from a file stay lazy, in dask chunks if they are. Coordinates:

        - ``x``, ``y``, ``z``: positions in the box, in angstrom from its centre voxel
        - ``center_x``, ``center_y``, ``center_z``: position of the centre voxel in the data
        - ``point_x``, ``point_y``, ``point_z``: position of the point
        - the columns of the points, and what the stack has for each of its images, under their
          names; a number or label in a column ``image`` as ``source_image``

    Raises
    ------
    ValueError
        A box reaches beyond the edge without `fill` or `drop`, a centre lies outside the data, a
        column or the voxel size is missing, or `fill` is no value of the data type.
    TypeError
        The points are no table.

    Notes
    -----
    Only the parts of the file that hold boxes are read. Of files that are not mapped, such as
    compressed and remote ones, what several boxes share is read once for each chunk, in the order
    of the file.

    Examples
    --------
    >>> import xarray_mrc
    >>> x = xr.Variable("x", np.arange(8) * 2.0, {"units": "angstrom"})
    >>> y = xr.Variable("y", np.arange(6) * 2.0, {"units": "angstrom"})
    >>> micrograph = xr.DataArray(np.arange(48).reshape(6, 8), {"y": y, "x": x}, ("y", "x"))
    >>> boxes = micrograph.mrc.extract({"x": [4.0, 9.1], "y": [4.0, 6.0]}, 2)
    >>> boxes.values.tolist(), boxes.center_x.values.tolist()
    ([[[9, 10], [17, 18]], [[20, 21], [28, 29]]], [4.0, 10.0])
    """
    array = data_variable(obj)
    axes = spatial_dims(array)
    columns = read_columns(points, tuple(axes))
    picked = slow_dim(array, axes, columns)
    lengths = box_lengths(size, axes)
    count = next(iter(columns.values())).size
    corners = np.zeros((count, array.ndim), np.int64)
    own_size = list(array.shape)
    coords: dict[Hashable, xr.Variable] = {}
    centres: dict[str, NDArray[np.int64]] = {}
    grids = {dim: Grid.along(array, dim) for dim in axes}
    for dim, grid in grids.items():
        centres[dim] = grid.nearest(columns[dim].values)
        number = array.dims.index(dim)
        own_size[number] = lengths[dim]
        corners[:, number] = centres[dim] - lengths[dim] // 2
        coords |= box_coords(dim, grid, lengths[dim], centres[dim])
    if picked is not None:
        number = array.dims.index(picked)
        own_size[number] = 1
        corners[:, number] = number_along(array, picked, columns[str(picked)])
    boxes = Boxes(array.dims, corners, tuple(own_size), picked, 0.0 if fill is None else fill)
    check_fill(array.dtype, fill, drop=drop)
    left = boxes_to_keep(array.shape, boxes, grids, centres, fill=fill, drop=drop)
    coords = point_coords(array, columns, coords, boxes) | coords
    if left is not None:
        corners = corners[left]
        coords = {n: c[left] if c.dims[:1] == (IMAGE,) else c for n, c in coords.items()}
        boxes = Boxes(boxes.dims, corners, boxes.size, picked, boxes.fill)
    variable = cut(array.variable, boxes)
    variable.attrs = {n: value for n, value in array.attrs.items() if n not in LEFT_ATTRS}
    name = array.name if array.name is not None and array.name not in coords else "data"
    return xr.Dataset({name: variable}, coords)[name]


def spatial_dims(array: xr.DataArray) -> list[str]:
    """Return the dimensions along x, y and z, in the order of the array."""
    found = [str(dim) for dim in array.dims if dim in AXES]
    if not {"x", "y"} <= set(found):
        raise ValueError(
            f"the dimensions are {tuple(array.dims)}, expected y and x, or z, y and x: rename them"
        )
    return found


def slow_dim(
    array: xr.DataArray, axes: list[str], columns: Mapping[str, xr.Variable]
) -> Hashable | None:
    """Return the dimension of a stack whose images the points lie in; None if there is none."""
    others = [dim for dim in array.dims if dim not in (*axes, "rgb", RAW_DIM)]
    picked = [dim for dim in others if dim in columns]
    if len(picked) > 1:
        raise ValueError(
            f"points has columns for {picked}, expected one of them: select along the others first"
        )
    if IMAGE in others and not picked:
        raise ValueError(
            f"points has the columns {', '.join(columns)}, but the data are a stack of "
            f"{array.sizes[IMAGE]} images: pass a column image with the number of the image that "
            f"each point lies in, from 0. To cut each box out of all images, as of a movie, rename "
            f"the dimension first: obj.rename(image='frame')"
        )
    return picked[0] if picked else None


def box_lengths(size: int | Mapping[str, int], axes: list[str]) -> dict[str, int]:
    """Return the voxels of a box along each axis."""
    given: dict[str, Any] = dict(size) if isinstance(size, Mapping) else dict.fromkeys(axes, size)
    is_whole = all(
        isinstance(length, int | np.integer) and not isinstance(length, bool) and length > 0
        for length in given.values()
    )
    if set(given) != set(axes) or not is_whole:
        raise ValueError(
            f"size={size!r}, expected a number of voxels, or a dict of one for each of "
            f"{', '.join(axes)}"
        )
    return {axis: int(given[axis]) for axis in axes}


def box_coords(
    dim: str, grid: Grid, length: int, centres: NDArray[np.int64]
) -> dict[Hashable, xr.Variable]:
    """Return the positions in the box along an axis, and those of the centres."""
    attrs = {"units": grid.units} if grid.units else {}
    what = "position" if grid.units else "index"
    inside = {"long_name": f"{dim} {what} from the centre of the box", "axis": dim.upper()}
    centre = {"long_name": f"{dim} {what} of the centre of the box"}
    return {
        dim: xr.Variable(dim, grid.offsets(length), attrs | inside),
        f"center_{dim}": xr.Variable(IMAGE, grid.positions(centres), attrs | centre),
    }


def check_fill(dtype: np.dtype[Any], fill: Any, *, drop: bool = False) -> None:
    """Raise ValueError if a value for voxels beyond the edge is not one of the data type."""
    if fill is None:
        return
    if drop:
        raise ValueError(f"fill={fill!r} and drop=True were passed, expected one of them")
    if np.asarray(fill).dtype.kind not in "biufc":
        raise ValueError(
            f"fill={fill!r}, expected a number: for the mean pass fill=float(obj.mean())"
        )
    if dtype.kind in "iub":
        low, high = 0, 1
        if dtype.kind != "b":
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        if not (np.isfinite(fill) and int(fill) == fill and low <= fill <= high):
            raise ValueError(
                f"fill={fill!r} is no value of the data, which are {dtype}: pass a whole "
                f"number from {low} to {high}, or convert the data to float32 before"
            )


def boxes_to_keep(
    shape: tuple[int, ...],
    boxes: Boxes,
    grids: Mapping[str, Grid],
    centres: Mapping[str, NDArray[np.int64]],
    *,
    fill: Any,
    drop: bool,
) -> NDArray[np.intp] | None:
    """Return the numbers of the boxes within the data, if others are left out; None for all.

    Raises ValueError for boxes that are neither filled nor left out.
    """
    ends = boxes.corners + np.array(boxes.size)
    is_over = ((boxes.corners < 0) | (ends > np.array(shape))).any(1)
    if drop:
        return np.flatnonzero(~is_over)
    for dim, voxels in centres.items():
        length = shape[boxes.dims.index(dim)]
        outside = (voxels < 0) | (voxels >= length)
        if outside.any():
            ends = np.sort(grids[dim].positions(np.array([0, length - 1])))
            raise ValueError(
                f"the data reach from {ends[0]:g} to {ends[1]:g} {grids[dim].units} along {dim}, "
                f"but not to {some_points(outside)}: check the unit and the origin of the points, "
                f"or pass drop=True to leave them out"
            )
    if fill is None and is_over.any():
        raise ValueError(
            f"the boxes around {some_points(is_over)} reach beyond the edge of the data: pass "
            f"drop=True to leave them out, or fill= with the value of the missing voxels"
        )
    return None


def point_coords(
    array: xr.DataArray,
    columns: Mapping[str, xr.Variable],
    own: Mapping[Hashable, xr.Variable],
    boxes: Boxes,
) -> dict[Hashable, xr.Variable]:
    """Return coordinates of the boxes: those of their images, and the columns of the points.

    Raises ValueError for columns with names of dimensions, or of the boxes' own coordinates.
    """
    picked = boxes.picked
    found: dict[Hashable, xr.Variable] = {}
    for name, coord in array.coords.items():
        if not coord.ndim:
            found[renamed(name)] = coord.variable
        elif picked is not None and coord.dims == (picked,):
            taken = coord.variable[boxes.corners[:, array.dims.index(picked)]]
            found[renamed(name)] = xr.Variable(IMAGE, taken.values, taken.attrs)
        elif not {*coord.dims} & {*AXES, picked}:  # along frames, of which each box has all
            found[name] = coord.variable
    for name, column in columns.items():
        if name not in AXES and (name in own or (name in array.dims and name != picked)):
            raise ValueError(
                f"points has a column {name}, which is the name of a coordinate or dimension of "
                f"the boxes: rename it"
            )
        found[f"point_{name}" if name in AXES else renamed(name)] = column
    return found


def renamed(name: Hashable) -> Hashable:
    """Return the name of a coordinate in the boxes, whose dimension ``image`` has no labels."""
    return f"source_{IMAGE}" if name == IMAGE else name


def cut(variable: xr.Variable, boxes: Boxes) -> xr.Variable:
    """Return the boxes of a variable, as lazy as it is."""
    dims = (IMAGE, *(str(boxes.dims[axis]) for axis in boxes.kept))
    count, nbytes = len(boxes.corners), int(np.prod(boxes.size)) * variable.dtype.itemsize
    block = max(1, min(count, BLOCK_NBYTES // max(1, nbytes)))
    is_dask = variable.chunks is not None
    lazy: xr.Variable | None = variable
    if is_dask:
        from xarray_mrc.multifile.image_blocks import ImageBlocks, lazy_images

        lazy = lazy_images(variable.data)
    array, key = find_selection(lazy)
    if array is not None:
        encoding = {"preferred_chunks": {IMAGE: block}}
        found = lazy_variable(box_array(array, key, boxes), dims, {}, encoding)
        return xr.Variable(dims, ImageBlocks.of(found, {IMAGE: block})) if is_dask else found
    if is_dask:
        from xarray_mrc.multifile.dask_boxes import boxes_of_blocks

        return xr.Variable(
            dims,
            boxes_of_blocks(
                variable.data, boxes.corners, boxes.size, boxes.kept, boxes.fill, block
            ),
        )
    pixels = np.full((count, *boxes.size), boxes.fill, variable.dtype)
    copy_boxes(variable.values, boxes.corners, [range(n) for n in variable.shape], pixels)
    return xr.Variable(dims, pixels.reshape([count, *(boxes.size[axis] for axis in boxes.kept)]))


def box_array(array: ReadableArray, key: tuple[Any, ...], boxes: Boxes) -> BoxArray:
    """Return boxes of a selection of a lazy array as boxes of the array itself.

    That reads less than boxes of the selection. It needs consecutive positions along all axes but
    that of the images which the boxes lie in.
    """
    positions = [
        int(entry) if isinstance(entry, int | np.integer) else np.arange(length)[entry]
        for entry, length in zip(key, array.shape, strict=True)
    ]
    picked = None if boxes.picked is None else boxes.dims.index(boxes.picked)
    order = tuple(range(len(boxes.kept) + 1))
    shown = [each for each in positions if not isinstance(each, int)]
    runs = (each for number, each in enumerate(shown) if number != picked)
    if not all(each.size and (np.diff(each) == 1).all() for each in runs):
        source, whole = SelectedArray(array, tuple(positions)), tuple(range(len(n)) for n in shown)
        return BoxArray(
            source, boxes.corners, boxes.size, whole, boxes.kept, boxes.fill, axes=order
        )
    corners = np.zeros((len(boxes.corners), len(positions)), np.int64)
    size: list[int] = []
    limits: list[range] = []
    kept: list[int] = []
    number = -1
    for axis, each in enumerate(positions):
        if isinstance(each, int):
            corners[:, axis] = each
            size.append(1)
            limits.append(range(each, each + 1))
            continue
        number += 1
        size.append(boxes.size[number])
        if number == picked:
            corners[:, axis] = each[boxes.corners[:, number]]
            limits.append(range(array.shape[axis]))
        else:
            corners[:, axis] = boxes.corners[:, number] + each[0]
            limits.append(range(each[0], each[-1] + 1))
            kept.append(axis)
    return BoxArray(array, corners, tuple(size), tuple(limits), tuple(kept), boxes.fill, axes=order)
