"""Plan of the growth of a file: where images lie after those that are there. No file is touched.

A file grows only if it is read as its old images while it is written, and then with the new ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.extended import decode_extended, per_section, seri
from xarray_mrc.codec.extended.records import BLOCK_NBYTES
from xarray_mrc.codec.geometry import Geometry
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import KindEvidence, find_kind, has_stack_name
from xarray_mrc.codec.layout import Kind, Layout
from xarray_mrc.codec.statistics import UNKNOWN
from xarray_mrc.dataset.axis_positions import (
    TINY,
    AxisPositions,
    VoxelSize,
    parse_voxel_size,
    read_positions,
    voxel_size_of,
)
from xarray_mrc.dataset.conventions import match_dims
from xarray_mrc.dataset.mode_choice import choose_sample
from xarray_mrc.dataset.section_metadata import (
    WrittenSidecar,
    distance,
    loss_notes,
    section_values,
    sidecar_text,
)
from xarray_mrc.dataset.to_file import FilePlan, file_lengths, plan_file
from xarray_mrc.errors import MrcError
from xarray_mrc.reading.file_layout import find_layout, name_of
from xarray_mrc.reading.open_file import OpenedFile
from xarray_mrc.reading.sidecar import has_sidecar
from xarray_mrc.storage.protocol import Head
from xarray_mrc.writing.region import check_dtype
from xarray_mrc.writing.target import check_suffix

__all__ = ["Growth", "plan_growth", "plan_stack"]

# A voxel size that is read from a cell length of float32 is off by less than this part of itself.
VOXEL_RTOL = 1e-6
# The one item that each kind of stack consists of, and the dimension of many.
ITEMS: dict[Kind, Kind] = {"image_stack": "image", "volume_stack": "volume"}
SLOW_DIMS: dict[Kind, str] = {"image_stack": "image", "volume_stack": "volume"}


@dataclass(frozen=True, slots=True)
class Growth:
    """The images to append to a file, as they will lie there.

    Attributes
    ----------
    header : Header
        The header that counts them, with unknown statistics.
    layout : Layout
        How all data of the file will lie.
    data : xarray.Variable
        The new data, with the axes in the order of the file.
    region : tuple of range
        Their positions in the file along each axis.
    records : bytes
        Their records in the extended header; empty if it has none of sections.
    sidecar : str
        The sidecar of the new images alone; empty if none is written.
    notes : list of str
        Sentences for the one warning.
    """

    header: Header
    layout: Layout
    data: xr.Variable
    region: tuple[range, ...]
    records: bytes
    sidecar: str
    notes: list[str]


def plan_stack(array: xr.DataArray, target: str, reserve: int, **options: Any) -> FilePlan:
    """Plan a new file that can grow; ValueError if its name or its data do not allow that."""
    check_suffix(target)
    kind = match_dims(array, None)[0]
    if kind == "volume" and "z" in array.dims:
        raise ValueError(
            f"the data are one volume, and {target} does not exist: pass obj.expand_dims('volume') "
            f"to begin a stack of volumes, or obj.rename(z='image') if its sections are images"
        )
    if kind == "volume":  # dimensions without names
        kind = match_dims(array, "image_stack")[0]
    name = name_of(target)
    if kind == "image" and has_stack_name(name):
        array, kind = array.drop_vars("image", errors="ignore").expand_dims("image"), "image_stack"
    elif kind == "image_stack" and len(array) == 1 and not has_stack_name(name):
        array, kind = array.isel({array.dims[0]: 0}), "image"
    planned = plan_file(array, target=target, kind=kind, **options)
    header = planned.header
    if kind != "volume_stack":
        grown, reason = find_kind(header.replace(nz=max(2, header.nz)), KindEvidence(name))
        if grown != "image_stack":
            raise ValueError(f"{target}: {reason}, expected a name for a stack, such as .mrcs")
    fields = {}
    extended, layout = planned.extended, planned.layout
    if header.exttyp == b"SERI":
        nbytes = -(-reserve * header.nint // BLOCK_NBYTES) * BLOCK_NBYTES
        extended = extended.ljust(nbytes, b"\0")
        fields = {"nsymbt": len(extended)}
        layout = replace(layout, offset=HEADER_SIZE + len(extended))
    return replace(planned, header=header.replace(**fields), extended=extended, layout=layout)


def plan_growth(
    array: xr.DataArray,
    opened: OpenedFile,
    target: str,
    voxel_size: VoxelSize | None,
    dtype: DTypeLike | None,
    mode: int | None,
    sidecar: WrittenSidecar | None,
) -> Growth:
    """Plan how images lie after those of a file; ValueError if they do not belong there."""
    header, layout = opened.header, opened.array.layout
    kind: Kind = "image_stack" if layout.kind == "image" else layout.kind
    if kind not in ITEMS:
        raise ValueError(
            f"{target} is read as a volume ({layout.kind_source}), which cannot grow: if its "
            f"sections are images, first call xarray_mrc.edit_header(path, kind='image_stack')"
        )
    if header.nsymbt and layout.offset == HEADER_SIZE:
        raise ValueError(
            f"{target}: nsymbt is {header.nsymbt}, but the extended header is missing; first call "
            f"xarray_mrc.edit_header(path, nsymbt=0)"
        )
    check_type(array, dtype, mode, header, layout, target)
    array, dims = match_stack(array, kind, target)
    slow = dims[SLOW_DIMS[kind]]
    data = array.variable.transpose(*dims.values())
    file_lengths(data, kind)  # refuses lengths that are 0 or unknown
    count = array.sizes[slow]
    old = layout.shape[0] if layout.kind == kind else 1
    grown_header = with_more(header, kind, count)
    lengths = (grown_header.nz, *layout.stored[2:])
    grown = Layout.arrange(grown_header, kind, layout.sample, lengths, layout.offset)
    if grown.axes[0] != (1 if kind == "image_stack" else 0):
        raise ValueError(
            f"{target}: its sections lie along another axis than Z (mapc, mapr and maps are "
            f"{header.mapcrs}), so that its images do not follow one another and it cannot grow"
        )
    wanted = dict(zip(grown.dims[1:], grown.shape[1:], strict=True))
    found = {dim: array.sizes[dims[dim]] for dim in wanted}
    if found != wanted:
        raise ValueError(f"the data are {found}, but {target} holds {wanted}")
    order = sorted(zip(grown.axes, grown.dims, strict=True))
    region = tuple(range(dict(zip(grown.dims, grown.shape, strict=True))[dim]) for _, dim in order)
    region = (range(old, old + count), *region[1:])
    data = array.variable.transpose(*(dims[dim] for _, dim in order))
    check_states(opened, grown_header, grown, target)
    check_voxel_size(array, kind, voxel_size, header, target)
    records, text, notes = plan_records(array, kind, dims, opened, count, sidecar)
    notes += position_notes(array, dims, header)
    size = opened.array.source.size_if_known or 0
    if size > layout.end:
        notes.append(
            f"{size - layout.end} bytes after the data, which the header does not count, are "
            f"overwritten: an interrupted call leaves them"
        )
    if sidecar is None and has_sidecar(target, header.nz):
        notes.append(
            f"the sidecar beside the file describes {header.nz} sections, so that readers will "
            f"leave it out: add the others to it, or pass sidecar="
        )
    return Growth(grown_header, grown, data, region, records, text, notes)


def check_type(
    array: xr.DataArray,
    dtype: DTypeLike | None,
    mode: int | None,
    header: Header,
    layout: Layout,
    target: str,
) -> None:
    """Raise ValueError unless a new file of these data would have the data type of this one.

    So the call that began a file, which may have widened its bytes, can be repeated.
    """
    number, sample = choose_sample(array, dtype, mode)
    if (number, sample.dtype) != (header.mode, layout.sample.dtype):
        check_dtype(array, dtype, header, layout, target)


def match_stack(
    array: xr.DataArray, kind: Kind, target: str
) -> tuple[xr.DataArray, dict[str, Hashable]]:
    """Return images, or volumes, along a dimension, and the dimensions by their name in a file."""
    found = match_dims(array, None)[0]
    if kind == "image_stack" and found == "volume" and "z" not in array.dims:
        found = kind  # dimensions without names
    if found == ITEMS[kind]:
        slow = SLOW_DIMS[kind]
        array = array.drop_vars(slow, errors="ignore").expand_dims(slow)
    elif found != kind:
        raise ValueError(
            f"the dimensions are {array.dims}, which is a {found}, but {target} holds a {kind}: "
            f"rename them, as in obj.rename(z='image')"
        )
    return array, match_dims(array, kind)[1]


def with_more(header: Header, kind: Kind, count: int) -> Header:
    """Return the header of a file with more images or volumes; the voxel size is kept.

    Programs such as IMOD count the images of a stack in MZ, too.
    """
    depth = header.mz if kind == "volume_stack" else 1
    fields: dict[str, Any] = {"nz": header.nz + count * depth} | UNKNOWN
    if kind == "image_stack" and header.mz == header.nz > 1:
        x, y, z = header.cella
        fields |= {"mz": fields["nz"], "cella": (x, y, z / header.mz * fields["nz"])}
    return header.replace(**fields)


def check_states(opened: OpenedFile, header: Header, layout: Layout, target: str) -> None:
    """Raise ValueError unless the file is read as before while it grows, and as a stack then.

    Byte order, kind and the place of the data may depend on the size of the file and on what lies
    beside it.
    """
    source = opened.array.source
    wanted = {opened.header: opened.array.layout, header: layout}
    for each, expected in wanted.items():
        try:
            decoded = Header.decode(each.raw, layout.end)
            found = find_layout(Head(source), decoded, size=layout.end).layout
        except MrcError as error:
            raise ValueError(f"{target} would be unreadable while it grows: {error}") from None
        if found.kind != expected.kind:
            raise ValueError(
                f"{target} would be read as a {found.kind} with more images ({found.kind_source}), "
                f"expected a {expected.kind}: first call xarray_mrc.edit_header(path, "
                f"kind='image_stack')"
            )
        if replace(found, kind_source="") != replace(expected, kind_source=""):
            raise ValueError(
                f"{target} would be read as {found.shape} of {found.dtype} while it grows, "
                f"expected {expected.shape} of {expected.dtype}: write the file anew with "
                f"xarray_mrc.to_mrc"
            )


def check_voxel_size(
    array: xr.DataArray, kind: Kind, voxel_size: VoxelSize | None, header: Header, target: str
) -> None:
    """Raise ValueError if a voxel size that is known is not that of the file."""
    given = voxel_size_of(array) | parse_voxel_size(voxel_size)
    for axis, there in zip("xyz", header.voxel_size, strict=True):
        size = given.get(axis)
        if not size or (axis == "z" and kind == "image_stack"):
            continue
        if not abs(size - there) <= VOXEL_RTOL * there:  # nan: the file states none
            known = "states no voxel size" if there != there else f"has {there:g}"
            raise ValueError(
                f"the voxel size along {axis} is {size:g} angstrom, but {target} {known}: correct "
                f"the coordinates or voxel_size=, or the file with xarray_mrc.edit_header(path, "
                f"voxel_size=...)"
            )


def position_notes(array: xr.DataArray, dims: Mapping[str, Hashable], header: Header) -> list[str]:
    """Return a sentence if images start at another place than those of the file."""
    geometry = Geometry.from_header(header)
    moved = []
    for number, axis in enumerate("xyz"):
        found = read_positions(array, axis, dims.get(axis))
        if axis not in dims or not isinstance(found, AxisPositions):
            continue
        there = geometry.positions(number, found.values.size)
        if there is not None and abs(found.values[0] - there[0]) > TINY:
            moved.append(f"{axis} (from {found.values[0]:g} instead of {there[0]:g} angstrom)")
    return [f"the positions along {', '.join(moved)} are not written"] if moved else []


def plan_records(
    array: xr.DataArray,
    kind: Kind,
    dims: Mapping[str, Hashable],
    opened: OpenedFile,
    count: int,
    sidecar: WrittenSidecar | None,
) -> tuple[bytes, str, list[str]]:
    """Return the records of new images in the form of those of the file, and what they lose.

    Parameters
    ----------
    array, kind, dims
        The images.
    opened : OpenedFile
        The file.
    count : int
        Number of new images.
    sidecar : {"mdoc", "rawtlt"}, optional
        The file that takes their metadata exactly.

    Returns
    -------
    records : bytes
        One record an image; empty if the extended header has none.
    text : str
        The sidecar of the new images alone.
    notes : list of str
        Sentences for the warning.

    Raises
    ------
    ValueError
        The file has records of another kind, no room for more, or values that the images lack.
    """
    header, target = opened.header, opened.array.source.uri
    values, lost, others = section_values(array, kind, dims, count)
    if sidecar is not None and kind != "image_stack":
        raise ValueError(f"sidecar={sidecar!r} describes images, but {target} is a {kind}")
    text, held = sidecar_text(array, values, sidecar) if sidecar else ("", {})
    records, rounded = b"", [f"{name} ({loss})" for name, loss in held.items() if loss]
    is_seri = opened.extended.kind == "SERI" and seri.is_declared(header)
    if is_seri:
        nbytes = header.nint
        room = (opened.array.layout.offset - HEADER_SIZE) // nbytes
        if header.nz + count > room:
            raise ValueError(
                f"{target}: its extended header has room for the records of {room} sections, but "
                f"{header.nz + count} are needed: write the file anew with xarray_mrc.to_mrc, or "
                f"append to a new one with reserve={2 * room}"
            )
        stored = [column.common or column.identifier for column in seri.fields_of(header.nreal)]
        known = {name: values[name] for name in stored if name in values}
        bits, records = seri.encode(known, count)
        if bits != header.nreal:
            absent = [name for name in stored if name not in known]
            problem = f"have no {', '.join(absent)}" if absent else "have values out of range"
            raise ValueError(
                f"{target} holds {', '.join(stored) or 'unknown fields'} of each image, but the "
                f"data {problem}: set them with obj.assign_coords"
            )
        if header.byteorder == ">":
            records = np.frombuffer(records, "<i2").astype(">i2").tobytes()
        piece = header.replace(nz=count, nsymbt=len(records))
        read = {f.name: f for f in decode_extended(piece, records, count).common}
        for name, wanted in known.items():
            away = distance(read[name].values, wanted) if name in read else 0.0
            if away and name not in held:
                amount = f"{away:.2g} {read[name].units}".strip()
                rounded.append(f"{name} (by up to {amount})")
        lost += [name for name in values if name not in known and name not in held]
    elif (per_section(header.exttyp) and header.exttyp != b"SERI") or opened.extended.common:
        raise ValueError(
            f"{target}: its extended header has {opened.extended.kind} records of its sections, "
            f"which only the program that wrote them can add: write the file anew with "
            f"xarray_mrc.to_mrc, and append to that"
        )
    else:
        lost += [name for name in values if name not in held]
    notes = loss_notes(lost, rounded)
    if others:
        notes.append(f"the coordinates {', '.join(others)} will not be written")
    return records, text, notes
