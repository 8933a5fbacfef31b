"""Files of this computer: stateless reads, and a few maps for what is scattered over a file.

A file is opened for each read and closed again, which costs about 10 microseconds. So nothing has
to be pickled, locked or closed by the caller, and descriptors are never used up.
"""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
import socket
import stat
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

if sys.platform == "linux":
    import fcntl

from xarray_mrc.codec.header import HEADER_SIZE, layout_bytes
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.storage.protocol import Bytes, PlainSource, truncated

__all__ = ["LocalSource"]

Fingerprint = tuple[int, int, int, int]
FS_IOC_GETVERSION = 0x80087601
# Without waiting, because opening a pipe would wait for a writer.
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
MAX_READ = 2**30  # in one call: some systems take no 2 GiB
# Smaller files are read whole rather than mapped.
MIN_MAP_NBYTES = 256 * 2**10
# The greatest part of a larger file that is mapped at a time.
MAX_WINDOW_NBYTES = 64 * 2**20
# Read-only maps that are kept, because a new one has its pages put into place one by one: their
# number (each holds a descriptor) and their size (their pages count as memory of the process).
MAX_KEPT = 8
MAX_KEPT_NBYTES = 2 * 2**30
# Private maps hold a descriptor as long as their arrays live; beyond this many we read.
MAX_VIEWS = 64
CACHE_SAMPLES = 8

_views: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_kept: OrderedDict[tuple[str, Fingerprint], Bytes] = OrderedDict()
_kept_lock = threading.Lock()

