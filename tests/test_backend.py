"""The engine inside xarray: what xarray's own tests ask of a backend, and what users do with it."""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
import os
import pickle
import shutil
import socket
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from mrcbytes import FORMS, KINDS, Laid, lay, put
from programs import run_program
from xarray.testing import assert_equal, assert_identical

import xarray_mrc
from xarray_mrc import MrcError, MrcFormatError, reader
from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.storage.local import LocalSource

LAID = lay(lengths=(7, 6, 20), nstart=(3, -2, 5), labels=(b"made by hand",))
SPLITS = "ignore:The specified chunks separate the stored chunks:UserWarning"


def expected(laid: Laid = LAID) -> xr.Dataset:
    """Make in memory what an open has to give, attributes aside."""
    coords = {dim: laid.positions(dim) for dim in laid.dims if dim in ("x", "y", "z")}
    return xr.Dataset({"data": (laid.dims, laid.pixels)}, coords)


def save(path: Path, laid: Laid | bytes = LAID) -> Path:
    path.write_bytes(laid if isinstance(laid, bytes) else laid.raw)
    return path


def open_file(path, **options) -> xr.Dataset:
    return xr.open_dataset(path, engine="mrc", **options)


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "volume.mrc")


@pytest.fixture
def sealed(path, monkeypatch):
    """Open a file, and let every further look at it fail."""
    dataset = open_file(path)

    def refuse(*_args, **_options):
        raise AssertionError("the file was read")

    for name in ("open", "opened", "readinto", "view", "window", "read_bands"):
        monkeypatch.setattr(LocalSource, name, refuse)
    with pytest.raises(AssertionError, match="the file was read"):
        dataset["data"][0].load()
    return dataset


class Counting(io.BytesIO):
    """A file in memory that counts the bytes read, and can be slow."""

    nread = 0
    delay = 0.0

    def readinto(self, buffer):
        time.sleep(self.delay)
        count = super().readinto(buffer)
        self.nread += count
        return count


# Loading


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


# Pickles


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


# Indexing


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        {"z": [1, 5, 3], "y": [0, 2], "x": [6, 1, 1]},
        {"z": [0, -1], "y": [], "x": slice(1, None, 2)},
        {"z": [19, 18, 3], "x": [2]},
        {"y": np.array([5, 0, 3]), "x": slice(None, None, -1)},
        {"z": slice(None, None, -3), "y": slice(4, 0, -2), "x": slice(-2, None, -1)},
        {"z": 3, "y": slice(0, 0), "x": slice(None)},
        {"z": slice(0, 0, -1)},
        {"z": slice(1, 3, -1), "y": slice(2, 2, -2)},
        {"z": slice(-30, None, -4), "x": slice(-8, None, -1)},
        {"z": slice(-30, 30, 4), "x": slice(30, -8, -2)},
        {"z": [], "y": [], "x": []},
        {"z": -1, "y": -6, "x": -7},
        {"z": np.int64(4), "y": np.uint8(2)},
        {"z": np.arange(20) % 3 == 0, "x": np.zeros(7, bool)},
    ],
    ids=str,
)
def test_orthogonal_indexing(path, key, cache):
    dataset, wanted = open_file(path, cache=cache), expected().isel(key)
    assert dataset.isel(key).sizes == wanted.sizes
    assert_equal(dataset.isel(key), wanted)
    # Twice, the second time from what the first may have kept.
    assert_equal(dataset.isel(key), wanted)
    found = dataset["data"].isel(key)
    assert type(found.data) is np.ndarray
    assert found.data.dtype == wanted["data"].dtype


def points(values, dims="p"):
    return xr.DataArray(np.array(values, dtype=int), dims=dims)


@pytest.mark.parametrize(
    "key",
    [
        {"z": points([1, 5, 3]), "y": points([0, 2, 2])},
        {"z": points([1, 5, 3]), "y": points([0, 2, 2]), "x": points([6, 0, 6])},
        {"z": points([-1, 0]), "y": points([-6, 5]), "x": [3, 1]},
        {"z": points([[1, 2], [3, 0]], ("p", "q")), "x": points([4, 0], "q")},
        {"z": points([4, 3], "p"), "y": points([1, 2, 0], "q")},
        {"z": points([4, 3], "p"), "y": points([1, 2, 0], "q"), "x": points([6, 5], "r")},
        {"z": slice(None, None, -4), "y": points([0, 5]), "x": points([6, 0])},
        {"z": slice(0, 0, -1), "y": points([0, 5]), "x": points([6, 0])},
        {"z": points([0, 1]), "y": points([0, 5]), "x": slice(1, 3, -1)},
        {"z": points([]), "y": points([])},
        {"z": points([]), "y": points([]), "x": points([])},
        {"z": points(np.zeros((2, 0)), ("p", "q")), "x": points([1, 2], "p")},
        {"x": points([3, 1], "x")},
        {"z": points([5], "y")},
    ],
    ids=lambda key: ", ".join(
        f"{dim}[{', '.join(v.dims)}]" if isinstance(v, xr.DataArray) else f"{dim}[{v}]"
        for dim, v in key.items()
    ),
)
def test_vectorized_indexing(path, key):
    data, wanted = open_file(path)["data"], expected()["data"]
    if key.keys() == {"z"} and key["z"].dims == ("y",):
        data, wanted = data.isel(y=0, drop=True), wanted.isel(y=0, drop=True)
    data, wanted = (
        data.drop_vars(list("zyx"), errors="ignore"),
        wanted.drop_vars(list("zyx"), errors="ignore"),
    )
    assert data.isel(key).shape == wanted.isel(key).shape
    assert_equal(data.isel(key), wanted.isel(key))
    # Chained, before anything is read.
    assert_equal(data.isel(key)[..., ::-1], wanted.isel(key)[..., ::-1])
    assert_equal(data[::-1].isel(key), wanted[::-1].isel(key))


