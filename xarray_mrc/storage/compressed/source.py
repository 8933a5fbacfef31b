"""Files within gzip, bzip2, xz or zstd, read as streams that remember where they stopped.

A cursor is a decompressor on its way through a file. After a read it is kept, so that the next
read further on goes on there; for what lies before it a new one starts at the first byte. Memory
is bounded by a few blocks and the window of the format, whatever the stream unpacks to.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

import numpy as np

from xarray_mrc.errors import MrcError, MrcTruncatedError, MrcWarning
from xarray_mrc.storage.compressed.decoders import (
    MAGICS,
    MAX_MEMORY,
    Decoder,
    decoder_maker,
    gzip_header_end,
)
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Bytes, CopyingSource, Source, truncated

__all__ = ["CompressedSource"]

LONGEST_MAGIC = 6
ZEROS = re.compile(rb"\0*")

# What is read, fed and unpacked in one go. A member is fed by little at first: what is left over
# behind its end is copied, which would add up in a file of very many small ones.
BLOCK = 256 * 2**10
MIN_READ = 32 * 2**10
MIN_FEED = 2**10
MAX_GZIP_HEADER = 2**20

# Starting a decoder takes up to 30 us: so many in a row that give nothing are not waited for.
MAX_EMPTY = 2**16
# Behind the data of the header this much again is unpacked and checked, and then given up.
MIN_SURPLUS = 64 * 2**20

# Cursors that wait; those of xz and zstd hold their window, up to 128 MiB.
MAX_FREE = 8
HEAVY, MAX_HEAVY = ("xz", "zstd"), 1
MAX_ENDS = 4096

Key = tuple[object, ...]


class End(NamedTuple):
    """Where a stream that was read to its end ends: all its checksums were right."""

    size: int
    garbage: int


class Cursor:
    """A decompressor on its way: where it is in the stored bytes and in the unpacked ones."""

    def __init__(self, key: Key, container: str) -> None:
        self.key = key
        self.container = container
        self.position = 0
        self.end: End | None = None
        self._decoder: Decoder | None = None
        self._stored = 0  # how many stored bytes were read
        self._rest, self._at = b"", 0  # the last of them, and how many of these were fed
        self._feed = MIN_FEED
        self._empty = 0  # how many members began since the last byte came out

    def read(self, inner: Source, most: int) -> bytes:
        """Give the next bytes, at least 1 and at most `most`; none at the end only."""
        while self.end is None:
            self._decoder = self._decoder or self._start_member(inner)
            if self._decoder is None:
                self.end = End(self.position, inner.stored_size - self._fed)
                remember_end(self.key, self.end)
            elif block := self._decode(self._decoder, inner, most):
                self.position += len(block)
                self._empty = 0
                return block
        return b""

    def skip(self, inner: Source, position: int) -> None:
        """Go on to a position, or to the end if that comes first."""
        while self.position < position and self.read(inner, min(BLOCK, position - self.position)):
            pass

    @property
    def _fed(self) -> int:
        """Offset in the stored bytes up to which all was fed."""
        return self._stored - len(self._rest) + self._at

    def _decode(self, decoder: Decoder, inner: Source, most: int) -> bytes:
        """Give the decoder what it needs, and take what it has."""
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
            self._feed = min(2 * self._feed, BLOCK)
        try:
            block = decoder.decompress(data, most)
        except MemoryError:
            raise
        except Exception as error:  # each library has its own
            raise self._damaged(inner, error) from None
        if decoder.eof:
            self._at -= len(decoder.unused_data)
            self._decoder = None
        return block

    def _damaged(self, inner: Source, error: object) -> MrcError:
        """Make the error for what a decompressor refuses."""
        where = f"{inner.uri}: the {self.container} data before byte {self._fed}"
        if "memory" in str(error).lower():
            return MrcError(
                f"{where} can't be unpacked within {MAX_MEMORY >> 20} MiB ({error}): pack the "
                f"file again with a smaller window or dictionary"
            )
        return MrcError(
            f"{where}, behind {self.position} bytes that they gave, are damaged ({error}): copy "
            f"or download the file again, or make it anew"
        )

    def _fetch(self, inner: Source) -> bool:
        """Read on in the file, by little at first, because many want the header only."""
        nbytes = min(BLOCK, max(MIN_READ, self._stored), inner.stored_size - self._stored)
        if nbytes <= 0:
            return False
        block = np.empty(nbytes, np.uint8)
        inner.readinto(self._stored, block)
        self._stored += nbytes
        self._rest, self._at = self._rest[self._at :] + block.tobytes(), 0
        return True

    def _start_member(self, inner: Source) -> Decoder | None:
        """Go on to the next member, behind padding of zeros; None if no further one follows."""
        if self._stored:
            self._skip_zeros(inner)
            while len(self._rest) - self._at < LONGEST_MAGIC and self._fetch(inner):
                pass
            if not self._rest.startswith(MAGICS[self.container], self._at):
                return None
        self._empty += 1
        if self._empty > MAX_EMPTY:
            raise self._damaged(inner, f"more than {MAX_EMPTY} empty members in a row")
        self._feed = MIN_FEED
        if self.container == "gzip":
            while (end := gzip_header_end(self._rest, self._at)) is None and self._fetch(inner):
                if len(self._rest) > MAX_GZIP_HEADER:
                    raise self._damaged(inner, "a header without end")
            self._feed = max(self._feed, (end or len(self._rest)) - self._at)
        try:
            return decoder_maker(self.container)()
        except ImportError as error:
            raise MrcError(
                f"{inner.uri}: {self.container} data can't be read here, because this Python has "
                f"no module {error.name}: unpack the file, or install what is missing"
            ) from None

    def _skip_zeros(self, inner: Source) -> None:
        """Go on to the next byte that isn't zero."""
        while True:
            zeros = ZEROS.match(self._rest, self._at)
            self._at = zeros.end() if zeros else self._at
            if self._at < len(self._rest) or not self._fetch(inner):
                return


