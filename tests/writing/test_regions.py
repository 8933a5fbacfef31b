"""Parts that lack a dimension along which the region has length 1, in every kind of file."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay

from xarray_mrc import MrcWarning, open_mrc, to_mrc

WIDE = np.arange(12.0).reshape(3, 4)


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "a.mrcs"
    path.write_bytes(lay("float32", "image_stack", lengths=(4, 3, 5)).raw)
    return path


@pytest.mark.parametrize("index", [3, -2, np.int64(3), slice(3, 4), slice(-2, -1)])
@pytest.mark.parametrize("chunked", [False, True])
def test_one_image_into_a_stack(stack, index, chunked):
    wanted = open_mrc(stack).values.copy()
    wanted[3] = WIDE
    image = xr.DataArray(da.from_array(WIDE, 2) if chunked else WIDE, dims=("y", "x"))
    to_mrc(image.astype("f4"), stack, region={"image": index})
    np.testing.assert_array_equal(open_mrc(stack), wanted)


def test_an_image_with_positions_and_metadata(stack):
    """As isel gives it: the coordinates of the one image are scalars, which are ignored."""
    opened = open_mrc(stack, kind="image_stack").load()
    opened = opened.assign_coords(image=np.arange(5), tilt_angle=("image", np.arange(5.0)))
    to_mrc(opened.isel(image=1).transpose("x", "y") * 2, stack, region={"image": 4})
    np.testing.assert_array_equal(open_mrc(stack)[4], opened[1] * 2)


def test_one_section_and_one_line(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("int16", "volume", lengths=(4, 3, 5)).raw)
    wanted = open_mrc(path).values.copy()
    section = xr.DataArray(WIDE.astype("i2"), dims=("y", "x"))
    to_mrc(section, path, region={"z": 2})
    to_mrc(section[:, 1], path, region={"z": 0, "x": 3})
    to_mrc(section[2, 1], path, region={"z": 4, "x": 3, "y": 0})
    wanted[2], wanted[0, :, 3], wanted[4, 0, 3] = section, section[:, 1], section[2, 1]
    np.testing.assert_array_equal(open_mrc(path), wanted)


def test_one_volume_and_one_section_of_it(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("uint16", "volume_stack", lengths=(4, 3, 2), volumes=3).raw)
    wanted = open_mrc(path).values.copy()
    volume = xr.DataArray(np.arange(24, dtype="u2").reshape(2, 3, 4), dims=("z", "y", "x"))
    to_mrc(volume, path, region={"volume": 1})
    to_mrc(volume[1], path, region={"volume": slice(2, 3), "z": 0})
    wanted[1], wanted[2, 0] = volume, volume[1]
    np.testing.assert_array_equal(open_mrc(path), wanted)


def test_rgb(tmp_path):
    path = tmp_path / "a.mrcs"
    path.write_bytes(lay("rgb", "image_stack", lengths=(4, 3, 5)).raw)
    wanted = open_mrc(path).values.copy()
    image = xr.DataArray(wanted[0][::-1].copy(), dims=("y", "x", "rgb"))
    to_mrc(image, path, region={"image": 3})
    wanted[3] = image
    np.testing.assert_array_equal(open_mrc(path), wanted)


def test_other_names_of_the_slow_dimension(stack):
    wanted = open_mrc(stack).values.copy()
    part = xr.DataArray(np.stack([WIDE, WIDE]).astype("f4"), dims=("tilt", "y", "x"))
    to_mrc(part, stack, region={"tilt": slice(1, 3)})
    wanted[1:3] = WIDE
    np.testing.assert_array_equal(open_mrc(stack), wanted)
    to_mrc(part + 1, stack, region={"image": slice(3, 5)})
    wanted[3:5] = WIDE + 1
    np.testing.assert_array_equal(open_mrc(stack), wanted)
    for other in ("z", "volume"):
        with pytest.raises(ValueError, match="rename"):
            to_mrc(part.rename(tilt=other), stack, region={"image": slice(3, 5)})


def test_a_missing_dimension_needs_a_region_of_length_1(stack):
    raw = stack.read_bytes()
    image = xr.DataArray(WIDE.astype("f4"), dims=("y", "x"))
    for region in ({}, {"image": slice(0, 2)}, {"image": slice(None)}, {"y": slice(0, 1)}):
        with pytest.raises(ValueError, match="rename them"):
            to_mrc(image, stack, region=region)
    assert stack.read_bytes() == raw


@pytest.mark.parametrize(
    ("form", "dtype"), [("float32", "f8"), ("complex64", "c16"), ("int8", "?")]
)
def test_default_casts(tmp_path, form, dtype):
    """The types that a new file would cast by default are cast into a file of the result."""
    path = tmp_path / "a.mrcs"
    path.write_bytes(lay(form, "image_stack", lengths=(4, 3, 5)).raw)
    image = xr.DataArray((WIDE > 5).astype(dtype), dims=("y", "x"))
    to_mrc(image, path, region={"image": 2})
    np.testing.assert_array_equal(open_mrc(path)[2], image)
    if dtype == "f8":
        with pytest.raises(ValueError, match=r"at most 3\.4"):
            to_mrc(image * 1e300, path, region={"image": 2})
    wrong = image.real.astype("i4")
    with pytest.raises(ValueError, match="the data type is int32"):
        to_mrc(wrong, path, region={"image": 2})


def test_nan_into_the_whole(stack):
    whole = xr.DataArray(np.zeros((5, 3, 4), "f4"), dims=("image", "y", "x"))
    whole[0, 0, 0] = np.nan
    with pytest.warns(MrcWarning, match="1 nan and 0 infinite") as caught:
        to_mrc(whole, stack, region={})
    assert len(caught) == 1
