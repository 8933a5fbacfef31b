"""Writers under Windows' rule that a file in use is neither renamed, replaced nor removed."""

import os

import numpy as np
import pytest
import xarray as xr
from windows import needs_simulation, windows_rules

from xarray_mrc import convert, edit_header, open_mrc, to_mrc

VOLUME = xr.DataArray(np.arange(20 * 64 * 64, dtype="f4").reshape(20, 64, 64), dims=("z", "y", "x"))


@needs_simulation
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("chunks", [None, {"z": 5}, {"z": 5, "y": 30}], ids=str)
def test_no_file_in_use_is_replaced(tmp_path, suffix, chunks):
    path = tmp_path / f"a.mrc{suffix}"
    with windows_rules() as calls:
        to_mrc(VOLUME, path, voxel_size=1.0)
        opened = open_mrc(path, chunks=None)
        opened = opened if chunks is None else opened.chunk(chunks)
        assert np.array_equal(opened[:, 3].values, VOLUME[:, 3].values)
        to_mrc(opened + 1, path, overwrite=True)
        edit_header(path, voxel_size=2.0, rewrite=True)
        convert(path, path, overwrite=True)
        convert(path, tmp_path / "a.zarr")
        convert(path, tmp_path / "a.zarr", overwrite=True)
    assert calls.count("replace") >= 2
    assert np.array_equal(open_mrc(path).values, VOLUME.values + 1)
    assert sorted(os.listdir(tmp_path)) == [path.name, "a.zarr"]
