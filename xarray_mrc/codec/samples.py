"""The sample of a file: its mode, the sign of its bytes, and IMOD's two pixels a byte."""

from __future__ import annotations

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.modes import FOUR_BIT, MODES, UNSIGNED_BYTE, Sample, describe_mode
from xarray_mrc.errors import MrcHeaderError, MrcModeError

__all__ = [
    "find_sample",
    "has_four_bit_flag",
    "has_four_bits",
    "is_signed_four_bits",
    "pixel_counts",
]

IMOD_SIGNED_BYTES = 1
IMOD_FOUR_BITS = 16

# Columns and rows, as stored, of the camera images that IMOD recognises as packed by their label.
FOUR_BIT_SIZES = (
    (3838, 7420),
    (3710, 7676),
    (3840, 7424),
    (3712, 7680),
    (5760, 8184),
    (4092, 11520),
)


def find_sample(header: Header, signed: bool | None = None) -> Sample:
    """Find how the pixels of a file are stored.

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
        IMOD's flags say that bytes are signed and hold two pixels each.

    Notes
    -----
    Bytes are signed in the standard, but unsigned in much older software. The first rule that
    applies decides: IMOD's stamp and its flag 1; a standard NVERSION, or the marks of a map of
    CCP4 or EMDB (signed); the range of the densities in the header, as IMOD judges it.

    Examples
    --------
    >>> find_sample(Header.blank().replace(mode=0, nversion=0, dmin=0.0, dmax=255.0)).dtype
    'u1'
    """
    mode = MODES.get(header.mode)
    if mode is None:
        known = ", ".join(map(str, MODES))
        raise MrcModeError(f"mode is {describe_mode(header.mode)}, expected one of {known}")
    if mode.number != 0:
        return mode.sample
    if has_four_bits(header):
        if signed or (signed is None and is_signed_four_bits(header)):
            raise MrcHeaderError(
                "IMOD's flags say that bytes are signed and that each holds two 4-bit pixels, "
                "expected only one of the two: pass signed=False to read the pixels as 0 to 15"
            )
        return FOUR_BIT
    if signed is None:
        signed = has_signed_bytes(header)
    return mode.sample if signed else UNSIGNED_BYTE


def has_four_bit_flag(header: Header) -> bool:
    """Return True if IMOD's flags say that a byte holds two pixels."""
    return header.has_imod_stamp and bool(header.imod_flags & IMOD_FOUR_BITS)


def has_four_bits(header: Header) -> bool:
    """Return True if a file of mode 0 holds two pixels a byte, with NX halved, as IMOD writes."""
    if header.mode != 0:
        return False
    if has_four_bit_flag(header):
        return True
    labels = header.labels
    return (
        len(labels) == 1
        and "4 bits packed" in labels[0]
        and any(abs(header.nx - x) <= 2 and abs(header.ny - y) <= 2 for x, y in FOUR_BIT_SIZES)
    )


def is_signed_four_bits(header: Header) -> bool:
    """Return True if IMOD's flags contradict each other: signed bytes that hold two pixels each."""
    signed = header.has_imod_stamp and bool(header.imod_flags & IMOD_SIGNED_BYTES)
    return signed and has_four_bits(header)


def has_signed_bytes(header: Header) -> bool:
    """Return True if the bytes of mode 0 are signed, by the rules of `find_sample`."""
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


def pixel_counts(header: Header) -> tuple[int, int, int]:
    """Return the pixels in a row, rows and sections; IMOD's 4-bit form stores half of NX."""
    columns, rows, sections = header.n
    return (2 * columns if has_four_bits(header) else columns), rows, sections
