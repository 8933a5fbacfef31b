"""What adapters have in common: the version of a remote file, and a protocol of two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xarray_mrc.errors import MrcChangedError
from xarray_mrc.storage.remote.planner import Request

__all__ = ["HEAD_NBYTES", "Adapter", "Opened", "Version"]

# The first request: header, extended header of most files, and the start of a compressed one.
HEAD_NBYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Version:
    """Facts that tell one content of a remote file from another.

    Attributes
    ----------
    size : int
        Number of bytes.
    etag : str
        The ETag that the server sent, with its quotes and ``W/``; "" if it sends none.
    modified : str
        Time of the last change as the server writes it, or another mark; "" if it sends none.
    """

    size: int
    etag: str = ""
    modified: str = ""

    @property
    def strong_etag(self) -> str:
        """The ETag if the server can compare it for us, else ""."""
        return "" if self.etag.startswith("W/") else self.etag

    def check(self, uri: str, found: Version) -> None:
        """Raise MrcChangedError if a file has another version now."""
        if found.size != self.size:
            raise changed(uri, f"its size was {self.size} and is {found.size} now")
        if self.etag and found.etag:
            if found.etag != self.etag:
                raise changed(uri, f"its ETag was {self.etag} and is {found.etag} now")
        elif self.modified and found.modified and found.modified != self.modified:
            raise changed(uri, f"it was changed at {self.modified} and again at {found.modified}")


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to the first request.

    Attributes
    ----------
    version : Version
        The content that was found.
    head : bytes
        The first bytes, HEAD_NBYTES of them or all.
    has_ranges : bool
        Whether the server can send parts of the file.
    """

    version: Version
    head: bytes
    has_ranges: bool = True


class Adapter(Protocol):
    """One file on one kind of server: small, hashable, picklable, with nothing open.

    The methods run on the event loop of `loop`, several at a time.
    """

    @property
    def uri(self) -> str:
        """URL without secrets."""

    @property
    def address(self) -> str | None:
        """URL that alone is enough to open the file again, or None if secrets or options are."""

    @property
    def digest(self) -> str:
        """Hash of URL and options, because files may differ in these only; "" with an `address`."""

    @property
    def copy_key(self) -> str:
        """Hash of the file's place without credentials, for the name of a copy."""

    async def open(self) -> Opened:
        """Request the start of the file, and with it its size and version.

        Raises
        ------
        OSError
            The file does not exist, or cannot be reached.
        """

    async def read(self, requests: Sequence[Request], version: Version) -> None:
        """Send requests side by side, and fill their arrays.

        Raises
        ------
        MrcChangedError
            The file has another version now.
        OSError
            The file cannot be reached any more.
        """


def changed(uri: str, reason: str) -> MrcChangedError:
    """Return the error for a file that is another one than when it was opened."""
    return MrcChangedError(
        f"{uri}: the file was changed after it was opened ({reason}): open it again"
    )
