"""Groups that several programs write, one after the other or at the same time.

A draft is where the next program finds it: in a directory beside the group, or in a folder in the
group at a URL. It holds a plan, the chunks, and a note for each part that is done. Its name ends in
a hash of the plan, so that programs with another source or other options never share a draft.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from xarray_mrc.conversion.group_target import (
    ROOT_KEYS,
    GroupSink,
    LocalGroupSink,
    check_folder,
)
from xarray_mrc.conversion.url_group import (
    DRAFT,
    UrlGroupSink,
    check_replaceable,
    remove_draft,
    remove_old,
)
from xarray_mrc.storage.folder import LocalFolder, publish, remove_stale, sync
from xarray_mrc.storage.local_sink import already_exists, prefix_of
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.remote_folder import RemoteFolder
from xarray_mrc.storage.remote.urls import is_remote

__all__ = ["PLAN", "GroupDraft", "draft_of"]

PLAN = "plan.json"
DRAFT_SUFFIX = ".xarray_mrc.draft"


class Notes(Protocol):
    """Small files of a draft, by key."""

    def put(self, key: str, data: bytes) -> None:
        """Write a file atomically."""

    def get(self, key: str) -> bytes | None:
        """Return the content of a file; None if there is none."""

    def list_keys(self) -> list[str]:
        """Return the keys of all files."""


class GroupDraft(Protocol):
    """A group that is not complete, and that any program finds that has the same plan."""

    @property
    def notes(self) -> Notes:
        """The plan, and a note for each part that is done."""

    @property
    def sink(self) -> GroupSink:
        """Takes the chunks."""

    def target(self) -> Notes:
        """Return the files that stand under the name of the group."""

    def written_at(self) -> float | None:
        """Return the time at which the group was completed; None if it is not known."""

    def is_published(self) -> bool:
        """Return True if the group has its name already, and only this draft is left over."""

    def others(self) -> list[bytes]:
        """Return the plans of other drafts of this group."""

    def begin(self, *, overwrite: bool) -> None:
        """Make the draft ready for the plan, which is written then.

        With `overwrite`, other drafts are removed, and at a URL an existing group.

        Raises
        ------
        FileExistsError
            A group is there, and may not be replaced.
        """

    def refresh(self) -> None:
        """Have a network file system look again for what other computers wrote."""

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Return those of some keys that have no file."""

    def seal(self, keys: Iterable[str]) -> None:
        """Make chunks survive a power cut."""

    def publish(
        self, documents: Mapping[str, bytes], keys: Iterable[str], *, overwrite: bool
    ) -> None:
        """Write the other files, make the group appear, and remove the draft.

        Files that are neither documents nor under one of the keys are removed: a part that was
        killed may have left them.
        """

    def remove(self) -> None:
        """Remove the draft."""


