"""The planes that a picture shows: three of a volume, three images of a stack, with contrast.

Figures and terminal pictures draw the same planes. Only these planes are read, not the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.contrast import contrast_limits
from xarray_mrc.codec.layout import Kind
from xarray_mrc.dataset.conventions import AXES, data_variable, match_dims
from xarray_mrc.dataset.from_file import build_dataset
from xarray_mrc.dataset.positions_to_header import angles_noted
from xarray_mrc.pictures.histogram import Histogram, histogram_of, log_of
from xarray_mrc.pictures.sampling import Sampling, axis_of
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.source import Openable

__all__ = ["Plane", "PlaneSet", "Showable", "open_array", "read_planes"]

Showable = Openable | xr.Dataset | xr.DataArray

# Pixels along a side of a plane; neighbours are averaged to get there.
MAX_SIDE = 1024
# The normal of each plane of a volume, with the dimensions of its rows and columns.
ORTHOGONAL = (("z", "y", "x"), ("y", "z", "x"), ("x", "z", "y"))
# The cell angles by the pair of axes that they lie between.
ANGLE_BETWEEN = {frozenset("yz"): 0, frozenset("xz"): 1, frozenset("xy"): 2}


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A plane of the data, upright.

    Attributes
    ----------
    pixels : ndarray, shape (rows, columns) of float32, or (rows, columns, 3) of uint8
        The first row is the top of the picture, the first column its left side.
    title : str
        Which plane it is.
    dims : tuple of str
        Names of the axes along the rows' direction (up or down) and the columns' direction.
    bottom, top, left, right : float
        Positions of the outer edges of the picture.
    unit : {"angstrom", "pixel"}
        Unit of the positions.
    angle : float
        Angle between the two axes in degrees: other than 90 in a skewed cell.
    limits : tuple of float
        Values that are drawn black and white. Not used for RGB.
    """

    pixels: NDArray[Any]
    title: str
    dims: tuple[str, str]
    bottom: float
    top: float
    left: float
    right: float
    unit: str
    angle: float
    limits: tuple[float, float]

    @property
    def width(self) -> float:
        """Width of the picture in the unit of the positions."""
        return abs(self.right - self.left)

    @property
    def height(self) -> float:
        """Height of the picture, along the axis of the rows, in the unit of the positions."""
        return abs(self.top - self.bottom)

    def grey(self) -> NDArray[np.uint8]:
        """Return the pixels as greys from 0 (black) to 255; nan and infinite ones are 0.

        Returns
        -------
        ndarray of uint8
            The shape of `pixels`; RGB pixels are as they are.

        Examples
        --------
        >>> data = xr.DataArray([[0.0, 1.0], [2.0, 4.0]], dims=("y", "x"))
        >>> read_planes(data).planes[0].grey().tolist()
        [[127, 255], [0, 63]]
        """
        if self.pixels.ndim == 3:
            return self.pixels
        low, high = self.limits
        scaled = np.clip((self.pixels - low) * (255 / (high - low)), 0, 255)
        grey: NDArray[np.uint8] = np.where(np.isfinite(self.pixels), scaled, 0).astype(np.uint8)
        return grey


@dataclass(frozen=True, slots=True, eq=False)
class PlaneSet:
    """The planes of one object.

    Attributes
    ----------
    planes : tuple of Plane
        The image; the first, middle and last image of a stack; the middle planes across z, y and x
        of a volume; the middle sections of the first, middle and last volume of a volume stack.
    kind : {"image", "image_stack", "volume", "volume_stack"}
        Kind of the data.
    quantity : str
        What the pixels show: "value", "log10 of the amplitude" or "colour".
    histogram : Histogram
        Histogram of all planes together.
    """

    planes: tuple[Plane, ...]
    kind: Kind
    quantity: str
    histogram: Histogram


