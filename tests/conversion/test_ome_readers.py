"""OME-Zarr as other programs read it: all of them agree with the file and with xarray."""

from __future__ import annotations

import functools
from importlib.metadata import version

import numpy as np
import pytest
import xarray as xr
import zarr
from mrcbytes import lay

from xarray_mrc import convert

# napari and pydantic warn of each other at import.
pytestmark = pytest.mark.filterwarnings("ignore:`json_encoders` is deprecated:DeprecationWarning")

FACTORS = (1, 2, 4)
VERSIONS = ("0.4", "0.5", "0.6")
FORMS = ("volume", "image_stack", "image", "volume_stack", "without_voxel_size")


@pytest.fixture(scope="module", params=FORMS)
def written(request, tmp_path_factory):
    """A function that returns the path of an OME-Zarr of a version, and the data of the file."""
    kind = "volume" if request.param == "without_voxel_size" else request.param
    lengths = (21, 18, 1 if kind == "image" else 13) if kind != "volume_stack" else (11, 10, 9)
    unknown = {"cella": (0.0, 0.0, 0.0)} if kind != request.param else {"nstart": (3, -2, 5)}
    chunks = {"y": 8, "x": 8} | ({"z": 8} if kind.startswith("volume") else {})
    folder = tmp_path_factory.mktemp("ome")
    path = folder / "a.mrc"
    path.write_bytes(lay("int16", kind, lengths=lengths, **unknown).raw)
    array = xr.open_dataset(path, engine="mrc")["data"]

    @functools.cache
    def write(version):
        target = folder / version / "a.ome.zarr"
        target.parent.mkdir()
        convert(path, target, ome_version=version, chunks=chunks)
        return str(target), array

    return write


def expected_levels(array):
    """Yield values, scale and translation of each level, as coarsen gives them."""
    for factor in FACTORS:
        binned = {dim: min(factor, n) for dim, n in array.sizes.items() if dim in "xyz"}
        wide = array.astype("f8").coarsen(binned, boundary="pad").mean()
        values = np.rint(wide.values).astype(array.dtype)
        scale, start = {}, {}
        for dim in array.dims:
            line = array.coords[dim].values if dim in array.coords else None
            step = 1.0 if line is None else (line[-1] - line[0]) / (line.size - 1)
            first = 0.0 if line is None else line[0]
            length = binned.get(dim, 1)
            scale[dim], start[dim] = step * length, first + (length - 1) / 2 * step
        yield values, scale, start


def assert_levels(array, levels):
    """Compare (values, scale, translation) of levels; a scale or translation may be missing."""
    for (values, scale, start), (found, its_scale, its_start) in zip(
        expected_levels(array), levels, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(found), values)
        if its_scale is not None:
            assert dict(its_scale) == pytest.approx(scale, abs=1e-6)
        if its_start is not None:
            assert dict(its_start) == pytest.approx(start, abs=1e-6)


def units_of(array):
    return {dim: "angstrom" for dim in array.dims if dim in array.coords and dim in "xyz"}


@pytest.mark.parametrize("version", VERSIONS)
def test_ngff_zarr(written, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    path, array = written(version)
    found = ngff_zarr.from_ome_zarr(path, validate=True)
    assert_levels(array, [(image.data, image.scale, image.translation) for image in found.images])
    units = found.images[0].axes_units or {}
    assert {dim: unit for dim, unit in units.items() if unit} == units_of(array)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_py(written, version):
    pytest.importorskip("ome_zarr")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    path, array = written(version)
    (node,) = Reader(parse_url(path))()
    transforms = node.metadata["coordinateTransformations"]
    assert [axis["name"] for axis in node.metadata["axes"]] == list(array.dims)
    named = [[dict(zip(array.dims, t[t["type"]], strict=True)) for t in ts] for ts in transforms]
    assert_levels(array, [(d, *t) for d, t in zip(node.data, named, strict=True)])
    coarsest = np.asarray(node.data[-1])
    limits = [float(v) for v in np.percentile(coarsest, (0.5, 99.5))]
    assert node.metadata["contrast_limits"] == [pytest.approx(limits)]


def test_ome_zarr_py_reads_values_of_0_6(written):
    ome_zarr = pytest.importorskip("ome_zarr")
    if tuple(map(int, version("ome-zarr").split(".")[:2])) < (0, 21):
        pytest.skip("ome-zarr-py knows 0.6 since 0.21, for Python 3.12")
    path, array = written("0.6")
    found = ome_zarr.OMEZarrMultiscale.from_ome_zarr(path)
    np.testing.assert_array_equal(np.asarray(found.images[0].data), array.values)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_napari_ome_zarr(written, version):
    reader = pytest.importorskip("napari_ome_zarr")
    path, array = written(version)
    ((data, options, kind),) = reader.napari_get_reader(path)(path)
    assert kind == "image"
    scale = dict(zip(array.dims, options["scale"], strict=True))
    assert_levels(array.astype("i2"), [(d, None, None) for d in data])
    assert scale == pytest.approx(next(iter(expected_levels(array)))[1], abs=1e-6)
    assert options["name"] == "a: data"
    low, high = options["contrast_limits"]
    assert low < high
    wanted = units_of(array)
    if wanted:
        units = dict(zip(array.dims, options["units"], strict=True))
        assert {dim: unit for dim, unit in units.items() if dim in wanted} == wanted


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_yaozarrs(written, version):
    yaozarrs = pytest.importorskip("yaozarrs")
    path, _ = written(version)
    assert yaozarrs.validate_zarr_store(path)


@pytest.mark.parametrize("version", VERSIONS)
def test_ome_zarr_models(written, version):
    name = f"ome_zarr_models.v{version.replace('.', '')}.image"
    image = pytest.importorskip(name).Image  # 0.6 since 1.8, for Python 3.12
    path, array = written(version)
    found = image.from_zarr(zarr.open_group(path, mode="r"))
    attributes = found.attributes if version == "0.4" else found.ome_attributes
    assert len(attributes.multiscales[0].datasets) == len(FACTORS)
    assert array.dims


def test_colours(tmp_path):
    pytest.importorskip("napari_ome_zarr")
    from napari_ome_zarr import napari_get_reader

    laid = lay("rgb", "image", lengths=(9, 7, 1))
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    convert(tmp_path / "a.mrc", tmp_path / "a.ome.zarr", ome_version="0.4")
    path = str(tmp_path / "a.ome.zarr")
    layers = napari_get_reader(path)(path)
    pixels = xr.open_dataset(tmp_path / "a.mrc", engine="mrc")["data"]
    if len(layers) == 1:  # one layer with an axis of channels
        ((data, options, _),) = layers
        colours = np.moveaxis(np.asarray(data[0]), options["channel_axis"], 0)
        names = options["name"]
    else:
        colours = [np.asarray(data[0]) for data, _, _ in layers]
        names = [options["name"] for _, options, _ in layers]
    np.testing.assert_array_equal(np.stack(list(colours), -1), pixels)
    assert [name.rpartition(" ")[2] for name in names] == ["red", "green", "blue"]