@dataclass(frozen=True, slots=True)
class LocalDraft:
    """A draft in a directory beside the group.

    Attributes
    ----------
    path : str
        The name of the group, without symbolic links.
    name : str
        The hash of the plan.
    """

    path: str
    name: str

    @property
    def folder(self) -> str:
        """The directory of the draft."""
        return f"{prefix_of(self.path)}{self.name}{DRAFT_SUFFIX}"

    @property
    def notes(self) -> LocalFolder:
        """The directory of the draft."""
        return LocalFolder(self.folder)

    @property
    def chunks(self) -> LocalFolder:
        """The directory of the chunks."""
        return LocalFolder(os.path.join(self.folder, "group"))

    @property
    def sink(self) -> LocalGroupSink:
        """Takes the chunks."""
        return LocalGroupSink(self.path, self.chunks.path)

    def target(self) -> LocalFolder:
        """Return the directory of the group."""
        return LocalFolder(self.path)

    def written_at(self) -> float | None:
        """Return the time at which the group got its last file."""
        times = [os.path.join(self.path, key) for key in ROOT_KEYS]
        return max((os.path.getmtime(path) for path in times if os.path.exists(path)), default=None)

    def is_published(self) -> bool:
        """Return True if the directory of the chunks was renamed."""
        return os.path.isdir(self.folder) and not os.path.isdir(self.chunks.path)

    def others(self) -> list[bytes]:
        """Return the plans of other drafts beside this one."""
        found = (LocalFolder(folder).get(PLAN) for folder in self._other_folders())
        return [plan for plan in found if plan is not None]

    def _other_folders(self) -> list[str]:
        """Return the directories of other drafts."""
        parent, start = os.path.split(prefix_of(self.path))
        pattern = re.compile(re.escape(start) + "[0-9a-f]{16}" + re.escape(DRAFT_SUFFIX))
        found = [
            os.path.join(parent, name) for name in filter(pattern.fullmatch, os.listdir(parent))
        ]
        return [folder for folder in found if folder != self.folder]

    def begin(self, *, overwrite: bool) -> None:
        """Make the directories."""
        remove_stale(self.path)
        check_folder(self.path, overwrite=overwrite)
        if not overwrite and os.path.lexists(self.path):
            raise already_exists(self.path)
        for folder in self._other_folders():
            shutil.rmtree(folder)
        os.makedirs(self.chunks.path, exist_ok=True)

    def refresh(self) -> None:
        """Look again for the draft, for notes, and for the group."""
        LocalFolder(os.path.dirname(self.path)).refresh()
        for key in ("", "done"):
            self.notes.refresh(key)

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Return those of some keys that have no file."""
        missing = set(keys).difference(self.chunks.list_keys())
        for folder in {key.rpartition("/")[0] for key in missing}:
            self.chunks.refresh(folder)
        return missing.difference(self.chunks.list_keys()) if missing else missing

    def seal(self, keys: Iterable[str]) -> None:
        """Sync the files of chunks."""
        self.chunks.sync(keys)

    def publish(
        self, documents: Mapping[str, bytes], keys: Iterable[str], *, overwrite: bool
    ) -> None:
        """Rename the directory of the chunks."""
        remove_stale(self.path)
        check_folder(self.path, overwrite=overwrite)
        with self.sink.writing() as files:
            files.put_documents(documents)
        self.chunks.remove(set(self.chunks.list_keys()) - {*keys, *documents})
        sync(self.chunks.path)
        publish(self.chunks.path, self.path, overwrite=overwrite)
        self.remove()

    def remove(self) -> None:
        """Remove the directory of the draft."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class UrlDraft:
    """A draft in the folder of the group at a URL.

    Attributes
    ----------
    folder : RemoteFolder
        The folder of the group.
    name : str
        The hash of the plan.
    """

    folder: RemoteFolder
    name: str

    @property
    def notes(self) -> RemoteFolder:
        """The folder of the draft."""
        return self.folder.below(f"{DRAFT}/{self.name}")

    @property
    def sink(self) -> UrlGroupSink:
        """Takes the chunks. The plan marks that the group is being written."""
        return UrlGroupSink(self.folder, f"{DRAFT}/{self.name}/{PLAN}")

    def target(self) -> RemoteFolder:
        """Return the folder of the group."""
        return self.folder

    def written_at(self) -> float | None:
        """Return None: clocks of storages and of computers differ."""
        return None

    def is_published(self) -> bool:
        """Return False: the draft is removed after the last file, and both can be repeated."""
        return False

    def others(self) -> list[bytes]:
        """Return the plans of other drafts in the group."""
        drafts = self.folder.below(DRAFT)
        keys = [key for key in drafts.list_keys() if key.endswith(f"/{PLAN}")]
        found = (drafts.get(key) for key in keys if key != f"{self.name}/{PLAN}")
        return [plan for plan in found if plan is not None]

    def begin(self, *, overwrite: bool) -> None:
        """Remove what is there."""
        check_replaceable(self.folder, overwrite=overwrite)
        remove_old(self.folder, set(), overwrite=overwrite)

    def refresh(self) -> None:
        """Do nothing: storages keep no lists."""

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Return those of some keys that have no file."""
        return set(keys).difference(self.folder.list_keys())

    def seal(self, keys: Iterable[str]) -> None:
        """Do nothing: a storage answers when a file is safe."""

    def publish(
        self, documents: Mapping[str, bytes], keys: Iterable[str], *, overwrite: bool
    ) -> None:
        """Remove files that do not belong here; write the other ones, those of the root last."""
        kept = {*keys, *documents}
        with self.sink.writing() as files:
            found = self.folder.list_keys()
            self.folder.remove(
                key for key in found if key not in kept and not key.startswith(f"{DRAFT}/")
            )
            files.put_documents(documents)
        self.remove()

    def remove(self) -> None:
        """Remove the folder of drafts."""
        remove_draft(self.folder)


def draft_of(path: str, name: str, options: StorageOptions) -> GroupDraft:
    """Return the draft of a group.

    Parameters
    ----------
    path : str
        Local path or URL of the group.
    name : str
        The hash of the plan.
    options : StorageOptions
        How the storage of a URL is reached.
    """
    if is_remote(path):
        return UrlDraft(RemoteFolder(path, options), name)
    return LocalDraft(os.path.realpath(path), name)
