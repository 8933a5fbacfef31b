"""The reader of napari's plugin (``napari.yaml``): layers with scale, units and contrast.

napari itself is not imported: a layer is a tuple of an array, a dict and the name of its type.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.codec.containers import has_mrc_suffix
from xarray_mrc.codec.contrast import contrast_limits
from xarray_mrc.codec.geometry import RIGHT_ANGLES, cell_matrix
from xarray_mrc.codec.header import Header
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.dataset.positions_to_header import angles_noted
from xarray_mrc.opening import open_mrc
from xarray_mrc.pictures.planes import read_planes
from xarray_mrc.pictures.sampling import axis_of

__all__ = ["LayerTuple", "get_reader", "read_layers"]

LayerTuple = tuple[Any, dict[str, Any], str]

# The range of normal noise in 4096 x 4096 pixels is 11 standard deviations. A range above this
# comes from hot pixels or beads of gold, and would leave one grey for all other pixels.
MAX_RANGE_IN_RMS = 20


def get_reader(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Callable[..., list[LayerTuple]] | None:
    """Return the function that reads a file for napari; None if the name is of another format.

    Parameters
    ----------
    path : str, os.PathLike or list of them
        The file, or the files that make one stack.

    Returns
    -------
    callable or None
        `read_layers`.

    Examples
    --------
    >>> get_reader("tomo.mrc.gz").__name__, get_reader("photo.tif")
    ('read_layers', None)
    """
    paths = [path] if isinstance(path, str | os.PathLike) else path
    named = [has_mrc_suffix(os.fspath(entry)) for entry in paths]
    return read_layers if named and all(named) else None


def read_layers(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[LayerTuple]:
    """Open a file as a layer of napari; several files as one layer with a new first axis.

    Parameters
    ----------
    path : str, os.PathLike or list of them
        The file, or files of one shape, data type and voxel size, which are stacked.

    Returns
    -------
    list of tuple
        One layer: a lazy dask array of shape ``(y, x)``, ``(z, y, x)``, ``(image, y, x)`` or
        ``(volume, z, y, x)``, with a last axis of three colours if the pixels are RGB; the options
        of the layer; "image". ``scale`` and ``translate`` are the voxel size and the position of
        the first voxel in angstrom, along axes without positions 1 and 0 in pixels. Rows keep the
        order of the file. Complex numbers become their amplitude.

    Raises
    ------
    OSError, MrcError
        A file cannot be read.
    ValueError
        There is no file, or the files to stack differ.

    Warns
    -----
    MrcWarning
        Once a file, if something in it changed how it is read.

    Examples
    --------
    >>> read_layers("tomo.mrc")[0][1]["scale"]  # doctest: +SKIP
    [10.74, 10.74, 10.74]
    """
    if isinstance(path, str | os.PathLike):
        return [layer_of(path)]
    layers = [layer_of(entry) for entry in path]
    if not layers:
        raise ValueError("path=[], expected at least one file")
    return [stack_layers(layers, [os.fspath(entry) for entry in path])]


def layer_of(path: str | os.PathLike[str]) -> LayerTuple:
    """Return the layer of one file."""
    array = open_mrc(path)
    is_rgb = "rgb" in array.dims
    dims = [str(dim) for dim in array.dims if dim != "rgb"]
    axes = [axis_of(array, dim) for dim in dims]
    has_positions = [dim in AXES and dim in array.coords for dim in dims]
    steps = [round(axis.step, 9) for axis in axes if axis.step is not None]
    # An axis of one pixel has a position, but no step: its pixel is drawn as long as another's.
    usual = steps[0] if steps else 1.0
    name = os.path.basename(os.fspath(path))
    options: dict[str, Any] = {
        "name": name,
        "scale": [
            (usual if axis.step is None else round(axis.step, 9)) if positioned else 1.0
            for axis, positioned in zip(axes, has_positions, strict=True)
        ],
        "translate": [axis.first for axis in axes],
        "units": ["angstrom" if positioned else "pixel" for positioned in has_positions],
        "axis_labels": dims,
        "metadata": {**array.attrs, **section_values(array), "path": os.fspath(path)},
    }
    if not is_rgb:
        options["contrast_limits"] = list(limits_of(array))
    else:
        options["rgb"] = True
    affine = skew_of(array, dims)
    if affine is not None:
        options["affine"] = affine
    data = abs(array.data) if array.dtype.kind == "c" else array.data
    return data, options, "image"


def section_values(array: xr.DataArray) -> dict[str, Any]:
    """Return the metadata of the images, such as tilt angles, without the positions."""
    return {
        str(name): coord.to_numpy()
        for name, coord in array.coords.items()
        if name not in array.dims
    }


def limits_of(array: xr.DataArray) -> tuple[float, float]:
    """Return the values to draw black and white, from the header or from one middle section."""
    stated = stated_limits(array.mrc.header, array.dtype)
    if stated is not None:
        return stated
    if array.dtype.kind != "c":
        return read_planes(array, single=True).planes[0].limits
    # Of complex numbers a picture shows the logarithm; the layer has the amplitude itself.
    middle = {dim: array.sizes[dim] // 2 for dim in array.dims[:-2]}
    return contrast_limits(np.abs(array[middle].to_numpy()))


def stated_limits(header: Header, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Return the range of the header, if it can be that of the data and serves as contrast.

    Parameters
    ----------
    header : Header
        The header of the file.
    dtype : dtype
        Type of the data.

    Returns
    -------
    low, high : float or None
        None if statistics are not set, contradict each other or do not fit the type; and if the
        range is wider than 20 standard deviations, so that few pixels make most of it.

    Examples
    --------
    >>> header = Header.blank().replace(dmin=0, dmax=10, dmean=4, rms=2)
    >>> stated_limits(header, np.dtype("f4")), stated_limits(header.replace(rms=-1), np.dtype("f4"))
    ((0.0, 10.0), None)
    """
    low, high, mean, rms = (float(v) for v in (header.dmin, header.dmax, header.dmean, header.rms))
    if dtype.kind == "c" or not all(map(math.isfinite, (low, high, mean, rms))):
        return None
    if not low < high or not low <= mean <= high:
        return None
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if not (bounds.min <= low and high <= bounds.max and low % 1 == high % 1 == 0):
            return None
    return (low, high) if rms > 0 and high - low <= MAX_RANGE_IN_RMS * rms else None


