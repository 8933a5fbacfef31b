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
from xarray_mrc.multifile.heads import FRONT_NBYTES, FileHead, reason
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
MRC_NAMES = tuple(name for name in NAMES if name.endswith(".mrc"))
MAX_NAME = max(map(len, NAMES))
# Statistics, origin and labels lie between them. On these only the sign of bytes depends.
SIZES, MARKS, STAMP = slice(0, 76), slice(88, 196), slice(208, 216)
MODE, ZERO = slice(12, 16), bytes(4)
KINDS_OF_FIELDS = {"i": "i4", "h": "i2", "f": "f4"}


LABELS = Header.label_bytes
FIELDS = tuple(field for field in Header.fields() if field is not LABELS)


def format_of(field: Field[Any]) -> Any:
    """Return the format of a field for numpy; texts are bytes without a meaning."""
    if field.code.endswith("s"):
        return f"V{field.nbytes}"
    kind = f"<{KINDS_OF_FIELDS[field.code[-1]]}"
    return kind if field.count == 1 else (kind, (field.count,))


# The header up to the labels, which are last. To copy those too would take three times as long.
RECORD = np.dtype(
    {
        "names": [field.name for field in FIELDS],
        "formats": [format_of(field) for field in FIELDS],
        "offsets": [field.offset for field in FIELDS],
        "itemsize": FRONT_NBYTES,
    }
)


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
    blank, pairs = bytes(FRONT_NBYTES), list(zip(heads, judged, strict=True))
    fronts = b"".join([head.front if each.byteorder else blank for head, each in pairs])
    records = np.frombuffer(fronts, RECORD)
    big = np.flatnonzero([each.byteorder == ">" for each in judged])
    for field in FIELDS:
        columns |= decode_field(field, records, big)
    labels = [head.labels if each.byteorder else b"" for head, each in pairs]
    columns["labels"] = Column(decode_labels(labels), LABELS.doc)
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


def decode_field(
    field: Field[Any], records: NDArray[Any], big: NDArray[np.intp]
) -> dict[str, Column]:
    """Return the columns of one field of all headers; `big` are the big-endian ones."""
    stored = records[field.name]
    if field.code.endswith("s"):
        return {field.name: Column(decode_bytes(field, stored), field.doc)}
    values = stored.astype(stored.dtype.newbyteorder("="))
    if big.size:
        values[big] = stored[big].view(stored.dtype.newbyteorder(">"))
    if field.count == 1:
        return {field.name: Column(values, field.doc, field.unit)}
    parts = PARTS.get(field.name) or tuple(str(n + 1) for n in range(field.count))
    return {
        f"{field.name}_{part}": Column(values[:, n], f"{field.doc}: {part}", field.unit)
        for n, part in enumerate(parts)
    }


def decode_bytes(field: Field[Any], column: NDArray[np.void]) -> NDArray[Any]:
    """Return the texts of a field of four bytes; the machine stamp in hexadecimal."""
    items, which = np.unique(column.view(np.uint32), return_inverse=True)
    found = [item.tobytes() for item in items]
    if field.name == "machst":
        return texts(item.hex(" ") for item in found)[which]
    return texts(item.decode("latin-1").rstrip("\0") for item in found)[which]


def decode_labels(labels: Sequence[bytes]) -> NDArray[Any]:
    """Return the labels of each header, one a line. Neighbours mostly have the same."""
    found, last, text = [], b"", ""
    for own in labels:
        if own != last:
            last, text = own, "\n".join(Header.blank().replace(label_bytes=own).labels)
        found.append(text)
    return texts(found)


def judge(head: FileHead, known: dict[object, Judgement]) -> Judgement:
    """Find what a file is, from `known` if a file that agrees with it was judged before."""
    if head.problem:
        return Judgement("", problem=head.problem)
    front, end = head.front, ending_of(head.path)
    key: object
    if front[MODE] == ZERO:
        key = front, head.labels, head.record, head.size, end
    else:
        key = front[SIZES], front[MARKS], front[STAMP], head.record, head.size, end
    found = known.get(key)
    if found is None:
        try:
            found = known[key] = judge_alone(head, plain_name(head.path).lower())
        except NotInHeaderError:
            found = judge_opened(head)
    return found


def ending_of(path: str) -> str:
    """Return the end of a name that is evidence of the kind of a file; empty if there is none."""
    if path.endswith(".mrc") and not path.endswith(MRC_NAMES):  # most files, and the fastest
        return ""
    name = plain_name(path)[-MAX_NAME:].lower()
    return next((end for end in NAMES if name.endswith(end)), "")


def judge_alone(head: FileHead, name: str) -> Judgement:
    """Find what a file is by its header; NotInHeaderError if that does not suffice."""

    def refuse() -> Any:
        raise NotInHeaderError

    if head.size is None and Header(head.front.ljust(HEADER_SIZE, b"\0"), "<").nsymbt:
        refuse()  # whether the extended header is there
    evidence = KindEvidence(name, refuse, refuse)
    try:
        header = Header.decode(head.data, head.size)
        layout = Layout.from_header(header, head.size, evidence=evidence, extended_head=head.record)
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