def test_vectorized_indexing_of_an_image(tmp_path):
    laid = lay(kind="image", lengths=(7, 6, 1))
    data = open_file(save(tmp_path / "image.mrc", laid))["data"]
    wanted = expected(laid)["data"]
    lengths = (0, 1, 3)
    for shape in itertools.product(lengths, lengths):
        both = points(np.zeros(shape), ("p", "q"))
        for y, x in ((both, both), (both[:, :1], both), (both, both[:1]), (both[:1], both[:, :1])):
            key = {"y": y.squeeze() if y.size == 1 else y, "x": x}
            try:
                chosen = wanted.isel(key)
            except (ValueError, IndexError):  # the lengths of p or q differ
                continue
            found = data.isel(key)
            assert found.shape == found.values.shape == chosen.shape
            assert_equal(found, chosen)


@pytest.mark.parametrize("chunks", [None, {}])
def test_isel_with_data_arrays(path, chunks):
    dataset, wanted = open_file(path, chunks=chunks), expected()
    for key in (
        {"z": xr.DataArray([2, 3], dims="z"), "y": xr.DataArray([1, 2, 3], dims="y")},
        {"z": xr.DataArray([2, 3], dims="z"), "y": slice(1, 4)},
        {"z": xr.DataArray([2, 3], dims="p", coords={"p": [10, 20]})},
        {"z": xr.Variable("z", [2, 3]), "x": xr.Variable((), 4)},
    ):
        assert_equal(dataset.isel(key), wanted.isel(key))


def test_label_based_selection(path):
    dataset, wanted = open_file(path), expected()
    middle = {dim: wanted[dim].values[2] for dim in "zyx"}
    assert_equal(dataset.sel(middle), wanted.sel(middle))
    near = {dim: value + 0.1 for dim, value in middle.items()}
    assert_equal(dataset.sel(near, method="nearest"), wanted.sel(middle))
    assert_equal(dataset.sel(x=slice(5, 9)), wanted.sel(x=slice(5, 9)))


@pytest.mark.parametrize("chunks", [None, {}])
def test_array_type_after_indexing(path, chunks):
    dataset = open_file(path, chunks=chunks)
    whole = type(dataset["data"].data)
    assert (whole is np.ndarray) == (chunks is None)
    for key in ({"z": 0}, {"z": [1, 2]}, {"z": 0, "y": 0, "x": 0}, {"z": []}):
        assert type(dataset["data"].isel(key).data) is whole
        assert type(dataset["data"].isel(key).values) is np.ndarray


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


@pytest.mark.parametrize("order", list(itertools.permutations("zyx")))
def test_lazy_transpose(order):
    laid = lay(lengths=(64, 128, 128))  # 4 MiB
    file = Counting(laid.raw)
    data = open_file(file)["data"]
    nbytes = data.nbytes
    file.nread = 0
    tracemalloc.start()
    found = data.transpose(*order).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, laid.pixels.transpose(["zyx".index(d) for d in order]))
    # Every byte once, and nothing beside the result but an index for each axis.
    assert file.nread == nbytes
    assert peak < 1.25 * nbytes


def test_lazy_transpose_of_a_part():
    file = Counting(LAID.raw)
    data, wanted = open_file(file)["data"], expected()["data"]
    for cut in (
        {"z": slice(3, 9), "x": [5, 0]},
        {"z": [4], "y": slice(None, None, -1)},
        {"z": slice(7, 8)},
        {"y": slice(2, 2)},
    ):
        for order in itertools.permutations("zyx"):
            found = data.isel(cut).transpose(*order)
            assert_equal(found, wanted.isel(cut).transpose(*order))
            found = data.transpose(*order).isel(cut)
            assert_equal(found, wanted.transpose(*order).isel(cut))
    file.nread = 0
    data.isel(z=slice(3, 9)).transpose("x", "z", "y").load()
    assert file.nread == 6 * 6 * 7 * 4


