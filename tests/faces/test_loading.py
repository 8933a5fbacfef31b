"""Loading: at once, in dask, in an event loop, after a pickle; and not before it is needed."""

from __future__ import annotations

import asyncio
import io
import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay
from opened import LAID, SPLITS, Counting, expected, open_file, points, save
from xarray.testing import assert_equal, assert_identical

from xarray_mrc.storage.local import LocalSource


def test_load(path):
    dataset = open_file(path)
    assert not dataset["data"].variable._in_memory
    assert all(dataset[name].variable._in_memory for name in "zyx")
    assert_equal(dataset.load(), expected())
    assert dataset["data"].variable._in_memory
    xr.testing._assert_internal_invariants(dataset, check_default_indexes=True)


def test_compute_leaves_the_lazy_one_lazy(path):
    dataset = open_file(path)
    assert_equal(dataset.compute(), expected())
    assert not dataset["data"].variable._in_memory


def test_load_async(path):
    dataset = open_file(path)
    asyncio.run(dataset.load_async())
    assert dataset["data"].variable._in_memory
    assert_equal(dataset, expected())
    part = open_file(path)["data"].isel(z=[5, 1], x=slice(None, None, -2))
    assert_equal(asyncio.run(part.load_async()), expected()["data"].isel(z=[5, 1])[..., ::-2])
    points = {dim: xr.DataArray([3, 0, 5], dims="p") for dim in "zyx"}
    found = asyncio.run(open_file(path)["data"].isel(points).load_async())
    assert_equal(found, expected()["data"].isel(points))
    turned = asyncio.run(open_file(path)["data"].transpose("x", "z", "y").load_async())
    assert_equal(turned, expected()["data"].transpose("x", "z", "y"))
    chunked = asyncio.run(open_file(path, chunks={}).load_async())
    assert_equal(chunked, expected())


def test_load_async_of_many_at_once(tmp_path):
    paths = [save(tmp_path / f"{seed}.mrc", lay(seed=seed)) for seed in range(50)]

    async def load():
        return await asyncio.gather(*(open_file(p).load_async() for p in paths))

    for seed, dataset in enumerate(asyncio.run(load())):
        assert_equal(dataset, expected(lay(seed=seed)))


def test_load_async_does_not_hold_up_the_event_loop():
    files = [Counting(LAID.raw) for _ in range(4)]
    datasets = [open_file(file) for file in files]
    for file in files:
        file.delay = 0.2
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    async def load():
        heart = asyncio.create_task(beat())
        await asyncio.gather(*(dataset.load_async() for dataset in datasets))
        heart.cancel()

    asyncio.run(load())
    # 0.2 s or more: some 40 beats, or hardly one a read if the loop waits for them.
    assert beats > 12
    assert all(dataset.equals(expected()) for dataset in datasets)


def test_caching(path):
    for cache in (True, False):
        dataset = open_file(path, cache=cache)
        assert_equal(dataset, expected())
        assert dataset["data"].variable._in_memory is cache


def test_a_closed_dataset_still_reads(path):
    with open_file(path) as dataset:
        pass
    assert_equal(dataset, expected())


@pytest.mark.filterwarnings(SPLITS)
@pytest.mark.parametrize("memmap", [True, False, "auto"])
@pytest.mark.parametrize("chunks", [None, {}, "auto", -1, {"z": 7}, {"z": 7, "x": 3}])
def test_values_whatever_the_chunks(path, chunks, memmap):
    dataset = open_file(path, chunks=chunks, memmap=memmap)
    assert (dataset.chunks == {}) == (chunks is None)
    assert_equal(dataset, expected())
    assert_equal(dataset.isel(z=slice(3, 19, 4)), expected().isel(z=slice(3, 19, 4)))
    assert_equal(dataset[["data"]].sum("y"), expected().sum("y"))


@pytest.mark.filterwarnings(SPLITS)
@pytest.mark.parametrize("copy", [lambda ds: pickle.loads(pickle.dumps(ds)), lambda ds: ds.copy()])
@pytest.mark.parametrize("chunks", [None, {}, {"z": 7}])
def test_pickle(path, chunks, copy):
    dataset = open_file(path, chunks=chunks)
    cut = {"z": slice(15, 2, -3), "y": [4, 0, 4], "x": 2}
    assert_equal(copy(dataset), expected())
    assert_equal(copy(dataset["data"]), expected()["data"])
    assert_equal(copy(dataset.isel(cut)), expected().isel(cut))
    assert_equal(copy(dataset["data"].isel(cut)), expected()["data"].isel(cut))
    assert_identical(copy(dataset), dataset)
    assert copy(dataset)["data"].encoding == dataset["data"].encoding
    assert_equal(copy(dataset.load()), expected())


@pytest.mark.filterwarnings(SPLITS)
def test_a_pickled_lazy_dataset_stays_lazy(path):
    again = pickle.loads(pickle.dumps(open_file(path)))
    assert not again["data"].variable._in_memory
    again = pickle.loads(pickle.dumps(open_file(path, chunks={"z": 7})))
    assert again.chunks["z"] == (7, 7, 6)


@pytest.fixture
def sealed(path, monkeypatch):
    """Open a file, and let every further look at it fail."""
    dataset = open_file(path)

    def refuse(*_args, **_options):
        raise AssertionError("the file was read")

    for name in ("open", "opened", "view", "whole", "window", "read_ranges"):
        monkeypatch.setattr(LocalSource, name, refuse)
    with pytest.raises(AssertionError, match="the file was read"):
        dataset["data"][0].load()
    return dataset


def test_nothing_is_read_before_it_is_needed(sealed):
    for text in (repr, str, lambda ds: ds._repr_html_(), lambda ds: ds.info(buf=io.StringIO())):
        text(sealed)
    repr(sealed["data"])
    sealed["data"]._repr_html_()
    cut = sealed.isel(z=slice(3, 1, -1), y=[0, 4]).sel(x=slice(4, 8)).transpose("x", ...)
    assert cut["data"].sizes == {"x": 3, "z": 2, "y": 2}
    assert (cut["data"].nbytes, cut["data"].dtype) == (48, np.float32)
    assert not cut["data"].variable._in_memory
    points_of = sealed["data"].isel(z=points([1, 2]), y=points([3, 0]))
    assert (points_of.shape, points_of.variable._in_memory) == ((2, 7), False)
    pickle.loads(pickle.dumps(cut))
    sealed.rename(data="density").drop_vars("z").assign_attrs(a=1).copy()
    assert sealed.chunk(z=5).chunks["z"] == (5, 5, 5, 5)
    assert sealed.mrc.kind == "volume"
    assert sealed.mrc.voxel_size == {"x": 1.35, "y": 2.5, "z": 0.875}


def test_nothing_is_computed_before_it_is_needed(path):
    def refuse(*_args, **_options):
        raise AssertionError("dask computed")

    with dask.config.set(scheduler=refuse):
        dataset = open_file(path, chunks={})
        repr(dataset)
        dataset._repr_html_()
        cut = dataset.isel(z=slice(3, 1, -1), y=[0, 4]).transpose("x", ...)
        mean = cut["data"].mean()
        with pytest.raises(AssertionError, match="dask computed"):
            mean.load()
