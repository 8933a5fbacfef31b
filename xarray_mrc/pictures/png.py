"""PNG files of greys and colours: thumbnails need no library for pictures."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2
BIT_DEPTH = 8


def encode_png(pixels: NDArray[Any]) -> bytes:
    r"""Encode pixels as a PNG file.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns) or (rows, columns, 3)
        Greys or colours; the first row is the top one.

    Returns
    -------
    bytes

    Notes
    -----
    Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025. Rows are stored
    as they are (filter type 0).

    Examples
    --------
    >>> encode_png(np.zeros((2, 3), np.uint8))[:4]
    b'\x89PNG'
    """
    height, width = pixels.shape[:2]
    kind = COLOUR if pixels.ndim == 3 else GREY
    rows = np.zeros((height, 1 + width * (3 if kind == COLOUR else 1)), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, BIT_DEPTH, kind, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
