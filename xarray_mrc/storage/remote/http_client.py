"""One GET request of HTTP: connections, redirects, credentials, and errors in our words.

The response is handed over before its body is read. aiohttp's own exceptions never leave this
module, because their texts hold URLs, and URLs may hold secrets.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import ssl as tls
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.remote.retry import RetryableError, retry_after
from xarray_mrc.storage.remote.urls import public_url

__all__ = ["Target", "get", "origin"]

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 8
MAX_KNOWN_TARGETS = 1024
MAX_CLOSE_SECONDS = 2
# The user's own outweigh them, because some servers want to know who asks.
DEFAULT_HEADERS = {"User-Agent": "xarray-mrc"}
BUSY = (429, 503)
PASSING = (408, 425, 500, 502, 504)
# A link that a redirect made may expire; then the way to it is asked for again.
EXPIRED = (400, 401, 403, 404, 410)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, and what is sent along to its own server only.

    Attributes
    ----------
    url : str
        The URL, without user and password.
    credentials : mapping of str to str
        Headers that no other server gets.
    ssl : SSLContext or True
        How certificates are verified.
    timeout : float
        Seconds to wait for a connection, and for the next byte.
    """

    url: str = field(repr=False)
    credentials: Mapping[str, str] = field(repr=False)
    ssl: tls.SSLContext | bool
    timeout: float

    @property
    def key(self) -> Hashable:
        """URL and credentials: a redirect may depend on both."""
        return self.url, tuple(sorted(self.credentials.items()))


@dataclass(slots=True)
class Connections:
    """Sessions of one event loop, and where redirects led.

    Attributes
    ----------
    pooled, fresh : aiohttp.ClientSession
        One that keeps connections for the next request, and one that never does.
    targets : dict
        Where each redirected `Target` led, so that later requests go there directly.
    proxies : dict
        The proxy of each server, or None. aiohttp would look them up for every request, with the
        user's file of passwords.
    """

    pooled: aiohttp.ClientSession
    fresh: aiohttp.ClientSession
    targets: dict[Hashable, str] = field(default_factory=dict)
    proxies: dict[Hashable, str | None] = field(default_factory=dict)

    def proxy_of(self, url: str) -> str | None:
        """Return the proxy that the environment names for a URL."""
        server = origin(url)
        if server not in self.proxies:
            from urllib.request import getproxies, proxy_bypass

            proxy = None if proxy_bypass(urlsplit(url).netloc) else getproxies().get(server[0])
            self.proxies[server] = proxy
        return self.proxies[server]


_connections: dict[asyncio.AbstractEventLoop, Connections] = {}
_abandoned: list[Any] = []


def connections() -> Connections:
    """Return the sessions of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _connections:
        _connections[loop] = Connections(new_session(False), new_session(True))
    return _connections[loop]


def new_session(is_fresh: bool) -> aiohttp.ClientSession:
    """Return a session without cookies, limits or redirects of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=is_fresh),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def close_connections() -> None:
    """Close the sessions of this process at its end."""

    async def close() -> None:
        found = _connections.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.pooled.close()
            await found.fresh.close()

    for loop in list(_connections):
        if loop.is_running():
            # A loop that is stuck must not keep the process from ending.
            with suppress(TimeoutError, RuntimeError):
                asyncio.run_coroutine_threadsafe(close(), loop).result(MAX_CLOSE_SECONDS)


def leave_connections() -> None:
    """Forget the sessions of the parent in a forked child, without closing what it still uses."""
    for found in _connections.values():
        for session in (found.pooled, found.fresh):
            _abandoned.append(session.connector)
            session.detach()
    _connections.clear()
    atexit.unregister(close_connections)
    atexit.register(close_connections)


atexit.register(close_connections)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_connections)


