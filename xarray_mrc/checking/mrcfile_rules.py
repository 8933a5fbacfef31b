"""The rules of mrcfile's `validate`, in its order and its words, by the id of the check.

These are the checks of the table that mrcfile has, in its narrower form. Users of mrcfile know the
texts, and their programs look for them.
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
from xarray_mrc.codec.kinds import STACK_SPACE_GROUPS
from xarray_mrc.codec.labels import label_slots

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
RTOL, ATOL = 0.01, 1e-8  # as mrcfile passes them to numpy.isclose
# Checks of faults for which mrcfile has no text, but raises an exception.
MRCFILE_FAILURES = ("H01", "C02", "C03")


@dataclass(frozen=True, slots=True)
class MrcfileView:
    """The facts that mrcfile has of a file, or of an object in memory.

    Attributes
    ----------
    header : Header
        The header.
    data : NumpyStatistics or None
        Statistics of the data; None if there are no data, or they could not be read.
    size : int or None
        Bytes of the file, decompressed; None for an object in memory.
    expected : int or None
        Bytes of header, extended header and data; None if the data could not be read.
    checked : bool
        Whether the data were measured. If not, the statistics are not checked.
    """

    header: Header
    data: NumpyStatistics | None
    size: int | None = None
    expected: int | None = None
    checked: bool = True


def map_id(view: MrcfileView) -> Iterator[str]:
    found = view.header.map_id.rstrip(b"\0")
    if found != b"MAP ":
        yield f"Map ID string is incorrect: found {found!r}, should be {b'MAP '!r}"


def stamp(view: MrcfileView) -> Iterator[str]:
    machst = view.header.machst
    if machst[:2] not in STAMP_ORDERS:
        yield f"Invalid machine stamp: {' '.join(f'0x{byte:02x}' for byte in machst)}"


def contradicted_stamp(view: MrcfileView) -> Iterator[str]:
    named, order = stamp_order(view.header), view.header.byteorder
    if named not in (None, order):
        pretty = " ".join(f"0x{byte:02x}" for byte in view.header.machst)
        yield (
            f"Machine stamp '{pretty}' does not match the apparent byte order '{order}' "
            f"({ENDIAN[order]} endian)"
        )


def mode(view: MrcfileView) -> Iterator[str]:
    if view.header.mode not in MRCFILE_MODES:
        yield f"Invalid mode: {view.header.mode}"


def negative(*names: str) -> Callable[[MrcfileView], Iterator[str]]:
    def problems(view: MrcfileView) -> Iterator[str]:
        for name in names:
            if getattr(view.header, name) < 0:
                yield f"Header field '{name}' is negative"

    return problems


def cell(view: MrcfileView) -> Iterator[str]:
    for axis, length in zip("xyz", view.header.cella, strict=True):
        if length < 0:
            yield f"Cell dimension '{axis}' is negative"


def axes(view: MrcfileView) -> Iterator[str]:
    found = sorted(set(view.header.mapcrs))
    if found != [1, 2, 3]:
        yield f"Invalid axis mapping: found {found}, should be [1, 2, 3]"


def volume_stack(view: MrcfileView) -> Iterator[str]:
    nz, mz = view.header.nz, view.header.mz
    if view.header.ispg in STACK_SPACE_GROUPS and (mz == 0 or nz % mz):
        yield (
            f"Error in dimensions for volume stack: nz should be divisible by mz. "
            f"Found nz = {nz}, mz = {mz})"
        )


def labels(view: MrcfileView) -> Iterator[str]:
    filled = [bool(slot.rstrip(b"\0").strip()) for slot in label_slots(view.header.label_bytes)]
    first_empty = filled.index(False) if False in filled else len(filled)
    for _ in range(sum(filled[first_empty:])):
        yield "Error in header labels: empty labels appear between text-containing labels"
    if sum(filled) != view.header.nlabl:
        yield (
            f"Error in header labels: nlabl is {view.header.nlabl} "
            f"but {sum(filled)} labels contain text"
        )


def version(view: MrcfileView) -> Iterator[str]:
    found = view.header.nversion
    if found not in (20140, 20141):
        yield f"File does not declare MRC format version 20140 or 20141: nversion = {found}"


def extended_type(view: MrcfileView) -> Iterator[str]:
    exttyp = view.header.exttyp.rstrip(b"\0")
    if view.header.nsymbt > 0 and exttyp not in EXTENDED_TYPES:
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


def rms(view: MrcfileView) -> Iterator[str]:
    stated = view.header.rms
    if not stated >= 0:
        return
    found, noise = (view.data.rms if view.data else 0), 0.0
    is_float32 = view.header.mode in MODES_IN_FLOAT32
    if view.data and is_float32 and abs(found) < float(np.finfo(np.float32).max):
        found = float(np.float32(found))
        noise = rounding_of(found, view.data.low, view.data.high)
    if not is_close(found, stated, noise):
        yield inaccurate("RMS deviation", found, stated)


def extreme(which: str) -> Callable[[MrcfileView], Iterator[str]]:
    def problems(view: MrcfileView) -> Iterator[str]:
        header = view.header
        if not header.dmin < header.dmax:
            return
        stated = header.dmin if which == "minimum" else header.dmax
        found: complex = 0
        if view.data:
            found = view.data.low if which == "minimum" else view.data.high
        if found != stated:
            text = f"{found.real:.0f}" if header.mode in INTEGER_MODES else found
            yield inaccurate(which, text, stated)

    return problems


def mean(view: MrcfileView) -> Iterator[str]:
    header = view.header
    # Python's min, as in mrcfile: if one of the two is nan, its result depends on their order.
    if not header.dmean > min(header.dmin, header.dmax):
        return
    found = view.data.mean if view.data else 0
    if not is_close(found, header.dmean):
        yield inaccurate("mean", found, header.dmean)


def unreadable_data(view: MrcfileView) -> Iterator[str]:
    if view.size is not None and view.expected is None:
        yield "Data block could not be read - file size not checked"


def file_size(view: MrcfileView) -> Iterator[str]:
    if view.size is not None and view.expected is not None and view.size != view.expected:
        yield (
            f"File is larger than expected. Actual size: {view.size} bytes; expected size: "
            f"{view.expected} bytes (calculated from header)"
        )


MRCFILE_RULES: dict[str, Callable[[MrcfileView], Iterator[str]]] = {
    "H02": map_id,
    "H03": stamp,
    "H04": contradicted_stamp,
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
    "S01": unreadable_data,
    "S03": file_size,
}


def texts(view: MrcfileView) -> Iterator[tuple[str, str]]:
    """Yield the id of each check that finds something, and mrcfile's text, in its order."""
    for id_, problems in MRCFILE_RULES.items():
        if view.checked or not id_.startswith("D"):
            for text in problems(view):
                yield id_, text


