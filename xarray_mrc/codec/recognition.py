"""Is it an MRC file, and in which byte order: decided from the numbers, by a score.

The machine stamp is only one voice of many: genuine files carry stamps of zeros, swapped stamps,
or the stamp of the other byte order.
"""

from __future__ import annotations

from xarray_mrc.codec.header import HEADER_SIZE, ByteOrder, Header
from xarray_mrc.codec.modes import FOREIGN_MODES, MODES
from xarray_mrc.errors import MrcFormatError, MrcHeaderError

__all__ = ["STAMP_ORDERS", "find_byteorder", "stamp_order"]

STAMP_ORDERS: dict[bytes, ByteOrder] = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
DELTAVISION_ID = -16224
PLAUSIBLE_LENGTH = 2**20
# A header is believed from this score on: a known mode or a clear axis map, and sizes that fit.
BELIEVED = 7


def stamp_order(header: Header) -> ByteOrder | None:
    """Give the byte order that the machine stamp names, or None if it names none."""
    return STAMP_ORDERS.get(header.machst[:2])


def has_map_id(header: Header) -> bool:
    """Whether the characters MAP are at their place (the fourth may be a blank or NUL)."""
    return header.map_id[:3] == b"MAP"


def score(header: Header, size: int | None) -> int:
    """Say how much the numbers look like an MRC header in the header's byte order."""
    points = 0
    if header.mode in MODES:
        points += 4
    elif header.mode in FOREIGN_MODES:
        points += 2
    axes = sorted(header.mapcrs)
    points += 3 if axes == [1, 2, 3] else 1 if axes == [0, 0, 0] else 0
    points += 2 if all(1 <= n <= PLAUSIBLE_LENGTH for n in header.n) else 0
    points += 1 if 0 <= header.nsymbt <= (PLAUSIBLE_LENGTH if size is None else size) else 0
    points += 2 if stamp_order(header) == header.byteorder else 0
    points += 1 if header.is_standard_version else 0
    if size is not None and header.mode in MODES and min(header.n) > 0:
        row = MODES[header.mode].sample.row_nbytes(header.nx)
        end = HEADER_SIZE + max(header.nsymbt, 0) + row * header.ny * header.nz
        points += 4 if end == size else 2 if end <= size else 0
    return points


def find_byteorder(raw: bytes, size: int | None = None) -> Header:
    """Read 1024 bytes as a header in the byte order in which they make more sense.

    Parameters
    ----------
    raw : bytes
        The 1024 bytes.
    size : int, optional
        Bytes of the whole file, where known.

    Returns
    -------
    Header

    Raises
    ------
    MrcTruncatedError
        There are fewer than 1024 bytes.
    MrcFormatError
        Neither order makes sense, or the file is a DeltaVision file.

    Examples
    --------
    >>> find_byteorder(Header.blank(">").replace(nx=4, ny=3, nz=2).raw).byteorder
    '>'
    """
    little, big = Header(raw, "<"), Header(raw, ">")
    points = {order: score(header, size) for order, header in (("<", little), (">", big))}
    header = big if points[">"] > points["<"] else little
    if DELTAVISION_ID in (little.creatid, big.creatid) and not has_map_id(header):
        raise MrcFormatError(
            f"this is a DeltaVision (.dv, .r3d) file: the id at byte 96 is {DELTAVISION_ID} and "
            f"there is no 'MAP ' at byte 208, expected an MRC file: open it with a reader for "
            f"DeltaVision, such as the package mrc or Bio-Formats"
        )
    if points[header.byteorder] < BELIEVED and not has_map_id(header):
        raise MrcFormatError(
            f"this is not an MRC file: there is no 'MAP ' at byte 208 (found {header.map_id!r}), "
            f"and in neither byte order do the first numbers make a header (little endian: size "
            f"{little.n}, mode {little.mode}, axes {little.mapcrs}; big endian: size {big.n}, "
            f"mode {big.mode}, axes {big.mapcrs})"
        )
    for name, length in zip(("nx", "ny", "nz"), header.n, strict=True):
        if length < 1:
            raise MrcHeaderError(
                f"{name} is {length}, expected 1 or more: the file holds no data, or its header "
                f"is damaged"
            )
    return header
