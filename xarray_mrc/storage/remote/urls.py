"""URLs and objects that stand for them: which are remote, and what of them may be shown."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from typing import Any, Protocol, TypeGuard

__all__ = [
    "HTTP",
    "FsspecFile",
    "StorePath",
    "has_secrets",
    "hash_of",
    "is_fsspec",
    "is_in_store",
    "is_remote",
    "is_url",
    "path_of_url",
    "path_text",
    "public_url",
]

HTTP = ("http://", "https://")
# A protocol of one letter would be the drive of a path on Windows.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::.*://)")


# A store with the protocols of obspec, and the path of a file in it.
StorePath = tuple[Any, str]


class FsspecFile(Protocol):
    """A file that fsspec has not opened yet: `fsspec.OpenFile`, or a UPath."""

    @property
    def fs(self) -> Any:
        """The file system."""

    @property
    def path(self) -> str:
        """The path in it."""


def is_url(text: str) -> bool:
    """Return True for ``https://...`` and for chains of fsspec, ``zip::...``; not for a path.

    Examples
    --------
    >>> is_url("s3://bucket/a.mrc"), is_url("C:/a.mrc")
    (True, False)
    """
    return URL.match(text) is not None


def public_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, any of which may be secret.

    Examples
    --------
    >>> public_url("https://me:pw@example.org:8443/a.mrc?token=abc#top")
    'https://example.org:8443/a.mrc'
    """
    # fsspec chains URLs as in zip://a.mrc::https://..., and an IPv6 address has colons, too.
    links = [url] if url.lower().startswith(HTTP) else url.split("::")
    return "::".join(map(public_link, links))


def public_link(link: str) -> str:
    """Return one link of a chain of URLs without what may be secret."""
    # In other storages than web servers "#" may be part of a name.
    link = re.split(r"[?#]" if link.lower().startswith(HTTP) else r"\?", link, maxsplit=1)[0]
    head, separator, rest = link.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{separator}{host.rpartition('@')[2]}{slash}{path}"


def hash_of(*values: object) -> str:
    """Return a hash of values that may be secret, such as a URL with its query."""
    return blake2b("\n".join(map(repr, values)).encode(), digest_size=16).hexdigest()


def has_secrets(url: str) -> bool:
    """Return True if a URL holds a user or a query, which `public_url` leaves out."""
    kept = url.partition("#")[0] if url.lower().startswith(HTTP) else url
    return public_url(url) != kept


def path_of_url(url: str) -> str:
    """Return the path of a URL, whose suffix tells the kind of the file.

    Examples
    --------
    >>> path_of_url("https://example.org/maps/a.map.gz?download=1")
    '/maps/a.map.gz'
    """
    if not is_url(url):
        return url
    first = public_url(url) if url.lower().startswith(HTTP) else public_url(url).partition("::")[0]
    host, slash, path = first.rpartition("://")[2].partition("/")
    return slash + path if slash else host


def path_text(path: object) -> str | None:
    """Return the text of a path, a URL, or an object of fsspec; None if it has none.

    Nothing is opened: ``os.fspath`` of an `fsspec.OpenFile` would open the file.
    """
    if is_fsspec(path):
        return path.path
    if is_in_store(path):
        return path[1]
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    return text if isinstance(text, str) else None


def is_fsspec(path: object) -> TypeGuard[FsspecFile]:
    """Return True for an `fsspec.OpenFile` that is not open, and for a UPath."""
    return hasattr(path, "fs") and hasattr(path, "path") and not hasattr(path, "readinto")


def is_in_store(path: object) -> TypeGuard[StorePath]:
    """Return True for a store of obspec with a path in it."""
    return isinstance(path, tuple) and len(path) == 2 and hasattr(path[0], "get_async")


def is_remote(path: object) -> bool:
    """Return True for a URL other than file://, an object of fsspec, and a path in a store."""
    if is_fsspec(path) or is_in_store(path):
        return True
    return isinstance(path, str) and is_url(path) and not path.lower().startswith("file://")
