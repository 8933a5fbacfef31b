"""Puts tilt angles into the records of an extended header: those that are there, or new ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.extended import agard, decode_extended, fei, seri
from xarray_mrc.codec.extended.records import BLOCK_NBYTES
from xarray_mrc.codec.extended.table import Column
from xarray_mrc.codec.header import Header
from xarray_mrc.errors import MrcFormatError

__all__ = ["put_tilt_angles"]

# SerialEM's records have hundredths of a degree.
SERI_ROUNDING = 0.00501


def put_tilt_angles(header: Header, raw: bytes, angles: Sequence[float]) -> tuple[Header, bytes]:
    """Return a header and extended header that hold a tilt angle for each section.

    Parameters
    ----------
    header : Header
        The main header.
    raw : bytes
        The extended header.
    angles : sequence of float
        A tilt angle in degrees for each section.

    Returns
    -------
    header : Header
        The same for records with tilt angles (SERI, AGAR, FEI1, FEI2). An extended header of zeros,
        or none, becomes records of SerialEM (SERI).
    raw : bytes
        The extended header, longer than before if its zeros had no room.

    Raises
    ------
    ValueError
        The extended header has another content, or its records cannot hold an angle.

    Examples
    --------
    >>> header, raw = put_tilt_angles(Header.blank().replace(nz=2), b"", [-3.0, 3.0])
    >>> header.exttyp, header.nsymbt, decode_extended(header, raw, 2).common[0].values.tolist()
    (b'SERI', 1024, [-3.0, 3.0])
    """
    wanted = np.array(angles, np.float64)
    found = decode_extended(header, raw, header.nz)
    if header.lskflg == 1:
        raise ValueError(
            "tilt_angle= was passed, but the header has a skew matrix (lskflg is 1) in the bytes "
            "that describe section records: pass lskflg=0 as well if it means nothing"
        )
    if not any(raw):
        header, raw = new_records(header, raw, wanted)
    elif any(field.name == "tilt_angle" for field in found.common):
        raw = PATCHES[found.kind](header, raw, wanted)
    else:
        raise ValueError(
            f"tilt_angle= was passed, but the extended header ({found.kind}, {header.nsymbt} "
            f"bytes) has no tilt angles to replace: write the angles beside the file, with "
            f"to_mrc(..., sidecar='rawtlt')"
        )
    read = decode_extended(header, raw, header.nz).common
    held = next((field.values for field in read if field.name == "tilt_angle"), None)
    if held is None or not np.allclose(held, wanted, rtol=0, atol=SERI_ROUNDING):
        raise ValueError(
            f"tilt_angle= was passed, but the records of the extended header ({found.kind}) cannot "
            f"hold the angles {wanted.min():g} to {wanted.max():g}"
        )
    return header, raw


def new_records(header: Header, raw: bytes, angles: NDArray[np.float64]) -> tuple[Header, bytes]:
    """Return SerialEM's records in place of zeros, and the header that describes them."""
    bits, encoded = seri.encode({"tilt_angle": angles}, header.nz)
    if not bits:
        raise ValueError(
            f"tilt_angle= has {angles.min():g} to {angles.max():g} degrees, expected -180 to 180"
        )
    if header.byteorder == ">":
        encoded = np.frombuffer(encoded, "<i2").astype(">i2").tobytes()
    nbytes = max(len(raw), -(-len(encoded) // BLOCK_NBYTES) * BLOCK_NBYTES)
    fields = {"exttyp": b"SERI", "nint": seri.bytes_per_section(bits), "nreal": bits}
    return header.replace(nsymbt=nbytes, **fields), encoded.ljust(nbytes, b"\0")


def patch_seri(header: Header, raw: bytes, angles: NDArray[np.float64]) -> bytes:
    """Put angles into SerialEM's records, in hundredths of a degree."""
    column = tilt_column(seri.fields_of(header.nreal))
    buffer = bytearray(raw)
    for number, angle in enumerate(np.rint(angles * column.per).astype(int).tolist()):
        place = number * header.nint + column.offset
        struct.pack_into(f"{header.byteorder}h", buffer, place, angle)
    return bytes(buffer)


def patch_agard(header: Header, raw: bytes, angles: NDArray[np.float64]) -> bytes:
    """Put angles into Agard's records, as the first float of each."""
    integers, floats = agard.counts(header)
    if header.exttyp[:3] == b"FEI":  # Warp's name for records of floats only
        integers, floats = 0, agard.OLD_FEI_REALS
    buffer = bytearray(raw)
    for number, angle in enumerate(angles.tolist()):
        place = 4 * (number * (integers + floats) + integers)
        struct.pack_into(f"{header.byteorder}f", buffer, place, angle)
    return bytes(buffer)


def patch_fei(header: Header, raw: bytes, angles: NDArray[np.float64]) -> bytes:
    """Put angles into FEI's records, and mark them as valid."""
    order = fei.record_order(header, raw)
    records = fei.find_records(raw, header.nz, order)
    if isinstance(records, str):  # the reason why they are not FEI's
        raise MrcFormatError(f"the extended header has no records of FEI: {records}")
    column = tilt_column(fei.COLUMNS)
    mask, bit = fei.MASKS[column.bit[0]], column.bit[1]
    buffer = bytearray(raw)
    for (start, _), angle in zip(records, angles.tolist(), strict=True):
        struct.pack_into(f"{order}d", buffer, start + column.offset, angle)
        (bits,) = struct.unpack_from("<I", buffer, start + mask)
        struct.pack_into("<I", buffer, start + mask, bits | 1 << bit)
    return bytes(buffer)


def tilt_column(columns: Sequence[Column]) -> Column:
    """Return the row of a table that is the tilt angle."""
    return next(column for column in columns if column.common == "tilt_angle")


PATCHES = {"SERI": patch_seri, "AGAR": patch_agard, "FEI1": patch_fei, "FEI2": patch_fei}
