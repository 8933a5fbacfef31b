"""SerialEM's records: short integers, present or not by one set of bits for the whole file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_mrc.codec.extended.table import (
    Column,
    Extended,
    SectionField,
    decode,
    own,
    record_dtype,
    shared,
)
from xarray_mrc.codec.header import Header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: Bytes that each bit of NREAL adds to a record, lowest bit first. The bits from 64 on are
#: reserved: their bytes are there, with an unknown meaning.
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
    """Return the sum of the sizes of the bits that are set."""
    return sum(size for number, size in enumerate(SIZES) if bits >> number & 1)


def is_declared(header: Header) -> bool:
    """Return True if NINT is the number of bytes that the bits in NREAL need."""
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


def fields_of(bits: int) -> list[Column]:
    """Return the fields of the bits that are set, end to end."""
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


def read(header: Header, raw: bytes, sections: int) -> Extended | str:
    """Read the records, or return why the bytes are not SerialEM's.

    Parameters
    ----------
    header : Header
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
    columns = fields_of(header.nreal)
    records = np.frombuffer(
        raw, record_dtype(columns, nbytes, header.byteorder, {}), count=sections
    )
    common: list[SectionField] = []
    every: list[SectionField] = []
    for column in columns:
        stored = records[column.name]
        if column.name == _DOSE:
            values = two_shorts(stored)
            values[values == 0] = np.nan  # not recorded
            if np.isnan(values).all():
                continue
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


def two_shorts_of(numbers: NDArray[np.float64]) -> NDArray[np.int16]:
    """Encode numbers in two short integers each; the inverse of `two_shorts`.

    Parameters
    ----------
    numbers : ndarray of float64, shape (n,)
        Finite numbers, at most 2**150 in size.

    Returns
    -------
    ndarray of int16, shape (n, 2)
        The mantissa has 23 bits.
    """
    mantissa, exponent = np.frexp(np.abs(numbers))
    whole = np.rint(np.ldexp(mantissa, 23)).astype(np.int64)
    power = exponent.astype(np.int64) - 23
    full = whole == 1 << 23  # rounded up
    whole, power = np.where(full, whole >> 1, whole), power + full
    # The power has seven bits and a sign; smaller numbers lose bits of the mantissa.
    small = np.minimum(np.maximum(-127 - power, 0), 24)
    whole, power = whole >> small, np.maximum(power, -127)
    upper = np.where(numbers < 0, -1, 1) * (whole >> 8)
    lower = np.where(power < 0, -1, 1) * (256 * np.abs(power) + whole % 256)
    known = numbers != 0
    return np.stack([upper * known, lower * known], axis=-1).astype(np.int16)


def encode(fields: Mapping[str, NDArray[Any]], sections: int) -> tuple[int, bytes]:
    r"""Encode columns as records, as far as these have room for them; the inverse of `read`.

    Parameters
    ----------
    fields : mapping of str to ndarray
        One value per section by name: the common name of a field, or the producer's.
    sections : int
        Number of sections.

    Returns
    -------
    bits : int
        The fields that were encoded, for NREAL; NINT is `bytes_per_section` of it. A field is left
        out if it is not complete, or one of its values is out of range or unknown.
    records : bytes
        Little endian, one record per section.

    Examples
    --------
    >>> encode({"tilt_angle": np.array([-60.004, 1.5])}, 2)
    (1, b'\x90\xe8\x96\x00')
    """
    stored: dict[str, NDArray[Any]] = {}
    bits = 0
    for number in range(len(SIZES)):
        columns = [column for column in COLUMNS if column.bit[1] == number]
        found = {column.name: _stored(column, fields) for column in columns}
        if columns and all(values is not None for values in found.values()):
            bits |= 1 << number
            stored |= {name: values for name, values in found.items() if values is not None}
    dtype = record_dtype(fields_of(bits), bytes_per_section(bits), "<", {})
    records = np.zeros(sections, dtype)
    for name, values in stored.items():
        records[name] = values
    return bits, records.tobytes()


def _stored(column: Column, fields: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return the numbers that a record stores for a field, or None if it cannot store them."""
    given = fields.get(column.common or column.identifier, fields.get(column.identifier))
    if given is None or given.dtype.kind not in "biuf":
        return None
    values = given.astype(np.float64)
    if column.zero_is_unknown or column.name == _DOSE:
        values = np.where(np.isnan(values), 0.0, values)
    least, greatest = column.limits
    if not np.isfinite(values).all() or (values < least).any() or (values > greatest).any():
        return None
    if column.name == _DOSE:
        return two_shorts_of(values)
    counts = np.rint(values * column.per / column.times)
    limits = np.iinfo(column.code)
    if (counts < limits.min).any() or (counts > limits.max).any():
        return None
    return counts.astype(column.code)
