"""`open_target`: a new file at a path or URL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from xarray_mrc.storage.local_sink import LocalTarget, already_exists, new_file
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import is_remote, path_of_url, public_url
from xarray_mrc.storage.sink import Receipt, Target

__all__ = ["NO_OPTIONS", "check_free", "is_there", "open_target"]

NO_OPTIONS = StorageOptions()
# Protocols of storages in which an object appears when all of it is there.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"})


class SentTarget:
    """A local file that is sent to a remote place when it is finished.

    Parameters
    ----------
    local : LocalTarget
        The file.
    url : str
        Where it is sent.
    options : StorageOptions
        How the storage is reached.
    overwrite : bool
        Whether an existing file may be replaced.
    """

    def __init__(
        self, local: LocalTarget, url: str, options: StorageOptions, *, overwrite: bool
    ) -> None:
        self.sink, self.abort = local.sink, local.abort
        self._local, self._url, self._options = local, url, options
        self._overwrite = overwrite

    def finish(self, head: bytes = b"", receipts: Iterable[Receipt] = ()) -> None:
        """Write the first bytes, and send the file."""
        from xarray_mrc.storage.remote.filesystem import protocols_of
        from xarray_mrc.storage.remote.upload import refuse, writable_file_system

        self._local.finish(head, receipts)
        check_free(self._url, self._options, overwrite=self._overwrite)
        fs = writable_file_system(self._url, self._options)
        path = fs._strip_protocol(self._url)
        # Elsewhere a file that is half sent stands under its name already.
        draft = path if OBJECT_STORES & protocols_of(fs) else f"{path}.{uuid4().hex}.part"
        try:
            fs.put_file(self.sink.path, draft)
            if draft != path:
                fs.mv(draft, path)
        except Exception as error:
            if draft != path:
                with suppress(Exception):
                    fs.rm_file(draft)
            refuse(public_url(self._url), error)


@contextmanager
def open_target(
    path: str,
    *,
    nbytes: int = 0,
    overwrite: bool = False,
    has_pieces: bool = False,
    in_any_order: bool = False,
    options: StorageOptions = NO_OPTIONS,
) -> Iterator[Target]:
    """Begin a file that appears under its name when it is finished.

    Parameters
    ----------
    path : str
        A local path, or a URL.
    nbytes : int
        Size of the file; 0 if it is not known.
    overwrite : bool
        Whether an existing file may be replaced.
    has_pieces : bool
        Whether it is put together from files of their own (`compressed.members`).
    in_any_order : bool
        Whether its blocks have gaps, or are small. In either case a remote file is written to a
        local one first, in the folder for temporary files.
    options : StorageOptions
        How the storage of a URL is reached.

    Yields
    ------
    Target
        It is given up at the end of the context unless it was finished.

    Raises
    ------
    FileExistsError
        The file exists and may not be replaced.
    OSError
        The file cannot be written.
    """
    if not is_remote(path):
        with new_file(path, nbytes=nbytes, overwrite=overwrite, has_pieces=has_pieces) as local:
            yield local
        return
    check_free(path, options, overwrite=overwrite)
    if path.startswith(("s3://", "s3a://")) and not (has_pieces or in_any_order):
        from xarray_mrc.storage.remote.upload import new_upload

        with new_upload(path, options, nbytes=nbytes, overwrite=overwrite) as upload:
            yield upload
        return
    with tempfile.TemporaryDirectory(prefix="xarray_mrc-") as folder:
        name = os.path.join(folder, os.path.basename(path_of_url(path)) or "new")
        with new_file(name, nbytes=nbytes, has_pieces=has_pieces) as local:
            yield SentTarget(local, path, options, overwrite=overwrite)


def is_there(path: str, options: StorageOptions = NO_OPTIONS) -> bool:
    """Return True if a file, local or remote, exists."""
    if not is_remote(path):
        return os.path.exists(path)
    from xarray_mrc.storage.remote.upload import refuse, writable_file_system

    fs: Any = writable_file_system(path, options)
    try:
        fs.invalidate_cache()
        return bool(fs.exists(fs._strip_protocol(path)))
    except Exception as error:
        refuse(public_url(path), error)


def check_free(path: str, options: StorageOptions = NO_OPTIONS, *, overwrite: bool) -> None:
    """Raise FileExistsError if a file is there and may not be replaced."""
    if not overwrite and is_there(path, options):
        raise already_exists(public_url(path) if is_remote(path) else path)
