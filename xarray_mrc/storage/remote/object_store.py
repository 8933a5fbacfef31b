"""Files in a store with the protocols of obspec, such as those of obstore."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xarray_mrc.storage.protocol import truncated
from xarray_mrc.storage.remote.loop import limit, side_by_side
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import HEAD_NBYTES, Opened, Version, changed
from xarray_mrc.storage.remote.urls import hash_of

__all__ = ["ObjectStoreAdapter"]

NOT_FOUND = ("FileNotFoundError", "NotFoundError")
REFUSED = ("PermissionDeniedError", "UnauthenticatedError")


@dataclass(frozen=True, slots=True)
class ObjectStoreAdapter:
    """A file in a store, which sends requests again by itself.

    Attributes
    ----------
    store : obspec.GetAsync
        The store, with its own options.
    path : str
        The path in it.
    options : StorageOptions
        Only ``max_requests`` is used.
    digest : str
        Hash of the store and the path.
    """

    store: Any = field(repr=False, compare=False)
    path: str
    options: StorageOptions
    digest: str

    @classmethod
    def of(cls, store: Any, path: str, options: StorageOptions) -> ObjectStoreAdapter:
        """Return the adapter; a store that cannot be pickled is known by its place in memory."""
        try:
            mark: object = pickle.dumps(store)
        except Exception:
            mark = id(store)
        return cls(store, path, options, hash_of(type(store).__name__, mark, path))

    @property
    def uri(self) -> str:
        """Type of the store and path."""
        return f"{type(self.store).__name__}://{self.path.lstrip('/')}"

    @property
    def address(self) -> None:
        """None: the store is needed to open the file again."""
        return

    @property
    def copy_key(self) -> str:
        """Hash of the store and the path."""
        return self.digest

    async def open(self) -> Opened:
        """Request the first bytes, from which size and version come along."""
        async with self._limit():
            head, version = await self._get(0, HEAD_NBYTES, "")
        return Opened(version, bytes(head))

    async def read(self, requests: Sequence[Request], version: Version) -> None:
        """Send requests side by side."""

        async def read_one(request: Request) -> None:
            end = request.offset + request.nbytes
            async with self._limit():
                data, found = await self._get(request.offset, end, version.strong_etag)
            version.check(self.uri, found)
            if len(data) != request.nbytes:
                raise truncated(self.uri, request.offset, request.nbytes, len(data))
            request.take(request.offset, data)

        await side_by_side(read_one, requests, min(len(requests), self.options.max_requests))

    async def _get(self, start: int, end: int, etag: str) -> tuple[memoryview, Version]:
        """Return bytes and the version that they belong to."""
        options: dict[str, Any] = {"range": (start, end)}
        if etag:
            options["if_match"] = etag
        failure: Exception
        try:
            result = await self.store.get_async(self.path, options=options)
            meta = result.meta
            data = memoryview(await result.buffer_async())
        except Exception as error:
            failure = self._failure_of(type(error).__name__)
        else:
            modified = meta["last_modified"].isoformat() if meta.get("last_modified") else ""
            return data, Version(meta["size"], meta.get("e_tag") or "", modified)
        raise failure

    def _failure_of(self, name: str) -> Exception:
        """Return the exception that stands for one of the store, without its text."""
        if name in NOT_FOUND:
            return FileNotFoundError(f"{self.uri}: the store has no such object")
        if name in REFUSED:
            return PermissionError(f"{self.uri}: access is refused; check the options of the store")
        if name == "PreconditionError":
            return changed(self.uri, "the store does not have the version with that ETag any more")
        return OSError(f"{self.uri}: the object cannot be read ({name})")

    def _limit(self) -> Any:
        """Return the semaphore of all stores of this kind."""
        return limit(type(self.store).__name__, self.options.max_requests)
