"""Compression to gzip, bzip2 or zstd, in members that can each be decompressed alone.

Every tool reads such a file, because these formats let members, streams and frames follow one
another. A new member starts at each section, so that a section is found and decompressed without
the bytes before it. Members of gzip are BGZF blocks, in which htslib's tools can seek: the header
of each has its length.

Sources: the SAM/BAM specification, section 4.1 (BGZF); RFC 1951 and 1952.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from xarray_mrc.codec.containers import SUFFIX_OF
from xarray_mrc.storage.compressed.decoders import zstd_library
from xarray_mrc.storage.protocol import Bytes

if TYPE_CHECKING:  # it loads logging, which an import of the drop-in need not
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Encoder", "cores", "encoder_for"]

# Minimum and maximum bytes of a member. Smaller sections share one, because members below the
# minimum compress worse: by 1 % at 8 KiB of gzip, 64 KiB of zstd and 256 KiB of bzip2. Larger
# sections are cut into equal members. A BGZF block has at most 64 KiB with its header; bzip2 sorts
# 900,000 bytes at a time; zstd level 3 takes twice as long for frames above 1 MiB, which come out
# no smaller.
MEMBER_NBYTES = {
    "gzip": (8 * 2**10, 65280),
    "bzip2": (256 * 2**10, 900_000),
    "zstd": (64 * 2**10, 2**20),
}

# isal's level 2 compresses densities best, as fast as level 1: like zlib's level 6, counts 7 %
# worse. zlib's level 4 comes as close, twice as fast as its level 6.
ISAL_LEVEL, ZLIB_LEVEL = 2, 4
# Masks and labels come out 1.4 to 2.3 times larger by isal than by `gzip -6`. A block that isal
# compresses to less than a quarter is compressed again, by zlib-ng, at a level that depends on how
# well isal did: 4 (1.05 to 1.09 times, 110 MB/s a core), 6 (0.99 to 1.09 times, 110 to 420 MB/s),
# or 9 (0.79 to 1.09 times, 100 to 300 MB/s). Densities and counts of electrons never come so far.
MIN_RATIOS = ((50, 9), (12, 6), (4, 4))
LEVELS = {"gzip": range(1, 10), "bzip2": range(1, 10), "zstd": range(1, 23)}
DEFAULT_LEVELS = {"bzip2": 9, "zstd": 3}

# Header of a gzip member with the extra field BC: the size of the whole block minus 1.
BGZF_HEADER = struct.Struct("<4BIBBH2sHH")
GZIP_HEADER_NBYTES, GZIP_TRAILER = 10, struct.Struct("<II")
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
# Header of a deflate block: a byte for "last and stored", the length, and its complement.
STORED = struct.Struct("<BHH")

# Minimum bytes that a thread compresses in one go, and the number of such jobs queued for each.
MIN_JOB_NBYTES = 2**20
MAX_QUEUED_JOBS = 2

Compress = Callable[[memoryview], bytes]
Job = list[tuple[int, int]]  # where members start and end


@dataclass(frozen=True, slots=True)
class Encoder:
    """Compresses bytes into members, which make a file when they follow one another.

    A small picklable value. Its output for one part of a file does not depend on other parts, so
    parts can be compressed anywhere and joined later. All methods may be called by several threads
    at the same time.

    Attributes
    ----------
    container : {"gzip", "bzip2", "zstd"}
        The format.
    level : int, optional
        The level of compression; chosen by default, for gzip by the data.

    Examples
    --------
    >>> import gzip
    >>> encoder = encoder_for("gzip")
    >>> head, data = encoder.encode(b"head", 4), encoder.encode(b"section1section2", 8)
    >>> gzip.decompress(b"".join([*head, *data, encoder.end()]))
    b'headsection1section2'
    """

    container: str
    level: int | None = None

    def encode(self, data: Bytes | bytes | memoryview, unit_nbytes: int) -> Iterator[bytes]:
        """Compress a part of a file.

        Parameters
        ----------
        data : ndarray of uint8, bytes or memoryview
            Contiguous bytes, from the start of a section on.
        unit_nbytes : int
            Bytes of a section. A member ends where a section does, if not before.

        Yields
        ------
        bytes
            One member. All members in order are the compressed part.
        """
        whole, compress = bytes_of(data), compressor(self.container, self.level)
        for start, stop in member_ranges(len(whole), unit_nbytes, self.container):
            yield compress(whole[start:stop])

    def encode_parallel(
        self, data: Bytes | bytes | memoryview, unit_nbytes: int, *, threads: int | None = None
    ) -> Iterator[bytes]:
        """Compress a part of a file on several threads, to the same bytes as `encode`.

        Parameters
        ----------
        data : ndarray of uint8, bytes or memoryview
            Contiguous bytes, from the start of a section on.
        unit_nbytes : int
            Bytes of a section.
        threads : int, optional
            Number of threads; by default one for each core. Each needs a few MiB.

        Yields
        ------
        bytes
            Some members, in order.
        """
        whole, compress = bytes_of(data), compressor(self.container, self.level)
        ranges = member_ranges(len(whole), unit_nbytes, self.container)

        def run(job: Job) -> bytes:
            return b"".join(compress(whole[start:stop]) for start, stop in job)

        count = threads or cores()
        pool = start_pool(count)
        try:
            queue: deque[Future[bytes]] = deque()
            for job in jobs_of(ranges):
                queue.append(submit(pool, run, job))
                if len(queue) > MAX_QUEUED_JOBS * count:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:  # the caller may stop early
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def end(self) -> bytes:
        """Return the last bytes of the file: an empty BGZF block, no bytes for other formats."""
        return BGZF_END if self.container == "gzip" else b""


def start_pool(count: int) -> ThreadPoolExecutor | None:
    """Return a pool of threads, or None if Python is ending and does not load it any more."""
    try:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(count)
    except RuntimeError:
        return None


def submit(pool: ThreadPoolExecutor | None, run: Callable[[Job], bytes], job: Job) -> Future[bytes]:
    """Run a job on another thread, or on this one if Python is ending and starts no threads."""
    from concurrent.futures import Future

    if pool is not None:
        with suppress(RuntimeError):
            return pool.submit(run, job)
    done: Future[bytes] = Future()
    done.set_result(run(job))
    return done


def encoder_for(container: str, level: int | None = None) -> Encoder:
    """Return the encoder for a container.

    Parameters
    ----------
    container : {"gzip", "bzip2", "zstd"}
        The format, as `named_container` finds it by the suffix of a file.
    level : int, optional
        The level of compression, up to 9; up to 22 for zstd.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        The container cannot be written, or has no such level.
    ImportError
        Its library is missing.

    Examples
    --------
    >>> encoder_for("bzip2")
    Encoder(container='bzip2', level=None)
    """
    if container not in [*MEMBER_NBYTES]:
        written = ", ".join(f"{name!r} ({SUFFIX_OF[name]})" for name in MEMBER_NBYTES)
        raise ValueError(f"the container {container!r} can't be written, expected one of {written}")
    levels = LEVELS[container]
    if level is not None and (isinstance(level, bool) or level not in levels):
        raise ValueError(
            f"compression_level={level!r}, expected None or an integer from {levels[0]} to "
            f"{levels[-1]} for {container}"
        )
    level = None if level is None else int(level)
    try:
        compressor(container, level)
    except ImportError as error:
        raise ImportError(
            f"{container} can't be written, because this Python has no module {error.name}: "
            f"install it, or write a .gz"
        ) from None
    return Encoder(container, level)


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bytes_of(data: Any) -> memoryview:
    """Return contiguous data as a view of bytes."""  # Any: numpy 2.0's types lack the buffer
    return memoryview(data).cast("B")


def member_ranges(nbytes: int, unit_nbytes: int, container: str) -> Iterator[tuple[int, int]]:
    """Yield the start and stop of each member, which ends where a unit does, if not before."""
    minimum, maximum = MEMBER_NBYTES[container]
    unit = max(1, unit_nbytes)
    stride = unit * -(-minimum // unit)
    for first in range(0, nbytes, stride):
        length = min(stride, nbytes - first)
        size = -(-length // -(-length // maximum))
        for start in range(0, length, size):
            yield first + start, first + min(start + size, length)


def jobs_of(ranges: Iterable[tuple[int, int]]) -> Iterator[Job]:
    """Yield groups of members that are large enough for a thread."""
    job: Job = []
    for item in ranges:
        job.append(item)
        if job[-1][1] - job[0][0] >= MIN_JOB_NBYTES:
            yield job
            job = []
    if job:
        yield job


@cache
def compressor(container: str, level: int | None) -> Compress:
    """Return a function that compresses one member; ImportError if its library is missing."""
    if container == "gzip":
        deflate = deflater_by_ratio() if level is None else deflater(level)
        return lambda data: bgzf_block(data, deflate(data))
    if container == "bzip2":
        import bz2

        return partial(bz2.compress, compresslevel=level or DEFAULT_LEVELS[container])
    zstd = zstd_library()
    parameter = zstd.CompressionParameter
    level = level or DEFAULT_LEVELS[container]
    options = {parameter.compression_level: level, parameter.checksum_flag: 1}
    return lambda data: zstd.compress(data, options=options)


def deflater_by_ratio() -> Compress:
    """Return a function that deflates a block, twice if it compresses well: the smaller result."""
    fast = fast_deflater()
    better = [(ratio, deflater(level)) for ratio, level in MIN_RATIOS]

    def deflate(data: memoryview) -> bytes:
        found = fast(data)
        for ratio, deflate_again in better:
            if len(data) > ratio * len(found):
                return min(found, deflate_again(data), key=len)
        return found

    return deflate


def fast_deflater() -> Compress:
    """Return a function that deflates a block, with a gzip trailer, by isal or else zlib."""
    try:
        from isal import igzip_lib
    except ImportError:
        return lambda data: zlib.compress(data, ZLIB_LEVEL, wbits=31)[GZIP_HEADER_NBYTES:]
    flag = igzip_lib.COMP_GZIP_NO_HDR
    return lambda data: igzip_lib.compress(data, ISAL_LEVEL, flag)


def deflater(level: int) -> Compress:
    """Return a function that deflates a block, with a gzip trailer, by zlib-ng or else zlib.

    Level 1 is the fastest: zlib-ng's own makes densities larger.
    """
    if level == 1:
        return fast_deflater()
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return lambda data: zlib.compress(data, level, wbits=31)[GZIP_HEADER_NBYTES:]
    return lambda data: zlib_ng.compress(data, level, wbits=31)[GZIP_HEADER_NBYTES:]


def bgzf_block(data: memoryview, deflated: bytes) -> bytes:
    """Return a BGZF block from deflated bytes with their gzip trailer.

    Libraries may make noise longer by any number of bytes, which the length in the header cannot
    express. It is stored without compression instead.
    """
    length = len(data)
    if len(deflated) > STORED.size + length + GZIP_TRAILER.size:
        trailer = GZIP_TRAILER.pack(zlib.crc32(data), length)
        deflated = STORED.pack(1, length, length ^ 0xFFFF) + data + trailer
    size = BGZF_HEADER.size + len(deflated)
    header = BGZF_HEADER.pack(0x1F, 0x8B, 8, 4, 0, 0, 0xFF, 6, b"BC", 2, size - 1)
    return header + deflated
