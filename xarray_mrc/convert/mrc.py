"""One MRC file as another: the same bytes in another container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from xarray_mrc.codec.layout import Layout
from xarray_mrc.reader import open_file
from xarray_mrc.storage import Source
from xarray_mrc.storage.encoders import Encoder
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import NONCE_SIZE, Sink, new_file
from xarray_mrc.storage.source import Openable
from xarray_mrc.writer import Compression, encoder_of

__all__ = ["repack"]

# Read in one go, and packed on all cores.
BLOCK_NBYTES = 32 * 2**20


def repack(
    src: Openable, path: str, *, compression: Compression = "infer", overwrite: bool = False
) -> None:
    """Write the header, extended header and data of a file to another, byte by byte.

    Parameters
    ----------
    src : str, os.PathLike, bytes, memoryview or binary file object
        An MRC file, in any container.
    path : str
        Where the new one will be.
    compression : {"infer", "gzip", "bzip2", "zstd", None}
        Its container; None for a plain file, "infer" for what the suffix says.
    overwrite : bool
        Whether a file that is there may be replaced, even by `src` itself.

    Raises
    ------
    OSError
        A file can't be read or written, or is there and may not be replaced.
    MrcError
        `src` is no MRC file, or its data can't be read faithfully.
    """
    opened = open_file(src, extended="none", sidecar=False)
    source, layout = opened.array.source, opened.array.layout
    encoder = encoder_of(compression, path)
    parts: Iterable[Bytes | bytes]
    if encoder is None:
        parts, nbytes = (block for block, _ in blocks(source, layout)), layout.end
    else:
        parts, nbytes = packed(blocks(source, layout), encoder), 0
    with new_file(path, nbytes=nbytes, overwrite=overwrite) as sink:
        write_in_order(sink, parts)
        source.finish(layout.end)


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
