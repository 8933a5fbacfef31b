"""Strategies of hypothesis: ranges of bytes, and whole MRC files with their pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = ["MrcFile", "byte_ranges", "mrc_files"]

# Mode and data type of the plain modes (MRC2014, word 4).
MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
STAMPS = {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}


@dataclass(frozen=True)
class MrcFile:
    """An MRC file and the pixels that it contains.

    Attributes
    ----------
    raw : bytes
        The file.
    pixels : ndarray
        Its pixels, along z, y and x, in native byte order.
    """

    raw: bytes
    pixels: NDArray[Any]


def byte_ranges(
    size: int, *, min_ranges: int = 0, max_ranges: int = 8
) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Return a strategy of lists of ranges of a file, in any order; they may overlap or be empty.

    Parameters
    ----------
    size : int
        Number of bytes of the file.
    min_ranges, max_ranges : int
        Numbers of ranges.

    Returns
    -------
    SearchStrategy of list of (int, int)
        Offset and number of bytes of each.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(byte_ranges(100), lambda ranges: sum(nbytes for _, nbytes in ranges) > 10)
    [(0, 11)]
    """
    one = st.integers(0, size).flatmap(
        lambda offset: st.tuples(st.just(offset), st.integers(0, size - offset))
    )
    return st.lists(one, min_size=min_ranges, max_size=max_ranges)


@st.composite
def mrc_files(draw: st.DrawFn, *, max_length: int = 9) -> MrcFile:
    """Return a strategy of small volumes in all plain modes and both byte orders.

    The bytes are laid down here from the offsets of the MRC2014 specification, without the codec
    of this package.

    Parameters
    ----------
    draw : callable
        Passed by hypothesis.
    max_length : int
        Largest number of pixels along an axis.

    Returns
    -------
    SearchStrategy of MrcFile

    Examples
    --------
    >>> from hypothesis import find
    >>> find(mrc_files(), lambda file: file.pixels.dtype == "f2").pixels.shape
    (1, 1, 1)
    """
    mode = draw(st.sampled_from(sorted(MODES)))
    order = draw(st.sampled_from(sorted(STAMPS)))
    shape = tuple(draw(st.integers(1, max_length)) for _ in "zyx")
    nsymbt = draw(st.integers(0, 200))
    dtype = np.dtype(MODES[mode])
    seed = draw(st.integers(0, 2**32 - 1))
    stored = np.random.default_rng(seed).integers(0, 255, (*shape, dtype.itemsize), np.uint8)
    pixels = stored.view(order + dtype.str[1:])[..., 0].astype(dtype)
    nz, ny, nx = shape
    head = bytearray(1024)
    struct.pack_into(f"{order}10i", head, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, nz)
    struct.pack_into(f"{order}6f", head, 40, nx, ny, nz, 90.0, 90.0, 90.0)
    struct.pack_into(f"{order}3i", head, 64, 1, 2, 3)
    struct.pack_into(f"{order}3f2i", head, 76, 0.0, -1.0, -2.0, 1, nsymbt)
    struct.pack_into(f"{order}i", head, 108, 20141)
    head[208:216] = b"MAP " + STAMPS[order]
    struct.pack_into(f"{order}f", head, 216, -1.0)
    return MrcFile(bytes(head) + bytes(nsymbt) + stored.tobytes(), pixels)
