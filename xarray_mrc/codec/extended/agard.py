"""Agard records, and the old FEI block of 1024 of them: integers, then floats, for a section.

Nothing in these records identifies them, so their numbers are first compared with the limits of a
microscope.
"""

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
    from numpy.typing import NDArray

#: The old FEI block: room for 1024 sections of 32 floats each, used or not.
OLD_FEI_REALS = 32
OLD_FEI_BYTES = 1024 * 4 * OLD_FEI_REALS

#: A smaller float other than zero is an integer, a text, or a float in the other byte order. No
#: angle, length or count comes near it.
_SMALLEST = 1e-20
#: No greater length in metres occurs in a microscope: the stage moves a few mm.
_GREATEST_METRES = 0.01
#: Pixel sizes below this are in metres, and above it in angstrom.
_GREATEST_PIXEL_METRES = 1e-6

_ANGLE = (-360.0, 360.0)
_ALPHA, _BETA, _AXIS, _PIXEL = "Alpha tilt", "Beta tilt", "Tilt axis angle", "Pixel size"
_STAGES = ("X stage", "Y stage", "Z stage")
_METRES = ("Image shift x", "Image shift y", "Defocus")

#: Offsets are those of the first float of the section.
COLUMNS = (
    Column(0, "f4", _ALPHA, units="degree", common="tilt_angle", limits=_ANGLE),
    Column(4, "f4", _BETA, units="degree", common="beta_tilt", limits=_ANGLE),
    Column(8, "f4", "X stage", units="m", common="stage_x", shift=6, limits=(-1e4, 1e4)),
    Column(12, "f4", "Y stage", units="m", common="stage_y", shift=6, limits=(-1e4, 1e4)),
    Column(16, "f4", "Z stage", units="m", common="stage_z", shift=6, limits=(-1e4, 1e4)),
    Column(20, "f4", "Image shift x", units="m", limits=(-1e6, 1e6)),
    Column(24, "f4", "Image shift y", units="m", limits=(-1e6, 1e6)),
    Column(28, "f4", "Defocus", units="m", common="defocus", shift=6, limits=(-1e6, 1e6)),
    Column(32, "f4", "Exposure time", units="s", common="exposure_time", limits=(0.0, 1e6)),
    Column(36, "f4", "Mean intensity", limits=(-1e12, 1e12)),
    Column(40, "f4", _AXIS, units="degree", common="tilt_axis_angle", limits=_ANGLE),
    Column(
        44,
        "f4",
        _PIXEL,
        units="m",
        common="pixel_size",
        shift=10,
        limits=(0.0, 1e5),
        zero_is_unknown=True,
    ),
    Column(
        48,
        "f4",
        "Magnification",
        common="magnification",
        limits=(0.0, 1e8),
        zero_is_unknown=True,
    ),
)


def counts(header: Header) -> tuple[int, int]:
    """Return the integers and floats per section, with the known faults corrected.

    Parameters
    ----------
    header : Header
        The main header.

    Returns
    -------
    tuple of int
        Number of integers and of floats.
    """
    nint, nreal = header.nint, header.nreal
    old_fei = header.nsymbt == OLD_FEI_BYTES
    by_fei = bool(header.labels) and header.labels[0].startswith("Fei ")
    if (nint, nreal) == (4 * OLD_FEI_REALS, OLD_FEI_REALS) and (old_fei or by_fei):
        return 0, nreal  # NINT was given in bytes, and there are no integers at all
    if (nint, nreal) == (0, 0) and old_fei:
        return 0, OLD_FEI_REALS
    return nint, nreal


def is_old_fei(header: Header) -> bool:
    """Return True if a header without a named type has the form of the old FEI block."""
    return (
        header.nsymbt == OLD_FEI_BYTES
        and header.nreal == OLD_FEI_REALS
        and counts(header) == (0, OLD_FEI_REALS)
    )