# Chunks


def test_preferred_chunks(tmp_path):
    file = tmp_path / "big.mrc"
    laid = lay(lengths=(4, 4, 4))
    with file.open("wb") as out:
        out.write(laid.with_fields(nx=1024, ny=1024, nz=100, mz=100)[:1024])
        out.truncate(1024 + 400 * 2**20)
    assert open_file(file, chunks={}).chunks == {
        "z": (16,) * 6 + (4,),
        "y": (1024,),
        "x": (1024,),
    }
    assert open_file(file, chunks=-1).chunks == {"z": (100,), "y": (1024,), "x": (1024,)}
    assert open_file(file, chunks={"z": 32}).chunks["z"] == (32, 32, 32, 4)
    assert open_file(file, chunks={"z": 1}, preferred_chunks={"z": 1}).chunks["z"] == (1,) * 100
    auto = open_file(file, chunks="auto").chunks
    assert (auto["y"], auto["x"]) == ((1024,), (1024,))
    assert all(length % 16 == 0 for length in auto["z"][:-1])
    mine = open_file(file, chunks={}, preferred_chunks={"z": 10, "y": 512})
    assert mine.chunks == {"z": (10,) * 10, "y": (512, 512), "x": (1024,)}
    assert mine["data"].encoding["preferred_chunks"]["z"] == 10
    with pytest.warns(UserWarning, match="separate the stored chunks"):
        open_file(file, chunks={"z": 7})


def test_blocks_of_the_stored_axes(tmp_path):
    # Sections lie along x here, so that is the axis that is cut.
    laid = lay(axes=(3, 2, 1), lengths=(4, 4, 4))
    file = tmp_path / "turned.mrc"
    with file.open("wb") as out:
        out.write(laid.with_fields(nx=1024, ny=1024, nz=40, mx=40, mz=1024)[:1024])
        out.truncate(1024 + 160 * 2**20)
    chunks = open_file(file, chunks={}).chunks
    assert chunks == {"z": (1024,), "y": (1024,), "x": (16, 16, 8)}


def test_chunks_of_a_derived_dataset_are_computed_right(path):
    dataset = open_file(path, chunks={}, preferred_chunks={"z": 3})
    cut = dataset.isel(z=slice(None, None, -2), y=[5, 0, 1]).transpose("x", "z", "y")
    wanted = expected().isel(z=slice(None, None, -2), y=[5, 0, 1]).transpose("x", "z", "y")
    assert_equal(cut, wanted)
    assert_equal(dataset.chunk(z=4, y=1), expected())
    wanted = expected().max("z", skipna=False)
    assert_equal(dataset.max("z", skipna=False), wanted)


# Tokens


def key_of(dataset):
    return dataset["data"].data.name


def test_tokens(path):
    ways = {
        "engine": lambda: open_file(path, chunks={}),
        "class": lambda: xr.open_dataset(path, engine=MrcBackendEntrypoint, chunks={}),
        "option": lambda: open_file(path, chunks={}, origin="zero"),
        "text": lambda: open_file(str(path), chunks={}),
        "later": lambda: open_file(path).chunk(z=5),
        "part": lambda: open_file(path).isel(z=slice(3)).chunk(z=5),
        "open_mrc": lambda: xarray_mrc.open_mrc(path).to_dataset(name="data"),
    }
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        keys = {way: key_of(opened()) for way, opened in ways.items()}
        assert keys == {way: key_of(opened()) for way, opened in ways.items()}
        assert len({key for way, key in keys.items() if way not in ("text", "open_mrc")}) == 5
        save(path, lay(lengths=(7, 6, 20), seed=2))
        os.utime(path, ns=(1, 1))
        assert not set(keys.values()) & {key_of(opened()) for opened in ways.values()}


def test_tokens_of_arrays(path, tmp_path):
    # What holds below xarray, whose own token of a lazy dataset loads it.
    def token(source, **options):
        return dask.base.tokenize(reader.open_file(source, **options).array)

    with dask.config.set({"tokenize.ensure-deterministic": True}):
        assert token(path) == token(str(path)) == token(path, memmap=False)
        assert token(path) != token(path, kind="image_stack")
        assert token(path) != token(shutil.copy(path, tmp_path / "copy.mrc"))
        other = bytearray(LAID.raw)
        other[-1] ^= 1
        assert token(LAID.raw) == token(bytearray(LAID.raw)) == token(memoryview(LAID.raw))
        assert token(LAID.raw) != token(other)
        file, twin = io.BytesIO(LAID.raw), io.BytesIO(LAID.raw)
        assert token(file) == token(file) != token(twin)


