"""A decompressor with its position in a file: it reads in order, in bounded memory.

Memory is bounded by a few blocks and the window of the format, whatever the size of the
decompressed data.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from xarray_mrc.errors import MrcError, MrcTruncatedError
from xarray_mrc.storage.compressed.decoders import (
    MAGICS,
    MAX_MEMORY_NBYTES,
    Decoder,
    ZlibDecoder,
    copyable_maker,
    decoder_maker,
    gzip_header_end,
)
from xarray_mrc.storage.protocol import Source, StreamSource, full_size

__all__ = ["BLOCK_NBYTES", "Cursor", "End"]

MAX_MAGIC_NBYTES = 6
ZEROS = re.compile(rb"\0*")

# Bytes that are fed and decompressed in one go. A member is fed little at first: bytes after its
# end are copied back, which would add up in a file of very many small members.
BLOCK_NBYTES = 256 * 2**10
MIN_READ_NBYTES = 32 * 2**10
MIN_FEED_NBYTES = 2**10
MAX_GZIP_HEADER_NBYTES = 2**20
# Starting a decoder takes up to 30 us, so a file of nothing but empty members would take forever.
MAX_EMPTY_MEMBERS = 2**16


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
    """A decompressor and its position in the compressed and decompressed streams.

    Parameters
    ----------
    container : {"gzip", "bzip2", "xz", "zstd"}
        The format.
    is_copyable : bool
        Whether a cursor of gzip can be copied at any position. If not, it is faster.
    """

    def __init__(self, container: str, *, is_copyable: bool = False) -> None:
        self.container, self.is_copyable = container, is_copyable
        self.position = 0
        self.end: End | None = None
        self._decoder: Decoder | None = None
        self._stored = 0  # number of stored bytes that were read
        self._rest, self._at = b"", 0  # the last of them, and how many of these were fed
        self._is_all = False  # True once the last stored byte was read
        self._feed = MIN_FEED_NBYTES
        # Stored bytes to read next: as many as were read so far, or as a reader will need.
        self._next_nbytes = 0
        self._empty = 0  # number of members started since the last byte came out

    def read(self, inner: Source, max_nbytes: int) -> bytes:
        """Return the next bytes, from 1 to `max_nbytes`; no bytes only at the end."""
        while self.end is None:
            self._decoder = self._decoder or self._start_member(inner)
            if self._decoder is None:
                stored = full_size(inner) or self._stored  # 0: the size is unknown
                self.end = End(self.position, stored - self._fed)
            elif block := self._decode(self._decoder, inner, max_nbytes):
                self.position += len(block)
                self._empty = 0
                return block
        return b""

    def copy(self) -> Cursor | None:
        """Return a copy at the same position, without stored bytes; None if that is impossible.

        Between members every cursor can be copied.
        """
        decoder = self._decoder
        if decoder is not None:
            decoder = decoder.copy() if isinstance(decoder, ZlibDecoder) else None
            if decoder is None:
                return None
        twin = Cursor(self.container, is_copyable=self.container == "gzip")
        twin.position, twin._stored, twin._decoder = self.position, self._fed, decoder
        twin._feed, twin._empty = self._feed, self._empty
        return twin

    def prepare(self, later: Cursor) -> None:
        """Read all stored bytes up to another cursor at once, rather than little at first."""
        self._next_nbytes = later._fed - self._fed

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
        elif self.is_copyable:
            # Between copies all that was fed has to come out. Very compressible data would take
            # 256 MiB for that.
            self._feed = max(MIN_FEED_NBYTES, self._feed // 2)
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
        if self._is_all:
            return False
        nbytes = max(self._next_nbytes, MIN_READ_NBYTES)
        nbytes = min(nbytes, max(inner.read_ahead_nbytes, BLOCK_NBYTES))
        block = read_available(inner, self._stored, nbytes)
        self._is_all = len(block) < nbytes
        self._stored += len(block)
        self._next_nbytes += len(block)
        self._rest, self._at = self._rest[self._at :] + block, 0
        return bool(block)

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
            if self.is_copyable:
                return copyable_maker()()
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


def read_available(inner: Source, offset: int, nbytes: int) -> bytes:
    """Return up to `nbytes` bytes from an offset on; fewer only at the end of the source.

    A remote object whose size is unknown ends where the last range that can be read does. It is
    found by bisection, because a source fills ranges completely or not at all.
    """
    size = inner.size_if_known
    if size is None and isinstance(inner, StreamSource):
        size = inner.bounded_size(offset + nbytes)
    if size is not None:
        block = np.empty(max(0, min(nbytes, size - offset)), np.uint8)
        inner.read_ranges([(offset, block)])
        return block.tobytes()
    block = np.empty(nbytes, np.uint8)
    found, next_end, beyond = 0, nbytes, nbytes + 1
    while found < next_end:
        try:
            inner.read_ranges([(offset + found, block[found:next_end])])
            found = next_end
        except MrcTruncatedError:
            beyond = next_end
        next_end = (found + beyond) // 2
    return block[:found].tobytes()
