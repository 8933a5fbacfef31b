"""Blocks whose sizes are known only once they were decompressed, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from xarray_mrc.storage.compressed.blocks import BlockError, BlockTable, Use, decoder_pool
from xarray_mrc.storage.protocol import Source

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["GrowingBlocks", "grow"]

# Starts within the data of a block that only look like one, of which each costs a trial.
MAX_MERGED = 4

Task = TypeVar("Task")


class GrowingBlocks(Protocol[Task]):
    """Finds the blocks of a file from the first to the last.

    Only `decode` may be called by several threads at the same time.
    """

    def next_task(self, inner: Source) -> Task | None:
        """Return the next block; None after the last, or where only a stream can read on."""

    def decode(self, task: Task) -> Callable[[], bytes]:
        """Decompress a block, up to some MiB; return a function that returns all of its content."""

    def merge(self, inner: Source, task: Task, following: Task) -> Task:
        """Return the block of two tasks, between which bits only looked like the start of one."""

    def accept(self, task: Task, nbytes: int) -> None:
        """Take the size of the next block; raise BlockError if a checksum is wrong."""

    def table(self) -> BlockTable:
        """Return the table of the blocks that were accepted so far."""


def grow(blocks: GrowingBlocks[Task], inner: Source, until: int, use: Use) -> None:
    """Decompress the next blocks on several threads, at least up to an offset of the content.

    Parameters
    ----------
    blocks : GrowingBlocks
        The blocks so far.
    inner : Source
        The stored file.
    until : int
        Where the content may end.
    use : callable
        Takes the number of each new block and its content, in order.

    Raises
    ------
    BlockError
        A block is damaged.
    """
    table = blocks.table()
    number, end = len(table), table.size
    from concurrent.futures import wait

    queue: deque[tuple[Task, Future[Callable[[], bytes]]]] = deque()

    def submit() -> bool:
        task = blocks.next_task(inner)
        if task is not None:
            queue.append((task, decoder_pool.submit(lambda: blocks.decode(task))))
        return task is not None

    def decode_next() -> tuple[Task, bytes]:
        task, future = queue.popleft()
        for _ in range(MAX_MERGED):
            try:
                return task, future.result()()
            except MemoryError:
                raise
            except Exception as error:  # each library has its own
                if not queue and not submit():
                    raise BlockError(f"{error}") from None
                following, other = queue.popleft()
                wait([other])
                task = blocks.merge(inner, task, following)
                future = decoder_pool.submit(lambda task=task: blocks.decode(task))  # type: ignore[misc]
        raise BlockError("no end was found")

    try:
        while end < until and submit():
            if len(queue) > decoder_pool.threads:
                task, content = decode_next()
                blocks.accept(task, len(content))
                use(number, content)
                number, end = number + 1, end + len(content)
        while queue:  # each was found already
            task, content = decode_next()
            blocks.accept(task, len(content))
            use(number, content)
            number += 1
    finally:
        for _, future in queue:
            future.cancel()
        wait([future for _, future in queue])
