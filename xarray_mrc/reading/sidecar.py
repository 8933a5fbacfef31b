"""Files that lie beside an image stack and describe its images: SerialEM's .mdoc, tilt angles."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.extended.table import COMMON_UNITS, Extended, SectionField

__all__ = ["has_sidecar", "read_sidecar"]

SUFFIXES = (".mdoc", ".tlt", ".rawtlt")
DATE_FORMATS = ("%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%Y-%b-%d %H:%M:%S")

FIRST_YEAR, LAST_YEAR = 1678, 2261  # what nanoseconds since 1970 can hold

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
    ("dose", "ExposureDose", lambda s: s.ExposureDose),
    ("exposure_time", "ExposureTime", lambda s: s.ExposureTime),
    ("magnification", "Magnification", lambda s: s.Magnification),
    ("pixel_size", "PixelSpacing", lambda s: s.PixelSpacing),
    ("timestamp", "DateTime", lambda s: parse_time(s.DateTime)),
)


def beside(path: str) -> Iterable[Path]:
    """Give the names that a sidecar of a file can have: a.mrc.mdoc, a.mdoc, a.tlt, a.rawtlt."""
    name = Path(plain_name(path))
    yield from dict.fromkeys((Path(f"{path}.mdoc"), Path(f"{name}.mdoc")))
    yield from (name.with_suffix(suffix) for suffix in SUFFIXES)


def has_sidecar(path: str) -> bool:
    """Whether a file of tilt angles lies beside a file.

    Parameters
    ----------
    path : str
        Path of the image file.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_sidecar("/nowhere/tilts.mrc")
    False
    """
    return any(os.path.exists(candidate) for candidate in beside(path))


def read_sidecar(path: str, sections: int, *, required: bool = False) -> Extended:
    """Read the .mdoc beside a file as coordinates of its sections.

    Parameters
    ----------
    path : str
        Path of the image file.
    sections : int
        Number of its sections.
    required : bool
        Whether it is an error that there is no .mdoc, or that the package mdocfile is missing.

    Returns
    -------
    Extended
        Columns under the common names; its `problem` says why there are none.

    Raises
    ------
    FileNotFoundError, ImportError
        Only where it is required.

    Examples
    --------
    >>> read_sidecar("/nowhere/tilts.mrc", 3).common
    ()
    """
    found = next((p for p in beside(path) if p.suffix == ".mdoc" and os.path.exists(p)), None)
    if found is None:
        if required:
            raise FileNotFoundError(f"there is no .mdoc beside {path}, expected {path}.mdoc")
        return Extended("none")
    try:
        from mdocfile.data_models import Mdoc
    except ImportError:
        if required:
            raise ImportError(
                "reading a .mdoc needs the package mdocfile: pip install 'xarray-mrc[mdoc]'"
            ) from None
        return Extended("none")
    try:
        text = found.read_text("utf-8", errors="replace")
        with quiet("mdocfile"):
            mdoc = Mdoc.from_string(text)
    except (ValueError, TypeError, LookupError, OSError) as error:
        reason = str(error).splitlines()[0]
        return Extended("none", problem=f"{found.name} was left out: it can't be read ({reason})")
    by_number = {section.ZValue: section for section in mdoc.section_data}
    if any(number not in by_number for number in range(sections)):
        return Extended(
            "none",
            problem=f"{found.name} was left out: it describes {len(by_number)} sections, expected "
            f"one [ZValue = ...] for each of {sections}",
        )
    rows = [by_number[number] for number in range(sections)]
    fields = [column(name, words, [get(row) for row in rows]) for name, words, get in COLUMNS]
    axis = tilt_axis(mdoc.titles)
    fields.append(column("tilt_axis_angle", "Tilt axis angle", [axis] * sections))
    return Extended("mdoc", common=tuple(field for field in fields if field is not None))


def column(name: str, words: str, values: list[Any]) -> SectionField | None:
    """Make a column of what the sections say; None if none of them says anything."""
    if all(value is None for value in values):
        return None
    if name == "timestamp":
        array = np.array([np.datetime64(v or "NaT", "ns") for v in values])
    else:
        array = np.array([math.nan if v is None else float(v) for v in values])
    return SectionField(name, array, COMMON_UNITS[name], words)


def parse_time(text: str | None) -> datetime | None:
    """Read SerialEM's date and time, in any of the forms that it has had."""
    for form in DATE_FORMATS:
        try:
            time = datetime.strptime(" ".join((text or "").split()), form)
        except ValueError:
            continue
        return time if FIRST_YEAR <= time.year <= LAST_YEAR else None
    return None


def tilt_axis(titles: list[str]) -> float | None:
    """Find the angle of the tilt axis, which SerialEM writes into a title."""
    for title in titles:
        _, _, rest = title.partition("Tilt axis angle =")
        number = rest.split(",")[0].strip(" ]")
        try:
            return float(number)
        except ValueError:
            continue
    return None


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep a library from logging that it met fields which it does not know."""
    import logging

    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
