"""Directories of files that appear complete under their name, or not at all.

As a new file, a directory is written under a temporary name beside it, locked by its writer.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from xarray_mrc.storage.local_sink import (
    BINARY,
    PART_SUFFIX,
    already_exists,
    lock,
    not_shared,
    prefix_of,
    start_writeback,
    sync_name,
    write_at,
)

__all__ = [
    "LocalFolder",
    "check_visible",
    "create_file",
    "new_folder",
    "publish",
    "remove_stale",
    "sync",
    "temporary_folder",
    "write_file",
]

OLD_SUFFIX = ".old"
# A file system writes its journal once for several syncs: 256 small files on ext4 took 0.84 s one
# after the other, 0.14 s on 4 threads and 0.10 s on 8.
SYNC_THREADS = 8


@contextmanager
def new_folder(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """Write a directory that gets its name when the context ends without an error.

    Parameters
    ----------
    path : str
        Name of the directory. If it is a symbolic link, the directory that it points to is
        replaced.
    overwrite : bool
        Whether an existing directory may be replaced, with all files in it.

    Yields
    ------
    str
        The directory to write to. Its name is random, so that another computer that finds it has
        the same file system.

    Raises
    ------
    FileExistsError
        The directory exists and may not be replaced.
    OSError
        The directory cannot be written. An existing one is unchanged, and none is left over.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise OSError(errno.ENOTDIR, "it is a file, pipe or device, expected a directory", path)
    remove_stale(path)
    if not overwrite and os.path.exists(path):
        raise already_exists(path)
    part = temporary(path, PART_SUFFIX)
    os.mkdir(part)
    try:
        with held(part):
            yield part
            sync(part)
        publish(part, path, overwrite=overwrite)
    except BaseException:
        remove(part, temporary(path, PART_SUFFIX))
        raise


@contextmanager
def temporary_folder(path: str) -> Iterator[str]:
    """Yield a new directory beside a path, which is removed at the end of the context.

    Files can be renamed from there to the path. If the process dies, the next call for this path
    removes the directory.
    """
    path = os.path.realpath(path)
    remove_stale(path)
    part = temporary(path, PART_SUFFIX)
    os.mkdir(part)
    try:
        with held(part):
            yield part
    finally:
        remove(part, temporary(path, PART_SUFFIX))


def remove(part: str, other: str) -> None:
    """Rename and remove a directory, so that those who still write to it no longer find it."""
    try:
        os.rename(part, other)
    except OSError:  # Windows, where a file in it is open
        other = part
    shutil.rmtree(other, ignore_errors=True)


def check_visible(part: str) -> None:
    """Raise MrcError if this computer does not see a directory that is being written."""
    if not os.path.isdir(part):
        raise not_shared(part, "is not there")


def write_file(folder: str, key: str, data: Any) -> None:
    """Write a file in a directory at once, as `create_file` does.

    Parameters
    ----------
    folder, key : str
        As in `create_file`.
    data : bytes or contiguous array
        The content.
    """
    with create_file(folder, key) as write:
        write(data)


