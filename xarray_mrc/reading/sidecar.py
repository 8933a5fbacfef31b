"""Files that lie beside an image stack and describe its images: .mdoc, .tlt and .rawtlt."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.extended.table import COMMON_UNITS, Extended, SectionField

__all__ = ["has_sidecar", "ignored_sidecar", "read_sidecars", "read_tilt_file"]

# IMOD keeps the sidecars of the stack from which an aligned stack, X_ali.mrc or X.ali, was made.
ALIGNED = re.compile(r"_(pre)?ali$")
ALIGNED_SUFFIXES = (".ali", ".preali")
# Aligned images were rotated, and often binned, so that these values of the first stack are wrong.
CHANGED_BY_ALIGNMENT = ("tilt_axis_angle", "pixel_size")
SUFFIXES = (".mdoc", ".tlt", ".rawtlt")
# A .mdoc holds about 1 kB a section; a file longer than this is not read.
MAX_NBYTES = 64 * 2**20

SECTION = re.compile(r"^[ \t]*\[(ZValue|FrameSet) = *(\d{1,9}) *\]", re.MULTILINE)
# A global key of newer programs, and a part of a title of SerialEM's.
AXIS_ANGLES = (
    re.compile(r"^TiltAxisAngle *= *(\S+)", re.MULTILINE),
    re.compile(r"Tilt axis angle *= *([^\s,\]]+)"),
)
DATE = re.compile(r"(\d{1,4})-([a-z]{3})-(\d{1,4}) +(\d+):(\d+):(\d+)")
# 3 and a half, or the columns 3 and 5.
COMMA = re.compile(r"[+-]?\d+,\d+")
MAX_ANGLE = 360.0  # in degrees
# SerialEM's names of months, which do not depend on the locale.
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIRST_YEAR, LAST_YEAR = 1678, 2261  # the range of datetime64[ns]
FIRST_SHORT_YEAR = 69  # 69 is 1969, and 68 is 2068

# Common name, long name, and how it is had from a section of a .mdoc.
# Source: the description of SerialEM's autodoc files; angles in degrees, stage and defocus in
# micrometers, dose in electrons per square angstrom.
Get = Callable[[Any], Any]
COLUMNS: tuple[tuple[str, str, Get], ...] = (
    ("tilt_angle", "TiltAngle", lambda s: s.TiltAngle),
    ("stage_x", "StagePosition x", lambda s: s.StagePosition and s.StagePosition[0]),
    ("stage_y", "StagePosition y", lambda s: s.StagePosition and s.StagePosition[1]),
    ("stage_z", "StageZ", lambda s: s.StageZ),
    ("defocus", "Defocus", lambda s: s.Defocus),
    ("dose", "ExposureDose", lambda s: s.ExposureDose or None),  # 0 where it was not calibrated
    ("prior_dose", "PriorRecordDose", lambda s: s.PriorRecordDose),
    ("exposure_time", "ExposureTime", lambda s: s.ExposureTime),
    ("magnification", "Magnification", lambda s: s.Magnification),
    ("pixel_size", "PixelSpacing", lambda s: s.PixelSpacing),
    ("timestamp", "DateTime", lambda s: parse_time(s.DateTime)),
)
# Lines of a .mdoc that are parsed.
KEYS = {words.split()[0] for _, words, _ in COLUMNS} | {"[ZValue", "[FrameSet", "[MontSection"}


class LeftOut(Exception):
    """A sidecar cannot be used; the message says why."""


class Found(NamedTuple):
    """A sidecar that exists: its path, its text and, of a .mdoc, the numbers of its sections."""

    path: str
    text: str
    numbers: list[int]
    is_frame_set: bool

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
                what = "a set of frames" if found.is_frame_set else "as many sections as there are"
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
        Columns under the common names. Those of a set of frames (``[FrameSet = 0]``) are scalars.
        Its `problem` says which sidecars were left out, and why.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        Only if they are required.

    Examples
    --------
    >>> read_sidecars("/nowhere/tilts.mrc", 3).common
    ()
    """
    fields: dict[str, SectionField] = {}
    problems = []
    found = list(paths_beside(path))
    for beside in found:
        if beside.endswith(".rawtlt") and "tilt_angle" in fields:
            break
        read = read_mdoc if beside.endswith(".mdoc") else read_tilts
        try:
            columns = read(load(beside), sections)
        except (LeftOut, ImportError) as error:
            if required:
                raise (ImportError if isinstance(error, ImportError) else ValueError)(
                    f"sidecar=True was passed, but {error}"
                ) from None
            problems.append(str(error))
            continue
        left = () if is_own(beside, path) else CHANGED_BY_ALIGNMENT
        fields |= {field.name: field for field in columns if field.name not in left}
    if required and not found:
        raise FileNotFoundError(
            f"sidecar=True was passed, but there is no .mdoc beside {path}, and no .tlt or "
            f".rawtlt; expected {path}.mdoc"
        )
    return Extended("mdoc", common=tuple(fields.values()), problem="; ".join(problems))


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
    ImportError
        A .mdoc needs the package mdocfile.
    OSError, ValueError
        The file cannot be read, or has not one angle for each section.
    """
    os.stat(path)  # raises the system's own error
    read = read_mdoc if path.endswith(".mdoc") else read_tilts
    try:
        fields = {field.name: field for field in read(load(path), sections)}
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
    headings = SECTION.findall(text)
    numbers = [int(number) for heading, number in headings if heading == "ZValue"]
    return Found(path, text, numbers, [heading for heading, _ in headings] == ["FrameSet"])


def check_count(found: Found, sections: int) -> bool:
    """Return True if a sidecar describes as many sections as there are; LeftOut if it does not."""
    if found.path.endswith(".mdoc"):
        numbers = sorted(found.numbers)
        if not found.is_frame_set and numbers != list(range(sections)):
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


def read_tilts(found: Found, sections: int) -> list[SectionField]:
    """Read a .tlt or .rawtlt: an angle in degrees on each line."""
    check_count(found, sections)
    angles = np.array(parse_tilts(found))
    return [SectionField("tilt_angle", angles, "degree", f"tilt angle of {found.name}")]


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


def read_mdoc(found: Found, sections: int) -> list[SectionField]:
    """Read a .mdoc: scalars if it describes one set of frames, else a value for each section."""
    check_count(found, sections)
    try:
        from mdocfile.data_models import Mdoc
    except ImportError:
        raise ImportError(
            f"{found.name} was left out: it needs the package mdocfile, "
            f"pip install 'xarray-mrc[mdoc]'"
        ) from None
    try:
        mdoc = Mdoc.from_string(used_lines(found.text))
    except (ValueError, TypeError, LookupError) as error:
        # After the name of the field and what is wrong with it, pydantic links to its pages.
        reason = " ".join(str(error).split("\n    For further")[0].split())
        raise left_out(found.path, f"it cannot be read ({reason})") from None
    rows = mdoc.section_data
    if not found.is_frame_set:
        numbered = [row for row in rows if row.ZValue is not None]  # the others are of montages
        rows = sorted(numbered, key=lambda row: row.ZValue)
    columns = [(name, words, [get(row) for row in rows]) for name, words, get in COLUMNS]
    axis = tilt_axis_angle(found.text)
    columns.append(("tilt_axis_angle", "Tilt axis angle", [axis] * len(rows)))
    return [
        make_field(name, words, values[0] if found.is_frame_set else values)
        for name, words, values in columns
        if any(value is not None for value in values)
    ]


def used_lines(text: str) -> str:
    """Return the lines of a .mdoc that are used.

    mdocfile refuses a whole file for one value of another type in any line, and logs each key that
    it does not know.
    """
    return "\n".join(line for line in text.split("\n") if line.split("=")[0].strip() in KEYS)


def make_field(name: str, words: str, values: Any) -> SectionField:
    """Make a column of values, or a scalar of a single one; None stands for an unknown value."""
    kind, unknown = ("M8[ns]", "NaT") if name == "timestamp" else ("f8", math.nan)
    if isinstance(values, list):
        values = [unknown if value is None else value for value in values]
    stored = np.array(values, kind)
    if kind == "f8":
        stored = np.where(np.isfinite(stored), stored, math.nan)
    return SectionField(name, stored, COMMON_UNITS[name], words)


def parse_time(text: str | None) -> datetime | None:
    """Parse SerialEM's date and time: 04-Oct-19 18:22:01, 04-Oct-2019 ..., 2019-Oct-04 ..."""
    match = DATE.fullmatch(" ".join((text or "").lower().split()))
    if match is None or match[2] not in MONTHS:
        return None
    day, year = match[1], match[3]
    if len(day) == 4:
        day, year = year, day
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= FIRST_SHORT_YEAR else 2000
    if not FIRST_YEAR <= number <= LAST_YEAR:
        return None
    try:
        hour, minute, second = map(int, match.groups()[3:])
        return datetime(number, MONTHS.index(match[2]) + 1, int(day), hour, minute, second)
    except ValueError:
        return None


def tilt_axis_angle(text: str) -> float | None:
    """Find the angle of the tilt axis before the first section of a .mdoc."""
    heading = SECTION.search(text)
    top = text[: heading.start()] if heading else text
    for pattern in AXIS_ANGLES:
        for angle in pattern.findall(top):
            try:
                return float(angle)
            except ValueError:
                continue
    return None
