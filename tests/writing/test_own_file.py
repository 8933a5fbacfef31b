"""Data that are computed from the file into which they are written, in place."""

from __future__ import annotations

import os

import dask
import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay

from xarray_mrc import open_mrc, open_stack, read_header, to_mrc
from xarray_mrc.writing import block_writing

LAID = lay("int16", "volume", lengths=(6, 5, 20))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    return path


def shift(data):
    return data.isel(z=slice(5, 15))


def smooth(data):
    return data.rolling(z=3, center=True, min_periods=1).mean().astype("i2")


def optimized(data):
    return dask.optimize(data[::-1] // 2)[0]


OPERATIONS = {
    "later sections to earlier places": (shift, {"z": slice(0, 10)}),
    "earlier sections to later places": (shift, {"z": slice(8, 18)}),
    "columns": (lambda data: data[:, :, 2:], {"x": slice(0, 4)}),
    "reversed": (lambda data: data[::-1], {}),
    "transposed": (lambda data: data[:5, :, :5].transpose("x", "y", "z").rename(x="z", z="x"),
                   {"z": slice(0, 5), "x": slice(0, 5)}),
    "neighbours": (smooth, {}),
    "optimized": (optimized, {}),
    "in place": (lambda data: data // 2, {}),
}  # fmt: skip


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_chunks_read_the_file_as_it_was(path, name, scheduler):
    operation, region = OPERATIONS[name]
    before = xr.DataArray(LAID.pixels, dims=("z", "y", "x"))
    wanted = before.copy(deep=True)
    index = tuple(region.get(dim, slice(None)) for dim in "zyx")
    wanted.values[index] = operation(before.chunk({"z": 2})).values
    with dask.config.set(scheduler=scheduler):
        data = open_mrc(path, chunks=None).chunk({"z": 2})
        assert to_mrc(operation(data), path, region=region) is None
    np.testing.assert_array_equal(open_mrc(path), wanted)
    assert os.listdir(path.parent) == ["a.mrc"]
    if not region:
        assert read_header(path).dmax == wanted.values.max()


def test_a_lazy_selection_without_chunks(path, monkeypatch):
    monkeypatch.setattr(block_writing, "SMALL_NBYTES", 0)
    data = xr.open_dataset(path, engine="mrc", cache=False)["data"]
    to_mrc(data[::-1], path, region={})
    np.testing.assert_array_equal(open_mrc(path), LAID.pixels[::-1])


def test_an_array_in_each_task(path):
    data = open_mrc(path, chunks=None).chunk({"z": 2}, inline_array=True)
    to_mrc(data[::-1], path, region={})
    np.testing.assert_array_equal(open_mrc(path), LAID.pixels[::-1])


@pytest.mark.parametrize("chunks", [None, {"image": 2}])
def test_a_stack_of_several_files(path, tmp_path, monkeypatch, chunks):
    monkeypatch.setattr(block_writing, "SMALL_NBYTES", 0)
    other = tmp_path / "b.mrc"
    other.write_bytes(LAID.raw)
    before = np.concatenate([LAID.pixels[10:], LAID.pixels[:10]])
    numbers = [f"{n + 1}@{other}" for n in range(10, 20)] + [f"{n + 1}@{path}" for n in range(10)]
    images = open_stack(numbers, chunks=chunks)[::-1]
    to_mrc(images.rename(image="z"), path, region={})
    np.testing.assert_array_equal(open_mrc(path), before[::-1])


def test_data_of_another_file_go_straight_to_their_place(path, tmp_path):
    other = tmp_path / "b.mrc"
    other.write_bytes(LAID.raw)
    data = open_mrc(other, chunks=None).chunk({"z": 2})[::-1]
    later = to_mrc(data, path, region={}, compute=False)
    later.compute()
    np.testing.assert_array_equal(open_mrc(path), LAID.pixels[::-1])


def test_what_is_refused_changes_nothing(path):
    data = open_mrc(path, chunks=None).chunk({"z": 2})[::-1]
    with pytest.raises(ValueError, match="compute=False cannot write data that are read from"):
        to_mrc(data, path, region={}, compute=False)
    failing = data.copy(data=data.data.map_blocks(fail, dtype="i2"))
    with pytest.raises(RuntimeError, match="half way"):
        to_mrc(failing, path, region={})
    assert path.read_bytes() == LAID.raw
    assert os.listdir(path.parent) == ["a.mrc"]


def fail(block, block_info=None):
    if block_info and block_info[0]["chunk-location"][0] == 3:
        raise RuntimeError("half way")
    return block