def open_array(obj: Showable, notes: list[str] | None = None) -> xr.DataArray:
    """Return the array of an object, or open that of a file, without dask and without a read.

    Parameters
    ----------
    obj : Dataset, DataArray, str, os.PathLike, bytes or binary file object
        The object or the file.
    notes : list of str, optional
        Takes the sentence of the warning on how a file is read, which the caller issues.

    Returns
    -------
    DataArray

    Raises
    ------
    OSError, MrcError
        The file can't be read.

    Examples
    --------
    >>> open_array(xr.Dataset({"data": ("x", [1, 2])})).dims
    ('x',)
    """
    if isinstance(obj, xr.Dataset | xr.DataArray):
        return data_variable(obj)
    options = ReadingOptions()
    return build_dataset(open_file(obj, options, notes=notes), options)[options.default_name]


def read_planes(obj: Showable, *, max_side: int = MAX_SIDE, single: bool = False) -> PlaneSet:
    """Read the planes of an object that give an idea of it.

    Parameters
    ----------
    obj : Dataset, DataArray, str, os.PathLike, bytes or binary file object
        The object or the file.
    max_side : int
        Pixels along a side of a plane at most. Of more, neighbours are averaged. Of data above
        256 MiB some rows and columns are skipped, so that a plane costs about 128 MiB at most.
    single : bool
        Whether to read one plane only: the middle image or section.

    Returns
    -------
    PlaneSet
        Upright: y and z increase upwards and x to the right, but y downwards where the attribute
        ``mrc_y_origin`` is "top", as in images of EPU.

    Raises
    ------
    OSError, MrcError
        The file can't be read.
    TypeError, ValueError
        The data are no numbers, or an MRC file cannot have the dimensions of the object.

    Examples
    --------
    >>> data = xr.DataArray(np.zeros((5, 4, 3)), dims=("z", "y", "x"))
    >>> [plane.title for plane in read_planes(data).planes]
    ['z = 2 of 0 to 4', 'y = 2 of 0 to 3', 'x = 1 of 0 to 2']
    """
    array = open_array(obj)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"the data are {array.dtype}, expected numbers")
    kind, dims = kind_and_dims(array)
    drawn = [
        Sampling.of(array, *entry, max_side) for entry in select_planes(array, kind, dims, single)
    ]
    parts = compute([sampling.select(array) for sampling in drawn])
    is_complex = array.dtype.kind == "c"
    pixels = [sampling.average(values) for sampling, values in zip(drawn, parts, strict=True)]
    if is_complex:
        pixels = [log_of(values) for values in pixels]
    numbers = [values.reshape(-1) for values in pixels]
    shared = contrast_limits(np.concatenate(numbers)) if kind == "volume" else None
    planes = tuple(
        upright_plane(array, sampling, values, shared or contrast_limits(values))
        for sampling, values in zip(drawn, pixels, strict=True)
    )
    quantity = "log10 of the amplitude" if is_complex else "value"
    if "rgb" in array.dims:
        quantity = "colour"
    return PlaneSet(planes, kind, quantity, histogram_of(np.concatenate(numbers)))


def kind_and_dims(array: xr.DataArray) -> tuple[Kind, Mapping[str, Hashable]]:
    """Return the kind of an array, and its dimension for each dimension of that kind.

    Any two dimensions make an image, such as the (z, x) of a cross section.
    """
    found = [dim for dim in array.dims if dim != "rgb"]
    if len(found) == 2 and not {"y", "x"} <= set(found):
        return "image", {"y": found[0], "x": found[1]}
    kind, dims = match_dims(array, None)
    return kind, {name: dim for name, dim in dims.items() if name != "rgb"}


