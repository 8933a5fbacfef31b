"""`block_files`: the files whose blocks this process knows, and reading through their tables."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from xarray_mrc.storage.compressed.blocks import (
    SMALL_READ_NBYTES,
    BlockError,
    BlockTable,
    DamagedBlockError,
    Scatter,
    Use,
    decode_blocks,
    recent_blocks,
)
from xarray_mrc.storage.compressed.bzip2_blocks import Bzip2Blocks
from xarray_mrc.storage.compressed.cursor import End
from xarray_mrc.storage.compressed.growing_blocks import GrowingBlocks, grow
from xarray_mrc.storage.compressed.gzi import warn_of_gzi
from xarray_mrc.storage.compressed.gzip_blocks import (
    BGZF_START,
    find_gzip_blocks,
    starts_with_bgzf,
)
from xarray_mrc.storage.compressed.points import Key
from xarray_mrc.storage.compressed.scanning import can_scan
from xarray_mrc.storage.compressed.xz_blocks import find_xz_blocks, starts_with_sizes
from xarray_mrc.storage.compressed.zstd_frames import find_zstd_frames, states_content_size
from xarray_mrc.storage.protocol import Head, Parts, Source, full_size

__all__ = ["START_NBYTES", "BlockFile", "block_files", "is_cut_into_blocks"]

# Stored bytes below which a file is read as a stream, which costs little then.
MIN_STORED_NBYTES = 256 * 2**10
# First stored bytes that show whether a file is cut into blocks.
START_NBYTES = 64
# Files that are kept, and the memory of their tables.
MAX_FILES = 256
MAX_TABLES_NBYTES = 64 * 2**20

FINDERS: dict[str, Callable[[Source, bytes], BlockTable | GrowingBlocks[Any] | None]] = {
    "gzip": find_gzip_blocks,
    "bzip2": lambda inner, start: Bzip2Blocks(),
    "xz": lambda inner, start: find_xz_blocks(inner),
    "zstd": lambda inner, start: find_zstd_frames(inner),
}
TESTERS = {"gzip": starts_with_bgzf, "xz": starts_with_sizes, "zstd": states_content_size}


def is_cut_into_blocks(container: str, inner: Source, start: bytes) -> bool:
    """Return True if the first stored bytes look like those of a file of blocks."""
    if full_size(inner) < MIN_STORED_NBYTES or container not in TESTERS:
        return False
    # Elsewhere only the index of xz is found without looking through the file.
    return (can_scan(inner) or container == "xz") and TESTERS[container](start)


class BlockFile:
    """A file of blocks, with the facts that are known about it; it holds nothing open.

    All methods may be called by several threads at the same time.

    Parameters
    ----------
    container : {"gzip", "bzip2", "xz", "zstd"}
        The format of the file.
    """

    def __init__(self, container: str) -> None:
        self.container = container
        self.table: BlockTable | None = None
        # A block was not what the table says. Either the file is damaged, or only the table is
        # wrong, which a pass over the stream tells.
        self.needs_pass = False
        self.damage = ""  # what a pass over the stream would not notice
        # A search for more blocks was broken off, between two blocks or within one.
        self.is_interrupted = False
        self._lock = threading.Lock()
        self._was_searched = False
        self._verified = np.empty(0, np.bool_)  # blocks that were decompressed, and were right
        # Finds more blocks, if a file has to be decompressed to find them; one thread at a time.
        self._growing: GrowingBlocks[Any] | None = None

    def find(self, inner: Source, start: bytes) -> bool:
        """Look for the blocks, once; return False if the file has to be read as a stream."""
        with self._lock:
            if not self._was_searched:
                first = start or Head(inner).read(0, START_NBYTES)
                found = FINDERS[self.container](inner, first)
                if not (found is None or isinstance(found, BlockTable)):
                    self._growing, found = found, found.table()
                self.table = found
                self._verified = np.zeros(len(self.table or ()), np.bool_)
                self._was_searched = True
            return self.table is not None

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        return 0 if self.table is None else self.table.nbytes

    @property
    def size(self) -> int:
        """Number of bytes of the content that the table knows."""
        return 0 if self.table is None else self.table.size

    @property
    def stated_end(self) -> End | None:
        """Where the content ends, if the file states it, or all blocks were decompressed."""
        if self.table is not None and self.table.sizes_are == "guessed":
            return self.verified_end
        return self._end

    @property
    def verified_end(self) -> End | None:
        """Where the content ends, once all blocks were decompressed."""
        return self._end if self._verified.all() else None

    @property
    def _end(self) -> End | None:
        """Where the content ends by the table, if the blocks are the whole file."""
        table = self.table
        if table is None or table.trailing_nbytes is None:
            return None
        return End(table.size, table.trailing_nbytes)

    def last_end(self, limit: int) -> int:
        """Return where the last known block ends that is all before an offset of the content."""
        table = self.table
        if table is None:
            return 0
        return int(table.offsets[np.searchsorted(table.offsets, limit, "right") - 1])

    def read_ranges(self, inner: Source, parts: Parts) -> bool:
        """Fill each array with the bytes from its offset on.

        Parameters
        ----------
        inner : Source
            The stored file.
        parts : sequence of (int, ndarray of uint8)
            As in `Source.read_ranges`.

        Returns
        -------
        bool
            False if only a stream can tell the bytes; the arrays may then hold anything.
        """
        scatter, known = Scatter(parts), 0
        is_small = sum(out.size for _, out in scatter.parts) <= SMALL_READ_NBYTES
        while (table := self.table) is not None:
            if not self._read_known(inner, table, scatter, known, is_small=is_small):
                if self._is_replaced(inner, table):
                    return self.read_ranges(inner, parts)
                return False
            if scatter.end <= table.size:
                return True
            known = len(table)
            known += self._grow(inner, scatter.end, known, scatter.put)
            if self.table is not None and len(self.table) == len(table):
                return False
        return False

    def verify(self, inner: Source, start: int, limit: int) -> bool:
        """Decompress the blocks with content from `start` to `limit` that were not before.

        Returns False if only a stream can tell whether they are right.
        """
        while (table := self.table) is not None and table.size < limit:
            self._grow(inner, limit, len(table))
            if self.table is None or len(self.table) == len(table):
                break
        table = self.table
        if table is None or (table.trailing_nbytes is None and table.size < limit):
            return False
        if table.sizes_are == "guessed":  # where `start` is depends on all blocks before
            start = 0
        # With blocks that have no content, as the last one of BGZF.
        first = int(np.searchsorted(table.offsets[1:], start, "left"))
        last = int(np.searchsorted(table.offsets, limit, "left")) if limit < table.size else None
        numbers = np.flatnonzero(~self._verified[first:last]) + first
        if self._decode(inner, table, numbers.tolist()):
            return True
        return self._is_replaced(inner, table) and self.verify(inner, start, limit)

    def _is_replaced(self, inner: Source, failed: BlockTable) -> bool:
        """Return True if a table from a file beside was wrong, and the blocks were found anew."""
        if not failed.is_beside or self.damage:
            return False
        with self._lock:
            if self.table is None and self.needs_pass:
                found = find_gzip_blocks(inner, BGZF_START, with_gzi=False)
                if found is None or found.is_like(failed):  # then the file is damaged
                    return False
                warn_of_gzi(inner, "its blocks are not those of the file")
                self._verified = np.zeros(len(found), np.bool_)
                self.table, self.needs_pass = found, False
        return self.table is not None

    def _read_known(
        self, inner: Source, table: BlockTable, scatter: Scatter, first: int, *, is_small: bool
    ) -> bool:
        """Read from the known blocks, from number `first` on; return False if one fails."""
        numbers = [number for number in scatter.numbers(table) if number >= first]
        if not numbers:
            return True
        kept = {*numbers} if is_small else {numbers[0], numbers[-1]}

        def use(number: int, content: bytes) -> None:
            if number in kept:
                recent_blocks.add(self, number, content)
            scatter.put(int(table.offsets[number]), content)

        missing = []
        for number in numbers:
            content = recent_blocks.get(self, number)
            if content is None:
                missing.append(number)
            else:
                scatter.put(int(table.offsets[number]), content)
        return self._check_sizes(inner, table, numbers[-1]) and self._decode(
            inner, table, missing, use
        )

    def _grow(
        self, inner: Source, until: int, known: int, put: Callable[[int, bytes], None] | None = None
    ) -> int:
        """Find more blocks, up to an offset of the content, and return how many were handed over.

        `put` takes the offset and the content of each block after the `known` ones; of none, if
        another thread has found them meanwhile.
        """
        with self._lock:
            table = self.table
            if self._growing is None or table is None or len(table) > known:
                return 0
            end = table.size

            def use(number: int, content: bytes) -> None:
                nonlocal end
                recent_blocks.add(self, number, content)
                if put is not None:
                    put(end, content)
                end += len(content)

            try:
                grow(self._growing, inner, until, use)
                table = self._growing.table()
                self._verified = np.ones(len(table), np.bool_)
                self.table = table
            except BlockError as error:
                self._give_up(error)
                return 0
            except BaseException:  # a source that failed, or Ctrl-C: blocks may have been skipped
                self._growing, self.is_interrupted = None, True
                raise
            return len(table) - known

    def _check_sizes(self, inner: Source, table: BlockTable, last: int) -> bool:
        """Decompress the blocks before block `last` whose sizes are doubtful."""
        doubtful = table.doubtful[: np.searchsorted(table.doubtful, last)]
        numbers = doubtful[~self._verified[doubtful]]
        return self._decode(inner, table, numbers.tolist())

    def _decode(
        self, inner: Source, table: BlockTable, numbers: list[int], use: Use | None = None
    ) -> bool:
        """Decompress blocks; return False, for good, if one is not what the table says."""

        def take(number: int, content: bytes) -> None:
            self._verified[number] = True
            if use is not None:
                use(number, content)

        try:
            if numbers:
                decode_blocks(inner, table, numbers, take)
        except BlockError as error:
            self._give_up(error)
            return False
        # Another thread may have found meanwhile that the table is wrong, and may have a new one.
        return self.table is not None and self.table.is_beside == table.is_beside

    def _give_up(self, error: BlockError) -> None:
        """Read the file as a stream from now on, or not at all if that is known to be wrong."""
        self.damage = f"{error}" if isinstance(error, DamagedBlockError) else ""
        self.needs_pass, self.table = True, None


class BlockFiles:
    """The files that the process read lately, by keys that name a file with its content.

    All methods may be called by several threads at the same time.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all files and replace the lock, as a forked child must."""
        self._lock = threading.Lock()
        self._files: OrderedDict[Key, BlockFile] = OrderedDict()

    def find_damage(self, key: Key) -> str:
        """Return what is wrong with a file that a stream would not notice; usually nothing."""
        file = self._files.get(key)
        return file.damage if file else ""

    def find(self, key: Key, container: str, inner: Source, start: bytes) -> BlockFile | None:
        """Return the blocks of a file, which are looked for once; None if it is read as a stream.

        Parameters
        ----------
        key : tuple
            Names the file with its content.
        container : {"gzip", "bzip2", "xz", "zstd"}
            Its format.
        inner : Source
            The stored file.
        start : bytes
            Its first bytes, if they are known.
        """
        if full_size(inner) < MIN_STORED_NBYTES or container not in FINDERS:
            return None
        with self._lock:
            file = self._files.get(key)
            if file is None or file.is_interrupted:
                file = self._files[key] = BlockFile(container)
            self._files.move_to_end(key)
        found = file.find(inner, start)
        with self._lock:
            while len(self._files) > 1 and (
                len(self._files) > MAX_FILES
                or sum(file.nbytes for file in self._files.values()) > MAX_TABLES_NBYTES
            ):
                self._files.popitem(last=False)
        return file if found or file.needs_pass else None


block_files = BlockFiles()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=block_files.clear)