def test_tokens_are_the_same_in_another_process(path):
    program = (
        "import dask, sys, xarray as xr\n"
        "ds = xr.open_dataset(sys.argv[1], engine='mrc', chunks={})\n"
        "print(ds['data'].data.name)\n"
        "print(xr.open_dataset(sys.argv[1], engine='mrc').chunk(z=5)['data'].data.name)\n"
        "import xarray_mrc; print(xarray_mrc.open_mrc(sys.argv[1]).data.name)\n"
    )
    here = [
        open_file(str(path), chunks={})["data"].data.name,
        open_file(str(path)).chunk(z=5)["data"].data.name,
        xarray_mrc.open_mrc(str(path)).data.name,
    ]
    assert run_program(program, path).split() == here


# Parameters


def test_open_dataset_parameters():
    signature = inspect.signature(MrcBackendEntrypoint().open_dataset)
    assert MrcBackendEntrypoint.open_dataset_parameters == tuple(signature.parameters)
    kinds = {p.kind for p in signature.parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_defaults_may_be_given(path):
    parameters = inspect.signature(MrcBackendEntrypoint.open_dataset).parameters
    defaults = {
        name: p.default
        for name, p in parameters.items()
        if p.default is not inspect.Parameter.empty
    }
    assert_identical(open_file(path, **defaults), open_file(path))
    del defaults["drop_variables"]
    assert_identical(open_file(path, backend_kwargs=defaults), open_file(path))


def test_engine_by_class(path):
    dataset = xr.open_dataset(path, engine=MrcBackendEntrypoint)
    assert_identical(dataset, open_file(path))
    for engine in ("mrc", MrcBackendEntrypoint):
        plain = xr.open_dataset(path, engine=engine, decode_cf=False)
        assert_identical(plain, dataset)


def test_unknown_parameter(path):
    with pytest.raises(TypeError, match="nonsense"):
        open_file(path, nonsense=1)


def test_drop_variables(path):
    assert open_file(path, drop_variables="z").coords.keys() == {"y", "x"}
    assert open_file(path, drop_variables=["z", "nothing"]).coords.keys() == {"y", "x"}
    assert not open_file(path, drop_variables={"data"}).data_vars


def test_default_name(path):
    dataset = open_file(path, default_name="density", chunks={})
    assert list(dataset.data_vars) == ["density"]
    assert_equal(dataset, expected().rename(data="density"))
    assert xarray_mrc.open_mrc(path, default_name="density").name == "density"


def test_open_dataarray(path):
    data = xr.open_dataarray(path, engine="mrc")
    assert_identical(data, open_file(path)["data"])
    assert_equal(data, expected()["data"])


@pytest.mark.parametrize("chunks", [None, {}, {"z": 20}])
def test_open_mrc(path, chunks):
    data = xarray_mrc.open_mrc(path, chunks=chunks)
    assert_identical(data, open_file(path)["data"])
    assert (data.chunks is None) == (chunks is None)
    assert xarray_mrc.open_mrc(path).chunks == ((20,), (6,), (7,))
    assert xarray_mrc.open_mrc(path, coords="none", drop_variables=[]).coords.keys() == set()


def test_without_default_indexes(path):
    dataset = open_file(path, create_default_indexes=False)
    assert not dataset.xindexes
    for dim in "zyx":
        assert dataset[dim].values.tolist() == LAID.positions(dim)
    assert_equal(dataset.set_xindex("z").set_xindex("y").set_xindex("x"), expected())


def test_open_datatree_is_refused_cleanly(path):
    # Everything is in one Dataset; a tree of groups makes no sense of it.
    with pytest.raises(NotImplementedError):
        xr.open_datatree(path, engine="mrc")
    with pytest.raises((NotImplementedError, ValueError)):
        xr.open_groups(path)


def test_engine_is_listed():
    engine = xr.backends.list_engines()["mrc"]
    assert isinstance(engine, MrcBackendEntrypoint)
    assert engine.description
    assert engine.url.startswith("https://")
    assert engine.description in repr(engine)
    assert engine.url in repr(engine)


# Guessing the engine


def guess(what) -> bool:
    return MrcBackendEntrypoint().guess_can_open(what)


SUFFIXES = ("mrc", "mrcs", "map", "ccp4", "st", "ali", "preali", "rec")


@pytest.mark.parametrize("suffix", [*SUFFIXES, "MRC", "Map"])
@pytest.mark.parametrize("shape", [str, Path])
def test_guess_by_name(tmp_path, suffix, shape):
    named = tmp_path / f"a.b.{suffix}"
    assert guess(shape(named))  # a missing file: the error is better by our hand
    save(named)
    assert guess(shape(named))
    assert_equal(xr.open_dataset(shape(named)), expected())
    save(named, b'{"version": 3, "sources": [], "mappings": "AAAA"}'.ljust(2000))
    assert not guess(shape(named))
    with pytest.raises(MrcFormatError, match="not an MRC file"):
        open_file(named)
    with pytest.raises(ValueError, match="did not find a match"):
        xr.open_dataset(shape(named))


@pytest.mark.parametrize("suffix", ["nc", "h5", "txt", "tif", "", "mrc.txt", "mrc~"])
def test_guess_leaves_other_names_alone(tmp_path, suffix):
    assert not guess(str(save(tmp_path / f"a.{suffix}")))


@pytest.mark.parametrize("content", [b"", b"MAP ", bytes(1023), bytes(4096), b"\x89HDF" * 500])
def test_guess_refuses_other_content(tmp_path, content):
    named = save(tmp_path / "other.mrc", content)
    for what in (named, content, memoryview(content), bytearray(content), io.BytesIO(content)):
        assert not guess(what)
        with pytest.raises(MrcError):
            open_file(what)


def test_guess_content_without_a_name(path):
    with path.open("rb") as file:
        for what in (LAID.raw, memoryview(LAID.raw), io.BytesIO(LAID.raw), file):
            assert guess(what)
            assert_equal(xr.open_dataset(what), expected())


@pytest.mark.parametrize(
    ("url", "claimed"),
    [
        ("https://example.org/a.mrc", True),
        ("https://example.org/a.map.gz", True),
        ("s3://bucket/deep/a.mrcs.bz2", True),
        ("https://example.org/a.nc", False),
        ("https://example.org/mrc", False),
        ("gs://bucket/a.mrc.zip", False),
    ],
)
def test_guess_url_by_suffix_alone(url, claimed, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    assert guess(url) is claimed


def test_url_of_another_kind_is_a_clear_error():
    for url in ("https://example.org/a.mrc", "s3://bucket/a.mrc", "gopher://x/a.mrc"):
        with pytest.raises(MrcError, match=f"{url}.*download"):
            open_file(url)


class NamedInBytes:
    def __fspath__(self):
        return b"name.mrc"


@pytest.mark.parametrize(
    "what",
    [
        None, 3, 2.5, object(), [], {}, b"", "", ".", "/", "nul\0.mrc", "\udcff.txt",
        "~nobody-of-that-name/a.mrc/b", "://", "file://[broken/a.mrc", "http://[broken/a.txt",
        NamedInBytes(), io.StringIO("text"), np.zeros(3), xr.Dataset(), "/dev/null/a.mrc",
        "a" * 5000 + ".mrc",
    ],
)  # fmt: skip
def test_guess_never_raises(what):
    assert not guess(what)


def test_guess_never_raises_for_what_is_no_file(tmp_path):
    folder = tmp_path / "folder.mrc"
    folder.mkdir()
    assert not guess(folder)
    closed = io.BytesIO(LAID.raw)
    closed.close()
    assert not guess(closed)
    reading, writing = os.pipe()
    with open(writing, "wb") as into, open(reading, "rb") as out:
        into.write(bytes(2000))
        into.flush()
        assert not guess(out)


@pytest.mark.parametrize("position", [0, 1, 1030])
def test_guess_never_moves_a_file(path, position):
    class Duck:  # no io.IOBase
        def __init__(self, file):
            self.read, self.readinto = file.read, file.readinto
            self.seek, self.tell = file.seek, file.tell

    with path.open("rb") as file, tempfile.NamedTemporaryFile() as wrapped:
        wrapped.write(LAID.raw)
        wrong = io.BytesIO(bytes(3000))
        for what in (file, wrapped, io.BytesIO(LAID.raw), wrong, Duck(file)):
            what.seek(position)
            assert guess(what) == (what is not wrong)
            assert what.tell() == position


# What can be opened


@pytest.mark.filterwarnings(SPLITS)
@pytest.mark.parametrize("chunks", [None, {}, {"z": 7}])
@pytest.mark.parametrize("make", [bytearray, memoryview, io.BytesIO])
def test_open_from_memory(make, chunks):
    dataset = open_file(make(LAID.raw), chunks=chunks)
    assert_equal(dataset, expected())
    assert_equal(dataset.isel(z=[4, 1], y=slice(None, None, -2)), expected().isel(z=[4, 1])[
        {"y": slice(None, None, -2)}
    ])  # fmt: skip


def test_open_bytes():
    assert_equal(open_file(LAID.raw), expected())
    assert_equal(xarray_mrc.open_mrc(LAID.raw), expected()["data"])
    assert_equal(xarray_mrc.open_mrc(LAID.raw, chunks=None), expected()["data"])


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_bytes_are_pickled_with_the_dataset(make):
    assert_equal(pickle.loads(pickle.dumps(open_file(make(LAID.raw)))), expected())


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, io.BytesIO])
def test_loaded_from_memory_is_not_the_memory(make):
    raw = make(LAID.raw)
    dataset = open_file(raw)
    dataset["data"].load()[...] = 1
    assert_equal(open_file(raw), expected())


