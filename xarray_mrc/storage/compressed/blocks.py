"""Files of blocks that can be decompressed alone: found once, then read in any order, in parallel.

A process keeps a table of the blocks of each file that it read lately. A read decompresses the
blocks that it needs, on several threads, each with its checksum, and copies their content to where
the caller wants it. Nothing is assumed for good: if a block is not what the table says, the file is
read as one stream from then on.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.storage.compressed.encoders import cores
from xarray_mrc.storage.protocol import Bytes, Parts, Source

if TYPE_CHECKING:  # it loads logging, which an import of the drop-in need not
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = [
    "MAX_BLOCK_NBYTES",
    "SMALL_READ_NBYTES",
    "BlockError",
    "BlockTable",
    "DamagedBlockError",
    "Scatter",
    "Use",
    "decode_blocks",
    "decoder_pool",
    "recent_blocks",
    "starts_of",
]

# A file with a larger block is read as a stream, whose memory is bounded. xz -9 makes 192 MiB.
MAX_BLOCK_NBYTES = 256 * 2**20
# Stored bytes that are read in one go, content that a thread decompresses in one go, and content
# that may be decompressed ahead of the oldest job that is not done.
MAX_READ_NBYTES = 8 * 2**20
JOB_NBYTES = 2**20
MAX_AHEAD_NBYTES = 32 * 2**20
MAX_THREADS = 16
# Decompressed blocks that are kept for the next small read. Of larger reads only the first and the
# last block are kept, because the next read begins where this one ends.
MAX_RECENT_NBYTES = 32 * 2**20
SMALL_READ_NBYTES = 4 * 2**20

Int64s = NDArray[np.int64]
Decode = Callable[[memoryview, int, int], bytes]
Use = Callable[[int, bytes], None]
T = TypeVar("T")


class BlockError(Exception):
    """A block is not what the table of blocks says: the file has to be read as a stream."""


class DamagedBlockError(BlockError):
    """A block is damaged, which a stream would not notice: its checksum is elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable:
    """Where the blocks of a file are stored, and which part of the content each holds.

    Attributes
    ----------
    starts, stops : ndarray of int64
        Stored bytes of each block.
    offsets : ndarray of int64
        First byte of the content of each block, and the end of the last.
    decode : callable
        Returns the content of a block, given its stored bytes, its number and the expected number
        of bytes; raises any exception if the block is damaged. Called by several threads at the
        same time.
    trailing_nbytes : int or None
        Stored bytes after the last block that are not compressed data; None if the blocks are not
        the whole file: it is cut off, or goes on in a way that only a stream can follow.
    sizes_are : {"checked", "stated", "guessed"}
        Whether a checksum protects the sizes, the file states them, or blocks were searched for.
    is_beside : bool
        Whether the table comes from another file, beside the stored one.
    doubtful : ndarray of int64
        Blocks whose size nothing confirms, so that they are decompressed before the offsets of
        later blocks are relied on.

    Examples
    --------
    >>> one, two = np.array([0, 10]), np.array([10, 25])
    >>> BlockTable(one, two, starts_of([7, 7]), lambda data, number, nbytes: b"", 0).size
    14
    """

    starts: Int64s
    stops: Int64s
    offsets: Int64s
    decode: Decode
    trailing_nbytes: int | None
    sizes_are: Literal["checked", "stated", "guessed"] = "stated"
    is_beside: bool = False
    doubtful: Int64s = field(init=False)

    def __post_init__(self) -> None:
        found = np.empty(0, np.int64)
        if self.sizes_are != "checked":
            # One bit that flipped in a stored size would shift everything after it. Blocks are cut
            # to a few sizes, so a size that occurs only once is suspect.
            _, which, counts = np.unique(
                np.diff(self.offsets), return_inverse=True, return_counts=True
            )
            found = np.flatnonzero(counts[which] == 1)
        object.__setattr__(self, "doubtful", found)

    @property
    def size(self) -> int:
        """Number of bytes of the content of all blocks."""
        return int(self.offsets[-1])

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        return self.starts.nbytes + self.stops.nbytes + self.offsets.nbytes

    def __len__(self) -> int:
        return self.starts.size

    def is_like(self, other: BlockTable) -> bool:
        """Return True if another table has the same blocks."""
        mine, theirs = (self.starts, self.offsets), (other.starts, other.offsets)
        return all(map(np.array_equal, mine, theirs))

    def covering(self, start: int, stop: int) -> range:
        """Return the numbers of the blocks that hold a range of the content."""
        if start >= stop:
            return range(0)
        first = int(np.searchsorted(self.offsets, start, "right")) - 1
        last = int(np.searchsorted(self.offsets, stop, "left"))
        return range(first, min(last, len(self)))


