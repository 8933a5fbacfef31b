"""Projections: their values, their coordinates, and that they can be written."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from engine import open_mrc
from mrcbytes import lay

import xarray_mrc

FUNCTIONS = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min, "std": np.std}


@pytest.mark.parametrize("form", ["int16", "float16"])
@pytest.mark.parametrize("method", FUNCTIONS)
@pytest.mark.parametrize("dim", ["z", "y", "x"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_values_and_coordinates(form, method, dim, chunks):
    ds = open_mrc(lay(form, "volume", lengths=(6, 5, 4)).raw)
    finite = np.random.default_rng(1).integers(0, 15, ds.data.shape).astype(ds.data.dtype)
    ds["data"] = ds.data.copy(data=finite)
    ds = ds if chunks is None else ds.chunk()
    found = ds.mrc.projection(dim, method)
    assert (found.chunks is None) == (chunks is None)
    expected = FUNCTIONS[method](finite.astype("f8"), axis="zyx".index(dim))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found.dtype == (finite.dtype if method in ("max", "min") else "f4")
    assert dim not in found.coords
    for other in found.dims:
        assert found[other].identical(ds[other])
    assert found.attrs["mrc_origin_source"] == ds.data.attrs["mrc_origin_source"]
    assert "mrc_kind" not in found.attrs


@pytest.mark.parametrize("dim", ["z", "y", "x"])
def test_is_written_with_its_voxel_size(dim, tmp_path):
    ds = open_mrc(lay("int16", "volume", lengths=(6, 5, 4), axes=(3, 1, 2)).raw)
    found = ds.mrc.projection(dim, "sum")
    found.mrc.to_mrc(tmp_path / "a.mrc", kind="image")
    written = xarray_mrc.open_mrc(tmp_path / "a.mrc")
    assert written.mrc.kind == "image"
    found = found if dim != "x" else found.transpose("y", "z")
    np.testing.assert_array_equal(written, found)
    for name, dim in zip(("y", "x"), found.dims, strict=True):
        np.testing.assert_array_equal(written[name], found[dim])
    assert xarray_mrc.validate(tmp_path / "a.mrc")


def test_average_of_a_movie_is_written_without_a_kind(tmp_path):
    laid = lay("uint16", "image_stack", lengths=(6, 5, 4))
    average = open_mrc(laid.raw).mrc.projection("image")
    average.mrc.to_mrc(tmp_path / "average.mrc")
    written = xarray_mrc.open_mrc(tmp_path / "average.mrc")
    assert written.dims == ("y", "x")
    np.testing.assert_allclose(written, laid.pixels.mean(0), rtol=1e-6)
    assert written.mrc.voxel_size == {"x": 1.35, "y": 2.5}


def test_float64_complex_colours_and_nan():
    values = np.random.default_rng(1).normal(size=(3, 2, 2))
    data = xr.DataArray(values, dims=("z", "y", "x"))
    assert data.mrc.projection().dtype == "f8"
    waves = (data + 1j).astype("c8")
    assert waves.mrc.projection().dtype == "c8"
    for method in ("max", "min", "std"):
        with pytest.raises(ValueError, match=r"abs\(obj\)"):
            waves.mrc.projection(method=method)
    colours = open_mrc(lay("rgb", "volume").raw).mrc.projection()
    assert colours.dtype == "u1"
    assert colours.dims == ("y", "x", "rgb")
    data[0, 0, 0] = data[:, 1, 1] = np.nan
    for method in FUNCTIONS:
        found = data.mrc.projection(method=method)
        assert np.isnan(found).values.tolist() == [[False, False], [False, True]]
    assert float(data.mrc.projection()[0, 0]) == pytest.approx(values[1:, 0, 0].mean())


def test_wrong_arguments():
    data = xr.DataArray(np.zeros((3, 2, 2)), dims=("z", "y", "x"))
    with pytest.raises(ValueError, match="method='median', expected one of mean, sum"):
        data.mrc.projection(method="median")
    with pytest.raises(ValueError, match="dim='frame', expected one of the dimensions"):
        data.mrc.projection("frame")
