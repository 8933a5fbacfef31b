"""Files of every other file system of fsspec, read by its `cat_ranges`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.protocol import truncated
from xarray_mrc.storage.remote.loop import limit
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import HEAD_NBYTES, Opened, Version
from xarray_mrc.storage.remote.url_adapter import UrlAdapter
from xarray_mrc.storage.remote.urls import hash_of, public_url

__all__ = ["FilesystemAdapter", "file_system", "protocols_of"]

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
class FilesystemAdapter(UrlAdapter):
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
    pid: int = field(default_factory=os.getpid, repr=False, compare=False)

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

    def __reduce__(self) -> tuple[type[FilesystemAdapter], tuple[str, StorageOptions, Any, str]]:
        return FilesystemAdapter, (self.url, self.options, self.fs, self.path)


def file_system(url: str, options: StorageOptions) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the path in it.

    Parameters
    ----------
    url : str
        The URL, also of a chain of file systems.
    options : StorageOptions
        Those of the file system.

    Raises
    ------
    ImportError, OSError, TypeError, MrcError
        There is none, or it cannot be reached. The texts hold no secrets.
    """
    from fsspec.core import url_to_fs

    uri, scheme = public_url(url), url.partition(":")[0]
    try:
        fs, name = url_to_fs(url, **options.others())
    except ImportError as error:
        raise ImportError(f"{uri}: a package for {scheme}:// is missing ({error})") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{uri}: there is no such file; check the URL") from None
    except OSError as error:
        raise OSError(f"{uri}: the server cannot be reached ({type(error).__name__})") from None
    except TypeError:
        names = ", ".join(options.others()) or "none"
        raise TypeError(
            f"{uri}: the file system of {scheme}:// does not take these storage_options ({names})"
        ) from None
    except Exception as error:
        reason = (
            "fsspec does not know it" if isinstance(error, ValueError) else type(error).__name__
        )
        raise MrcError(
            f"{uri}: {scheme}:// is not supported ({reason}), expected a local path, https://, "
            f"s3:// or another protocol of fsspec"
        ) from None
    return fs, str(name)


def protocols_of(fs: Any) -> frozenset[str]:
    """Return the names under which a file system of fsspec is known."""
    return frozenset((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def version_of(info: dict[str, Any]) -> Version:
    """Return the version that the facts of a file state."""
    size = info.get("size")
    etag = next((str(info[name]) for name in ETAGS if info.get(name) is not None), "")
    modified = next((str(info[name]) for name in TIMES if info.get(name) is not None), "")
    return Version(-1 if size is None else int(size), etag, modified)
