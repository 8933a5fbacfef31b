"""The origin in headers from before 2000, which have zorg, xorg, yorg in place of MAP, stamp, RMS.

Source: IMOD's ``mrc_format`` document. The position of a voxel is index * voxel - origin.
"""

from __future__ import annotations

import math
import struct

from xarray_mrc.codec.decimals import Triple
from xarray_mrc.codec.header import Header, has_map_id

__all__ = ["MISSING_MAP_IDS", "has_doubtful_origin", "old_origin", "stored_origin"]

# Bytes 208 to 211 of files that lack MAP and are otherwise of today: nothing, the characters in the
# other order, or an old name.
MISSING_MAP_IDS = (b"\0\0\0\0", b" PAM", b"STK ")
# Machine stamps by the byte order of the numbers. As floats of this order they are no origins, but
# as floats of the other order they can be: 512.0 is 44 00 00 00 in big endian.
STAMPS = {
    "<": (b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x44\0\0\0"),
    ">": (b"\x11\x11\0\0",),
}
# In angstrom. Integers and texts taken for floats are mostly beyond.
MIN_ORIGIN, MAX_ORIGIN = 1e-6, 1e7


def is_plausible(value: float) -> bool:
    """Return True if a value can be a place in angstrom."""
    return value == 0 or (math.isfinite(value) and MIN_ORIGIN <= abs(value) <= MAX_ORIGIN)


def stored_origin(header: Header) -> Triple | None:
    """Return xorg, yorg, zorg, plausible or not; None if other fields lie in their place."""
    if has_map_id(header) or header.is_standard_version or not any(header.raw[208:220]):
        return None
    has_stamp = header.machst in STAMPS[header.byteorder]
    if has_stamp or (any(header.map_id) and header.map_id in MISSING_MAP_IDS):
        return None
    # ORIGIN is the waves of the old header, two small integers in each float.
    has_new_origin = any(header.origin) and all(map(is_plausible, header.origin))
    z, x, y = struct.unpack_from(f"{header.byteorder}3f", header.raw, 208)
    is_unknown_rms = (x, y, z) == (0, -1, 0)
    return None if has_new_origin or is_unknown_rms else (x, y, z)


def may_be_rms(header: Header) -> bool:
    """Return True if yorg can be the RMS of a header of today that lacks MAP and machine stamp."""
    # A standard deviation is at most half the range.
    largest = (header.dmax - header.dmin) / 2
    has_statistics = header.dmin <= header.dmean <= header.dmax
    return not any(header.raw[208:216]) and has_statistics and 0 < header.rms <= largest


def old_origin(header: Header) -> Triple | None:
    """Return the origin of a header from before 2000.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    tuple of float or None
        xorg, yorg, zorg in angstrom: the place of the cell's zero, seen from the first voxel. None
        if the header is younger, or if its bytes 208 to 219 cannot be an origin: there is a machine
        stamp at byte 212, a value is denormal, not finite or absurdly far, or yorg is the only one
        that is not zero and may be an RMS.

    Examples
    --------
    >>> header = Header.blank().replace(nversion=0, map_id=b"", machst=b"")
    >>> old_origin(header), old_origin(header.replace(rms=12.5))
    (None, (0.0, 12.5, 0.0))
    """
    found = stored_origin(header)
    is_origin = found and all(map(is_plausible, found)) and not may_be_rms(header)
    return found if is_origin else None


def has_doubtful_origin(header: Header) -> bool:
    """Return True if bytes 208 to 219 hold neither MAP nor an origin that is a place.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_doubtful_origin(Header.blank())
    False
    """
    return stored_origin(header) is not None and old_origin(header) is None