# Kept for the process: cursors that wait, the ends that were found, and who was told of surplus.
_lock = threading.Lock()
_free: list[Cursor] = []
_ends: dict[Key, End] = {}
_warned: set[Key] = set()
_serials = count(1)


def forget_cursors() -> None:
    """Start afresh in a forked process: another thread may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _free.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_cursors)


def remember_end(key: Key, end: End) -> None:
    """Keep where a stream ends; the oldest are forgotten."""
    with _lock:
        _ends[key] = end
        while len(_ends) > MAX_ENDS:
            del _ends[next(iter(_ends))]


@dataclass(frozen=True, slots=True)
class CompressedSource(CopyingSource):
    """A file within a container, as if it lay unpacked.

    Attributes
    ----------
    inner : Source
        The file as it is stored.
    container : {"gzip", "bzip2", "xz", "zstd"}
        How it is packed. Many members, streams or frames, one behind the other, are one file.
    strict : bool
        Whether it is an error that the stored bytes end before the stream does, once all that was
        asked for is there.

    Examples
    --------
    >>> import gzip
    >>> source = CompressedSource(MemorySource(gzip.compress(bytes(2048))), "gzip")
    >>> source.size
    2048
    """

    inner: Source
    container: str
    strict: bool = True
    _serial: int = field(default_factory=_serials.__next__, init=False, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """Name of the file as it is stored."""
        return self.inner.uri

    @property
    def size_if_known(self) -> int | None:
        """None: the number of bytes costs a pass."""
        return None

    @property
    def stored_size(self) -> int:
        """Number of bytes as they are stored."""
        return self.inner.stored_size

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """That of the stored file, and the container."""
        return (*self.inner.fingerprint, self.container)

    @property
    def size(self) -> int:
        """Number of bytes, unpacked: once in a process this costs a pass, which checks all."""
        return self.bounded_size(sys.maxsize - 1)

    def bounded_size(self, limit: int) -> int:
        """Give the size, or `limit` + 1 if it is larger: no more than that is unpacked."""
        if (end := _ends.get(self._key)) is not None:
            return min(end.size, limit + 1)
        with self._cursor(limit + 1) as cursor:
            try:
                cursor.skip(self.inner, limit + 1)
            except MrcTruncatedError:
                if self.strict:
                    raise
            return cursor.position

    @property
    def surplus(self) -> int:
        """Stored bytes behind the end of the data, which `size` looks for; 0 if not known yet."""
        end = _ends.get(self._key)
        return end.garbage if end else 0

    def allow_truncated(self) -> CompressedSource:
        """Give the same file, whose stream may be cut off."""
        return replace(self, strict=False)

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on."""
        end = _ends.get(self._key)
        if end is not None and offset + out.size > end.size:
            raise self._too_short(end, offset, out.size)
        with self._cursor(offset) as cursor:
            self._read_on(cursor, offset, out)

    def read_ranges(self, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges in one pass; they may come in any order and overlap."""
        data = np.empty(sum(nbytes for _, nbytes in bands), np.uint8)
        targets, start = [], 0
        for offset, nbytes in bands:
            targets.append((offset, data[start : start + nbytes]))
            start += nbytes
        targets.sort(key=lambda target: target[0])
        before, last = 0, data[:0]  # of the ranges so far the one that reaches furthest
        with self._cursor(targets[0][0] if targets else 0) as cursor:
            for offset, out in targets:
                known = last[offset - before :][: out.size]
                out[: known.size] = known
                self._read_on(cursor, offset + known.size, out[known.size :])
                if offset + out.size > before + last.size:
                    before, last = offset, out
        return data

    def finish(self, end: int) -> None:
        """Check what lies behind the data, which end before `end`: the checksums are there.

        Unless this process has done so already, the rest is read. Data beyond those of the
        header, and garbage behind the last member, give one warning. Surplus without end is given
        up when it is longer than the data.
        """
        with self._cursor(end) as cursor:
            try:
                if cursor.position == end or self._key not in _ends:
                    cursor.skip(self.inner, end + max(end, MIN_SURPLUS))
            except MrcTruncatedError:
                if self.strict:
                    raise
                self._warn(f"the {self.container} data are cut off: their checksum is not known")
                return
            found = cursor.end or _ends.get(self._key)
        size, garbage = found or End(cursor.position, 0)
        if size < end:
            raise self._too_short(End(size, garbage), 0, end)
        notes = []
        if size > end:
            number = f"{size - end}" if found else f"more than {size - end - 1}"
            notes.append(f"the file has {number} bytes more than the header describes")
        if garbage:
            notes.append(f"its last {garbage} stored bytes are no {self.container} data")
        if notes:
            self._warn(f"{'; '.join(notes)}; they were left out")

    def _warn(self, message: str) -> None:
        """Give one warning for a file in a process."""
        with _lock:
            is_told = self._key in _warned
            _warned.add(self._key)
        if not is_told:
            warnings.warn(f"{self.uri}: {message}", MrcWarning, stacklevel=4)

    @property
    def _key(self) -> Key:
        """What the process keeps for a file is found by this."""
        if isinstance(self.inner, MemorySource | FileObjectSource):
            return (self._serial,)
        return self.uri, self.fingerprint

    @contextmanager
    def _cursor(self, offset: int) -> Iterator[Cursor]:
        """Take the cursor that is nearest before an offset; after an error it is thrown away."""
        key = self._key
        with _lock:
            fit = [one for one in _free if one.key == key and one.position <= offset]
            cursor = max(fit, key=lambda one: one.position, default=None)
            if cursor is not None:
                _free.remove(cursor)
        if cursor is None:
            cursor = Cursor(key, self.container)
        yield cursor
        if cursor.position and cursor.end is None:
            with _lock:
                _free.append(cursor)
                heavy = [one for one in _free if one.container in HEAVY]
                for one in heavy[:-MAX_HEAVY]:
                    _free.remove(one)
                del _free[:-MAX_FREE]

    def _read_on(self, cursor: Cursor, offset: int, out: Bytes) -> None:
        """Fill `out` by a cursor that is at an offset or before it."""
        if not out.size:
            return
        cursor.skip(self.inner, offset)
        done = 0
        while done < out.size and (block := cursor.read(self.inner, min(BLOCK, out.size - done))):
            out[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
        if done < out.size:
            raise self._too_short(cursor.end or End(cursor.position, 0), offset, out.size)

    def _too_short(self, end: End, offset: int, wanted: int) -> MrcTruncatedError:
        """Make the error for a read beyond the end of the stream."""
        if end.garbage:
            return MrcTruncatedError(
                f"{self.uri}: {wanted} bytes were wanted from byte {offset}, but the "
                f"{self.container} data give only {end.size}: the last {end.garbage} stored bytes "
                f"are none, so the file is damaged; copy or download it again"
            )
        return truncated(self.uri, offset, wanted, min(wanted, max(0, end.size - offset)))

    def __reduce__(self) -> tuple[type[CompressedSource], tuple[Source, str, bool]]:
        return CompressedSource, (self.inner, self.container, self.strict)
