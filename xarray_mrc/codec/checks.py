"""The checks of a file: one table that reader, validator and repair go through.

`reading` marks the checks whose finding changes how the file is read; the reader gives these as
its one warning. Ids begin with H for the header, L labels, S size, D data, C container.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xarray_mrc.codec.containers import SUFFIX_OF
from xarray_mrc.codec.decimals import FARTHEST
from xarray_mrc.codec.geometry import (
    NSTART_LIMIT,
    RIGHT_ANGLES,
    cell_angles,
    has_opposite_origin,
    true_nstart,
)
from xarray_mrc.codec.header import (
    HEADER_SIZE,
    STAMP_ORDERS,
    Header,
    has_map_id,
    stamp_order,
)
from xarray_mrc.codec.labels import LABEL_COUNT, LABEL_SIZE
from xarray_mrc.codec.layout import STACK_SPACE_GROUPS, Layout
from xarray_mrc.codec.modes import MODES
from xarray_mrc.codec.samples import has_four_bit_flag, has_four_bits
from xarray_mrc.codec.statistics import Statistics, stated_statistics

__all__ = ["CHECKS", "Check", "Facts", "reading_notes"]

Severity = Literal["error", "warning", "info"]
Test = Callable[["Facts"], str | None]

ENDIAN = {"<": "little", ">": "big"}
STANDARD_MODES = (0, 1, 2, 3, 4, 6, 12, 101)
MODES_OF_20141 = (12, 101)
EXTENDED_TYPES = (b"CCP4", b"MRCO", b"SERI", b"AGAR", b"FEI1", b"FEI2", b"HDF5")
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file when it is checked.

    Attributes
    ----------
    header : Header
        The header, in the byte order that was found.
    layout : Layout or None
        How the data are read; None if they can't be.
    size : int or None
        Bytes of the file, decompressed; None if not known.
    extended_problem : str
        What is wrong with the extended header, or "".
    sign_is_given : bool
        Whether the user said if bytes are signed.
    data : Statistics or None
        What the data are, where they were read.
    container, suffix : str
        Container by its first bytes ("gzip", ... or ""), and last suffix of the file's name.
    """

    header: Header
    layout: Layout | None = None
    size: int | None = None
    extended_problem: str = ""
    sign_is_given: bool = False
    data: Statistics | None = None
    container: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `test` gives a sentence on what was found and expected, or None."""

    id: str
    severity: Severity
    reading: bool
    title: str
    test: Test


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
    >>> reading_notes(Facts(header))[0][:29]
    'the machine stamp 11 11 00 00'
    """
    found = (check.test(facts) for check in CHECKS if check.reading)
    return [sentence for sentence in found if sentence]


def when(broken: Callable[[Header], bool], text: Callable[[Header], str]) -> Test:
    """Make the test of a rule that looks at the header alone."""
    return lambda facts: text(facts.header) if broken(facts.header) else None


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


def absent_symmetry(facts: Facts) -> str | None:
    layout = facts.layout
    if layout is None or layout.offset > HEADER_SIZE or facts.header.nsymbt <= 0:
        return None
    return (
        f"nsymbt says {facts.header.nsymbt} bytes of symmetry records, but the file has just its "
        f"header and data; the data were read from byte 1024"
    )


def extended_size(facts: Facts) -> str | None:
    claim = facts.header.nsymbt
    room = math.inf if facts.size is None else facts.size - HEADER_SIZE
    if 0 <= claim <= room or absent_symmetry(facts):
        return None
    return f"nsymbt is {claim}, expected 0 to {room}, the bytes that follow the header"


def missing_sections(facts: Facts) -> str | None:
    if facts.layout is None:
        return None
    volumes, depth = facts.layout.stored[:2]
    if volumes * depth == facts.header.nz:
        return None
    return f"the file is cut off: {volumes * depth} of {facts.header.nz} sections were read"


def trailing_bytes(facts: Facts) -> str | None:
    if facts.layout is None or facts.size is None or missing_sections(facts):
        return None
    rest = facts.size - facts.layout.end
    if rest <= 0:
        return None
    return f"the file has {rest} bytes more than the header describes; they were left out"


