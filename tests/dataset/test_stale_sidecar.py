"""A sidecar that lies beside the target already, and has other values than the data."""

import warnings

import numpy as np
import pytest
import xarray as xr

from xarray_mrc import MrcWarning, open_mrc, to_mrc


@pytest.fixture
def stack():
    array = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    return array.assign_coords(tilt_angle=("image", [-3.0, 3.0, 0.0]))


@pytest.fixture
def path(tmp_path, stack):
    path = tmp_path / "a.st"
    to_mrc(stack, path, voxel_size=1.0, sidecar="mdoc")
    return path


@pytest.mark.parametrize("change", [
    lambda a: a.sortby("tilt_angle"), lambda a: a.drop_vars("tilt_angle"),
    lambda a: a.assign_coords(tilt_angle=a.tilt_angle + 1),
])  # fmt: skip
def test_other_values_are_named(path, stack, change):
    with pytest.warns(MrcWarning, match=r"tilt_angle will be read from a sidecar beside") as found:
        to_mrc(change(stack), path, voxel_size=1.0, overwrite=True)
    assert len(found) == 1


def test_equal_values_and_a_new_sidecar_are_not(path, stack):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = open_mrc(path).load()
        to_mrc(opened + 1, path, overwrite=True)
        to_mrc(opened.sortby("tilt_angle"), path, overwrite=True, sidecar="mdoc")
    assert open_mrc(path).tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]
