"""The blocks of gzip files: BGZF, and files of many members.

A BGZF block is a gzip member whose extra field has its own stored size, so the blocks are found by
going from header to header. Members without that field are found by their first bytes; where two
of them meet is certain only when the first is decompressed and ends there.

Sources: the SAM/BAM specification, section 4.1 (BGZF); RFC 1952.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import numpy as np

from xarray_mrc.storage.compressed.blocks import MAX_BLOCK_NBYTES, BlockTable, Int64s, starts_of
from xarray_mrc.storage.compressed.decoders import decoder_maker
from xarray_mrc.storage.compressed.gzi import read_gzi, warn_of_gzi
from xarray_mrc.storage.compressed.scanning import StoredBytes, can_scan
from xarray_mrc.storage.protocol import Source

__all__ = ["BGZF_START", "find_gzip_blocks", "starts_with_bgzf"]

# First bytes of a member, flags, extra operating system, and an extra field of 6 bytes with the
# subfield BC of 2 bytes: the stored size of the block minus 1.
BGZF_HEADER = struct.Struct("<2sBB6xHIH")
MAGIC = b"\x1f\x8b"
BGZF_FIELDS = [MAGIC, 8, 4, 6, int.from_bytes(b"BC\x02\x00", "little")]
BGZF_START = bytes.fromhex("1f8b08040000000000ff0600424302000000")
# Minimum size of a block: header, the shortest deflate stream, and trailer.
MIN_BGZF_NBYTES, MAX_BGZF_NBYTES = 28, 2**16
# deflate makes at most 1032 bytes of one.
MAX_RATIO = 1032

# The header of a member: flags, the time, and the values that programs write after it.
MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)
MEMBER_HEADER_NBYTES, MIN_MEMBER_NBYTES = 10, 20
# A file whose first stored bytes have one member only is taken for one stream: looking through all
# bytes of a large one for nothing would take as long as reading it.
PROBE_NBYTES = 4 * 2**20
SIZE = struct.Struct("<I")
FIRST_BLOCK = np.zeros(1, np.int64)


def find_gzip_blocks(inner: Source, start: bytes, *, with_gzi: bool = True) -> BlockTable | None:
    """Return the table of the blocks of a gzip file, or None if it has to be read as a stream.

    Parameters
    ----------
    inner : Source
        The stored file.
    start : bytes
        Its first bytes.
    with_gzi : bool
        Whether an index beside the file is used.

    Returns
    -------
    BlockTable or None
        None too if there is no index and the stored bytes are elsewhere, so that looking for
        blocks is slow.
    """
    is_bgzf = starts_with_bgzf(start)
    if is_bgzf and with_gzi and (known := read_gzi(inner)) is not None:
        with StoredBytes(inner) as stored:
            found = find_bgzf(stored, *known)
        if found is not None:
            return replace(found, is_beside=True)
        warn_of_gzi(inner, "its blocks are not those of the file")
    if not can_scan(inner):
        return None
    with StoredBytes(inner) as stored:
        return (find_bgzf(stored) if is_bgzf else None) or find_members(stored)


def starts_with_bgzf(start: bytes) -> bool:
    """Return True if a file starts with the header of a BGZF block."""
    if len(start) < BGZF_HEADER.size:
        return False
    return [*BGZF_HEADER.unpack_from(start)][:-1] == BGZF_FIELDS


def find_bgzf(
    stored: StoredBytes, known: Int64s = FIRST_BLOCK, offsets: Int64s = FIRST_BLOCK
) -> BlockTable | None:
    """Return the table of the blocks of BGZF, found from header to header; None of other files.

    The first ones may be known, by where they start in the stored file and in the content; the
    search goes on at the last of them.
    """
    starts, sizes = [int(known[-1])], []
    unpack, unpack_size = BGZF_HEADER.unpack_from, SIZE.unpack_from
    start, is_cut_off = starts[0], False
    while start < stored.size:
        view = stored.view(start, MAX_BGZF_NBYTES)
        # Blocks that lie in the window as a whole; at the end of the file, all.
        is_last = start + len(view) == stored.size
        room = len(view) - (BGZF_HEADER.size if is_last else MAX_BGZF_NBYTES)
        at = 0
        while at <= room:
            *fields, last = unpack(view, at)
            nbytes = last + 1
            if fields != BGZF_FIELDS or nbytes < MIN_BGZF_NBYTES:
                break
            if at + nbytes > len(view):
                is_cut_off = True
                break
            at += nbytes
            starts.append(start + at)
            sizes.append(unpack_size(view, at - SIZE.size)[0])
        start += at
        if at <= room or is_last:  # the last block was found, or something else
            break
    if not sizes or len(sizes) + len(known) < 3:
        return None
    edges = np.concatenate([known[:-1], np.array(starts, np.int64)])
    content = np.concatenate([np.diff(offsets), np.array(sizes, np.int64)])
    if content.max() > MAX_BGZF_NBYTES:
        return None
    if (content > MAX_RATIO * np.diff(edges)).any():
        return None
    # Other bytes may follow an empty block, which marks the end; anywhere else a header is damaged.
    is_whole = start == stored.size or (sizes[-1] == 0 and not is_cut_off)
    trailing = trailing_nbytes(stored, start) if is_whole else None
    return BlockTable(edges[:-1], edges[1:], starts_of(content), decode_member, trailing)


def trailing_nbytes(stored: StoredBytes, end: int) -> int | None:
    """Return the number of bytes after the last member; None if another member follows.

    Zeros after a member are padding.
    """
    while end < stored.size:
        view = stored.view(end, 2**16)
        rest = bytes(view[: 2**20]).lstrip(b"\0")
        end += min(len(view), 2**20) - len(rest)
        if rest:
            rest = bytes(stored.view(end, 2)[:2])
            return None if MAGIC.startswith(rest) else stored.size - end
    return 0


def find_members(stored: StoredBytes) -> BlockTable | None:
    """Look for members by their first bytes, and return their table; None if there is one only."""
    starts: list[int] = []
    start = 0
    while start < stored.size:
        view = stored.view(start, PROBE_NBYTES)
        starts += [start + found.start() for found in MEMBER.finditer(view)]
        if start == 0 and len(starts) < 2:
            return None
        # A header may reach over the end of the window.
        start += len(view) if start + len(view) == stored.size else len(view) - MEMBER_HEADER_NBYTES
    edges = np.unique(np.array([*starts, stored.size], np.int64))
    sizes = [
        SIZE.unpack(stored.view(stop - SIZE.size, SIZE.size)[: SIZE.size])[0]
        for stop in edges[1:].tolist()
    ]
    content = np.array(sizes, np.int64)
    stored_nbytes = np.diff(edges)
    if (
        len(sizes) < 2
        or edges[0] != 0
        or stored_nbytes.min() < MIN_MEMBER_NBYTES
        or max(content.max(), stored_nbytes.max()) > MAX_BLOCK_NBYTES
        or (content > MAX_RATIO * stored_nbytes).any()
    ):
        return None
    return BlockTable(edges[:-1], edges[1:], starts_of(content), decode_member, 0, "guessed")


def decode_member(data: memoryview, number: int, nbytes: int) -> bytes:
    """Return the content of a member, which must end with the data; checksums are verified."""
    decoder = decoder_maker("gzip")()
    content = decoder.decompress(data, nbytes + 1)  # type: ignore[arg-type] # any buffer
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the member does not end where the next one starts")
    return content
