"""SerialEM's records: short integers, present or not by one set of bits for the whole file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_mrc.codec.extended.table import (
    Column,
    Extended,
    HeaderFacts,
    SectionField,
    decode,
    own,
    record_dtype,
    shared,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes that each bit of NREAL adds to a record, lowest bit first. The bits from 64 on are
#: reserved: they take room, and what is in it is not known.
SIZES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)

#: The dose is one number in two shorts. SerialEM leaves 0 for a dose that it does not know and
#: never writes a negative one.
_DOSE = "Exposure dose"

COLUMNS = (
    Column(0, "i2", "Tilt angle", (1, 0), "degree", "tilt_angle", per=100, limits=(-180.0, 180.0)),
    Column(0, "u2", "Piece x", (1, 1), "pixel", "piece_x"),
    Column(0, "u2", "Piece y", (1, 1), "pixel", "piece_y"),
    Column(0, "i2", "Piece z", (1, 1), "pixel", "piece_z"),
    Column(0, "i2", "Stage x", (1, 2), "micrometer", "stage_x", per=25),
    Column(0, "i2", "Stage y", (1, 2), "micrometer", "stage_y", per=25),
    # Hundreds up to 65535, which cameras in scanning mode need: no magnification is negative.
    Column(0, "u2", "Magnification", (1, 3), "", "magnification", times=100, zero_is_unknown=True),
    Column(0, "i2", "Intensity", (1, 4), per=25000),
    Column(0, "2i2", _DOSE, (1, 5), "e-/angstrom^2", "dose", limits=(0.0, 1e6)),
)


def bytes_per_section(bits: int) -> int:
    """Add up the sizes of the bits that are set."""
    return sum(size for number, size in enumerate(SIZES) if bits >> number & 1)


def is_declared(header: HeaderFacts) -> bool:
    """Tell whether NINT is the number of bytes that the bits in NREAL ask for."""
    bits = header.nreal
    return 0 < bits < 1 << len(SIZES) and header.nint == bytes_per_section(bits)


def two_shorts(pairs: NDArray[Any]) -> NDArray[np.float64]:
    """Decode numbers that are kept in two short integers.

    Parameters
    ----------
    pairs : ndarray of int16, shape (n, 2)
        The first holds the sign and the upper part of the mantissa, the second its lower eight
        bits and, above them, the power of two; the sign of the second is that of the power.

    Returns
    -------
    ndarray of float64
        The numbers.
    """
    upper, lower = pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32)
    mantissa = np.abs(upper) * 256 + np.abs(lower) % 256
    power = np.where(lower < 0, -1, 1) * (np.abs(lower) // 256)
    signed: NDArray[np.float64] = np.where(upper < 0, -mantissa, mantissa).astype(np.float64)
    numbers: NDArray[np.float64] = np.ldexp(signed, power)
    return numbers


def _layout(bits: int) -> list[Column]:
    """Lay the fields of the bits that are set end to end."""
    laid: list[Column] = []
    start = 0
    for number, size in enumerate(SIZES):
        if not bits >> number & 1:
            continue
        within = start
        for column in COLUMNS:
            if column.bit[1] == number:
                laid.append(replace(column, offset=within))
                within += column.nbytes
        start += size
    return laid


def read(header: HeaderFacts, raw: bytes, sections: int) -> Extended | str:
    """Read the records, or say why the bytes are not SerialEM's.

    Parameters
    ----------
    header : HeaderFacts
        The main header.
    raw : bytes
        The extended header.
    sections : int
        Number of sections in the file.

    Returns
    -------
    Extended or str
        The columns, or the reason against them.
    """
    nbytes = header.nint
    if not is_declared(header):
        return (
            f"the header has {nbytes} bytes per section (NINT) and the bits {header.nreal} "
            "(NREAL), which do not belong together"
        )
    if sections * nbytes > len(raw):
        return (
            f"there are records for {len(raw) // nbytes} sections of {nbytes} bytes each, where "
            f"{sections} are expected"
        )
    columns = _layout(header.nreal)
    records = np.frombuffer(
        raw, record_dtype(columns, nbytes, header.byteorder, {}), count=sections
    )
    common: list[SectionField] = []
    every: list[SectionField] = []
    for column in columns:
        stored = records[column.name]
        if column.name == _DOSE:
            values = two_shorts(stored)
        else:
            decoded = decode(column, stored, column.known(stored))
            if decoded is None:
                continue
            values = decoded
        least, greatest = column.limits
        wrong = (values < least) | (values > greatest)
        if wrong.any():
            section = int(np.argmax(wrong))
            return (
                f"section {section} would have a {column.name.lower()} of {values[section]:g} "
                f"{column.units}, where {least:g} to {greatest:g} is expected"
            )
        every.append(own(column, values))
        common.extend(shared(column, values))
    return Extended("SERI", tuple(common), tuple(every))