def starts_of(sizes: NDArray[np.int64] | Sequence[int]) -> Int64s:
    """Return where pieces of these sizes start that follow one another, and the end of the last."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(sizes, np.int64))])


class Scatter:
    """The arrays of a read, which take the content of blocks.

    Parameters
    ----------
    parts : sequence of (int, ndarray of uint8)
        As in `Source.read_ranges`.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = sorted((part for part in parts if part[1].size), key=lambda part: part[0])
        self._starts = [offset for offset, _ in self.parts]
        # The furthest end so far, because ranges may lie within earlier ones.
        self._ends = [*accumulate((offset + out.size for offset, out in self.parts), max)]

    @property
    def end(self) -> int:
        """End of the range that reaches furthest."""
        return self._ends[-1] if self._ends else 0

    def put(self, offset: int, content: bytes) -> None:
        """Copy the content of a block into all arrays that want some of it."""
        stop = offset + len(content)
        data = np.frombuffer(content, np.uint8)
        for start, out in self.parts[
            bisect_right(self._ends, offset) : bisect_left(self._starts, stop)
        ]:
            first, last = max(start, offset), min(start + out.size, stop)
            if first < last:
                out[first - start : last - start] = data[first - offset : last - offset]

    def numbers(self, table: BlockTable) -> list[int]:
        """Return the numbers of the blocks that are needed, in order."""
        found: list[int] = []
        for offset, out in self.parts:
            needed = table.covering(offset, offset + out.size)
            # Ranges are in order of their starts, so only the last blocks may occur again.
            first = found[-1] + 1 if found else 0
            found += range(max(needed.start, first), needed.stop)
        return found


class RecentBlocks:
    """The blocks that were decompressed last, in all files of the process together.

    All methods may be called by several threads at the same time.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop all blocks and replace the lock, as a forked child must."""
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[object, int], bytes] = OrderedDict()
        self._nbytes = 0

    def get(self, owner: object, number: int) -> bytes | None:
        """Return the content of a block, if it is kept."""
        with self._lock:
            content = self._blocks.get((owner, number))
            if content is not None:
                self._blocks.move_to_end((owner, number))
            return content

    def add(self, owner: object, number: int, content: bytes) -> None:
        """Keep the content of a block; those that were not used for longest are dropped."""
        with self._lock:
            self._nbytes -= len(self._blocks.pop((owner, number), b""))
            self._blocks[owner, number] = content
            self._nbytes += len(content)
            while self._nbytes > MAX_RECENT_NBYTES and len(self._blocks) > 1:
                self._nbytes -= len(self._blocks.popitem(last=False)[1])


recent_blocks = RecentBlocks()


