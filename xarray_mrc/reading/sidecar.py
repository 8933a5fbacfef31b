"""Files that lie beside an image stack and describe its images: .mdoc, .tlt and .rawtlt."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.extended.table import Extended, SectionField
from xarray_mrc.codec.mdoc import Mdoc, decode_mdoc, parse_mdoc

__all__ = ["has_sidecar", "ignored_sidecar", "read_sidecars", "read_tilt_file"]

# IMOD keeps the sidecars of the stack from which an aligned stack, X_ali.mrc or X.ali, was made.
ALIGNED = re.compile(r"_(pre)?ali$")
ALIGNED_SUFFIXES = (".ali", ".preali")
# Aligned images were rotated, and often binned, so that these values of the first stack are wrong.
CHANGED_BY_ALIGNMENT = (
    "tilt_axis_angle", "pixel_size", "rotation_angle", "image_min", "image_max", "image_mean",
)  # fmt: skip
SUFFIXES = (".mdoc", ".tlt", ".rawtlt")
# A .mdoc holds about 1 kB a section; a file longer than this is not read.
MAX_NBYTES = 64 * 2**20

# 3 and a half, or the columns 3 and 5.
COMMA = re.compile(r"[+-]?\d+,\d+")
MAX_ANGLE = 360.0  # in degrees


class LeftOut(Exception):
    """A sidecar cannot be used; the message says why."""


class Found(NamedTuple):
    """A sidecar that exists: its path, its text and, of a .mdoc, its sections."""

    path: str
    text: str
    mdoc: Mdoc | None

    @property
    def name(self) -> str:
        """Name of the file."""
        return os.path.basename(self.path)


def has_sidecar(path: str, sections: int) -> bool:
    """Return True if a sidecar beside a file describes as many sections as the file has.

    Parameters
    ----------
    path : str
        Path of the image file.
    sections : int
        Number of its sections.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_sidecar("/nowhere/tilts.mrc", 41)
    False
    """
    for beside in paths_beside(path):
        try:
            if check_count(load(beside), sections):
                return True
        except LeftOut:
            continue
    return False


def ignored_sidecar(path: str, sections: int) -> str:
    """Return a sentence if a sidecar describes a file that was found to be a volume; "" if none.

    Parameters
    ----------
    path : str
        Path of the file.
    sections : int
        Number of its sections.

    Returns
    -------
    str

    Examples
    --------
    >>> ignored_sidecar("/nowhere/tomo.mrc", 41)
    ''
    """
    advice = "the file is read as a volume: pass kind='image_stack' if its sections are images"
    for beside in paths_beside(path):
        try:
            found = load(beside)
            if check_count(found, sections):
                is_frame_set = found.mdoc is not None and found.mdoc.is_frame_set
                what = "a set of frames" if is_frame_set else "as many sections as there are"
                return f"{found.name} describes {what}, but {advice}"
        except LeftOut as error:
            # The sidecar of another file with this stem is no surprise, unlike tomo.mrc.mdoc.
            if beside.endswith(".mdoc") and str(error).startswith(os.path.basename(path)):
                return f"{error}; {advice}"
    return ""


def read_sidecars(path: str, sections: int, *, required: bool = False) -> Extended:
    """Read the sidecars of a file as coordinates of its sections.

    A .mdoc gives most of them. Its tilt angles give way to those of a .tlt, which IMOD refines for
    the same sections; a .rawtlt is read if neither has any.

    Parameters
    ----------
    path : str
        Path of the image file.
    sections : int
        Number of its sections.
    required : bool
        Whether it is an error that there is no sidecar, or that one cannot be used.

    Returns
    -------
    Extended
        Columns under the common names, and in `all` those of the other keys of a .mdoc. Those of a
        set of frames (``[FrameSet = 0]``) are scalars. Its `problem` says which sidecars were left
        out, and why.

    Raises
    ------
    FileNotFoundError, ValueError
        Only if they are required.

    Examples
    --------
    >>> read_sidecars("/nowhere/tilts.mrc", 3).common
    ()
    """
    fields: dict[str, SectionField] = {}
    others: dict[str, SectionField] = {}
    head = ""
    problems = []
    found = list(paths_beside(path))
    for beside in found:
        if beside.endswith(".rawtlt") and "tilt_angle" in fields:
            break
        try:
            read = read_sidecar(load(beside), sections)
        except LeftOut as error:
            if required:
                raise ValueError(f"sidecar=True was passed, but {error}") from None
            problems.append(str(error))
            continue
        left = () if is_own(beside, path) else CHANGED_BY_ALIGNMENT
        fields |= {field.name: field for field in read.common if field.name not in left}
        others |= {field.name: field for field in read.all if field.name not in left}
        head = head or ("" if left else read.head)
    if required and not found:
        raise FileNotFoundError(
            f"sidecar=True was passed, but there is no .mdoc beside {path}, and no .tlt or "
            f".rawtlt; expected {path}.mdoc"
        )
    return Extended(
        "mdoc",
        tuple(fields.values()),
        tuple(others.values()),
        head=head,
        problem="; ".join(problems),
    )


def read_tilt_file(path: str, sections: int) -> list[float]:
    """Read the tilt angle of each section from a file of any name.

    Parameters
    ----------
    path : str
        A file with an angle a line, as .tlt and .rawtlt, or a .mdoc.
    sections : int
        Number of sections.

    Returns
    -------
    list of float
        Degrees.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or has not one angle for each section.
    """
    os.stat(path)  # raises the system's own error
    try:
        fields = {field.name: field for field in read_sidecar(load(path), sections).common}
    except LeftOut as error:
        reason = str(error).partition(" was left out: ")[2]
        raise ValueError(f"tilt_angle={path!r} cannot be used: {reason}") from None
    if "tilt_angle" not in fields:
        raise ValueError(f"tilt_angle={path!r} has no tilt angles")
    found: list[float] = np.broadcast_to(fields["tilt_angle"].values, sections).tolist()
    return found


def paths_beside(path: str) -> Iterator[str]:
    """Yield the first sidecar of each suffix: a.mrc.mdoc or a.mdoc; of a_ali.mrc also a.st.mdoc.

    Each look costs a call of the system, and is done whenever a local volume is opened.
    """
    plain = plain_name(path)
    stem, own = os.path.splitext(plain)
    others = [stem]
    if stem.endswith("ali") or own.lower() in ALIGNED_SUFFIXES:
        base = ALIGNED.sub("", stem)
        others += [f"{base}.st", f"{base}.mrc", base]
    for suffix in SUFFIXES:
        # IMOD writes a.tlt, never a.mrc.tlt.
        bases = others if suffix == ".tlt" else [*dict.fromkeys((path, plain)), *others]
        for base in bases:
            name = base + suffix
            if os.access(name, os.F_OK) and name != path:
                yield name
                break


def is_own(beside: str, path: str) -> bool:
    """Return False if a sidecar describes the stack from which an aligned stack was made."""
    plain = plain_name(path)
    stem, suffix = os.path.splitext(plain)
    is_aligned = suffix.lower() in ALIGNED_SUFFIXES  # X.mdoc is that of X.st, not of X.ali
    return os.path.splitext(beside)[0] in (path, plain, *(() if is_aligned else (stem,)))


def load(path: str) -> Found:
    """Read a sidecar; LeftOut if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise left_out(path, "it cannot be read (it is not a regular file)")
        with open(path, "rb") as file:
            raw = file.read(MAX_NBYTES + 1)
    except OSError as error:
        raise left_out(path, f"it cannot be read ({error.strerror})") from None
    if len(raw) > MAX_NBYTES:
        raise left_out(path, f"it is longer than {MAX_NBYTES >> 20} MiB")
    text = raw.decode("utf-8-sig", errors="replace")  # Windows editors write a byte order mark
    return Found(path, text, parse_mdoc(text) if path.endswith(".mdoc") else None)


