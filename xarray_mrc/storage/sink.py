"""Where new bytes go: a file that appears whole at its place, or not at all.

It grows under a temporary name beside its place, and takes that place in one step. While it grows,
its writer holds a lock on it; a temporary file without one was left by a process that died.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

if sys.platform != "win32":
    import fcntl

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.local import is_on_network
from xarray_mrc.storage.protocol import Bytes

__all__ = ["Sink", "existing_file", "new_file"]

NONCE_SIZE = 32
# Of a file that is there: size and mode, which no edit of its header may change meanwhile.
SHAPE_SIZE = 16
PART_SUFFIX = ".part"
MAX_WRITTEN = 2**30  # in one call: some systems take no 2 GiB
MIN_BEGUN = 2**18  # less would make the disk jump to and fro
BINARY = getattr(os, "O_BINARY", 0)
# Windows does not. There a file is closed before it gets its name; elsewhere it stays open, and so
# locked, until it has it.
RENAMES_OPEN_FILES = sys.platform != "win32"


@dataclass(frozen=True, slots=True)
class Sink:
    """A file that is being made: a small picklable value with nothing open.

    Attributes
    ----------
    path : str
        Where the file will be.
    part : str
        Where it grows.
    nonce : bytes
        Its first bytes, until the header is written over them. Another computer that finds other
        bytes there has another file system, and refuses to write.
    inode : int
        Of a file that was there before: its inode, as its first bytes are no proof; else 0.
    """

    path: str
    part: str
    nonce: bytes
    inode: int = 0

    def write(self, offset: int, data: Bytes | bytes | memoryview) -> None:
        """Write bytes at a place behind the nonce, from any thread or process.

        Parameters
        ----------
        offset : int
            Where they go; ranges written at the same time must not overlap.
        data : ndarray of uint8, bytes or memoryview
            Contiguous bytes.

        Raises
        ------
        MrcError
            This computer does not see the file that is being made.
        OSError
            It can't be written, as on a full disk.
        """
        self.write_ranges([(offset, data)])

    def write_ranges(self, bands: Iterable[tuple[int, Bytes | bytes | memoryview]]) -> None:
        """Write bytes at several places, as `write` does; the file is opened once for all."""
        with self.opened() as descriptor:
            for offset, data in bands:
                start_writeback(descriptor, offset, write_at(descriptor, offset, data))

    def write_in_order(self, pieces: Iterable[Bytes | bytes]) -> None:
        """Write a whole file from its first byte on; what lies where the nonce is comes last.

        Parameters
        ----------
        pieces : iterable of ndarray of uint8 or bytes
            The bytes, one piece behind the other.

        Raises
        ------
        MrcError, OSError
            As of `write`.
        """
        held, offset = b"", 0
        with self.opened() as descriptor:
            for piece in pieces:
                view = memoryview(piece)  # type: ignore[arg-type] # numpy 2.0 does not say so
                rest = view[NONCE_SIZE - len(held) :]
                held += bytes(view[: NONCE_SIZE - len(held)])
                start = offset + len(view) - len(rest)
                start_writeback(descriptor, start, write_at(descriptor, start, rest))
                offset += len(view)
            write_at(descriptor, 0, held)

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        with self.opened() as descriptor:
            os.fsync(descriptor)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file, and make sure that it is the one that is being made."""
        try:
            descriptor = os.open(self.part, os.O_RDWR | BINARY)
        except FileNotFoundError:
            raise not_shared(self.part, "is not there") from None
        try:
            other = self.inode not in (0, os.fstat(descriptor).st_ino)
            if other or os.read(descriptor, len(self.nonce)) != self.nonce:
                raise not_shared(self.part, "is another file")
            yield descriptor
        finally:
            os.close(descriptor)


def not_shared(part: str, what: str) -> MrcError:
    """Make the error for a worker on another file system."""
    host = socket.gethostname()
    return MrcError(
        f"{part}, which is being written, {what} on {host}: it was removed or replaced since its "
        f"begin, or the file system is not shared; write to a folder that all workers see"
    )


def write_at(descriptor: int, offset: int, data: Bytes | bytes | memoryview) -> int:
    """Write all bytes at a place of an open file, and give their number."""
    whole: Any = data  # numpy 2.0 does not say that an array is a buffer
    buffer = memoryview(whole).cast("B")
    done = 0
    while done < len(buffer):
        part = buffer[done : done + MAX_WRITTEN]
        if hasattr(os, "pwrite"):
            done += os.pwrite(descriptor, part, offset + done)
        else:  # Windows; the descriptor is the caller's alone
            os.lseek(descriptor, offset + done, os.SEEK_SET)
            done += os.write(descriptor, part)
    return done


def start_writeback(descriptor: int, offset: int, nbytes: int) -> None:
    """Let the disk begin with what was written, so that there is less to wait for at the end.

    For this Linux has the advice that the bytes are not needed: pages that wait for the disk stay.
    """
    if sys.platform == "linux" and nbytes >= MIN_BEGUN:
        os.posix_fadvise(descriptor, offset, nbytes, os.POSIX_FADV_DONTNEED)


