"""The text of a .mdoc as columns of section metadata."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.extended.table import COMMON_UNITS, SectionField
from xarray_mrc.codec.mdoc.table import BY_KEY, MAX_WHOLE, MONTHS, MdocKey, column_names

__all__ = ["Mdoc", "decode_mdoc", "parse_mdoc", "tilt_axis_angle"]

SECTION = re.compile(r"\[(ZValue|FrameSet|MontSection) = *(\d{1,9}) *\]")
# A global key of newer programs, and a part of a title of SerialEM's.
AXIS_ANGLES = (
    re.compile(r"^TiltAxisAngle *= *(\S+)", re.MULTILINE),
    re.compile(r"Tilt axis angle *= *([^\s,\]]+)"),
)

# A number whose digits all count: 007 is a label.
NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*|(?=\.\d))(?:\.\d*)?(?:[eE][+-]?\d{1,4})?|[nN]a[nN]")
MAX_PARTS = 9
DATE = re.compile(r"(\d{1,4})-([a-z]{3})-(\d{1,4}) +(\d+):(\d+):(\d+)")
FIRST_YEAR, LAST_YEAR = 1678, 2261  # the range of datetime64[ns]
FIRST_SHORT_YEAR = 69  # 69 is 1969, and 68 is 2068


class Section(NamedTuple):
    """A section of a .mdoc: its type, its number and its keys."""

    heading: str
    number: int
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Mdoc:
    """A .mdoc, parsed.

    Attributes
    ----------
    head : str
        The lines before the first section: global keys and titles.
    sections : list of Section
        The sections in the order of the file. Those of montages describe no single image.
    """

    head: str
    sections: list[Section]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the images that are described, in the order of the file."""
        return [section.number for section in self.sections if section.heading == "ZValue"]

    @property
    def is_frame_set(self) -> bool:
        """Return True if one section describes the frames of a movie together."""
        headings = [s.heading for s in self.sections if s.heading != "MontSection"]
        return headings == ["FrameSet"]


def parse_mdoc(text: str) -> Mdoc:
    r"""Parse the text of a .mdoc.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    Mdoc

    Examples
    --------
    >>> parse_mdoc("Voltage = 300\n[ZValue = 0]\nSubFramePath = D:\\a=b.tif").sections
    [Section(heading='ZValue', number=0, values={'SubFramePath': 'D:\\a=b.tif'})]
    """
    head: list[str] = []
    sections: list[Section] = []
    values: dict[str, str] | None = None
    for raw in text.split("\n"):
        line = raw.strip()
        found = SECTION.match(line)
        if found:
            values = {}
            sections.append(Section(found[1], int(found[2]), values))
        elif not sections:
            head.append(raw.rstrip())
        elif line.startswith("[") and not line.startswith("[T "):
            values = None  # a section of another type
        elif values is not None and not line.startswith("#"):
            key, equals, value = line.partition("=")
            if equals:
                values[key.strip()] = value.strip().replace("\0", "")
    return Mdoc("\n".join(head).strip(), sections)


def decode_mdoc(mdoc: Mdoc) -> tuple[list[SectionField], list[SectionField]]:
    r"""Decode the sections as columns, in the order of their numbers.

    Parameters
    ----------
    mdoc : Mdoc
        The file; its sections are as many as the images.

    Returns
    -------
    common : list of SectionField
        Columns under common names, nan where a section has no value. Those of a set of frames are
        scalars.
    others : list of SectionField
        The other keys that at least half of the sections have, so that there are at most twice as
        many values as in the file. A key of numbers becomes a column for each of them.

    Raises
    ------
    ValueError
        A value under a common name is not a number.

    Examples
    --------
    >>> common, others = decode_mdoc(parse_mdoc("[ZValue = 0]\nTiltAngle = 3\nSpotSize = 8"))
    >>> common[0].name, common[0].values, others[0].name
    ('tilt_angle', array([3.]), 'spot_size')
    """
    if mdoc.is_frame_set:
        rows = [s.values for s in mdoc.sections if s.heading == "FrameSet"]
    else:
        images = [s for s in mdoc.sections if s.heading == "ZValue"]
        rows = [s.values for s in sorted(images, key=lambda s: s.number)]
    counts: dict[str, int] = {}
    for row in rows:
        for key in row:
            counts[key] = counts.get(key, 0) + 1
    fields: dict[str, SectionField] = {}
    for key, count in counts.items():
        if key in BY_KEY or 2 * count >= len(rows):
            for column in decode_key(key, [row.get(key, "") for row in rows]):
                fields.setdefault(column.name, column)
    axis = tilt_axis_angle(mdoc.head)
    if axis is not None:
        angles = np.full(len(rows), axis)
        if "tilt_axis_angle" in fields:
            own = fields["tilt_axis_angle"].values
            angles = np.where(np.isnan(own), axis, own)
        units = COMMON_UNITS["tilt_axis_angle"]
        found = SectionField("tilt_axis_angle", angles, units, "Tilt axis angle")
        fields["tilt_axis_angle"] = found
    columns = list(fields.values())
    if mdoc.is_frame_set:
        columns = [SectionField(c.name, c.values[0, ...], c.units, c.long_name) for c in columns]
    common = [column for column in columns if column.name in COMMON_UNITS]
    return common, [column for column in columns if column.name not in COMMON_UNITS]