def check_count(found: Found, sections: int) -> bool:
    """Return True if a sidecar describes as many sections as there are; LeftOut if it does not."""
    if found.mdoc is not None:
        numbers = sorted(found.mdoc.numbers)
        if not found.mdoc.is_frame_set and numbers != list(range(sections)):
            ends = f" (they are numbered {numbers[0]} to {numbers[-1]})" if numbers else ""
            raise left_out(
                found.path,
                f"it describes {len(numbers)} sections, expected one [ZValue = ...] for "
                f"each of {sections}, from 0{ends}",
            )
    elif (count := len(parse_tilts(found))) != sections:
        raise left_out(found.path, f"it has {count} angles, expected one for each of {sections}")
    return True


def left_out(path: str, reason: str) -> LeftOut:
    """Make the exception for a sidecar that cannot be used."""
    return LeftOut(f"{os.path.basename(path)} was left out: {reason}")


def read_sidecar(found: Found, sections: int) -> Extended:
    """Read a .mdoc, or the angles in degrees of a .tlt or .rawtlt; LeftOut if it cannot be used."""
    check_count(found, sections)
    if found.mdoc is None:
        angles = np.array(parse_tilts(found))
        words = f"tilt angle of {found.name}"
        return Extended("tlt", (SectionField("tilt_angle", angles, "degree", words),))
    try:
        common, others = decode_mdoc(found.mdoc)
    except ValueError as error:
        raise left_out(found.path, f"it cannot be read ({error})") from None
    return Extended("mdoc", tuple(common), tuple(others), head=found.mdoc.head)


def parse_tilts(found: Found) -> list[float]:
    """Return the first number of each line; some programs write the order or dose after it."""
    lines = (line.split() for line in found.text.splitlines())
    words = [line[0] for line in lines if line and not line[0].startswith("#")]
    if comma := next(filter(COMMA.fullmatch, words), ""):
        raise left_out(
            found.path,
            f"the comma in {comma} may be that of a decimal or that between columns, expected "
            f"angles with a point",
        )
    try:
        angles = [float(word.split(",")[0]) for word in words]
    except ValueError as error:
        raise left_out(found.path, f"it cannot be read ({error})") from None
    if not all(abs(angle) <= MAX_ANGLE for angle in angles):  # of nan, too
        raise left_out(found.path, "it holds angles that are not finite, or beyond 360 degrees")
    return angles