# Mapped pages of a file that another computer cuts off end the process with SIGBUS.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs",
     "wekafs", "orangefs", "pvfs2", "9p", "virtiofs", "glusterfs", "ocfs2", "gfs2"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalSource(PlainSource):
    """A file on this computer's file systems.

    Attributes
    ----------
    path : str
        Absolute path.
    fingerprint : tuple of int
        Inode, its generation (0 where the file system tells none), size and modification time in
        nanoseconds, when it was opened. The device is left out: its number differs between the
        computers of a cluster.
    pinned : bytes
        The bytes of the header that fix the layout; with these unchanged, a file with a new
        modification time (an edited header, say) is read on. Empty: no change is allowed.
    mapped : bool
        Whether scattered reads may go through a map of the file.
    views : bool
        Whether large results may be maps of the file, as ``memmap=True`` asks.
    """

    path: str
    fingerprint: Fingerprint
    layout_bytes_at_open: bytes
    mapped: bool
    views: bool = False

    @classmethod
    def open(
        cls, path: str, memmap: bool | Literal["auto"] = "auto", nbytes: int = HEADER_SIZE
    ) -> tuple[LocalSource, bytes]:
        """Look at a file, and read so many bytes of it; OSError if that can't be done."""
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
        mapped = not is_on_network(status.st_dev) if memmap == "auto" else memmap
        return cls(path, found, layout_bytes(head[:HEADER_SIZE]), mapped, memmap is True), head

    @property
    def uri(self) -> str:
        """Absolute path."""
        return self.path

    @property
    def size(self) -> int:
        """Number of bytes when it was opened."""
        return self.fingerprint[2]

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file for one read, and make sure that it is still the one that was opened."""
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
            yield descriptor
        finally:
            os.close(descriptor)

    def check_change(self, now: Fingerprint, head: bytes) -> None:
        """Raise unless a file with a new modification time has the same layout as before."""
        inode, generation, size, time = self.fingerprint
        # Another computer of a cluster may not be told the generation.
        is_same = now[0] == inode and (now[1] == generation or 0 in (now[1], generation))
        if (
            is_same
            and now[2] == size
            and (now[3] == time or layout_bytes(head) == self.layout_bytes_at_open)
        ):
            return
        if not is_same:
            what = "was replaced by another file"
        elif now[2] != size:
            what = f"had {size} bytes and now has {now[2]}"
        else:
            what = "was written to, so that its data may lie differently,"
        raise MrcChangedError(f"{self.path} {what} after it was opened: open it again")

    def readinto(self, offset: int, out: Bytes) -> None:
        """Fill `out` with the bytes from `offset` on."""
        with self.opened() as descriptor:
            self.read_at(descriptor, offset, out)

    def read_at(self, descriptor: int, offset: int, out: Bytes) -> None:
        """Fill `out` from an open file; MrcTruncatedError if it ends too early."""
        buffer = out.data
        done = 0
        if not hasattr(os, "preadv"):  # Windows; the descriptor is ours alone, so seeking is safe
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                file.seek(offset)
                while done < len(buffer) and (count := file.readinto(buffer[done:])):
                    done += count
        else:
            while done < len(buffer):
                count = os.preadv(descriptor, [buffer[done : done + MAX_READ]], offset + done)
                if count == 0:
                    break
                done += count
        if done < len(buffer):
            raise truncated(self.path, offset, len(buffer), done)

    def view(self, offset: int, nbytes: int) -> Bytes | None:
        """Map a range privately: copy on write, so that no change goes to the file or elsewhere."""
        if not self.views or len(_views) >= MAX_VIEWS:
            return None
        with self.opened() as descriptor:
            return self.map_range(descriptor, offset, nbytes, mmap.ACCESS_COPY)

    def map_range(self, descriptor: int, offset: int, nbytes: int, access: int) -> Bytes | None:
        """Map a range of an open file; None where the system has no room for one more map."""
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        try:
            mapping = mmap.mmap(descriptor, offset + nbytes - start, access=access, offset=start)
        except (OSError, ValueError):
            return None
        _views.add(mapping)
        return np.frombuffer(mapping, np.uint8, nbytes, offset - start)

    @contextmanager
    def whole(
        self, probes: Sequence[int], bands: Iterable[Sequence[tuple[int, int]]]
    ) -> Iterator[Bytes | None]:
        """Show the file through its map, if that may be kept."""
        fits = MIN_MAP_NBYTES <= self.size <= MAX_KEPT_NBYTES
        if not (self.mapped and fits and may_keep_maps()):
            yield None
            return
        with self.opened() as descriptor:
            if not all(is_cached(descriptor, offset) for offset in probes):
                for some in bands:
                    announce(descriptor, some)
            yield self.kept_map(descriptor)

    @contextmanager
    def window(
        self, offset: int, nbytes: int, bands: Sequence[tuple[int, int]]
    ) -> Iterator[Bytes | None]:
        """Show a range through a map of its own, read ahead in just the bands that are needed."""
        if not self.mapped or not MIN_MAP_NBYTES <= nbytes <= MAX_WINDOW_NBYTES:
            yield None
            return
        with self.opened() as descriptor:
            announce(descriptor, bands)
            yield self.map_range(descriptor, offset, nbytes, mmap.ACCESS_READ)

    def kept_map(self, descriptor: int) -> Bytes | None:
        """Give the map of the whole file, which is kept until others push it out."""
        key = (self.path, self.fingerprint)
        with _kept_lock:
            whole = _kept.pop(key, None)
            if whole is None:
                whole = self.map_range(descriptor, 0, self.size, mmap.ACCESS_READ)
            if whole is not None:
                _kept[key] = whole
            while len(_kept) > MAX_KEPT or sum(map(len, _kept.values())) > MAX_KEPT_NBYTES:
                _kept.popitem(last=False)
        return whole

    def read_ranges(self, bands: Sequence[tuple[int, int]]) -> Bytes:
        """Read several ranges, which the system fetches in parallel."""
        data = np.empty(sum(nbytes for _, nbytes in bands), np.uint8)
        end = 0
        with self.opened() as descriptor:
            announce(descriptor, bands)
            for offset, nbytes in bands:
                start, end = end, end + nbytes
                self.read_at(descriptor, offset, data[start:end])
        return data


def fingerprint(descriptor: int, status: os.stat_result) -> Fingerprint:
    """Inode, generation, size and modification time of an open file."""
    return status.st_ino, generation_of(descriptor), status.st_size, status.st_mtime_ns


def generation_of(descriptor: int) -> int:
    """Tell apart files that had the same inode one after the other; 0 where there is no telling."""
    if sys.platform != "linux":
        return 0
    number = bytearray(8)
    try:
        fcntl.ioctl(descriptor, FS_IOC_GETVERSION, number)
    except OSError:
        return 0
    return int.from_bytes(number[:4], sys.byteorder)


def may_keep_maps() -> bool:
    """Whether maps may be kept: not where they hinder others, or count against a memory limit.

    On Windows a mapped file can't be replaced; a worker of dask whose pages, those of maps among
    them, are too many is restarted by its nanny, or pauses for as long as they stay.
    """
    name = multiprocessing.current_process().name  # also where a task has started threads
    return not (
        sys.platform == "win32" or name.startswith("Dask Worker process") or is_task_of_worker()
    )


def is_task_of_worker() -> bool:
    """Whether this is called by a task on a worker of dask, with a nanny or without one."""
    try:
        sys.modules["distributed"].get_worker()
    except (KeyError, AttributeError, ValueError):  # not loaded, being loaded, no worker
        return False
    return True


def forget_maps() -> None:
    """Begin anew in a forked child, where another thread may have held the lock."""
    global _kept_lock
    _kept_lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_maps)


def announce(descriptor: int, bands: Sequence[tuple[int, int]]) -> None:
    """Announce the ranges of a scattered read, so that the disk is asked for all at once.

    Ranges that touch each other are left to the system's own reading ahead, and so is all that a
    few samples find in the page cache, where the announcement would cost more than it saves.
    """
    gaps = any(bands[i][0] + bands[i][1] < bands[i + 1][0] for i in range(len(bands) - 1))
    if not gaps or not hasattr(os, "posix_fadvise"):
        return
    samples = bands[:: max(1, len(bands) // CACHE_SAMPLES)]
    if not all(is_cached(descriptor, offset) for offset, _ in samples):
        for offset, nbytes in bands:
            os.posix_fadvise(descriptor, offset, nbytes, os.POSIX_FADV_WILLNEED)


def is_cached(descriptor: int, offset: int) -> bool:
    """Whether a byte can be had without waiting for the disk; False where there is no telling."""
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False


@cache
def is_on_network(device: int) -> bool:
    """Whether a device number is that of a network file system, as far as the system tells."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for mount in mounts:
        fields, _, rest = mount.partition(" - ")
        if fields.split()[2] == number:
            kind = rest.split()[0]
            return kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse")
    return False
