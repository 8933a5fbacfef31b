"""The tables of the codec in Markdown, for the pages on the format and on the checks.

They are read from the code when the site is built, so that nothing is written down twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from xarray_mrc.checking.profiles import PROFILES, severity_of
from xarray_mrc.codec.checks import CHECKS
from xarray_mrc.codec.containers import SUFFIX_OF
from xarray_mrc.codec.extended import COMMON_UNITS, agard, fei, seri
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.kinds import EVIDENCE, KIND_WAS_PASSED
from xarray_mrc.codec.mdoc import KEYS
from xarray_mrc.codec.modes import FOREIGN_MODES, MODES, Sample

if TYPE_CHECKING:
    from xarray_mrc.codec.extended.table import Column

Rows = Iterator[tuple[str, ...]]

NAME_OF_CODE = {
    "i": "int32", "h": "int16", "f": "float32", "s": "bytes", "?": "bool",
    "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32",
    "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
}  # fmt: skip


def name_type(code: str) -> str:
    """Return a `struct` or numpy code in words: ``"3f"`` is "3 float32"."""
    if code.startswith("S"):
        return f"{code[1:]} bytes"
    match = re.fullmatch(r"(\d*)(.+)", code)
    count, kind = match.groups() if match else ("", code)
    return f"{count} {NAME_OF_CODE[kind]}".strip()


def header_fields() -> Rows:
    """Yield the fields of the main header, in the order of the file."""
    yield "byte", "word", "field", "type", "unit", "meaning"
    for field in sorted(Header.fields(), key=lambda field: field.offset):
        word = str(field.offset // 4 + 1)
        unit = field.unit
        yield str(field.offset), word, f"`{field.name}`", name_type(field.code), unit, field.doc


def stored_as(sample: Sample) -> str:
    """Return how a pixel is stored, in words."""
    if sample.packed:
        return "two pixels a byte, the first in the low half"
    stored = name_type(sample.stored)
    return f"{sample.parts} {stored}" if sample.parts > 1 else stored


def modes() -> Rows:
    """Yield the modes that are read and written."""
    yield "mode", "meaning", "stored as", "data type of the array"
    for mode in MODES.values():
        dtype = name_type(mode.sample.dtype)
        if mode.sample.trailing:
            dtype += ", with a last dimension `rgb`"
        if mode.number == 0:
            dtype += ", or uint8 if the bytes are unsigned"
        yield str(mode.number), mode.title, stored_as(mode.sample), dtype


def foreign_modes() -> Rows:
    """Yield the modes of other programs that are refused by name."""
    yield "mode", "meaning"
    for number, meaning in FOREIGN_MODES.items():
        yield str(number), meaning


def kinds() -> Rows:
    """Yield the evidence for the kind of a file, strongest first."""
    yield "", "evidence, as in `mrc_kind_source`", "kind"
    yield "0", KIND_WAS_PASSED, "that kind"
    for number, row in enumerate(EVIDENCE, 1):
        yield str(number), row.sentence, f"`{row.kind}`"


def section_names() -> Rows:
    """Yield the names of section metadata that all producers share, and who has them."""
    yield "coordinate", "unit", "SERI", "FEI1, FEI2", "AGAR", ".mdoc"
    tables = (seri.COLUMNS, fei.COLUMNS, agard.COLUMNS)
    keys = {
        name: words for row in KEYS for name, words in zip(row.names, row.long_names, strict=True)
    }
    for name, unit in COMMON_UNITS.items():
        fields = [[c.name for c in table if c.common == name] for table in tables]
        yield f"`{name}`", unit, *(", ".join(found) for found in fields), keys.get(name, "")


def decoded(column: Column) -> str:
    """Return how the stored number becomes the value."""
    parts = [f"times {column.times}"] if column.times != 1 else []
    parts += [f"divided by {column.per}"] if column.per != 1 else []
    parts += ["0 is unknown"] if column.zero_is_unknown else []
    parts += [f"{column.time} since {START_OF_TIME[column.time]}"] if column.time else []
    return ", ".join(parts)


START_OF_TIME = {"days": "1899-12-30", "microseconds": "1970-01-01"}


def serialem_records() -> Rows:
    """Yield the fields of SerialEM's records."""
    yield "bit of NREAL", "field", "type", "unit", "decoding", "coordinate"
    for column in seri.COLUMNS:
        bit = str(1 << column.bit[1])
        common = f"`{column.common}`" if column.common else ""
        name, unit = column.name, column.units
        yield bit, name, name_type(column.code), unit, decoded(column), common


def fei_records() -> Rows:
    """Yield the fields of the records of FEI and Thermo Fisher."""
    yield "byte", "field", "type", "valid by mask.bit", "unit", "coordinate"
    for column in fei.COLUMNS:
        common = f"`{column.common}`" if column.common else ""
        unit = column.units or decoded(column)
        bit = "{}.{}".format(*column.bit)
        yield str(column.offset), column.name, name_type(column.code), bit, unit, common


def agard_records() -> Rows:
    """Yield the floats of Agard's records."""
    yield "float", "field", "unit", "coordinate"
    for column in agard.COLUMNS:
        common = f"`{column.common}`" if column.common else ""
        yield str(column.offset // 4), column.name, column.units, common


def mdoc_keys() -> Rows:
    """Yield the keys of a .mdoc that have names and units of their own."""
    yield "key", "coordinates", "unit"
    for row in KEYS:
        if not row.is_common:
            yield row.key, ", ".join(f"`{name}`" for name in row.names), row.units


def containers() -> Rows:
    """Yield the containers and their suffixes."""
    yield "container", "suffix"
    for name, suffix in SUFFIX_OF.items():
        yield name, f"`{suffix}`"


def checks() -> Rows:
    """Yield the checks of `validate`, with their severity in each profile."""
    yield "id", "rule", *PROFILES, "repair", "reading"
    for check in CHECKS:
        severities = (severity_of(check, profile) or "·" for profile in PROFILES)
        fix, reading = ("yes" if flag else "" for flag in (check.fix, check.reading))
        yield check.id, check.title, *severities, fix, reading


TABLES: dict[str, Callable[[], Rows]] = {
    table.__name__.replace("_", "-"): table
    for table in (
        header_fields, modes, foreign_modes, kinds, section_names, serialem_records, fei_records,
        agard_records, mdoc_keys, containers, checks,
    )
}  # fmt: skip


def as_markdown(rows: Rows) -> str:
    """Return a table in Markdown; the first row is its heading."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    lines.insert(1, "|" + " --- |" * (lines[0].count(" | ") + 1))
    return "\n".join(lines)