def extended_header(*types: bytes) -> Test:
    """Make the test of the extended header for some of its types; of none: for all others."""
    named = (b"CCP4", b"FEI1", b"FEI2", b"SERI", b"AGAR")

    def test(facts: Facts) -> str | None:
        exttyp = facts.header.exttyp
        mine = exttyp in types if types else exttyp not in named
        return facts.extended_problem if mine and facts.extended_problem else None

    return test


def label_slots(header: Header) -> list[bytes]:
    raw = header.label_bytes
    return [raw[i * LABEL_SIZE : (i + 1) * LABEL_SIZE] for i in range(LABEL_COUNT)]


def label_count(facts: Facts) -> str | None:
    filled = [bool(slot.strip(b" \0")) for slot in label_slots(facts.header)]
    count = sum(filled)
    if facts.header.nlabl == count and all(filled[:count]):
        return None
    return (
        f"nlabl is {facts.header.nlabl}, but {count} labels hold text, expected these to be first"
    )


def label_text(facts: Facts) -> str | None:
    for number, slot in enumerate(label_slots(facts.header), 1):
        text = slot.rstrip(b" \0")
        if text and not (text.isascii() and text.decode("ascii").isprintable()):
            return f"label {number} is {text!r}, expected printable ASCII"
    return None


def stated_against(which: Literal["minimum", "maximum", "mean", "rms"], rtol: float) -> Test:
    """Make the test of one of the header's statistics against the data."""

    def test(facts: Facts) -> str | None:
        stated = getattr(stated_statistics(facts.header), which)
        if facts.data is None or stated is None or facts.header.mode in (3, 4):
            return None
        found = getattr(facts.data, which)
        scale = max(abs(found), 1e-4 * (facts.data.maximum - facts.data.minimum))
        if abs(stated - found) <= rtol * scale:
            return None
        return f"the header's {which} is {stated:.7g}, but that of the data is {found:.7g}"

    return test


def unknown_statistics(facts: Facts) -> str | None:
    stated = stated_statistics(facts.header)
    unknown = [n for n in ("minimum", "maximum", "mean", "rms") if getattr(stated, n) is None]
    return f"the header does not state {', '.join(unknown)}" if unknown else None


def nonfinite_data(facts: Facts) -> str | None:
    if facts.data is None or facts.data.nonfinite == 0:
        return None
    return f"{facts.data.nonfinite} values are nan or infinite"


def container_suffix(facts: Facts) -> str | None:
    expected = SUFFIX_OF.get(facts.container, "")
    named = facts.suffix.lower() if facts.suffix.lower() in SUFFIX_OF.values() else ""
    if expected == named:
        return None
    return (
        f"the file is {facts.container or 'not compressed'}, but its name ends in {facts.suffix!r}"
    )


def decimals(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)


def is_skew(header: Header) -> bool:
    matrix = header.skew_matrix
    return any(header.skew_translation) or (any(matrix) and matrix != IDENTITY)


def sampling(header: Header) -> str:
    return f"nz is {header.nz} and mz {header.mz}"


E: Severity = "error"
W: Severity = "warning"
INFO: Severity = "info"

