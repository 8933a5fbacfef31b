"""Voxel sizes and positions of files as many programs write them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import xarray as xr
from dialects import COMPRESS, kind_of, lay_down, open_quietly, write
from mrcbytes import decimals

from xarray_mrc import open_mrc, to_mrc

F4 = np.float32
# Voxel size.

PRODUCTS = {
    # How programs compute a cell length from a voxel size and a number of intervals.
    "float64, then stored": lambda d, n: F4(float(d) * n),
    "float32 times float32": lambda d, n: F4(d) * F4(n),
    "voxel size copied through float32": lambda d, n: F4(F4(F4(float(d) * 96) / F4(96)) * F4(n)),
    "nanometers in float32": lambda d, n: F4(F4(float(d) / 10) * F4(10)) * F4(n),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("voxel", ["1.07", "0.832", "2.7", "13.48", "0.6575", "5.3125", "10"])
def test_clean_voxel_sizes(tmp_path, product, order, voxel):
    lengths = (341, 96, 7)
    cella = tuple(float(PRODUCTS[product](voxel, n)) for n in lengths)
    raw, _ = lay_down(lengths, order, cella=cella, mode=1)
    found = open_quietly(write(tmp_path, "a.mrc", raw))
    for dim, n in zip("xyz", lengths, strict=True):
        assert found[dim].values.tolist() == decimals("0", voxel, n)
    assert found.mrc.voxel_size == pytest.approx(dict.fromkeys("zyx", float(voxel)), abs=0)


@pytest.mark.parametrize("axes", [(2, 1, 3), (3, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("suffix", COMPRESS)
def test_clean_voxel_sizes_along_permuted_axes(tmp_path, axes, suffix):
    stored, sizes = (96, 48, 24), ("1.07", "0.832", "3.4")
    lengths = dict(zip(axes, stored, strict=True))
    m = tuple(lengths[axis] for axis in (1, 2, 3))
    cella = tuple(float(F4(d) * F4(n)) for d, n in zip(sizes, m, strict=True))
    raw, _ = lay_down(
        stored, mode=0, mapc=axes[0], mapr=axes[1], maps=axes[2],
        mx=m[0], my=m[1], mz=m[2], cella=cella,
    )  # fmt: skip
    found = open_quietly(write(tmp_path, f"a.map{suffix}", raw))
    assert found.dims == ("z", "y", "x")
    for dim, n, size in zip("xyz", m, sizes, strict=True):
        assert found[dim].values.tolist() == decimals("0", size, n)


def test_a_part_of_a_cell_has_the_voxels_of_the_cell(tmp_path):
    m = (100, 80, 60)
    cella = tuple(float(F4("1.05") * F4(n)) for n in m)
    raw, _ = lay_down((10, 8, 6), mx=100, my=80, mz=60, cella=cella, nxstart=12, nystart=-3)
    found = open_quietly(write(tmp_path, "part.mrc", raw))
    assert found.x.values.tolist() == decimals("12.6", "1.05", 10)
    assert found.y.values.tolist() == decimals("-3.15", "1.05", 8)


def test_a_cell_counted_in_intervals_between_points(tmp_path):
    cella = tuple(float(F4("2.2") * F4(n - 1)) for n in (20, 16, 12))
    raw, _ = lay_down((20, 16, 12), ispg=0, mx=19, my=15, mz=11, cella=cella)
    found = open_quietly(write(tmp_path, "gorgon.mrc", raw))
    assert kind_of(found) == "volume"
    assert found.z.values.tolist() == decimals("0", "2.2", 12)


@pytest.mark.parametrize("voxel", ["1.07", "0.94", "2.176"])
def test_files_of_the_same_voxel_size_align(tmp_path, voxel):
    raw, numbers = lay_down(
        (96, 80, 12), cella=tuple(float(F4(voxel) * F4(n)) for n in (96, 80, 12))
    )
    theirs = open_quietly(write(tmp_path, "warp.mrc", raw))
    to_mrc(
        xr.DataArray(numbers, dims=("z", "y", "x")), tmp_path / "ours.mrc", voxel_size=float(voxel)
    )
    ours = open_quietly(tmp_path / "ours.mrc")
    xr.align(theirs, ours, join="exact")
    assert ((theirs * ours).sizes) == theirs.sizes


UNKNOWN = {
    "mrcfile's default": {"cella": (0.0, 0.0, 0.0)},
    "Direct Electron's -1 nm": {"cella": (-40.0, -30.0, -20.0)},
    "not a number": {"cella": (math.nan, math.nan, math.nan)},
    "no grid": {"mx": 0, "my": 0, "mz": 0},
}


@pytest.mark.parametrize("fields", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("order", "<>")
def test_no_positions_without_a_voxel_size(tmp_path, fields, order):
    raw, numbers = lay_down(order=order, **fields)
    path = write(tmp_path, "a.mrc", raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None).load()
        labelled = open_mrc(path, chunks=None, coords="index").load()
    assert found.dims == ("z", "y", "x")
    assert not found.coords
    assert (found.values == numbers).all()
    for dim in "zyx":
        assert labelled[dim].dtype.kind == "i"
        assert "index" in labelled[dim].attrs["long_name"]
        assert "units" not in labelled[dim].attrs


def test_unequal_sizes_are_refused_where_positions_are_unknown(tmp_path):
    known = open_quietly(write(tmp_path, "a.mrc", lay_down((6, 3, 2), cella=(6.0, 3.0, 2.0))[0]))
    unknown = open_quietly(write(tmp_path, "b.mrc", lay_down((4, 3, 2), cella=(0.0, 0.0, 0.0))[0]))
    with pytest.raises(ValueError, match="x"):
        known * unknown


def test_positions_along_the_axes_that_have_a_voxel_size(tmp_path):
    raw, _ = lay_down((4, 3, 5), cella=(6.0, 4.5, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(write(tmp_path, "a.mrc", raw), chunks=None)
    assert "z" not in found.coords
    assert found.x.values.tolist() == [0.0, 1.5, 3.0, 4.5]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", ["image", "image_stack", "volume_stack"])
def test_clean_voxel_sizes_of_every_kind(tmp_path, suffix, kind):
    nz, ispg, mz = {"image": (1, 0, 1), "image_stack": (6, 0, 1), "volume_stack": (6, 401, 3)}[kind]
    cella = tuple(float(F4("1.07") * F4(n)) for n in (96, 80, mz))
    raw, _ = lay_down((96, 80, nz), mode=6, ispg=ispg, mz=mz, cella=cella)
    found = open_quietly(write(tmp_path, f"a.mrc{suffix}", raw))
    assert found.attrs["mrc_kind"] == kind
    assert found.x.values.tolist() == decimals("0", "1.07", 96)
    if kind == "volume_stack":
        assert found.z.values.tolist() == decimals("0", "1.07", 3)
    assert "image" not in found.coords
    assert "volume" not in found.coords


def test_a_stack_has_positions_without_a_cell_along_z(tmp_path):
    raw, _ = lay_down((4, 3, 5), ispg=0, mz=1, cella=(6.0, 4.5, 0.0))
    found = open_quietly(write(tmp_path, "a.mrcs", raw))
    assert found.x.values.tolist() == [0.0, 1.5, 3.0, 4.5]


@pytest.mark.parametrize("start", [-48, 7, 160])
@pytest.mark.parametrize("voxel", ["1.07", "0.832"])
def test_a_start_in_voxels_of_a_float32_size(tmp_path, start, voxel):
    lengths = (32, 24, 16)
    cella = tuple(float(F4(voxel) * F4(n)) for n in lengths)
    origin = tuple(float(F4(voxel) * F4(start)) for _ in lengths)
    by_origin = open_quietly(
        write(tmp_path, "a.mrc", lay_down(lengths, cella=cella, origin=origin)[0])
    )
    by_nstart = open_quietly(
        write(
            tmp_path, "b.mrc",
            lay_down(lengths, cella=cella, nxstart=start, nystart=start, nzstart=start)[0],
        )
    )  # fmt: skip
    for dim, n in zip("xyz", lengths, strict=True):
        exact = decimals(str(float(voxel) * start), voxel, n)
        np.testing.assert_allclose(by_origin[dim], exact, rtol=0, atol=1e-4)
        assert by_nstart[dim].values.tolist() == exact
