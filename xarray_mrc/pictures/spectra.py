"""`power_spectrum`: of each image, or of volumes averaged over directions, in 1/angstrom."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.geometry import cell_matrix
from xarray_mrc.dataset.conventions import AXES, data_variable
from xarray_mrc.dataset.positions_to_header import angles_noted
from xarray_mrc.pictures.planes import kind_and_dims
from xarray_mrc.pictures.sampling import axis_of

__all__ = ["power_spectrum", "spectra_over"]

# Frequencies that are put into rings at a time: as many as stay in the processor's cache.
RING_BLOCK = 2**18


def power_spectrum(
    obj: xr.Dataset | xr.DataArray, *, rotational: bool | None = None
) -> xr.DataArray:
    """Compute power spectra: the squared amplitudes of the Fourier transform.

    Parameters
    ----------
    obj : Dataset or DataArray
        An image, a stack of images, each of which is transformed by itself, a volume or a stack of
        volumes. The result is lazy if the data are in dask chunks.
    rotational : bool, optional
        Whether to average over all directions (rings in two dimensions, shells in three). By
        default True for volumes and False for images.

    Returns
    -------
    DataArray
        float32, or float64 if the data are. With dimensions ``frequency_y`` and ``frequency_x``
        (and ``frequency_z`` of a volume) in increasing order, or ``frequency``; other dimensions
        and their coordinates are kept. The frequencies are in 1/angstrom. Where the voxel size is
        not known they are in 1/pixel, and have no index, so that nothing is aligned by them.

    Raises
    ------
    ValueError
        An MRC file cannot have the dimensions of the object, or the pixels are colours.

    Notes
    -----
    The power is ``abs(fft(data)) ** 2 / data.size``. Its sum is the sum of the squared values
    (Parseval's theorem), and white noise of variance 1 has the power 1. Frequency 0 has the square
    of the mean times the number of pixels.

    A ring or shell is as wide as the coarsest step of the frequencies along an axis, and the last
    one is the largest that is complete. Voxels of unequal sides and skewed cells make ellipsoids of
    the transform, not of the rings. A volume is transformed as a whole, in about 12 bytes a voxel.

    Examples
    --------
    >>> x = xr.Variable("x", 2.0 * np.arange(8), {"units": "angstrom"})
    >>> y = xr.Variable("y", 2.0 * np.arange(4), {"units": "angstrom"})
    >>> wave = xr.DataArray(np.cos(np.pi * np.arange(8) / 2) * np.ones((4, 1)), {"y": y, "x": x})
    >>> power = power_spectrum(wave)
    >>> power.isel(frequency_y=2).sel(frequency_x=0.125).item()
    8.0
    >>> float(power.sum()), float((wave**2).sum())
    (16.0, 16.0)
    """
    array = data_variable(obj)
    if "rgb" in array.dims:
        raise ValueError(
            "the pixels are colours, which have no power spectrum: average or select them with "
            "obj.mean('rgb') or obj.isel(rgb=0)"
        )
    kind, names = kind_and_dims(array)
    is_volume = kind in ("volume", "volume_stack")
    dims = [names[name] for name in ("z", "y", "x") if name in names and (is_volume or name != "z")]
    return spectra_over(array, dims, is_volume if rotational is None else rotational)


def spectra_over(array: xr.DataArray, dims: list[Hashable], rotational: bool) -> xr.DataArray:
    """Compute the power spectra over some dimensions, as `power_spectrum` describes."""
    steps, unit = steps_along(array, dims)
    shape = tuple(array.sizes[dim] for dim in dims)
    outputs = ["frequency"] if rotational else [f"frequency_{dim}" for dim in dims]
    metric = reciprocal_metric(array, dims)
    width, count = rings_of(shape, steps)
    sizes = (count,) if rotational else shape
    dtype = np.result_type(array.dtype, np.float32)
    dtype = np.dtype(np.float32 if dtype in (np.float32, np.complex64) else np.float64)
    transform = partial(rotational_power, steps=steps, metric=metric, rings=(width, count))
    if array.chunks is not None:
        array = array.chunk(dict.fromkeys(dims, -1))
    found: xr.DataArray = xr.apply_ufunc(
        partial(each, transform if rotational else power, len(dims), sizes, dtype),
        array,
        input_core_dims=[dims],
        output_core_dims=[outputs],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"output_sizes": dict(zip(outputs, sizes, strict=True))},
        keep_attrs=False,
    )
    values: list[NDArray[Any]]
    if rotational:
        values = [width * np.arange(count)]
    else:
        values = [
            np.fft.fftshift(np.fft.fftfreq(n, step)) for n, step in zip(shape, steps, strict=True)
        ]
    found = found.assign_coords(frequency_coords(outputs, values, unit))
    found.name = "power_spectrum"
    found.attrs = {"long_name": "power spectrum"}
    return found


def steps_along(array: xr.DataArray, dims: list[Hashable]) -> tuple[tuple[float, ...], str]:
    """Return the distances of neighbours along dimensions, and the unit of their frequencies."""
    axes = [axis_of(array, dim) for dim in dims]
    unknown = [axis for axis in axes if axis.step is None]
    if len(unknown) == len(axes) or any(axis.count > 1 for axis in unknown):
        return (1.0,) * len(axes), "1/pixel"
    return tuple(abs(axis.step or 1.0) for axis in axes), "1/angstrom"


def frequency_coords(names: list[str], values: list[NDArray[Any]], unit: str) -> xr.Coordinates:
    """Return coordinates of frequencies; those in 1/pixel without an index."""
    variables = {}
    for name, frequencies in zip(names, values, strict=True):
        axis = f" along {name.removeprefix('frequency_')}" if "_" in name else ""
        attrs = {"units": unit, "long_name": f"spatial frequency{axis}"}
        variables[name] = xr.Variable(name, frequencies, attrs)
    return xr.Coordinates(variables, indexes=None if unit == "1/angstrom" else {})


def reciprocal_metric(array: xr.DataArray, dims: list[Hashable]) -> NDArray[np.float64]:
    """Return the matrix M of the squared length f M f of frequencies f along the cell axes."""
    if not all(str(dim) in AXES for dim in dims):
        return np.eye(len(dims))
    # A section of a skewed cell is skewed by the angle between its own two axes.
    matrix = cell_matrix(angles_noted(array, {})[0])
    axes = [AXES[str(dim)] for dim in dims]
    found = np.linalg.inv((matrix.T @ matrix)[np.ix_(axes, axes)])
    return np.asarray(found, np.float64)


def rings_of(shape: tuple[int, ...], steps: tuple[float, ...]) -> tuple[float, int]:
    """Return the width and the number of rings, up to the largest that is complete."""
    sides = [(n, step) for n, step in zip(shape, steps, strict=True) if n > 1]
    if not sides:
        return 1.0, 1
    width = max(1 / (n * step) for n, step in sides)
    highest = min(0.5 / step for _, step in sides)
    return width, int(highest / width * (1 + 1e-9)) + 1


def each(
    function: Any, ndim: int, sizes: tuple[int, ...], dtype: np.dtype[Any], values: NDArray[Any]
) -> NDArray[Any]:
    """Apply a function to each image or volume of an array, one at a time to save memory."""
    outer = values.shape[: values.ndim - ndim]
    found = np.empty((*outer, *sizes), dtype)
    for index in np.ndindex(outer):
        found[index] = function(np.asarray(values[index], np.result_type(values.dtype, dtype)))
    return found


def transformed(values: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return the power at all frequencies, or of real values at those from 0 of the last axis."""
    is_real = values.dtype.kind != "c"
    spectrum = np.fft.rfftn(values) if is_real else np.fft.fftn(values)
    found = spectrum.real**2
    found += spectrum.imag**2
    found /= values.size
    return found, is_real


def power(values: NDArray[Any]) -> NDArray[Any]:
    """Return the power of one image or volume at all frequencies, 0 in the middle."""
    found, is_half = transformed(values)
    if is_half:  # the power of real values is the same at the opposite frequency
        mirrored = found[..., 1 : values.shape[-1] - found.shape[-1] + 1]
        mirrored = np.flip(mirrored, tuple(range(mirrored.ndim)))
        others = tuple(range(mirrored.ndim - 1))
        found = np.concatenate([found, np.roll(mirrored, (1,) * len(others), others)], -1)
    return np.fft.fftshift(found)


def rotational_power(
    values: NDArray[Any],
    *,
    steps: tuple[float, ...],
    metric: NDArray[np.float64],
    rings: tuple[float, int],
) -> NDArray[Any]:
    """Return the mean power of each ring or shell."""
    found, is_half = transformed(values)
    width, count = rings
    frequencies: list[NDArray[Any]]
    frequencies = [np.fft.fftfreq(n, step) for n, step in zip(values.shape, steps, strict=True)]
    weights = np.ones(found.shape[-1])
    if is_half:  # all but the first, and the last of an even number, stand for two
        frequencies[-1] = np.abs(frequencies[-1][: found.shape[-1]])
        weights[1 : (values.shape[-1] + 1) // 2] = 2
    sums, sizes = np.zeros(count), np.zeros(count)
    for part in blocks(found.shape):
        along: list[NDArray[Any]] = [frequencies[0][part], *frequencies[1:]]
        ring = np.rint(radius(along, metric) / width).astype(np.int64)
        inside = ring < count
        weight = np.broadcast_to(weights, ring.shape)[inside]
        sums += np.bincount(ring[inside], found[part][inside] * weight, count)
        sizes += np.bincount(ring[inside], weight, count)
    return sums / sizes


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices along the first axis of about `RING_BLOCK` values each."""
    step = max(1, RING_BLOCK // math.prod(shape[1:]))
    yield from (slice(start, start + step) for start in range(0, shape[0], step))


def radius(along: list[NDArray[Any]], metric: NDArray[np.float64]) -> NDArray[Any]:
    """Return the lengths of frequencies that are given along each axis."""
    grid = np.meshgrid(*along, indexing="ij", sparse=True)
    squares = sum(
        metric[i, j] * grid[i] * grid[j]
        for i in range(len(grid))
        for j in range(len(grid))
        if metric[i, j]
    )
    found: NDArray[Any] = np.sqrt(np.maximum(squares, 0))
    return found