def mrcfile_findings(
    facts: Facts, view: MrcfileView | None
) -> Iterator[tuple[Check, Severity, str]]:
    """Run the checks of the profile "mrcfile", as `findings` runs those of the others.

    Parameters
    ----------
    facts : Facts
        The facts of the file.
    view : MrcfileView or None
        The facts that mrcfile would have; None for a file without a header.

    Yields
    ------
    tuple
        The check, its severity and mrcfile's text.
    """
    by_id = {check.id: check for check in CHECKS}
    for failure in MRCFILE_FAILURES:
        if text := by_id[failure].test(facts):
            yield by_id[failure], ERROR, text
    if view is not None:
        for id_, text in texts(view):
            yield by_id[id_], ERROR, text


def mrcfile_problems(view: MrcfileView) -> list[str]:
    """Return what mrcfile's `validate` prints of a file or an object in memory.

    Parameters
    ----------
    view : MrcfileView
        Header, statistics of the data and sizes.

    Returns
    -------
    list of str
        In mrcfile's order; empty if it finds the file valid.

    Notes
    -----
    In two things it is right where mrcfile is wrong. The statistics of float16 (and of float32
    near the end of its range, or of the same number everywhere) are computed in float64. A machine
    stamp that contradicts the numbers is a problem. Faults that make mrcfile raise an exception (a
    negative NSYMBT, a volume stack of MZ 0, an EXTTYP that is not ASCII) have a text here. An RMS
    or a mean may differ from mrcfile's in the last digits.

    Examples
    --------
    >>> mrcfile_problems(MrcfileView(Header.blank().replace(nx=-1), None))
    ["Header field 'nx' is negative"]
    """
    return [text for _, text in texts(view)]
