"""Protocols of what is written: `Sink` takes the bytes, `Target` makes them appear as a file.

A sink is a small value that travels to the workers of a cluster; its target stays with the
process that began the file. The first bytes of a file make it valid. They are written last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from xarray_mrc.storage.protocol import Bytes

__all__ = ["Receipt", "Sink", "Target", "first_bytes", "in_order", "split_held", "view_bytes"]

Written = Iterable[tuple[int, Bytes | bytes | memoryview]]  # offset and contiguous bytes of each


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sink returns for the ranges that it took: small and picklable.

    The receipts of all calls, in any order, go to `Target.finish`. If a task runs twice, either
    receipt will do.

    Attributes
    ----------
    held : tuple of (int, bytes)
        Offsets and bytes that lie before `Sink.held_nbytes`, and were not written yet.
    tags : tuple of (int, str)
        Number and ETag of each part of an upload; none for files.
    """

    held: tuple[tuple[int, bytes], ...] = ()
    tags: tuple[tuple[int, str], ...] = ()

    def merge(self, other: Receipt) -> Receipt:
        """Return one receipt in place of two."""
        return Receipt(self.held + other.held, self.tags + other.tags)


class Sink(Protocol):
    """A file that is being written: small, picklable, with nothing open.

    All methods may be called by several threads and processes at the same time, for ranges that do
    not overlap.
    """

    @property
    def path(self) -> str:
        """Path or URL, without secrets, that the file will have."""

    @property
    def held_nbytes(self) -> int:
        """Number of first bytes that are written last, by `Target.finish`."""

    @property
    def min_block_nbytes(self) -> int:
        """Bytes that a call of `write_ranges` must bring, without gaps; 0 if any number will do.

        The last block of a file may be shorter.
        """

    def write_ranges(self, parts: Written) -> Receipt:
        """Write bytes at offsets.

        Parameters
        ----------
        parts : iterable of (int, ndarray of uint8, bytes or memoryview)
            Offset and contiguous bytes of each range.

        Returns
        -------
        Receipt
            For `Target.finish`.

        Raises
        ------
        MrcError
            This computer does not see the file that is being written, or it was given up.
        OSError
            The bytes cannot be written, because the disk is full, for example.
        """


class Target(Protocol):
    """A new file, which appears complete under its name or not at all.

    Not to be shared by threads. Used as a context, it is given up at the end unless it was
    finished.
    """

    @property
    def sink(self) -> Sink:
        """Takes the bytes."""

    def finish(self, head: bytes = b"", receipts: Iterable[Receipt] = ()) -> None:
        """Write the first bytes, and make the file appear under its name.

        Parameters
        ----------
        head : bytes
            The first bytes of the file, if no call of `Sink.write_ranges` took them.
        receipts : iterable of Receipt
            Those of all calls of `Sink.write_ranges`.

        Raises
        ------
        FileExistsError
            Another file has this name by now, and may not be replaced.
        OSError
            The file cannot be written.
        """

    def abort(self) -> None:
        """Remove all that was written; a file of this name is unchanged."""


def in_order(blocks: Iterable[Bytes | bytes]) -> Iterator[tuple[int, Bytes | bytes]]:
    """Yield blocks that follow one another from the first byte on, each with its offset."""
    offset = 0
    for block in blocks:
        yield offset, block
        offset += len(block)


def view_bytes(data: Any) -> memoryview:
    """Return contiguous data as a view of bytes."""  # Any: numpy 2.0's types lack the buffer
    return memoryview(data).cast("B")


def split_held(
    parts: Written, held_nbytes: int, held: list[tuple[int, bytes]]
) -> Iterator[tuple[int, memoryview]]:
    """Yield the ranges from `held_nbytes` on; `held` takes what lies before it."""
    for offset, data in parts:
        buffer = view_bytes(data)
        before = max(0, held_nbytes - offset)
        if before and buffer:
            held.append((offset, bytes(buffer[:before])))
        if len(buffer) > before:
            yield offset + before, buffer[before:]


def first_bytes(head: bytes, receipts: Iterable[Receipt]) -> bytes:
    """Return the first bytes of a file, of its head and of those that receipts hold, in order.

    Parameters
    ----------
    head : bytes
        The first of them.
    receipts : iterable of Receipt
        Hold the others.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        Some of them were never written.
    """
    found = bytearray(head)
    for offset, data in sorted(part for receipt in receipts for part in receipt.held):
        if offset > len(found):
            raise ValueError(f"bytes {len(found)} to {offset} of the file were never written")
        found[offset : offset + len(data)] = data
    return bytes(found)
