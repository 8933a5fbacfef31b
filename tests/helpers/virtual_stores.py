"""Open virtual Zarr stores as their readers do: by fsspec, VirtualiZarr and icechunk.

VirtualiZarr and icechunk need Python 3.12. Tests that use them skip where they are not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from xarray.testing import assert_identical

from xarray_mrc.virtual import MrcParser

__all__ = ["assert_same", "commit", "open_parsed", "open_references", "registry"]


def open_references(refs: Any, protocol: str | None = None, **remote: Any) -> xr.Dataset:
    """Open kerchunk references by fsspec and Zarr."""
    options: dict[str, Any] = {"fo": refs}
    if protocol is not None:  # Zarr wants file systems whose methods are coroutines
        options |= {"remote_protocol": protocol, "remote_options": {"asynchronous": True, **remote}}
    found: xr.Dataset = xr.open_dataset(
        "reference://",
        engine="zarr",
        backend_kwargs={"storage_options": options, "consolidated": False},
    )
    return found


def registry(url: str = "file://", store: Any = None) -> Any:
    """Return a registry of VirtualiZarr with one store, by default that of local files."""
    pytest.importorskip("virtualizarr")
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore

    return ObjectStoreRegistry({url: LocalStore() if store is None else store})


def open_parsed(url: str, stores: Any, parser: MrcParser) -> xr.Dataset:
    """Open a file through a parser, without icechunk or kerchunk."""
    found: xr.Dataset = xr.open_dataset(
        parser(url, stores), engine="zarr", consolidated=False, zarr_format=3
    )
    return found


def commit(url: str, stores: Any, storage: Any, container: tuple[str, Any, Any]) -> Any:
    """Commit references to a new icechunk repository; return a function that opens it anew.

    `stores` are those of VirtualiZarr, `storage` is the place of the repository, and `container`
    the start of the URLs that it may read, icechunk's store for these, and its credentials.
    """
    import icechunk
    from virtualizarr import open_virtual_dataset

    icechunk.set_logs_filter("error")
    prefix, files, credentials = container
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, files))
    access = {
        "config": config,
        "authorize_virtual_chunk_access": icechunk.containers_credentials({prefix: credentials}),
    }
    session = icechunk.Repository.create(storage, **access).writable_session("main")
    open_virtual_dataset(url, stores, MrcParser()).vz.to_icechunk(session.store)
    session.commit("the file")

    def open_again() -> xr.Dataset:
        repository = icechunk.Repository.open(storage, **access)
        return xr.open_zarr(repository.readonly_session("main").store, consolidated=False)

    return open_again


def assert_same(found: xr.Dataset, path: str | Path, **options: Any) -> None:
    """Assert that a store gives what the engine gives, to the last bit."""
    expected = xr.open_dataset(path, engine="mrc", **options).load()
    assert {*found.data_vars} == {*expected.data_vars}
    assert {*found.coords} == {*expected.coords}
    assert_identical(found.load(), expected)
    for name, variable in expected.variables.items():
        if variable.dtype.kind in "iufc":
            assert found[name].dtype == variable.dtype, name
            assert found[name].values.tobytes() == variable.values.tobytes(), name
