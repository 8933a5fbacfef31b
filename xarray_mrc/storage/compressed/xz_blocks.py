"""The blocks of xz files, by the index at the end of each stream.

A block is decompressed as the only one of a stream that is made for it, so that liblzma verifies
its sizes and its checksum (CRC-32, CRC-64 or SHA-256).

Source: "The .xz File Format", version 1.2.1.
"""

from __future__ import annotations

import struct
import zlib
from itertools import chain
from typing import NamedTuple

import numpy as np

from xarray_mrc.storage.compressed.blocks import MAX_BLOCK_NBYTES, BlockTable, starts_of
from xarray_mrc.storage.compressed.decoders import MAX_MEMORY_NBYTES
from xarray_mrc.storage.compressed.scanning import can_scan
from xarray_mrc.storage.protocol import Head, Source, full_size

__all__ = ["find_xz_blocks", "starts_with_sizes"]

HEADER_MAGIC, FOOTER_MAGIC = b"\xfd7zXZ\0", b"YZ"
HEADER_NBYTES = 12
FOOTER = struct.Struct("<II2s2s")  # CRC-32, size of the index, flags, magic
# Bytes that are read at the end of a file: footer and, as a rule, the whole index; and at the end
# of streams before it, which are many if each is small.
TAIL_NBYTES, SMALL_TAIL_NBYTES = 64 * 2**10, 2**10
MAX_INDEX_NBYTES = 4 * 2**20
# Each stream costs two requests, one after the other, if the file is not on this computer.
MAX_REMOTE_STREAMS = 8


class Stream(NamedTuple):
    """One stream of a file: where it starts, its flags, and the sizes of its blocks."""

    start: int
    flags: bytes
    blocks: list[tuple[int, int]]  # stored size without padding, and size of the content


def starts_with_sizes(start: bytes) -> bool:
    """Return True if the first block states its sizes, as programs do that make several."""
    return start.startswith(HEADER_MAGIC) and len(start) > 13 and start[13] & 0xC0 == 0xC0


def find_xz_blocks(inner: Source) -> BlockTable | None:
    """Return the table of the blocks of an xz file, or None if it has to be read as a stream.

    Parameters
    ----------
    inner : Source
        The stored file. Only the end of each stream is read.

    Returns
    -------
    BlockTable or None
        None if there is one block only, or anything that only a stream can follow.
    """
    streams: list[Stream] = []
    end = full_size(inner)
    while end > 0:
        tail_nbytes = SMALL_TAIL_NBYTES if streams else TAIL_NBYTES
        found = read_stream(Head(inner), end, tail_nbytes)
        if found is None:
            return None
        streams.append(found)
        end = found.start
        if len(streams) > MAX_REMOTE_STREAMS and not can_scan(inner):
            return None
    streams.reverse()
    records = [*chain.from_iterable(stream.blocks for stream in streams)]
    if len(records) < 2 or max(map(max, records)) > MAX_BLOCK_NBYTES:
        return None
    starts, flags = [], []
    for stream in streams:
        start = stream.start + HEADER_NBYTES
        for nbytes, _ in stream.blocks:
            starts.append(start)
            flags.append(stream.flags)
            start += padded(nbytes)

    def decode(data: memoryview, number: int, nbytes: int) -> bytes:
        return decode_block(data, flags[number], *records[number])

    first = np.array(starts, np.int64)
    stored = np.array([padded(nbytes) for nbytes, _ in records], np.int64)
    content = starts_of([nbytes for _, nbytes in records])
    return BlockTable(first, first + stored, content, decode, 0, "checked")


def read_stream(head: Head, end: int, tail_nbytes: int) -> Stream | None:
    """Read the footer and the index of the stream that ends at a byte; None if they are not right.

    Zeros after the stream are padding.
    """
    reach = min(end, tail_nbytes)
    tail = head.read(end - reach, reach)
    stripped = tail.rstrip(b"\0")
    padding = len(tail) - len(stripped)
    if padding % 4 or len(stripped) < FOOTER.size:
        return None
    end -= padding
    checksum, backward, flags, magic = FOOTER.unpack(stripped[-FOOTER.size :])
    nbytes = (backward + 1) * 4
    index_start = end - FOOTER.size - nbytes
    if (
        magic != FOOTER_MAGIC
        or checksum != zlib.crc32(stripped[-8:-2])
        or nbytes > MAX_INDEX_NBYTES
        or index_start < HEADER_NBYTES
    ):
        return None
    index = stripped[: -FOOTER.size][-nbytes:]
    if len(index) < nbytes:
        index = head.read(index_start, nbytes)
    blocks = read_index(index)
    if blocks is None:
        return None
    start = index_start - sum(padded(size) for size, _ in blocks) - HEADER_NBYTES
    if start < 0 or head.read(start, HEADER_NBYTES) != stream_header(flags):
        return None
    return Stream(start, flags, blocks)


def read_index(index: bytes) -> list[tuple[int, int]] | None:
    """Return the sizes that an index has; None if its checksum is wrong."""
    if index[:1] != b"\0" or zlib.crc32(index[:-4]).to_bytes(4, "little") != index[-4:]:
        return None
    numbers, value, shift = [], 0, 0
    for byte in index[1:-4]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    count = numbers[0] if numbers else 0
    sizes = numbers[1 : 1 + 2 * count]
    return [*zip(sizes[::2], sizes[1::2], strict=True)] if len(sizes) == 2 * count else None


def padded(nbytes: int) -> int:
    """Return a number of bytes, rounded up to a multiple of 4."""
    return -(-nbytes // 4) * 4


def stream_header(flags: bytes) -> bytes:
    """Return the header of a stream with some flags."""
    return HEADER_MAGIC + flags + zlib.crc32(flags).to_bytes(4, "little")


def number_of(value: int) -> bytes:
    """Return a number as an index has it: 7 bits in each byte, the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def decode_block(data: memoryview, flags: bytes, stored_nbytes: int, nbytes: int) -> bytes:
    """Return the content of a block, as that of a stream with one block."""
    import lzma

    index = b"\0\1" + number_of(stored_nbytes) + number_of(nbytes)
    index = index.ljust(padded(len(index)), b"\0")
    index += zlib.crc32(index).to_bytes(4, "little")
    end = struct.pack("<I", len(index) // 4 - 1) + flags
    footer = zlib.crc32(end).to_bytes(4, "little") + end + FOOTER_MAGIC
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY_NBYTES)
    content = decoder.decompress(stream_header(flags) + data + index + footer, nbytes + 1)
    if not decoder.eof:
        raise ValueError("the block is longer than the index says")
    return content
