"""The checks of a file: one table that reader, validator and repair go through.

`reading` marks the checks whose finding changes how the file is read; the reader gives these as
its one warning. Ids are those of the validator's report: H header, L labels, S size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xarray_mrc.codec.geometry import FARTHEST, NSTART_LIMIT, RIGHT_ANGLES, cell_angles, true_nstart
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import STACK_SPACE_GROUPS, Layout, symmetry_is_absent
from xarray_mrc.codec.modes import IMOD_FOUR_BITS, has_four_bits
from xarray_mrc.codec.recognition import stamp_order

__all__ = ["CHECKS", "Check", "Facts", "reading_notes"]

Severity = Literal["error", "warning", "info"]
ENDIAN = {"<": "little", ">": "big"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file when it is checked.

    Attributes
    ----------
    header : Header
        The header, in the byte order that was found.
    layout : Layout
        How the data are read.
    size : int or None
        Bytes of the file, decompressed; None if not known.
    extended_problem : str
        What is wrong with the extended header, or "".
    """

    header: Header
    layout: Layout
    size: int | None = None
    extended_problem: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `test` gives a sentence on what was found and expected, or None."""

    id: str
    severity: Severity
    reading: bool
    title: str
    test: Callable[[Facts], str | None]


def reading_notes(facts: Facts) -> list[str]:
    """Give the sentences of all checks that changed how the file is read.

    Parameters
    ----------
    facts : Facts
        What is known of the file.

    Returns
    -------
    list of str

    Examples
    --------
    >>> header = Header.blank().replace(nx=1, ny=1, nz=1, mode=2, machst=bytes((17, 17, 0, 0)))
    >>> reading_notes(Facts(header, Layout.from_header(header)))[0][:29]
    'the machine stamp 11 11 00 00'
    """
    found = (check.test(facts) for check in CHECKS if check.reading)
    return [sentence for sentence in found if sentence]


def lying_stamp(facts: Facts) -> str | None:
    header = facts.header
    named = stamp_order(header)
    if named is None or named == header.byteorder:
        return None
    return (
        f"the machine stamp {header.machst.hex(' ')} says {ENDIAN[named]} endian, but the numbers "
        f"are {ENDIAN[header.byteorder]} endian and were read so"
    )


def axis_map(facts: Facts) -> str | None:
    if sorted(facts.header.mapcrs) == [1, 2, 3]:
        return None
    return (
        f"the axes of columns, rows and sections are {facts.header.mapcrs}, expected a permutation "
        f"of 1, 2, 3; they were taken as 1, 2, 3"
    )


def grid(facts: Facts) -> str | None:
    if min(facts.header.m) >= 0:
        return None
    return (
        f"the grid intervals mx, my, mz are {facts.header.m}, expected none to be negative; along "
        f"a negative one the voxel size is unknown"
    )


def cell_lengths(facts: Facts) -> str | None:
    if all(math.isfinite(v) and v >= 0 for v in facts.header.cella):
        return None
    return (
        f"the cell lengths are {facts.header.cella}, expected none to be negative, infinite or "
        f"nan; along such a one the voxel size is unknown"
    )


def cell_corners(facts: Facts) -> str | None:
    angles = facts.header.cellb
    if not any(angles) or cell_angles(facts.header) != RIGHT_ANGLES:
        return None
    if angles == RIGHT_ANGLES:
        return None
    return f"the cell angles {angles} make no cell; they were taken as 90, 90, 90 degrees"


def stack_divides(facts: Facts) -> str | None:
    header = facts.header
    if header.ispg not in STACK_SPACE_GROUPS or facts.layout.kind == "volume_stack":
        return None
    return (
        f"space group {header.ispg} says a volume stack, but nz={header.nz} is no multiple of "
        f"mz={header.mz}; it was read as {facts.layout.kind.replace('_', ' ')}"
    )


def nstart(facts: Facts) -> str | None:
    start = facts.header.nstart
    if not any(start) or true_nstart(facts.header) is not None:
        return None
    return (
        f"NXSTART, NYSTART, NZSTART are {start}, expected at most {NSTART_LIMIT} times the grid; "
        f"they were taken as 0"
    )


def origin(facts: Facts) -> str | None:
    if all(math.isfinite(v) and abs(v) <= FARTHEST for v in facts.header.origin):
        return None
    return f"ORIGIN is {facts.header.origin}, which is no place in angstrom; it was left out"


def byte_sign(facts: Facts) -> str | None:
    header = facts.header
    if facts.layout.sample.stored != "i1" or not header.dmin <= header.dmax or header.dmax <= 127:
        return None
    return (
        f"the bytes (mode 0) are signed by the rules of the format, but the header's greatest "
        f"density is {header.dmax:g}, expected at most 127; pass signed=False to read 0 to 255"
    )


def scaled_bytes(facts: Facts) -> str | None:
    header = facts.header
    if header.mode != 0 or (header.imod_flags, header.scale_top) != (-128, 127):
        return None
    slope = (header.dmax - header.dmin) / 255
    base = (header.dmin + header.dmax + slope) / 2
    return (
        f"the bytes are a map scaled to -128..127 (by mapmode2to0 or MAPMAN) and are given as they "
        f"are; density = {slope:.7g} * data + {base:.7g}"
    )


def packed_by_label(facts: Facts) -> str | None:
    header = facts.header
    flagged = header.has_imod_stamp and header.imod_flags & IMOD_FOUR_BITS
    if not has_four_bits(header) or flagged:
        return None
    return (
        f"the label says '4 bits packed' and nx={header.nx}, ny={header.ny} is half a camera's "
        f"width; each byte was read as two pixels"
    )


def symmetry(facts: Facts) -> str | None:
    if not symmetry_is_absent(facts.header, facts.size, facts.layout.nbytes):
        return None
    return (
        f"nsymbt says {facts.header.nsymbt} bytes of symmetry records, but the file has just its "
        f"header and data; the data were read from byte 1024"
    )


def sections(facts: Facts) -> str | None:
    volumes, depth = facts.layout.stored[:2]
    if volumes * depth == facts.header.nz:
        return None
    return f"the file is cut off: {volumes * depth} of {facts.header.nz} sections are there"


def trailing(facts: Facts) -> str | None:
    end = facts.layout.offset + facts.layout.nbytes
    if facts.size is None or facts.size <= end or sections(facts):
        return None
    return (
        f"the file has {facts.size - end} bytes more than the header describes; they were left out"
    )


def extended(facts: Facts) -> str | None:
    return facts.extended_problem or None


CHECKS = (
    Check("H04", "error", True, "machine stamp agrees with the byte order", lying_stamp),
    Check("H08", "error", True, "grid intervals are not negative", grid),
    Check("H09", "error", True, "cell lengths are finite and not negative", cell_lengths),
    Check("H10", "warning", True, "cell angles make a cell", cell_corners),
    Check("H11", "error", True, "axes are a permutation of 1, 2, 3", axis_map),
    Check("H14", "error", True, "a volume stack has whole volumes", stack_divides),
    Check("H18", "warning", True, "the first grid point is plausible", nstart),
    Check("H19", "error", True, "ORIGIN is a place", origin),
    Check("H22", "warning", True, "the sign of bytes fits the densities", byte_sign),
    Check("H31", "warning", True, "bytes are not a scaled map", scaled_bytes),
    Check("H32", "warning", True, "4-bit pixels are flagged, not just labelled", packed_by_label),
    Check("S01", "error", True, "all sections are there", sections),
    Check("S02", "warning", True, "symmetry records that NSYMBT claims are there", symmetry),
    Check("S03", "warning", True, "the file ends with the data", trailing),
    Check("X01", "warning", True, "the extended header is of its type", extended),
)
