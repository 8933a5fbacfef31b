"""The bytes of a file from the first to the last, into another file, packed or plain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from xarray_mrc.codec.layout import Layout
from xarray_mrc.storage import Source
from xarray_mrc.storage.encoders import Encoder
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import NONCE_SIZE, Sink

__all__ = ["copy_file"]

# Read in one go, and packed on all cores.
BLOCK_NBYTES = 32 * 2**20


def copy_file(source: Source, layout: Layout, sink: Sink, encoder: Encoder | None) -> None:
    """Write the header, extended header and data of a file to another, byte by byte.

    Parameters
    ----------
    source : Source
        The file.
    layout : Layout
        How the data lie in it.
    sink : Sink
        The other file.
    encoder : Encoder or None
        What packs it.
    """
    if encoder is None:
        write_in_order(sink, (block for block, _ in blocks(source, layout)))
    else:
        write_in_order(sink, packed(blocks(source, layout), encoder))


def blocks(source: Source, layout: Layout) -> Iterator[tuple[Bytes, int]]:
    """Read a file from its first byte to the last of its data; with each block its unit."""
    yield read(source, 0, layout.offset), layout.offset
    unit = layout.section_nbytes
    step = max(1, BLOCK_NBYTES // unit) * unit if unit < BLOCK_NBYTES else BLOCK_NBYTES
    # A section that is longer than a block is cut, and the next one begins a new block anyhow.
    for first in range(layout.offset, layout.end, max(unit, step)):
        end = min(first + max(unit, step), layout.end)
        for start in range(first, end, step):
            yield read(source, start, min(step, end - start)), unit


def read(source: Source, offset: int, nbytes: int) -> Bytes:
    """Read a range of bytes."""
    block = np.empty(nbytes, np.uint8)
    source.readinto(offset, block)
    return block


def packed(parts: Iterable[tuple[Bytes, int]], encoder: Encoder) -> Iterator[bytes]:
    """Pack blocks, one after the other, each on all cores."""
    for block, unit in parts:
        yield from encoder.encode_parallel(block, unit)
    yield encoder.end()


def write_in_order(sink: Sink, parts: Iterable[Bytes | bytes]) -> None:
    """Write parts one behind the other; the first bytes last, as they are the file's nonce."""
    head, offset = b"", 0
    for part in parts:
        if offset < NONCE_SIZE:
            head, part = head + bytes(part), b""
            if len(head) < NONCE_SIZE:
                continue
            head, part, offset = head[:NONCE_SIZE], head[NONCE_SIZE:], NONCE_SIZE
        sink.write(offset, part)
        offset += len(part)
    sink.write(0, head)
