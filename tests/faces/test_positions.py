"""Coordinates that go on agreeing when a file is cut, binned, saved and read again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay, put
from opened import WRITERS, open_file, read, write


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
