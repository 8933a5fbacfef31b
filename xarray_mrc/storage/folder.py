"""Where a new folder of files goes: as a whole to its place, or not at all.

As with a new file, it grows under a temporary name beside its place, locked by its writer.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from xarray_mrc.storage.sink import (
    PART_SUFFIX,
    already_there,
    lock,
    not_shared,
    prefix_of,
    sync_name,
)

__all__ = ["check_visible", "new_folder"]

OLD_SUFFIX = ".old"


@contextmanager
def new_folder(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """Make a folder that appears at its place when the context ends without an error.

    Parameters
    ----------
    path : str
        Where it will be; of a symbolic link, the folder that it points to.
    overwrite : bool
        Whether a folder that is already there may be replaced, whatever is in it.

    Yields
    ------
    str
        The folder where its files have to be made. Its name is drawn by lot, so that another
        computer that finds it has the same file system.

    Raises
    ------
    FileExistsError
        The folder is there, and may not be replaced.
    OSError
        It can't be made. What was there stays as it was, and nothing is left behind.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise OSError(errno.ENOTDIR, "it is a file, pipe or device, expected a folder", path)
    remove_stale(path)
    if not overwrite and os.path.exists(path):
        raise already_there(path)
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


def remove(part: str, other: str) -> None:
    """Remove a folder under another name, so that who still writes to it sees it gone."""
    try:
        os.rename(part, other)
    except OSError:  # Windows, where a file in it is open
        other = part
    shutil.rmtree(other, ignore_errors=True)


def check_visible(part: str) -> None:
    """Raise MrcError where this computer does not see a folder that is being made."""
    if not os.path.isdir(part):
        raise not_shared(part, "is not there")


def temporary(path: str, suffix: str) -> str:
    """Draw a temporary name beside a path."""
    return f"{prefix_of(path)}{secrets.token_hex(8)}{suffix}"


@contextmanager
def held(folder: str) -> Iterator[bool]:
    """Lock a folder while the context lasts; False if another process holds it."""
    if sys.platform == "win32":  # where no folder can be opened, nor locked
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(path: str) -> None:
    """Remove what processes that died have left; the old folder of one goes back to its place."""
    parent, prefix = os.path.split(prefix_of(path))
    for suffix in (OLD_SUFFIX, PART_SUFFIX):
        pattern = re.compile(re.escape(prefix) + "[0-9a-f]{16}" + re.escape(suffix))
        for name in filter(pattern.fullmatch, os.listdir(parent)):
            found = os.path.join(parent, name)
            with suppress(OSError), held(found) as is_ours:
                if is_ours and suffix == OLD_SUFFIX and not os.path.lexists(path):
                    os.rename(found, path)
                elif is_ours:
                    shutil.rmtree(found)


def sync(folder: str) -> None:
    """Make sure that a folder outlasts a power cut, with all that is in it."""
    if sys.platform == "win32":
        return
    for root, _, names in os.walk(folder):
        for name in (*names, "."):
            descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            except OSError:
                if name != ".":  # some file systems can't sync a folder
                    raise
            finally:
                os.close(descriptor)


def publish(part: str, path: str, *, overwrite: bool) -> None:
    """Give a finished folder its name; the old one is kept until it has it."""
    if not (overwrite and os.path.exists(path)):
        try:
            os.rename(part, path)  # which replaces no folder that holds anything
        except OSError:
            if os.path.lexists(path):
                raise already_there(path) from None
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
