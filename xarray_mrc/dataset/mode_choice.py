"""Choice of the data mode from the data type of an array and the options of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.modes import MODE_OF_DTYPE, MODES, UNSIGNED_BYTE, Sample

__all__ = ["choose_sample", "widening_notes"]

MAX_EXACT_FLOAT32 = 2**24
# Types that become another one without being asked: the values stay, or are the nearest ones.
DEFAULT_CASTS = {"b1": "i1", "f8": "f4", "f16": "f4", "c16": "c8", "c32": "c8"}


def choose_sample(
    array: xr.DataArray, dtype: DTypeLike | None, mode: int | None
) -> tuple[int, Sample]:
    """Choose the data mode for an array.

    Parameters
    ----------
    array : xarray.DataArray
        The array.
    dtype, mode
        As in `xarray_mrc.to_mrc`.

    Returns
    -------
    mode : int
    sample : Sample
        How a pixel is stored in it.

    Raises
    ------
    ValueError
        No mode holds the data type, or not the one that was asked for.

    Examples
    --------
    >>> choose_sample(xr.DataArray(np.zeros((2, 2))), None, None)[0]
    2
    """
    found = array.dtype if dtype is None else np.dtype(dtype)
    rgb = "rgb" in array.dims
    if rgb and array.sizes["rgb"] != 3:
        raise ValueError(f"the dimension rgb has length {array.sizes['rgb']}, expected 3")
    if array.dtype.kind not in "biufc" or found.kind not in "biufc":
        raise ValueError(f"the data type is {found}, expected numbers")
    code = found.str[1:]
    if dtype is None and mode is None and not rgb:
        code = DEFAULT_CASTS.get(code, code)
    if mode is None and dtype is not None and code == "u1" and not rgb:
        mode = 0  # who asks for bytes gets bytes; an array of bytes alone is widened to mode 6
    number = mode_of(code, found, rgb) if mode is None else mode
    if number not in MODES:
        raise ValueError(f"mode={mode!r}, expected one of {', '.join(map(str, MODES))}")
    sample = MODES[number].sample
    if number == 0 and code in ("u1", "b1"):
        sample = UNSIGNED_BYTE
    if rgb != (number == 16):
        problem = "the data have no dimension rgb" if number == 16 else "the data are RGB pixels"
        raise ValueError(f"mode={number} was passed, but {problem}")
    if dtype is not None and mode is not None and code != sample.dtype:
        raise ValueError(
            f"mode={mode} holds {np.dtype(sample.dtype)}, but dtype={found} was passed"
        )
    if array.dtype.kind == "c" and np.dtype(sample.dtype).kind != "c":
        raise ValueError(f"the data are complex, but mode {number} holds no complex numbers")
    return number, sample


def mode_of(code: str, dtype: np.dtype[Any], rgb: bool) -> int:
    """Return the mode of a data type; ValueError if there is none, with the casts that work."""
    if rgb:
        if code != "u1":
            raise ValueError(f"RGB pixels are {dtype}, expected uint8: use .astype('uint8')")
        return 16
    if code in MODE_OF_DTYPE:
        return MODE_OF_DTYPE[code]
    if dtype.kind in "iu":
        advice = (
            f"use .astype('int16'), .astype('uint16') or .astype('float32'), or pass one of them "
            f"as dtype=. Which of them holds the values is not known before they are computed: "
            f"dtype= raises an error for a value that does not fit, and float32 holds whole "
            f"numbers up to {MAX_EXACT_FLOAT32}"
        )
    else:
        cast = DEFAULT_CASTS.get(code, "f4")
        advice = f"use .astype('{np.dtype(cast)}'), or pass dtype='{np.dtype(cast)}'"
    raise ValueError(
        f"the data type is {dtype}, but MRC has no mode for it, expected one of int8, int16, "
        f"uint16, float16, float32, complex64: {advice}"
    )


def widening_notes(array: xr.DataArray, mode: int) -> list[str]:
    """Return a sentence if the bytes of a file would be written in a wider mode."""
    noted = array.encoding.get("mrc_mode")
    if mode != 6 or array.dtype != np.uint8 or noted not in (0, 101):
        return []
    note = (
        f"the bytes of {array.encoding.get('source', 'the file')} (mode {noted}) are widened to "
        f"mode 6, because the standard has no unsigned bytes: pass mode={noted} to keep them"
    )
    return [note]
