"""URLs wherever a path is read, and what is never shown of them."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import pickle
import warnings

import fsspec
import numpy as np
import pytest
import xarray as xr
from fault_server import FaultServer
from mrcbytes import lay
from upath import UPath
from xarray.testing import assert_identical

from xarray_mrc import (
    MrcChangedError,
    convert,
    open_mrc,
    read_header,
    statistics,
    to_mrc,
    validate,
)

LAID = lay("int16", lengths=(50, 40, 60))
SECRETS = ("s3cr3t", "passw0rd")


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


@pytest.fixture
def url(server):
    return server.put("/maps/a.map", LAID.raw)


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "a.map"
    path.write_bytes(LAID.raw)
    return path


def open_file(path, **options):
    return xr.open_dataset(path, engine="mrc", **options)


@pytest.mark.parametrize("container", ["", ".gz"])
def test_the_same_as_a_local_file(server, tmp_path, container):
    raw = gzip.compress(LAID.raw) if container else LAID.raw
    path = tmp_path / f"a.map{container}"
    path.write_bytes(raw)
    url = server.put(f"/a.map{container}", raw)
    assert_identical(open_file(url).load(), open_file(path).load())
    assert_identical(open_file(url, chunks={}).load(), open_file(path).load())
    assert_identical(open_mrc(url).load(), open_mrc(path).load())
    assert read_header(url) == read_header(path)
    assert statistics(url) == statistics(path)
    # edit_header corrects local files only.
    advised = [(f.id, f.text.partition("; edit_header")[0]) for f in validate(path).findings]
    assert [(f.id, f.text) for f in validate(url).findings] == advised


def test_many_urls_at_once(server):
    urls = [server.put(f"/{name}.map", LAID.raw) for name in "abc"]
    together = xr.open_mfdataset(urls, engine="mrc", combine="nested", concat_dim="n")
    assert together.sizes["n"] == 3
    one = open_file(urls[0]).data.values
    assert np.array_equal(together.data.values, [one] * 3)


def test_like_and_written_from(server, url, tmp_path, local):
    ds = open_file(url)
    to_mrc(ds, tmp_path / "b.mrc", like=url)
    to_mrc(ds, tmp_path / "c.mrc", like=ds)
    to_mrc(open_file(local), tmp_path / "d.mrc", like=local)
    assert (tmp_path / "b.mrc").read_bytes() == (tmp_path / "d.mrc").read_bytes()
    assert (tmp_path / "c.mrc").read_bytes() == (tmp_path / "d.mrc").read_bytes()


def test_convert_from(server, url, tmp_path, local):
    server.forget()
    convert(url, tmp_path / "b.mrc")
    assert (tmp_path / "b.mrc").read_bytes() == LAID.raw
    convert(url, tmp_path / "b.zarr")
    convert(local, tmp_path / "c.zarr")
    assert_identical(xr.open_zarr(tmp_path / "b.zarr"), xr.open_zarr(tmp_path / "c.zarr"))
    options = {"headers": {"X-Key": SECRETS[0]}}
    server.forget()
    convert(url, tmp_path / "d.mrc", dtype="float32", source_storage_options=options)
    assert {request.headers["x-key"] for request in server.requests} == {SECRETS[0]}
    with pytest.raises(TypeError, match="source_storage_options=") as found:
        convert(url, tmp_path / "e.mrc", storage_options=options)
    assert SECRETS[0] not in str(found.value)
    with pytest.raises(ValueError, match=r"a\.map is not remote"):
        convert(local, tmp_path / "e.mrc", source_storage_options=options)


@pytest.mark.parametrize("wrap", [fsspec.open, UPath])
def test_objects_of_fsspec(url, local, wrap):
    expected = open_mrc(local).load()
    for name in (url, str(local)):
        assert_identical(open_mrc(wrap(name)).load(), expected)
        assert read_header(wrap(name)) == read_header(local)
        assert statistics(wrap(name)) == statistics(local)
        assert validate(wrap(name)).findings
        assert_identical(open_file(wrap(name)).data.load(), expected)


def test_options_of_an_open_file(server, url):
    file = fsspec.open(url, headers={"X-Key": SECRETS[0]}, block_size=2**20)
    server.forget()
    open_mrc(file).load()
    assert {request.headers["x-key"] for request in server.requests} == {SECRETS[0]}
    with pytest.raises(ValueError, match="which has its own"):
        read_header(file, storage_options={"headers": {"X-Key": SECRETS[1]}})
    with pytest.raises(ValueError, match="compression='gzip' was passed to fsspec"):
        read_header(fsspec.open(url, compression="gzip"))
    with pytest.raises(ValueError, match="mode='wb' was passed to fsspec"):
        read_header(fsspec.open(url, "wb"))


def test_options_without_a_url(local):
    with pytest.raises(ValueError, match=r"a\.map is not remote") as found:
        read_header(local, storage_options={"key": SECRETS[0]})
    assert SECRETS[0] not in str(found.value)
    assert read_header(local, storage_options={"max_requests": 3}).nx == 50


def test_sidecars_are_not_looked_for(server, url):
    server.put("/maps/a.map.mdoc", b"[ZValue = 0]\n")
    server.forget()
    open_file(url, kind="image_stack")
    assert len(server.requests) == 1
    with pytest.raises(ValueError, match="not at a local path"):
        open_file(url, kind="image_stack", sidecar=True)


def test_kind_by_the_name_in_a_url(server):
    raw = lay(ispg=0).raw
    url = server.put("/a.mrcs", raw)
    assert open_file(url + "?x=/b.map").mrc.kind == "image_stack"
    assert open_file(server.put("/a.map", raw) + "?x=/b.mrcs").mrc.kind == "volume"


def test_names_of_dask_follow_the_content(server):
    url = server.put("/a.map", LAID.raw)
    first = open_mrc(url)
    assert open_mrc(url).data.name == first.data.name
    other = LAID.raw[:-4] + b"\1\2\3\4"
    server.put("/a.map", other)
    second = open_mrc(url)
    assert second.data.name != first.data.name
    assert second.values[-1, -1, -1] == np.frombuffer(other[-2:], "<i2")
    with pytest.raises(MrcChangedError, match="open it again"):
        first.values  # noqa: B018
    assert open_mrc(url + "?v=1").data.name != open_mrc(url + "?v=2").data.name


def test_pickles_hold_options_but_nothing_open(server, url):
    server.put("/maps/a.map", LAID.raw)
    array = open_mrc(url, storage_options={"headers": {"X-Key": SECRETS[0]}}, chunks=None)
    array[0].load()
    copy = pickle.loads(pickle.dumps(array))
    server.forget()
    assert np.array_equal(copy[3], array[3])
    assert {request.headers["x-key"] for request in server.requests} == {SECRETS[0]}


def test_many_slices_at_once(server, url):
    ds = open_file(url)
    expected = open_file(url).data.values

    async def load():
        return await asyncio.gather(*(ds.data[i, 3:30:5].load_async() for i in range(6)))

    for i, found in enumerate(asyncio.run(load())):
        assert np.array_equal(found, expected[i, 3:30:5])


def everything_shown(function, caplog):
    """Return all text that a call leaves behind: messages, warnings, logs, notes of exceptions."""
    text = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        try:
            found = function()
        except Exception as error:
            chain: BaseException | None = error
            while chain is not None:
                text.write(f"{chain!r} {chain} {chain.args} {getattr(chain, '__notes__', '')}\n")
                chain = chain.__cause__ or (
                    None if chain.__suppress_context__ else chain.__context__
                )
        else:
            text.write(f"{found!r} {found}")
    text.write(" ".join(str(w.message) for w in caught))
    text.write(caplog.text)
    return text.getvalue()


@pytest.mark.parametrize("status", [None, 401, 403, 404, 418, 503])
def test_secrets_are_never_shown(server, caplog, monkeypatch, status):
    import fault_server as faults

    monkeypatch.setattr("xarray_mrc.storage.remote.retry.PAUSES", (0.0,))
    fault = faults.status(status, Retry_After="0") if status else None
    plain = server.put("/a.map", LAID.raw[:-1000], always=fault)  # cut off: every call warns
    url = plain.replace("//", f"//user:{SECRETS[0]}@") + f"?X-Amz-Signature={SECRETS[1]}"
    options = {"headers": {"X-Key": SECRETS[0]}, "client_kwargs": {"cookies": {"c": SECRETS[1]}}}

    def describe():
        ds = open_file(url, storage_options=options, truncated="sections", chunks={})
        lazy = open_file(url, storage_options=options, truncated="sections")
        array = open_mrc(url, storage_options=options, truncated="sections")
        seen = [ds, ds.attrs, ds.data.attrs, ds.encoding, ds.data.encoding, ds._repr_html_()]
        seen += [array, array.name, array.data.name, array.encoding, array.data.dask.layers]
        seen += [lazy.data.variable._data, lazy.mrc.header, array.compute()]
        seen += [array.data.__dask_graph__().to_dict(), validate(url, storage_options=options)]
        return " ".join(map(repr, seen))

    calls = [
        describe,
        lambda: read_header(url, storage_options=options),
        lambda: open_mrc(url, storage_options=options),
        lambda: statistics(url, storage_options=options),
        lambda: read_header(url, storage_options={"wrong": SECRETS[0], **options}),
        lambda: open_mrc(url, storage_option=options),
        lambda: open_mrc(url, token=SECRETS[0]),
        lambda: open_mrc(url.replace("http", "gopher"), storage_options=options),
        lambda: convert(url, url + ".zarr"),
        lambda: to_mrc(xr.DataArray(np.zeros((2, 2), "f4")), url),
    ]
    for call in calls:
        text = everything_shown(call, caplog)
        assert not [secret for secret in SECRETS if secret in text], text
        assert text


def test_a_url_with_secrets_is_not_called_the_source(server, url):
    open_url = open_file(url)
    assert open_url.encoding["source"] == open_url.data.encoding["source"] == url
    assert open_url.mrc.header == read_header(url)
    secret = open_file(url + "?token=s3cr3t")
    assert secret.encoding["source"] == url  # xarray would write all of it
    assert "source" not in secret.data.encoding
    assert secret.mrc.header == read_header(url)  # of the lazy data
    with pytest.raises(ValueError, match="does not know its file"):
        (secret + 1).mrc.header  # noqa: B018