def read(header: Header, raw: bytes, sections: int) -> Extended | str:
    """Read records of the length in NINT and NREAL, or return why they are not Agard's.

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
    nint, nreal = counts(header)
    if (nint, nreal) == (0, 0):
        # MotionCor and AreTomo declare the type and no records; a gain reference may be here.
        if header.nsymbt == 4 * header.nx * header.ny or not any(raw):
            return Extended("AGAR")
        return f"{header.nsymbt} bytes are there, where NINT and NREAL of 0 announce no records"
    if nint < 0 or nreal < 0:
        return f"NINT is {nint} and NREAL {nreal}, where counts are expected"
    return read_records(header.byteorder, raw, sections, nint, nreal)


def read_records(order: str, raw: bytes, sections: int, nint: int, nreal: int) -> Extended | str:
    """Read records of `nint` integers and `nreal` floats, or return why they are not credible.

    Parameters
    ----------
    order : str
        Byte order of the file.
    raw : bytes
        The extended header.
    sections : int
        Number of sections in the file.
    nint, nreal : int
        Integers and floats in a record; not both 0.

    Returns
    -------
    Extended or str
        The columns, or the reason against them.
    """
    stride = 4 * (nint + nreal)
    if sections * stride > len(raw):
        return (
            f"there are records for {len(raw) // stride} sections of {stride} bytes each, where "
            f"{sections} are expected"
        )
    columns = [
        replace(column, offset=4 * nint + column.offset)
        for column in COLUMNS
        if column.offset < 4 * nreal
    ]
    records = np.frombuffer(raw, record_dtype(columns, stride, order, {}), count=sections)
    for column in columns:
        reason = _doubt(column, records[column.name])
        if reason:
            return reason
    return _fields(columns, records)


def _doubt(column: Column, values: NDArray[Any]) -> str:
    """Return why the values of a column are impossible; empty if they are possible."""
    least, greatest = column.limits
    good = (values >= least) & (values <= greatest)
    good &= (values == 0) | (np.abs(values) >= _SMALLEST)
    if column.name == _PIXEL:
        good &= (values == 0) | ((values >= 1e-12) & (values < 1e-6)) | (values >= 0.01)
    if good.all():
        return ""
    section = int(np.argmin(good))
    return (
        f"section {section} would have a {column.name.lower()} of {values[section]:g}, which "
        "can't be"
    )


def _fields(columns: list[Column], records: NDArray[np.void]) -> Extended | str:
    """Decode columns with credible numbers, after settling their units."""
    said = {column.name for column in columns if np.any(records[column.name] != 0)}
    if said:
        said.add(_ALPHA)
    # A column of zeros was never filled in: producers clear the record and write what they
    # know. The tilt is kept, because zero is a tilt, but only beside something that was
    # written; an untouched record would else claim an untilted stack.
    if _BETA in said and _AXIS in said and np.array_equal(records[_BETA], records[_AXIS]):
        said.discard(_BETA)  # Warp writes the rotation of the tilt axis twice
    in_metres = all(
        bool(np.all(np.abs(records[name]) <= _GREATEST_METRES)) for name in said & set(_STAGES)
    )
    common: list[SectionField] = []
    every: list[SectionField] = []
    for column in columns:
        if column.name not in said:
            continue
        stored = records[column.name]
        settled = _settle(column, stored, in_metres)
        if isinstance(settled, str):
            return settled
        values = decode(settled, stored, column.known(stored))
        if values is not None:
            every.append(own(settled, values))
            common.extend(shared(settled, values))
    return Extended("AGAR", tuple(common), tuple(every))


def _settle(column: Column, stored: NDArray[Any], in_metres: bool) -> Column | str:
    """Return the column with the unit that its numbers have."""
    if column.name in _STAGES and not in_metres:
        return replace(column, units="micrometer", shift=0)
    if column.name in _METRES and bool(np.any(np.abs(stored) > _GREATEST_METRES)):
        return replace(column, units="", common="", shift=0)  # in what unit is not known
    if column.name == _PIXEL:
        known = stored[stored != 0]
        if bool(np.all(known >= _GREATEST_PIXEL_METRES)):
            return replace(column, units="angstrom", shift=0)  # Warp, UCSF
        if bool(np.any(known >= _GREATEST_PIXEL_METRES)):
            return "its pixel sizes are in metres in some sections and in angstrom in others"
    return column