@contextmanager
def create_file(folder: str, key: str) -> Iterator[Callable[[Any], None]]:
    """Write a file in a directory piece by piece; the directories between them are made.

    Parameters
    ----------
    folder : str
        The directory. It is not made: that it is gone tells a late task that its writer gave up.
    key : str
        Path of the file in the directory, with slashes.

    Yields
    ------
    callable
        Appends bytes or a contiguous array. The file appears when the context ends without an
        error.

    Raises
    ------
    MrcError
        The directory is not there.
    OSError
        The file cannot be written.
    """
    path = os.path.join(folder, *key.split("/"))
    part = f"{path}.{os.urandom(8).hex()}{PART_SUFFIX}"
    nbytes = 0

    def write(data: Any) -> None:
        nonlocal nbytes
        nbytes += write_at(descriptor, nbytes, data)

    descriptor = create(folder, key, part)
    try:
        try:
            yield write
            start_writeback(descriptor, 0, nbytes)
        finally:
            os.close(descriptor)
        rename(folder, part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A directory whose files are read and written by key, as in `remote.remote_folder`.

    Attributes
    ----------
    path : str
        The directory. It is made by its owner.
    """

    path: str

    def put(self, key: str, data: Any) -> None:
        """Write a file, which survives a power cut."""
        write_file(self.path, key, data)
        self.sync([key])

    def get(self, key: str) -> bytes | None:
        """Return the content of a file; None if there is none."""
        try:
            with open(self._path_of(key), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list_keys(self) -> list[str]:
        """Return the paths of all files in the directory, at any depth, with slashes."""
        found = []
        for root, _, names in os.walk(self.path):
            start = os.path.relpath(root, self.path).split(os.sep)
            found += ["/".join([*(start if start != ["."] else []), name]) for name in names]
        return sorted(found)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files; those that are not there are no error."""
        for key in keys:
            with suppress(FileNotFoundError):
                os.unlink(self._path_of(key))

    def sync(self, keys: Iterable[str]) -> None:
        """Make files survive a power cut."""
        paths = [self._path_of(key) for key in keys]
        sync_paths([*paths, *{os.path.dirname(path) for path in paths}])

    def refresh(self, key: str = "") -> None:
        """Have a network file system look again what is in a directory.

        NFS keeps a list of names, and of names that it did not find, for up to a minute. It looks
        again after this computer has changed the directory itself.
        """
        probe = temporary(os.path.join(self._path_of(key), "probe"), PART_SUFFIX)
        with suppress(OSError):
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.unlink(probe)

    def _path_of(self, key: str) -> str:
        return os.path.join(self.path, *key.split("/")) if key else self.path


def create(folder: str, key: str, path: str) -> int:
    """Create an empty file in a directory, and return its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
    with suppress(FileNotFoundError):
        return os.open(path, flags, 0o666)
    parent = folder
    try:
        for name in key.split("/")[:-1]:
            parent = os.path.join(parent, name)
            with suppress(FileExistsError):
                os.mkdir(parent)
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        raise not_shared(folder, "is not there") from None


def rename(folder: str, part: str, path: str) -> None:
    """Rename a complete file in a directory to its name."""
    try:
        os.replace(part, path)
    except FileNotFoundError:
        raise not_shared(folder, "is not there") from None


def temporary(path: str, suffix: str) -> str:
    """Return a random temporary name beside a path."""
    return f"{prefix_of(path)}{os.urandom(8).hex()}{suffix}"


@contextmanager
def held(folder: str) -> Iterator[bool]:
    """Lock a directory for the context; yield False if another process has locked it."""
    if sys.platform == "win32":  # a directory can neither be opened nor locked there
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield lock(descriptor) is True
    finally:
        os.close(descriptor)


def remove_stale(path: str) -> None:
    """Remove the temporary directories of processes that died; restore an old one that was moved.

    This lists the parent directory, which is little work beside writing a directory of files.
    """
    parent, prefix = os.path.split(prefix_of(path))
    names = os.listdir(parent)
    for suffix in (OLD_SUFFIX, PART_SUFFIX):
        pattern = re.compile(re.escape(prefix) + "[0-9a-f]{16}" + re.escape(suffix))
        for name in filter(pattern.fullmatch, names):
            found = os.path.join(parent, name)
            with suppress(OSError), held(found) as is_ours:
                if is_ours and suffix == OLD_SUFFIX and not os.path.lexists(path):
                    os.rename(found, path)
                elif is_ours:
                    shutil.rmtree(found)


def sync(folder: str) -> None:
    """Make a directory and all files in it survive a power cut."""
    sync_paths(os.path.join(root, n) for root, _, names in os.walk(folder) for n in (*names, "."))


def sync_paths(paths: Iterable[str]) -> None:
    """Make files, and the names in directories, survive a power cut."""
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        list(pool.map(sync_path, paths))


def sync_path(path: str) -> None:
    """Make a file, or the names in a directory, survive a power cut."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not os.path.isdir(path):  # some file systems cannot sync a directory
            raise
    finally:
        os.close(descriptor)


def publish(part: str, path: str, *, overwrite: bool) -> None:
    """Rename a complete directory to its name; the old one is kept until then."""
    if not (overwrite and os.path.exists(path)):
        try:
            os.rename(part, path)  # this never replaces a directory that has files
        except OSError:
            if os.path.lexists(path):
                raise already_exists(path) from None
            raise
        sync_name(path)
        return
    old = temporary(path, OLD_SUFFIX)
    with held(path):
        os.rename(path, old)
        try:
            os.rename(part, path)
        except BaseException:
            os.rename(old, path)
            raise
        sync_name(path)
        shutil.rmtree(old, ignore_errors=True)
