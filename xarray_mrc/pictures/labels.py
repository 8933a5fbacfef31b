"""Texts and numbers of pictures: nice lengths, titles, and what an object is in one line."""

from __future__ import annotations

import math
import os

import xarray as xr

from xarray_mrc.dataset.axis_positions import voxel_size_of
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.dataset.from_file import file_of
from xarray_mrc.storage.protocol import Head
from xarray_mrc.storage.remote.urls import path_of_url

__all__ = ["describe", "file_name", "length_text", "nice_length"]

# Units of length by their size in angstrom, largest first.
UNITS = ((1e4, "µm"), (10.0, "nm"), (1.0, "Å"))
# A length is shown in nm from 100 nm, and in µm from 1 µm.
MIN_ANGSTROM = {"µm": 1e4, "nm": 1e3}


def nice_length(width: float) -> float:
    """Return a length of 1, 2 or 5 times a power of ten: about a fifth of a width.

    Examples
    --------
    >>> nice_length(2749.0), nice_length(13.0)
    (500.0, 2.0)
    """
    target = width / 4
    power = 10.0 ** math.floor(math.log10(target))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= target * (1 + 1e-9))


def length_text(angstrom: float) -> str:
    """Return a length with the unit that suits its size.

    Examples
    --------
    >>> length_text(50.0), length_text(2000.0), length_text(20000.0)
    ('50 Å', '200 nm', '2 µm')
    """
    size, unit = next(
        (size, unit) for size, unit in UNITS if angstrom >= MIN_ANGSTROM.get(unit, 0) * (1 - 1e-9)
    )
    return f"{angstrom / size:g} {unit}"


def file_name(obj: object) -> str:
    """Return the name of the file that an object is or was opened from; "" if it has none."""
    if isinstance(obj, xr.Dataset | xr.DataArray):
        try:
            obj = file_of(obj)
        except ValueError:
            return ""
    if isinstance(obj, Head):
        obj = obj.source.uri
    if not isinstance(obj, str | os.PathLike):
        return ""
    name = os.path.basename(path_of_url(os.fsdecode(obj)).rstrip("/"))
    return name.encode("utf-8", "backslashreplace").decode()


def describe(array: xr.DataArray, kind: str) -> str:
    """Return kind, size, data type and voxel size in one line.

    Examples
    --------
    >>> import numpy as np
    >>> describe(xr.DataArray(np.zeros((3, 2), "f4"), dims=("y", "x")), "image")
    'image, 2 x 3 (x, y), float32, voxel size not known'
    """
    dims = sorted(array.dims, key=lambda dim: (str(dim) not in AXES, str(dim)))
    dims = [dim for dim in dims if dim != "rgb"]
    size = " x ".join(str(array.sizes[dim]) for dim in dims) + f" ({', '.join(map(str, dims))})"
    colour = "RGB" if "rgb" in array.dims else str(array.dtype)
    return f"{kind.replace('_', ' ')}, {size}, {colour}, {voxel_text(array)}"


def voxel_text(array: xr.DataArray) -> str:
    """Return the voxel size as a text."""
    try:
        sizes = voxel_size_of(array)
    except ValueError:
        return "uneven positions"
    found = {f"{size:.7g}" for size in sizes.values()}
    if not found:
        return "voxel size not known"
    if len(found) == 1:
        return f"{found.pop()} Å"
    return " x ".join(f"{size:.7g}" for size in sizes.values()) + f" Å ({', '.join(sizes)})"
