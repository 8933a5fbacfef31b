"""`open_file`: source, header, layout, extended header and sidecars, with one warning at most."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xarray_mrc.codec.checks import Facts, reading_notes
from xarray_mrc.codec.extended import Extended, decode_extended
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import ignores_sidecar
from xarray_mrc.codec.layout import Layout
from xarray_mrc.errors import warn
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.file_layout import (
    DEFAULTS,
    find_layout,
    name_of,
)
from xarray_mrc.reading.header_reading import decode_header, named
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.reading.sidecar import ignored_sidecar, read_sidecars
from xarray_mrc.storage import open_head
from xarray_mrc.storage.protocol import StreamSource
from xarray_mrc.storage.source import Openable

__all__ = ["OpenedFile", "open_file"]


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The facts of an opened file; nothing is held open.

    Attributes
    ----------
    header : Header
        The main header.
    extended : Extended
        The extended header, decoded.
    extended_bytes : bytes
        The bytes of the extended header, if "raw" was asked for.
    sidecar : Extended
        Metadata of the sections from files beside it (.mdoc, .tlt, .rawtlt).
    array : MrcArray
        The data, which are read when they are indexed.
    """

    header: Header
    extended: Extended
    extended_bytes: bytes
    sidecar: Extended
    array: MrcArray


def open_file(
    path: Openable, options: ReadingOptions = DEFAULTS, *, notes: list[str] | None = None
) -> OpenedFile:
    """Open a file for reading; only its headers are read.

    Parameters
    ----------
    path : str, os.PathLike, bytes, memoryview or binary file object
        The file.
    options : ReadingOptions
        How to read it. Its `extended_header` says whether the extended header and the sidecar are
        read, too; "raw" reads an extended header of any size and type.
    notes : list of str, optional
        Takes the sentence of the warning, which the caller issues with its own.

    Returns
    -------
    OpenedFile

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file, or its data cannot be read faithfully.

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
    head = open_head(
        path,
        memmap=options.memmap,
        storage_options=options.storage_options,
        local_copy=options.local_copy,
    )
    if options.truncated == "sections" and isinstance(head.source, StreamSource):
        head = replace(head, source=head.source.allow_truncated())
    source = head.source
    with named(source):
        header = decode_header(head)
        found = find_layout(head, header, options=options)
        layout, raw, records = found.layout, b"", Extended("none")
        if layout.offset > HEADER_SIZE and options.extended_header == "raw":
            raw = head.read(HEADER_SIZE, layout.offset - HEADER_SIZE)
            records = decode_extended(header, raw, header.nz)
        elif layout.offset > HEADER_SIZE and options.extended_header != "none":
            records = found.read_records()
    sidecar = Extended("none")
    if source.local_path is not None:
        sidecar = read_beside(source.local_path, layout, header.nz, options)
    elif options.sidecar is True:
        raise ValueError(
            f"sidecar=True was passed, but {source.uri} is not at a local path, and sidecars are "
            f"read only there"
        )
    odd = reading_notes(Facts(header, layout, found.size, records, options.signed is not None))
    odd += [sidecar.problem] if sidecar.problem else []
    if odd and notes is None:
        warn(f"{source.uri}: " + "; ".join(odd))
    elif odd and notes is not None:
        notes.append(f"{source.uri}: " + "; ".join(odd))
    return OpenedFile(header, records, raw, sidecar, MrcArray(source, layout))


def read_beside(path: str, layout: Layout, sections: int, options: ReadingOptions) -> Extended:
    """Read the sidecars of images, or warn of a sidecar beside a volume."""
    is_required = options.sidecar is True
    if not options.sidecar or options.extended_header not in ("common", "all"):
        return Extended("none")
    if layout.kind in ("image", "image_stack"):
        return read_sidecars(path, sections, required=is_required)
    if is_required:
        raise ValueError(
            f"sidecar=True was passed, but {path} is read as a {layout.kind}: pass "
            f"kind='image_stack', or sidecar=False"
        )
    if ignores_sidecar(layout.kind, layout.kind_source, name_of(path)):
        return Extended("none", problem=ignored_sidecar(path, sections))
    return Extended("none")
