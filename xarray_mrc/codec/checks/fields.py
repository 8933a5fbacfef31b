"""The checks of the header's fields."""

from __future__ import annotations

import math
from typing import Any

from xarray_mrc.codec.checks.base import (
    ENDIAN,
    ERROR,
    EXTENDED_TYPES,
    INFO,
    WARNING,
    Check,
    Facts,
    Test,
    when,
)
from xarray_mrc.codec.decimals import FARTHEST
from xarray_mrc.codec.extended import operator_counts
from xarray_mrc.codec.geometry import (
    NSTART_LIMIT,
    RIGHT_ANGLES,
    cell_angles,
    has_opposite_origin,
    true_nstart,
)
from xarray_mrc.codec.header import STAMP_ORDERS, Header, has_map_id, stamp_order
from xarray_mrc.codec.kinds import STACK_SPACE_GROUPS
from xarray_mrc.codec.modes import MODES, describe_mode
from xarray_mrc.codec.old_header import MISSING_MAP_IDS, has_doubtful_origin, old_origin
from xarray_mrc.codec.samples import has_four_bit_flag, has_four_bits, is_signed_four_bits

__all__ = ["FIELD_CHECKS"]

STANDARD_MODES = (0, 1, 2, 3, 4, 6, 12, 101)
MODES_OF_20141 = (12, 101)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# Bytes without a meaning, those that have one for IMOD only, and for mapmode2to0 as well.
UNUSED: tuple[tuple[int, int], ...] = ((98, 104), (112, 128))
IMOD_ONLY = ((132, 152), (164, 196))
IMOD_OR_SCALE = ((152, 164),)
MAX_PIXELS = 2**63
STAMPS = {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}


def lying_stamp(facts: Facts) -> str | None:
    header = facts.header
    named = stamp_order(header)
    if named is None or named == header.byteorder:
        return None
    return (
        f"the machine stamp {header.machst.hex(' ')} says {ENDIAN[named]} endian, but the numbers "
        f"are {ENDIAN[header.byteorder]} endian and were read so"
    )


def cell_corners(facts: Facts) -> str | None:
    angles = facts.header.cellb
    valid = angles == RIGHT_ANGLES or cell_angles(facts.header) != RIGHT_ANGLES
    if valid or not any(angles):
        return None
    return f"the cell angles {angles} make no cell; they were taken as 90, 90, 90 degrees"


def cell_lengths(facts: Facts) -> tuple[float, ...]:
    """Return the cell lengths that have a meaning; a single image has none along z."""
    is_image = facts.layout is not None and facts.layout.kind == "image"
    return facts.header.cella[:2] if is_image else facts.header.cella


def impossible_cell(facts: Facts) -> str | None:
    if all(math.isfinite(length) and length >= 0 for length in cell_lengths(facts)):
        return None
    return (
        f"the cell lengths are {facts.header.cella}, expected none to be negative, infinite or "
        f"nan; along such an axis the voxel size is unknown"
    )


def volume_header(facts: Facts) -> str | None:
    header, layout = facts.header, facts.layout
    if layout is None or layout.kind != "image_stack" or header.ispg == 0:
        return None
    return (
        f"the file is an image stack by its name, but the space group is {header.ispg}, as of a "
        f"volume; programs that ignore the name read a volume"
    )


def stack_divides(facts: Facts) -> str | None:
    header, layout = facts.header, facts.layout
    if header.ispg not in STACK_SPACE_GROUPS or (header.mz > 0 and header.nz % header.mz == 0):
        return None
    kind = layout.kind.replace("_", " ") if layout else "nothing"
    return (
        f"space group {header.ispg} says a volume stack, but nz={header.nz} is no multiple of "
        f"mz={header.mz}; it was read as {kind}"
    )


def far_nstart(facts: Facts) -> str | None:
    start = facts.header.nstart
    if not any(start) or true_nstart(facts.header) is not None:
        return None
    return (
        f"NXSTART, NYSTART, NZSTART are {start}, expected at most {NSTART_LIMIT} times the grid; "
        f"they were taken as 0"
    )


def byte_sign(facts: Facts) -> str | None:
    header, layout = facts.header, facts.layout
    if layout is None or layout.sample.stored != "i1" or facts.sign_is_given:
        return None
    if not header.dmin <= header.dmax or header.dmax <= 127:
        return None
    return (
        f"the bytes (mode 0) are signed by the rules of the format, but the header's greatest "
        f"density is {header.dmax:g}, expected at most 127; pass signed=False to read 0 to 255"
    )


def unsigned_bytes(facts: Facts) -> str | None:
    header, layout = facts.header, facts.layout
    if header.mode != 0 or layout is None or layout.sample.stored != "u1" or layout.sample.packed:
        return None
    return "the bytes (mode 0) are unsigned, which only IMOD's flags can say; mode 6 can hold them"


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
    if not has_four_bits(header) or has_four_bit_flag(header):
        return None
    return (
        f"the label says '4 bits packed' and nx={header.nx}, ny={header.ny} is half a camera's "
        f"width; each byte was read as two pixels"
    )


