"""`CompressedSource`: a file in gzip, bzip2, xz or zstd as if it were plain."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

from xarray_mrc.errors import MrcError, MrcTruncatedError
from xarray_mrc.storage.compressed.block_files import (
    START_NBYTES,
    BlockFile,
    block_files,
    is_cut_into_blocks,
)
from xarray_mrc.storage.compressed.cursor import BLOCK_NBYTES, End
from xarray_mrc.storage.compressed.points import Key
from xarray_mrc.storage.compressed.request import Request
from xarray_mrc.storage.compressed.stream import streams
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Head, Parts, Source, full_size, truncated

__all__ = ["MAX_TRUSTED_NBYTES", "CompressedSource", "has_implausible_ratio"]

# Bytes of a chunk of an array. Six chunks of 192 MiB of gzip were summed by dask's two threads as
# fast as three, in less memory, and twelve took 1.2 times as long. Other formats decompress all
# that lies before a chunk, unless the chunks come in order.
CHUNK_NBYTES = {"gzip": 32 * 2**20}
MAX_CHUNK_NBYTES = 256 * 2**20
# Of data beyond what the header describes, as much is decompressed and checked as there are data,
# but at least this much.
MIN_SURPLUS_NBYTES = 64 * 2**20
# Content at the start of a file that is read as a stream, because headers are there.
HEAD_NBYTES = 64 * 2**10
# Headers are trusted up to this size, and beyond it up to this ratio of compression. Densities
# never reach it; masks may, and then cost one pass more.
MAX_TRUSTED_NBYTES = 16 * 2**20
MAX_TRUSTED_RATIO = 100


def has_implausible_ratio(nbytes: int, end: int, stored_nbytes: int) -> bool:
    """Return True if a claim implies an implausible compression ratio.

    A file with such a claim is decompressed once, without keeping anything, before memory is
    allocated for it.

    Parameters
    ----------
    nbytes : int
        Bytes of memory that the claim would take.
    end : int
        Number of decompressed bytes that the file would have.
    stored_nbytes : int
        Number of compressed bytes that it has.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_implausible_ratio(2**40, 2**40, 2**20)
    True
    """
    return nbytes > MAX_TRUSTED_NBYTES and end > MAX_TRUSTED_RATIO * stored_nbytes


@dataclass(frozen=True, slots=True)
class CompressedSource:
    """A compressed file, read as if it were plain.

    Attributes
    ----------
    inner : Source
        The file as it is stored.
    container : {"gzip", "bzip2", "xz", "zstd"}
        Its format. Several members, streams or frames in a row are one file.
    strict : bool
        Whether a stream that is cut off is an error even if all bytes that were asked for are
        there.
    start : bytes
        The first stored bytes, if opening read them.

    Examples
    --------
    >>> import gzip
    >>> source = CompressedSource(MemorySource(gzip.compress(bytes(2048))), "gzip")
    >>> source.measure_size()
    2048
    """

    inner: Source
    container: str
    strict: bool = True
    start: bytes = field(default=b"", repr=False, compare=False)
    # Identifies bytes that have no name; every copy of the source has its own.
    _token: object = field(default_factory=object, init=False, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """Path, URL or description of the stored file."""
        return self.inner.uri

    @property
    def size_if_known(self) -> int | None:
        """None, because finding the size costs a pass."""
        return None

    @property
    def local_path(self) -> str | None:
        """Absolute path of the stored file, if it is on this computer's file systems."""
        return self.inner.local_path

    @property
    def read_ahead_nbytes(self) -> int:
        """Bytes that are decompressed at once."""
        return BLOCK_NBYTES

    @property
    def chunk_nbytes(self) -> int | None:
        """Bytes of a chunk of an array: large if each chunk costs a pass over those before it."""
        return CHUNK_NBYTES.get(self.container, MAX_CHUNK_NBYTES) if self.is_sequential else None

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Fingerprint of the stored file, and the container."""
        return (*self.inner.fingerprint, self.container)

    def measure_size(self) -> int:
        """Return the number of decompressed bytes.

        Once a process this costs a pass, which checks them all.
        """
        blocks = self._blocks(sys.maxsize)
        if blocks is not None and blocks.verify(self.inner, 0, sys.maxsize):
            self._keep_end(blocks)
        return self._stream_size(sys.maxsize - 1)

    def bounded_size(self, limit: int) -> int:
        """Return the size, or `limit` + 1 if it is larger; no more than that is decompressed.

        Of a file of blocks nothing is, unless they claim an implausible compression ratio.
        """
        blocks = self._blocks(limit)
        if blocks is not None:
            end = blocks.stated_end
            if end and not has_implausible_ratio(end.size, end.size, self.stored_size()):
                return min(end.size, limit + 1)
            if blocks.verify(self.inner, 0, limit + 1):
                return min(blocks.size, limit + 1)
        return self._stream_size(limit)

    @property
    def is_sequential(self) -> bool:
        """True if the bytes are best read from the first to the last; a guess by the first ones."""
        start = self.start or Head(self.inner).read(0, START_NBYTES)
        return not is_cut_into_blocks(self.container, self.inner, start)

    def _stream_size(self, limit: int) -> int:
        """Return the size, or `limit` + 1 if it is larger, by decompressing the stream."""
        self._check_damage()
        if (end := streams.find_end(self._key)) is not None:
            return min(end.size, limit + 1)
        request = Request(start=limit + 1, goal=limit + 1)
        try:
            end = self._run(request)
        except MrcTruncatedError:
            if self.strict:
                raise
            return request.reached
        return min(end.size, limit + 1) if end else request.reached

    def stored_size(self) -> int:
        """Return the number of compressed bytes."""
        return full_size(self.inner)

    def trailing_nbytes(self) -> int:
        """Return the number of stored bytes after the stream; 0 until a read finds its end."""
        end = streams.find_end(self._key)
        return end.trailing_nbytes if end else 0

    def allow_truncated(self) -> CompressedSource:
        """Return a source of the same file whose stream may be cut off."""
        return replace(self, strict=False)

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on, in one pass or by blocks."""
        in_order = sorted(parts, key=lambda part: part[0])
        self._check_end(in_order, streams.find_end(self._key))
        blocks = self._blocks(max((offset + out.size for offset, out in parts), default=0))
        if blocks is not None:
            if blocks.read_ranges(self.inner, in_order):
                return
            if blocks.needs_pass:  # a stream returns bytes before it comes to their checksum
                self._stream_size(sys.maxsize - 1)
                blocks.needs_pass = bool(blocks.damage)
            elif blocks.verify(self.inner, 0, sys.maxsize):  # the content ends too early
                self._keep_end(blocks)
                self._check_end(in_order, streams.find_end(self._key))
        self._check_end(in_order, self._run(Request(in_order)))

    def verify_trailer(self, end: int) -> None:
        """Verify the rest of the stream once the last data byte, before `end`, has been read.

        The checksums are there. Unless this process has done so before, the rest is decompressed.
        Data beyond those that the header describes, and bytes after the stream, give one warning.
        Reading stops when there are more surplus bytes than data.
        """
        try:
            position, found = self._read_surplus(end, end + max(end, MIN_SURPLUS_NBYTES))
        except MrcTruncatedError:
            if self.strict:
                raise
            self._warn(f"the {self.container} data are cut off: their checksum is not known")
            return
        size, trailing_nbytes = found or End(position, 0)
        if size < end:
            raise self._too_short(End(size, trailing_nbytes), 0, end)
        notes = []
        if size > end:
            number = f"{size - end}" if found else f"more than {size - end - 1}"
            # Without the section that is cut off, `end` is before the end that the header states.
            known = "the header describes" if self.strict else "were read"
            notes.append(f"the file has {number} bytes more than {known}")
        if trailing_nbytes:
            notes.append(f"its last {trailing_nbytes} stored bytes are not {self.container} data")
        if notes:
            self._warn(f"{'; '.join(notes)}; they were left out")

    def _check_end(self, parts: Parts, end: End | None) -> None:
        """Raise MrcTruncatedError if the end is known, and before the end of a range."""
        for offset, out in parts:
            if end is not None and offset + out.size > end.size:
                raise self._too_short(end, offset, out.size)

    def _read_surplus(self, start: int, limit: int) -> tuple[int, End | None]:
        """Decompress what follows a position; return how far that came, and the end if reached."""
        blocks = self._blocks(limit)
        # The first bytes were read as a stream, perhaps not up to the checksum of a block. Blocks
        # that go on after them are verified as soon as their other bytes are read.
        if (
            blocks is not None
            and blocks.verify(self.inner, 0, blocks.last_end(HEAD_NBYTES))
            and blocks.verify(self.inner, start, limit)
        ):
            self._keep_end(blocks)
            end = blocks.stated_end
            return min(blocks.size, limit), end if end and end.size <= limit else None
        self._check_damage()
        found, rest = streams.find_end(self._key), Request(start=start, goal=limit)
        if found is None or streams.is_at(self._key, start):
            found = self._run(rest)
        return rest.reached, found

    def _blocks(self, stop: int) -> BlockFile | None:
        """Return the blocks of the file, or None to read the bytes before `stop` as a stream."""
        if stop <= HEAD_NBYTES:  # headers are read without looking for blocks
            return None
        return block_files.find(self._key, self.container, self.inner, self.start)

    def _check_damage(self) -> None:
        """Raise MrcError if blocks are damaged in a way that the stream would not notice."""
        if damage := block_files.find_damage(self._key):
            raise MrcError(f"{self.uri}: {damage}: copy or download the file again")

    def _keep_end(self, blocks: BlockFile) -> None:
        """Keep the end of the content, if all blocks were decompressed and were right."""
        if (end := blocks.verified_end) is not None:
            streams.add_end(self._key, end)

    def _warn(self, message: str) -> None:
        """Warn about the file, once in a process."""
        streams.warn_once(self._key, f"{self.uri}: {message}")

    @property
    def _key(self) -> Key:
        """Key of the file in the cache of the process."""
        if isinstance(self.inner, MemorySource | FileObjectSource):
            return (self._token,)
        return self.uri, self.fingerprint

    def _run(self, request: Request) -> End | None:
        """Decompress until a request is done or the stream ends; return the end if it is known."""
        return streams.run(self._key, self.container, self.inner, request)

    def _too_short(self, end: End, offset: int, nbytes: int) -> MrcTruncatedError:
        """Return the error for a read beyond the end of the stream."""
        if end.trailing_nbytes:
            return MrcTruncatedError(
                f"{self.uri}: {nbytes} bytes were wanted from byte {offset}, but the "
                f"{self.container} data give only {end.size}: the last {end.trailing_nbytes} "
                f"stored bytes are not {self.container} data, so the file is damaged; copy or "
                f"download it again"
            )
        return truncated(self.uri, offset, nbytes, min(nbytes, max(0, end.size - offset)))

    def __reduce__(self) -> tuple[type[CompressedSource], tuple[Source, str, bool, bytes]]:
        return CompressedSource, (self.inner, self.container, self.strict, self.start)
