"""What mrcfile's `validate` says: its texts, in its order, keyed by the id of the check.

The rules are those of the table of checks as far as mrcfile has them, in its narrower form; the
wording is what users of that library know, and what their programs look for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from xarray_mrc.checking.measurement import NumpyStatistics
from xarray_mrc.codec.checks import CHECKS, Check, Facts, Severity
from xarray_mrc.codec.checks.base import ENDIAN, ERROR, EXTENDED_TYPES
from xarray_mrc.codec.checks.content import rounding_of
from xarray_mrc.codec.header import STAMP_ORDERS, Header, stamp_order
from xarray_mrc.codec.labels import label_slots
from xarray_mrc.codec.layout import STACK_SPACE_GROUPS

__all__ = [
    "MRCFILE_FAILURES",
    "MRCFILE_MODES",
    "MRCFILE_RULES",
    "MrcfileView",
    "mrcfile_findings",
    "mrcfile_problems",
]

MRCFILE_MODES = (0, 1, 2, 4, 6, 12)
MODES_IN_FLOAT32 = (2, 4)
INTEGER_MODES = (0, 1, 6)
RTOL, ATOL = 0.01, 1e-8  # those of numpy.isclose as mrcfile calls it
# Where mrcfile has no text, but fails with an exception.
MRCFILE_FAILURES = ("H01", "C02", "C03")


@dataclass(frozen=True, slots=True)
class MrcfileView:
    """What mrcfile holds of a file, or of an object in memory.

    Attributes
    ----------
    header : Header
        The header.
    data : Plain or None
        Statistics of the data; None if there are none, or they could not be read.
    size : int or None
        Bytes of the file, decompressed; None of an object in memory.
    expected : int or None
        Bytes of header, extended header and data; None if the data could not be read.
    checked : bool
        Whether the data were looked at; if not, nothing is said of statistics.
    """

    header: Header
    data: NumpyStatistics | None
    size: int | None = None
    expected: int | None = None
    checked: bool = True


def map_id(held: MrcfileView) -> Iterator[str]:
    found = held.header.map_id.rstrip(b"\0")
    if found != b"MAP ":
        yield f"Map ID string is incorrect: found {found!r}, should be {b'MAP '!r}"


def stamp(held: MrcfileView) -> Iterator[str]:
    machst = held.header.machst
    if machst[:2] not in STAMP_ORDERS:
        yield f"Invalid machine stamp: {' '.join(f'0x{byte:02x}' for byte in machst)}"


def lying_stamp(held: MrcfileView) -> Iterator[str]:
    named, order = stamp_order(held.header), held.header.byteorder
    if named not in (None, order):
        pretty = " ".join(f"0x{byte:02x}" for byte in held.header.machst)
        yield (
            f"Machine stamp '{pretty}' does not match the apparent byte order '{order}' "
            f"({ENDIAN[order]} endian)"
        )


def mode(held: MrcfileView) -> Iterator[str]:
    if held.header.mode not in MRCFILE_MODES:
        yield f"Invalid mode: {held.header.mode}"


def negative(*names: str) -> Callable[[MrcfileView], Iterator[str]]:
    def problems(held: MrcfileView) -> Iterator[str]:
        for name in names:
            if getattr(held.header, name) < 0:
                yield f"Header field '{name}' is negative"

    return problems


def cell(held: MrcfileView) -> Iterator[str]:
    for axis, length in zip("xyz", held.header.cella, strict=True):
        if length < 0:
            yield f"Cell dimension '{axis}' is negative"


def axes(held: MrcfileView) -> Iterator[str]:
    found = sorted(set(held.header.mapcrs))
    if found != [1, 2, 3]:
        yield f"Invalid axis mapping: found {found}, should be [1, 2, 3]"


def volume_stack(held: MrcfileView) -> Iterator[str]:
    nz, mz = held.header.nz, held.header.mz
    if held.header.ispg in STACK_SPACE_GROUPS and (mz == 0 or nz % mz):
        yield (
            f"Error in dimensions for volume stack: nz should be divisible by mz. "
            f"Found nz = {nz}, mz = {mz})"
        )


def labels(held: MrcfileView) -> Iterator[str]:
    filled = [bool(slot.rstrip(b"\0").strip()) for slot in label_slots(held.header.label_bytes)]
    first_empty = filled.index(False) if False in filled else len(filled)
    for _ in range(sum(filled[first_empty:])):
        yield "Error in header labels: empty labels appear between text-containing labels"
    if sum(filled) != held.header.nlabl:
        yield (
            f"Error in header labels: nlabl is {held.header.nlabl} "
            f"but {sum(filled)} labels contain text"
        )


def version(held: MrcfileView) -> Iterator[str]:
    found = held.header.nversion
    if found not in (20140, 20141):
        yield f"File does not declare MRC format version 20140 or 20141: nversion = {found}"


def extended_type(held: MrcfileView) -> Iterator[str]:
    exttyp = held.header.exttyp.rstrip(b"\0")
    if held.header.nsymbt > 0 and exttyp not in EXTENDED_TYPES:
        text = exttyp.decode("ascii", "backslashreplace")
        yield f"Extended header type is undefined or unrecognised: exttyp = '{text}'"


def inaccurate(name: str, found: object, stated: float) -> str:
    return (
        f"Data statistics appear to be inaccurate: {name} is {found} but the value in the "
        f"header is {stated}"
    )


def is_close(found: float, stated: float, noise: float = 0) -> bool:
    if math.isinf(found) or math.isinf(stated):
        return found == stated
    return abs(found - stated) <= ATOL + RTOL * abs(stated) + noise


def rms(held: MrcfileView) -> Iterator[str]:
    stated = held.header.rms
    if not stated >= 0:
        return
    found, noise = (held.data.rms if held.data else 0), 0.0
    if held.header.mode in MODES_IN_FLOAT32 and abs(found) < float(np.finfo(np.float32).max):
        found = float(np.float32(found))
        noise = rounding_of(found, held.data.low, held.data.high) if held.data else 0.0
    if not is_close(found, stated, noise):
        yield inaccurate("RMS deviation", found, stated)


def extreme(which: str) -> Callable[[MrcfileView], Iterator[str]]:
    def problems(held: MrcfileView) -> Iterator[str]:
        header = held.header
        if not header.dmin < header.dmax:
            return
        stated = header.dmin if which == "minimum" else header.dmax
        found: complex = 0
        if held.data:
            found = held.data.low if which == "minimum" else held.data.high
        if found != stated:
            shown = f"{found.real:.0f}" if header.mode in INTEGER_MODES else found
            yield inaccurate(which, shown, stated)

    return problems


def mean(held: MrcfileView) -> Iterator[str]:
    header = held.header
    # Python's min, whose answer hangs on the order where one of the two is nan.
    if not header.dmean > min(header.dmin, header.dmax):
        return
    found = held.data.mean if held.data else 0
    if not is_close(found, header.dmean):
        yield inaccurate("mean", found, header.dmean)


def unread(held: MrcfileView) -> Iterator[str]:
    if held.size is not None and held.expected is None:
        yield "Data block could not be read - file size not checked"


def file_size(held: MrcfileView) -> Iterator[str]:
    if held.size is not None and held.expected is not None and held.size != held.expected:
        yield (
            f"File is larger than expected. Actual size: {held.size} bytes; expected size: "
            f"{held.expected} bytes (calculated from header)"
        )


MRCFILE_RULES: dict[str, Callable[[MrcfileView], Iterator[str]]] = {
    "H02": map_id,
    "H03": stamp,
    "H04": lying_stamp,
    "H05": mode,
    "H07": negative("nx", "ny", "nz"),
    "H08": negative("mx", "my", "mz"),
    "H13": negative("ispg"),
    "L01": negative("nlabl"),
    "H24": negative("nsymbt"),
    "H09": cell,
    "H11": axes,
    "H14": volume_stack,
    "L02": labels,
    "H06": version,
    "H25": extended_type,
    "D03": rms,
    "D01": extreme("minimum"),
    "D07": extreme("maximum"),
    "D02": mean,
    "S01": unread,
    "S03": file_size,
}


def texts(held: MrcfileView) -> Iterator[tuple[str, str]]:
    """Go through what mrcfile says, in its order, with the id of the check that says it."""
    for id_, problems in MRCFILE_RULES.items():
        if held.checked or not id_.startswith("D"):
            for text in problems(held):
                yield id_, text


def mrcfile_findings(
    facts: Facts, held: MrcfileView | None
) -> Iterator[tuple[Check, Severity, str]]:
    """Run the checks of the profile "mrcfile", as `findings` does; the texts are mrcfile's.

    Parameters
    ----------
    facts : Facts
        What is known of the file.
    held : Held or None
        What mrcfile would hold of it; None if it has no header.
    """
    by_id = {check.id: check for check in CHECKS}
    for failure in MRCFILE_FAILURES:
        if text := by_id[failure].test(facts):
            yield by_id[failure], ERROR, text
    if held is not None:
        for id_, text in texts(held):
            yield by_id[id_], ERROR, text


def mrcfile_problems(held: MrcfileView) -> list[str]:
    """Give what mrcfile's `validate` prints of a file or an object in memory.

    Parameters
    ----------
    held : Held
        Header, statistics of the data and sizes.

    Returns
    -------
    list of str
        In mrcfile's order; empty if it finds the file valid.

    Notes
    -----
    In two things it is right where mrcfile is wrong: the statistics of float16 (and of float32 near
    the end of its range, or of the same number everywhere) are computed in float64, and a machine
    stamp that the numbers contradict is a problem. What makes mrcfile fail with an exception (a
    negative NSYMBT, a volume stack of MZ 0, an EXTTYP that is not ASCII) has a text here. An RMS or
    a mean may differ from mrcfile's in the last digits.

    Examples
    --------
    >>> mrcfile_problems(MrcfileView(Header.blank().replace(nx=-1), None))
    ["Header field 'nx' is negative"]
    """
    return [text for _, text in texts(held)]