def test_file_object_is_held_and_not_closed(path):
    with path.open("rb") as file:
        dataset = open_file(file)
        path.unlink()
        assert_equal(dataset[["data"]].isel(z=3), expected().isel(z=3))
        assert_equal(open_file(file, chunks={}).max("z"), expected().max("z"))
        assert not file.closed
        for thing in (dataset, dataset["data"], dataset.isel(z=1), open_file(file, chunks={})):
            with pytest.raises(TypeError, match="by its path or URL"):
                pickle.dumps(thing)
        assert_equal(pickle.loads(pickle.dumps(dataset.compute())), expected())
    with pytest.raises(ValueError, match="closed file"):
        dataset["data"][0].load()


def test_two_datasets_of_one_file_object_take_turns(path):
    wanted = expected()["data"].values
    with path.open("rb", buffering=0) as file:
        datasets = [open_file(file, cache=False)["data"] for _ in range(8)]

        def compare(number):
            z = number % 20
            data = datasets[number % 8] if number % 5 else open_file(file)["data"]
            return np.array_equal(data[z], wanted[z], equal_nan=True)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(compare, range(1000)))
        finally:
            sys.setswitchinterval(interval)


def test_text_file_is_refused(path):
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match="binary file"):
        open_file(file)


def test_paths(path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    odd = save(tmp_path / "50% of #1?, naïve [a]&b=c;d:e.mrc")
    ways = [str(path), path, "volume.mrc", Path("volume.mrc"), "./elsewhere/../volume.mrc"]
    ways += ["~/volume.mrc", Path("~/volume.mrc"), path.as_uri(), odd, str(odd), odd.as_uri()]
    ways += [f"file://localhost{path}"]
    opened = [open_file(way) for way in ways] + [open_file(way, chunks={}) for way in ways]
    opened += [MrcBackendEntrypoint().open_dataset(way) for way in ways]
    monkeypatch.chdir(tmp_path / "elsewhere")
    for dataset in opened:
        assert_equal(dataset, expected())
        assert dataset.encoding["source"] in (str(path), str(odd))
        assert pickle.loads(pickle.dumps(dataset))["data"].sizes == {"z": 20, "y": 6, "x": 7}


def test_missing_file(tmp_path):
    for missing in (tmp_path / "no.mrc", str(tmp_path / "no.mrc"), (tmp_path / "no.mrc").as_uri()):
        with pytest.raises(FileNotFoundError, match=r"no\.mrc"):
            open_file(missing)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)