def select_planes(
    array: xr.DataArray, kind: Kind, dims: Mapping[str, Hashable], single: bool
) -> Iterator[tuple[dict[Hashable, int], Hashable, Hashable]]:
    """Yield the position of each plane, and its dimensions along rows and columns."""
    size = {name: array.sizes[dim] for name, dim in dims.items()}
    if not all(size.values()):
        raise ValueError(f"the data have the shape {array.shape}, expected at least one pixel")
    rows, columns = dims["y"], dims["x"]
    if kind == "image":
        yield {}, rows, columns
    elif kind == "volume":
        for normal, vertical, horizontal in ORTHOGONAL[:1] if single else ORTHOGONAL:
            yield {dims[normal]: size[normal] // 2}, dims[vertical], dims[horizontal]
    else:
        slow = "image" if kind == "image_stack" else "volume"
        count = size[slow]
        depth = {dims["z"]: size["z"] // 2} if kind == "volume_stack" else {}
        for number in [count // 2] if single else sorted({0, count // 2, count - 1}):
            yield {dims[slow]: number, **depth}, rows, columns


def upright_plane(
    array: xr.DataArray, sampling: Sampling, pixels: NDArray[Any], limits: tuple[float, float]
) -> Plane:
    """Return the plane, flipped so that it is upright."""
    steps = [axis.step for axis in (sampling.rows, sampling.columns) if axis.step is not None]
    known = all(a.step is not None or a.count == 1 for a in (sampling.rows, sampling.columns))
    known = known and bool(steps)
    down = "top" in str(array.attrs.get("mrc_y_origin", "")) and sampling.rows.dim == "y"
    edges = []
    sides = zip((sampling.rows, sampling.columns), sampling.factors, pixels.shape, strict=False)
    for number, (axis, factor, count) in enumerate(sides):
        step = (axis.step or abs(steps[0])) if known else 1.0
        first = axis.first if known else 0.0
        start, end = first - step / 2, first + step * (count * factor - 0.5)
        flip = step < 0
        if number == 0:
            flip ^= not down  # positions increase upwards, so the first row is the lowest
        if flip:
            pixels = np.flip(pixels, number)
            start, end = end, start
        edges += [start, end]
    top, bottom, left, right = edges
    return Plane(
        pixels=pixels,
        title=title_of(array, sampling.at),
        dims=(str(sampling.rows.dim), str(sampling.columns.dim)),
        bottom=bottom,
        top=top,
        left=left,
        right=right,
        unit="angstrom" if known else "pixel",
        angle=angle_between(array, sampling.rows.dim, sampling.columns.dim),
        limits=limits,
    )


def angle_between(array: xr.DataArray, rows: Hashable, columns: Hashable) -> float:
    """Return the angle between two axes in degrees, from the cell angles of a skewed cell."""
    number = ANGLE_BETWEEN.get(frozenset((str(rows), str(columns))))
    return 90.0 if number is None else angles_noted(array, {})[0][number]


def title_of(array: xr.DataArray, at: Mapping[Hashable, int]) -> str:
    """Return the title of a plane: its position, its number, and the tilt angle if there is one."""
    parts = []
    for dim, number in at.items():
        counted = f"{number} of 0 to {array.sizes[dim] - 1}"
        axis = axis_of(array, dim)
        if axis.step is not None:
            position = axis.first + number * axis.step
            parts.append(f"{dim} = {position:.6g} Å (section {counted})")
        else:
            parts.append(f"{dim} = {counted}" if str(dim) in AXES else f"{dim} {counted}")
        parts += tilt_texts(array, (dim,), number)
    parts += tilt_texts(array, (), ())
    return ", ".join(parts)


def tilt_texts(array: xr.DataArray, dims: tuple[Hashable, ...], key: Any) -> list[str]:
    """Return the tilt angle of an image as a text, if the array has one along these dimensions."""
    coord = array.coords.get("tilt_angle")
    if coord is None or coord.dims != dims or coord.dtype.kind not in "iuf":
        return []
    angle = float(coord[key])
    return [f"tilt {angle:.4g}°"] if np.isfinite(angle) else []


def compute(arrays: list[xr.DataArray]) -> list[NDArray[Any]]:
    """Read or compute arrays, those of dask together."""
    if any(array.chunks is not None for array in arrays):
        import dask

        found: list[NDArray[Any]] = list(dask.compute(*(array.data for array in arrays)))
        return [np.asarray(values) for values in found]
    return [np.asarray(array.to_numpy()) for array in arrays]
