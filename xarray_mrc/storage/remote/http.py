"""Files behind http:// and https://, read by conditional requests for ranges."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from xarray_mrc.codec.containers import named_container
from xarray_mrc.errors import MrcError
from xarray_mrc.storage.remote.loop import limit
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import HEAD_NBYTES, Opened, Version, changed
from xarray_mrc.storage.remote.retry import RetryableError, with_retries
from xarray_mrc.storage.remote.url_adapter import RangeAdapter
from xarray_mrc.storage.remote.urls import hash_of, path_of_url

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from xarray_mrc.storage.remote.http_client import Target

__all__ = ["HTTP_OPTIONS", "HttpAdapter"]

# Options of fsspec's file system for HTTP that mean the same here.
HTTP_OPTIONS = ("headers", "cookies", "auth", "ssl", "client_kwargs", "max_requests", "timeout")
NESTED_OPTIONS = ("headers", "cookies", "auth", "trust_env")
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
# A server may name the format of a stored file as the encoding of the transfer.
ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "bzip2": "bzip2", "zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class HttpAdapter(RangeAdapter):
    """A file behind a URL of HTTP.

    Attributes
    ----------
    url : str
        The URL, which may hold secrets.
    options : StorageOptions
        ``headers``, ``cookies``, ``auth=(user, password)``, ``ssl`` (the file of a certificate
        authority, or an SSLContext), ``max_requests``, ``timeout``.
    """

    @property
    def copy_key(self) -> str:
        """Hash of the URL."""
        return hash_of(self.url)

    async def open(self) -> Opened:
        """Request the first bytes, from which size and version come along."""

        async def attempt(is_fresh: bool) -> Opened:
            from xarray_mrc.storage.remote.http_client import get

            headers = {"Range": f"bytes=0-{HEAD_NBYTES - 1}"}
            async with get(self._target(), headers | FIXED_HEADERS, is_fresh=is_fresh) as response:
                self._check_encoding(response)
                return await self._opened(response)

        async with self._limit():
            return await with_retries(self.uri, attempt)

    async def stream(self, take: Callable[[bytes], None], version: Version) -> None:
        """Request the whole file without ranges, and hand over its bytes in order.

        This is one attempt: what was handed over cannot be taken back.
        """

        async def attempt(is_fresh: bool) -> None:
            from xarray_mrc.storage.remote.http_client import get

            async with get(self._target(), FIXED_HEADERS, is_fresh=is_fresh) as response:
                self._check_encoding(response)
                version.check(self.uri, version_of(response, version.size))
                async for chunk in response.content.iter_any():
                    take(chunk)

        async with self._limit():
            try:
                await attempt(True)
            except RetryableError as error:
                raise OSError(f"{self.uri}: {error}: try again") from None

    async def _read_one(self, request: Request, version: Version) -> None:
        """Read a range; after an interruption only the rest of it is asked for."""
        position, end = request.offset, request.offset + request.nbytes

        async def attempt(is_fresh: bool) -> None:
            from xarray_mrc.storage.remote.http_client import get

            nonlocal position
            headers = {"Range": f"bytes={position}-{end - 1}"}
            if version.strong_etag:
                headers["If-Match"] = version.strong_etag
            async with get(self._target(), headers | FIXED_HEADERS, is_fresh=is_fresh) as response:
                self._check_part(response, position, end, version)
                async for chunk in response.content.iter_any():
                    if position + len(chunk) > end:
                        raise MrcError(f"{self.uri}: the server sends more bytes than it announced")
                    request.take(position, chunk)
                    position += len(chunk)
            if position < end:
                raise RetryableError("the connection was closed before all bytes had come")

        await with_retries(self.uri, attempt)

    async def _opened(self, response: ClientResponse) -> Opened:
        """Read size, version and first bytes from the first response."""
        stated = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 416 and stated and stated[3] == "0":
            return Opened(Version(0), b"")
        if response.status not in (200, 206):
            raise OSError(
                f"{self.uri}: the server answers HTTP {response.status} to a first request"
            )
        size, has_ranges = response.content_length, response.status == 206
        if has_ranges:
            if stated is None or stated[1] != "0" or stated[3] == "*":
                raise MrcError(
                    f"{self.uri}: the first bytes were wanted, but the server sent "
                    f"{response.headers.get('Content-Range')!r}, expected 'bytes 0-.../SIZE': pass "
                    f"local_copy=FOLDER to download the file once"
                )
            size = int(stated[3])
        most = HEAD_NBYTES if size is None else min(HEAD_NBYTES, size)
        head = bytearray()
        async for chunk in response.content.iter_any():
            head += chunk
            if len(head) >= most and most:
                break
        else:
            size = len(head) if size is None else size
        if size is None:
            size = UNKNOWN_SIZE
        elif len(head) < min(most, size):
            raise RetryableError("the connection was closed before all bytes had come")
        if 0 <= size <= HEAD_NBYTES:  # a server may send a whole file that is in the range
            has_ranges |= response.headers.get("Accept-Ranges", "").lower() == "bytes"
        return Opened(version_of(response, size), bytes(head[:HEAD_NBYTES]), has_ranges)

    def _check_part(self, response: ClientResponse, start: int, end: int, version: Version) -> None:
        """Raise an error unless a response holds the wanted bytes of the opened version."""
        stated = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 412:
            raise changed(self.uri, "the server does not have the version with that ETag any more")
        total = version.size
        if stated and stated[3] != "*":
            total = int(stated[3])
        elif response.status == 200 and response.content_length is not None:
            total = response.content_length
        version.check(self.uri, version_of(response, total))
        if response.status != 206:
            raise MrcError(
                f"{self.uri}: bytes {start} to {end - 1} were wanted, but the server answers HTTP "
                f"{response.status}, expected 206: pass local_copy=FOLDER to download it once"
            )
        if stated is None or (stated[1], stated[2]) != (str(start), str(end - 1)):
            raise MrcError(
                f"{self.uri}: bytes {start} to {end - 1} were wanted, but the server sent "
                f"{response.headers.get('Content-Range')!r}: pass local_copy=FOLDER to download "
                f"the file once"
            )
        self._check_encoding(response)

    def _check_encoding(self, response: ClientResponse) -> None:
        """Raise an error if the server compresses the transfer: its ranges are other bytes then."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return
        if ENCODINGS.get(encoding, encoding) == named_container(path_of_url(self.url)):
            return
        raise MrcError(
            f"{self.uri}: the server sends the file with Content-Encoding {encoding!r}, although "
            f"none was asked for; expected the file as it is: download it by other means"
        )

    def _limit(self) -> Any:
        """Return the semaphore of the server."""
        return limit(
            urlsplit(self.url).netloc.rpartition("@")[2].lower(), self.options.max_requests
        )

    def _target(self) -> Target:
        """Return the URL and what goes only to its own server."""
        from xarray_mrc.storage.remote.http_client import Target

        found = self.options.others()
        nested = found.pop("client_kwargs", None) or {}
        for name in (*(set(found) - set(HTTP_OPTIONS)), *(set(nested) - set(NESTED_OPTIONS))):
            raise TypeError(
                f"{self.uri}: storage_options has the name {name!r}, expected "
                f"{', '.join(HTTP_OPTIONS)}"
            )
        headers = {**(nested.get("headers") or {}), **(found.get("headers") or {})}
        # In one spelling, so that a header is not sent twice.
        headers = {name.title(): value for name, value in headers.items()}
        cookies = {**(nested.get("cookies") or {}), **(found.get("cookies") or {})}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        parts = urlsplit(self.url)
        auth = found.get("auth") or nested.get("auth")
        if auth is None and parts.username is not None:
            auth = unquote(parts.username), unquote(parts.password or "")
        if auth is not None:
            user, password = (auth.login, auth.password) if hasattr(auth, "login") else auth
            word = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {word}"
        netloc = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=netloc, fragment=""))
        return Target(url, headers, verification(found.get("ssl")), self.options.timeout)


UNKNOWN_SIZE = -1
FIXED_HEADERS = {"Accept-Encoding": "identity"}


def verification(ssl: Any) -> Any:
    """Return how certificates are verified, which they always are."""
    import ssl as tls

    if ssl is None or ssl is True or isinstance(ssl, tls.SSLContext):
        return True if ssl is None else ssl
    if isinstance(ssl, str):
        return trusting(ssl)
    raise TypeError(
        f"storage_options: ssl is a {type(ssl).__name__}, expected the file of a certificate "
        f"authority or an ssl.SSLContext; certificates are always verified"
    )


@cache
def trusting(file: str) -> Any:
    """Return a context that trusts the authorities in a file; connections are kept for each."""
    import ssl as tls

    return tls.create_default_context(cafile=file)


def version_of(response: ClientResponse, size: int) -> Version:
    """Return the version that the headers of a response state."""
    headers = response.headers
    return Version(size, headers.get("ETag", ""), headers.get("Last-Modified", ""))
