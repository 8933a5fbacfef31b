"""Columns of section metadata as the text of a .mdoc: the inverse of reading it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.mdoc.reading import AXIS_ANGLES, tilt_axis_angle
from xarray_mrc.codec.mdoc.table import BY_KEY, KEYS, MAX_WHOLE, MONTHS, MdocKey, column_names

__all__ = ["MdocText", "encode_mdoc"]

AXIS_TITLE = "[T = Tilt axis angle = {!r}]"
# Global keys of the image file that a .mdoc was written for, which differ for any other.
KEYS_OF_THE_FILE = {"ImageFile", "ImageSize", "DataMode", "PixelSpacing"}


@dataclass(frozen=True, slots=True)
class MdocText:
    """The text of a .mdoc, and what it holds.

    Attributes
    ----------
    text : str
        The text; without any column only the head.
    held : dict of str to str
        What is lost of each column that was written, such as "to whole seconds"; "" if nothing is.
    """

    text: str
    held: dict[str, str] = field(default_factory=dict)


def encode_mdoc(
    values: Mapping[str, NDArray[Any]],
    described: Mapping[str, tuple[str, str]],
    sections: int,
    head: str = "",
) -> MdocText:
    r"""Encode columns as a .mdoc, as far as it has keys for them; the inverse of `decode_mdoc`.

    Parameters
    ----------
    values : mapping of str to ndarray
        A value for each section by name.
    described : mapping of str to (str, str)
        Long name and unit of a column. The long name of a column without a common name holds the
        key that it came from.
    sections : int
        Number of sections.
    head : str
        Global keys and titles to keep. Those of the image file are left out.

    Returns
    -------
    MdocText

    Examples
    --------
    >>> encode_mdoc({"tilt_angle": np.array([-3.0])}, {}, 1).text
    '[ZValue = 0]\nTiltAngle = -3\n\n'
    """
    rows = list(writable_keys(values, described))
    constant = None
    if any(row.key == "TiltAxisAngle" for row in rows):
        angles = {*values["tilt_axis_angle"].tolist()}
        constant = float(angles.pop()) if len(angles) == 1 else None
        constant = constant if constant is not None and math.isfinite(constant) else None
    if constant is not None:
        rows = [row for row in rows if row.key != "TiltAxisAngle"]
    held = {name: loss_of(row, values[name]) for row in rows for name in row.names}
    lines = head_lines(head, constant)
    if constant is not None:
        held["tilt_axis_angle"] = ""
    for number in range(sections):
        lines.append(f"[ZValue = {number}]")
        for row in rows:
            texts = [value_text(values[name][number]) for name in row.names]
            # Keys that nobody foresaw are read only if half of the sections have them.
            if any(texts) or not row.is_common:
                blank = "" if is_text(values[row.names[0]]) else "NaN"
                lines.append(f"{row.key} = {' '.join(text or blank for text in texts)}".rstrip())
        lines.append("")
    return MdocText("\n".join(lines) + "\n", held)


def writable_keys(
    values: Mapping[str, NDArray[Any]], described: Mapping[str, tuple[str, str]]
) -> Iterator[MdocKey]:
    """Yield the keys that hold columns: those of the table, then those that columns came from."""
    taken: set[str] = set()
    for row in KEYS:
        has_units = row.is_common or all(
            described.get(name, ("", ""))[1] == row.units for name in row.names
        )
        if has_units and all(
            name in values and is_writable(row, values[name]) for name in row.names
        ):
            taken |= {*row.names}
            yield row
    groups: dict[str, list[str]] = {}
    for name, (words, units) in described.items():
        if name in values and name not in taken and not units:
            groups.setdefault(re.sub(r" [1-9]$", "", words), []).append(name)
    for key, names in groups.items():
        is_key = re.fullmatch(r"[^\s=\[\]#][^\s=]*", key) is not None
        row = MdocKey(key, column_names(key, len(names)))
        if is_key and {*names} == {*row.names} and key not in BY_KEY:
            if len(names) == 1 and is_text(values[names[0]]):
                row = MdocKey(key, row.names, form="text")
            if all(is_writable(row, values[name]) for name in names):
                yield row


def is_text(values: NDArray[Any]) -> bool:
    """Return True if values are texts."""
    return values.dtype.kind in "OUT"


def is_writable(row: MdocKey, values: NDArray[Any]) -> bool:
    """Return True if a line has room for each of the values."""
    if row.form == "text":
        return is_text(values) and all(
            isinstance(text, str)
            and text == " ".join(text.splitlines()).strip()
            and "\0" not in text
            for text in values.tolist()
        )
    if values.dtype.kind in "iu" and values.size and np.abs(values).max() > MAX_WHOLE:
        return False
    return values.dtype.kind in ("M" if row.form == "time" else "biuf")


def loss_of(row: MdocKey, values: NDArray[Any]) -> str:
    """Return what a reader of a column will miss; "" if it is exact."""
    if row.form == "time":
        known = values[~np.isnat(values)]
        return "to whole seconds" if (known != known.astype("M8[s]")).any() else ""
    if row.zero_is_unknown and (values == 0).any():
        return "0 will be read as unknown"
    if values.dtype.kind == "f" and np.isinf(values).any():
        return "infinite values will be read as unknown"
    return ""


def head_lines(head: str, axis: float | None) -> list[str]:
    """Return the lines before the first section; they state the angle of the tilt axis, if any."""
    lines = []
    for line in head.splitlines():
        is_title = line.strip().startswith("[T ")
        is_other_section = line.strip().startswith("[") and not is_title
        if not is_other_section and line.partition("=")[0].strip() not in KEYS_OF_THE_FILE:
            lines.append(line)
    if axis is None or tilt_axis_angle("\n".join(lines)) != axis:
        lines = [line for line in lines if not any(each.search(line) for each in AXIS_ANGLES)]
        if axis is not None:
            lines += ["", AXIS_TITLE.format(axis)] if lines else [AXIS_TITLE.format(axis)]
    return [*lines, ""] if lines else []


def value_text(value: Any) -> str:
    """Write a value; empty if it is unknown."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return ""
        day, time = str(value.astype("M8[s]")).split("T")
        year, month, date = day.split("-")
        return f"{date}-{MONTHS[int(month) - 1].capitalize()}-{year}  {time}"
    number = float(value)
    if not math.isfinite(number):
        return ""
    return str(int(number)) if number.is_integer() and abs(number) < MAX_WHOLE else repr(number)
