"""Copies of remote files in a directory: downloaded and decompressed once, atomically."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from xarray_mrc.codec.containers import SUFFIX_OF, plain_name
from xarray_mrc.errors import MrcChangedError, MrcError
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.local_sink import LocalTarget, new_file
from xarray_mrc.storage.protocol import Source, full_size
from xarray_mrc.storage.remote.http import HttpAdapter
from xarray_mrc.storage.remote.loop import run
from xarray_mrc.storage.remote.protocol import Adapter, Opened
from xarray_mrc.storage.remote.source import RemoteSource
from xarray_mrc.storage.remote.urls import hash_of, path_of_url
from xarray_mrc.storage.sink import Receipt

__all__ = ["fetch_copy"]

# Bytes that are in memory at a time. The planner splits them into 8 requests.
BATCH_NBYTES = 128 * 2**20
STREAM_NBYTES = 4 * 2**20
MAX_NAME_CHARACTERS = 120


def fetch_copy(adapter: Adapter, directory: str | os.PathLike[str]) -> str:
    """Return the path of a copy of a remote file, which is downloaded if it is not there yet.

    Its name holds a hash of the URL and one of the version (size, ETag, time of the last change),
    so that a copy of another URL or of an older version is never taken for it. Old versions stay.
    Several processes may do this at the same time.

    Parameters
    ----------
    adapter : Adapter
        The remote file, of which one request finds the version.
    directory : str or os.PathLike
        Where the copies are; it is made if it does not exist.

    Raises
    ------
    OSError
        The file cannot be read, or the disk has no room for it.
    MrcError
        The file is compressed and damaged.
    """
    opened = run(adapter.open())
    container = container_of(opened.head[:1024])
    directory = os.path.abspath(os.path.expanduser(directory))
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, copy_name(adapter, opened))
    if os.path.exists(path):
        return path
    stored = path + (SUFFIX_OF[container] if container else "")
    try:
        with suppress(FileExistsError):
            download(adapter, opened, stored)
        if container:
            decompress(stored, container, path)
    # Another process was faster: it has made a file first, or removed the compressed one.
    except (FileExistsError, FileNotFoundError, MrcChangedError):
        if not os.path.exists(path):
            raise
    if container:
        with suppress(FileNotFoundError):
            os.unlink(stored)
    return path


def copy_name(adapter: Adapter, opened: Opened) -> str:
    """Return the name of a copy; it ends as the file does, because its suffix tells its kind."""
    version = opened.version
    hashes = [adapter.copy_key[:16], hash_of(version)[:16]]
    last = plain_name(path_of_url(adapter.uri)).rpartition("/")[2]
    name = re.sub(r"[^\w.+-]", "_", last)[-MAX_NAME_CHARACTERS:]
    return "-".join([*hashes, name or "file"])


def download(adapter: Adapter, opened: Opened, path: str) -> None:
    """Copy the stored bytes of a remote file to a path."""
    check_space(path, max(0, opened.version.size))
    if opened.has_ranges:
        copy_source(RemoteSource(adapter, opened.version), opened.version.size, path)
    elif isinstance(adapter, HttpAdapter):
        download_in_order(adapter, opened, path)


def download_in_order(adapter: HttpAdapter, opened: Opened, path: str) -> None:
    """Copy a file from a server that cannot send parts of it."""
    size = opened.version.size
    with new_file(path) as target:
        writer = OrderedWriter(target)
        run(adapter.stream(writer.add, opened.version))
        writer.flush()
        if size >= 0 and writer.position != size:
            raise OSError(
                f"{adapter.uri}: {writer.position} bytes came, but {size} were announced: the "
                f"connection broke, or the file changed meanwhile; try again"
            )
        target.finish(receipts=writer.receipts)


class OrderedWriter:
    """Writes bytes that come in order, a few MiB at a time."""

    def __init__(self, target: LocalTarget) -> None:
        self.position = 0  # of the next byte that comes
        self.receipts: list[Receipt] = []
        self._sink, self._waiting = target.sink, bytearray()

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._waiting += data
        self.position += len(data)
        if len(self._waiting) >= STREAM_NBYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has come so far."""
        data, self._waiting = bytes(self._waiting), bytearray()
        if data:
            start = self.position - len(data)
            self.receipts.append(self._sink.write_ranges([(start, data)]))


def decompress(stored: str, container: str, path: str) -> None:
    """Copy a compressed file to a plain one; all checksums are verified before.

    One that is damaged is removed, so that the next attempt downloads it again.
    """
    source = CompressedSource(LocalSource.open(stored)[0], container)
    try:
        size = full_size(source)
    except MrcError as error:
        if not isinstance(error, MrcChangedError):
            with suppress(FileNotFoundError):
                os.unlink(stored)
        raise
    check_space(path, size)
    copy_source(source, size, path)


def copy_source(source: Source, size: int, path: str) -> None:
    """Copy the first bytes of a source to a new file, in bounded memory."""
    with new_file(path, nbytes=size) as target:
        receipts = [target.sink.write_ranges(parts) for parts in batches(source, size)]
        target.finish(receipts=receipts)


def batches(source: Source, size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Read a source from start to end, and yield offset and bytes of each part."""
    buffer = np.empty(min(size, BATCH_NBYTES), np.uint8)
    for offset in range(0, size, BATCH_NBYTES):
        data = buffer[: size - offset]
        source.read_ranges([(offset, data)])
        yield [(offset, data)]


def check_space(path: str, nbytes: int) -> None:
    """Raise OSError if the disk of a path has no room for some bytes."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    if nbytes > free:
        raise OSError(
            errno.ENOSPC,
            f"local_copy needs {nbytes / 2**20:.1f} MiB, but only {free / 2**20:.1f} MiB are free",
            path,
        )
