"""The data modes: how the numbers of each are stored, and the data type that they are read as.

Source of the table: the MRC2014 specification, revision 20141 (modes 0, 1, 2, 3, 4, 6, 12 and 101)
and IMOD's ``mrc_format`` document (mode 16, bytes of either sign, the half-width 4-bit form).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FOREIGN_MODES",
    "FOUR_BIT",
    "MODES",
    "MODE_OF_DTYPE",
    "UNSIGNED_BYTE",
    "ByteOrder",
    "Mode",
    "Sample",
    "describe_mode",
]

ByteOrder = Literal["<", ">"]


@dataclass(frozen=True, slots=True)
class Sample:
    """How one pixel is stored in a file, and its data type in an array.

    Attributes
    ----------
    stored : str
        numpy code of a stored number, without byte order.
    dtype : str
        numpy code of a pixel in an array, in native byte order.
    parts : int
        Stored numbers that make one pixel: 2 for complex integers, 3 for RGB.
    packed : bool
        Whether two pixels share a byte, the first in its low half. A row starts with a new byte.
    """

    stored: str
    dtype: str
    parts: int = 1
    packed: bool = False

    @property
    def trailing(self) -> tuple[int, ...]:
        """Lengths of the axes that a pixel adds to an array: ``(3,)`` for RGB, else none."""
        return (self.parts,) if self.parts == 3 else ()

    def row_items(self, columns: int) -> int:
        """Return the number of stored numbers in a row of pixels."""
        return (columns + 1) // 2 if self.packed else columns * self.parts

    def row_nbytes(self, columns: int) -> int:
        """Return the number of bytes of a row of pixels."""
        return self.row_items(columns) * np.dtype(self.stored).itemsize

    def is_plain(self, byteorder: ByteOrder) -> bool:
        """Return True if the stored bytes are the pixels, in native byte order."""
        same = self.stored == self.dtype and not self.packed
        return same and np.dtype(byteorder + self.stored).isnative

    def decode(self, rows: NDArray[np.uint8], byteorder: ByteOrder) -> NDArray[np.generic]:
        """Decode bytes to pixels; a view where that is possible.

        Parameters
        ----------
        rows : ndarray of uint8
            Bytes; the last axis runs along a row and starts with a pixel (in a packed mode with an
            even one).
        byteorder : {"<", ">"}
            Byte order of the file.

        Returns
        -------
        ndarray
            Pixels; the last axis (before that of RGB) is the columns. A view has the byte order of
            the file. In a packed mode an odd row ends with one pixel too many.

        Examples
        --------
        >>> Sample("u1", "u1", packed=True).decode(np.array([0x21, 0x43], np.uint8), "<")
        array([1, 2, 3, 4], dtype=uint8)
        """
        if self.packed:
            pixels = np.empty((*rows.shape[:-1], rows.shape[-1], 2), np.uint8)
            np.bitwise_and(rows, 15, out=pixels[..., 0])
            np.right_shift(rows, 4, out=pixels[..., 1])
            return pixels.reshape(*rows.shape[:-1], -1)
        numbers = rows.view(np.dtype(byteorder + self.stored))
        if self.parts == 1:
            return numbers
        parts = numbers.reshape(*rows.shape[:-1], -1, self.parts)
        if self.trailing:
            return parts
        pixels = np.empty(parts.shape[:-1], self.dtype)
        pixels.real, pixels.imag = parts[..., 0], parts[..., 1]
        return pixels

    def fit(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cast pixels to the data type of the sample, and refuse values that do not fit.

        Parameters
        ----------
        pixels : ndarray
            Numbers; complex ones only for a complex sample.

        Returns
        -------
        ndarray
            In native byte order; the array itself if it already has the data type. Floats may be
            rounded, nan and infinite values stay.

        Raises
        ------
        ValueError
            A value is out of range, or is not a whole number although the sample only holds these.

        Examples
        --------
        >>> Sample("i2", "i2").fit(np.array([1.0, -2.0]))
        array([ 1, -2], dtype=int16)
        """
        dtype, stored = np.dtype(self.dtype), np.dtype(self.stored)
        if stored.kind in "iu" and (self.packed or not np.can_cast(pixels.dtype, stored)):
            limits = np.iinfo(stored)
            low, high = (0, 15) if self.packed else (int(limits.min), int(limits.max))
            # float16 cannot represent 32767 or 65535: compared in float16, the limits would become
            # 32768 and infinity.
            short = pixels.dtype == np.float16
            wide = np.ascontiguousarray(pixels, np.float32 if short else None)
            parts = wide.view(wide.real.dtype) if wide.dtype.kind == "c" else wide
            inside = np.logical_and(parts >= low, parts <= high)
            if parts.dtype.kind == "f":
                inside &= np.rint(parts) == parts
            self._refuse(parts, ~inside, f"whole numbers from {low} to {high}")
        with np.errstate(over="ignore", invalid="ignore"):
            found = pixels.astype(dtype, copy=False)
        if stored.kind in "fc" and not np.can_cast(pixels.dtype, dtype):
            overflown = np.isfinite(pixels) & ~np.isfinite(found)
            self._refuse(pixels, overflown, f"{dtype} numbers, at most {np.finfo(dtype).max:g}")
        return found

    @staticmethod
    def _refuse(values: NDArray[np.generic], bad: NDArray[np.bool_], expected: str) -> None:
        """Raise ValueError for the first bad value, if there is one."""
        if bad.any():
            raise ValueError(
                f"the data contain the value {values[bad][0]}, expected {expected}: choose a mode "
                f"that holds it, or change the data first (.clip, .round)"
            )

    def encode(self, pixels: NDArray[np.generic], byteorder: ByteOrder) -> NDArray[np.uint8]:
        """Encode pixels as the bytes that store them; the inverse of `decode`.

        Parameters
        ----------
        pixels : ndarray
            Pixels as `fit` returns them; the last axis (before that of RGB) is the columns. In a
            packed mode they start with an even column.
        byteorder : {"<", ">"}
            Byte order of the file.

        Returns
        -------
        ndarray of uint8
            Contiguous; the last axis runs along a row. Not a copy if the pixels are stored as they
            are.

        Examples
        --------
        >>> Sample("u1", "u1", packed=True).encode(np.array([1, 2, 3], np.uint8), "<").tolist()
        [33, 3]
        """
        stored = np.dtype(byteorder + self.stored)
        if self.packed:
            rows = np.array(pixels[..., ::2], np.uint8, order="C")
            odd = pixels[..., 1::2].astype(np.uint8, copy=False)
            rows[..., : odd.shape[-1]] |= odd << 4
            return rows
        if self.trailing:
            pixels = pixels.reshape(*pixels.shape[:-2], -1)
        elif self.parts == 2:
            parts = np.empty((*pixels.shape, 2), stored)
            parts[..., 0], parts[..., 1] = pixels.real, pixels.imag
            pixels = parts.reshape(*pixels.shape[:-1], -1)
        return np.ascontiguousarray(pixels, stored).view(np.uint8)


