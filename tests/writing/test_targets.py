"""Names that belong to other formats are refused, unless the caller asks for an MRC file."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xarray_mrc import convert, open_mrc, to_mrc

ARRAY = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("z", "y", "x"))
FOREIGN = [
    ".tif", ".tiff", ".TIF", ".png", ".jpg", ".jpeg", ".nc", ".h5", ".hdf5", ".zip", ".nii", ".dm3",
    ".dm4", ".npy", ".raw", ".star", ".mdoc", ".eer", ".zarr", ".tif.gz", ".nii.gz", ".pdb",
    ".json", ".em",
]  # fmt: skip


@pytest.mark.parametrize("suffix", FOREIGN)
def test_a_name_of_another_format(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for options in ({}, {"overwrite": True}, {"compute": False}):
        with pytest.raises(ValueError, match="names another format") as error:
            to_mrc(ARRAY, path, **options)
        assert str(error.value).startswith(str(path))
        assert "format='mrc'" in str(error.value)
    with pytest.raises(ValueError, match="names another format"):
        ARRAY.mrc.to_mrc(path)
    assert list(tmp_path.iterdir()) == []
    to_mrc(ARRAY, path, format="mrc")
    assert open_mrc(path).shape == (2, 3, 4)


@pytest.mark.parametrize(
    "name",
    ["a.mrc", "a.mrcs", "a.map", "a.ccp4", "a.st", "a.ali", "a.rec", "a.preali", "a", "a.mrc.gz",
     "a.map.bz2", "a.rec.zst", "a.bin", "a.mrc.tmp", "a.tif.mrc", "tif", ".tif", "a.b c"],
)  # fmt: skip
def test_other_names(tmp_path, name):
    is_stack = name in ("a.mrcs", "a.st", "a.ali", "a.preali")
    to_mrc(ARRAY, tmp_path / name, kind="image_stack" if is_stack else None)
    assert open_mrc(tmp_path / name).shape == (2, 3, 4)


def test_zarr(tmp_path):
    with pytest.raises(ValueError, match=r"obj\.to_zarr or xarray_mrc\.convert"):
        to_mrc(ARRAY, tmp_path / "a.zarr")


def test_formats(tmp_path):
    with pytest.raises(ValueError, match="format='tiff'"):
        to_mrc(ARRAY, tmp_path / "a.tif", format="tiff")
    with pytest.raises(ValueError, match="format='zarr'"):
        to_mrc(ARRAY, tmp_path / "a.zarr", format="zarr")


def test_a_region_of_a_file_with_such_a_name(tmp_path):
    """It is there, and is an MRC file, whatever its name."""
    to_mrc(ARRAY, tmp_path / "a.raw", format="mrc")
    to_mrc(ARRAY[0] + 3, tmp_path / "a.raw", region={"z": 1})
    assert (open_mrc(tmp_path / "a.raw")[1] == 3).all()


def test_convert(tmp_path):
    to_mrc(ARRAY, tmp_path / "a.mrc")
    for options in ({}, {"dtype": "int16"}):
        with pytest.raises(ValueError, match="names another format"):
            convert(tmp_path / "a.mrc", tmp_path / "a.tif", **options)
        convert(tmp_path / "a.mrc", tmp_path / "a.tif", format="mrc", overwrite=True, **options)
        assert open_mrc(tmp_path / "a.tif").shape == (2, 3, 4)
