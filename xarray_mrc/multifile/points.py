"""Points as users have them, in tables of many kinds, and the voxels that are nearest to them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.decimals import DECIMALS, step_of
from xarray_mrc.dataset.axis_positions import (
    AxisPositions,
    check_increasing,
    even_step,
    exponent_of,
    is_index,
    read_positions,
)
from xarray_mrc.dataset.conventions import AXES

__all__ = ["Grid", "Points", "number_along", "read_columns", "some_points"]

# A mapping of names to numbers, a Dataset or a DataFrame.
Points = Any

MAX_NAMED = 5
# Of a voxel: the quotient of positions that are rounded to six places may be off by this.
TIE = 1e-6
FARTHEST_VOXEL = 2**40


def read_columns(points: Points, dims: tuple[Hashable, ...]) -> dict[str, xr.Variable]:
    """Return the columns of a table of points.

    Parameters
    ----------
    points : mapping, xarray.Dataset or pandas.DataFrame
        One value a point in each column. A single number stands for all points.
    dims : tuple of hashable
        Names of the columns that hold positions.

    Returns
    -------
    dict of Variable
        Along the dimension ``image``; texts as objects, which Zarr takes. Positions are float64,
        in angstrom.

    Raises
    ------
    TypeError
        It is no table.
    ValueError
        A column has no value for each point, or positions are not finite numbers.

    Examples
    --------
    >>> read_columns({"x": [1, 2], "y": 3, "score": [0.5, 0.9]}, ("y", "x"))["y"].values.tolist()
    [3.0, 3.0]
    """
    found: dict[str, xr.Variable] = {}
    if isinstance(points, xr.Dataset):
        wide = [name for name, each in points.variables.items() if each.ndim > 1]
        if wide or len(points.dims) > 1:
            raise ValueError(
                f"points has the dimensions {tuple(points.dims)}, expected one, with one value a "
                f"point in each variable"
            )
        found = {str(name): each for name, each in points.variables.items()}
    elif isinstance(points, Mapping):
        found = {str(name): as_variable(name, values) for name, values in points.items()}
    elif hasattr(points, "columns") and hasattr(points, "reset_index"):  # pandas is not loaded
        named = [name for name in points.index.names if name is not None]
        table = points.reset_index(level=named) if named else points
        found = {str(name): as_variable(name, table[name].to_numpy()) for name in table.columns}
    else:
        raise TypeError(
            f"points is a {type(points).__name__}, expected a mapping such as {{'x': [...], 'y': "
            f"[...]}}, a DataFrame or a Dataset with these columns"
        )
    lengths = {each.size for each in found.values() if each.ndim}
    if len(lengths) > 1:
        raise ValueError(
            f"the columns of points have {sorted(lengths)} values, expected one number"
        )
    count = next(iter(lengths), 1)
    columns = {}
    for name, column in found.items():
        values = np.broadcast_to(np.asarray(column.values), (count,))
        if name in AXES:
            values = as_positions(name, values, column.attrs.get("units"))
        elif values.dtype.kind in "US":
            values = values.astype(object)
        columns[name] = xr.Variable("image", values, column.attrs)
    missing = [str(dim) for dim in dims if dim not in columns]
    if missing:
        hint = ""
        if "rlnCoordinateX" in columns:
            hint = (
                ": rlnCoordinateX and its like count pixels, so multiply them by the pixel size of "
                "the micrographs that they were picked in"
            )
        raise ValueError(
            f"points has the columns {', '.join(columns) or '(none)'}, expected also "
            f"{', '.join(missing)}, in angstrom{hint}"
        )
    return columns


def as_variable(name: Hashable, values: Any) -> xr.Variable:
    """Return the values of a column as a variable; ValueError if they have several dimensions."""
    if isinstance(values, xr.DataArray | xr.Variable):
        array, attrs = np.asarray(values.values), dict(values.attrs)
    else:
        array, attrs = np.asarray(values), {}
    if array.ndim > 1:
        raise ValueError(f"the column {name} has the shape {array.shape}, expected a value a point")
    return xr.Variable(("image",)[: array.ndim], array, attrs)


def as_positions(name: str, values: NDArray[Any], units: Any) -> NDArray[np.float64]:
    """Return positions in angstrom; ValueError if some are not finite numbers."""
    if values.dtype.kind not in "iuf":
        raise ValueError(f"the column {name} holds {values.dtype}, expected numbers in angstrom")
    positions = values.astype(np.float64)
    if units is not None and str(units).strip():
        exponent = exponent_of(str(units), name)
        positions = positions * 10.0**exponent if exponent >= 0 else positions / 10.0**-exponent
    if not np.isfinite(positions).all():
        raise ValueError(
            f"the column {name} has no number for {some_points(~np.isfinite(positions))}"
        )
    return positions


@dataclass(frozen=True, slots=True)
class Grid:
    """The voxels along one axis of the data.

    Attributes
    ----------
    start, step : float
        Position of the first voxel, and distance to the next one.
    units : str
        "angstrom"; empty for the labels of ``coords="index"``, which count voxels.
    """

    start: float
    step: float
    units: str

    @classmethod
    def along(cls, array: xr.DataArray, dim: str) -> Grid:
        """Return the voxels along an axis; ValueError if the data have no even positions there."""
        if dim in array.coords and is_index(array.coords[dim]):
            labels = array.coords[dim].values.astype(np.float64)
            return cls(float(labels[0]), float(labels[-1] - labels[0]) / (labels.size - 1), "")
        found = read_positions(array, dim, dim)
        if not isinstance(found, AxisPositions):
            raise ValueError(  # noqa: TRY004  the data are wrong, not their type
                f"the data have no positions along {dim} ({found or 'the voxel size is unknown'}), "
                f"so that points in angstrom have no place in them: set them, as in "
                f"obj.assign_coords({dim}=np.arange(obj.sizes[{dim!r}]) * 1.35)"
            )
        values = found.values
        if values.size < 2:
            raise ValueError(f"the data have a single position along {dim}, expected two or more")
        step = even_step(values)
        if step is None:
            check_increasing(found.name, values)
        is_rising = step is not None and step > 0
        exact = step_of(values if is_rising else values[::-1], values.size)
        return cls(float(values[0]), exact if is_rising else -exact, "angstrom")

    def nearest(self, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the numbers of the nearest voxels, also outside the data.

        Halfway between two voxels it is the one with the larger number.

        Parameters
        ----------
        positions : ndarray of float64
            In angstrom, or labels.

        Returns
        -------
        ndarray of int64

        Examples
        --------
        >>> Grid(10.0, 2.0, "angstrom").nearest(np.array([10.9, 11, 15]))
        array([0, 1, 3])
        """
        voxels = np.floor((positions - self.start) / self.step + 0.5 + TIE)
        return np.clip(voxels, -FARTHEST_VOXEL, FARTHEST_VOXEL).astype(np.int64)

    def positions(self, voxels: NDArray[np.int64]) -> NDArray[Any]:
        """Return the positions of voxels: float64 in angstrom, or int64 labels."""
        found = np.round(self.start + voxels * self.step, DECIMALS)
        return found if self.units else found.astype(np.int64)

    def offsets(self, length: int) -> NDArray[Any]:
        """Return the positions in a box of some length, from its centre voxel."""
        return replace(self, start=0.0).positions(np.arange(length) - length // 2)


def number_along(array: xr.DataArray, dim: Hashable, column: xr.Variable) -> NDArray[np.int64]:
    """Find the image of a stack that each point lies in.

    Parameters
    ----------
    array : DataArray
        The stack.
    dim : hashable
        Its slow dimension.
    column : Variable
        Labels of the dimension, or numbers from 0 if it has no labels, as for ``sel``.

    Returns
    -------
    ndarray of int64
        Numbers from 0.

    Raises
    ------
    ValueError
        There is no such image.
    """
    values, length = column.values, array.sizes[dim]
    if dim in array.indexes:
        numbers = np.asarray(array.indexes[dim].get_indexer(values), np.int64)
        what = "labels of the data"
    else:
        if values.dtype.kind not in "iu":
            raise ValueError(
                f"the column {dim} holds {values.dtype}, expected the number of the image, from 0"
            )
        numbers, what = values.astype(np.int64), f"0 to {length - 1}"
    wrong = (numbers < 0) | (numbers >= length)
    if wrong.any():
        first = values[np.flatnonzero(wrong)[:1]].tolist()[0]
        raise ValueError(
            f"the column {dim} is {first!r} at {some_points(wrong)}, expected {what}: leave out "
            f"points of other images"
        )
    return numbers


def some_points(which: NDArray[np.bool_]) -> str:
    """Return a text that names points, by their numbers from 0."""
    numbers = np.flatnonzero(which).tolist()
    shown = ", ".join(map(str, numbers[:MAX_NAMED]))
    if len(numbers) == 1:
        return f"point {shown}"
    more = f" and {len(numbers) - MAX_NAMED} others" if len(numbers) > MAX_NAMED else ""
    return f"points {shown}{more}"
