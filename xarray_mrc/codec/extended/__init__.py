"""Extended headers: the bytes between the main header and the data, decoded as section metadata.

The type that a file names is a hint. Each reader tests the bytes, and returns either columns or
the reason against them. If the bytes do not fit their type, the file is read without these
coordinates and with one sentence in the warning.
"""

from __future__ import annotations

import numpy as np

from xarray_mrc.codec.extended import agard, fei, seri, symmetry
from xarray_mrc.codec.extended.symmetry import operator_counts
from xarray_mrc.codec.extended.table import COMMON_UNITS, Extended, SectionField
from xarray_mrc.codec.header import Header

__all__ = [
    "COMMON_UNITS",
    "Extended",
    "SectionField",
    "decode_extended",
    "operator_counts",
    "per_section",
    "useful_nbytes",
]

_PER_SECTION = frozenset({b"SERI", b"AGAR", b"FEI1", b"FEI2"})
_NAMED = _PER_SECTION | {b"CCP4", b"MRCO", b"HDF5", b"JSON"}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# A longer extended header is read only as far as there are records for sections. It has no symmetry
# operators: no space group has more than 192.
_SHORT_NBYTES = 2**20


def per_section(exttyp: bytes) -> bool:
    """Return True if a type of extended header has one record per section.

    Parameters
    ----------
    exttyp : bytes
        The four bytes of the name.

    Returns
    -------
    bool
        True for SERI, AGAR, FEI1 and FEI2.
    """
    return bytes(exttyp) in _PER_SECTION


def useful_nbytes(header: Header, sections: int) -> int:
    """Return how many bytes of an extended header can be decoded: all, or a part of a long one.

    Parameters
    ----------
    header : Header
        The main header.
    sections : int
        Number of sections in the file.

    Returns
    -------
    int
        A file may reserve gigabytes for the records of a few sections.
    """
    if header.nsymbt <= _SHORT_NBYTES:
        return max(0, header.nsymbt)
    if not per_section(header.exttyp):
        return 0
    # No record is longer than that of FEI2, but as NINT and NREAL say.
    longest = max(*fei.SIZES, 4 * (abs(header.nint) + abs(header.nreal)))
    return min(header.nsymbt, max(_SHORT_NBYTES, sections * longest))


def decode_extended(header: Header, raw: bytes, sections: int) -> Extended:
    """Decode an extended header into columns per section and symmetry operators.

    Parameters
    ----------
    header : Header
        The main header.
    raw : bytes
        The bytes of the extended header that are there, as many as `useful_nbytes` says.
    sections : int
        Number of sections in the file.

    Returns
    -------
    Extended
        The credible content. No bytes raise an error: see its `problem`.
    """
    name = header.exttyp
    useful = useful_nbytes(header, sections)
    if header.nsymbt <= 0 or (not raw and (name not in _NAMED or not useful)):
        return Extended("none")
    wanted = useful or header.nsymbt
    if len(raw) < wanted:
        found: Extended | str = f"{len(raw)} bytes are there, where {header.nsymbt} are expected"
    elif sections < 1 and name in _PER_SECTION:
        return Extended("none")
    else:
        with np.errstate(all="ignore"):
            found = _read(header, name, raw[:wanted], sections)
    if isinstance(found, Extended):
        return found
    if name not in _NAMED:
        return Extended("unknown")
    kind = name.decode("ascii")
    return Extended(
        "unknown",
        problem=f"the {kind} extended header is left out of the coordinates: {found}",
    )


def _read(header: Header, name: bytes, raw: bytes, sections: int) -> Extended | str:
    """Read the bytes as the type that the name and numbers of the header point to."""
    if name in (b"FEI1", b"FEI2"):
        found = fei.read(header, raw, sections)
        if isinstance(found, str) and name == b"FEI1":
            # Warp calls its Agard records FEI1.
            other = agard.read_records(header.byteorder, raw, sections, 0, agard.OLD_FEI_REALS)
            found = _if_it_says_something(other, found)
        return found
    if name == b"SERI":
        found = seri.read(header, raw, sections)
        if isinstance(found, str):
            found = _if_it_says_something(agard.read(header, raw, sections), found)
        if isinstance(found, str) and (header.nint, header.nreal) == (0, 0) and not any(raw):
            return Extended("SERI")
        return found
    if name == b"AGAR":
        return agard.read(header, raw, sections)
    if name == b"HDF5":
        if raw.startswith(_HDF5_SIGNATURE):
            return Extended("HDF5")
        return f"it begins with {raw[:8]!r}, where the signature of HDF5 is expected"
    if name == b"JSON":
        if _is_json(raw):
            return Extended("JSON")
        return f"it begins with {raw[:8]!r}, where a JSON object or array is expected"
    found = symmetry.read(raw)
    if isinstance(found, Extended) or name == b"CCP4":
        return found
    if name == b"MRCO":
        return found if any(raw) else Extended("MRCO")
    return _read_unnamed(header, raw, sections, found)


def _read_unnamed(header: Header, raw: bytes, sections: int, reason: str) -> Extended | str:
    """Read records from before the types had names, if their form is unmistakable."""
    if header.lskflg == 1 or sections < 1:
        return reason  # NINT and NREAL would lie in the skew matrix
    if seri.is_declared(header):
        return seri.read(header, raw, sections)
    if agard.is_old_fei(header):
        return agard.read(header, raw, sections)
    return reason


def _is_json(raw: bytes) -> bool:
    """Return True if bytes start as JSON does and are UTF-8; they are not parsed."""
    try:
        return raw.decode("utf-8").lstrip().startswith(("{", "["))
    except UnicodeDecodeError:
        return False


def _if_it_says_something(found: Extended | str, reason: str) -> Extended | str:
    """Return a second reading if it found columns, else the reason against the first one."""
    return found if isinstance(found, Extended) and found.all else reason