def extended_header(*types: bytes) -> Test:
    """Make the test of the extended header for some of its types; of none: for all others."""
    named = (b"CCP4", b"FEI1", b"FEI2", b"SERI", b"AGAR")

    def test(facts: Facts) -> str | None:
        exttyp = facts.header.exttyp
        mine = exttyp in types if types else exttyp not in named
        return facts.extended.problem if mine and facts.extended.problem else None

    return test


def other_records(*types: bytes) -> Test:
    """Make the test that records of some types are not those of another one."""

    def test(facts: Facts) -> str | None:
        exttyp, found = facts.header.exttyp, facts.extended.kind
        if exttyp not in types or found in ("none", "unknown", exttyp.decode("ascii")):
            return None
        return f"exttyp is {exttyp!r}, but the records are those of {found}, and were read so"

    return test


def uncounted_records(facts: Facts) -> str | None:
    header = facts.header
    uncounted = header.exttyp == b"AGAR" and header.nsymbt > 0 and header.nint == header.nreal == 0
    if not uncounted or facts.extended.problem:  # which says so
        return None
    return (
        f"nint and nreal are 0, expected the numbers of integers and floats for each section in "
        f"the {header.nsymbt} bytes of the extended header"
    )


def operators(facts: Facts) -> str | None:
    group, found = facts.header.ispg, facts.extended.symmetry
    group -= STACK_SPACE_GROUPS[0] - 1 if group in STACK_SPACE_GROUPS else 0
    if not found or not 1 <= group <= 230:
        return None
    expected = operator_counts(group)
    if len(found) in expected and len(set(found)) == len(found):
        return None
    return (
        f"there are {len(found)} symmetry operators, {len(set(found))} of them different, expected "
        f"{' or '.join(map(str, expected))} in space group {group}"
    )


def decimals(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)


def is_skew(header: Header) -> bool:
    matrix = header.skew_matrix
    return any(header.skew_translation) or (any(matrix) and matrix != IDENTITY)


def sampling(header: Header) -> str:
    return f"nz is {header.nz} and mz {header.mz}"


def unused_words(facts: Facts) -> str | None:
    header = facts.header
    if header.lskflg == 1:
        return None  # a skew transformation fills words 26 to 37
    ranges = UNUSED
    if not header.has_imod_stamp:
        ranges += IMOD_ONLY
        ranges += () if scaled_bytes(facts) else IMOD_OR_SCALE
    found = [
        start + at for start, end in ranges for at, byte in enumerate(header.raw[start:end]) if byte
    ]
    if not found:
        return None
    return f"bytes that have no meaning are not zero, the first of them byte {min(found)}"


def missing_map_id(header: Header) -> str:
    old = " (the header is from before 2000 and has its origin there)" if old_origin(header) else ""
    return f"byte 208 has {header.map_id!r}, expected b'MAP '{old}"


def map_id(facts: Facts) -> dict[str, Any]:
    header = facts.header
    known = has_map_id(header) or header.map_id in MISSING_MAP_IDS
    return {"map_id": b"MAP "} if known else {}


def stamp(facts: Facts) -> dict[str, Any]:
    header = facts.header
    if not map_id(facts):
        return {}
    if stamp_order(header) == header.byteorder:
        return {"machst": header.machst[:2] + b"\0\0"}
    return {"machst": STAMPS[header.byteorder]}


def version(facts: Facts) -> dict[str, Any]:
    header = facts.header
    # With a skew transformation these bytes are a part of its matrix.
    standard = header.mode in STANDARD_MODES and header.lskflg != 1
    return {"nversion": 20141} if standard else {}


def image_sampling(facts: Facts) -> dict[str, Any]:
    header = facts.header
    certain = header.ispg == 0 and header.mz == 0 and min(header.mx, header.my) > 0
    return {"mz": 1} if certain else {}


def right_angles(facts: Facts) -> dict[str, Any]:
    return {} if any(facts.header.cellb) else {"cellb": RIGHT_ANGLES}


def plain_axes(facts: Facts) -> dict[str, Any]:
    return {} if any(facts.header.mapcrs) else {"mapc": 1, "mapr": 2, "maps": 3}


def no_origin(facts: Facts) -> dict[str, Any]:
    finite = all(math.isfinite(value) for value in facts.header.origin)
    return {} if finite else {"origin": (0.0, 0.0, 0.0)}


def symmetry_type(facts: Facts) -> dict[str, Any]:
    header = facts.header
    certain = facts.extended.kind == "CCP4" and not any(header.exttyp) and header.lskflg == 0
    return {"exttyp": b"CCP4"} if certain else {}