class DecoderPool:
    """The threads that decompress blocks, shared by all reads of the process."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the threads, which a forked child does not have."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def threads(self) -> int:
        """Number of threads."""
        return min(cores(), MAX_THREADS)

    def submit(self, run: Callable[[], T]) -> Future[T]:
        """Run a job on another thread, or on this one if Python is ending and starts no threads."""
        from concurrent.futures import Future

        try:
            with self._lock:
                if self._pool is None:
                    # Python does not load it any more when it is ending.
                    from concurrent.futures import ThreadPoolExecutor

                    self._pool = ThreadPoolExecutor(self.threads, "xarray_mrc-blocks")
                pool = self._pool
            return pool.submit(run)
        except RuntimeError:
            done: Future[T] = Future()
            done.set_result(run())
            return done


decoder_pool = DecoderPool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=recent_blocks.clear)
    os.register_at_fork(after_in_child=decoder_pool.clear)


def decode_blocks(inner: Source, table: BlockTable, numbers: Sequence[int], use: Use) -> None:
    """Read and decompress blocks, several at a time.

    Parameters
    ----------
    inner : Source
        The stored file.
    table : BlockTable
        Its blocks.
    numbers : sequence of int
        The blocks that are needed, in order.
    use : callable
        Takes the number and the content of each block, on any thread.

    Raises
    ------
    BlockError
        A block is not what the table says.
    """

    def run(job: list[tuple[int, memoryview]]) -> None:
        for number, data in job:
            nbytes = int(table.offsets[number + 1] - table.offsets[number])
            try:
                content = table.decode(data, number, nbytes)
            except (MemoryError, DamagedBlockError):
                raise
            except Exception as error:  # each library has its own
                raise BlockError(f"block {number}: {error}") from None
            if len(content) != nbytes:
                raise BlockError(f"block {number}: {len(content)} bytes, expected {nbytes}")
            use(number, content)

    queue: deque[tuple[Future[None], int]] = deque()
    ahead = 0
    try:
        for job in jobs_of(inner, table, numbers):
            nbytes = sum(int(table.offsets[n + 1] - table.offsets[n]) for n, _ in job)
            if job[0][0] == numbers[0] and job[-1][0] == numbers[-1]:
                run(job)  # there is only one
                return
            while queue and ahead + nbytes > MAX_AHEAD_NBYTES:
                future, done = queue.popleft()
                future.result()
                ahead -= done
            queue.append((decoder_pool.submit(lambda job=job: run(job)), nbytes))  # type: ignore[misc]
            ahead += nbytes
        while queue:
            queue.popleft()[0].result()
    finally:  # after an error no thread may still write into the caller's arrays
        for future, _ in queue:
            future.cancel()
        if queue:
            from concurrent.futures import wait

            wait([future for future, _ in queue])


def jobs_of(
    inner: Source, table: BlockTable, numbers: Sequence[int]
) -> Iterator[list[tuple[int, memoryview]]]:
    """Read the stored bytes of blocks; yield them in groups that are large enough for a thread."""
    for batch in batches_of(table, numbers):
        stored = read_blocks(inner, table, batch)
        job: list[tuple[int, memoryview]] = []
        nbytes = 0
        for number, data in zip(batch, stored, strict=True):
            job.append((number, data))
            nbytes += int(table.offsets[number + 1] - table.offsets[number])
            if nbytes >= JOB_NBYTES:
                yield job
                job, nbytes = [], 0
        if job:
            yield job


def batches_of(table: BlockTable, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield groups of blocks whose stored bytes are read together."""
    stored = np.cumsum(table.stops[numbers] - table.starts[numbers])
    first = 0
    while first < len(numbers):
        before = int(stored[first - 1]) if first else 0
        after = int(np.searchsorted(stored, before + MAX_READ_NBYTES, "right"))
        yield numbers[first : max(after, first + 1)]
        first = max(after, first + 1)


def read_blocks(inner: Source, table: BlockTable, numbers: Sequence[int]) -> list[memoryview]:
    """Read the stored bytes of blocks; of adjacent ones as one range."""
    starts, stops = table.starts[numbers].tolist(), table.stops[numbers].tolist()
    runs: list[tuple[int, Bytes]] = []
    found: list[memoryview] = []
    first = 0
    for i, stop in enumerate(stops):
        if i + 1 < len(stops) and starts[i + 1] <= stop:
            continue
        start = starts[first]
        data = np.empty(stop - start, np.uint8)
        runs.append((start, data))
        view = memoryview(data.data)
        found += [view[starts[k] - start : stops[k] - start] for k in range(first, i + 1)]
        first = i + 1
    inner.read_ranges(runs)
    return found
