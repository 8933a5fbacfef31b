"""Indexing opened files as xarray does: orthogonal, pointwise, by label, with the axes turned."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay
from opened import LAID, Counting, expected, open_file, points, save
from xarray.testing import assert_equal


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
