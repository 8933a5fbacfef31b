"""`edit_header(tilt_angle=)`: the tilt angles of an image stack in its extended header."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xarray_mrc.codec.extended import decode_extended, useful_nbytes
from xarray_mrc.codec.extended.tilt_angles import put_tilt_angles
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import KindEvidence, find_kind
from xarray_mrc.reading.file_layout import find_layout, name_of
from xarray_mrc.reading.sidecar import has_sidecar, read_sidecars, read_tilt_file
from xarray_mrc.storage import Head

__all__ = ["TiltAngleEdit", "TiltAngles", "plan_tilt_angles"]

TiltAngles = Sequence[float] | str | os.PathLike[str]
# A difference that is no rounding in the last place of a decimal with a few digits.
SAME_ANGLE = 1e-6


@dataclass(frozen=True, slots=True)
class TiltAngleEdit:
    """What an edit of tilt angles writes.

    Attributes
    ----------
    header : Header
        The header that describes the new records.
    extended : bytes
        The start of the extended header, as far as it may change.
    old, new : tuple of float or None
        Tilt angles in degrees before and after; None if there were none.
    moves_data : bool
        Whether the extended header gets longer, so that the file has to be written anew.
    notes : list of str
        Sentences that name what is rounded, or outweighed by another file.
    """

    header: Header
    extended: bytes
    old: tuple[float, ...] | None
    new: tuple[float, ...]
    moves_data: bool
    notes: list[str]


def plan_tilt_angles(head: Head, header: Header, angles: TiltAngles) -> TiltAngleEdit:
    """Plan how tilt angles are put into the extended header of a file.

    Parameters
    ----------
    head : Head
        The file.
    header : Header
        Its header, with the other edits.
    angles : sequence of float, str or os.PathLike
        An angle in degrees for each section, or a file with them: one a line, or a .mdoc.

    Returns
    -------
    TiltAngleEdit

    Raises
    ------
    ValueError
        The number of angles is not that of the sections, the data are not images, or the extended
        header has no place for angles.
    OSError
        The file of angles cannot be read.
    """
    wanted = as_angles(angles, header.nz)
    source = head.source
    there = find_layout(head, header).layout.offset - HEADER_SIZE
    nbytes = min(there, useful_nbytes(header, header.nz) or there)
    raw = head.read(HEADER_SIZE, nbytes)
    before = decode_extended(header, raw, header.nz)
    new, extended = put_tilt_angles(header.replace(nsymbt=there), raw, wanted)
    read = decode_extended(new, extended, header.nz)
    path = source.local_path or source.uri
    evidence = KindEvidence(name_of(path), lambda: has_sidecar(path, header.nz), lambda: read)
    kind, reason = find_kind(new, evidence)
    if kind not in ("image", "image_stack"):
        raise ValueError(
            f"tilt_angle= was passed, but the file is read as a {kind} ({reason}): pass "
            f"kind='image_stack' as well"
        )
    held = tuple(next(f.values for f in read.common if f.name == "tilt_angle").tolist())
    old = next((f.values for f in before.common if f.name == "tilt_angle"), None)
    return TiltAngleEdit(
        header=new,
        extended=extended,
        old=None if old is None else tuple(old.tolist()),
        new=held,
        moves_data=len(extended) > there,
        notes=[*rounding(wanted, held), *outweighing(path, held)],
    )


def as_angles(angles: TiltAngles, sections: int) -> list[float]:
    """Return the angles as numbers, one for each section."""
    if isinstance(angles, str | os.PathLike):
        return read_tilt_file(os.fspath(angles), sections)
    found = np.asarray(angles, np.float64)
    if found.shape != (sections,) or not np.isfinite(found).all():
        raise ValueError(
            f"tilt_angle= has the shape {found.shape}, expected a finite angle in degrees for each "
            f"of the {sections} sections"
        )
    numbers: list[float] = found.tolist()
    return numbers


def rounding(wanted: Sequence[float], held: Sequence[float]) -> list[str]:
    """Return a sentence if the records round the angles."""
    away = float(np.abs(np.subtract(wanted, held)).max())
    if away < SAME_ANGLE:
        return []
    return [f"tilt_angle is rounded by up to {away:.2g} degree in the records"]


def outweighing(path: str, held: Sequence[float]) -> list[str]:
    """Return a sentence if a sidecar has other angles, which readers prefer to the records."""
    for field in read_sidecars(path, len(held)).common:
        if field.name == "tilt_angle" and np.abs(field.values - held).max() >= SAME_ANGLE:
            note = f"{field.long_name} outweighs the angles in the records, and differs from them: "
            return [note + "remove the file, or correct it"]
    return []
