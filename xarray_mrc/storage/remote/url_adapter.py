"""What adapters of URLs have in common: which of it may be shown, and requests side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xarray_mrc.storage.remote.loop import side_by_side
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import Version
from xarray_mrc.storage.remote.urls import has_secrets, hash_of, public_url

__all__ = ["RangeAdapter", "UrlAdapter"]


@dataclass(frozen=True, slots=True)
class UrlAdapter:
    """A file behind a URL.

    Attributes
    ----------
    url : str
        The URL, which may hold secrets.
    options : StorageOptions
        How its storage is reached.
    """

    url: str = field(repr=False)
    options: StorageOptions

    @property
    def uri(self) -> str:
        """URL without user, password, query and fragment."""
        return public_url(self.url)

    @property
    def address(self) -> str | None:
        """URL that alone is enough to open the file, or None."""
        return None if self.options.others() or has_secrets(self.url) else self.uri

    @property
    def digest(self) -> str:
        """Hash of URL and options; "" if `address` is enough."""
        return "" if self.address else hash_of(self.url, sorted(self.options.others().items()))


@dataclass(frozen=True, slots=True)
class RangeAdapter(UrlAdapter):
    """A file whose server takes a request for each range."""

    async def read(self, requests: Sequence[Request], version: Version) -> None:
        """Send requests side by side, each with a few attempts."""

        async def read_one(request: Request) -> None:
            async with self._limit():
                await self._read_one(request, version)

        await side_by_side(read_one, requests, min(len(requests), self.options.max_requests))

    async def _read_one(self, request: Request, version: Version) -> None:
        """Read a range; after an interruption only the rest of it is asked for."""
        raise NotImplementedError

    def _limit(self) -> Any:
        """Return the semaphore of the server."""
        raise NotImplementedError