# fmt: off
FIELD_CHECKS: tuple[Check, ...] = (
    Check("H43", ERROR, False, "the file is an MRC file", lambda facts: facts.not_mrc or None),
    Check("H02", ERROR, False, "MAP is at byte 208", when(
        lambda h: not has_map_id(h), missing_map_id), map_id),
    Check("H49", WARNING, True, "the origin of a header from before 2000 is plausible", when(
        has_doubtful_origin,
        lambda h: f"bytes 208 to 219 are {h.raw[208:220].hex(' ')}, expected 'MAP ', or the origin "
                  f"of a header from before 2000; they were left out")),
    Check("H33", WARNING, False, "MAP ends in a blank", when(
        lambda h: has_map_id(h) and h.map_id != b"MAP ",
        lambda h: f"byte 208 has {h.map_id!r}, expected b'MAP '"), map_id),
    Check("H03", ERROR, False, "the machine stamp is a known one", when(
        lambda h: h.machst[:2] not in STAMP_ORDERS or any(h.machst[2:]),
        lambda h: f"the machine stamp is {h.machst.hex(' ')}, expected 44 44 00 00 (little "
                  f"endian), 44 41 00 00 or 11 11 00 00 (big endian)"), stamp),
    Check("H04", ERROR, True, "the machine stamp agrees with the byte order", lying_stamp, stamp),
    Check("H05", ERROR, False, "the mode is known", when(
        lambda h: h.mode not in MODES,
        lambda h: f"mode is {describe_mode(h.mode)}, expected one of {STANDARD_MODES}")),
    Check("H34", WARNING, False, "the mode is in the standard", when(
        lambda h: h.mode in MODES and h.mode not in STANDARD_MODES,
        lambda h: f"mode is {h.mode}, which IMOD and SerialEM know, expected {STANDARD_MODES}")),
    Check("H06", WARNING, False, "NVERSION is that of MRC2014", when(
        lambda h: not h.is_standard_version,
        lambda h: f"nversion is {h.nversion}, expected 20140 or 20141"), version),
    Check("H39", WARNING, False, "NVERSION knows the mode", when(
        lambda h: h.nversion == 20140 and h.mode in MODES_OF_20141,
        lambda h: f"mode {h.mode} came with version 20141, but nversion is {h.nversion}"), version),
    Check("H07", ERROR, False, "the size is positive", when(
        lambda h: min(h.n) < 1 or math.prod(h.n) >= MAX_PIXELS,
        lambda h: f"nx, ny, nz are {h.n}, expected 1 or more, and no more pixels than fit a file")),
    Check("H08", ERROR, True, "grid intervals are not negative", when(
        lambda h: min(h.m) < 0,
        lambda h: f"the grid intervals mx, my, mz are {h.m}, expected none to be negative; along a "
                  f"negative one the voxel size is unknown")),
    Check("H35", WARNING, False, "grid intervals are not 0", when(
        lambda h: min(h.m) == 0,
        lambda h: f"the grid intervals mx, my, mz are {h.m}, expected 1 or more"), image_sampling),
    Check("H09", ERROR, True, "cell lengths are finite and not negative", impossible_cell),
    Check("H40", WARNING, False, "cell lengths are not 0", lambda facts: (
        f"the cell lengths are {facts.header.cella}, expected above 0"
        if 0 in cell_lengths(facts) else None)),
    Check("H10", WARNING, True, "cell angles form a cell", cell_corners,
        refuses_edit=True),
    Check("H41", WARNING, False, "cell angles are set, and are 90 degrees except in crystals", when(
        lambda h: (h.ispg in (0, 1) or not any(h.cellb)) and h.cellb != RIGHT_ANGLES,
        lambda h: f"the cell angles are {h.cellb}, expected 90, 90, 90 in space group {h.ispg}"),
        right_angles),
    Check("H11", ERROR, True, "the axes are a permutation of 1, 2, 3", when(
        lambda h: sorted(h.mapcrs) != [1, 2, 3],
        lambda h: f"the axes of columns, rows and sections are {h.mapcrs}, expected a permutation "
                  f"of 1, 2, 3; they were taken as 1, 2, 3"), plain_axes),
    Check("H12", INFO, False, "the axes of images and volume stacks are X, Y, Z", when(
        lambda h: (h.ispg == 0 or h.ispg in STACK_SPACE_GROUPS) and h.mapcrs != (1, 2, 3),
        lambda h: f"the axes are {h.mapcrs}, expected (1, 2, 3) in space group {h.ispg}")),
    Check("H13", WARNING, False, "the space group exists", when(
        lambda h: not (0 <= h.ispg <= 230 or h.ispg in STACK_SPACE_GROUPS),
        lambda h: f"the space group is {h.ispg}, expected 0 to 230 or 401 to 630"),
        refuses_edit=True),
    Check("H14", ERROR, True, "the sections of a volume stack make whole volumes", stack_divides),
    Check("H15", INFO, False, "MZ of an image stack is 1", when(
        lambda h: h.ispg == 0 and h.nz > 1 and h.mz != 1,
        lambda h: f"{sampling(h)}, expected mz 1 of an image stack (space group 0)")),
    Check("H16", INFO, False, "a volume fills its cell", when(
        lambda h: h.ispg == 1 and h.mapcrs == (1, 2, 3) and h.mz != h.nz,
        lambda h: f"{sampling(h)}, which is a part of a cell, or an image stack")),
    Check("H17", INFO, False, "the space group of a volume is not 0", when(
        lambda h: h.ispg == 0 and h.mz == h.nz > 1,
        lambda h: f"{sampling(h)}, which looks like a volume, but the space group is 0")),
    Check("H50", INFO, False, "the header of an image stack is not that of a volume",
        volume_header),
    Check("H18", WARNING, True, "NSTART is plausible", far_nstart,
        refuses_edit=True),
    Check("H19", ERROR, True, "ORIGIN is a position", when(
        lambda h: not all(math.isfinite(v) and abs(v) <= FARTHEST for v in h.origin),
        lambda h: f"ORIGIN is {h.origin}, which is not a position in angstrom; it was ignored"),
        no_origin),
    Check("H36", WARNING, False, "ORIGIN and NSTART are not both set", when(
        lambda h: any(h.origin) and any(h.nstart),
        lambda h: f"ORIGIN is {h.origin} and NSTART {h.nstart}; programs differ in their choice")),
    Check("H20", INFO, False, "ORIGIN is in angstrom", when(
        lambda h: any(h.origin) and h.cella[:2] == h.m[:2] and h.origin[:2] == (h.nx / 2, h.ny / 2),
        lambda h: f"ORIGIN is {h.origin}, half the size in pixels, with a voxel size of 1")),
    Check("H21", INFO, False, "ORIGIN has the sign of the standard", when(
        lambda h: any(h.origin) and has_opposite_origin(h),
        lambda h: f"ORIGIN is {h.origin} in IMOD's sign, the opposite of the standard's")),
    Check("H22", WARNING, True, "the sign of bytes agrees with the header's range", byte_sign),
    Check("H37", WARNING, False, "bytes are signed", unsigned_bytes),
    Check("H31", WARNING, True, "bytes are not a scaled map", scaled_bytes),
    Check("H32", WARNING, True, "4-bit pixels are flagged, not just labelled", packed_by_label),
    Check("H44", ERROR, False, "IMOD's flags do not contradict each other", when(
        is_signed_four_bits,
        lambda h: f"IMOD's flags are {h.imod_flags}: bytes are signed, and hold two 4-bit pixels "
                  f"each; expected only one of the two")),
    Check("H23", INFO, False, "unused words are zero", unused_words),
    Check("H25", WARNING, False, "the extended header has a known type", when(
        lambda h: h.nsymbt > 0 and h.exttyp not in EXTENDED_TYPES,
        lambda h: f"exttyp is {h.exttyp!r}, expected one of {EXTENDED_TYPES}"), symmetry_type),
    Check("H26", WARNING, True, "symmetry records can be decoded", extended_header(b"CCP4")),
    Check("H45", WARNING, False, "there are as many symmetry operators as the space group has",
        operators),
    Check("H27", ERROR, True, "FEI records can be decoded", extended_header(b"FEI1", b"FEI2")),
    Check("H46", ERROR, False, "records of type FEI1 or FEI2 have its size",
        other_records(b"FEI1", b"FEI2")),
    Check("H28", WARNING, True, "SerialEM records can be decoded", extended_header(b"SERI")),
    Check("H47", WARNING, False, "records of type SERI are SerialEM's", other_records(b"SERI")),
    Check("H29", WARNING, True, "Agard records can be decoded", extended_header(b"AGAR")),
    Check("H48", WARNING, False, "Agard records state NINT and NREAL", uncounted_records),
    Check("H38", WARNING, True, "other extended headers match their type", extended_header()),
    Check("H30", WARNING, False, "no skew matrix overlaps EXTTYP", when(
        lambda h: h.lskflg == 1 and h.exttyp.isalnum(),
        lambda h: f"lskflg is 1, so that words 26 to 34 are a matrix, but exttyp is {h.exttyp!r}")),
    Check("H42", WARNING, True, "there is no skew transformation", when(
        lambda h: h.lskflg == 1 and is_skew(h),
        lambda h: f"a skew transformation is set (matrix {decimals(h.skew_matrix)}, translation "
                  f"{decimals(h.skew_translation)} angstrom), but positions are without it")),
)
# fmt: on
