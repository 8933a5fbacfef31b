"""The bytes of an extended header as a coordinate, and the records of another file: to and fro."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.codec.extended import agard, per_section
from xarray_mrc.codec.extended.records import BLOCK_NBYTES, find_spans
from xarray_mrc.codec.header import Header
from xarray_mrc.dataset.conventions import RAW_DIM
from xarray_mrc.reading.open_file import OpenedFile

__all__ = ["RAW_NAME", "raw_coords", "raw_notes", "raw_records", "records_like"]

RAW_NAME = "extended_header"
# Types whose bytes mean the same in both byte orders.
TEXT_TYPES = (b"CCP4", b"JSON")
FIELDS = ("nint", "nreal", "nversion")


def raw_coords(opened: OpenedFile, *, sections_are_images: bool) -> dict[str, xr.Variable]:
    """Make the coordinate of the bytes of an extended header.

    Parameters
    ----------
    opened : OpenedFile
        The file, opened with all bytes of its extended header.
    sections_are_images : bool
        Whether each section is an image.

    Returns
    -------
    dict of str to xarray.Variable
        ``extended_header``: the record of each image, which stays with it in whatever order the
        images are; else all bytes. Its attributes are the fields of the main header that describe
        the bytes.
    """
    raw = np.frombuffer(opened.extended_bytes, np.uint8)
    if not raw.size:
        return {}
    header, layout, kind = opened.header, opened.array.layout, opened.extended.kind
    attrs: dict[str, Any] = {
        "long_name": "bytes of the extended header",
        "exttyp": header.exttyp.decode("latin-1").rstrip("\0 "),
        "byteorder": header.byteorder,
        "sections": header.nz,
    }
    attrs |= {name: getattr(header, name) for name in FIELDS}
    dims: tuple[str, ...] = (RAW_DIM,)
    spans = find_spans(header, kind, opened.extended_bytes, header.nz)
    if sections_are_images and len({nbytes for _, nbytes in spans}) == 1:
        del attrs["sections"]
        # Fewer records, in an extended header of another length, are not recognised by their form.
        if not per_section(header.exttyp):
            attrs["exttyp"] = kind
        if kind == "AGAR" and header.exttyp[:3] != b"FEI":
            attrs["nint"], attrs["nreal"] = agard.counts(header)
        rows = np.stack([raw[start : start + nbytes] for start, nbytes in spans])
        raw = rows[0] if layout.kind == "image" else rows[: layout.shape[0]]
        dims = (RAW_DIM,) if layout.kind == "image" else (layout.dims[0], RAW_DIM)
    return {RAW_NAME: xr.Variable(dims, raw.copy(), attrs)}


def raw_notes(obj: xr.Dataset | xr.DataArray) -> list[str]:
    """Return a sentence if an object holds bytes of an extended header, for writers that drop them.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object. A DataArray cannot hold such bytes.

    Returns
    -------
    list of str
    """
    if isinstance(obj, xr.Dataset) and RAW_NAME in obj.coords:
        return [f"the coordinate {RAW_NAME}, bytes of records, will not be written"]
    return []


def raw_records(
    obj: xr.Dataset, header: Header, slow: Hashable | None, group: int
) -> tuple[dict[str, Any], bytes]:
    """Return the header fields and bytes of an extended header that a dataset holds as bytes.

    Parameters
    ----------
    obj : xarray.Dataset
        The dataset.
    header : Header
        The header that will be written.
    slow : hashable, optional
        The dimension of the images of a stack.
    group : int
        The space group that the dataset notes.

    Returns
    -------
    fields : dict of str
    extended : bytes
        Both are empty if the dataset has no such bytes.

    Raises
    ------
    LookupError
        The bytes do not belong to the data; the message is the reason.
    """
    coord = obj.coords.get(RAW_NAME)
    if coord is None or RAW_DIM not in coord.dims:
        return {}, b""
    attrs = coord.attrs
    if coord.dtype != np.uint8 or "exttyp" not in attrs:
        raise LookupError("it is not bytes with the attributes that the engine set")
    exttyp = str(attrs["exttyp"]).encode("latin-1", "replace")[:4]
    # An unnamed type is zeros in most files; the names have four characters.
    exttyp = exttyp.ljust(4, b"\0")
    dims = tuple(dim for dim in (slow, RAW_DIM) if dim in coord.dims)
    if {*dims} != {*coord.dims}:
        raise LookupError(f"its dimensions are {coord.dims}, which are not those of the data")
    raw = np.asarray(coord.transpose(*dims).values, np.uint8).tobytes()
    if attrs.get("byteorder") != header.byteorder and exttyp not in TEXT_TYPES:
        raise LookupError("its numbers are big endian, and little endian is written")
    if "sections" in attrs:
        if per_section(exttyp) and slow is not None:
            raise LookupError("it does not show which record belongs to which image")
        if per_section(exttyp) and attrs["sections"] != header.nz:
            raise LookupError("it has records of other sections than those of the data")
    elif slow in coord.dims or header.nz == 1:
        raw = raw.ljust(-(-len(raw) // BLOCK_NBYTES) * BLOCK_NBYTES, b"\0")
    else:
        raise LookupError("it has the record of one image, and several are written")
    if exttyp == b"CCP4" and group != header.ispg:
        raise LookupError(f"its symmetry is that of space group {group}, which is not written")
    fields = {name: int(attrs.get(name, 0)) for name in FIELDS}
    if not fields["nversion"]:
        del fields["nversion"]
    return {**fields, "exttyp": exttyp, "nsymbt": len(raw)}, raw


def records_like(like: OpenedFile, array: xr.DataArray, sections: int) -> bytes:
    """Return the section records of another file, those of the images of an array in their order.

    Parameters
    ----------
    like : OpenedFile
        The other file, with all bytes of its extended header.
    array : xarray.DataArray
        The images. Their coordinate ``section`` says which record each has; without it they are
        all the images of the file, in its order.
    sections : int
        Number of images.

    Returns
    -------
    bytes
        As many as the other file has, with zeros after the last record.

    Raises
    ------
    ValueError
        The numbers of the sections repeat.
    LookupError
        The records do not fit; the message is the reason.
    """
    raw, count = like.extended_bytes, like.header.nz
    section = array.coords.get("section")
    numbers = np.arange(sections) if section is None else np.atleast_1d(section.values)
    if numbers.dtype.kind not in "iu":  # means of several images
        raise LookupError("the coordinate section is not the number of one record for each image")
    if np.unique(numbers).size != numbers.size:
        raise ValueError(
            "the coordinate section has the same number more than once, as after concat of several "
            "files, so like= cannot tell which record belongs to an image: write without like=, or "
            "drop it with obj.drop_vars('section')"
        )
    if section is None and count != sections:
        raise LookupError(f"it has records of {count} sections, and {sections} are written")
    if numbers.size != sections or not (0 <= numbers.min() <= numbers.max() < count):
        raise LookupError(f"it has records of {count} sections, not those of the data")
    if np.array_equal(numbers, np.arange(count)):
        return raw
    spans = find_spans(like.header, like.extended.kind, raw, count)
    if not spans:
        raise LookupError("the length of its records is unknown, so they cannot be put in order")
    records = b"".join(
        raw[start : start + nbytes] for start, nbytes in map(spans.__getitem__, numbers)
    )
    return records.ljust(len(raw), b"\0")
