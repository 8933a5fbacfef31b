"""Files on this computer that appear complete under their name, or not at all.

A file is written under a temporary name in the same directory and then renamed. Its writer holds
a lock on it meanwhile; a temporary file that nobody has locked was left by a writer that died.
The temporary names of a path are numbered, so that finding those left behind takes a few look-ups
and not a list of the directory, which may have many files.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from itertools import count

if sys.platform != "win32":
    import fcntl

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.local import is_on_network
from xarray_mrc.storage.sink import Receipt, Written, first_bytes, split_held, view_bytes

__all__ = ["LocalSink", "LocalTarget", "existing_file", "new_file", "temporary_file"]

NONCE_NBYTES = 32
# Of an existing file: lengths and mode, which no edit of its header may change meanwhile.
SHAPE_NBYTES = 16
PART_SUFFIX = ".xarray_mrc.part"
PIECES_SUFFIX = ".pieces"
# Temporary names that are looked up besides the one that is used. Only a file left by a sixth
# simultaneous writer of one path is not found before as many write at the same time again.
MAX_OTHER_PARTS = 4
MAX_WRITE_NBYTES = 2**30  # in one call: some systems do not accept 2 GiB
MIN_WRITEBACK_NBYTES = 2**18  # with less the disk would have to seek too often
MAX_NAME_NBYTES = 200  # of the name in a temporary one: systems allow 255 bytes
BINARY = getattr(os, "O_BINARY", 0)
# Windows does not. There a file is closed before it is renamed; elsewhere it stays open, and so
# locked, until it has its name.
RENAMES_OPEN_FILES = sys.platform != "win32"


@dataclass(frozen=True, slots=True)
class LocalSink:
    """A file that is being written: a small picklable value that holds nothing open.

    Attributes
    ----------
    path : str
        The name that the file will have.
    part : str
        Its temporary name.
    nonce : bytes
        Random first bytes of the file, until the header replaces them. A computer that finds other
        bytes there sees another file system, and refuses to write.
    inode : int
        Inode of a file that existed before and is written in place, because its first bytes prove
        little; else 0.
    """

    path: str
    part: str
    nonce: bytes
    inode: int = 0

    @property
    def held_nbytes(self) -> int:
        """Number of first bytes that are written last: the nonce stands there until then."""
        return 0 if self.inode else len(self.nonce)

    @property
    def min_block_nbytes(self) -> int:
        """0: a block may have any size, and gaps."""
        return 0

    def write_ranges(self, parts: Written) -> Receipt:
        """Write bytes at offsets; the file is opened once for all."""
        held: list[tuple[int, bytes]] = []
        with self.opened() as descriptor:
            for offset, data in split_held(parts, self.held_nbytes, held):
                start_writeback(descriptor, offset, write_at(descriptor, offset, data))
        return Receipt(tuple(held))

    def sync(self) -> None:
        """Wait until everything that was written is on the disk."""
        with self.opened() as descriptor:
            os.fsync(descriptor)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file, and check that it is the one that is being written."""
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


def not_shared(part: str, problem: str) -> MrcError:
    """Return the error for a worker on another file system."""
    host = socket.gethostname()
    return MrcError(
        f"{part}, which is being written, {problem} on {host}: it was removed or replaced after "
        f"the start, or the file system is not shared; write to a directory that all workers see"
    )


def write_at(descriptor: int, offset: int, data: bytes | memoryview) -> int:
    """Write all bytes at an offset of an open file, and return their number."""
    buffer = view_bytes(data)
    done = 0
    while done < len(buffer):
        block = buffer[done : done + MAX_WRITE_NBYTES]
        if hasattr(os, "pwrite"):
            done += os.pwrite(descriptor, block, offset + done)
        else:  # Windows, where nobody else uses the descriptor
            os.lseek(descriptor, offset + done, os.SEEK_SET)
            done += os.write(descriptor, block)
    return done


def start_writeback(descriptor: int, offset: int, nbytes: int) -> None:
    """Have the disk start on the bytes that were written, so that the final sync is short.

    On Linux the advice that the bytes are not needed does this. Pages that are not on the disk yet
    stay in memory.
    """
    if sys.platform == "linux" and nbytes >= MIN_WRITEBACK_NBYTES:
        os.posix_fadvise(descriptor, offset, nbytes, os.POSIX_FADV_DONTNEED)


