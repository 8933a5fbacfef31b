"""SerialEM's .mdoc: its text as columns of section metadata and back, by one table of its keys."""

from __future__ import annotations

from xarray_mrc.codec.mdoc.reading import Mdoc, decode_mdoc, parse_mdoc, tilt_axis_angle
from xarray_mrc.codec.mdoc.table import KEYS, MdocKey
from xarray_mrc.codec.mdoc.writing import MdocText, encode_mdoc

__all__ = [
    "KEYS",
    "Mdoc",
    "MdocKey",
    "MdocText",
    "decode_mdoc",
    "encode_mdoc",
    "parse_mdoc",
    "tilt_axis_angle",
]
