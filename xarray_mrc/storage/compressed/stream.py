"""Streams that are decompressed in order, and remember where they stopped.

A cursor is a decompressor that has come to some position in a file. After a read it is kept, so
that the next read further on continues there; for earlier bytes a new cursor starts at the first
byte. Memory is bounded by a few blocks and the window of the format, whatever the size of the
decompressed data.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from xarray_mrc.errors import MrcError, MrcTruncatedError, warn
from xarray_mrc.storage.compressed.decoders import (
    MAGICS,
    MAX_MEMORY_NBYTES,
    Decoder,
    decoder_maker,
    gzip_header_end,
)
from xarray_mrc.storage.protocol import Source, full_size

__all__ = ["BLOCK_NBYTES", "Cursor", "End", "StreamCache", "streams"]

MAX_MAGIC_NBYTES = 6
ZEROS = re.compile(rb"\0*")

# Bytes that are read, fed and decompressed in one go. A member is fed little at first: bytes after
# its end are copied back, which would add up in a file of very many small members.
BLOCK_NBYTES = 256 * 2**10
MIN_READ_NBYTES = 32 * 2**10
MIN_FEED_NBYTES = 2**10
MAX_GZIP_HEADER_NBYTES = 2**20
# Starting a decoder takes up to 30 us, so a file of nothing but empty members would take forever.
MAX_EMPTY_MEMBERS = 2**16

# Cursors that are kept. Those of xz and zstd hold their window, up to 128 MiB.
MAX_CURSORS = 8
HEAVY_CONTAINERS, MAX_HEAVY_CURSORS = ("xz", "zstd"), 1
MAX_ENDS = 4096

Key = tuple[object, ...]


class End(NamedTuple):
    """Where a stream ends that was read to its end, with all checksums right.

    Attributes
    ----------
    size : int
        Number of decompressed bytes.
    trailing_nbytes : int
        Number of stored bytes after the last member, which are not part of the stream.
    """

    size: int
    trailing_nbytes: int


class Cursor:
    """A decompressor and its position in the compressed and decompressed streams."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.position = 0
        self.end: End | None = None
        self._decoder: Decoder | None = None
        self._stored = 0  # number of stored bytes that were read
        self._rest, self._at = b"", 0  # the last of them, and how many of these were fed
        self._feed = MIN_FEED_NBYTES
        self._empty = 0  # number of members started since the last byte came out

    def read(self, inner: Source, max_nbytes: int) -> bytes:
        """Return the next bytes, from 1 to `max_nbytes`; no bytes only at the end."""
        while self.end is None:
            self._decoder = self._decoder or self._start_member(inner)
            if self._decoder is None:
                self.end = End(self.position, full_size(inner) - self._fed)
            elif block := self._decode(self._decoder, inner, max_nbytes):
                self.position += len(block)
                self._empty = 0
                return block
        return b""

    def skip(self, inner: Source, position: int) -> None:
        """Decompress up to a position, or to the end if that comes first."""
        while self.position < position and self.read(
            inner, min(BLOCK_NBYTES, position - self.position)
        ):
            pass

    @property
    def _fed(self) -> int:
        """Number of stored bytes that were fed to decoders."""
        return self._stored - len(self._rest) + self._at

    def _decode(self, decoder: Decoder, inner: Source, max_nbytes: int) -> bytes:
        """Feed a decoder if it needs input, and return its output."""
        data = b""
        if decoder.needs_input:
            if self._at == len(self._rest) and not self._fetch(inner):
                raise MrcTruncatedError(
                    f"{inner.uri}: the {self.container} data end after {self._stored} bytes, "
                    f"which gave {self.position} bytes, without an end mark: the file is cut off, "
                    f"copy or download it again"
                )
            data = self._rest[self._at : self._at + self._feed]
            self._at += len(data)
            self._feed = min(2 * self._feed, BLOCK_NBYTES)
        try:
            block = decoder.decompress(data, max_nbytes)
        except MemoryError:
            raise
        except Exception as error:  # each library has its own
            raise self._damaged(inner, error) from None
        if decoder.eof:
            self._at -= len(decoder.unused_data)
            self._decoder = None
        return block

    def _damaged(self, inner: Source, error: object) -> MrcError:
        """Return the error for data that a decompressor refuses."""
        where = f"{inner.uri}: the {self.container} data before byte {self._fed}"
        if "memory" in str(error).lower():
            return MrcError(
                f"{where} can't be decompressed within {MAX_MEMORY_NBYTES >> 20} MiB ({error}): "
                f"compress the file again with a smaller window or dictionary"
            )
        return MrcError(
            f"{where}, after {self.position} decompressed bytes, are damaged ({error}): copy or "
            f"download the file again, or make it anew"
        )

    def _fetch(self, inner: Source) -> bool:
        """Read more of the file; little at first, because many callers want only the header."""
        nbytes = min(BLOCK_NBYTES, max(MIN_READ_NBYTES, self._stored))
        nbytes = min(nbytes, full_size(inner) - self._stored)
        if nbytes <= 0:
            return False
        block = np.empty(nbytes, np.uint8)
        inner.read_ranges([(self._stored, block)])
        self._stored += nbytes
        self._rest, self._at = self._rest[self._at :] + block.tobytes(), 0
        return True

    def _start_member(self, inner: Source) -> Decoder | None:
        """Return a decoder for the next member, after padding of zeros; None if there is none."""
        if self._stored:
            self._skip_zeros(inner)
            while len(self._rest) - self._at < MAX_MAGIC_NBYTES and self._fetch(inner):
                pass
            if not self._rest.startswith(MAGICS[self.container], self._at):
                return None
        self._empty += 1
        if self._empty > MAX_EMPTY_MEMBERS:
            raise self._damaged(inner, f"more than {MAX_EMPTY_MEMBERS} empty members in a row")
        self._feed = MIN_FEED_NBYTES
        if self.container == "gzip":
            while (end := gzip_header_end(self._rest, self._at)) is None and self._fetch(inner):
                if len(self._rest) > MAX_GZIP_HEADER_NBYTES:
                    raise self._damaged(inner, "a header without end")
            self._feed = max(self._feed, (end or len(self._rest)) - self._at)
        try:
            return decoder_maker(self.container)()
        except ImportError as error:
            raise MrcError(
                f"{inner.uri}: {self.container} data can't be read, because this Python has no "
                f"module {error.name}: install it, or decompress the file"
            ) from None

    def _skip_zeros(self, inner: Source) -> None:
        """Skip to the next byte that is not zero."""
        while True:
            zeros = ZEROS.match(self._rest, self._at)
            self._at = zeros.end() if zeros else self._at
            if self._at < len(self._rest) or not self._fetch(inner):
                return