def existing_file(path: str) -> LocalSink:
    """Return a sink that writes into an existing file, in place.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    LocalSink
        The first `SHAPE_NBYTES` bytes of the file must not change.

    Raises
    ------
    OSError
        The file cannot be opened for writing.
    """
    path = os.path.realpath(path)
    descriptor = os.open(path, os.O_RDWR | BINARY)
    try:
        inode = os.fstat(descriptor).st_ino
        return LocalSink(path, path, os.read(descriptor, SHAPE_NBYTES), inode)
    finally:
        os.close(descriptor)


class LocalTarget:
    """A new file under a temporary name beside its own, which its writer has locked.

    Parameters
    ----------
    sink : LocalSink
        Takes the bytes.
    file : FileIO
        The open file, which holds the lock.
    overwrite : bool
        Whether an existing file may be replaced.
    """

    def __init__(self, sink: LocalSink, file: FileIO, *, overwrite: bool) -> None:
        self.sink = sink
        self._file = file
        self._overwrite = overwrite

    def finish(self, head: bytes = b"", receipts: Iterable[Receipt] = ()) -> None:
        """Write the first bytes, and rename the file once it is on the disk."""
        part, path, file = self.sink.part, self.sink.path, self._file
        if not is_named(part, file.fileno()):
            raise not_shared(part, "is another file")
        first, size = first_bytes(head, receipts), os.fstat(file.fileno()).st_size
        if len(first) < NONCE_NBYTES < size:
            raise ValueError(f"bytes {len(first)} to {NONCE_NBYTES} of the file were never written")
        write_at(file.fileno(), NONCE_NBYTES, first[NONCE_NBYTES:])
        write_at(file.fileno(), 0, first[:NONCE_NBYTES])
        if len(first) < NONCE_NBYTES:  # the rest of the nonce is not part of the file
            os.truncate(file.fileno(), len(first))
        if os.path.exists(path):
            with suppress(OSError):
                os.chmod(part, os.stat(path).st_mode & 0o7777)
        os.fsync(file.fileno())
        remove_pieces(part)  # while the lock still keeps others from this temporary name
        if not RENAMES_OPEN_FILES:
            file.close()
        publish(part, path, overwrite=self._overwrite)

    def abort(self) -> None:
        """Remove the temporary file, and the pieces of a compressed one."""
        give_up(self.sink.part, self._file)


