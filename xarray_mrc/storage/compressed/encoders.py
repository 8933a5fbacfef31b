"""Packing bytes into gzip, bzip2 or zstd, in pieces that each can be unpacked alone.

What is written is plain for every tool, because these formats let members, streams and frames
follow one another. The pieces begin at the sections, so that a section is found and unpacked
without what lies before it. Those of gzip are blocks of BGZF, the form of gzip that htslib's tools
seek in: each says in its header how long it is.

Sources: the SAM/BAM specification, section 4.1 (BGZF); RFC 1951 and 1952.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from xarray_mrc.codec.containers import SUFFIX_OF
from xarray_mrc.storage.compressed.decoders import zstd_library
from xarray_mrc.storage.protocol import Bytes

__all__ = ["Encoder", "cores", "encoder_for"]

# Bytes in a piece. Smaller sections share one, because pieces below `least` pack worse: by 1 % at
# 8 KiB of gzip, 64 KiB of zstd and 256 KiB of bzip2. Larger ones are cut into equal pieces.
# BGZF has 64 KiB for a block with its header; bzip2 sorts 900,000 bytes at a time; zstd level 3
# takes twice as long for frames above 1 MiB, which come out no smaller.
LIMITS = {
    "gzip": (8 * 2**10, 65280),
    "bzip2": (256 * 2**10, 900_000),
    "zstd": (64 * 2**10, 2**20),
}

# Of isal's levels 2 packs densities best, and as fast as 1: as zlib at level 6, counts 7 % less.
# zlib itself gets as near at level 4, twice as fast as at 6.
ISAL_LEVEL, ZLIB_LEVEL, ZSTD_LEVEL = 2, 4, 3

# Header of a gzip member with the extra field BC: the size of the whole block less 1.
BGZF_HEADER = struct.Struct("<4BIBBH2sHH")
GZIP_HEADER_SIZE, GZIP_TRAILER = 10, struct.Struct("<II")
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
STORED = struct.Struct("<BHH")  # of a deflate block: last and stored; length, and its complement

# What a thread packs in one go at least, and how many such jobs wait for each.
JOB_NBYTES = 2**20
AHEAD = 2

Pack = Callable[[memoryview], bytes]
Job = list[tuple[int, int]]  # where pieces begin and end


@dataclass(frozen=True, slots=True)
class Encoder:
    """Packs bytes into pieces of a container, which make a file in the order of the bytes.

    A small picklable value. What it gives for one part of a file does not depend on the others, so
    parts can be packed anywhere and put together later.

    Attributes
    ----------
    container : {"gzip", "bzip2", "zstd"}
        The form of the pieces.

    Examples
    --------
    >>> import gzip
    >>> encoder = encoder_for("gzip")
    >>> head, data = encoder.encode(b"head", 4), encoder.encode(b"section1section2", 8)
    >>> gzip.decompress(b"".join([*head, *data, encoder.end()]))
    b'headsection1section2'
    """

    container: str

    def encode(self, data: Bytes | bytes | memoryview, unit_nbytes: int) -> Iterator[bytes]:
        """Pack a part of a file.

        Parameters
        ----------
        data : ndarray of uint8, bytes or memoryview
            Contiguous bytes, from the beginning of a section on.
        unit_nbytes : int
            Bytes of a section. A piece ends where a section does, if not before.

        Yields
        ------
        bytes
            One piece; all of them, one behind the other, are the packed part.
        """
        whole, pack = bytes_of(data), packer(self.container)
        for start, stop in pieces(len(whole), unit_nbytes, *LIMITS[self.container]):
            yield pack(whole[start:stop])

    def encode_parallel(
        self, data: Bytes | bytes | memoryview, unit_nbytes: int, *, threads: int | None = None
    ) -> Iterator[bytes]:
        """Pack a part of a file on several threads; the bytes are those of `encode`.

        Parameters
        ----------
        data : ndarray of uint8, bytes or memoryview
            Contiguous bytes, from the beginning of a section on.
        unit_nbytes : int
            Bytes of a section.
        threads : int, optional
            How many; by default one for each core. For each a few MiB are held.

        Yields
        ------
        bytes
            Some pieces, in order.
        """
        whole, pack = bytes_of(data), packer(self.container)
        cuts = pieces(len(whole), unit_nbytes, *LIMITS[self.container])

        def run(job: Job) -> bytes:
            return b"".join(pack(whole[start:stop]) for start, stop in job)

        count = threads or cores()
        pool = ThreadPoolExecutor(count)
        try:
            waiting: deque[Future[bytes]] = deque()
            for job in jobs_of(cuts):
                waiting.append(submit(pool, run, job))
                if len(waiting) > AHEAD * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also where the caller has enough
            pool.shutdown(cancel_futures=True)

    def end(self) -> bytes:
        """Give what ends the file: BGZF's empty last block, nothing for the other containers."""
        return BGZF_END if self.container == "gzip" else b""


