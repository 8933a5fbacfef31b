"""What lies beside a file that is being made, and is removed with it.

Of a packed file each part is in a file of its own until all are there: how long a part is when it
is packed is known only then, so that its place is not known before.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from xarray_mrc.storage.sink import BINARY, Sink, preallocate, write_at

__all__ = ["join_pieces", "plain_file", "write_piece"]

COPIED = 16 * 2**20  # in one call


def write_piece(sink: Sink, number: int, packed: Iterable[bytes]) -> None:
    """Write a piece; that of a task that runs twice replaces the first as a whole.

    Parameters
    ----------
    sink : Sink
        The file that is being made.
    number : int
        Tells the piece from the others.
    packed : iterable of bytes
        The content.
    """
    name = f"{sink.part}.{number}"
    draft = f"{name}.{secrets.token_hex(4)}"
    with sink.opened() as part:  # refuses where the file is not the one that is being made
        allowed = os.fstat(part).st_mode & 0o666

    def as_part(name: str, flags: int) -> int:
        return os.open(name, flags, allowed)

    try:
        with open(draft, "xb", buffering=0, opener=as_part) as file:
            for data in packed:
                write_at(file.fileno(), file.seek(0, os.SEEK_END), data)
        with sink.opened():  # it was given up meanwhile, and its pieces were removed
            os.replace(draft, name)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def join_pieces(sink: Sink, head: Iterable[bytes], numbers: Iterable[int], end: bytes) -> None:
    """Put the pieces together, and remove each when it is in its place.

    Parameters
    ----------
    sink : Sink
        The file that is being made.
    head : iterable of bytes
        What comes before them.
    numbers : iterable of int
        The pieces in order.
    end : bytes
        What comes after them.
    """
    with sink.opened() as descriptor:
        offset = 0
        for data in head:
            write_at(descriptor, offset, data)
            offset += len(data)
        for number in numbers:
            with piece(f"{sink.part}.{number}") as source:
                offset = copy(source, descriptor, offset)
        write_at(descriptor, offset, end)
        os.ftruncate(descriptor, offset + len(end))


@contextmanager
def piece(name: str) -> Iterator[int]:
    """Open a piece, which is removed behind it."""
    descriptor = os.open(name, os.O_RDONLY | BINARY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
    os.unlink(name)


def copy(source: int, target: int, offset: int) -> int:
    """Copy a whole file to a place in another, by the system where it can; give where it ends."""
    left = os.fstat(source).st_size
    by_system = hasattr(os, "copy_file_range")
    while left:
        count = 0
        if by_system:
            try:
                count = os.copy_file_range(source, target, min(left, COPIED), None, offset)
            except OSError:  # not between these file systems, or a full disk, which shows below
                by_system = False
        if not by_system:
            data = os.read(source, min(left, COPIED))
            write_at(target, offset, data)
            count = len(data)
        if not count:
            raise OSError(f"a piece ended {left} bytes too early")
        left -= count
        offset += count
    return offset


@contextmanager
def plain_file(sink: Sink, nbytes: int) -> Iterator[Sink]:
    """Make a file for what will be packed into another, for as long as the context lasts.

    Parameters
    ----------
    sink : Sink
        The other file, which is being made.
    nbytes : int
        Room to set aside.

    Yields
    ------
    Sink
        Where to write.
    """
    beside = replace(sink, part=f"{sink.part}.plain")
    allowed = os.stat(sink.part).st_mode & 0o666  # nobody may read more than of the other
    descriptor = os.open(beside.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, allowed)
    try:
        try:
            preallocate(descriptor, nbytes)
            write_at(descriptor, 0, beside.nonce)
        finally:
            os.close(descriptor)
        yield beside
    finally:
        os.unlink(beside.part)
