"""Opening a file: source, header, layout and extended header, with one warning for what was odd.

The one way in for everything that reads: the xarray engine, the validator, the drop-in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from xarray_mrc.codec.checks import Facts, reading_notes
from xarray_mrc.codec.extended import Extended, decode_extended
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.layout import Kind
from xarray_mrc.errors import warn
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.file_layout import decode_header, find_layout, named, read_bytes
from xarray_mrc.reading.sidecar import Sidecar, read_sidecar
from xarray_mrc.storage import open_head
from xarray_mrc.storage.source import MemMap, Openable

__all__ = ["ExtendedHeader", "OpenedFile", "open_file", "read_header"]

ExtendedHeader = Literal["common", "all", "raw", "none"]


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """All that opening a file has found out; nothing is held open.

    Attributes
    ----------
    is_local : bool
        Whether the file lies at a path of this computer.
    header : Header
        The main header.
    extended : Extended
        The extended header, decoded.
    extended_bytes : bytes
        The bytes of the extended header, if "raw" was asked for.
    sidecar : Extended
        What the .mdoc beside the file says of its sections.
    array : MrcArray
        The data, not read yet, with their source and layout.
    """

    is_local: bool
    header: Header
    extended: Extended
    extended_bytes: bytes
    sidecar: Extended
    array: MrcArray


def read_header(path: Openable) -> Header:
    """Read the header of a file, and nothing else.

    Parameters
    ----------
    path : str, os.PathLike, bytes, memoryview or binary file object
        The file.

    Returns
    -------
    Header
        Fields as attributes; prints as a table.

    Raises
    ------
    OSError
        The file can't be read.
    MrcError
        It is not an MRC file.

    Examples
    --------
    >>> read_header(Header.blank().replace(nx=4, ny=3, nz=2).raw).n
    (4, 3, 2)
    """
    source, head = open_head(path)
    with named(source):
        return decode_header(source, head)


def open_file(
    path: Openable,
    *,
    truncated: Literal["raise", "sections"] = "raise",
    signed: bool | None = None,
    kind: Kind | Literal["auto"] = "auto",
    memmap: MemMap = "auto",
    extended: ExtendedHeader = "common",
    sidecar: Sidecar = "auto",
) -> OpenedFile:
    """Open a file for reading; only its headers are read.

    Parameters
    ----------
    path : str, os.PathLike, bytes, memoryview or binary file object
        The file.
    truncated, signed, kind
        As in `Layout.from_header`.
    memmap : {"auto", True, False}
        As in `open_source`.
    extended : {"common", "all", "raw", "none"}
        Whether to read the extended header too; "raw" reads one of any size and type.
    sidecar : {"auto", True, False}
        Whether to read the .mdoc beside an image stack; True: an error if that can't be done.

    Returns
    -------
    OpenedFile

    Raises
    ------
    OSError
        The file can't be read.
    MrcError
        It is no MRC file, or its data can't be read faithfully.

    Warns
    -----
    MrcWarning
        Once, if something odd changed how the file is read.

    Examples
    --------
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> open_file(header.raw + bytes([1, 2])).array[...].tolist()
    [[1, 2]]
    """
    source, head = open_head(path, memmap=memmap)
    if truncated == "sections":
        source = source.allow_truncated()
    is_local = isinstance(path, str | os.PathLike)
    with named(source):
        header = decode_header(source, head)
        found = find_layout(
            source,
            header,
            head,
            is_local=is_local,
            kind=kind,
            signed=signed,
            truncated=truncated,
        )
        layout, raw, records = found.layout, b"", Extended("none")
        if layout.offset > HEADER_SIZE and extended == "raw":
            raw = read_bytes(source, head, HEADER_SIZE, layout.offset - HEADER_SIZE)
            records = decode_extended(header, raw, header.nz)
        elif layout.offset > HEADER_SIZE and extended != "none":
            records = found.read_records()
    mdoc = Extended("none")
    if sidecar and is_local and layout.kind in ("image", "image_stack"):
        mdoc = read_sidecar(source.uri, header.nz, required=sidecar is True)
    notes = reading_notes(Facts(header, layout, found.size, records, signed is not None))
    notes += [mdoc.problem] if mdoc.problem else []
    if notes:
        warn(f"{source.uri}: " + "; ".join(notes))
    return OpenedFile(is_local, header, records, raw, mdoc, MrcArray(source, layout))
