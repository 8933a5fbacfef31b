"""The blocks of bzip2 files, which start at any bit.

A block starts with 48 fixed bits and the checksum of its content. From one such start to the next
lies a block, which is decompressed alone, as the only one of a stream that is made for it. The end
of a stream has 48 other bits and a checksum of all its blocks. The size of a block is known once
it was decompressed, so blocks are found from the first to the last.

Source: the format that Julian Seward's bzip2 1.0.8 reads (decompress.c).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xarray_mrc.storage.compressed.blocks import BlockError, BlockTable, starts_of
from xarray_mrc.storage.protocol import Source, full_size

if TYPE_CHECKING:
    from bz2 import BZ2Decompressor

__all__ = ["Bzip2Blocks", "Bzip2Task"]

BLOCK_START, STREAM_END = 0x314159265359, 0x177245385090
MAGIC_NBITS, CHECKSUM_NBITS = 48, 32
END_NBITS = MAGIC_NBITS + CHECKSUM_NBITS
STREAM_HEADER = re.compile(rb"BZh[1-9]")
HEADER_NBYTES = 4
# What may lie between streams: zeros, and streams without content.
EMPTY_NBYTES = 14
EMPTY = re.compile(rb"(\0|BZh[1-9]\x17\x72\x45\x38\x50\x90\0{4})*")
# Stored bytes that are read in one go, and more than one block can take: 900,000 bytes that do not
# compress, and the tables.
READ_NBYTES = 2**20
MAX_STORED_NBYTES = 1_500_000
# Content of a block that a thread decompresses at once. A block holds up to 46 MB of equal bytes;
# the rest of such a block is decompressed when its turn comes.
MAX_FIRST_NBYTES = 4 * 2**20


def whole_bytes(magic: int) -> list[re.Pattern[bytes]]:
    """Return the patterns of the whole bytes of 48 bits that start at bits 0 to 7 of a byte."""
    found = []
    for shift in range(8):
        data = (magic << 8 >> shift).to_bytes(7, "big")
        found.append(re.compile(re.escape(data[:6] if shift == 0 else data[1:6]), re.DOTALL))
    return found


PATTERNS = {magic: whole_bytes(magic) for magic in (BLOCK_START, STREAM_END)}


@dataclass(frozen=True, slots=True)
class Bzip2Task:
    """A block that is to be decompressed.

    Attributes
    ----------
    start, stop : int
        The bits of the stored file that it takes.
    level : int
        Level of its stream: the size of blocks before compression, in units of 100,000 bytes.
    data : bytes
        The stored bytes that hold these bits.
    stream_checksum : int or None
        For the last block of a stream, the checksum of the whole stream.
    """

    start: int
    stop: int
    level: int
    data: bytes
    stream_checksum: int | None = None


class Bzip2Blocks:
    """Finds the blocks of a file from the first to the last; holds nothing open.

    `next_task` returns a block, `decode` starts to decompress it on any thread, and `accept` takes
    the number of its bytes, block after block. Only `decode` may be called by several threads.
    """

    def __init__(self) -> None:
        self._data, self._base = b"", 0  # stored bytes from the next block on, and where they are
        self._searched = 0  # the byte of the file up to which starts were searched for
        self._starts: deque[int] = deque()  # bits where blocks seem to start
        self._last_start = -1  # the last that was found
        self._stream, self._level = 0, 0  # the byte where the next stream starts; level, 0 outside
        self._checksum = 0  # of the blocks of one stream that were accepted
        self._blocks: list[tuple[int, int, int]] = []
        self._sizes: list[int] = []
        self._is_searched = False
        self._trailing_nbytes: int | None = None

    def next_task(self, inner: Source) -> Bzip2Task | None:
        """Return the next block; None after the last, or where only a stream can read on."""
        if self._is_searched or not (self._level or self._start_stream(inner)):
            self._is_searched = True
            return None
        start = self._starts.popleft()
        self._forget(start // 8)
        self._search(inner, start // 8 + MAX_STORED_NBYTES)
        stop, checksum = self._starts[0] if self._starts else 0, None
        level = self._level
        if not stop or self._follows_header(stop):
            end = self._find_end(start, stop)
            if end is None and not stop:  # the file is cut off
                self._is_searched = True
                return None
            if end is not None:
                stop, checksum = end, self._bits(end + MAGIC_NBITS, CHECKSUM_NBITS)
                self._stream, self._level = -(-(end + END_NBITS) // 8), 0
        data = self._data[start // 8 - self._base : -(-stop // 8) - self._base]
        return Bzip2Task(start, stop, level, data, checksum)

    def merge(self, inner: Source, task: Bzip2Task, following: Bzip2Task) -> Bzip2Task:
        """Return the block of two tasks, between which bits only looked like the start of one."""
        first, last = task.start // 8, -(-following.stop // 8)
        data = np.empty(last - first, np.uint8)
        inner.read_ranges([(first, data)])
        return replace(following, start=task.start, data=data.tobytes())

    def decode(self, task: Bzip2Task) -> Callable[[], bytes]:
        """Decompress a block, up to some MiB; return a function that returns all of its content."""
        first, decoder = decode(task, MAX_FIRST_NBYTES)

        def finish() -> bytes:
            rest = b"" if decoder.eof else decoder.decompress(b"")
            if not decoder.eof:
                raise BlockError("the block ends before its end mark")
            return first + rest

        return finish

    def accept(self, task: Bzip2Task, nbytes: int) -> None:
        """Take the size of the next block; BlockError if the checksum of its stream is wrong."""
        checksum = bits_of(task.data, task.start % 8 + MAGIC_NBITS, CHECKSUM_NBITS)
        rotated = (self._checksum << 1 | self._checksum >> 31) & 0xFFFFFFFF
        self._checksum = rotated ^ checksum
        if task.stream_checksum is not None:
            if self._checksum != task.stream_checksum:
                raise BlockError("the checksum of a stream is wrong")
            self._checksum = 0
        self._blocks.append((task.start, task.stop, task.level))
        self._sizes.append(nbytes)

    def table(self) -> BlockTable:
        """Return the table of the blocks that were accepted so far."""
        blocks = np.array(self._blocks, np.int64).reshape(-1, 3)

        def decode_block(data: memoryview, number: int, nbytes: int) -> bytes:
            start, stop, level = blocks[number].tolist()
            content, decoder = decode(Bzip2Task(start, stop, level, bytes(data)), nbytes + 1)
            if not decoder.eof:
                raise BlockError("the block ends before its end mark")
            return content

        starts, stops = blocks[:, 0] // 8, -(-blocks[:, 1] // 8)
        trailing = self._trailing_nbytes if self._is_searched else None
        return BlockTable(starts, stops, starts_of(self._sizes), decode_block, trailing, "checked")

    def _start_stream(self, inner: Source) -> bool:
        """Read the header of the next stream; return False at the end of the file."""
        size = full_size(inner)
        left = 0
        while left < EMPTY_NBYTES and self._stream + left < size:
            self._forget(self._stream)
            self._fill(inner, self._stream + READ_NBYTES)
            found = EMPTY.match(self._data)
            self._stream += found.end() if found else 0
            left = self._base + len(self._data) - self._stream
        self._forget(self._stream)
        header = self._data[:HEADER_NBYTES]
        start = 8 * (self._stream + HEADER_NBYTES)
        if STREAM_HEADER.fullmatch(header) and self._bits(start, MAGIC_NBITS) == BLOCK_START:
            self._level = header[3] - ord("0")
            while self._starts and self._starts[0] < start:
                self._starts.popleft()
            if not self._starts:
                self._searched = max(self._searched, self._stream)
                self._search(inner, self._stream + READ_NBYTES)
            return bool(self._starts) and self._starts[0] == start
        if not header.startswith(b"BZh"):
            self._trailing_nbytes = size - self._stream
        return False

    def _follows_header(self, bit: int) -> bool:
        """Return True if the header of a stream is just before a bit."""
        at = bit // 8 - self._base
        header = self._data[max(0, at - HEADER_NBYTES) : at]
        return bit % 8 == 0 and STREAM_HEADER.fullmatch(header) is not None

    def _find_end(self, start: int, stop: int) -> int | None:
        """Return the bit where a stream ends, after the start of its last block."""
        last = stop // 8 - HEADER_NBYTES if stop else self._base + len(self._data)
        # As a rule the next header follows at once. The end just after a header is that of an empty
        # stream between the two.
        for bit in range(8 * last - END_NBITS - 7, 8 * last - END_NBITS + 1):
            if stop and bit > start and self._bits(bit, MAGIC_NBITS) == STREAM_END:
                if self._follows_header(bit):
                    break
                return bit
        first = start // 8 - self._base
        found = find_bits(self._data, STREAM_END, first, last - self._base)
        return 8 * self._base + found[0] if found else None

    def _bits(self, bit: int, nbits: int) -> int:
        """Return bits of the stored file as a number."""
        return bits_of(self._data, bit - 8 * self._base, nbits)

    def _search(self, inner: Source, limit: int) -> None:
        """Search for the start of a block, up to some byte of the file."""
        while not self._starts:
            end = self._base + len(self._data)
            first = max(self._searched, self._base)
            found = find_bits(self._data, BLOCK_START, first - self._base, len(self._data))
            for bit in (8 * self._base + at for at in found):
                if bit > self._last_start:
                    self._starts.append(bit)
                    self._last_start = bit
            # Bits that begin in the last bytes are found once the rest of them is there.
            self._searched = max(first, end - MAGIC_NBITS // 8)
            if self._starts or end >= min(limit, full_size(inner)):
                return
            self._fill(inner, end + READ_NBYTES)

    def _fill(self, inner: Source, stop: int) -> None:
        """Read on, up to a byte of the file or its end."""
        end = self._base + len(self._data)
        nbytes = min(max(stop - end, inner.read_ahead_nbytes), full_size(inner) - end)
        if stop > end and nbytes > 0:
            more = np.empty(nbytes, np.uint8)
            inner.read_ranges([(end, more)])
            self._data += more.tobytes()

    def _forget(self, start: int) -> None:
        """Drop the bytes before one of the file."""
        self._data = self._data[max(0, start - self._base) :]
        self._base = max(self._base, start)


def find_bits(data: bytes, magic: int, first: int, last: int) -> list[int]:
    """Return the bits where 48 bits occur in some bytes, in order."""
    found = []
    for shift, pattern in enumerate(PATTERNS[magic]):
        for match in pattern.finditer(data, first, last):
            bit = 8 * (match.start() - bool(shift)) + shift
            if bit >= 8 * first and bits_of(data, bit, MAGIC_NBITS) == magic:
                found.append(bit)
    return sorted(found)


def bits_of(data: bytes, start: int, nbits: int) -> int:
    """Return some bits as a number; missing ones are zero."""
    first, last = start // 8, -(-(start + nbits) // 8)
    number = int.from_bytes(data[first:last].ljust(last - first, b"\0"), "big")
    return number >> (8 * last - start - nbits) & ((1 << nbits) - 1)


def stream_of(task: Bzip2Task) -> bytes:
    """Return a stream with one block, whose bits are moved to where such a stream has them."""
    shift, nbits = task.start % 8, task.stop - task.start
    data = np.frombuffer(task.data + b"\0", np.uint8)
    moved = (data[:-1] << shift | data[1:] >> (8 - shift)) if shift else data[:-1]
    whole, rest = divmod(nbits, 8)
    body = moved[:whole].tobytes()
    checksum = bits_of(body, MAGIC_NBITS, CHECKSUM_NBITS)
    # The bits of the last byte, the end of the stream, and its checksum: that of the block.
    end = bits_of(moved[whole : whole + 1].tobytes(), 0, rest) if rest else 0
    end = (end << MAGIC_NBITS | STREAM_END) << CHECKSUM_NBITS | checksum
    padding = -(rest + END_NBITS) % 8
    tail = (end << padding).to_bytes((rest + END_NBITS + padding) // 8, "big")
    return b"BZh%d" % task.level + body + tail


def decode(task: Bzip2Task, max_nbytes: int) -> tuple[bytes, BZ2Decompressor]:
    """Decompress a block, up to some size; return the content and the decompressor, to go on."""
    import bz2

    decoder = bz2.BZ2Decompressor()
    content = decoder.decompress(stream_of(task), max_nbytes)
    return content, decoder