def origin(url: str) -> tuple[str, str, int | None]:
    """Return protocol, host and port of a URL."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


@asynccontextmanager
async def get(
    target: Target, headers: Mapping[str, str], *, is_fresh: bool
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the response to a GET request, of any status that `check_status` lets pass.

    Redirects are followed. A server with another protocol, name or port gets no credentials.

    Raises
    ------
    RetryableError
        Another attempt may succeed. Errors while the body is read inside the context become this,
        too.
    OSError, MrcError
        None will.
    """
    uri, known = public_url(target.url), connections()
    session = known.fresh if is_fresh else known.pooled
    try:
        url = known.targets.get(target.key, target.url)
        response = await follow(session, target, url, headers)
        if response.status in EXPIRED and url != target.url:
            response.close()
            response = await follow(session, target, target.url, headers)
        async with response:
            remember(known.targets, target, str(response.url), response.status)
            check_status(uri, response)
            yield response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise failure_of(uri, target, error) from None


def remember(targets: dict[Hashable, str], target: Target, last: str, status: int) -> None:
    """Keep where a URL led, if that worked; drop the oldest of many."""
    targets.pop(target.key, None)
    if status in (200, 206) and last != target.url:
        targets[target.key] = last
        while len(targets) > MAX_KNOWN_TARGETS:
            del targets[next(iter(targets))]


async def follow(
    session: aiohttp.ClientSession, target: Target, url: str, headers: Mapping[str, str]
) -> aiohttp.ClientResponse:
    """Send a request, and follow redirects to an answer."""
    uri = public_url(target.url)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=target.timeout, sock_read=target.timeout
    )
    for _ in range(MAX_REDIRECTS):
        is_own = origin(url) == origin(target.url)
        response = await session.get(
            url,
            headers={**DEFAULT_HEADERS, **(target.credentials if is_own else {}), **headers},
            allow_redirects=False,
            proxy=connections().proxy_of(url),
            timeout=timeout,
            ssl=target.ssl,
        )
        location = response.headers.get("Location")
        if response.status not in REDIRECTS or location is None:
            return response
        response.release()
        try:
            before, url = url, urljoin(url, location)
            scheme = origin(url)[0]
        except ValueError:
            raise MrcError(f"{uri}: the server redirects to an invalid URL") from None
        if scheme not in ("http", "https") or (origin(before)[0] == "https" and scheme != "https"):
            raise MrcError(
                f"{uri}: the server redirects to {public_url(url)}, expected https:// (an "
                f"encrypted connection is not left): open that URL if you trust it"
            )
    raise MrcError(f"{uri}: more than {MAX_REDIRECTS} redirects in a row; check the URL")


def check_status(uri: str, response: aiohttp.ClientResponse) -> None:
    """Raise an error for a status that is none of 200, 206, 304, 412 and 416."""
    status = response.status
    if status in (200, 206, 304, 412, 416):
        return
    said = f"HTTP {status}"
    if status in BUSY:
        pause = retry_after(response.headers.get("Retry-After"))
        raise RetryableError(f"the server is busy ({said})", is_busy=True, pause=pause)
    if status in PASSING:
        raise RetryableError(f"the server failed ({said})")
    if status in (404, 410):
        raise FileNotFoundError(f"{uri}: the server has no such file ({said}); check the URL")
    if status in (401, 403, 407):
        raise PermissionError(
            f"{uri}: the server refuses access ({said}): pass credentials in storage_options=, or "
            f"get a new link if this one has expired"
        )
    raise OSError(f"{uri}: the server answers {said}, expected a part of the file; check the URL")


def failure_of(uri: str, target: Target, error: Exception) -> Exception:
    """Return the exception that stands for one of aiohttp's, without its text."""
    if isinstance(error, aiohttp.InvalidURL):
        return MrcError(f"{uri}: this is not a valid URL")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it is not trusted"
        return OSError(
            f"{uri}: the certificate of {error.host} cannot be verified ({reason}): pass the file "
            f"of the authority that signed it as storage_options={{'ssl': 'FILE.pem'}}"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        said = error.os_error.strerror or type(error.os_error).__name__
        return RetryableError(
            f"{error.host} could not be reached ({os.strerror(number) if number > 0 else said})",
            is_slow=True,
            advice="check the name of the server, the network and the proxy",
        )
    if isinstance(error, TimeoutError):
        return RetryableError(
            f"nothing came from the server for {target.timeout:g} s", is_slow=True
        )
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return RetryableError("the connection was closed before all bytes had come")
    return RetryableError(f"the answer is not valid HTTP ({type(error).__name__})")
