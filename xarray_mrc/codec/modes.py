"""The data modes: how the numbers of each are stored, and what they are given out as.

Source of the table: the MRC2014 specification, revision 20141 (modes 0, 1, 2, 3, 4, 6, 12 and 101)
and IMOD's ``mrc_format`` document (mode 16, bytes of either sign, the half-width 4-bit form).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import ByteOrder, Header
from xarray_mrc.errors import MrcHeaderError, MrcModeError

__all__ = ["FOREIGN_MODES", "MODES", "Mode", "Sample", "find_sample"]

IMOD_SIGNED_BYTES = 1
IMOD_FOUR_BITS = 16

# Columns and rows, as stored, of the camera images that IMOD takes for packed by their label alone.
FOUR_BIT_SIZES = (
    (3838, 7420),
    (3710, 7676),
    (3840, 7424),
    (3712, 7680),
    (5760, 8184),
    (4092, 11520),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """How one number (or pixel) lies in the file, and what it is given out as.

    Attributes
    ----------
    stored : str
        numpy code of what lies in the file, without byte order.
    parts : int
        Stored numbers that make one pixel: 2 for complex integers, 3 for RGB.
    packed : bool
        Two pixels share a byte, the low half first; a row starts at a whole byte.
    dtype : str
        numpy code of what is given out, in native byte order.
    """

    stored: str
    dtype: str
    parts: int = 1
    packed: bool = False

    @property
    def trailing(self) -> tuple[int, ...]:
        """Axes that a pixel adds to the array: ``(3,)`` for RGB, else none."""
        return (self.parts,) if self.parts == 3 else ()

    def row_items(self, columns: int) -> int:
        """Count the stored numbers in a row of so many pixels."""
        return (columns + 1) // 2 if self.packed else columns * self.parts

    def row_nbytes(self, columns: int) -> int:
        """Count the bytes of a row of so many pixels."""
        return self.row_items(columns) * np.dtype(self.stored).itemsize

    def is_plain(self, byteorder: ByteOrder) -> bool:
        """Whether the stored bytes, as they are, are the numbers given out."""
        same = self.stored == self.dtype and not self.packed
        return same and np.dtype(byteorder + self.stored).isnative

    def decode(self, rows: NDArray[np.uint8], byteorder: ByteOrder) -> NDArray[np.generic]:
        """View or turn bytes into pixels.

        Parameters
        ----------
        rows : ndarray of uint8
            Bytes whose last axis runs along a row and starts at a whole pixel (of a packed mode:
            at an even one).
        byteorder : {"<", ">"}
            Byte order of the file.

        Returns
        -------
        ndarray
            Pixels; the last axis (before RGB's) is the columns. A view in the file's byte order
            where that is possible.

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

# Numbers that some programs use outside the standard, for a message that says more than "unknown".
FOREIGN_MODES = {
    5: "an obsolete byte mode of CCP4, whose sign differs between programs",
    7: "32-bit integers in files of MotionCor, Bsoft and MRCZ",
    8: "32-bit unsigned integers in files of MRCZ",
    17: "signed bytes in files of EMAN2",
}


def find_sample(header: Header, signed: bool | None = None) -> Sample:
    """Tell how the pixels of a file are stored.

    Parameters
    ----------
    header : Header
        The header of the file.
    signed : bool, optional
        Whether bytes (mode 0) are signed; by default found by the rules in Notes.

    Returns
    -------
    Sample

    Raises
    ------
    MrcModeError
        The mode is unknown.
    MrcHeaderError
        IMOD's flags say of bytes that they are signed and hold two pixels each.

    Notes
    -----
    Bytes are signed in the standard, and were unsigned in much software. In this order: IMOD's
    stamp and its flag 1; a standard NVERSION, or the marks of a CCP4 or EMDB map: signed; the
    range of the densities in the header, as IMOD does it.

    Examples
    --------
    >>> find_sample(Header.blank().replace(mode=0, nversion=0, dmin=0.0, dmax=255.0)).dtype
    'u1'
    """
    mode = MODES.get(header.mode)
    if mode is None:
        what = FOREIGN_MODES.get(header.mode, "unknown")
        if header.mode >= 1000:
            what = f"data compressed by MRCZ (method {header.mode // 1000})"
        known = ", ".join(map(str, MODES))
        raise MrcModeError(
            f"mode is {header.mode} ({what}), expected one of {known}: convert the file with the "
            f"program that wrote it"
        )
    if mode.number != 0:
        return mode.sample
    if has_four_bits(header):
        claims_signed = header.has_imod_stamp and bool(header.imod_flags & IMOD_SIGNED_BYTES)
        if signed or (signed is None and claims_signed):
            raise MrcHeaderError(
                "IMOD's flags say that bytes are signed and that each holds two 4-bit pixels, "
                "expected only one of the two: pass signed=False to read the pixels as 0 to 15"
            )
        return FOUR_BIT
    if signed is None:
        signed = has_signed_bytes(header)
    return mode.sample if signed else UNSIGNED_BYTE


def has_four_bits(header: Header) -> bool:
    """Whether a mode-0 file holds two pixels a byte, with NX halved (IMOD's second 4-bit form)."""
    if header.mode != 0:
        return False
    if header.has_imod_stamp and header.imod_flags & IMOD_FOUR_BITS:
        return True
    labels = header.labels
    return (
        len(labels) == 1
        and "4 bits packed" in labels[0]
        and any(abs(header.nx - x) <= 2 and abs(header.ny - y) <= 2 for x, y in FOUR_BIT_SIZES)
    )


def has_signed_bytes(header: Header) -> bool:
    """Whether the bytes of mode 0 are signed, by the rules that `find_sample` states."""
    if header.has_imod_stamp:
        return bool(header.imod_flags & IMOD_SIGNED_BYTES)
    if header.is_standard_version:
        return True
    if header.ispg >= 1 and (
        header.lskflg == 1 or header.nsymbt > 0 or any("EMDATABANK" in t for t in header.labels)
    ):
        return True
    low, high = header.dmin, header.dmax
    if not low <= high:  # not computed, or nan
        return True
    if low >= 0:
        return high < 128
    return high < 128 or -low > high - 128
