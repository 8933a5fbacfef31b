"""Section records and sidecars for the coordinates of the images of a stack, and their losses."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.extended import COMMON_UNITS, decode_extended, seri
from xarray_mrc.codec.extended.records import BLOCK_NBYTES
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import Kind
from xarray_mrc.codec.mdoc import KEYS, MdocText, encode_mdoc
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.dataset.raw_records import RAW_NAME
from xarray_mrc.dataset.section_coords import own_fields
from xarray_mrc.reading.sidecar import read_sidecars

__all__ = ["HEAD_ATTRIBUTE", "SectionPlan", "WrittenSidecar", "plan_sections", "section_values"]

WrittenSidecar = Literal["mdoc", "rawtlt"]
Values = Mapping[str, NDArray[Any]]

# The lines before the first section of a .mdoc.
HEAD_ATTRIBUTE = "mrc_mdoc"
DEGREES = ("degree", "degrees", "deg", "\u00b0")


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """How the metadata of the sections will be stored.

    Attributes
    ----------
    fields : dict
        Header fields of the extended header by name.
    extended : bytes
        The extended header.
    sidecar : str
        Text of the sidecar; empty if none is written.
    notes : list of str
        Sentences that name coordinates that will be rounded or lost.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    extended: bytes = b""
    sidecar: str = ""
    notes: list[str] = field(default_factory=list)


def section_values(
    array: xr.DataArray, kind: Kind, dims: Mapping[str, Hashable], sections: int
) -> tuple[dict[str, NDArray[Any]], list[str], list[str]]:
    """Collect the coordinates that describe the sections of a stack, and those of other axes.

    Parameters
    ----------
    array : xarray.DataArray
        The array.
    kind : {"image", "image_stack", "volume", "volume_stack"}
        Its kind.
    dims : mapping
        Its dimension for each dimension of the file.
    sections : int
        Number of sections.

    Returns
    -------
    values : dict of str to ndarray
        One value per section, by the name of the coordinate; scalars are repeated.
    lost : list of str
        Names of coordinates of the sections that no record holds, with the reason.
    others : list of str
        Names of coordinates that describe neither the sections nor positions. Scalars are left out,
        because indexing and quantiles leave many of them.
    """
    slow = None if kind == "image" else next(iter(dims.values()))
    values: dict[str, NDArray[Any]] = {}
    lost: list[str] = []
    others: list[str] = []
    for key, coord in array.coords.items():
        name = str(key)
        is_common = name in COMMON_UNITS
        along = slow is not None and slow in coord.dims and (is_common or kind != "volume")
        if name in ("section", RAW_NAME):
            continue
        if not (along or (is_common and not coord.ndim)):
            if coord.ndim and key not in array.dims and name not in AXES:
                others.append(name)
            continue
        if name in AXES and name in dims:
            continue
        if key == slow and is_count(coord):
            continue
        units = str(coord.attrs.get("units", ""))
        expected = COMMON_UNITS.get(name, units)
        if units and units != expected and not (expected == "degree" and units in DEGREES):
            lost.append(f"{name} (units={units!r}, expected {expected!r})")
        elif kind in ("volume", "volume_stack") or coord.ndim > 1:
            lost.append(name)
        else:
            values[name] = np.broadcast_to(np.asarray(coord.values), (sections,))
    return values, lost, others


def is_count(coord: xr.DataArray) -> bool:
    """Return True if the labels of a dimension count from 0, as its positions do."""
    return coord.dtype.kind in "iu" and np.array_equal(coord.values, np.arange(coord.size))


