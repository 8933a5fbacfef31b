"""Gather the facts of a file that the table of checks looks at."""

from __future__ import annotations

import os
from dataclasses import replace

from xarray_mrc.checking.measurement import measure_file
from xarray_mrc.codec.checks import Facts
from xarray_mrc.codec.foreign import foreign_format
from xarray_mrc.codec.header import HEADER_SIZE, Header, guess_byteorder
from xarray_mrc.codec.statistics import measure
from xarray_mrc.errors import (
    MrcChangedError,
    MrcError,
    MrcFormatError,
    MrcHeaderError,
    MrcTruncatedError,
)
from xarray_mrc.reading.file_layout import find_layout
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import Head, Source
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.protocol import StreamSource, bounded_size, full_size
from xarray_mrc.storage.remote.urls import is_url, path_of_url

__all__ = ["examine", "header_facts", "true_size", "with_damage"]


def examine(source: Source, data: bool, start: bytes = b"") -> Facts:
    """Gather all facts of a file.

    Parameters
    ----------
    source : Source
        The file.
    data : bool
        Whether to read and measure the data too.
    start : bytes
        First bytes of the file that were read already.

    Returns
    -------
    Facts

    Raises
    ------
    MrcError
        A plain file changed while it was read.

    Examples
    --------
    >>> from xarray_mrc.storage import open_source
    >>> header = Header.blank().replace(nx=3, ny=1, nz=1)
    >>> found = examine(open_source(header.raw + bytes([1, 2, 3])), True)
    >>> found.layout.shape, found.data.mean
    ((1, 1, 3), 2.0)
    """
    head = Head(source, start)
    facts = header_facts(head)
    if source.local_path is not None or is_url(source.uri):
        facts = replace(facts, suffix=os.path.splitext(path_of_url(source.uri))[1])
    if not facts.has_header:
        return facts
    try:
        Header.decode(facts.header.raw, facts.size)
    except MrcFormatError as error:
        return replace(facts, not_mrc=str(error))
    except MrcHeaderError:
        pass  # a length below 1, which has a check of its own
    try:
        facts = lay_out(facts, head)
        return with_data(facts, source) if data else facts
    except MrcError as error:
        return with_damage(facts, source, error)


def header_facts(start: Head) -> Facts:
    """Read the header, in the byte order in which it makes more sense."""
    source = start.source
    nothing = Facts(
        Header(bytes(HEADER_SIZE), "<"),
        container=source.container if isinstance(source, CompressedSource) else "",
        has_header=False,
    )
    try:
        found_nbytes = bounded_size(source, HEADER_SIZE)
        head = start.read(0, min(found_nbytes, HEADER_SIZE))
        if found_nbytes < HEADER_SIZE:
            other = foreign_format(head)
            not_mrc = f"this is not an MRC file but {other}" if other else ""
            return replace(nothing, size=found_nbytes, not_mrc=not_mrc)
    except MrcError as error:
        return with_damage(nothing, source, error)
    header, _ = guess_byteorder(head, source.size_if_known)
    return replace(nothing, header=header, size=source.size_if_known, has_header=True)


def with_damage(facts: Facts, source: Source, error: MrcError) -> Facts:
    """Add why a file can't be decompressed; raise the error again if the file is plain."""
    if not isinstance(source, CompressedSource):
        raise error
    return replace(facts, damage=str(error).removeprefix(f"{source.uri}: "))


def true_size(source: Source) -> int:
    """Return the size of a stream that turned out to be shorter than its header claims.

    Raise an error if the stream itself is cut off, or if a plain file became shorter.
    """
    if source.size_if_known is not None:
        raise MrcChangedError(f"{source.uri}: the file became shorter while it was read: try again")
    return full_size(source)


def lay_out(facts: Facts, head: Head) -> Facts:
    """Add how the data lie, or why they can't be read, and the extended header."""
    facts, header, source = replace(facts, layout=None), facts.header, head.source
    if min(header.n) < 1:
        return facts
    try:
        found = find_layout(
            head,
            header,
            size=facts.size,
            options=ReadingOptions(truncated="sections"),
            check_size=False,
        )
    except MrcTruncatedError as error:
        size = full_size(source) if facts.size is None else facts.size
        in_file = 0 <= header.nsymbt <= size - HEADER_SIZE
        return replace(facts, size=size, cut_off=str(error) if in_file else "")
    except MrcHeaderError:  # of a mode, a length or a flag, each of which has a check of its own
        # Only the size tells whether a negative NSYMBT stands for no extended header.
        return replace(facts, size=full_size(source)) if header.nsymbt < 0 else facts
    facts = replace(facts, layout=found.layout, size=found.size)
    if found.layout.offset == HEADER_SIZE:
        return facts
    try:
        return replace(facts, extended=found.read_records())
    except MrcTruncatedError:
        return replace(facts, size=true_size(source))


def with_data(facts: Facts, source: Source) -> Facts:
    """Add the statistics of the data, if all of them are there, and the true size of the file."""
    layout = facts.layout
    found = None
    if layout is not None and layout.stored[0] * layout.stored[1] == facts.header.nz:
        try:
            found = measure_file(source, layout, measure)
        except MrcTruncatedError:
            facts = lay_out(replace(facts, size=true_size(source)), Head(source))
    size = full_size(source)
    surplus = source.trailing_nbytes() if isinstance(source, StreamSource) else 0
    return replace(facts, size=size, data=found, surplus=surplus)
