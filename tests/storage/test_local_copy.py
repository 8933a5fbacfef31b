"""Copies of remote files in a directory."""

from __future__ import annotations

import gzip
import threading
from typing import NamedTuple

import fault_server as faults
import numpy as np
import pytest
import xarray as xr
from fault_server import FaultServer
from mrcbytes import lay

from xarray_mrc import MrcError, open_mrc
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.storage.remote import local_copy

LAID = lay("int16", lengths=(50, 40, 60))


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("container", [None, "gz"])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_copy_is_made_once(server, tmp_path, container, has_ranges):
    raw = gzip.compress(LAID.raw) if container else LAID.raw
    name = "/a%20b.map.gz" if container else "/a%20b.map"
    url = server.put(name, raw, always=None if has_ranges else faults.ignore_ranges)
    folder = tmp_path / "new" / "copies"
    for _ in range(3):
        array = open_mrc(url, local_copy=folder)
        (path,) = folder.iterdir()
        assert array.encoding["source"] == str(path)
        assert path.name.endswith("-a_20b.map")
        assert path.read_bytes() == LAID.raw
        array.load()
        assert len(server.requests) <= 5
    server.forget()
    xr.open_dataset(url, engine="mrc", local_copy=str(folder)).load()
    assert len(server.requests) == 1  # whether there is a new version


def test_a_new_version_and_other_urls(server, tmp_path):
    url = server.put("/a.map", LAID.raw)
    open_mrc(url, local_copy=tmp_path)
    other = LAID.raw[:-4] + bytes(4)
    server.put("/a.map", other)
    array = open_mrc(url, local_copy=tmp_path)
    assert array.values[-1, -1, -1] == 0
    open_mrc(url + "?id=2", local_copy=tmp_path)
    open_mrc(server.put("/b/a.map", other), local_copy=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_two_at_once(server, tmp_path):
    url = server.put("/a.map.gz", gzip.compress(LAID.raw))
    found = []

    def read():
        found.append(open_mrc(url, local_copy=tmp_path).values)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(one, found[0]) for one in found)
    assert [path.suffix for path in tmp_path.iterdir()] == [".map"]


def test_many_parts_in_bounded_memory(server, tmp_path, monkeypatch):
    monkeypatch.setattr(local_copy, "BATCH_NBYTES", 10_000)
    url = server.put("/a.map", LAID.raw)
    array = open_mrc(url, local_copy=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == LAID.raw
    assert len(server.requests) == 1 - (-len(LAID.raw) // 10_000)
    assert array.shape == (60, 40, 50)


@pytest.mark.parametrize("fault", [faults.truncate(1000), faults.status(404)])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_download_that_fails_leaves_nothing(server, tmp_path, monkeypatch, fault, has_ranges):
    monkeypatch.setattr("xarray_mrc.storage.remote.retry.PAUSES", (0.0,))
    first = None if has_ranges else faults.ignore_ranges
    url = server.put("/a.map", LAID.raw, always=fault)
    server.files["/a.map"].faults = [first] if first else [lambda exchange: None]
    with pytest.raises(OSError):
        open_mrc(url, local_copy=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_leaves_no_copy(server, tmp_path):
    raw = bytearray(gzip.compress(LAID.raw))
    raw[-6] ^= 1
    url = server.put("/a.map.gz", bytes(raw))
    with pytest.raises(MrcError, match="download the file again"):
        open_mrc(url, local_copy=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".map"] == []
    assert list(tmp_path.iterdir()) == []  # or it would never be downloaded again


def test_a_file_that_changes_before_the_download(server, tmp_path):
    def old(exchange):
        faults.etag('"old"')(exchange)
        faults.ignore_ranges(exchange)

    url = server.put("/a.map", LAID.raw, always=faults.ignore_ranges)
    server.files["/a.map"].faults = [old]
    with pytest.raises(MrcChangedError, match=r"its ETag was \"old\" and is"):
        open_mrc(url, local_copy=tmp_path)
    assert list(tmp_path.iterdir()) == []


class Usage(NamedTuple):
    free: int


def test_no_room(server, tmp_path, monkeypatch):
    url = server.put("/a.map", LAID.raw)
    monkeypatch.setattr(local_copy.shutil, "disk_usage", lambda _: Usage(5))
    with pytest.raises(OSError, match=r"local_copy needs 0\.2 MiB, but only 0\.0 MiB are free"):
        open_mrc(url, local_copy=tmp_path)
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


def test_a_local_file_is_read_in_place(tmp_path):
    path = tmp_path / "a.map"
    path.write_bytes(LAID.raw)
    array = open_mrc(path, local_copy=tmp_path / "copies")
    assert array.encoding["source"] == str(path)
    assert not (tmp_path / "copies").exists()
