"""Chooses the adapter of a URL or of an object of fsspec, and opens it."""

from __future__ import annotations

import os
from typing import Any

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.protocol import Head
from xarray_mrc.storage.remote.http import HTTP_OPTIONS, HttpAdapter
from xarray_mrc.storage.remote.loop import run
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.protocol import Adapter, Opened
from xarray_mrc.storage.remote.source import RemoteSource
from xarray_mrc.storage.remote.urls import HTTP, is_fsspec, public_url

__all__ = ["adapter_of", "open_remote"]


def adapter_of(path: Any, options: StorageOptions) -> Adapter | str:
    """Return the adapter of a remote file, or the path of one that fsspec calls local.

    Parameters
    ----------
    path : str, fsspec.OpenFile or UPath
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
    if path.lower().startswith(HTTP):
        return HttpAdapter(path, options)
    return adapter_of_url(path, options)


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
    protocols = path.fs.protocol
    names = (protocols,) if isinstance(protocols, str) else tuple(protocols)
    if "file" in names or "local" in names:
        return str(path.path)
    own = dict(path.fs.storage_options)
    if "http" in names or "https" in names:
        kept = {name: own[name] for name in HTTP_OPTIONS if name in own}
        return HttpAdapter(str(path.path), StorageOptions(kept))
    raise MrcError(f"{what}: {names[0]}:// is not supported")


def adapter_of_url(url: str, options: StorageOptions) -> Adapter | str:
    """Return the adapter of a URL that is not of HTTP."""
    scheme = url.partition(":")[0]
    raise MrcError(
        f"{public_url(url)}: {scheme}:// is not supported, expected a local path, https:// or "
        f"file://; download the file, or pass a binary file object, from fsspec.open for example"
    )


def open_remote(
    path: Any, options: StorageOptions, local_copy: str | os.PathLike[str] | None = None
) -> Head | str:
    """Open a remote file by one request.

    Parameters
    ----------
    path : str, fsspec.OpenFile or UPath
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
    opened = run(adapter.open())
    check_usable(adapter.uri, opened)
    return Head(RemoteSource(adapter, opened.version, opened.has_ranges), opened.head)


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
