"""`RemoteSource`: a file behind a URL, read by planned requests."""

from __future__ import annotations

from dataclasses import dataclass

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.protocol import Head, Parts, truncated
from xarray_mrc.storage.remote.loop import run, run_async
from xarray_mrc.storage.remote.planner import Request, plan_requests
from xarray_mrc.storage.remote.protocol import Adapter, Version

__all__ = ["RemoteSource"]

# A reader who goes through a file in order waits once for each. At 50 ms and 50 MB/s for each of
# two connections this makes 85 MB/s.
READ_AHEAD_NBYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A file behind a URL.

    Attributes
    ----------
    adapter : Adapter
        How requests are sent. A pickle of the source holds its ``storage_options``, which workers
        need; its repr does not show them.
    version : Version
        The content when it was opened. Reading another one is an error.
    has_ranges : bool
        Whether the server can send parts of the file.
    """

    adapter: Adapter
    version: Version
    has_ranges: bool = True

    @property
    def uri(self) -> str:
        """URL without secrets."""
        return self.adapter.uri

    @property
    def local_path(self) -> None:
        """None: the file is not on this computer's file systems."""
        return

    @property
    def size_if_known(self) -> int:
        """Number of bytes when it was opened."""
        return self.version.size

    @property
    def read_ahead_nbytes(self) -> int:
        """Bytes that make waiting for an answer worthwhile."""
        return READ_AHEAD_NBYTES

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """Size, ETag and time of the last change; a hash of a URL that may not be shown."""
        version = self.version
        return version.size, version.etag, version.modified, self.adapter.digest

    def read_ranges(self, parts: Parts) -> None:
        """Fill each array with the bytes from its offset on, with several requests at a time."""
        if requests := self._plan(parts):
            run(self.adapter.read(requests, self.version))

    async def aread_ranges(self, parts: Parts) -> None:
        """Fill each array without blocking the event loop."""
        if requests := self._plan(parts):
            await run_async(self.adapter.read(requests, self.version))

    def open_beside(self, suffix: str) -> Head | None:
        """Return the file whose URL has a suffix more, or None if none can be read."""
        from xarray_mrc.storage.remote.opening import open_beside

        return open_beside(self.adapter, suffix)

    def _plan(self, parts: Parts) -> list[Request]:
        """Return the requests, once it is known that the file has the bytes."""
        for offset, out in parts:
            if offset + out.size > self.version.size:
                found = max(0, self.version.size - offset)
                raise truncated(self.uri, offset, out.size, found)
        requests = plan_requests(parts)
        if requests and not self.has_ranges:
            raise MrcError(
                f"{self.uri}: the server cannot send parts of a file, so that every read would "
                f"download all of it: pass local_copy=FOLDER to download it once"
            )
        return requests