@dataclass(frozen=True, slots=True)
class Mode:
    """A data mode of the format."""

    number: int
    title: str
    sample: Sample


UNSIGNED_BYTE = Sample("u1", "u1")
FOUR_BIT = Sample("u1", "u1", packed=True)

MODES = {
    mode.number: mode
    for mode in (
        Mode(0, "8-bit integer", Sample("i1", "i1")),
        Mode(1, "16-bit signed integer", Sample("i2", "i2")),
        Mode(2, "32-bit float", Sample("f4", "f4")),
        Mode(3, "complex of 16-bit integers", Sample("i2", "c8", parts=2)),
        Mode(4, "complex of 32-bit floats", Sample("c8", "c8")),
        Mode(6, "16-bit unsigned integer", Sample("u2", "u2")),
        Mode(12, "16-bit float", Sample("f2", "f2")),
        Mode(16, "RGB of unsigned bytes", Sample("u1", "u1", parts=3)),
        Mode(101, "4-bit unsigned integer, two a byte", FOUR_BIT),
    )
}

# The mode of a data type, if the user names none. The standard has no mode for unsigned bytes, so
# they are widened.
MODE_OF_DTYPE = {"i1": 0, "i2": 1, "f4": 2, "c8": 4, "u1": 6, "u2": 6, "f2": 12}

# Modes of some programs that are not in the standard, so that an error can name them.
FOREIGN_MODES = {
    5: "an obsolete byte mode of CCP4, whose sign differs between programs",
    7: "32-bit integers in files of MotionCor, Bsoft and MRCZ",
    8: "32-bit unsigned integers in files of MRCZ",
    17: "signed bytes in files of EMAN2",
}

MRCZ_METHODS = range(1, 7)  # its mode is the number of the compressor times 1000 plus that of MRC


def describe_mode(mode: int) -> str:
    """Return the number of a mode that is not read, with what is known of it and what to do.

    Parameters
    ----------
    mode : int
        A mode that is not in `MODES`.

    Returns
    -------
    str

    Examples
    --------
    >>> describe_mode(1002)
    '1002 (data compressed by MRCZ (method 1): convert the file with the program that wrote it)'
    """
    known = FOREIGN_MODES.get(mode, "")
    method, number = divmod(mode, 1000)
    if method in MRCZ_METHODS and (number in MODES or number in FOREIGN_MODES):
        known = f"data compressed by MRCZ (method {method})"
    if known:
        return f"{mode} ({known}: convert the file with the program that wrote it)"
    return f"{mode} (unknown: the header is damaged, copy or download the file again)"
