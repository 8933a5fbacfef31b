"""Plan of the file of a Dataset or DataArray: header, layout and data. No file is touched.

The inverse of `from_file`: it reads the planned file back as the same object, or `notes` names the
differences.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.extended import decode_extended, per_section
from xarray_mrc.codec.geometry import IMOD_ORIGIN_SIGN
from xarray_mrc.codec.header import HEADER_SIZE, IMOD_STAMP, Header
from xarray_mrc.codec.kinds import CRYSTAL_SPACE_GROUPS, STACK_SPACE_GROUPS, KindEvidence, find_kind
from xarray_mrc.codec.labels import LABEL_COUNT, encode_labels, split_labels
from xarray_mrc.codec.layout import DIMS, Kind, Layout
from xarray_mrc.codec.modes import UNSIGNED_BYTE
from xarray_mrc.codec.samples import IMOD_FOUR_BITS, IMOD_SIGNED_BYTES
from xarray_mrc.dataset.axis_positions import VoxelSize
from xarray_mrc.dataset.conventions import data_variable, match_dims
from xarray_mrc.dataset.mode_choice import choose_sample, widening_notes
from xarray_mrc.dataset.positions_to_header import header_geometry
from xarray_mrc.dataset.raw_records import RAW_NAME, TEXT_TYPES, raw_records, records_like
from xarray_mrc.dataset.section_metadata import WrittenSidecar, plan_sections, section_values
from xarray_mrc.reading.file_layout import name_of
from xarray_mrc.reading.open_file import OpenedFile

__all__ = ["FilePlan", "own_version", "plan_file"]

OURS = "Created by xarray_mrc"
IMOD_FIELDS = ("imod_stamp", "imod_flags", "idtype", "tilt_angles")
# A tilt angle of the data, which may be a sidecar's, may be off the records by so many degrees.
MAX_TILT_ROUNDING = 0.1


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that could be written.

    Attributes
    ----------
    header : Header
        The header, with unknown statistics.
    extended : bytes
        The extended header.
    layout : Layout
        How the data will lie.
    data : xarray.Variable
        The data, with the axes in the order of the file; neither computed nor cast yet.
    sidecar : str
        Text of the sidecar; empty if none is written.
    notes : tuple of str
        Sentences for the one warning: positions and metadata that the file will not hold.
    """

    header: Header
    extended: bytes
    layout: Layout
    data: xr.Variable
    sidecar: str
    notes: tuple[str, ...]


def plan_file(
    obj: xr.Dataset | xr.DataArray,
    *,
    target: str = "",
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    voxel_size: VoxelSize | None = None,
    like: OpenedFile | None = None,
    kind: Kind | None = None,
    labels: str | Sequence[str] | None = None,
    sidecar: WrittenSidecar | None = None,
) -> FilePlan:
    """Plan the file of an object; `xarray_mrc.to_mrc` describes the parameters.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object.
    target : str
        Path of the file: its name tells a reader the kind.
    dtype, mode, voxel_size, kind, labels, sidecar
        As in `to_mrc`.
    like : OpenedFile, optional
        The file to copy from, opened with all bytes of its extended header.

    Returns
    -------
    FilePlan

    Raises
    ------
    ValueError
        An MRC file cannot hold the object.

    Examples
    --------
    >>> planned = plan_file(xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("x", "z", "y")))
    >>> planned.header.n, planned.layout.dims
    ((2, 4, 3), ('z', 'y', 'x'))
    """
    array = data_variable(obj)
    kind, dims = match_dims(array, kind)
    number, sample = choose_sample(array, dtype, mode)
    data = array.variable.transpose(*dims.values())
    volumes, depth, rows, columns = file_lengths(data, kind)
    header = Header.blank().replace(
        nx=columns, ny=rows, nz=volumes * depth, mode=number, mx=columns, my=rows, mz=depth
    )
    both_volumes = kind == "volume" and like is not None and like.array.layout.kind == "volume"
    if like is not None:
        header = header.replace(**imod_fields_like(like.header))
    if number == 0 and sample is UNSIGNED_BYTE:
        header = header.replace(**unsigned_fields(header))
    grid = header_geometry(
        array,
        dims,
        header,
        voxel_size,
        like.header if like else None,
        is_volume=both_volumes,
    )
    group, group_notes = space_group(array, kind, like, has_cell=grid.has_cell)
    texts = choose_labels(array, labels, like)
    header = header.replace(
        **grid.fields, ispg=group, nlabl=len(texts), label_bytes=encode_labels(texts)
    )
    records: dict[str, Any] = {}
    extended = b""
    record_notes: list[str] = []
    if like is not None and like.extended_bytes:
        try:
            records, extended = extended_like(like, header, array, kind, dims)
        except LookupError as reason:
            record_notes = [f"the extended header of {like.array.source.uri} is left out: {reason}"]
    elif like is None and isinstance(obj, xr.Dataset):
        try:
            records, extended = extended_of(obj, header, array, kind, dims)
        except LookupError as reason:
            record_notes = [f"the coordinate {RAW_NAME} is not written: {reason}"]
    header = header.replace(**records)
    sections = plan_sections(array, kind, dims, header, extended, sidecar, target)
    header = header.replace(**sections.fields)
    offset = HEADER_SIZE + len(sections.extended)
    layout = Layout.arrange(header, kind, sample, (volumes * depth, rows, columns), offset)
    notes = [*widening_notes(array, number), *grid.notes, *group_notes, *record_notes]
    notes += [*sections.notes, *kind_notes(header, kind, target)]
    return FilePlan(header, sections.extended, layout, data, sections.sidecar, tuple(notes))


