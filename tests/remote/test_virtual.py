"""Virtual Zarr stores of files behind S3 and HTTP, and icechunk repositories on S3."""

from __future__ import annotations

import itertools

import pytest
from fault_server import ignore_ranges
from mrcbytes import lay
from s3_server import BUCKET, KEY, SECRET
from virtual_stores import assert_same, commit, open_parsed, open_references, registry

from xarray_mrc.virtual import MrcParser, references

LAID = lay("int16", order=">", lengths=(6, 4, 8))
NUMBERS = itertools.count()


@pytest.fixture
def file(s3):
    """A file on the S3 server: its URL, and the engine's options to read it."""
    return s3.put(f"virtual-{next(NUMBERS)}/a.mrc", LAID.raw), {"storage_options": s3.options}


def stores_of(s3):
    """Return the stores of VirtualiZarr for the S3 server."""
    pytest.importorskip("virtualizarr")
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=s3.proxy.url(""),
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    return registry(f"s3://{BUCKET}", store)


def test_references_to_s3(s3, file):
    url, options = file
    refs = references(url, chunks={"z": 2}, **options)
    assert refs["refs"]["data/1.0.0"] == [url, 1024 + 96, 96]
    assert SECRET not in str(refs)
    assert_same(open_references(refs, "s3", **s3.options), url, **options)


def test_parser_on_s3(s3, file):
    url, options = file
    stores = stores_of(s3)
    s3.proxy.forget()
    found = open_parsed(url, stores, MrcParser(chunks={"z": 2}))
    assert len(s3.proxy.requests) == 1  # the header
    assert_same(found, url, **options)


def test_icechunk_on_s3(s3, file):
    url, options = file
    stores = stores_of(s3)
    import icechunk

    icechunk.set_logs_filter("error")
    place = {
        "endpoint_url": s3.proxy.url(""),
        "region": "us-east-1",
        "allow_http": True,
        "force_path_style": True,
    }
    keys = {"access_key_id": KEY, "secret_access_key": SECRET}
    prefix = url.rpartition("/")[0] + "/"
    repository = prefix.removeprefix(f"s3://{BUCKET}/") + "repository"
    storage = icechunk.s3_storage(bucket=BUCKET, prefix=repository, **place, **keys)
    files = icechunk.s3_store(s3_compatible=True, **place)
    access = icechunk.s3_static_credentials(**keys)
    open_again = commit(url, stores, storage, (prefix, files, access))
    assert_same(open_again(), url, **options)


def http_stores(server):
    """Return the stores of VirtualiZarr for a server of HTTP."""
    pytest.importorskip("virtualizarr")
    from obstore.store import HTTPStore

    address = server.url("")
    return registry(address, HTTPStore(address, client_options={"allow_http": True}))


def test_over_http(server, tmp_path):
    url = server.put("/folder/a.mrc", LAID.raw)
    assert_same(open_references(references(url, chunks={"z": 2}), "http"), url)
    stores = http_stores(server)
    assert_same(open_parsed(url, stores, MrcParser(chunks={"z": 2})), url)
    import icechunk

    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    files = icechunk.http_store({"allow_http": "true"})
    container = server.url("/folder/"), files, icechunk.credentials.HttpAccess
    assert_same(commit(url, stores, storage, container)(), url)


def test_secrets_of_a_url_are_not_written(server):
    url = server.put("/a.mrc", LAID.raw) + "?token=s3cr3t"
    with pytest.raises(ValueError, match=r"may be secret, .* pass url=") as caught:
        references(url)
    assert "s3cr3t" not in str(caught.value)
    assert references(url, url="https://example.org/a.mrc")["refs"]["data/0.0.0"][0] == (
        "https://example.org/a.mrc"
    )


def test_a_server_that_sends_whole_files_only(server):
    url = server.put("/a.mrc", LAID.raw, always=ignore_ranges)
    with pytest.raises(ValueError, match=r"sends no parts of files, .* pass url="):
        references(url)
