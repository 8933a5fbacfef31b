"""Opening a file: source, header, layout and extended header, with one warning for what was odd.

The one way in for everything that reads: the xarray engine, the validator, the drop-in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xarray_mrc.codec.checks import Facts, reading_notes
from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.extended import Extended, decode_extended, useful_nbytes
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.layout import Kind, Layout, may_lack_symmetry
from xarray_mrc.errors import MrcError, warn
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.sidecar import Sidecar, has_sidecar, read_sidecar
from xarray_mrc.storage import Source, open_head
from xarray_mrc.storage.source import MemMap, Openable

__all__ = ["ExtendedHeader", "OpenedFile", "open_file", "read_header"]

ExtendedHeader = Literal["common", "all", "raw", "none"]

SUSPECT_NBYTES = 16 * 2**20
SUSPECT_RATIO = 100


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
        The bytes of the extended header that were read, all of them if "raw" was asked for.
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


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Put the name of the file in front of what the codec says of its content."""
    try:
        yield
    except MrcError as error:
        if str(error).startswith(source.uri):
            raise
        raise type(error)(f"{source.uri}: {error}") from None


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


def decode_header(source: Source, head: bytes) -> Header:
    """Read the first 1024 bytes of a source as a header, from `head` if they are there already."""
    return Header.decode(read_prefix(source, head, 0, HEADER_SIZE), source.size_if_known)


def read_prefix(source: Source, head: bytes, offset: int, nbytes: int) -> bytes:
    """Give bytes from near the beginning, as far as the source has them."""
    end = offset + nbytes
    if source.size_if_known is not None:
        end = min(end, source.size_if_known)
    if end <= len(head):
        return head[offset:end]
    found = np.empty(max(0, end - offset), np.uint8)
    source.readinto(offset, found)
    return found.tobytes()


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
        size = source.size_if_known
        # The first record of what NSYMBT claims.
        extended_head = read_prefix(source, head, HEADER_SIZE, max(0, min(80, header.nsymbt)))
        options: dict[str, Any] = {
            "kind": kind,
            "signed": signed,
            "truncated": truncated,
            "suffix": suffix_of(source.uri),
            # Looked for only where it can decide.
            "sidecar": is_local and header.ispg == 0 and has_sidecar(source.uri),
            "extended_head": extended_head,
        }
        layout = Layout.from_header(header, size, **options)
        if size is None and (
            truncated == "sections"
            or has_implausible_ratio(source, layout)
            or may_lack_symmetry(header, extended_head)
        ):
            size = min(source.bounded_size(layout.end), layout.end)
            layout = Layout.from_header(header, size, **options)
        raw = read_extended(header, source, layout, extended)
        records = decode_extended(header, raw, header.nz) if raw else Extended("none")
    mdoc = Extended("none")
    if sidecar and is_local and layout.kind in ("image", "image_stack"):
        mdoc = read_sidecar(source.uri, header.nz, required=sidecar is True)
    notes = reading_notes(Facts(header, layout, size, records, signed is not None))
    notes += [mdoc.problem] if mdoc.problem else []
    if notes:
        warn(f"{source.uri}: " + "; ".join(notes))
    return OpenedFile(is_local, header, records, raw, mdoc, MrcArray(source, layout))


def read_extended(
    header: Header, source: Source, layout: Layout, extended: ExtendedHeader
) -> bytes:
    """Read the bytes between header and data, or as many of them as are of use."""
    nbytes = layout.offset - HEADER_SIZE
    if extended != "raw":
        nbytes = min(nbytes, useful_nbytes(header, header.nz) if extended != "none" else 0)
    if not nbytes:
        return b""
    raw = np.empty(nbytes, np.uint8)
    source.readinto(HEADER_SIZE, raw)
    return raw.tobytes()


def has_implausible_ratio(source: Source, layout: Layout) -> bool:
    """Whether a compressed file claims data that were compressed better than any density is.

    It is read through once, before memory is set aside for the data or for positions.
    """
    wanted = max(layout.end, 16 * max(layout.shape))
    return wanted > SUSPECT_NBYTES and layout.end > SUSPECT_RATIO * source.stored_size


def suffix_of(path: str) -> str:
    """Suffix of a file name without that of a container: ``.mrcs`` of ``a.mrcs.gz``."""
    return os.path.splitext(plain_name(path))[1]