# Attributes and encoding


def simple(value) -> bool:
    if type(value) is list:
        return len({type(item) for item in value}) == 1 and all(
            type(item) in (str, int, float) for item in value
        )
    return type(value) in (str, int, float)


def full(form="float32", kind="volume", **options) -> Laid:
    """Lay down a file whose header says as much as it can."""
    labels = tuple(f"label {i}".encode() for i in range(10))
    return lay(
        form, kind, labels=labels, nstart=(1, 2, 3), origin=(1.5, -2.25, 3.1),
        cellb=(90.0, 90.0, 120.0), imod_stamp=1146047817, imod_flags=7, exttyp=b"CCP4",
        extended=b"X,Y,Z".ljust(80), **options,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2)])
def test_types_of_attributes(tmp_path, kind, axes):
    if kind != "volume" and axes != (1, 2, 3):
        pytest.skip("only maps have other axes")
    dataset = open_file(save(tmp_path / "full.mrc", full(kind=kind, axes=axes)))
    variables = {**dataset.variables}
    assert not dataset.attrs
    for name, variable in variables.items():
        assert all(simple(value) for value in variable.attrs.values()), (name, variable.attrs)
    attrs = dataset["data"].attrs
    assert all(name.startswith("mrc_") for name in attrs)
    assert attrs["mrc_labels"].split("\n") == [f"label {i}" for i in range(10)]
    encoding = dataset["data"].encoding
    assert encoding.keys() == {"source", "preferred_chunks", "mrc_mode", "mrc_byteorder"}
    assert (encoding["mrc_mode"], encoding["mrc_byteorder"]) == (2, "<")
    assert encoding["source"] == dataset.encoding["source"] == str(tmp_path / "full.mrc")


# Saving as it is


def can_hold(writer: str, form) -> bool:
    return not (writer == "netcdf4" and form.dtype in ("f2", "c8"))


def write(dataset: xr.Dataset, writer: str, target: Path) -> None:
    if writer.startswith("zarr"):
        dataset.to_zarr(target, zarr_format=int(writer[-1]), consolidated=False)
    else:
        dataset.to_netcdf(target, engine=writer)


def read(writer: str, target: Path) -> xr.Dataset:
    if writer.startswith("zarr"):
        return xr.open_zarr(target, consolidated=False, chunks=None).load()
    with xr.open_dataset(target, engine=writer) as dataset:
        return dataset.load()


