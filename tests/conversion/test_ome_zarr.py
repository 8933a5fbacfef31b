"""OME-Zarr of every kind of data: values of the first level to the bit, means in the others."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading

import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from mrcbytes import FORMS, KINDS, lay

import xarray_mrc
from xarray_mrc import MrcWarning, convert, to_ome_zarr
from xarray_mrc.conversion import grid, pyramid, pyramid_tasks

LAID = lay("int16", lengths=(70, 66, 65), nstart=(3, -2, 5), labels=(b"made by hand",))
CHUNKS = {"z": 16, "y": 32, "x": 32}


@pytest.fixture
def small_tasks(monkeypatch):
    """Regions and tasks so small that there are many of them."""
    monkeypatch.setattr(grid, "REGION_NBYTES", 20_000)
    monkeypatch.setattr(pyramid, "REGION_NBYTES", 20_000)
    monkeypatch.setattr(pyramid, "TASK_NBYTES", 150_000)
    monkeypatch.setattr(pyramid, "PART_NBYTES", 9_000)


def save(folder, laid=LAID, name="a.mrc"):
    packed = gzip.compress(laid.raw) if name.endswith(".gz") else laid.raw
    (folder / name).write_bytes(packed)
    return folder / name


def opened(path, **options):
    return xr.open_dataset(path, engine="mrc", **options)["data"]


def assert_pyramid(group, array, factors=(1, 2, 4)):
    """Assert that a group has the values of an array to the bit, and the means of its blocks."""
    array = array.transpose("rgb", ...) if "rgb" in array.dims else array
    for number, factor in enumerate(factors):
        found = zarr.open_array(group, path=str(number))[:]
        assert found.dtype == array.dtype
        if factor == 1:
            assert found.tobytes() == array.values.tobytes()
            continue
        wide = array.astype("c16" if array.dtype.kind == "c" else "f8")
        binned = {dim: factor for dim in array.dims if dim in "xyz"}
        with np.errstate(invalid="ignore"):  # of infinite values
            exact = wide.coarsen(binned, boundary="pad").mean().values
        if array.dtype.kind in "iu":
            np.testing.assert_array_equal(found, np.rint(exact))
        else:
            np.testing.assert_allclose(found, exact, rtol=2 * np.finfo(array.dtype).eps)


def attributes_of(group):
    found = dict(zarr.open_group(group, mode="r").attrs)
    return found.get("ome", found)


def left_over(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


# All forms of a volume, and all kinds of some.
FORMS_AND_KINDS = [
    (form, kind)
    for form, kind in itertools.product(FORMS.values(), KINDS)
    if kind == "volume" or form.name in ("int16", "rgb")
]


@pytest.mark.parametrize(("form", "kind"), FORMS_AND_KINDS, ids=str)
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_every_form(tmp_path, form, kind):
    path = save(tmp_path, lay(form, kind, order=">"))
    if form.trailing and kind.endswith("stack"):
        with pytest.raises(ValueError, match="a stack of colour"):
            convert(path, tmp_path / "a.ome.zarr")
        return
    convert(path, tmp_path / "a.ome.zarr", chunks={"x": 2, "y": 2})
    array = opened(path)
    first = zarr.open_array(tmp_path / "a.ome.zarr" / "0")
    array = array.transpose("rgb", ...) if "rgb" in array.dims else array
    assert first[:].tobytes() == array.values.tobytes()
    names = ["c" if dim == "rgb" else dim for dim in array.dims]
    assert list(first.metadata.dimension_names) == names
    if array.dtype.kind in "iu":  # floats have infinite values; test_block_means has these
        assert_pyramid(tmp_path / "a.ome.zarr", array)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_all_ways_to_hold_the_data_are_the_same(tmp_path, small_tasks, version):
    path, packed = save(tmp_path), save(tmp_path, name="a.mrc.gz")
    lazy = opened(path)
    ways = {
        "lazy": lazy,
        "stream": opened(packed),
        "memory": lazy.load().copy(),
        "blocks": opened(path, chunks={}),
        "dask": opened(path).chunk(z=13, y=25),
        "computed": opened(path, chunks={}) * 1,
        "transposed": opened(path).transpose("x", "z", "y"),
        "dataset": opened(path).to_dataset(),
    }
    for name, data in ways.items():
        group = tmp_path / f"{name}.ome.zarr"
        to_ome_zarr(data, group, version=version, chunks=CHUNKS)
        assert_pyramid(group, lazy)
    assert zarr.open_array(tmp_path / "lazy.ome.zarr" / "0").chunks == (16, 32, 32)
    assert not left_over(tmp_path)


@pytest.mark.parametrize("shards", [None, {"z": 32, "y": 64, "x": 32}])
def test_shards(tmp_path, small_tasks, shards):
    path = save(tmp_path)
    convert(path, tmp_path / "a.ome.zarr", chunks=CHUNKS, shards=shards)
    assert_pyramid(tmp_path / "a.ome.zarr", opened(path))
    first = zarr.open_array(tmp_path / "a.ome.zarr" / "0")
    assert first.shards == (shards and tuple(shards.values()))


@pytest.mark.parametrize("factors", [[], [3], (2, 3, 8)])
def test_other_factors(tmp_path, small_tasks, factors):
    path = save(tmp_path)
    to_ome_zarr(opened(path), tmp_path / "a.ome.zarr", scale_factors=factors, chunks=CHUNKS)
    assert_pyramid(tmp_path / "a.ome.zarr", opened(path), (1, *factors))
    assert len(attributes_of(tmp_path / "a.ome.zarr")["multiscales"][0]["datasets"]) == 1 + len(
        factors
    )


def test_each_chunk_of_a_dask_array_is_computed_once(tmp_path, small_tasks):
    calls, lock = [], threading.Lock()

    def made(block, block_id=None):
        with lock:
            calls.append(block_id)
        return block + 1

    plain = np.arange(70 * 66 * 65, dtype="i4").reshape(70, 66, 65)
    blocks = dask.array.from_array(plain, chunks=(11, 66, 30)).map_blocks(made, meta=plain[:0])
    array = xr.DataArray(blocks, dims=("z", "y", "x"))
    to_ome_zarr(array, tmp_path / "a.ome.zarr", chunks=CHUNKS)
    assert sorted(calls) == sorted(np.ndindex(7, 1, 3))
    assert_pyramid(tmp_path / "a.ome.zarr", xr.DataArray(plain + 1, dims=("z", "y", "x")))


def test_labels(tmp_path):
    labels = np.random.default_rng(2).integers(0, 3, (9, 10, 11)).astype("i2")
    array = xr.DataArray(labels, dims=("z", "y", "x"))
    to_ome_zarr(array, tmp_path / "a.ome.zarr", method="mode", scale_factors=[2])
    found = zarr.open_array(tmp_path / "a.ome.zarr" / "1")[:]
    for index in np.ndindex(found.shape):
        block = labels[tuple(slice(2 * i, 2 * i + 2) for i in index)]
        assert found[index] == np.bincount(block.ravel()).argmax()
    to_ome_zarr(array > 1, tmp_path / "b.ome.zarr", method="nearest", scale_factors=[2])
    found = zarr.open_array(tmp_path / "b.ome.zarr" / "1")
    assert found.dtype == "int8"
    np.testing.assert_array_equal(found[:], labels[::2, ::2, ::2] > 1)
    assert attributes_of(tmp_path / "b.ome.zarr")["multiscales"][0]["type"] == "nearest"


# What is beside the values


def test_contrast_limits_are_percentiles_of_the_coarsest_level(tmp_path, small_tasks):
    path = save(tmp_path)
    convert(path, tmp_path / "a.ome.zarr", chunks=CHUNKS)
    coarsest = zarr.open_array(tmp_path / "a.ome.zarr" / "2")[:]
    (channel,) = attributes_of(tmp_path / "a.ome.zarr")["omero"]["channels"]
    low, high = np.percentile(coarsest, (0.5, 99.5))
    window = {"min": coarsest.min(), "max": coarsest.max(), "start": low, "end": high}
    assert channel["window"] == pytest.approx(window)
    assert (channel["color"], channel["label"]) == ("FFFFFF", "data")


def test_a_sample_gives_the_contrast_of_a_large_level(tmp_path, small_tasks, monkeypatch):
    monkeypatch.setattr(pyramid_tasks, "SAMPLE_VALUES", 2000)
    random = np.random.default_rng(4)
    array = xr.DataArray(random.normal(size=(70, 66, 65)).astype("f4"), dims=("z", "y", "x"))
    array[0] = np.nan
    to_ome_zarr(array, tmp_path / "a.ome.zarr", chunks=CHUNKS)
    coarsest = zarr.open_array(tmp_path / "a.ome.zarr" / "2")[:]
    (channel,) = attributes_of(tmp_path / "a.ome.zarr")["omero"]["channels"]
    window = channel["window"]
    assert (window["min"], window["max"]) == pytest.approx((coarsest.min(), coarsest.max()))
    low, high = np.percentile(coarsest, (0.5, 99.5))
    assert abs(window["start"] - low) < 0.15 * (high - low)
    assert abs(window["end"] - high) < 0.15 * (high - low)


def test_data_without_contrast(tmp_path):
    blank = xr.DataArray(np.full((4, 4), np.nan, "f4"), dims=("y", "x"))
    to_ome_zarr(blank, tmp_path / "a.ome.zarr")
    (channel,) = attributes_of(tmp_path / "a.ome.zarr")["omero"]["channels"]
    assert channel["window"] == {"min": 0, "max": 1, "start": 0, "end": 1}
    to_ome_zarr(blank.astype("c8"), tmp_path / "b.ome.zarr")
    assert "omero" not in attributes_of(tmp_path / "b.ome.zarr")


def test_header_and_attributes_are_kept(tmp_path):
    path = save(tmp_path)
    to_ome_zarr(opened(path), tmp_path / "tomo.ome.zarr")
    found = attributes_of(tmp_path / "tomo.ome.zarr")
    (image,) = found["multiscales"]
    assert image["name"] == "tomo"
    header = image["metadata"]["source_mrc_header"]
    assert (header["nx"], header["nxstart"], header["label"]) == (70, 3, ["made by hand"])
    assert image["metadata"]["attributes"]["mrc_labels"] == "made by hand"
    assert found["_creator"]["name"] == "xarray_mrc"
    for document in (tmp_path / "tomo.ome.zarr").rglob("zarr.json"):
        json.loads(document.read_text(), parse_constant=pytest.fail)  # no NaN, which JSON lacks


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_tilt_angles_are_kept(tmp_path, version):
    path = save(tmp_path, lay(kind="image_stack", lengths=(12, 10, 3)), "tilts.st")
    (tmp_path / "tilts.rawtlt").write_text("-3.0\n0.0\n3.0\n")
    array = opened(path)
    convert(path, tmp_path / "a.ome.zarr", ome_version=version)
    found = xr.open_zarr(tmp_path / "a.ome.zarr", group="coordinates", consolidated=False)
    assert found["tilt_angle"].values.tolist() == [-3, 0, 3]
    assert found["tilt_angle"].attrs == array["tilt_angle"].attrs
    assert_pyramid(tmp_path / "a.ome.zarr", array)


def test_one_warning_names_what_is_lost(tmp_path):
    array = opened(save(tmp_path))
    array.attrs["mrc_cell_angles"] = [90.0, 110.0, 90.0]
    bare = array.assign_coords(x=("x", array.x.values))
    with pytest.warns(MrcWarning) as found:
        to_ome_zarr(bare, tmp_path / "a.ome.zarr")
    assert len(found) == 1
    assert "cell angles" in str(found[0].message)
    assert "x have no units" in str(found[0].message)
    assert found[0].filename == __file__


def test_the_portal(tmp_path):
    path = save(tmp_path)
    convert(path, tmp_path / "a.zarr", profile="cryoet-portal", format="ome-zarr")
    array = opened(path)
    assert_pyramid(tmp_path / "a.zarr", array.astype("f4"))
    for number in "012":
        document = json.loads((tmp_path / "a.zarr" / number / ".zarray").read_text())
        assert document["chunks"] == [256, 256, 256]
        assert (document["dtype"], document["dimension_separator"]) == ("<f4", "/")
    (image,) = attributes_of(tmp_path / "a.zarr")["multiscales"]
    assert image["version"] == "0.4"
    assert image["axes"] == [{"name": n, "type": "space", "unit": "angstrom"} for n in "zyx"]
    steps = np.array([round(float(array[dim][1] - array[dim][0]), 3) for dim in "zyx"])
    for factor, dataset in zip((1, 2, 4), image["datasets"], strict=True):
        (scale,) = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": pytest.approx(list(steps * factor))}
    assert image["metadata"]["source_mrc_header"]["nx"] == 70
    with pytest.raises(ValueError, match=r"'0\.6', but profile='cryoet-portal' is OME-Zarr 0.4"):
        to_ome_zarr(array, tmp_path / "b.zarr", profile="cryoet-portal", version="0.6")


# Complete, or not there


def test_failures_leave_nothing(tmp_path, small_tasks):
    plain = np.zeros((40, 40, 40), "i2")

    def fail(block, block_id=None):
        if block_id == (1, 0, 0):
            raise KeyError("no more")
        return block

    blocks = dask.array.from_array(plain, chunks=(20, 40, 40)).map_blocks(fail, meta=plain[:0])
    array = xr.DataArray(blocks, dims=("z", "y", "x"))
    with pytest.raises(KeyError, match="no more"):
        to_ome_zarr(array, tmp_path / "a.ome.zarr", chunks=CHUNKS)
    path = save(tmp_path, name="a.mrc.gz")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(xarray_mrc.MrcError):
        convert(path, tmp_path / "a.ome.zarr", chunks=CHUNKS)
    assert os.listdir(tmp_path) == ["a.mrc.gz"]
    good = xr.DataArray(plain, dims=("z", "y", "x"))
    to_ome_zarr(good, tmp_path / "a.ome.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        to_ome_zarr(good, tmp_path / "a.ome.zarr")
    to_ome_zarr(good + 1, tmp_path / "a.ome.zarr", overwrite=True)
    assert_pyramid(tmp_path / "a.ome.zarr", good + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "0.3"}, "expected one of 0.4, 0.5, 0.6"),
        ({"scale_factors": [4, 2]}, "whole numbers above 1 that increase"),
        ({"method": "mode"}, "but the data are float32"),
        ({"chunks": {"q": 3}}, r"chunks=\{'q': 3\}"),
        ({"version": "0.4", "shards": {"z": 4}}, "OME-Zarr 0.4 has none"),
        ({"profile": "emdb"}, "profile='emdb', expected 'cryoet-portal'"),
        ({"profile": "cryoet-portal"}, "the voxel size is unknown"),
        ({"compression": "gzip"}, "expected 'infer', None or a compressor"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    array = xr.DataArray(np.zeros((4, 4, 4), "f4"), dims=("z", "y", "x"))
    with pytest.raises(ValueError, match=message):
        to_ome_zarr(array, tmp_path / "a.ome.zarr", **options)
    assert not os.listdir(tmp_path)


def test_options_of_convert_that_do_not_fit(tmp_path):
    path = save(tmp_path)
    for target, options, message in (
        ("a.zarr", {"ome_version": "0.4"}, "ome_version= was passed, but .* a plain Zarr group"),
        ("b.mrc", {"scale_factors": (2,)}, "scale_factors= was passed, but .* an MRC file"),
        ("a.ome.zarr", {"zarr_format": 2}, "pass ome_version='0.4'"),
        ("a.ome.zarr", {"mode": 1}, "mode=1 was passed"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(path, tmp_path / target, **options)
    convert(path, tmp_path / "a.ome.zarr", dtype="float32", method="nearest", scale_factors=(2,))
    assert zarr.open_array(tmp_path / "a.ome.zarr" / "1").dtype == "float32"
    convert(path, tmp_path / "b.ome.zarr", format="zarr")
    assert xr.open_zarr(tmp_path / "b.ome.zarr")["data"].shape == LAID.pixels.shape


def test_workers_of_a_cluster(tmp_path, small_tasks):
    distributed = pytest.importorskip("distributed")
    path = save(tmp_path)
    array = opened(path)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        to_ome_zarr(array, tmp_path / "lazy.ome.zarr", chunks=CHUNKS)
        to_ome_zarr(opened(path).chunk(z=20), tmp_path / "dask.ome.zarr", chunks=CHUNKS)
        to_ome_zarr(array.load(), tmp_path / "memory.ome.zarr", chunks=CHUNKS)
    for name in ("lazy", "dask", "memory"):
        assert_pyramid(tmp_path / f"{name}.ome.zarr", array)


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_parts_make_the_same_group(tmp_path, small_tasks, name):
    path = save(tmp_path, name=name)
    whole, parts = tmp_path / "whole" / "a.ome.zarr", tmp_path / "parts" / "a.ome.zarr"
    for target in (whole, parts):
        target.parent.mkdir()
    convert(path, whole, chunks=CHUNKS)
    for partition in ("prepare", (2, 3), (0, 3), (1, 3), (0, 3), "finish"):
        convert(path, parts, chunks=CHUNKS, partition=partition)
    files = [
        {p.relative_to(group): p.read_bytes() for p in group.rglob("*") if p.is_file()}
        for group in (whole, parts)
    ]
    assert files[0] == files[1]