def skew_of(array: xr.DataArray, dims: Sequence[str]) -> Any:
    """Return the matrix from distances along the axes to positions in space; None for a box.

    napari applies it after scale and translate.
    """
    angles = angles_noted(array, {})[0]
    if angles == RIGHT_ANGLES:
        return None
    matrix = np.eye(len(dims) + 1)
    # X, Y, Z of the cell's matrix are numbered from x; axes that are no direction stay.
    numbers = {row: AXES[dim] for row, dim in enumerate(dims) if dim in AXES}
    cell = cell_matrix(angles)
    for row, direction in numbers.items():
        for column, along in numbers.items():
            matrix[row, column] = cell[direction, along]
    return matrix


def stack_layers(layers: Sequence[LayerTuple], paths: Sequence[str]) -> LayerTuple:
    """Return one layer of all, with a new first axis that counts the files."""
    first, options, kind = layers[0]
    for (data, own, _), path in zip(layers[1:], paths[1:], strict=True):
        for what, found, expected in (
            ("shape", data.shape, first.shape),
            ("type", data.dtype, first.dtype),
            ("voxel size", own["scale"], options["scale"]),
            ("kind of axes", own["axis_labels"], options["axis_labels"]),
        ):
            if found != expected:
                raise ValueError(
                    f"{path}: the {what} is {found}, but {expected} in {paths[0]}: "
                    "open the files as a layer each"
                )
    stacked = {
        **options,
        "scale": [1.0, *options["scale"]],
        "translate": [0.0, *options["translate"]],
        "units": ["pixel", *options["units"]],
        "axis_labels": ["file", *options["axis_labels"]],
        "metadata": {"files": [own["metadata"] for _, own, _ in layers]},
    }
    if "contrast_limits" in options:
        limits = [own["contrast_limits"] for _, own, _ in layers]
        stacked["contrast_limits"] = [min(v for v, _ in limits), max(v for _, v in limits)]
    if "affine" in options:
        stacked["affine"] = np.eye(len(stacked["scale"]) + 1)
        stacked["affine"][1:, 1:] = options["affine"]
    return np.stack([data for data, _, _ in layers]), stacked, kind  # remains lazy
