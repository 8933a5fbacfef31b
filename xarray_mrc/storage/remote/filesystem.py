"""Files of every other file system of fsspec, read by its `cat_ranges`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from xarray_mrc.storage.protocol import truncated
from xarray_mrc.storage.remote.loop import limit
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import HEAD_NBYTES, Opened, Version
from xarray_mrc.storage.remote.urls import has_secrets, hash_of, public_url

__all__ = ["FilesystemAdapter"]

T = TypeVar("T")

# Names under which file systems state a hash or number of the content, and the time of its change.
ETAGS = ("ETag", "etag", "md5", "md5Hash", "checksum", "generation", "sha", "commit_hash", "ino")
TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "modified",
    "updated",
    "mtim",
    "created",
    "date_time",
)


@dataclass(frozen=True, slots=True)
class FilesystemAdapter:
    """A file of a file system of fsspec.

    Attributes
    ----------
    fs : fsspec.AbstractFileSystem
        The file system, which pickles as its options.
    path : str
        The path in it.
    url : str
        Protocol and path, for messages.
    options : StorageOptions
        Those of the file system.
    """

    fs: Any = field(repr=False)
    path: str = field(repr=False)
    url: str = field(repr=False)
    options: StorageOptions
    pid: int = field(default_factory=os.getpid, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """URL without secrets."""
        return public_url(self.url)

    @property
    def address(self) -> str | None:
        """URL that alone is enough to open the file, or None."""
        return None if self.options.others() or has_secrets(self.url) else self.uri

    @property
    def digest(self) -> str:
        """Hash of URL and options; "" if `address` is enough."""
        return "" if self.address else hash_of(self.url, sorted(self.options.others().items()))

    @property
    def copy_key(self) -> str:
        """Hash of URL and options, which may name the server."""
        return hash_of(self.url, sorted(self.options.others().items()))

    async def open(self) -> Opened:
        """Ask for the facts of the file, and for its first bytes."""

        def find() -> Opened:
            fs = self._filesystem()
            info = fs.info(self.path)
            if info.get("type") == "directory":
                raise IsADirectoryError
            version = version_of(info)
            head = fs.cat_file(self.path, 0, HEAD_NBYTES) if version.size else b""
            return Opened(version, bytes(head))

        async with self._limit():
            return await self._call(find)

    async def read(self, requests: Sequence[Request], version: Version) -> None:
        """Read ranges some at a time, and check afterwards that the file is still the same."""
        most = self.options.max_requests

        def read_some(some: Sequence[Request]) -> list[bytes]:
            starts = [request.offset for request in some]
            ends = [request.offset + request.nbytes for request in some]
            found: list[bytes] = self._filesystem().cat_ranges(
                [self.path] * len(some), starts, ends, on_error="raise", batch_size=most
            )
            return found

        def check() -> None:
            fs = self._filesystem()
            fs.invalidate_cache(fs._parent(self.path))
            version.check(self.uri, version_of(fs.info(self.path)))

        for first in range(0, len(requests), most):
            some = requests[first : first + most]
            async with self._limit():
                found = await self._call(partial(read_some, some))
            await self._call(check)
            for request, data in zip(some, found, strict=True):
                if len(data) != request.nbytes:
                    raise truncated(self.uri, request.offset, request.nbytes, len(data))
                request.take(request.offset, data)

    async def _call(self, function: Callable[[], T]) -> T:
        """Call a function on a thread; its errors come without texts that may hold secrets."""
        failure: Exception
        try:
            return await asyncio.to_thread(function)
        except FileNotFoundError:
            failure = FileNotFoundError(f"{self.uri}: there is no such file; check the URL")
        except IsADirectoryError:
            failure = IsADirectoryError(f"{self.uri}: this is a directory, expected a file")
        except PermissionError:
            failure = PermissionError(
                f"{self.uri}: access is refused: pass credentials in storage_options="
            )
        except ValueError as error:
            if type(error).__module__.startswith("xarray_mrc"):
                raise
            failure = OSError(f"{self.uri}: the file cannot be read ({type(error).__name__})")
        except Exception as error:
            failure = OSError(f"{self.uri}: the file cannot be read ({type(error).__name__})")
        raise failure

    def _filesystem(self) -> Any:
        """Return the file system; one of its own in a forked process."""
        if self.pid == os.getpid():
            return self.fs
        return type(self.fs)(*self.fs.storage_args, **self.fs.storage_options)

    def _limit(self) -> Any:
        """Return a lock of the server: `cat_ranges` sends several requests by itself.

        File systems that are not asynchronous are not known to allow calls at the same time.
        """
        scheme, _, rest = self.uri.partition("://")
        return limit(f"{scheme}://{rest.partition('/')[0]}", 1)

    def __reduce__(self) -> tuple[type[FilesystemAdapter], tuple[Any, str, str, StorageOptions]]:
        return FilesystemAdapter, (self.fs, self.path, self.url, self.options)


def version_of(info: dict[str, Any]) -> Version:
    """Return the version that the facts of a file state."""
    size = info.get("size")
    etag = next((str(info[name]) for name in ETAGS if info.get(name) is not None), "")
    modified = next((str(info[name]) for name in TIMES if info.get(name) is not None), "")
    return Version(-1 if size is None else int(size), etag, modified)