def decode_key(key: str, texts: list[str]) -> list[SectionField]:
    """Decode the values of one key; no columns if it has no value anywhere."""
    row = BY_KEY.get(key)
    columns: list[NDArray[Any]] | None = None
    if row is not None and row.form == "time":
        times = [parse_time(text) for text in texts]
        columns = [np.array([time or "NaT" for time in times], "M8[ns]")]
    elif row is not None and row.form == "text":
        columns = [as_texts(texts)]
    elif row is not None:
        columns = as_numbers(row, texts)
    if row is None or columns is None:
        row, columns = unforeseen(key, texts)
    if not any(is_known(values).any() for values in columns):
        return []
    return [
        SectionField(name, values, COMMON_UNITS[name] if row.is_common else row.units, words)
        for name, words, values in zip(row.names, row.long_names, columns, strict=True)
    ]


def as_texts(texts: list[str]) -> NDArray[Any]:
    """Return texts as an array of objects, which no length of a text makes large."""
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def is_known(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are known: not nan, NaT or an empty text."""
    if values.dtype.kind in "fM":
        return np.array(values == values, np.bool_)  # nan and NaT equal nothing
    return np.array([text != "" for text in values.tolist()], np.bool_)


def as_numbers(row: MdocKey, texts: list[str]) -> list[NDArray[Any]] | None:
    """Return a column for each number of a key; None, or ValueError, if they are not numbers."""
    table = np.full((len(texts), len(row.names)), math.nan)
    for values, text in zip(table, texts, strict=True):
        try:
            numbers = [float(word) for word in text.split()]
        except ValueError:
            numbers = []
        if text and len(numbers) != len(values):
            if not row.is_strict:
                return None
            count = "a number" if len(values) == 1 else f"{len(values)} numbers"
            raise ValueError(f"{row.key} = {text!r}, expected {count}")
        if text:
            values[:] = numbers
    table[~np.isfinite(table)] = math.nan
    if row.zero_is_unknown:
        table[table == 0] = math.nan
    return [column.copy() for column in table.T]


def unforeseen(key: str, texts: list[str]) -> tuple[MdocKey, list[NDArray[Any]]]:
    """Decode a key that is not in the table: as numbers if all are, else as text."""
    words = [text.split() for text in texts if text]
    counts = {len(line) for line in words}
    count = counts.pop() if len(counts) == 1 else 0
    if 0 < count <= MAX_PARTS and all(is_number(word) for line in words for word in line):
        row = MdocKey(key, column_names(key, count))
        table = np.full((len(texts), count), math.nan)
        for values, text in zip(table, texts, strict=True):
            if text:
                values[:] = [float(word) for word in text.split()]
        return row, [column.copy() for column in table.T]
    return MdocKey(key, column_names(key, 1), form="text"), [as_texts(texts)]


def is_number(word: str) -> bool:
    """Return True if a word is a number that a float holds."""
    if NUMBER.fullmatch(word) is None:
        return False
    number = float(word)
    if word.lstrip("+-").isdigit():
        return abs(number) < MAX_WHOLE
    return not math.isinf(number)


def parse_time(text: str) -> datetime | None:
    """Parse SerialEM's date and time: 04-Oct-19 18:22:01, 04-Oct-2019 ..., 2019-Oct-04 ..."""
    match = DATE.fullmatch(" ".join(text.lower().split()))
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


def tilt_axis_angle(head: str) -> float | None:
    """Find the angle of the tilt axis in the lines before the first section."""
    for pattern in AXIS_ANGLES:
        for angle in pattern.findall(head):
            try:
                return float(angle)
            except ValueError:
                continue
    return None
