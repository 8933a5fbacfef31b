"""The power spectrum that a figure shows: of one image or section, smoothed over tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.pictures.planes import compute, kind_and_dims
from xarray_mrc.pictures.sampling import MAX_PLANE_NBYTES
from xarray_mrc.pictures.spectra import spectra_over

__all__ = ["SectionSpectrum", "section_spectrum"]

# Pixels along a side of a tile. The mean over tiles has less noise than one transform of the whole
# image, so that Thon rings show, and the image need not be read whole.
TILE = 512
MAX_TILES_ALONG = 6
# Fewer pixels have too few frequencies to look at.
MIN_SIDE = 8


@dataclass(frozen=True, slots=True, eq=False)
class SectionSpectrum:
    """The power spectrum of an image or section.

    Attributes
    ----------
    power : DataArray
        Over ``frequency_y`` and ``frequency_x``, or other two dimensions.
    rings : DataArray
        Its rotational average, over ``frequency``.
    unit : {"1/angstrom", "1/pixel"}
        Unit of the frequencies.
    tiles : int
        Number of tiles that were averaged.
    section : str
        Which image or section it is: "image 20", "z 48"; empty for a single image.
    """

    power: xr.DataArray
    rings: xr.DataArray
    unit: str
    tiles: int
    section: str


def section_spectrum(array: xr.DataArray) -> SectionSpectrum | None:
    """Compute the power spectrum of an image, the middle image of a stack, or the middle section.

    Parameters
    ----------
    array : DataArray
        The data; only tiles of the image or section are read.

    Returns
    -------
    SectionSpectrum or None
        None if the data are complex, which are mostly transforms already, or too small.

    Notes
    -----
    Each tile is multiplied with a Hann window after its mean was subtracted, because the edges of
    an image would else make a bright cross.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=(64, 32))
    >>> found = section_spectrum(xr.DataArray(noise, dims=("y", "x")))
    >>> found.power.shape, found.unit, found.tiles
    ((64, 32), '1/pixel', 1)
    """
    _, names = kind_and_dims(array)
    rows, columns = names["y"], names["x"]
    middle = {d: n // 2 for d, n in array.sizes.items() if d not in (rows, columns, "rgb")}
    name = ", ".join(f"{dim} {number}" for dim, number in middle.items())
    section = array.isel(middle)
    if array.dtype.kind == "c" or min(section.sizes[rows], section.sizes[columns]) < MIN_SIDE:
        return None
    section = section.transpose(rows, columns, ...)
    if section.nbytes <= MAX_PLANE_NBYTES:  # at once: each read of a compressed file is a pass
        section = section.copy(data=compute([section])[0])
    tiles = [
        section[y : y + TILE, x : x + TILE]
        for y in starts(section.sizes[rows])
        for x in starts(section.sizes[columns])
    ]
    pixels = compute(tiles)
    with np.errstate(over="ignore"):
        values: NDArray[Any] = np.stack(pixels).astype(np.float32)
    if values.ndim == 4:
        values = values.mean(-1)
    values[~np.isfinite(values)] = np.nan
    present = ~np.isnan(values)
    counts = np.maximum(present.sum((1, 2), keepdims=True), 1)
    means = np.where(present, values, 0).sum((1, 2), keepdims=True, dtype=np.float64) / counts
    windows = np.hanning(values.shape[1] + 2)[1:-1, None] * np.hanning(values.shape[2] + 2)[1:-1]
    windows /= np.sqrt((windows**2).mean())
    values = np.where(present, values - means, 0) * windows
    coords = {dim: tiles[0].coords[dim] for dim in (rows, columns) if dim in section.coords}
    windowed = xr.DataArray(values.astype(np.float32), coords, ("tile", rows, columns))
    if "mrc_cell_angles" in array.attrs:
        windowed.attrs["mrc_cell_angles"] = array.attrs["mrc_cell_angles"]
    power = spectra_over(windowed, [rows, columns], False).mean("tile")
    rings = spectra_over(windowed, [rows, columns], True).mean("tile")
    return SectionSpectrum(power, rings, rings.frequency.attrs["units"], len(tiles), name)


def starts(length: int) -> list[int]:
    """Return the starts of tiles along an axis, from end to end and without overlap."""
    count = min(length // TILE, MAX_TILES_ALONG)
    if count < 2:
        return [max(0, (length - TILE) // 2)]
    return [round(i * (length - TILE) / (count - 1)) for i in range(count)]