def file_lengths(data: xr.Variable, kind: Kind) -> tuple[int, int, int, int]:
    """Return the numbers of volumes, sections of a volume, rows and columns."""
    if 0 in data.shape:
        raise ValueError(f"the shape is {data.shape}, expected no axis of length 0")
    if any(length != length for length in data.shape):  # nan
        raise ValueError(
            f"the shape is {data.shape}, expected lengths that are known: call "
            f".data.compute_chunk_sizes() first"
        )
    lengths = data.shape[: len(DIMS[kind])]
    volumes, depth, rows, columns = (1,) * (4 - len(lengths)) + lengths
    return (depth, 1, rows, columns) if kind == "image_stack" else (volumes, depth, rows, columns)


def space_group(
    array: xr.DataArray, kind: Kind, like: OpenedFile | None, *, has_cell: bool
) -> tuple[int, list[str]]:
    """Return the space group, and a sentence if that of a crystal cannot be kept.

    The symmetry of a crystal is that of its unit cell, and a cell as large as the data is none.
    """
    if kind in ("image", "image_stack"):
        return 0, []
    usual = 1 if kind == "volume" else STACK_SPACE_GROUPS[0]
    noted = np.ravel(array.attrs.get("mrc_space_group", like.header.ispg if like else usual))
    group = int(noted[0]) if noted.size == 1 and noted.dtype.kind in "iu" else usual
    if kind == "volume_stack":
        return (group if group in STACK_SPACE_GROUPS else usual), []
    if group not in CRYSTAL_SPACE_GROUPS or has_cell:
        return (group if group in CRYSTAL_SPACE_GROUPS else usual), []
    note = (
        f"the space group {group} of the crystal is written as 1, because the cell is as large as "
        f"the data"
    )
    if like is None:
        note += ": pass like= with a file of the crystal to keep it"
    return usual, [note]


