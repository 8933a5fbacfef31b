"""Finds how the data of a file lie: the one way from a source and its header to a `Layout`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from xarray_mrc.codec.containers import plain_name
from xarray_mrc.codec.extended import Extended, decode_extended, useful_nbytes
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import NO_EVIDENCE, KindEvidence
from xarray_mrc.codec.layout import Layout, may_lack_records
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.reading.sidecar import has_sidecar
from xarray_mrc.storage import Head, Source
from xarray_mrc.storage.compressed.source import (
    MAX_TRUSTED_NBYTES,
    CompressedSource,
    has_implausible_ratio,
)
from xarray_mrc.storage.protocol import StreamSource, bounded_size, full_size
from xarray_mrc.storage.protocol import truncated as truncated_source
from xarray_mrc.storage.remote.urls import path_of_url

__all__ = ["FileLayout", "find_layout", "name_of"]

# The first bytes of the extended header, which may show that it is there.
RECORD_NBYTES = 80
DEFAULTS = ReadingOptions()


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How the data of a file lie, with the facts that were read to find out.

    Attributes
    ----------
    layout : Layout
        How the data lie.
    size : int or None
        Bytes of the file, decompressed; None for a compressed file whose size was not needed.
        Bytes after the data of a compressed file do not count.
    read_records : callable
        Returns the decoded extended header, which is read when it is first asked for.
    """

    layout: Layout
    size: int | None
    read_records: Callable[[], Extended]


def find_layout(
    head: Head,
    header: Header,
    *,
    options: ReadingOptions = DEFAULTS,
    size: int | None = None,
    check_size: bool = True,
) -> FileLayout:
    """Find how the data of a file lie.

    Parameters
    ----------
    head : Head
        The file.
    header : Header
        Its header, or the header that it would get.
    options : ReadingOptions
        Its `kind`, `signed` and `truncated` are used.
    size : int, optional
        Bytes of the file, decompressed, if a pass over a compressed file found it.
    check_size : bool
        Whether the data will be held in memory as a whole. A compressed file is then read through
        first if the header implies an implausible compression ratio, or if whole sections of a
        truncated file are wanted.

    Returns
    -------
    FileLayout

    Raises
    ------
    MrcHeaderError
        A field has a value with which the data cannot be read.
    MrcTruncatedError
        The file is shorter than the header says.
    MrcError
        A compressed file is damaged.

    Notes
    -----
    The size of a compressed file costs a pass, which is avoided where the size decides nothing.

    Examples
    --------
    >>> from xarray_mrc.storage import open_head
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> find_layout(open_head(header.raw + bytes(2)), header).layout.shape
    (1, 2)
    """
    source = head.source
    size = source.size_if_known if size is None else size
    nbytes = max(0, min(RECORD_NBYTES, header.nsymbt))
    if size is None and nbytes:  # a few bytes of data may be all that follows
        nbytes = min(nbytes, bounded_size(source, HEADER_SIZE + nbytes) - HEADER_SIZE)
    first_record = head.read(HEADER_SIZE, nbytes)

    @cache
    def read_records() -> Extended:
        """Read and decode the part of the extended header that is of use."""
        nbytes = useful_nbytes(header, header.nz)
        if nbytes > MAX_TRUSTED_NBYTES:
            there = bounded_size(source, HEADER_SIZE + nbytes) - HEADER_SIZE
            if there < nbytes:
                raise truncated_source(source.uri, HEADER_SIZE, nbytes, there)
        raw = head.read(HEADER_SIZE, nbytes)
        return decode_extended(header, raw, header.nz) if raw else Extended("none")

    def has_sidecar_beside() -> bool:
        return source.local_path is not None and has_sidecar(source.local_path, header.nz)

    evidence = KindEvidence(name_of(source.uri), has_sidecar_beside, read_records)

    def arrange(evidence: KindEvidence) -> Layout:
        return Layout.from_header(
            header,
            size,
            kind=options.kind,
            signed=options.signed,
            truncated=options.truncated,
            evidence=evidence,
            extended_head=first_record,
        )

    if size is not None:
        return FileLayout(arrange(evidence), size, read_records)
    # Records are not read before it is known that they are there.
    layout = arrange(NO_EVIDENCE if nbytes else evidence)
    may_lack = may_lack_records(header, first_record)
    if (may_lack and not states_size(source, layout.end)) or (
        check_size and (options.truncated == "sections" or is_suspect(source, layout))
    ):
        size = min(bounded_size(source, layout.end), layout.end)
    if nbytes or size is not None:
        layout = arrange(evidence)
    return FileLayout(layout, size, read_records)


def is_suspect(source: Source, layout: Layout) -> bool:
    """Return True if a compressed file has to be read through before memory is allocated for it."""
    nbytes = max(layout.end, 16 * max(layout.shape))  # of the data, or of positions
    return isinstance(source, StreamSource) and has_implausible_ratio(
        nbytes, layout.end, source.stored_size()
    )


def states_size(source: Source, nbytes: int) -> bool:
    """Return True if the last bytes of a gzip file state this decompressed size.

    They hold the size of the last member modulo 2**32, which saves a pass over a long file.
    """
    if not (isinstance(source, CompressedSource) and source.container == "gzip"):
        return False
    stated = Head(source.inner).read(full_size(source.inner) - 4, 4)
    return int.from_bytes(stated, "little") == nbytes % 2**32


def name_of(path: str) -> str:
    """Return the name of a file, without the suffix of a container: ``a.mrcs`` of ``a.mrcs.gz``.

    Of a URL it is the name in its path, without a query.
    """
    return os.path.basename(plain_name(path_of_url(path)))
