"""Files that are needed while a compressed file is written, in a directory beside it.

Each chunk of a compressed file is first written to its own temporary file, because its offset
depends on the compressed sizes of the chunks before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from xarray_mrc.storage.local_sink import BINARY, PIECES_SUFFIX, LocalSink, preallocate, write_at
from xarray_mrc.storage.sink import Sink

__all__ = ["join_pieces", "plain_file", "write_piece"]

MAX_COPY_NBYTES = 16 * 2**20  # in one call


def local(sink: Sink) -> LocalSink:
    """Return the sink of a local file; TypeError for others, which have no files beside them."""
    if not isinstance(sink, LocalSink):
        raise TypeError(f"{type(sink).__name__} was found, expected a LocalSink")
    return sink


def piece_path(sink: LocalSink, name: object) -> str:
    """Return the path of a temporary file; `new_file` made its directory and removes it."""
    return os.path.join(sink.part + PIECES_SUFFIX, str(name))


def write_piece(sink: Sink, number: int, compressed: Iterable[bytes]) -> None:
    """Write a piece atomically: if its task runs twice, the second replaces the first.

    Parameters
    ----------
    sink : LocalSink
        The file that is being written.
    number : int
        Identifies the piece.
    compressed : iterable of bytes
        The content.
    """
    sink = local(sink)
    path = piece_path(sink, number)
    draft = f"{path}.{os.urandom(4).hex()}"
    with sink.opened() as part:  # raises if this computer does not see the file
        allowed = os.fstat(part).st_mode & 0o666

    def open_like_part(name: str, flags: int) -> int:
        return os.open(name, flags, allowed)

    try:
        with open(draft, "xb", buffering=0, opener=open_like_part) as file:
            for data in compressed:
                write_at(file.fileno(), file.seek(0, os.SEEK_END), data)
        with sink.opened():  # raises if it was given up meanwhile, and its pieces were removed
            os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def join_pieces(sink: Sink, head: bytes, numbers: Iterable[int], end: bytes) -> None:
    """Copy the pieces into the file, after its first bytes, and remove each after that.

    Parameters
    ----------
    sink : LocalSink
        The file that is being written.
    head : bytes
        Bytes before the pieces, which the target writes.
    numbers : iterable of int
        The pieces in order.
    end : bytes
        Bytes after the pieces.
    """
    sink, offset = local(sink), len(head)
    with sink.opened() as descriptor:
        for number in numbers:
            path = piece_path(sink, number)
            with open(path, "rb", buffering=0) as piece:
                offset = copy(piece.fileno(), descriptor, offset)
            os.unlink(path)
        write_at(descriptor, offset, end)


def copy(source: int, target: int, offset: int) -> int:
    """Copy a whole file to an offset of another, and return where the copy ends."""
    left = os.fstat(source).st_size
    by_system = hasattr(os, "copy_file_range")
    while left:
        count = 0
        if by_system:
            try:
                count = os.copy_file_range(source, target, min(left, MAX_COPY_NBYTES), None, offset)
            except OSError:  # not between these file systems; a full disk raises again below
                by_system = False
        if not by_system:
            data = os.read(source, min(left, MAX_COPY_NBYTES))
            write_at(target, offset, data)
            count = len(data)
        if not count:
            raise OSError(f"a temporary file ended {left} bytes too early")
        left -= count
        offset += count
    return offset


@contextmanager
def plain_file(sink: Sink, nbytes: int) -> Iterator[LocalSink]:
    """Create a temporary file for data that will be compressed into another.

    Parameters
    ----------
    sink : LocalSink
        The other file, which is being written.
    nbytes : int
        Disk space to reserve.

    Yields
    ------
    LocalSink
        Where to write.
    """
    sink = local(sink)
    plain = replace(sink, part=piece_path(sink, "plain"))
    allowed = os.stat(sink.part).st_mode & 0o666  # nobody may read more than of the other
    descriptor = os.open(plain.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, allowed)
    try:
        try:
            preallocate(descriptor, nbytes)
            write_at(descriptor, 0, plain.nonce)
        finally:
            os.close(descriptor)
        yield plain
    finally:
        os.unlink(plain.part)