# fmt: off
CHECKS: tuple[Check, ...] = (
    Check("H02", E, False, "MAP is at byte 208", when(
        lambda h: not has_map_id(h), lambda h: f"byte 208 has {h.map_id!r}, expected b'MAP '")),
    Check("H33", W, False, "MAP ends in a blank", when(
        lambda h: has_map_id(h) and h.map_id != b"MAP ",
        lambda h: f"byte 208 has {h.map_id!r}, expected b'MAP '")),
    Check("H03", E, False, "the machine stamp is a known one", when(
        lambda h: h.machst[:2] not in STAMP_ORDERS or any(h.machst[2:]),
        lambda h: f"the machine stamp is {h.machst.hex(' ')}, expected 44 44 00 00 (little "
                  f"endian), 44 41 00 00 or 11 11 00 00 (big endian)")),
    Check("H04", E, True, "the machine stamp agrees with the byte order", lying_stamp),
    Check("H05", E, False, "the mode is known", when(
        lambda h: h.mode not in MODES,
        lambda h: f"mode is {h.mode}, expected one of {STANDARD_MODES}")),
    Check("H34", W, False, "the mode is in the standard", when(
        lambda h: h.mode in MODES and h.mode not in STANDARD_MODES,
        lambda h: f"mode is {h.mode}, which IMOD and SerialEM know, expected {STANDARD_MODES}")),
    Check("H06", W, False, "NVERSION is that of MRC2014", when(
        lambda h: not h.is_standard_version,
        lambda h: f"nversion is {h.nversion}, expected 20140 or 20141")),
    Check("H39", W, False, "NVERSION knows the mode", when(
        lambda h: h.nversion == 20140 and h.mode in MODES_OF_20141,
        lambda h: f"mode {h.mode} came with version 20141, but nversion is {h.nversion}")),
    Check("H07", E, False, "the size is positive", when(
        lambda h: min(h.n) < 1, lambda h: f"nx, ny, nz are {h.n}, expected 1 or more")),
    Check("H08", E, True, "grid intervals are not negative", when(
        lambda h: min(h.m) < 0,
        lambda h: f"the grid intervals mx, my, mz are {h.m}, expected none to be negative; along a "
                  f"negative one the voxel size is unknown")),
    Check("H35", W, False, "grid intervals are set", when(
        lambda h: min(h.m) == 0,
        lambda h: f"the grid intervals mx, my, mz are {h.m}, expected 1 or more")),
    Check("H09", E, True, "cell lengths are finite and not negative", when(
        lambda h: not all(math.isfinite(v) and v >= 0 for v in h.cella),
        lambda h: f"the cell lengths are {h.cella}, expected none to be negative, infinite or nan; "
                  f"along such a one the voxel size is unknown")),
    Check("H40", W, False, "cell lengths are set", when(
        lambda h: 0 in h.cella, lambda h: f"the cell lengths are {h.cella}, expected above 0")),
    Check("H10", W, True, "cell angles make a cell", cell_corners),
    Check("H41", W, False, "images and plain volumes have right angles", when(
        lambda h: h.ispg in (0, 1) and h.cellb != RIGHT_ANGLES,
        lambda h: f"the cell angles are {h.cellb}, expected 90, 90, 90 in space group {h.ispg}")),
    Check("H11", E, True, "the axes are a permutation of 1, 2, 3", when(
        lambda h: sorted(h.mapcrs) != [1, 2, 3],
        lambda h: f"the axes of columns, rows and sections are {h.mapcrs}, expected a permutation "
                  f"of 1, 2, 3; they were taken as 1, 2, 3")),
    Check("H12", INFO, False, "images and volume stacks have plain axes", when(
        lambda h: (h.ispg == 0 or h.ispg in STACK_SPACE_GROUPS) and h.mapcrs != (1, 2, 3),
        lambda h: f"the axes are {h.mapcrs}, expected (1, 2, 3) in space group {h.ispg}")),
    Check("H13", W, False, "the space group exists", when(
        lambda h: not (0 <= h.ispg <= 230 or h.ispg in STACK_SPACE_GROUPS),
        lambda h: f"the space group is {h.ispg}, expected 0 to 230 or 401 to 630")),
    Check("H14", E, True, "a volume stack has whole volumes", stack_divides),
    Check("H15", INFO, False, "an image stack has mz 1", when(
        lambda h: h.ispg == 0 and h.nz > 1 and h.mz != 1,
        lambda h: f"{sampling(h)}, expected mz 1 of an image stack (space group 0)")),
    Check("H16", INFO, False, "a volume fills its cell", when(
        lambda h: h.ispg == 1 and h.mapcrs == (1, 2, 3) and h.mz != h.nz,
        lambda h: f"{sampling(h)}, which is a part of a cell, or an image stack")),
    Check("H17", INFO, False, "a volume has a space group", when(
        lambda h: h.ispg == 0 and h.mz == h.nz > 1,
        lambda h: f"{sampling(h)}, which looks like a volume, but the space group is 0")),
    Check("H18", W, True, "the first grid point is plausible", far_nstart),
    Check("H19", E, True, "ORIGIN is a place", when(
        lambda h: not all(math.isfinite(v) and abs(v) <= FARTHEST for v in h.origin),
        lambda h: f"ORIGIN is {h.origin}, which is no place in angstrom; it was left out")),
    Check("H36", W, False, "ORIGIN and NSTART are not both set", when(
        lambda h: any(h.origin) and any(h.nstart),
        lambda h: f"ORIGIN is {h.origin} and NSTART {h.nstart}; programs differ in their choice")),
    Check("H20", INFO, False, "ORIGIN is in angstrom", when(
        lambda h: any(h.origin) and h.cella[:2] == h.m[:2] and h.origin[:2] == (h.nx / 2, h.ny / 2),
        lambda h: f"ORIGIN is {h.origin}, half the size in pixels, with a voxel size of 1")),
    Check("H21", INFO, False, "ORIGIN has the sign of the standard", when(
        lambda h: any(h.origin) and has_opposite_origin(h),
        lambda h: f"ORIGIN is {h.origin} in IMOD's sign, the opposite of the standard's")),
    Check("H22", W, True, "the sign of bytes fits the densities", byte_sign),
    Check("H37", W, False, "bytes are signed", unsigned_bytes),
    Check("H31", W, True, "bytes are not a scaled map", scaled_bytes),
    Check("H32", W, True, "4-bit pixels are flagged, not just labelled", packed_by_label),
    Check("H23", INFO, False, "unused words are zero", when(
        lambda h: h.lskflg != 1 and (any(h.raw[98:104]) or any(h.raw[112:128])),
        lambda h: "there are bytes other than zero in the unused words 25, 26 and 29 to 32")),
    Check("H24", E, False, "the extended header is inside the file", extended_size),
    Check("H25", W, False, "the extended header has a known type", when(
        lambda h: h.nsymbt > 0 and h.exttyp not in EXTENDED_TYPES,
        lambda h: f"exttyp is {h.exttyp!r}, expected one of {EXTENDED_TYPES}")),
    Check("H26", W, True, "symmetry records are such", extended_header(b"CCP4")),
    Check("H27", E, True, "FEI records are such", extended_header(b"FEI1", b"FEI2")),
    Check("H28", W, True, "SerialEM records are such", extended_header(b"SERI")),
    Check("H29", W, True, "Agard records are such", extended_header(b"AGAR")),
    Check("H38", W, True, "other extended headers are of their type", extended_header()),
    Check("H30", W, False, "no skew matrix lies over EXTTYP", when(
        lambda h: h.lskflg == 1 and h.exttyp.isalnum(),
        lambda h: f"lskflg is 1, so that words 26 to 34 are a matrix, but exttyp is {h.exttyp!r}")),
    Check("H42", W, True, "there is no skew transformation", when(
        lambda h: h.lskflg == 1 and is_skew(h),
        lambda h: f"a skew transformation is set (matrix {decimals(h.skew_matrix)}, translation "
                  f"{decimals(h.skew_translation)} angstrom), but positions are without it")),
    Check("L01", E, False, "the number of labels is 0 to 10", when(
        lambda h: not 0 <= h.nlabl <= LABEL_COUNT,
        lambda h: f"nlabl is {h.nlabl}, expected 0 to {LABEL_COUNT}")),
    Check("L02", W, False, "the number of labels is right", label_count),
    Check("L03", W, False, "labels are printable ASCII", label_text),
    Check("S01", E, True, "all sections are there", missing_sections),
    Check("S02", W, True, "symmetry records that NSYMBT claims are there", absent_symmetry),
    Check("S03", W, True, "the file ends with the data", trailing_bytes),
    Check("D01", W, False, "DMIN is that of the data", stated_against("minimum", 1e-6)),
    Check("D07", W, False, "DMAX is that of the data", stated_against("maximum", 1e-6)),
    Check("D02", W, False, "DMEAN is that of the data", stated_against("mean", 0.01)),
    Check("D03", W, False, "RMS is that of the data", stated_against("rms", 0.01)),
    Check("D04", W, False, "the data are finite", nonfinite_data),
    Check("D05", INFO, False, "the statistics are stated", unknown_statistics),
    Check("D06", INFO, False, "a transform has half the columns", when(
        lambda h: h.mode in (3, 4) and h.nx != h.mx // 2 + 1,
        lambda h: f"nx is {h.nx}, expected mx // 2 + 1 = {h.mx // 2 + 1} of a transform")),
    Check("C01", W, False, "the name says the container", container_suffix),
)
# fmt: on