def existing_file(path: str) -> Sink:
    """Give a sink for a file that is there, to be written in place.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Sink
        Its first `SHAPE_SIZE` bytes must stay as they are.

    Raises
    ------
    OSError
        It can't be opened for writing.
    """
    path = os.path.realpath(path)
    descriptor = os.open(path, os.O_RDWR | BINARY)
    try:
        inode = os.fstat(descriptor).st_ino
        return Sink(path, path, os.read(descriptor, SHAPE_SIZE), inode)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: str, *, nbytes: int = 0, overwrite: bool = False) -> Iterator[Sink]:
    """Make a file that appears at its place when the context ends without an error.

    Parameters
    ----------
    path : str
        Where it will be; of a symbolic link, the file that it points to.
    nbytes : int
        Room to set aside at once, so that a full disk is noticed before anything is computed. The
        file has this size unless more is written.
    overwrite : bool
        Whether a file that is already there may be replaced.

    Yields
    ------
    Sink
        Where to write. The first `NONCE_SIZE` bytes have to be written last.

    Raises
    ------
    FileExistsError
        The file is there, and may not be replaced.
    OSError
        It can't be made. What was there stays as it was, and nothing is left behind.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is a folder, pipe or device, expected a file", path)
    if not overwrite and os.path.exists(path):
        raise already_there(path)
    remove_stale(path)
    part, descriptor = begin_part(path)
    sink = Sink(path, part, secrets.token_bytes(NONCE_SIZE))
    try:
        try:
            preallocate(descriptor, max(nbytes, NONCE_SIZE))
            write_at(descriptor, 0, sink.nonce)
            yield sink
            if os.path.exists(path):
                with suppress(OSError):
                    os.chmod(sink.part, os.stat(path).st_mode & 0o7777)
            os.fsync(descriptor)
        finally:
            if not RENAMES_OPEN_FILES:
                os.close(descriptor)
        publish(sink.part, path, overwrite=overwrite)
    except BaseException:
        remove_part(sink.part)
        raise
    finally:
        if RENAMES_OPEN_FILES:
            os.close(descriptor)


def already_there(path: str) -> FileExistsError:
    """Make the error for a file that may not be replaced."""
    return FileExistsError(
        errno.EEXIST, "the file exists: pass overwrite=True to replace it, or another path", path
    )


def prefix_of(path: str) -> str:
    """How the temporary names of a file begin: hidden, and in the same folder."""
    folder, name = os.path.split(path)
    short = os.fsencode(name)[:200].decode(errors="ignore")  # systems count bytes
    return os.path.join(folder, f".{short}.")


def begin_part(path: str) -> tuple[str, int]:
    """Make and lock an empty temporary file; give its name and descriptor."""
    # Who may not read the file that is replaced may not read this one either.
    allowed = 0o666 & (os.stat(path).st_mode | 0o600) if os.path.exists(path) else 0o666
    while True:
        part = f"{prefix_of(path)}{secrets.token_hex(4)}{PART_SUFFIX}"
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, allowed)
        lock(descriptor)
        # Another process may have taken it for a remnant before it was locked.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(part), os.fstat(descriptor)):
                return part, descriptor
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Lock a file until it is closed; False if another process holds it, or can't be asked."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_stale(path: str) -> None:
    """Remove temporary files of this path whose writers died."""
    folder, prefix = os.path.split(prefix_of(path))
    pattern = re.compile(re.escape(prefix) + "[0-9a-f]{8}" + re.escape(PART_SUFFIX))
    matches = {pattern.match(name) for name in os.listdir(folder)}
    for part in {os.path.join(folder, match[0]) for match in matches if match}:
        try:
            descriptor = os.open(part, os.O_RDWR | BINARY)
        except FileNotFoundError:  # its pieces alone are left
            remove_part(part)
            continue
        except OSError:
            continue
        try:
            if lock(descriptor):
                remove_part(part)
        finally:
            os.close(descriptor)


def remove_part(part: str) -> None:
    """Remove a temporary file after its pieces, so that no piece is left without it."""
    folder, name = os.path.split(part)
    for piece in os.listdir(folder):
        if piece.startswith(f"{name}."):
            with suppress(OSError):
                os.unlink(os.path.join(folder, piece))
    with suppress(OSError):
        os.unlink(part)


def preallocate(descriptor: int, nbytes: int) -> None:
    """Give a file its size, and the room for it where the file system can do that at once.

    Where it can't, the C library would write a byte to each block, over a network for hours.
    """
    if hasattr(os, "posix_fallocate") and not is_on_network(os.fstat(descriptor).st_dev):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    os.truncate(descriptor, nbytes)


def publish(part: str, path: str, *, overwrite: bool) -> None:
    """Give a finished file its name, and make sure that the name outlasts a power cut."""
    if overwrite:
        os.replace(part, path)
    else:
        try:
            os.link(part, path)  # unlike a rename it never replaces what came in between
        except FileExistsError:
            raise already_there(path) from None
        except OSError:  # no hard links on this file system
            if os.path.exists(path):
                raise already_there(path) from None
            os.replace(part, path)
        else:
            os.unlink(part)
    sync_name(path)


def sync_name(path: str) -> None:
    """Make sure that the name of a file or folder outlasts a power cut."""
    if sys.platform == "win32":
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems can't sync a folder
            os.fsync(folder)
    finally:
        os.close(folder)
