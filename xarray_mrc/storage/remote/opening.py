"""Chooses the adapter of a URL or of an object of fsspec, and opens it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.protocol import Head
from xarray_mrc.storage.remote.filesystem import FilesystemAdapter, file_system, protocols_of
from xarray_mrc.storage.remote.http import HTTP_OPTIONS, HttpAdapter
from xarray_mrc.storage.remote.loop import run
from xarray_mrc.storage.remote.object_store import ObjectStoreAdapter
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.protocol import Adapter, Opened
from xarray_mrc.storage.remote.s3 import S3Adapter
from xarray_mrc.storage.remote.source import RemoteSource
from xarray_mrc.storage.remote.urls import HTTP, is_fsspec, is_in_store, public_url

__all__ = ["adapter_of", "open_remote"]

S3 = ("s3://", "s3a://")
LOCAL = frozenset({"file", "local"})


def adapter_of(path: Any, options: StorageOptions) -> Adapter | str:
    """Return the adapter of a remote file, or the path of one that fsspec calls local.

    Parameters
    ----------
    path : str, fsspec.OpenFile, UPath or (store, str)
        What `is_remote` accepts.
    options : StorageOptions
        Options of the storage, if `path` is a str.

    Raises
    ------
    MrcError
        The protocol is unknown, or needs a package that is not installed.
    """
    if is_fsspec(path):
        return adapter_of_fsspec(path, options)
    if is_in_store(path):
        if options.others():
            raise ValueError("storage_options= was passed with a store, which has its own options")
        return ObjectStoreAdapter.of(*path, options)
    if path.lower().startswith(HTTP):
        check_url(path)
        return HttpAdapter(path, options)
    if path.lower().startswith(S3):
        return S3Adapter(path, options)
    return adapter_of_url(path, options)


def check_url(url: str) -> None:
    """Raise MrcError for a URL of HTTP without a server, or with a broken one."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise MrcError(f"{public_url(url)}: this is not a valid URL, expected https://HOST/PATH")


def adapter_of_fsspec(path: Any, options: StorageOptions) -> Adapter | str:
    """Return the adapter of an object that carries a file system and a path."""
    what = f"{type(path).__name__} of {public_url(str(path.path))}"
    if options.others():
        raise ValueError(
            f"storage_options= was passed with a {what}, which has its own: pass them where that "
            f"object is made"
        )
    if getattr(path, "compression", None) is not None:
        raise ValueError(
            f"{what}: compression={path.compression!r} was passed to fsspec, expected None: "
            f"compressed files are recognised by their content"
        )
    if getattr(path, "mode", "rb") not in ("rb", "r"):
        raise ValueError(f"{what}: mode={path.mode!r} was passed to fsspec, expected 'rb'")
    fs, name = path.fs, str(path.path)
    own = StorageOptions({**fs.storage_options, **options.limits()})
    if not LOCAL.isdisjoint(protocols_of(fs)):
        return name
    made_by = type(fs).__module__
    if made_by == "fsspec.implementations.http":
        return HttpAdapter(name, own.only(HTTP_OPTIONS))
    if made_by == "s3fs.core":
        return S3Adapter(f"s3://{name}", own)
    if getattr(fs, "asynchronous", False):  # its methods would be coroutines of another loop
        fs = type(fs)(*fs.storage_args, **{**fs.storage_options, "asynchronous": False})
    return FilesystemAdapter(fs.unstrip_protocol(name), own, fs, name)


def adapter_of_url(url: str, options: StorageOptions) -> Adapter | str:
    """Return the adapter of a URL that is neither of HTTP nor of S3."""
    fs, name = file_system(url, options)
    return FilesystemAdapter(url, options, fs, name) if LOCAL.isdisjoint(protocols_of(fs)) else name


def open_remote(
    path: Any, options: StorageOptions, local_copy: str | os.PathLike[str] | None = None
) -> Head | str:
    """Open a remote file by one request.

    Parameters
    ----------
    path : str, fsspec.OpenFile, UPath or (store, str)
        What `is_remote` accepts.
    options : StorageOptions
        Options of the storage.
    local_copy : str or os.PathLike, optional
        Directory for a copy.

    Returns
    -------
    Head or str
        The file and its first bytes, or the path of a local file.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        The server sends a web page, or neither parts of the file nor its size.
    """
    adapter = adapter_of(path, options)
    if isinstance(adapter, str):
        return adapter
    if local_copy is not None:
        from xarray_mrc.storage.remote.local_copy import fetch_copy

        return fetch_copy(adapter, local_copy)
    opened = run(adapter.open())
    check_usable(adapter.uri, opened)
    return Head(RemoteSource(adapter, opened.version, opened.has_ranges), opened.head)


def open_beside(adapter: Adapter, suffix: str) -> Head | None:
    """Open the file whose URL has a suffix more; None if it cannot be read.

    A URL with a query may be signed for one file only, so nothing is asked for beside it.
    """
    if isinstance(adapter, FilesystemAdapter):
        beside: Adapter = replace(adapter, path=adapter.path + suffix, url=adapter.url + suffix)
    elif isinstance(adapter, ObjectStoreAdapter):
        beside = ObjectStoreAdapter.of(adapter.store, adapter.path + suffix, adapter.options)
    elif isinstance(adapter, HttpAdapter | S3Adapter) and not set("?#") & set(adapter.url):
        beside = replace(adapter, url=adapter.url + suffix)
    else:
        return None
    try:
        answer = run(beside.open())
        check_usable(beside.uri, answer)
    except (OSError, MrcError):
        return None
    return Head(RemoteSource(beside, answer.version, answer.has_ranges), answer.head)


def check_usable(uri: str, opened: Opened) -> None:
    """Raise MrcError for an answer that cannot be a file."""
    if opened.version.size >= 0:
        return
    if opened.head.lstrip()[:1] == b"<":
        raise MrcError(
            f"{uri}: the server sends a web page, expected a file: check the URL, and log in by "
            f"storage_options= if the server needs that"
        )
    raise MrcError(
        f"{uri}: the server can neither send parts of the file nor tell its size: pass "
        f"local_copy=FOLDER to download it once"
    )
