"""Where a Zarr group is written: a directory, or a folder in a storage (`url_group`).

As for files (`storage.sink`), a small picklable sink travels to the tasks, and its target stays
with the process that began the group. Tasks write chunks. The target writes all metadata, those of
the root last, so that nobody can open a group that is not complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from xarray_mrc.storage.folder import check_visible, create_file, new_folder, write_file
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import is_remote, public_url
from xarray_mrc.storage.source import Openable, local_path
from xarray_mrc.storage.target import NO_OPTIONS

__all__ = [
    "GroupFiles",
    "GroupSink",
    "GroupTarget",
    "Put",
    "check_outside",
    "is_group",
    "is_group_document",
    "new_group",
]

# Takes the key of a file in the group, such as data/c/0/0/0, and its contiguous bytes.
Put = Callable[[str, Any], None]
# Takes a key. The context takes the pieces of the file, one after the other.
Create = Callable[[str], AbstractContextManager[Callable[[Any], object]]]

# The files that make a directory a group; the last of them that is written completes it.
ROOT_KEYS = (".zattrs", ".zmetadata", ".zgroup", "zarr.json")


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Writes files of a group, in the context of a task.

    A file appears completely or not at all. One that is there is replaced, so a task may run twice.

    Attributes
    ----------
    put : callable
        ``put(key, data)`` writes one file.
    create : callable
        ``create(key)`` returns a context in which one file is written piece by piece.
    """

    put: Put
    create: Create

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Write files by their keys, those last that make the group one."""
        ranks = {key: rank for rank, key in enumerate(ROOT_KEYS, 1)}
        for key in sorted(documents, key=lambda key: (ranks.get(key, 0), key)):
            self.put(key, documents[key])


class GroupSink(Protocol):
    """A group that is being written: small, picklable, with nothing open.

    Its methods may be called by several threads and processes at the same time.
    """

    @property
    def path(self) -> str:
        """Path or URL, without secrets, that the group will have."""

    def writing(self) -> AbstractContextManager[GroupFiles]:
        """Return a context in which a task writes files of the group.

        Yields
        ------
        GroupFiles

        Raises
        ------
        MrcError
            This computer does not see the group that is being written, or it was given up. Nothing
            that the context wrote is left then.
        OSError
            The file cannot be written.
        """


class GroupTarget(Protocol):
    """A new group, which appears complete under its name or not at all."""

    @property
    def sink(self) -> GroupSink:
        """Takes the chunks."""

    def finish(self, documents: Mapping[str, bytes]) -> None:
        """Write the files that are not chunks of the data, those of the root last.

        Parameters
        ----------
        documents : mapping of str to bytes
            Content by key: all metadata, and the chunks of coordinates.
        """


@dataclass(frozen=True, slots=True)
class LocalGroupSink:
    """A directory that is being written.

    Attributes
    ----------
    path : str
        The name that it will have.
    part : str
        Its temporary name, which is random: another computer that finds it has the same file
        system.
    """

    path: str
    part: str

    @contextmanager
    def writing(self) -> Iterator[GroupFiles]:
        """Check that this computer sees the directory, and yield the functions that write files.

        A task that comes too late finds no directory, and does not make it.
        """
        check_visible(self.part)
        yield GroupFiles(partial(write_file, self.part), partial(create_file, self.part))


@dataclass(frozen=True, slots=True)
class LocalGroupTarget:
    """A directory that gets its name when the context of `new_group` ends."""

    sink: LocalGroupSink

    def finish(self, documents: Mapping[str, bytes]) -> None:
        """Write all other files."""
        with self.sink.writing() as files:
            files.put_documents(documents)


@contextmanager
def new_group(
    path: str, *, overwrite: bool = False, options: StorageOptions = NO_OPTIONS
) -> Iterator[GroupTarget]:
    """Begin a group that appears under its name when it is finished.

    Parameters
    ----------
    path : str
        A local path or URL.
    overwrite : bool
        Whether an existing group may be replaced.
    options : StorageOptions
        How the storage of a URL is reached.

    Yields
    ------
    GroupTarget
        After an error in the context, nothing that was written is left.

    Raises
    ------
    FileExistsError
        Something exists and may not be replaced.
    OSError
        The group cannot be written.
    """
    if is_remote(path):
        from xarray_mrc.conversion.url_group import new_url_group
        from xarray_mrc.storage.remote.remote_folder import RemoteFolder

        with new_url_group(RemoteFolder(path, options), overwrite=overwrite) as target:
            yield target
        return
    check_folder(path, overwrite=overwrite)
    with new_folder(path, overwrite=overwrite) as part:
        yield LocalGroupTarget(LocalGroupSink(path, part))


def check_folder(path: str, *, overwrite: bool) -> None:
    """Raise FileExistsError for a directory that is no group, and so is not replaced."""
    if overwrite and os.path.isdir(path) and not is_group(path):
        raise FileExistsError(
            f"{path} is a directory, but not a Zarr group, and is not replaced; pass another path"
        )


def check_outside(src: Openable, path: str) -> None:
    """Raise ValueError if a source would be lost when the group at a path or URL is replaced.

    A directory keeps its name until the new one is complete, so a group may be read while it is
    replaced. At a URL it may not.
    """
    if not isinstance(src, str | os.PathLike) or is_remote(src) is not is_remote(path):
        return
    if isinstance(src, str) and is_remote(src):
        shown = public_url(src)
        whole, parent = shown.rstrip("/") + "/", public_url(path).rstrip("/") + "/"
    else:
        shown = local_path(src)
        whole, parent = os.path.realpath(shown), os.path.join(os.path.realpath(path), "")
    if whole.startswith(parent):
        raise ValueError(
            f"{shown} lies in {public_url(path)}, and would be lost with it; pass "
            f"another path for the group"
        )


def is_group(path: str, options: StorageOptions = NO_OPTIONS) -> bool:
    """Return True if there is a Zarr group at a local path or URL."""
    if is_remote(path):
        from xarray_mrc.conversion.url_group import holds_group
        from xarray_mrc.storage.remote.remote_folder import RemoteFolder

        return holds_group(RemoteFolder(path, options))
    if os.path.isfile(os.path.join(path, ".zgroup")):
        return True
    try:
        with open(os.path.join(path, "zarr.json"), "rb") as file:
            return is_group_document(file.read())
    except OSError:
        return False


def is_group_document(document: bytes | None) -> bool:
    """Return True if a ``zarr.json`` is that of a group."""
    try:
        return bool(json.loads(document or b"")["node_type"] == "group")
    except (ValueError, LookupError, TypeError):
        return False