def submit(pool: ThreadPoolExecutor, run: Callable[[Job], bytes], job: Job) -> Future[bytes]:
    """Run a job on another thread; on this one if no more can be begun, as when Python ends."""
    try:
        return pool.submit(run, job)
    except RuntimeError:
        done: Future[bytes] = Future()
        done.set_result(run(job))
        return done


def encoder_for(container: str) -> Encoder:
    """Give what packs into a container.

    Parameters
    ----------
    container : {"gzip", "bzip2", "zstd"}
        As `named_container` tells it by the suffix of a file.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        It is none of these.
    ImportError
        The library for it is missing.

    Examples
    --------
    >>> encoder_for("bzip2")
    Encoder(container='bzip2')
    """
    if container not in [*LIMITS]:
        written = ", ".join(f"{name!r} ({SUFFIX_OF[name]})" for name in LIMITS)
        raise ValueError(f"the container {container!r} can't be written, expected one of {written}")
    try:
        packer(container)
    except ImportError as error:
        raise ImportError(
            f"{container} can't be written, because this Python has no module {error.name}: "
            f"install what is missing, or write a .gz"
        ) from None
    return Encoder(container)


def cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bytes_of(data: Any) -> memoryview:
    """Show contiguous bytes as such; numpy 2.0 does not say that an array is a buffer."""
    return memoryview(data).cast("B")


def pieces(nbytes: int, unit_nbytes: int, least: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a part of a file into ranges that end where units do, if not before."""
    unit = max(1, unit_nbytes)
    stride = unit * -(-least // unit)
    for first in range(0, nbytes, stride):
        length = min(stride, nbytes - first)
        size = -(-length // -(-length // most))
        for start in range(0, length, size):
            yield first + start, first + min(start + size, length)


def jobs_of(cuts: Iterable[tuple[int, int]]) -> Iterator[Job]:
    """Gather pieces until they are worth handing to a thread."""
    job: Job = []
    for cut in cuts:
        job.append(cut)
        if job[-1][1] - job[0][0] >= JOB_NBYTES:
            yield job
            job = []
    if job:
        yield job


@cache
def packer(container: str) -> Pack:
    """Give what packs one piece; ImportError if this Python can't."""
    if container == "gzip":
        return bgzf_packer()
    if container == "bzip2":
        import bz2

        return bz2.compress
    zstd = zstd_library()
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: ZSTD_LEVEL, parameter.checksum_flag: 1}
    return lambda piece: zstd.compress(piece, options=options)


def bgzf_packer() -> Pack:
    """Give what packs one block of BGZF."""
    try:
        from isal import igzip_lib
    except ImportError:
        return lambda piece: bgzf_block(
            piece, zlib.compress(piece, ZLIB_LEVEL, wbits=31)[GZIP_HEADER_SIZE:]
        )
    flag = igzip_lib.COMP_GZIP_NO_HDR
    return lambda piece: bgzf_block(piece, igzip_lib.compress(piece, ISAL_LEVEL, flag))


def bgzf_block(piece: memoryview, packed: bytes) -> bytes:
    """Put the header of BGZF before deflated bytes and their trailer of gzip.

    Libraries may make noise longer by any number of bytes, for which the header has no room: it is
    stored as it is instead.
    """
    length = len(piece)
    if len(packed) > STORED.size + length + GZIP_TRAILER.size:
        trailer = GZIP_TRAILER.pack(zlib.crc32(piece), length)
        packed = STORED.pack(1, length, length ^ 0xFFFF) + piece + trailer
    size = BGZF_HEADER.size + len(packed)
    header = BGZF_HEADER.pack(0x1F, 0x8B, 8, 4, 0, 0, 0xFF, 6, b"BC", 2, size - 1)
    return header + packed
