"""Files on this computer: stateless reads, and maps for scattered reads.

A file is opened for each read and closed again, which costs about 10 microseconds. So the caller
has nothing to pickle, lock or close, and descriptors are never used up.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import stat
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

if sys.platform == "linux":
    import fcntl

from xarray_mrc.codec.header import HEADER_SIZE, layout_bytes
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.storage.maps import cached_maps, may_cache_maps
from xarray_mrc.storage.protocol import ByteRanges, Bytes, Head, Parts, truncated

__all__ = ["LocalSource"]

Fingerprint = tuple[int, int, int, int]
FS_IOC_GETVERSION = 0x80087601
# O_NONBLOCK, because opening a pipe would wait for a writer.
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
NOWAIT = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None
READ_AHEAD_NBYTES = 256 * 2**10
MAX_READ_NBYTES = 2**30  # in one call: some systems do not accept 2 GiB
# Smaller files are read whole rather than mapped.
MIN_MAP_NBYTES = 256 * 2**10
# Larger ranges are not mapped for one read.
MAX_WINDOW_NBYTES = 64 * 2**20
# Private maps hold a descriptor as long as their arrays live; beyond this number data are read.
MAX_VIEWS = 64
MAX_CACHE_SAMPLES = 8
DIGEST_NBYTES = 8
BYTE_ORDERS: tuple[Literal["little"], Literal["big"]] = ("little", "big")
MAP_BYTES = slice(208, 211)  # hold the characters MAP in a header of after 1999

_views: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

# If another computer truncates a file, reading its mapped pages ends the process with SIGBUS.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs",
     "wekafs", "orangefs", "pvfs2", "9p", "virtiofs", "glusterfs", "ocfs2", "gfs2"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file on this computer's file systems.

    Attributes
    ----------
    path : str
        Absolute path.
    fingerprint : tuple of int
        Inode, its generation (0 if unknown), size and modification time in nanoseconds, when the
        file was opened. The device is left out: its number differs between the computers of a
        cluster.
    digest : bytes
        Hash of the first 1024 bytes at that time.
    layout_bytes_at_open : bytes
        The bytes of the header that fix the layout. If they are unchanged, a file with a new
        modification time (after an edit of its header, say) can still be read; so can a stack that
        grew, where only the number of sections differs. Empty: no change is allowed.
    is_mapped : bool
        Whether the file may be mapped.
    """

    path: str
    fingerprint: Fingerprint
    digest: bytes
    layout_bytes_at_open: bytes
    is_mapped: bool

    @classmethod
    def open(
        cls, path: str, memmap: bool | Literal["auto"] = "auto", nbytes: int = HEADER_SIZE
    ) -> tuple[LocalSource, bytes]:
        """Return a source and its first `nbytes` bytes; OSError if the file cannot be read."""
        descriptor = os.open(path, FLAGS)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is a pipe or device, expected a file", path)
            found = fingerprint(descriptor, status)
            head = os.read(descriptor, nbytes)
        finally:
            os.close(descriptor)
        is_mapped = not is_on_network(status.st_dev) if memmap == "auto" else memmap
        first = head[:HEADER_SIZE]
        return cls(path, found, digest(first), layout_bytes(first), is_mapped), head

    @property
    def uri(self) -> str:
        """Absolute path."""
        return self.path

    @property
    def local_path(self) -> str:
        """Absolute path."""
        return self.path

    @property
    def size_if_known(self) -> int:
        """Number of bytes when it was opened."""
        return self.fingerprint[2]

    @property
    def read_ahead_nbytes(self) -> int:
        """Bytes to read at once: the system reads ahead itself."""
        return READ_AHEAD_NBYTES

    def open_beside(self, suffix: str) -> Head | None:
        """Return the file whose name has a suffix more, or None if there is none."""
        try:
            return Head(*LocalSource.open(self.path + suffix, memmap=False))
        except OSError:
            return None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file for one read, and check that it is still the file that was opened."""
        descriptor = self.open_again()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open_again(self) -> int:
        """Return a new descriptor, after a check that it is still the file that was opened."""
        try:
            descriptor = os.open(self.path, FLAGS)
        except FileNotFoundError as error:
            host = socket.gethostname()
            raise FileNotFoundError(
                error.errno,
                f"{self.path} is not visible on {host}: it was removed after it was opened, or "
                f"{host} does not share its file system",
                self.path,
            ) from None
        try:
            now = fingerprint(descriptor, os.fstat(descriptor))
            if now != self.fingerprint:
                self.check_change(now, os.read(descriptor, HEADER_SIZE))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def check_change(self, now: Fingerprint, head: bytes) -> None:
        """Raise MrcChangedError unless this is the same file with the same layout.

        FUSE file systems may number a file anew while it is open. A file with another inode is the
        same if size, modification time and the first 1024 bytes are the same, and its generation,
        where the file system has one, does not tell otherwise. Without generations, a replacement
        that agrees in all of these, in the data's size and in nanoseconds, is not noticed.
        """
        inode, generation, size, time = self.fingerprint
        # Another computer of a cluster may not know the generation.
        is_same = now[1] == generation or 0 in (now[1], generation)
        if now[0] != inode:
            is_same = is_same and now[2:] == (size, time) and digest(head) == self.digest
        if (
            is_same
            and now[2] == size
            and (now[3] == time or layout_bytes(head) == self.layout_bytes_at_open)
        ):
            return
        if now[0] == inode and is_same and now[2] >= size and self.has_grown(head):
            return
        if not is_same:
            change = "was replaced by another file"
        elif now[2] != size:
            change = f"had {size} bytes and now has {now[2]}"
        else:
            change = "was written to, so that its data may lie differently,"
        raise MrcChangedError(f"{self.path} {change} after it was opened: open it again")

    def has_grown(self, head: bytes) -> bool:
        """Return True if a file that is not shorter differs at most by a greater NZ in its layout.

        Images are appended after the others, and NZ is written last, so that the data that were
        there when the file was opened stay where they are. A compressed file has no such place.
        """
        before, now = self.layout_bytes_at_open, layout_bytes(head)
        if (
            not before
            or head[MAP_BYTES] != b"MAP"
            or (now[:8], now[12:]) != (before[:8], before[12:])
        ):
            return False
        # In the other byte order NZ would be huge.
        little, big = (int.from_bytes(before[8:12], order) for order in BYTE_ORDERS)
        order = BYTE_ORDERS[big < little]
        return int.from_bytes(now[8:12], order) >= min(little, big)

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on; the system fetches in parallel."""
        # Without a context manager: for a few small images that is a tenth of the time.
        descriptor = self.open_again()
        try:
            if len(parts) > 1:
                parts = read_cached(descriptor, parts)
            if len(parts) > 1:
                prefetch_all(descriptor, [(offset, out.size) for offset, out in parts])
            for offset, out in parts:
                self.read_at(descriptor, offset, out)
        finally:
            os.close(descriptor)

    def read_at(self, descriptor: int, offset: int, out: Bytes) -> None:
        """Fill `out` from an open file; MrcTruncatedError if the file ends too early."""
        buffer = out.data
        done = 0
        if not hasattr(os, "preadv"):  # Windows; the descriptor is ours alone, so seeking is safe
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                file.seek(offset)
                while done < len(buffer) and (count := file.readinto(buffer[done:])):
                    done += count
        else:
            while done < len(buffer):
                count = os.preadv(
                    descriptor, [buffer[done : done + MAX_READ_NBYTES]], offset + done
                )
                if count == 0:
                    break
                done += count
        if done < len(buffer):
            raise truncated(self.path, offset, len(buffer), done)

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Map a range privately: a write to the array copies the page, and changes no file."""
        if not self.is_mapped or len(_views) >= MAX_VIEWS:
            return None
        with self.opened() as descriptor:
            return self.map_range(descriptor, offset, nbytes, mmap.ACCESS_COPY)

    def map_range(self, descriptor: int, offset: int, nbytes: int, access: int) -> Bytes | None:
        """Map a range of an open file; return None if the system allows no further map."""
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        try:
            mapping = mmap.mmap(descriptor, offset + nbytes - start, access=access, offset=start)
        except (OSError, ValueError):
            return None
        _views.add(mapping)
        return np.frombuffer(mapping, np.uint8, nbytes, offset - start)

    @contextmanager
    def whole(
        self, probes: Sequence[int], byte_ranges: Iterable[ByteRanges]
    ) -> Iterator[Bytes | None]:
        """Yield the cached map of the file, or None if none may be cached."""
        fits = MIN_MAP_NBYTES <= self.size_if_known <= cached_maps.max_nbytes
        if not (self.is_mapped and fits and may_cache_maps()):
            yield None
            return
        with self.opened() as descriptor:
            if not all(is_cached(descriptor, offset) for offset in probes):
                for some in byte_ranges:
                    prefetch(descriptor, some)
            yield cached_maps.get(
                (self.path, self.fingerprint),
                lambda: self.map_range(descriptor, 0, self.size_if_known, mmap.ACCESS_READ),
            )

    @contextmanager
    def window(self, offset: int, nbytes: int, byte_ranges: ByteRanges) -> Iterator[Bytes | None]:
        """Yield a map of a range, with only the bytes that are needed prefetched, or None."""
        if not self.is_mapped or not MIN_MAP_NBYTES <= nbytes <= MAX_WINDOW_NBYTES:
            yield None
            return
        with self.opened() as descriptor:
            prefetch(descriptor, byte_ranges)
            yield self.map_range(descriptor, offset, nbytes, mmap.ACCESS_READ)


def fingerprint(descriptor: int, status: os.stat_result) -> Fingerprint:
    """Return inode, generation, size and modification time of an open file."""
    return status.st_ino, generation_of(descriptor), status.st_size, status.st_mtime_ns


def digest(head: bytes) -> bytes:
    """Return a hash of the first bytes of a file."""
    return blake2b(head, digest_size=DIGEST_NBYTES).digest()


def generation_of(descriptor: int) -> int:
    """Return a number that differs between files that had one inode in turn; 0 if unknown."""
    if sys.platform != "linux":
        return 0
    number = bytearray(8)
    try:
        fcntl.ioctl(descriptor, FS_IOC_GETVERSION, number)
    except OSError:
        return 0
    return int.from_bytes(number[:4], sys.byteorder)


def read_cached(descriptor: int, parts: Parts) -> Parts:
    """Fill the arrays whose bytes are in the page cache; return the rest from the first one on.

    So nothing has to be found out before a scattered read of a file that is in the cache. For 6
    images of 64 KiB, asking first took a sixth of the time of reading.
    """
    if NOWAIT is None:
        return parts
    for number, (offset, out) in enumerate(parts):
        try:
            count = os.preadv(descriptor, [out.data], offset, NOWAIT)
        except OSError:  # nothing of it is cached, or the file system does not know this flag
            return parts[number:]
        if count < out.size:
            return [(offset + count, out[count:]), *parts[number + 1 :]]
    return []


def prefetch(descriptor: int, byte_ranges: ByteRanges) -> None:
    """Have the system read the ranges of a scattered read, unless a few samples are cached.

    For cached bytes these calls would cost more than they save.
    """
    samples = byte_ranges[:: max(1, len(byte_ranges) // MAX_CACHE_SAMPLES)]
    if not all(is_cached(descriptor, offset) for offset, _ in samples):
        prefetch_all(descriptor, byte_ranges)


def prefetch_all(descriptor: int, byte_ranges: ByteRanges) -> None:
    """Have the system read the ranges of a scattered read, so that the disk gets all requests.

    Adjacent ranges are left to the system's own read-ahead.
    """
    gaps = any(start + nbytes < after for (start, nbytes), (after, _) in pairwise(byte_ranges))
    if gaps and hasattr(os, "posix_fadvise"):
        for offset, nbytes in byte_ranges:
            os.posix_fadvise(descriptor, offset, nbytes, os.POSIX_FADV_WILLNEED)


def is_cached(descriptor: int, offset: int) -> bool:
    """Return True if a byte is in the page cache; False if that is unknown."""
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False


@cache
def is_on_network(device: int) -> bool:
    """Return True if a device number is known to belong to a network file system.

    This is a hint and never raises. Only Linux names the type of a file system in a file; on macOS
    and Windows the answer is always False, so pass ``memmap=False`` for files on a network there.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
        number = f"{os.major(device)}:{os.minor(device)}".encode()
        for mount in mounts:  # names of mount points are any bytes, with spaces escaped
            fields, _, rest = mount.partition(b" - ")
            if fields.split()[2] == number:
                kind = rest.split()[0].decode(errors="replace")
                return kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse")
    except (OSError, IndexError, AttributeError):
        pass
    return False