@contextmanager
def new_file(
    path: str, *, nbytes: int = 0, overwrite: bool = False, has_pieces: bool = False
) -> Iterator[LocalTarget]:
    """Begin a file that appears under its name when it is finished.

    Parameters
    ----------
    path : str
        Name of the file. If it is a symbolic link, the file that it points to is replaced.
    nbytes : int
        Disk space to reserve at once, so that a full disk is noticed before anything is computed.
        The file has this size unless more is written.
    overwrite : bool
        Whether an existing file may be replaced.
    has_pieces : bool
        Whether parts of it are first written to files of their own (`compressed.members`).

    Yields
    ------
    LocalTarget
        It is given up at the end of the context unless it was finished.

    Raises
    ------
    FileExistsError
        The file exists and may not be replaced.
    OSError
        The file cannot be written. An existing file is unchanged, and no temporary file is left.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is a directory, pipe or device, expected a file", path)
    if not overwrite and os.path.exists(path):
        raise already_exists(path)
    with temporary_file(path, nbytes=nbytes, has_pieces=has_pieces) as (sink, file):
        yield LocalTarget(sink, file, overwrite=overwrite)


@contextmanager
def temporary_file(
    path: str, *, nbytes: int = 0, has_pieces: bool = False
) -> Iterator[tuple[LocalSink, FileIO]]:
    """Create a locked file beside a path, and remove it at the end unless it was renamed.

    Parameters
    ----------
    path, nbytes, has_pieces
        As in `new_file`.

    Yields
    ------
    sink : LocalSink
        Where to write.
    file : FileIO
        The open file, which holds the lock.
    """
    part, descriptor = create_part(path)
    with FileIO(descriptor) as file:
        try:
            if has_pieces:
                remove_pieces(part)
                os.mkdir(part + PIECES_SUFFIX, 0o700)
            sink = LocalSink(path, part, os.urandom(NONCE_NBYTES))
            preallocate(descriptor, max(nbytes, NONCE_NBYTES))
            write_at(descriptor, 0, sink.nonce)
            yield sink, file
        finally:
            give_up(part, file)


def give_up(part: str, file: FileIO) -> None:
    """Remove a temporary file unless it was renamed, and close it."""
    if not RENAMES_OPEN_FILES:
        file.close()
    if file.closed or is_named(part, file.fileno()):
        remove_part(part)
    file.close()


def already_exists(path: str) -> FileExistsError:
    """Return the error for a file that may not be replaced."""
    return FileExistsError(
        errno.EEXIST, "the file exists: pass overwrite=True to replace it, or another path", path
    )


def prefix_of(path: str) -> str:
    """Return the start of the temporary names of a path: hidden, and in the same directory."""
    directory, name = os.path.split(path)
    short = os.fsencode(name)[:MAX_NAME_NBYTES].decode(errors="ignore")
    return os.path.join(directory, f".{short}.")


def create_part(path: str) -> tuple[str, int]:
    """Create and lock an empty temporary file; return its name and descriptor.

    Its name is the first that no living writer has. The file is always new: workers of a dead
    writer may still have the old one open.
    """
    # Nobody gets to read this file who may not read the file that it replaces.
    allowed = 0o666 & (os.stat(path).st_mode | 0o600) if os.path.exists(path) else 0o666
    for number in count():
        part = f"{prefix_of(path)}{number}{PART_SUFFIX}"
        remove_stale(part)
        with suppress(FileExistsError):
            try:
                descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, allowed)
            except FileNotFoundError as error:  # the caller does not know the temporary name
                folder = os.path.dirname(path)
                raise FileNotFoundError(error.errno, error.strerror, folder) from None
            # Another writer may take it for stale before it is locked.
            if lock(descriptor) is not False and is_named(part, descriptor):
                break
            os.close(descriptor)
    for other in range(number + 1, number + 1 + MAX_OTHER_PARTS):
        remove_stale(f"{prefix_of(path)}{other}{PART_SUFFIX}")
    return part, descriptor


def is_named(name: str, descriptor: int) -> bool:
    """Return True if a name is known to belong to an open file."""
    with suppress(OSError):
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    return False


def lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed; return False if another has it, None if locks do not work."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_stale(part: str) -> None:
    """Remove a temporary file if its writer died."""
    if not RENAMES_OPEN_FILES:  # there the file of a living writer cannot be removed
        remove_part(part)
        return
    try:
        descriptor = os.open(part, os.O_RDWR | BINARY)
    except OSError:  # there is none, or it belongs to another user
        return
    try:
        if lock(descriptor) and is_named(part, descriptor):
            remove_part(part)
    finally:
        os.close(descriptor)


def remove_part(part: str) -> None:
    """Remove a temporary file after its pieces, so that none is left without it."""
    with suppress(OSError):
        if RENAMES_OPEN_FILES:
            remove_pieces(part)
            os.unlink(part)
            remove_pieces(part)  # of a task that was still at it; others find no file any more
        else:  # the first fails if somebody else is writing the file
            os.unlink(part)
            remove_pieces(part)


def remove_pieces(part: str) -> None:
    """Remove the directory with the pieces of a compressed file, if there is one."""
    if os.path.isdir(part + PIECES_SUFFIX):
        shutil.rmtree(part + PIECES_SUFFIX, ignore_errors=True)


def preallocate(descriptor: int, nbytes: int) -> None:
    """Set the size of a file, and reserve disk space if the file system can do so at once.

    On others the C library writes a byte to each block, which over a network takes hours.
    """
    if hasattr(os, "posix_fallocate") and not is_on_network(os.fstat(descriptor).st_dev):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    os.truncate(descriptor, nbytes)


def publish(part: str, path: str, *, overwrite: bool) -> None:
    """Rename a complete file to its name, so that the name survives a power cut."""
    if overwrite:
        os.replace(part, path)
    else:
        try:
            os.link(part, path)  # unlike a rename it never replaces a file that came in between
        except FileExistsError:
            raise already_exists(path) from None
        except OSError:  # this file system has no hard links
            if os.path.exists(path):
                raise already_exists(path) from None
            os.replace(part, path)
        else:
            os.unlink(part)
    sync_name(path)


def sync_name(path: str) -> None:
    """Make the name of a file or directory survive a power cut."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # it may not be readable, and some file systems cannot sync it
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