WRITERS = ("zarr2", "zarr3", "netcdf4", "h5netcdf")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_saving(tmp_path, form, writer):
    laid = full(form, order=">") if form.flags is None else lay(form, order=">")
    dataset = open_file(save(tmp_path / "file.mrc", laid))
    if not can_hold(writer, form):
        with pytest.raises((TypeError, ValueError)):
            write(dataset, writer, tmp_path / "out")
        return
    write(dataset, writer, tmp_path / "out")
    found = read(writer, tmp_path / "out")
    assert_identical(found, dataset)
    assert found["data"].dtype == laid.pixels.dtype
    assert found["data"].values.tobytes() == laid.pixels.tobytes()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_saving_chunks(tmp_path, kind, writer):
    laid = full("int16", kind)
    path = save(tmp_path / "file.mrc", laid)
    dataset = open_file(path, chunks={}, preferred_chunks={"y": 2})
    write(dataset, writer, tmp_path / "out")
    assert_identical(read(writer, tmp_path / "out"), open_file(path))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("chunks", [None, {}])
def test_what_is_derived_is_saved_whole(tmp_path, chunks, writer):
    # A dtype in the encoding, as other engines set it, would cut these down to integers.
    laid = lay("int16", lengths=(7, 6, 5))
    dataset = open_file(save(tmp_path / "file.mrc", laid), chunks=chunks)
    doubled = xr.concat([dataset, dataset * 1.25], "run")
    assert doubled["data"].dtype.kind == "f"
    write(doubled, writer, tmp_path / "concat")
    found = read(writer, tmp_path / "concat")["data"]
    assert found.dtype == doubled["data"].dtype
    np.testing.assert_array_equal(found[1], laid.pixels * 1.25)
    with xr.set_options(keep_attrs=True):
        halves = dataset.coarsen(z=2, y=2, x=2, boundary="trim").mean()
    write(halves, writer, tmp_path / "halves")
    assert_identical(read(writer, tmp_path / "halves"), halves.compute())
    wide = dataset.astype("f8") / 3
    write(wide, writer, tmp_path / "wide")
    assert_identical(read(writer, tmp_path / "wide"), wide.compute())


def fei_records(count: int) -> bytes:
    """Lay down FEI1 records in which every field is set."""
    records = bytearray(768 * count)
    for i in range(count):
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 << 7 | 1 << 22)
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
        struct.pack_into("<d", records, 768 * i + 220, -4e-6)
    return bytes(records)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("which", ["common", "all", "raw"])
def test_saving_an_extended_header(tmp_path, writer, which):
    laid = lay(kind="image_stack", lengths=(5, 4, 3), extended=fei_records(3), exttyp=b"FEI1")
    dataset = open_file(save(tmp_path / "tilts.mrc", laid), extended_header=which)
    if which != "raw":
        assert dataset["tilt_angle"].values.tolist() == [-3, 0, 3]
        by_angle = dataset.swap_dims(image="tilt_angle")
        assert_equal(by_angle.sel(tilt_angle=3), dataset.isel(image=2))
    write(dataset, writer, tmp_path / "out")
    assert_identical(read(writer, tmp_path / "out"), dataset)


# Many files, many processes


@pytest.mark.parametrize("engine", ["mrc", MrcBackendEntrypoint])
@pytest.mark.parametrize("parallel", [False, True])
def test_open_mfdataset(tmp_path, parallel, engine):
    laid = [lay(seed=seed) for seed in range(3)]
    paths = [save(tmp_path / f"{seed}.mrc", one) for seed, one in enumerate(laid)]
    dataset = xr.open_mfdataset(
        paths, engine=engine, combine="nested", concat_dim="run", parallel=parallel,
        join="exact", compat="equals", data_vars="all", coords="minimal",
        preprocess=lambda ds: ds.expand_dims(run=[Path(ds.encoding["source"]).name]),
    )  # fmt: skip
    assert dataset["data"].chunks[0] == (1, 1, 1)
    assert dataset["run"].values.tolist() == ["0.mrc", "1.mrc", "2.mrc"]
    np.testing.assert_array_equal(dataset["data"], np.stack([one.pixels for one in laid]))
    assert dataset["x"].values.tolist() == laid[0].positions("x")


def test_open_mfdataset_by_coords(tmp_path):
    # One volume in two files, told apart by where they start.
    laid = lay(lengths=(5, 4, 6))
    data = laid.raw[1024:]
    middle = len(data) // 2
    for name, start, part in (("b", 3, data[middle:]), ("a", 0, data[:middle])):
        head = laid.with_fields(nz=3, nzstart=start)[:1024]
        (tmp_path / f"{name}.mrc").write_bytes(head + part)
    parts = xr.open_mfdataset(
        str(tmp_path / "*.mrc"), engine="mrc", data_vars="minimal", coords="minimal",
        compat="override", join="outer",
    )  # fmt: skip
    assert_equal(parts, expected(laid))


