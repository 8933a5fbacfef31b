"""Headers of many files as columns: one structured array is decoded at once.

What takes judgement (byte order, kind, data type, size) is found as for a single file, but once
for all files that agree in everything that it depends on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.header import (
    HEADER_SIZE,
    IMOD_STAMP,
    Field,
    Header,
    guess_byteorder,
)
from xarray_mrc.codec.kinds import MAP_NAMES, RECONSTRUCTION_NAMES, STACK_NAMES, KindEvidence
from xarray_mrc.codec.layout import Layout
from xarray_mrc.errors import MrcError, MrcFormatError
from xarray_mrc.multifile.heads import FileHead, reason
from xarray_mrc.reading.file_layout import find_layout
from xarray_mrc.storage import open_head

__all__ = ["Column", "decode_heads"]

# Numbers of a field with several of them.
PARTS = {
    "cella": ("x", "y", "z"),
    "cellb": ("alpha", "beta", "gamma"),
    "origin": ("x", "y", "z"),
    "skew_translation": ("x", "y", "z"),
}
NAMES = (*STACK_NAMES, *RECONSTRUCTION_NAMES, *MAP_NAMES)
# On the others, statistics, origin and labels, only the sign of bytes depends.
FIXED_RANGES = ((0, 76), (88, 196), (208, 216))
MODE, NSYMBT = slice(12, 16), slice(92, 96)
KINDS_OF_FIELDS = {"i": "i4", "h": "i2", "f": "f4"}


class Column(NamedTuple):
    """One column: a value a file, with its meaning and unit."""

    values: NDArray[Any]
    doc: str
    unit: str = ""


class Judgement(NamedTuple):
    """What a file is, by its header; `problem` is empty if it can be read."""

    byteorder: str
    kind: str = ""
    dtype: str = ""
    voxel_size: tuple[float, float, float] = (math.nan,) * 3
    problem: str = ""


class NotInHeaderError(Exception):
    """Evidence beside the header decides, so that the file has to be opened by itself."""


def decode_heads(heads: Sequence[FileHead]) -> dict[str, Column]:
    """Decode the headers of many files.

    Parameters
    ----------
    heads : sequence of FileHead
        The files.

    Returns
    -------
    dict of Column
        By name: ``problem``, ``kind``, ``dtype``, ``byteorder``, ``voxel_size_x`` to
        ``voxel_size_z``, and every field of the header, those with several numbers as one column
        a number. A file without a header has zeros, nan and empty texts. Skew and tilt angles are
        nan where the header does not say that they are there.
    """
    known: dict[object, Judgement] = {}
    judged = [judge(head, known) for head in heads]
    sizes = np.array([each.voxel_size for each in judged], float).reshape(len(heads), 3)
    columns = {
        "problem": Column(texts(each.problem for each in judged), "why the file cannot be read"),
        "kind": Column(texts(each.kind for each in judged), "kind of the data"),
        "dtype": Column(texts(each.dtype for each in judged), "data type of the data"),
        "byteorder": Column(texts(each.byteorder for each in judged), "byte order of the file"),
    }
    for axis, name in enumerate("xyz"):
        doc = f"voxel size along {name}"
        columns[f"voxel_size_{name}"] = Column(sizes[:, axis], doc, "angstrom")
    is_big = np.array([each.byteorder == ">" for each in judged], bool)
    blank = bytes(HEADER_SIZE)
    raw = b"".join(
        head.data[:HEADER_SIZE] if each.byteorder else blank
        for head, each in zip(heads, judged, strict=True)
    )
    for field in Header.fields():
        columns |= decode_field(field, raw, is_big)
    blank_unless(columns, "skew_", columns["lskflg"].values == 1)
    blank_unless(columns, "tilt_angles_", columns["imod_stamp"].values == IMOD_STAMP)
    return columns


def blank_unless(columns: dict[str, Column], start: str, is_there: NDArray[np.bool_]) -> None:
    """Make numbers nan in files that use their bytes for something else."""
    for name, column in columns.items():
        if name.startswith(start):
            column.values[~is_there] = np.nan


def texts(values: Any) -> NDArray[Any]:
    """Return texts as an array of objects, which pandas has too."""
    found = list(values)
    array = np.empty(len(found), object)
    array[:] = found
    return array


def decode_field(field: Field[Any], raw: bytes, is_big: NDArray[np.bool_]) -> dict[str, Column]:
    """Return the columns of one field of all headers."""
    if field.code.endswith("s"):
        column = records(raw, field, f"V{field.nbytes}")[:, 0]
        return {name_of_field(field): Column(decode_bytes(field, column), field.doc, field.unit)}
    kind = KINDS_OF_FIELDS[field.code[-1]]
    values = records(raw, field, f"<{kind}").astype(kind)
    values[is_big] = records(raw, field, f">{kind}")[is_big]
    if field.count == 1:
        return {field.name: Column(values[:, 0], field.doc, field.unit)}
    parts = PARTS.get(field.name) or tuple(str(n + 1) for n in range(field.count))
    return {
        f"{field.name}_{part}": Column(values[:, n], f"{field.doc}: {part}", field.unit)
        for n, part in enumerate(parts)
    }


def records(raw: bytes, field: Field[Any], kind: str) -> NDArray[Any]:
    """Return a field of all headers, of shape (files, numbers of the field)."""
    headers = np.frombuffer(raw, np.uint8).reshape(-1, HEADER_SIZE)
    own = headers[:, field.offset : field.offset + field.nbytes]
    return np.ascontiguousarray(own).view(kind)


def name_of_field(field: Field[Any]) -> str:
    """Return the name of a column of texts."""
    return "labels" if field.name == "label_bytes" else field.name


def decode_bytes(field: Field[Any], column: NDArray[np.void]) -> NDArray[Any]:
    """Return the texts of a field, each distinct one decoded once."""
    known: dict[bytes, str] = {}
    found = []
    for item in column.tolist():
        if item not in known:
            known[item] = decode_text(field, item)
        found.append(known[item])
    return texts(found)


def decode_text(field: Field[Any], item: bytes) -> str:
    """Return the text of one field: labels one a line, the machine stamp in hexadecimal."""
    if field.name == "label_bytes":
        return "\n".join(Header.blank().replace(label_bytes=item).labels)
    return item.hex(" ") if field.name == "machst" else item.decode("latin-1").rstrip("\0")


def judge(head: FileHead, known: dict[object, Judgement]) -> Judgement:
    """Find what a file is, from `known` if a file that agrees with it was judged before."""
    if head.problem:
        return Judgement("", problem=head.problem)
    raw = head.data[:HEADER_SIZE]
    name = plain_name(head.path).lower()
    ending = next((end for end in NAMES if name.endswith(end)), "")
    if any(raw[MODE]):
        fixed = b"".join([raw[start:stop] for start, stop in FIXED_RANGES])
    else:
        fixed = raw
    first_record = head.data[HEADER_SIZE:] if any(raw[NSYMBT]) else b""
    key = fixed, first_record, head.size, ending
    found = known.get(key)
    if found is None:
        try:
            found = known[key] = judge_alone(head, name)
        except NotInHeaderError:
            found = judge_opened(head)
    return found


def judge_alone(head: FileHead, name: str) -> Judgement:
    """Find what a file is by its header; NotInHeaderError if that does not suffice."""

    def refuse() -> Any:
        raise NotInHeaderError

    if head.size is None and Header(head.data[:HEADER_SIZE].ljust(HEADER_SIZE), "<").nsymbt:
        refuse()  # whether the extended header is there
    evidence = KindEvidence(name, refuse, refuse)
    try:
        header = Header.decode(head.data, head.size)
        layout = Layout.from_header(
            header, head.size, evidence=evidence, extended_head=head.data[HEADER_SIZE:]
        )
    except MrcError as error:
        return damaged(head, error)
    return sound(header, layout)


def judge_opened(head: FileHead) -> Judgement:
    """Find what a file is by opening it, with its records and sidecars."""
    try:
        opened = head.opened or open_head(head.path)
        header = Header.decode(head.data, head.size)
        return sound(header, find_layout(opened, header, check_size=False).layout)
    except (MrcError, OSError) as error:
        return damaged(head, error)


def sound(header: Header, layout: Layout) -> Judgement:
    """Return the judgement of a file that can be read."""
    return Judgement(header.byteorder, layout.kind, layout.dtype.name, header.voxel_size)


def damaged(head: FileHead, error: Exception) -> Judgement:
    """Return the judgement of a file that cannot be read, with what its header says."""
    problem = reason(error, head.path)
    if len(head.data) < HEADER_SIZE or isinstance(error, MrcFormatError):
        return Judgement("", problem=problem)
    header, _ = guess_byteorder(head.data[:HEADER_SIZE], head.size)
    return Judgement(header.byteorder, voxel_size=header.voxel_size, problem=problem)
