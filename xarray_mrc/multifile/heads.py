"""The first bytes of many files, read quickly, with what prevents a file from being read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.storage import Head, open_head
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import FLAGS
from xarray_mrc.storage.protocol import bounded_size, full_size
from xarray_mrc.storage.remote.source import RemoteSource
from xarray_mrc.storage.remote.urls import public_url
from xarray_mrc.storage.source import HEAD_NBYTES

__all__ = ["FileHead", "read_head", "read_remote_head", "reason"]


class FileHead(NamedTuple):
    """The start of a file.

    Attributes
    ----------
    path : str
        Path as it was found.
    data : bytes
        The header and the first record of an extended header, decompressed; less if there is less.
    stored_size : int
        Bytes of the file, as it is stored.
    size : int or None
        Bytes of the file, decompressed; None if that would cost a pass.
    mtime_ns : int
        Time of the last change, in nanoseconds since 1970.
    problem : str
        Why the file cannot be read; empty if it can.
    opened : Head or None
        The file itself, if it was opened for these bytes.
    """

    path: str
    data: bytes = b""
    stored_size: int = -1
    size: int | None = None
    mtime_ns: int | None = None
    problem: str = ""
    opened: Head | None = None


def read_head(path: str) -> FileHead:
    """Read the first bytes of a local file; an error becomes the problem of the result.

    Opening it as a source takes three times as long, for checks that nobody will ask for.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    FileHead
    """
    try:
        descriptor = os.open(path, FLAGS)
    except OSError as error:
        return FileHead(path, problem=reason(error, path))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return FileHead(path, problem="it is a folder, pipe or device, expected a file")
        data = os.read(descriptor, HEAD_NBYTES)
    except OSError as error:
        return FileHead(path, problem=reason(error, path))
    finally:
        os.close(descriptor)
    found = FileHead(path, data, status.st_size, status.st_size, status.st_mtime_ns)
    if container_of(data[:HEADER_SIZE]) is None:
        return found
    try:
        head = open_head(path)
        data = head.read(0, HEADER_SIZE)
        return found._replace(data=data, size=head.source.size_if_known, opened=head)
    except (MrcError, OSError) as error:
        return found._replace(data=b"", size=None, problem=reason(error, path))


def read_remote_head(url: str, options: Mapping[str, Any] | None) -> FileHead:
    """Read the first bytes of a remote file, by one request, as `read_head` does.

    Parameters
    ----------
    url : str
        The file.
    options : mapping, optional
        How its storage is reached.

    Returns
    -------
    FileHead
        With the URL without secrets as its path.
    """
    path = public_url(url)
    try:
        head = open_head(url, storage_options=options)
        source = head.source
        data = head.data[:HEAD_NBYTES]
        if len(data) < HEADER_SIZE:  # a compressed file that begins with long records of its own
            data = head.read(0, min(HEADER_SIZE, bounded_size(source, HEADER_SIZE)))
    except (MrcError, OSError) as error:
        return FileHead(path, problem=reason(error, path))
    stored = source.inner if isinstance(source, CompressedSource) else source
    modified = stored.version.modified if isinstance(stored, RemoteSource) else ""
    return FileHead(
        path, data, full_size(stored), source.size_if_known, time_of(modified), opened=head
    )


def time_of(text: str) -> int | None:
    """Return the nanoseconds since 1970 of a date of HTTP or ISO 8601; None for other texts."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, TypeError):
            return int(parse(text).timestamp()) * 10**9
    return None


def reason(error: Exception, path: str) -> str:
    """Return the text of an error without the path, which is in the row already."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return text.removeprefix(f"{os.path.abspath(path)}: ").removeprefix(f"{path}: ")
