"""Copy the bytes of a file, from the first to the last, into another file, compressed or plain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xarray_mrc.codec.layout import Layout
from xarray_mrc.storage import Source
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.progress import report_progress
from xarray_mrc.storage.protocol import Bytes
from xarray_mrc.storage.sink import Receipt, Sink, in_order

__all__ = ["copy_file"]

# Read at a time, and compressed on all cores.
MAX_READ_NBYTES = 32 * 2**20


def copy_file(
    source: Source,
    layout: Layout,
    sink: Sink,
    encoder: Encoder | None,
    *,
    header: bytes = b"",
    end: int | None = None,
) -> Receipt:
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
        Compresses the other file.
    header : bytes
        Replaces the first bytes; one that is longer than all before the data moves these.
    end : int, optional
        Where to stop; by default after the data.

    Returns
    -------
    Receipt
        For the target of `sink`, which has to be finished.
    """

    def content() -> Iterator[Bytes | bytes]:
        for offset, nbytes, unit in parts_of(layout, layout.end if end is None else end):
            part = np.empty(nbytes, np.uint8)
            source.read_ranges([(offset, part)])
            if offset == 0:
                replaced = np.frombuffer(header, np.uint8)
                part = np.concatenate((replaced, part[len(header) :]))
            if encoder is None:
                yield part
            else:
                yield from encoder.encode_parallel(part, unit)
            report_progress(offset + nbytes, layout.end)
        if encoder is not None:
            yield encoder.end()

    return sink.write_ranges(in_order(content()))


def parts_of(layout: Layout, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield offset and number of bytes of the parts of a file, each with its unit of compression.

    Trailing bytes after the data are copied in parts, too.
    """
    yield 0, layout.offset, layout.offset
    for slab in layout.slabs(MAX_READ_NBYTES):
        for offset, nbytes in layout.byte_ranges(slab):
            yield offset, nbytes, layout.section_nbytes
    for start in range(layout.end, end, MAX_READ_NBYTES):
        yield start, min(MAX_READ_NBYTES, end - start), layout.section_nbytes
