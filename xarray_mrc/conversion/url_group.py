"""Zarr groups in storages of fsspec, which mostly cannot rename.

The chunks are written to their place at once. Until the metadata of the root follow as the last
files, nobody can open the group. Beside the chunks there is a mark as long as the group is being
written: a task that no longer finds it has come too late, and removes what it has written.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import sleep
from typing import Any
from uuid import uuid4

from xarray_mrc.conversion.group_target import (
    ROOT_KEYS,
    GroupFiles,
    Put,
    is_group_document,
)
from xarray_mrc.errors import MrcError
from xarray_mrc.storage.local_sink import already_exists
from xarray_mrc.storage.remote.remote_folder import RemoteFolder

__all__ = ["UrlGroupSink", "UrlGroupTarget", "new_url_group"]

# Folder of the marks, in the group.
DRAFT = ".xarray_mrc-draft"
# Content of the mark of a group that may lack files.
LOST = b"lost"
# Seconds until the folder is listed again for files that late tasks have written.
WAITS_SECONDS = (0.0, 0.2, 1.0)


@dataclass(frozen=True, slots=True)
class UrlGroupSink:
    """A group that is being written to a storage.

    Attributes
    ----------
    folder : RemoteFolder
        Where it is.
    mark : str
        Key of the file that is there while the group is being written.
    """

    folder: RemoteFolder
    mark: str

    @property
    def path(self) -> str:
        """URL without secrets."""
        return self.folder.path

    @contextmanager
    def writing(self) -> Iterator[GroupFiles]:
        """Check before and after that the group is still being written."""
        self._check_mark([])
        written: list[str] = []

        def put(key: str, data: object) -> None:
            written.append(key)
            self.folder.put(key, data)

        try:
            yield GroupFiles(put, partial(collected, put))
        finally:
            self._check_mark(written)

    def _check_mark(self, written: Sequence[str]) -> None:
        """Raise MrcError if the group was given up, after files were removed that were written.

        A group that is complete has the same files: its last task ran twice. Parts need no care:
        'finish' looks for their files.
        """
        if self.folder.get(self.mark) not in (None, LOST):
            return
        if written:
            # Another conversion may have written the same files since: better that it fails, too.
            for mark in self.folder.below(DRAFT).list_keys():
                if "/" not in mark and f"{DRAFT}/{mark}" != self.mark:
                    self.folder.put(f"{DRAFT}/{mark}", LOST)
            if not holds_group(self.folder):
                self.folder.remove(written)
        raise MrcError(
            f"{self.path}: the group was given up or is complete already, so that this part comes "
            f"too late; or this computer sees another storage: pass a URL that all workers reach"
        )


@contextmanager
def collected(put: Put, key: str) -> Iterator[Callable[[Any], object]]:
    """Collect the pieces of a file in memory, and write it when the context ends without an error.

    Parts of an upload would be left over in the storage when a process dies.
    """
    whole = io.BytesIO()
    yield whole.write
    put(key, whole.getvalue())  # this is no copy, and no view that outlives an error


@dataclass(frozen=True, slots=True)
class UrlGroupTarget:
    """A group that anybody can open once its root is written."""

    sink: UrlGroupSink

    def finish(self, documents: Mapping[str, bytes]) -> None:
        """Write all other files, those of the root last, and remove the mark."""
        with self.sink.writing() as files:
            files.put_documents(documents)
        remove_draft(self.sink.folder)


@contextmanager
def new_url_group(folder: RemoteFolder, *, overwrite: bool = False) -> Iterator[UrlGroupTarget]:
    """Begin a group at a URL.

    Parameters
    ----------
    folder : RemoteFolder
        Where it will be.
    overwrite : bool
        Whether an existing group, or the remains of one, may be replaced. It is removed before the
        first chunk is written.

    Yields
    ------
    UrlGroupTarget
        After an error in the context, all that was written is removed.

    Raises
    ------
    FileExistsError
        Something exists and may not be replaced.
    OSError
        The group cannot be written.
    """
    check_replaceable(folder, overwrite=overwrite)
    mark = f"{DRAFT}/{uuid4().hex}"
    folder.put(mark, b"")
    try:
        remove_old(folder, {mark}, overwrite=overwrite)
    except BaseException:
        folder.remove([mark])
        raise
    try:
        yield UrlGroupTarget(UrlGroupSink(folder, mark))
    except BaseException as error:
        try:
            give_up(folder, mark)
        except OSError:
            error.add_note(f"{folder.path}: what was written of the group could not be removed")
        raise


def check_replaceable(folder: RemoteFolder, *, overwrite: bool) -> None:
    """Raise FileExistsError if files are there that may not be replaced."""
    found = folder.list_keys()
    if not found:
        return
    if not overwrite:
        if any(key.startswith(f"{DRAFT}/") for key in found):
            raise FileExistsError(
                f"{folder.path}: a group that is not complete is there, of a conversion that still "
                f"runs or was killed: pass overwrite=True to replace it"
            )
        raise already_exists(folder.path)
    if not any(key.startswith(f"{DRAFT}/") for key in found) and not holds_group(folder):
        raise FileExistsError(
            f"{folder.path}: files are there, but not a Zarr group, and are not replaced; pass "
            f"another URL"
        )


def remove_old(folder: RemoteFolder, kept: set[str], *, overwrite: bool) -> None:
    """Remove all files but some: first those that make a group, so that no reader sees half of it.

    Without `overwrite`, FileExistsError if there are any: another process has begun meanwhile.
    """
    found = [key for key in folder.list_keys() if key not in kept]
    if found and not overwrite:
        raise already_exists(folder.path)
    folder.remove(key for key in found if key in ROOT_KEYS)
    folder.remove(key for key in found if key not in ROOT_KEYS)


def give_up(folder: RemoteFolder, mark: str) -> None:
    """Remove all files, the mark first, so that tasks that still run remove theirs.

    Files of another process, which has its own mark, stay.
    """
    folder.remove([mark])
    for seconds in WAITS_SECONDS:
        sleep(seconds)
        found = folder.list_keys()
        if any(key.startswith(f"{DRAFT}/") for key in found):
            return
        if found:
            remove_old(folder, set(), overwrite=True)
    folder.remove_directory()


def remove_draft(folder: RemoteFolder) -> None:
    """Remove the marks of a group that is complete."""
    draft = folder.below(DRAFT)
    draft.remove(draft.list_keys())
    draft.remove_directory()


def holds_group(folder: RemoteFolder) -> bool:
    """Return True if there is a Zarr group at a URL."""
    return is_group_document(folder.get("zarr.json")) or folder.get(".zgroup") is not None
