"""Folders in storages of fsspec: the files below a URL, written one by one and removed together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from xarray_mrc.storage.remote.filesystem import file_system, protocols_of
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.upload import refuse, writable_file_system
from xarray_mrc.storage.remote.urls import public_url
from xarray_mrc.storage.sink import view_bytes
from xarray_mrc.storage.target import OBJECT_STORES

__all__ = ["RemoteFolder"]

S3 = frozenset({"s3", "s3a"})
# S3 takes as much in one request, so no upload of parts is left over when a process dies.
MAX_PUT_NBYTES = 5 * 2**30
MAX_BATCH = 1000  # names that S3 removes by one request


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder in a storage: a small picklable value with nothing open.

    All methods may be called by several threads and processes at the same time. Their errors hold
    no secrets.

    Attributes
    ----------
    url : str
        The URL. It may hold secrets, as the options do; neither is shown.
    options : StorageOptions
        How the storage is reached.
    """

    url: str = field(repr=False)
    options: StorageOptions = field(repr=False)

    @property
    def path(self) -> str:
        """URL without secrets."""
        return public_url(self.url).rstrip("/")

    def below(self, key: str) -> RemoteFolder:
        """Return the folder of a name in this one."""
        return RemoteFolder(f"{self.url.rstrip('/')}/{key}", self.options)

    def put(self, key: str, data: Any) -> None:
        """Write a file; a file that is there is replaced.

        Parameters
        ----------
        key : str
            Path of the file in the folder, with slashes.
        data : bytes or contiguous array
            The content.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        with self._opened(key) as (fs, root):
            path, protocols = f"{root}/{key}", protocols_of(fs)
            if not OBJECT_STORES & protocols:
                fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            whole = {"chunksize": MAX_PUT_NBYTES} if S3 & protocols else {}
            content = data if isinstance(data, bytes) else bytes(view_bytes(data))
            fs.pipe_file(path, content, **whole)

    def get(self, key: str) -> bytes | None:
        """Return the content of a file; None if there is none."""
        with self._opened(key, writes=False) as (fs, root), suppress(FileNotFoundError):
            return bytes(fs.cat_file(f"{root}/{key}"))
        return None

    def list_keys(self) -> list[str]:
        """Return the paths of all files in the folder, at any depth."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            fs.invalidate_cache()
            start = f"{root}/"
            found = (str(name) for name in fs.find(root))
            return sorted(name.removeprefix(start) for name in found if name.startswith(start))
        return []

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files; those that are not there are no error."""
        with self._opened() as (fs, root):
            paths = [f"{root}/{key}" for key in keys]
            if not S3 & protocols_of(fs):
                for path in paths:
                    with suppress(FileNotFoundError):
                        fs.rm_file(path)
                return
            for first in range(0, len(paths), MAX_BATCH):
                names = [fs.split_path(path) for path in paths[first : first + MAX_BATCH]]
                objects = {"Objects": [{"Key": name} for _, name, _ in names], "Quiet": True}
                answer = fs.call_s3("delete_objects", Bucket=names[0][0], Delete=objects)
                if answer.get("Errors"):
                    raise PermissionError

    def remove_directory(self) -> None:
        """Remove the folder and those in it, which hold no files, where a storage has such."""
        with self._opened() as (fs, root):
            if OBJECT_STORES & protocols_of(fs):
                return
            # `rm` would take brackets in the name for a pattern, and remove other folders.
            for folder, _, _ in fs.walk(root, topdown=False):
                with suppress(FileNotFoundError):
                    fs.rmdir(folder)

    @contextmanager
    def _opened(self, key: str = "", *, writes: bool = True) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the path of the folder in it."""
        if writes:
            fs = writable_file_system(self.url, self.options)
        else:
            fs, _ = file_system(self.url, self.options)
        root = str(fs._strip_protocol(self.url)).rstrip("/")
        try:
            yield fs, root
        except Exception as error:
            refuse(f"{self.path}/{key}" if key else self.path, error)
