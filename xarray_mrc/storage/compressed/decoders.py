"""Containers: their first bytes, and decompressors for one member, stream or frame."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

__all__ = [
    "MAGICS",
    "MAX_MEMORY_NBYTES",
    "Decoder",
    "ZlibDecoder",
    "container_of",
    "copyable_maker",
    "decoder_maker",
    "gzip_header_end",
    "zstd_library",
]

SKIPPABLE = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
# First bytes of each member, stream or frame. One file may have many in a row.
MAGICS = {
    "gzip": (b"\x1f\x8b\x08",),
    "bzip2": (b"BZh",),
    "xz": (b"\xfd7zXZ\0",),
    "zstd": (b"\x28\xb5\x2f\xfd", *SKIPPABLE),
}
BZIP2_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")

# A decoder that needs more memory is refused. zstd itself refuses windows above this.
MAX_MEMORY_NBYTES = 128 * 2**20


class Decoder(Protocol):
    """The common interface of the decompressors of the standard library and of isal."""

    @property
    def eof(self) -> bool:
        """True if the end mark was reached and all checksums were right."""

    @property
    def needs_input(self) -> bool:
        """True if there is no more output without more input."""

    @property
    def unused_data(self) -> bytes:
        """Input after the end mark."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decompress input and return at most `max_length` bytes."""


class ZlibDecoder:
    """gzip by zlib or zlib-ng, which check CRC and length; it can be copied at any position."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.eof, self.needs_input, self.unused_data = False, True, b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decompress input and return at most `max_length` bytes."""
        stream = self._stream
        block: bytes = stream.decompress(stream.unconsumed_tail + data, max_length)
        self.eof, self.unused_data = stream.eof, stream.unused_data
        self.needs_input = not stream.eof and len(block) < max_length
        return block

    def copy(self) -> ZlibDecoder | None:
        """Return a copy that continues from here; None if there is input left to decompress.

        It takes 40 KB, most of it the window of 32 KiB. With the input it would take far more.
        """
        if self._stream.unconsumed_tail:
            return None
        twin = ZlibDecoder(self._stream.copy())
        twin.needs_input = self.needs_input
        return twin


@cache
def decoder_maker(container: str) -> Callable[[], Decoder]:
    """Return a function that makes the fastest decoder for one member.

    ImportError if there is none.
    """
    if container == "gzip":
        try:
            from isal import igzip_lib
        except ImportError:
            return copyable_maker()
        return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    if container == "bzip2":
        import bz2

        return bz2.BZ2Decompressor
    if container == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY_NBYTES)
    found: Callable[[], Decoder] = zstd_library().ZstdDecompressor
    return found


@cache
def copyable_maker() -> Callable[[], ZlibDecoder]:
    """Return a function that makes a decoder for one gzip member that can be copied.

    isal's cannot. zlib-ng takes 1.7 times as long as isal for counts of electrons in 16 bits, and
    zlib 2.5 times.
    """
    library: Any
    try:
        from zlib_ng import zlib_ng as library
    except ImportError:
        library = zlib
    return lambda: ZlibDecoder(library.decompressobj(wbits=31))


def zstd_library() -> Any:
    """Return the module for zstd; ImportError if this Python has none."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def container_of(head: bytes) -> str | None:
    r"""Return the container of a file by its first bytes; None for a plain file.

    Parameters
    ----------
    head : bytes
        The first 1024 bytes, or all of a shorter file. A file with ``MAP`` where an MRC header
        has it is plain, whatever its first bytes are.

    Returns
    -------
    {"gzip", "bzip2", "xz", "zstd"} or None

    Examples
    --------
    >>> container_of(b"\xfd7zXZ\x00\x00\x04")
    'xz'
    """
    if head[208:211] == b"MAP":
        return None
    for container, magics in MAGICS.items():
        if head.startswith(magics):
            is_bzip2 = head[3:4].isdigit() and head[3:4] != b"0" and head[4:10] in BZIP2_BLOCKS
            return container if container != "bzip2" or is_bzip2 else None
    return None


def gzip_header_end(data: bytes, start: int) -> int | None:
    """Return the end of the header of a member; None if `data` end before it.

    The extra field, the name and the comment have any length, and isal misreads a header that is
    fed in several parts.
    """
    if len(data) < start + 12:
        return None
    flags, end = data[start + 3], start + 10
    if flags & 4:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if end == 0:
                return None
    end += flags & 2
    return end if end <= len(data) else None