def extended_like(
    like: OpenedFile,
    header: Header,
    array: xr.DataArray,
    kind: Kind,
    dims: Mapping[str, Hashable],
) -> tuple[dict[str, Any], bytes]:
    """Return the fields and bytes of another file's extended header; LookupError if they don't fit.

    Records of sections are put in the order of the data.
    """
    other = like.header
    symmetry = bool(like.extended.symmetry)
    exttyp = b"CCP4" if symmetry else other.exttyp  # the type often goes without saying
    extended = like.extended_bytes
    if symmetry and other.ispg in CRYSTAL_SPACE_GROUPS and header.ispg != other.ispg:
        raise LookupError("its symmetry is that of a crystal, and the space group written is 1")
    if per_section(other.exttyp):
        extended = records_like(like, array, header.nz)
    if other.byteorder != header.byteorder and exttyp not in TEXT_TYPES:
        raise LookupError("its numbers are big endian, and little endian is written")
    fields = {"nint": other.nint, "nreal": other.nreal, "exttyp": exttyp, "nsymbt": len(extended)}
    if other.is_standard_version:  # in images of EPU it tells which row is the top one
        fields["nversion"] = other.nversion
    if has_other_tilts(header.replace(**fields), extended, array, kind, dims):
        raise LookupError("its tilt angles are not those of the data")
    return fields, extended


def extended_of(
    obj: xr.Dataset,
    header: Header,
    array: xr.DataArray,
    kind: Kind,
    dims: Mapping[str, Hashable],
) -> tuple[dict[str, Any], bytes]:
    """Return the fields and bytes of a dataset's own extended header, as `extended_like`."""
    slow = dims.get("image")
    group = array.attrs.get("mrc_space_group", header.ispg)
    fields, extended = raw_records(obj, header, slow, group)
    if extended and has_other_tilts(header.replace(**fields), extended, array, kind, dims):
        raise LookupError("its tilt angles are not those of the data")
    return fields, extended


def has_other_tilts(
    header: Header,
    extended: bytes,
    array: xr.DataArray,
    kind: Kind,
    dims: Mapping[str, Hashable],
) -> bool:
    """Return True if records name other tilt angles than the data; a sidecar has more decimals."""
    ours = section_values(array, kind, dims, header.nz)[0].get("tilt_angle")
    read = decode_extended(header, extended, header.nz).common
    tilts = next((f.values for f in read if f.name == "tilt_angle"), None)
    if ours is None or tilts is None:
        return False
    return not np.allclose(ours, tilts, rtol=0, atol=MAX_TILT_ROUNDING, equal_nan=True)


def kind_notes(header: Header, kind: Kind, target: str) -> list[str]:
    """Return a sentence if a reader will find another kind, by the name of the file.

    Space group and MZ of our files decide before records and sidecars are asked for.
    """
    found, reason = find_kind(header, KindEvidence(name_of(target)))
    if found == kind:
        return []
    note = (
        f"the {kind} will be read as {found} ({reason}): open it with kind={kind!r}, or choose "
        f"another name"
    )
    return [note]


def imod_fields_like(other: Header) -> dict[str, Any]:
    """Return IMOD's fields of another file; ORIGIN has the sign of the standard in ours."""
    if not other.has_imod_stamp:
        return {}
    flags = other.imod_flags & ~IMOD_FOUR_BITS | IMOD_ORIGIN_SIGN | IMOD_SIGNED_BYTES
    return {name: getattr(other, name) for name in IMOD_FIELDS} | {"imod_flags": flags}


def unsigned_fields(header: Header) -> dict[str, int]:
    """Return IMOD's stamp and flags for unsigned bytes: no other field marks them.

    Flag 4 says that ORIGIN has the sign of the standard.
    """
    flags = header.imod_flags & ~IMOD_SIGNED_BYTES if header.has_imod_stamp else 0
    return {"imod_stamp": IMOD_STAMP, "imod_flags": flags | IMOD_ORIGIN_SIGN}


def choose_labels(
    array: xr.DataArray, labels: str | Sequence[str] | None, like: OpenedFile | None
) -> list[str]:
    """Return the labels that were passed, or of the attributes or the other file, and our own."""
    if labels is None:
        noted = array.attrs.get("mrc_labels")
        labels = split_labels("" if noted is None else noted)
        labels = labels or (like.header.labels if like else ())
    texts = [text for text in split_labels(labels) if not text.startswith(OURS)]
    if len(texts) < LABEL_COUNT:
        texts.append(f"{OURS} {own_version()}"[:80])
    return texts


def own_version() -> str:
    """Return the version of this package."""
    try:
        return version("xarray-mrc")
    except PackageNotFoundError:  # used from a source tree that was not installed
        return "of unknown version"
