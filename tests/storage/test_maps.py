"""Where and how long maps of whole files are cached."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mrcbytes import lay
from waiting import wait_for, wait_for_exit

import xarray_mrc
from xarray_mrc.storage import local
from xarray_mrc.storage.maps import MapCache

LAID = lay("float32", lengths=(256, 40, 20))


@pytest.fixture
def cache(monkeypatch):
    cache = MapCache(max_count=2, max_nbytes=2**30, max_idle_seconds=0.2)
    monkeypatch.setattr(local, "cached_maps", cache)
    return cache


@pytest.fixture
def plane(tmp_path, cache):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    return xarray_mrc.open_mrc(path)[:, 7]


@pytest.mark.skipif(sys.platform == "win32", reason="maps are not cached there")
def test_a_map_is_cached(plane, cache):
    np.testing.assert_array_equal(plane, LAID.pixels[:, 7])
    assert len(cache) == 1


@pytest.mark.serial
def test_no_map_is_cached_for_a_worker_without_nanny(plane, cache):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(processes=False, n_workers=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        np.testing.assert_array_equal(plane.compute(), LAID.pixels[:, 7])
    assert not cache


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_disk_space_of_a_removed_file_is_freed(tmp_path):
    # With the cache that all files share, and its real times; the dataset stays open.
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    data = xarray_mrc.open_mrc(path, chunks=None)

    def is_mapped():
        return str(path) in Path("/proc/self/maps").read_text()

    assert np.array_equal(data[:, 7].values, LAID.pixels[:, 7])
    assert is_mapped()
    path.unlink()
    wait_for(lambda: not is_mapped())


def test_idle_maps_are_dropped_and_others_stay(cache):
    made = []

    def make():
        made.append(1)
        return np.zeros(10, np.uint8)

    for _ in range(60):
        assert cache.get("busy", make).size == 10
        if len(made) < 2:
            cache.get("idle", make)
        time.sleep(0.01)
    assert len(made) == 2
    assert len(cache) == 1
    wait_for(lambda: len(cache) == 0)
    cache.get("busy", make)
    wait_for(lambda: len(cache) == 0)


def test_few_maps_are_cached(cache):
    for number in range(5):
        cache.get(number, lambda: np.zeros(10, np.uint8))
    assert len(cache) == 2
    cache.max_nbytes = 15
    cache.get(7, lambda: np.zeros(10, np.uint8))
    assert len(cache) == 1
    assert cache.get(8, lambda: None) is None
    assert len(cache) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_has_the_lock():
    cache = local.cached_maps
    with cache._lock:
        child = os.fork()
        if child == 0:
            cache.get("a", lambda: np.zeros(10, np.uint8))
            os._exit(0 if len(cache) == 1 else 1)
        assert wait_for_exit(child) == 0