def plan_sections(
    array: xr.DataArray,
    kind: Kind,
    dims: Mapping[str, Hashable],
    header: Header,
    records: bytes = b"",
    sidecar: WrittenSidecar | None = None,
    target: str = "",
) -> SectionPlan:
    """Plan how the metadata of the sections are stored.

    Parameters
    ----------
    array, kind, dims
        As in `section_values`.
    header : Header
        The header; of `records` it has the fields already.
    records : bytes
        The extended header of another file, if it is copied.
    sidecar : {"mdoc", "rawtlt"}, optional
        The file that takes them exactly.
    target : str
        Path of the file, beside which other sidecars may lie already.

    Returns
    -------
    SectionPlan

    Raises
    ------
    ValueError
        There is nothing to write into the sidecar, or it cannot hold it.
    """
    values, lost, others = section_values(array, kind, dims, header.nz)
    if sidecar is not None and sidecar not in get_args(WrittenSidecar):
        raise ValueError(f"sidecar={sidecar!r}, expected 'mdoc', 'rawtlt' or None")
    if sidecar is not None and kind not in ("image", "image_stack"):
        raise ValueError(f"sidecar={sidecar!r} describes images, but the data are a {kind}")
    text, held = sidecar_text(array, values, sidecar) if sidecar else ("", {})
    fields: dict[str, Any] = {}
    if not records and values:
        bits, encoded = seri.encode(values, header.nz)
        if bits:
            records = encoded.ljust(-(-len(encoded) // BLOCK_NBYTES) * BLOCK_NBYTES, b"\0")
            fields = {"exttyp": b"SERI", "nint": seri.bytes_per_section(bits), "nreal": bits}
            fields |= {"nsymbt": len(records)}
    header = header.replace(**fields)
    decoded = decode_extended(header, records, header.nz) if records else None
    read = {f.name: f for f in (*own_fields(decoded), *decoded.common)} if decoded else {}
    rounded: list[str] = []
    for name, wanted in values.items():
        if name in held:
            rounded += [f"{name} ({held[name]})"] if held[name] else []
            continue
        if name not in read:
            lost.append(name)
            continue
        away = distance(np.asarray(read[name].values[: wanted.size]), wanted)
        if away:
            rounded.append(f"{name} (by up to {away:.2g} {read[name].units})".replace(" )", ")"))
    is_image = kind in ("image", "image_stack")
    in_mdoc = mdoc_of(array, values).held if is_image and sidecar is None else {}
    notes = loss_notes(lost, rounded, in_mdoc)
    if others:
        notes.append(f"the coordinates {', '.join(others)} will not be written")
    if target and is_image:
        notes += stale_notes(target, values, header.nz, sidecar)
    return SectionPlan(fields, records, text, notes)


def stale_notes(
    target: str, values: Values, sections: int, sidecar: WrittenSidecar | None
) -> list[str]:
    """Return a sentence if a sidecar that lies beside the file already gives it other metadata.

    Readers prefer a sidecar to the records. Its angles would silently be those of other images.
    """
    differing = []
    for found in read_sidecars(target, sections).common:
        # A .tlt wins over the .mdoc that is written, a .mdoc over the .rawtlt.
        is_replaced = {
            "mdoc": not found.long_name.endswith(".tlt"),
            "rawtlt": found.long_name.endswith(".rawtlt"),
        }
        if sidecar is not None and is_replaced[sidecar]:
            continue
        ours = values.get(found.name)
        theirs = np.broadcast_to(found.values, sections)
        if ours is None or distance(theirs, ours):
            differing.append(found.name)
    if not differing:
        return []
    note = (
        f"{', '.join(differing)} will be read from a sidecar beside the file, which has other "
        f"values than the data: remove the sidecar, or write it anew with sidecar='mdoc', "
        f"overwrite=True"
    )
    return [note]


def distance(read: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the largest difference of values; inf if only one of two is unknown."""
    if read.dtype.kind not in "biuf" or wanted.dtype.kind not in "biuf":
        return 0.0 if np.array_equal(read, wanted) else math.inf
    # The nearest float32 of the number that is read is no other value than a float32.
    read = read.astype(wanted.dtype if wanted.dtype == np.float32 else np.float64)
    read, wanted = read.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isnan(read), np.isnan(wanted)):
        return math.inf
    return float(np.nanmax(np.abs(read - wanted), initial=0.0))


def loss_notes(lost: list[str], rounded: list[str], in_mdoc: Collection[str] = ()) -> list[str]:
    """Return sentences that name the coordinates that will be lost or rounded.

    `in_mdoc` are those that a .mdoc could hold.
    """
    hint = ""
    # A field in other units, named with its reason, is not written into a sidecar either.
    names = {*lost, *(text.split(" ")[0] for text in rounded)}
    if names & {*in_mdoc}:
        hint = ": pass sidecar='mdoc' to write the exact values beside the file"
    notes = []
    if lost:
        notes.append(f"{', '.join(lost)} of the sections will not be written")
    if rounded:
        notes.append(f"{', '.join(rounded)} will be rounded as they are written")
    if notes:
        notes[-1] += hint
    return notes


def sidecar_text(
    array: xr.DataArray, values: Values, sidecar: WrittenSidecar
) -> tuple[str, dict[str, str]]:
    """Return the text of a sidecar and, of each coordinate that it holds, what is lost."""
    if sidecar == "rawtlt":
        tilts = values.get("tilt_angle")
        if tilts is None or not np.isfinite(tilts.astype(np.float64)).all():
            raise ValueError(
                "sidecar='rawtlt' holds tilt angles, but the data have no finite coordinate "
                "tilt_angle along the images: set it with obj.assign_coords"
            )
        return "".join(f"{float(tilt)!r}\n" for tilt in tilts), {"tilt_angle": ""}
    found = mdoc_of(array, values)
    if not found.held:
        common = [name for row in KEYS if row.is_common for name in row.names]
        raise ValueError(
            f"sidecar='mdoc' was passed, but no coordinate of the images can be written there, "
            f"expected one of {', '.join(common)}"
        )
    return found.text, found.held


def mdoc_of(array: xr.DataArray, values: Values) -> MdocText:
    """Return the .mdoc of the images of an array."""
    described = {
        name: (str(attrs.get("long_name", "")), str(attrs.get("units", "")))
        for name, attrs in ((name, array.coords[name].attrs) for name in values)
    }
    head = array.attrs.get(HEAD_ATTRIBUTE)
    count = len(next(iter(values.values()))) if values else 0
    return encode_mdoc(values, described, count, head if isinstance(head, str) else "")
