"""The first bytes of many files, read quickly, with what prevents a file from being read."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.storage import open_head
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.local import FLAGS
from xarray_mrc.storage.source import HEAD_NBYTES

__all__ = ["FileHead", "read_head", "reason"]


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
    """

    path: str
    data: bytes = b""
    stored_size: int = -1
    size: int | None = None
    mtime_ns: int | None = None
    problem: str = ""


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
        return found._replace(data=head.read(0, HEADER_SIZE), size=head.source.size_if_known)
    except (MrcError, OSError) as error:
        return found._replace(data=b"", size=None, problem=reason(error, path))


def reason(error: Exception, path: str) -> str:
    """Return the text of an error without the path, which is in the row already."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return text.removeprefix(f"{os.path.abspath(path)}: ").removeprefix(f"{path}: ")
