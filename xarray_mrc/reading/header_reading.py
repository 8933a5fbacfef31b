"""`read_header`, which loads little, because the command line starts with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.errors import MrcError, MrcTruncatedError
from xarray_mrc.storage import Head, Source, open_head
from xarray_mrc.storage.protocol import bounded_size
from xarray_mrc.storage.source import Openable

__all__ = ["decode_header", "named", "read_header"]


def read_header(path: Openable, *, storage_options: Mapping[str, Any] | None = None) -> Header:
    """Read the header of a file; its data are not read.

    Parameters
    ----------
    path : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        The file. Of a remote one 64 KiB are read.
    storage_options : mapping, optional
        How a URL is reached, as in `open_mrc`.

    Returns
    -------
    Header
        Fields as attributes; prints as a table.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file.

    Examples
    --------
    >>> read_header(Header.blank().replace(nx=4, ny=3, nz=2).raw).n
    (4, 3, 2)
    """
    head = open_head(path, storage_options=storage_options)
    with named(head.source):
        return decode_header(head)


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Put the name of the file in front of errors that the codec raises."""
    try:
        yield
    except MrcError as error:
        if str(error).startswith(source.uri):
            raise
        raise type(error)(f"{source.uri}: {error}") from None


def decode_header(head: Head) -> Header:
    """Read the first 1024 bytes of a file as a header."""
    try:
        raw = head.read(0, HEADER_SIZE)
    except MrcTruncatedError:  # of a compressed file; what it holds tells what it is
        raw = head.read(0, bounded_size(head.source, HEADER_SIZE))
    return Header.decode(raw, head.source.size_if_known)
