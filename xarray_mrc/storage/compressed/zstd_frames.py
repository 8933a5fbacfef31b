"""The frames of zstd files, which are blocks that can be decompressed alone.

Frames follow one another, and a header may state how much content the frame has. Files in the
seekable format end with a table of their frames.

Sources: RFC 8878; "Zstandard Seekable Format", version 0.1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from xarray_mrc.storage.compressed.blocks import (
    MAX_BLOCK_NBYTES,
    BlockError,
    BlockTable,
    DamagedBlockError,
    Decode,
    Int64s,
    starts_of,
)
from xarray_mrc.storage.compressed.decoders import SKIPPABLE, zstd_library
from xarray_mrc.storage.compressed.scanning import StoredBytes, can_scan
from xarray_mrc.storage.protocol import Head, Source, full_size

__all__ = ["ZstdFrames", "find_zstd_frames", "states_content_size"]

MAGIC = b"\x28\xb5\x2f\xfd"
FRAME_HEADER_NBYTES = 18
SKIPPABLE_HEADER = struct.Struct("<4sI")
# The frame of a seek table, and its end: the number of frames, flags, and a magic number.
SEEK_TABLE_MAGIC = b"\x5e\x2a\x4d\x18"
SEEK_TABLE_END = struct.Struct("<IB4s")
SEEK_TABLE_END_MAGIC = b"\xb1\xea\x92\x8f"
HAS_CHECKSUMS, RESERVED_FLAGS = 0x80, 0x7C
TAIL_NBYTES = 64 * 2**10
# The flag in a frame that its last four bytes are a checksum of its content.
FLAGS_AT, CHECKSUM_FLAG = 4, 4
# Bytes in which the end of a frame is looked for at first.
FRAME_NBYTES = 2 * 2**20
# Content of a frame of unknown size that a thread decompresses at once.
MAX_FIRST_NBYTES = 16 * 2**20


def states_content_size(start: bytes) -> bool:
    """Return True if a file starts with a frame that states a small size: others will follow."""
    try:
        nbytes = zstd_library().get_frame_info(start).decompressed_size
    except Exception:  # a skippable frame, or no library
        return start.startswith(SKIPPABLE)
    return nbytes is not None and nbytes <= FRAME_NBYTES


def find_zstd_frames(inner: Source) -> BlockTable | ZstdFrames | None:
    """Return the table of the frames of a zstd file, or None if it has to be read as a stream.

    Parameters
    ----------
    inner : Source
        The stored file.

    Returns
    -------
    BlockTable, ZstdFrames or None
        ZstdFrames if sizes are missing, so that frames have to be decompressed for their sizes.
    """
    try:
        zstd_library()
    except ImportError:  # the stream says so
        return None
    found = read_seek_table(Head(inner))
    if found is not None or not can_scan(inner):
        return found
    with StoredBytes(inner) as stored:
        return scan_frames(stored)


def read_seek_table(head: Head) -> BlockTable | None:
    """Return the table of the frames that the seek table at the end of a file states, if any."""
    size = full_size(head.source)
    tail = head.read(size - min(size, TAIL_NBYTES), min(size, TAIL_NBYTES))
    if not tail.endswith(SEEK_TABLE_END_MAGIC) or len(tail) < SEEK_TABLE_END.size:
        return None
    count, flags, _ = SEEK_TABLE_END.unpack(tail[-SEEK_TABLE_END.size :])
    width = 3 if flags & HAS_CHECKSUMS else 2
    nbytes = 4 * width * count + SEEK_TABLE_END.size
    start = size - nbytes - SKIPPABLE_HEADER.size
    if flags & RESERVED_FLAGS or start < 0 or count < 2:
        return None
    if size - start > len(tail):
        tail = head.read(start, size - start)
    tail = tail[len(tail) - (size - start) :]
    if SKIPPABLE_HEADER.unpack_from(tail) != (SEEK_TABLE_MAGIC, nbytes):
        return None
    entries = np.frombuffer(tail, "<u4", width * count, SKIPPABLE_HEADER.size)
    entries = entries.reshape(count, width).astype(np.int64)
    edges = starts_of(entries[:, 0])
    if edges[-1] != start or entries.max(initial=0) > 2**32 - 1:
        return None
    if entries[:, :2].max() > MAX_BLOCK_NBYTES:
        return None
    decode = decode_with(entries[:, 2]) if width == 3 else decode_frame
    return BlockTable(edges[:-1], edges[1:], starts_of(entries[:, 1]), decode, 0)


def scan_frames(stored: StoredBytes) -> BlockTable | ZstdFrames | None:
    """Return the table of the frames, found from one to the next; None if there is one only."""
    zstd = zstd_library()
    edges: list[tuple[int, int]] = []
    sizes: list[int | None] = []
    start, trailing = 0, 0
    while start < stored.size:
        view = stored.view(start, FRAME_HEADER_NBYTES)
        if bytes(view[:4]) in SKIPPABLE:
            if len(view) < SKIPPABLE_HEADER.size:
                return None
            start += SKIPPABLE_HEADER.size + SKIPPABLE_HEADER.unpack_from(view)[1]
            continue
        if bytes(view[:4]) != MAGIC:
            trailing = stored.size - start
            break
        nbytes = frame_nbytes(stored, start)
        if nbytes is None:
            return None
        size = zstd.get_frame_info(stored.view(start, FRAME_HEADER_NBYTES)).decompressed_size
        if size is not None and size > MAX_BLOCK_NBYTES:
            return None
        edges.append((start, start + nbytes))
        sizes.append(size)
        start += nbytes
    if len(edges) < 2 or start > stored.size or trailing:
        return None
    starts, stops = np.array(edges, np.int64).T
    if None in sizes:
        return ZstdFrames(starts, stops)
    content = starts_of([size or 0 for size in sizes])
    return BlockTable(starts, stops, content, decode_frame, 0)


def frame_nbytes(stored: StoredBytes, start: int) -> int | None:
    """Return the stored size of a frame; None if it is cut off, or too large for a block."""
    zstd = zstd_library()
    reach = FRAME_NBYTES
    while True:
        try:
            nbytes: int = zstd.get_frame_size(stored.view(start, reach))
        except zstd.ZstdError:
            if reach >= min(MAX_BLOCK_NBYTES, stored.size - start):
                return None
            reach *= 8
        else:
            return nbytes


def decode_frame(data: memoryview, number: int, nbytes: int) -> bytes:
    """Return the content of one frame, or of several in a row."""
    zstd = zstd_library()
    content, rest = b"", bytes(data)
    while rest:
        if rest.startswith(SKIPPABLE):
            rest = rest[SKIPPABLE_HEADER.size + SKIPPABLE_HEADER.unpack_from(rest)[1] :]
            continue
        decoder = zstd.ZstdDecompressor()
        content += decoder.decompress(rest, nbytes + 1 - len(content))
        if not decoder.eof:
            raise ValueError("the frame is longer than the file says")
        rest = decoder.unused_data
    return content


def decode_with(checksums: Int64s) -> Decode:
    """Return a function that decodes a frame, and verifies the checksum of the seek table.

    It is the one that a frame may have itself, so the decoder verifies it if it is put there.
    """

    def decode(data: memoryview, number: int, nbytes: int) -> bytes:
        frame, checksum = bytearray(data), int(checksums[number]).to_bytes(4, "little")
        is_frame = frame.startswith(MAGIC)
        has_its_own = is_frame and frame[FLAGS_AT] & CHECKSUM_FLAG
        if is_frame and not has_its_own:
            frame[FLAGS_AT] |= CHECKSUM_FLAG
            frame += checksum
        try:
            content = decode_frame(memoryview(frame), number, nbytes)
        except (zstd_library().ZstdError, ValueError):
            if has_its_own:  # which a stream verifies
                raise
        else:
            if not has_its_own or frame.endswith(checksum):
                return content
        raise DamagedBlockError(f"frame {number} does not have the checksum of the seek table")

    return decode


class ZstdFrames:
    """Frames whose headers do not state the size of their content; see `GrowingBlocks`.

    Parameters
    ----------
    starts, stops : ndarray of int64
        Stored bytes of each frame.
    """

    def __init__(self, starts: Int64s, stops: Int64s) -> None:
        self._edges = np.stack([starts, stops])
        self._next = 0
        self._sizes: list[int] = []

    def next_task(self, inner: Source) -> bytes | None:
        """Return the stored bytes of the next frame; None after the last."""
        if self._next == self._edges.shape[1]:
            return None
        start, stop = self._edges[:, self._next].tolist()
        data = np.empty(stop - start, np.uint8)
        inner.read_ranges([(start, data)])
        self._next += 1
        return data.tobytes()

    def decode(self, task: bytes) -> Callable[[], bytes]:
        """Decompress a frame, up to some MiB; return a function that returns all of its content."""
        decoder = zstd_library().ZstdDecompressor()
        first: bytes = decoder.decompress(task, MAX_FIRST_NBYTES)

        def finish() -> bytes:
            rest: bytes = b"" if decoder.eof else decoder.decompress(b"", MAX_BLOCK_NBYTES)
            if not decoder.eof or decoder.unused_data:
                raise BlockError("the frame does not end where the next one starts")
            return first + rest

        return finish

    def merge(self, inner: Source, task: bytes, following: bytes) -> bytes:
        """Raise BlockError: where a frame ends is certain."""
        raise BlockError("the frame is damaged")

    def accept(self, task: bytes, nbytes: int) -> None:
        """Take the size of the content of the next frame."""
        self._sizes.append(nbytes)

    def table(self) -> BlockTable:
        """Return the table of the frames that were accepted so far."""
        starts, stops = self._edges[:, : len(self._sizes)]
        trailing = 0 if len(self._sizes) == self._edges.shape[1] else None
        return BlockTable(starts, stops, starts_of(self._sizes), decode_frame, trailing, "checked")
