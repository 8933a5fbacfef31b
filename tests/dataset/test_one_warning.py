"""The one warning of a write: each loss is named, once, with advice that works."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from xarray_mrc import MrcWarning, open_mrc, to_mrc


def volume(length=4):
    at = {d: (d, 1.5 * np.arange(length), {"units": "angstrom"}) for d in "zyx"}
    return xr.DataArray(np.ones((length,) * 3, "f4"), at, ("z", "y", "x"))


def said_by(array, path, **options) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(array, path, overwrite=True, **options)
    assert [w.category for w in caught] in ([], [MrcWarning])
    return str(caught[0].message) if caught else ""


def test_a_stale_sidecar_is_named_once(tmp_path):
    array = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    array = array.assign_coords(tilt_angle=("image", [-3.0, 3.0, 0.0]))
    to_mrc(array, tmp_path / "a.st", sidecar="mdoc")
    assert said_by(array.sortby("tilt_angle"), tmp_path / "a.st").count("sidecar ") == 1


@pytest.mark.parametrize(
    ("name", "dims"), [("layer", ("z",)), ("radius", ("y", "x")), ("dose", ("y",))]
)
def test_other_coordinates_are_named(tmp_path, name, dims):
    array = volume().assign_coords({name: (dims, np.ones((4,) * len(dims)))})
    assert f"the coordinates {name} will not be written" in said_by(array, tmp_path / "a.mrc")


def test_coordinates_that_indexing_leaves_are_not_named(tmp_path):
    array = volume().assign_coords(rank=("z", [1, 2, 3, 4])).isel(z=1)
    assert not said_by(array, tmp_path / "a.mrc")


def test_a_sidecar_is_no_advice_for_other_units(tmp_path):
    array = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    array = array.assign_coords(tilt_angle=("image", [0.0, 0.1, 0.2], {"units": "radian"}))
    assert "sidecar=" not in said_by(array, tmp_path / "a.st")


def test_angles_of_float32_are_not_rounded(tmp_path):
    array = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    array = array.assign_coords(tilt_angle=("image", np.array([-3.1, 0.03, 5.77], "f4")))
    assert not said_by(array, tmp_path / "a.st")
    again = open_mrc(tmp_path / "a.st").tilt_angle.values
    assert again.astype("f4").tolist() == array.tilt_angle.values.tolist()


def test_what_is_odd_in_the_file_of_like_joins_the_warning(tmp_path):
    to_mrc(volume().astype("i1"), tmp_path / "odd.mrc")
    raw = bytearray((tmp_path / "odd.mrc").read_bytes())
    raw[76:88] = np.array([0, 255, 99], "<f4").tobytes()  # statistics of unsigned bytes
    (tmp_path / "odd.mrc").write_bytes(raw)
    array = volume()
    array[0, 0, 0] = np.nan
    said = said_by(array, tmp_path / "a.mrc", like=tmp_path / "odd.mrc")
    assert "odd.mrc" in said
    assert "1 nan" in said


def test_bytes_of_an_extended_header_are_written_again(tmp_path):
    array = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    array = array.assign_coords(tilt_angle=("image", [-3.0, 3.0, 0.0]))
    to_mrc(array, tmp_path / "a.st")
    raw = xr.open_dataset(tmp_path / "a.st", engine="mrc", extended_header="raw").load()
    assert not said_by(raw, tmp_path / "b.st")
    assert open_mrc(tmp_path / "b.st").tilt_angle.values.tolist() == [-3.0, 3.0, 0.0]
    assert not said_by(raw, tmp_path / "b.st", like=tmp_path / "a.st")
    assert open_mrc(tmp_path / "b.st").tilt_angle.values.tolist() == [-3.0, 3.0, 0.0]


def test_like_is_no_advice_if_it_was_passed(tmp_path):
    to_mrc(volume(), tmp_path / "crystal.mrc")
    raw = bytearray((tmp_path / "crystal.mrc").read_bytes())
    raw[88:92] = (19).to_bytes(4, "little")
    raw[28:40] = np.array([8, 8, 8], "<i4").tobytes()
    raw[40:52] = np.array([12, 12, 12], "<f4").tobytes()
    (tmp_path / "crystal.mrc").write_bytes(raw)
    every_second = open_mrc(tmp_path / "crystal.mrc").load()[::2]
    assert "pass like=" in said_by(every_second, tmp_path / "a.mrc")
    said = said_by(every_second, tmp_path / "a.mrc", like=tmp_path / "crystal.mrc")
    assert "space group 19" in said
    assert "pass like=" not in said


def test_an_unknown_voxel_size_is_the_reason(tmp_path):
    said = said_by(volume(), tmp_path / "a.mrc", voxel_size=0)
    assert "x, y, z will not be read back, because their voxel size is unknown" in said


def test_images_picked_by_points_are_no_volume(tmp_path):
    particle = xr.DataArray([0, 2, 1], dims="particle")
    near = xr.DataArray([[0, 1], [1, 2], [2, 3]], dims=("particle", "row"))
    array = volume()
    array.attrs["mrc_kind"] = "volume"
    picked = array.isel(z=particle, y=near, x=near.rename(row="column"))
    with pytest.raises(ValueError, match="pass kind='image_stack'"):
        to_mrc(picked, tmp_path / "a.mrc")
    said = said_by(picked, tmp_path / "a.mrc", kind="image_stack", voxel_size=1.5)
    assert "z of the sections" in said
    assert open_mrc(tmp_path / "a.mrc").dims == ("image", "y", "x")


def test_records_are_not_those_of_means(tmp_path):
    array = xr.DataArray(np.zeros((4, 4, 4), "f4"), dims=("image", "y", "x"))
    array = array.assign_coords(tilt_angle=("image", [-3.0, 1.0, 3.0, 5.0]))
    to_mrc(array, tmp_path / "a.st")
    pairs = open_mrc(tmp_path / "a.st").coarsen(image=2).mean()
    said = said_by(pairs, tmp_path / "b.st", like=tmp_path / "a.st")
    assert "the coordinate section is not the number of one record" in said
    assert open_mrc(tmp_path / "b.st").tilt_angle.values.tolist() == [-1.0, 4.0]


def test_a_sidecar_is_no_advice_for_volumes(tmp_path):
    array = xr.concat([volume(), volume()], "tilt_angle").assign_coords(tilt_angle=[1.0, 2.0])
    said = said_by(array, tmp_path / "a.mrc")
    assert "tilt_angle of the sections will not be written" in said
    assert "sidecar=" not in said


@pytest.mark.filterwarnings("ignore:Duplicate dimension names:UserWarning")
def test_dimensions_of_the_same_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a different name for each"):
        to_mrc(xr.DataArray(np.zeros((3, 3), "f4"), dims=("x", "x")), tmp_path / "a.mrc")
