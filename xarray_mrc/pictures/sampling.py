"""Which pixels of a plane are read: all of a small one, some of one in a large file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.dataset.axis_positions import AxisPositions, even_step, read_positions
from xarray_mrc.dataset.conventions import AXES

__all__ = ["MAX_PLANE_NBYTES", "Axis", "Sampling", "axis_of"]

# Data up to this size are drawn from every pixel of a plane.
SMALL_NBYTES = 256 * 2**20
# Of a larger plane in larger data one row is read for each drawn one.
MAX_PLANE_NBYTES = 128 * 2**20
# Pixels along a side of a plane across the rows of a file: each lies in a page of its own of 4 KiB,
# so that 256 MiB are touched.
MAX_SCATTERED_SIDE = 256


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of the data, and where its pixels lie.

    Attributes
    ----------
    dim : hashable
        Name of the dimension.
    count : int
        Number of pixels.
    first : float
        Position of the first pixel in angstrom; 0 if unknown.
    step : float or None
        Distance to the next pixel in angstrom, negative where positions decrease; None if unknown.
    """

    dim: Hashable
    count: int
    first: float = 0.0
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which pixels of a plane are read, and how many of them make a drawn one.

    Attributes
    ----------
    at : dict
        Position of the plane by dimension.
    rows, columns : Axis
        The axes of the plane, before it is sampled.
    factors : tuple of int
        Pixels of the plane for each drawn one, along rows and columns.
    read : tuple of int
        Of these, the pixels that are read: all, or the middle one.
    """

    at: Mapping[Hashable, int]
    rows: Axis
    columns: Axis
    factors: tuple[int, int]
    read: tuple[int, int]

    @classmethod
    def of(
        cls,
        array: xr.DataArray,
        at: Mapping[Hashable, int],
        rows: Hashable,
        columns: Hashable,
        max_side: int,
    ) -> Sampling:
        """Choose the pixels of a plane, few enough to be read from a large file."""
        height, width = array.sizes[rows], array.sizes[columns]
        is_large = array.nbytes > SMALL_NBYTES
        # Without the last dimension in it, each pixel of the plane is in another row of the file.
        fast = [dim for dim in array.dims if dim != "rgb"][-1]
        scattered = is_large and columns != fast
        side = min(max_side, MAX_SCATTERED_SIDE) if scattered else max_side
        factors = (-(-height // side), -(-width // side))
        nbytes = height * width * array.dtype.itemsize * array.sizes.get("rgb", 1)
        read = (1, 1) if scattered else factors
        if is_large and nbytes > MAX_PLANE_NBYTES:
            read = (1, read[1])
        return cls(at, axis_of(array, rows), axis_of(array, columns), factors, read)

    def select(self, array: xr.DataArray) -> xr.DataArray:
        """Return the pixels that are to be read, lazily; rows first, then columns."""
        keys: dict[Hashable, int | slice] = dict(self.at)
        for axis, factor, read in zip(
            (self.rows, self.columns), self.factors, self.read, strict=True
        ):
            whole = axis.count - axis.count % factor
            step = 1 if read == factor else factor
            keys[axis.dim] = slice(factor // 2 if step > 1 else 0, whole, step)
        # In one step: dask reads only the selected pixels of a chunk for the first selection.
        found = array.isel(keys)
        return found.transpose(self.rows.dim, self.columns.dim, *(["rgb"] * ("rgb" in found.dims)))

    def average(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the drawn pixels: averages of those that were read; amplitudes of complex ones."""
        is_complex, is_rgb = values.dtype.kind == "c", values.ndim == 3
        if is_complex:
            values = np.abs(values)
        rows, columns = self.read
        parts = values.reshape(
            values.shape[0] // rows, rows, values.shape[1] // columns, columns, *values.shape[2:]
        )
        with np.errstate(invalid="ignore", over="ignore"):
            mean: NDArray[Any] = parts.mean((1, 3), dtype=np.float64)
            return np.rint(mean).astype(np.uint8) if is_rgb else mean.astype(np.float32)


def axis_of(array: xr.DataArray, dim: Hashable) -> Axis:
    """Return a dimension with its positions, if they are lengths and even."""
    count, name = array.sizes[dim], str(dim).removesuffix("_bins")
    if name not in AXES:
        return Axis(dim, count)
    try:
        found = read_positions(array, name, dim)
    except ValueError:  # of another quantity than a length
        return Axis(dim, count)
    if not isinstance(found, AxisPositions) or not np.isfinite(found.values).all():
        return Axis(dim, count)
    step = even_step(found.values) if count > 1 else None
    return Axis(dim, count, float(found.values[0]), step)
