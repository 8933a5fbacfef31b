"""The bytes of a file from the first to the last, into another file, packed or plain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from xarray_mrc.codec.layout import Layout
from xarray_mrc.storage import Source
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import Sink

__all__ = ["copy_file"]

# Read in one go, and packed on all cores.
BLOCK_NBYTES = 32 * 2**20


def copy_file(
    source: Source,
    layout: Layout,
    sink: Sink,
    encoder: Encoder | None,
    *,
    header: bytes = b"",
    end: int | None = None,
) -> None:
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
    header : bytes
        What replaces the first bytes.
    end : int, optional
        Where to stop, by default behind the data.
    """
    parts = blocks(source, layout, header, layout.end if end is None else end)
    sink.write_in_order(packed(parts, encoder) if encoder else (block for block, _ in parts))


def blocks(source: Source, layout: Layout, header: bytes, stop: int) -> Iterator[tuple[Bytes, int]]:
    """Read a file from its first byte on; with each block its unit."""
    head = read(source, 0, layout.offset)
    head[: len(header)] = np.frombuffer(header, np.uint8)
    yield head, layout.offset
    unit = layout.section_nbytes
    step = max(1, BLOCK_NBYTES // unit) * unit if unit < BLOCK_NBYTES else BLOCK_NBYTES
    # A section that is longer than a block is cut, and the next one begins a new block anyhow.
    for first in range(layout.offset, stop, max(unit, step)):
        end = min(first + max(unit, step), stop)
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