class StreamCache:
    """Facts about compressed files that a process keeps: cursors, ends, and warnings given.

    All methods may be called by several threads at the same time. A key names a file with its
    content, so that facts about a changed file are not found.
    """

    def __init__(self) -> None:
        self._ends: dict[Key, End] = {}
        self._warned: set[Key] = set()
        self.clear()

    def clear(self) -> None:
        """Drop the cursors and replace the lock, as a forked child must.

        Another thread may have held the lock and used a cursor when the process forked.
        """
        self._lock = threading.Lock()
        self._cursors: list[tuple[Key, Cursor]] = []

    def find_end(self, key: Key) -> End | None:
        """Return the end of a stream, if it was reached before."""
        return self._ends.get(key)

    def warn_once(self, key: Key, message: str) -> None:
        """Issue a warning, unless there was one about the same file before."""
        with self._lock:
            was_warned = key in self._warned
            self._warned.add(key)
        if not was_warned:
            warn(message)

    @contextmanager
    def cursor(self, key: Key, container: str, offset: int) -> Iterator[Cursor]:
        """Yield the cursor that is nearest before an offset; after an error it is dropped."""
        with self._lock:
            fit = [item for item in self._cursors if item[0] == key and item[1].position <= offset]
            nearest = max(fit, key=lambda item: item[1].position, default=None)
            if nearest is not None:
                self._cursors.remove(nearest)
        cursor = Cursor(container) if nearest is None else nearest[1]
        try:
            yield cursor
        finally:
            if cursor.end is not None:
                self.add_end(key, cursor.end)
        if cursor.position and cursor.end is None:
            self._add_cursor(key, cursor)

    def add_end(self, key: Key, end: End) -> None:
        """Keep the end of a stream, all of which was right; the oldest are dropped."""
        with self._lock:
            self._ends[key] = end
            while len(self._ends) > MAX_ENDS:
                del self._ends[next(iter(self._ends))]

    def _add_cursor(self, key: Key, cursor: Cursor) -> None:
        """Keep a cursor; those that were not used for longest are dropped."""
        with self._lock:
            self._cursors.append((key, cursor))
            heavy = [item for item in self._cursors if item[1].container in HEAVY_CONTAINERS]
            for item in heavy[:-MAX_HEAVY_CURSORS]:
                self._cursors.remove(item)
            del self._cursors[:-MAX_CURSORS]


streams = StreamCache()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=streams.clear)