PROCESSES = """
import multiprocessing
import sys
import xarray as xr

def total(dataset):
    return int(dataset["data"].sum())

if __name__ == "__main__":
    lazy = xr.open_dataset(sys.argv[1], engine="mrc")
    chunked = xr.open_dataset(sys.argv[1], engine="mrc", chunks={}, preferred_chunks={"z": 2})
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(*pool.map(total, [lazy, lazy.isel(z=slice(3)), chunked]))
"""


def test_multiprocessing(tmp_path):
    laid = lay("int16")
    path = save(tmp_path / "file.mrc", laid)
    whole, part = laid.pixels.sum(), laid.pixels[:3].sum()
    lines = run_program(PROCESSES, path, folder=tmp_path).splitlines()
    assert len(lines) >= 1
    assert lines == [f"{whole} {part} {whole}"] * len(lines)


# Positions that go on agreeing


def sizes_and_starts():
    return itertools.product((1.0, 1.35, 0.834, 2.62, 13.48), (0.0, -120.4, 99.9, 0.3))


def row(voxel: float, start: float, count: int = 240) -> xr.Dataset:
    head = put(
        lay(lengths=(4, 4, 4)).head, "<", nx=count, ny=1, nz=1, mx=count, my=1, mz=1,
        cella=(count * voxel, 1.0, 1.0), origin=(start, 0.0, 0.0),
    )  # fmt: skip
    data = np.arange(count, dtype="<f4").tobytes()
    return open_file(head + data).squeeze(("z", "y"), drop=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_cut_bin_save_and_read_still_align(tmp_path, writer):
    parent = row(1.35, -120.4)
    half = parent.coarsen(x=2).mean()
    cut = parent.isel(x=slice(40, 200)).coarsen(x=2).mean()
    write(cut, writer, tmp_path / "cut")
    difference = half - read(writer, tmp_path / "cut")
    assert difference.sizes == {"x": 80}
    assert not difference["data"].any()
    write(parent.isel(x=slice(40, 200, 3)), writer, tmp_path / "thin")
    difference = parent - read(writer, tmp_path / "thin")
    assert difference.sizes == {"x": 54}
    assert not difference["data"].any()


@pytest.mark.parametrize("factor", [3, 5, 7, 9])
def test_odd_bins_align_with_their_middle_voxels(factor):
    for voxel, start in sizes_and_starts():
        parent = row(voxel, start)
        middle = parent["x"].values[factor // 2 :: factor][: 240 // factor]
        # The mean of float64 can miss the middle by its last bits; the median is the middle.
        mean = parent.coarsen(x=factor, boundary="trim").mean()
        np.testing.assert_allclose(mean["x"], middle, rtol=0, atol=1e-9)
        exact = parent.coarsen(x=factor, boundary="trim", coord_func="median").mean()
        np.testing.assert_array_equal(exact["x"], middle)
        assert (parent + exact).sizes["x"] == len(middle)
        nearest = parent.reindex(x=mean["x"], method="nearest", tolerance=1e-3)
        np.testing.assert_array_equal(nearest["data"], parent["data"].sel(x=middle))


def test_cut_outs_of_one_grid_align(tmp_path):
    # As another program cuts: ORIGIN moved on by whole voxels, in float32.
    for voxel, start in sizes_and_starts():
        parent = row(voxel, start)
        for first in (1, 74, 133):
            cut = row(voxel, float(parent["x"][first]), 240 - first)
            assert (parent + cut).sizes["x"] == 240 - first


def test_the_package_is_installed_with_its_engine(path):
    # The engine by name, in a process that imports nothing of ours.
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import xarray as xr\n"
        "ds = xr.open_dataset(sys.argv[1])\n"
        "print(ds.mrc.kind, *ds.sizes.values())\n"
    )
    assert run_program(program, path) == "volume 20 6 7\n"


def test_import_is_light():
    heavy = {"dask", "distributed", "zarr", "fsspec", "isal", "matplotlib", "rich", "scipy"}
    program = "import sys, xarray; before = set(sys.modules); import xarray_mrc\n"
    program += "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    assert not heavy & set(run_program(program).split())


def test_no_warning_at_all(path, recwarn):
    for chunks in (None, {}, "auto", -1):
        open_file(path, chunks=chunks).load()
    assert not recwarn.list


def test_one_warning_points_at_the_caller(tmp_path):
    odd = save(tmp_path / "odd.mrc", put(LAID.raw, "<", machst=b"\x11\x11\0\0"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_file(odd)
        xarray_mrc.open_mrc(odd)
    assert [warning.category for warning in caught] == [xarray_mrc.MrcWarning] * 2
    assert {warning.filename for warning in caught} == {__file__}
    assert all(str(odd) in str(warning.message) for warning in caught)


def test_copies_of_one_file_agree(path, tmp_path):
    other = shutil.copy(path, tmp_path / "copy.mrc")
    assert_identical(open_file(path), open_file(other))
    assert key_of(open_file(path, chunks={})) != key_of(open_file(other, chunks={}))
