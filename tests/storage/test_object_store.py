"""Files in stores with the protocols of obspec."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
from fault_server import FaultServer
from mrcbytes import lay
from obstore.store import HTTPStore, MemoryStore

from xarray_mrc import MrcChangedError, open_mrc, read_header, statistics, validate
from xarray_mrc.storage import open_head

LAID = lay("int16", lengths=(50, 40, 60))


@pytest.fixture
def store():
    store = MemoryStore()
    store.put("a/b.map", LAID.raw)
    return store


def test_wherever_a_path_is_read(store):
    path = store, "a/b.map"
    assert np.array_equal(open_mrc(path).values, LAID.pixels)
    ds = xr.open_dataset(path, engine="mrc")
    assert np.array_equal(ds.data[3:9, 4].values, LAID.pixels[3:9, 4])
    assert ds.encoding["source"] == "MemoryStore://a/b.map"
    assert "source" not in ds.data.encoding
    assert read_header(path).nx == 50
    assert statistics(path).maximum == LAID.pixels.max()
    assert validate(path)
    assert open_head((store, "a/b.map")).source.size_if_known == len(LAID.raw)


def test_a_changed_object(store):
    array = open_mrc((store, "a/b.map"), chunks=None)
    store.put("a/b.map", LAID.raw[::-1])
    with pytest.raises(MrcChangedError, match=r"MemoryStore://a/b\.map: the file was changed"):
        array.load()


def test_errors(store):
    with pytest.raises(FileNotFoundError, match=r"MemoryStore://none\.mrc: the store has no such"):
        read_header((store, "none.mrc"))
    with pytest.raises(ValueError, match="has its own options") as found:
        read_header((store, "a/b.map"), storage_options={"secret": "s3cr3t"})
    assert "s3cr3t" not in str(found.value)


def test_a_store_that_pickles():
    with FaultServer() as server:
        server.put("/a.map", LAID.raw)
        source = open_head(
            (HTTPStore(server.url(""), client_options={"allow_http": True}), "a.map")
        ).source
        copy = pickle.loads(pickle.dumps(source))
        assert copy == source
        assert hash(copy) == hash(source)
        out = np.empty(1000, np.uint8)
        copy.read_ranges([(70_000, out)])
        assert out.tobytes() == LAID.raw[70_000:71_000]
        assert server.requests[-1].headers["if-match"]
        assert server.ranges == [(0, 65_536), (70_000, 1000)]
