"""Arrays of the package dask-array, which xarray chunks data with once a user has registered it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay
from xarray.namedarray.parallelcompat import list_chunkmanagers

from xarray_mrc import open_mrc, read_header, statistics, to_mrc
from xarray_mrc.dataset import lazy_variable
from xarray_mrc.napari_reader import read_layers

dask_array = pytest.importorskip("dask_array")
LAID = lay("int16", "volume", lengths=(6, 5, 20))


@pytest.fixture(autouse=True)
def expressions(monkeypatch):
    """Register the package as a user does, and undo it after the test."""
    import dask_array.xarray

    managers = list_chunkmanagers()
    monkeypatch.setitem(managers, "dask", managers["dask"])
    dask_array.xarray.register()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    return path


class Recorder:
    """Zeros, with a note of how each block was asked for."""

    shape, dtype = (4, 5, 6), np.dtype("f4")

    def __init__(self):
        self.asked = []

    def read(self, key, *, transient=False):
        self.asked.append(transient)
        return np.zeros(self.shape, self.dtype)[key]

    def __dask_tokenize__(self):
        return ("recorder",)


def test_blocks_are_maps_of_the_file():
    recorder = Recorder()
    lazy = xr.Dataset({"data": lazy_variable.lazy_variable(recorder, ("z", "y", "x"), {}, {})})
    chunked = lazy.chunk(z=2)["data"]
    assert isinstance(chunked.data, dask_array.Array)
    assert chunked.sum().compute() == 0
    assert recorder.asked == [True, True]
    lazy["data"].load()
    assert recorder.asked == [True, True, False]


@pytest.mark.parametrize("name", ["b.mrc", "b.mrc.gz"])
def test_written(path, tmp_path, name):
    data = open_mrc(path, chunks={"z": 6})
    assert isinstance(data.data, dask_array.Array)
    half = data[3:] // 2
    to_mrc(half, tmp_path / name)
    np.testing.assert_array_equal(open_mrc(tmp_path / name), LAID.pixels[3:] // 2)
    found = read_header(tmp_path / name).dmax
    assert found == statistics(half).maximum == (LAID.pixels[3:] // 2).max()


def test_written_later(path, tmp_path):
    later = to_mrc(open_mrc(path, chunks={"z": 6}), tmp_path / "b.mrc", compute=False)
    later.compute()
    np.testing.assert_array_equal(open_mrc(tmp_path / "b.mrc"), LAID.pixels)


@pytest.mark.parametrize("inline", [False, True])
def test_written_into_the_file_they_are_read_from(path, inline):
    data = open_mrc(path, chunks=None).chunk({"z": 2}, inline_array=inline)
    to_mrc(data[::-1], path, region={})
    np.testing.assert_array_equal(open_mrc(path), LAID.pixels[::-1])
    assert os.listdir(path.parent) == ["a.mrc"]


def test_layers_of_napari_remain_lazy(path):
    ((data, _, _),) = read_layers([str(path), str(path)])
    assert isinstance(data, dask_array.Array)
    np.testing.assert_array_equal(data.compute(), [LAID.pixels] * 2)


def test_what_they_read_is_found(path):
    whole = open_mrc(path, chunks={"z": 6})
    found = lazy_variable.find_undivided(whole.data, whole.dims)
    np.testing.assert_array_equal(found, LAID.pixels)
    for part in (whole[2:], whole + 1, whole[:, ::-1]):
        assert lazy_variable.find_undivided(part.data, part.dims) is None
