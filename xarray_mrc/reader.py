"""Opening a file: source, header, layout and extended header, with one warning for what was odd.

The one way in for everything that reads: the xarray engine, the validator, the drop-in.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from xarray_mrc.array import MrcArray
from xarray_mrc.codec.checks import Facts, reading_notes
from xarray_mrc.codec.extended import Extended, decode_extended
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.layout import Kind, Layout
from xarray_mrc.errors import MrcError, MrcWarning
from xarray_mrc.storage import Source, open_source
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.source import MemMap, Openable

__all__ = ["OpenedFile", "open_file", "read_header"]

CONTAINER_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".zst"})
PACKAGES = ("xarray_mrc", "xarray")
SIDECAR_SUFFIXES = (".mdoc", ".tlt", ".rawtlt")


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """All that opening a file has found out; nothing is held open.

    Attributes
    ----------
    header : Header
        The main header.
    extended : Extended
        The extended header, decoded.
    extended_bytes : bytes
        The extended header as it is.
    array : MrcArray
        The data, not read yet, with their source and layout.
    """

    header: Header
    extended: Extended
    extended_bytes: bytes
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
    source = open_source(path)
    with named(source):
        return decode_header(source)


def decode_header(source: Source) -> Header:
    """Read the first 1024 bytes of a source as a header."""
    head = np.empty(min(HEADER_SIZE, source.size), np.uint8)
    source.readinto(0, head)
    return Header.decode(head.tobytes(), source.size)


def open_file(
    path: Openable,
    *,
    truncated: Literal["raise", "sections"] = "raise",
    signed: bool | None = None,
    kind: Kind | Literal["auto"] = "auto",
    memmap: MemMap = "auto",
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
    source = open_source(path, memmap=memmap)
    with named(source):
        header = decode_header(source)
        layout = Layout.from_header(
            header,
            source.size,
            kind=kind,
            signed=signed,
            truncated=truncated,
            suffix=suffix_of(source.uri),
            sidecar=isinstance(source, LocalSource) and has_sidecar(source.path),
        )
        extended_bytes = np.empty(layout.offset - HEADER_SIZE, np.uint8)
        source.readinto(HEADER_SIZE, extended_bytes)
    raw = extended_bytes.tobytes()
    extended = decode_extended(header, raw, header.nz)
    notes = reading_notes(Facts(header, layout, source.size, extended.problem))
    if notes:
        message = f"{source.uri}: " + "; ".join(notes)
        warnings.warn(message, MrcWarning, stacklevel=user_level())
    return OpenedFile(header, extended, raw, MrcArray(source, layout))


def user_level() -> int:
    """Give the `stacklevel` with which a warning of the caller points at the user's own line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in PACKAGES:
        frame, level = frame.f_back, level + 1
    return level


def suffix_of(path: str) -> str:
    """Suffix of a file name without that of a container: ``.mrcs`` of ``a.mrcs.gz``."""
    name = PurePath(path)
    if name.suffix.lower() in CONTAINER_SUFFIXES:
        name = name.with_suffix("")
    return name.suffix


def has_sidecar(path: str) -> bool:
    """Whether a file of tilt angles lies beside a file: ``a.mrc.mdoc``, ``a.mdoc``, ``a.tlt``."""
    name = Path(path)
    stem = name.with_suffix("")
    beside = [f"{name}.mdoc", *(f"{stem}{suffix}" for suffix in SIDECAR_SUFFIXES)]
    return any(os.path.exists(candidate) for candidate in beside)
