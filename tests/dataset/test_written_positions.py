"""Coordinates of any origin become voxel size and start, or the one warning names the axis."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from mrcbytes import get, lay

from xarray_mrc import MrcWarning, open_mrc, read_header, to_mrc

DIMS = ("z", "y", "x")
STEPS = {"z": 2.5, "y": 1.25, "x": 1.07}


def volume(lengths=(6, 8, 10), start=10.0) -> xr.DataArray:
    coords = {
        dim: (dim, np.round(start + STEPS[dim] * np.arange(n), 6), {"units": "angstrom"})
        for dim, n in zip(DIMS, lengths, strict=True)
    }
    values = np.random.default_rng(0).normal(size=lengths).astype("f4")
    return xr.DataArray(values, coords, DIMS)


@pytest.fixture
def opened(tmp_path):
    to_mrc(volume(), tmp_path / "opened.mrc")
    return open_mrc(tmp_path / "opened.mrc", chunks=None).load()


def written(array, path, **options) -> tuple[xr.DataArray, str]:
    """Write, and give what is read again and what the one warning says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(array, path, overwrite=True, **options)
    assert [w.category for w in caught] in ([], [MrcWarning])
    return open_mrc(path, chunks=None).load(), str(caught[0].message) if caught else ""


def assert_positions(found, array, axes=DIMS):
    for axis in axes:
        np.testing.assert_allclose(found[axis], array[axis], rtol=0, atol=2e-6)
        assert found[axis].attrs["units"] == "angstrom"


# Units -----------------------------------------------------------------------------------------

ANGSTROMS = (
    "angstrom", "Angstrom", "angstroms", "ANGSTROM", "\u00c5", "\u212b", "A\u030a", "A",
    "\u00c5ngstr\u00f6m", "\u212bngstr\u00f6m", " angstrom ",
)  # fmt: skip
OTHERS = {
    "nm": 10, "nanometer": 10, "nanometers": 10, "Nanometre": 10, "nanometres": 10,
    "pm": 0.01, "picometer": 0.01, "um": 1e4, "\u00b5m": 1e4, "\u03bcm": 1e4, "micrometer": 1e4,
    "micrometres": 1e4, "micron": 1e4, "microns": 1e4, "mm": 1e7, "millimeter": 1e7, "m": 1e10,
    "meter": 1e10, "metres": 1e10,
}  # fmt: skip


@pytest.mark.parametrize("units", ANGSTROMS)
def test_names_of_the_angstrom(tmp_path, units):
    array = volume()
    array.x.attrs["units"] = units
    found, said = written(array, tmp_path / "a.mrc")
    assert not said
    assert_positions(found, array)


@pytest.mark.parametrize("units", OTHERS)
def test_other_lengths_are_converted(tmp_path, units):
    scale = OTHERS[units]
    array = volume().assign_coords(x=("x", (3 + 1.5 * np.arange(10)) / scale, {"units": units}))
    found, said = written(array, tmp_path / "a.mrc")
    assert not said
    assert found.x.values.tolist() == (3 + 1.5 * np.arange(10)).tolist()
    assert read_header(tmp_path / "a.mrc").voxel_size[0] == 1.5
    assert array.mrc.voxel_size == {"x": 1.5, "y": 1.25, "z": 2.5}


@pytest.mark.parametrize("values", [[0, 1, 2, 3], [4, 6, 8, 10], [0.0, 1.5, 3.0, 4.5]], ids=str)
@pytest.mark.parametrize("attrs", [{}, {"units": ""}, {"long_name": "column"}], ids=str)
def test_without_units_they_are_angstrom(tmp_path, values, attrs):
    array = volume((3, 3, 4)).assign_coords(x=("x", values, attrs), y=("y", values[:3], attrs))
    found, said = written(array, tmp_path / "a.mrc")
    assert "along x, y have no units and were taken as angstrom" in said
    assert found.x.values.tolist() == values
    assert found.y.values.tolist() == values[:3]
    assert array.mrc.voxel_size["x"] == values[1] - values[0]


def test_labels_that_count_voxels_are_no_positions(tmp_path):
    to_mrc(volume(start=0.0), tmp_path / "opened.mrc")
    array = open_mrc(tmp_path / "opened.mrc", chunks=None, coords="index").load() * 2
    array.encoding = {}
    for part in (array, array[1:, 2:], array[:, ::-1]):
        _, said = written(part, tmp_path / "a.mrc")
        assert not said
        assert read_header(tmp_path / "a.mrc").cella == (0, 0, 0)
        assert part.mrc.voxel_size == {}
    # Others count by two, or are no integers, or do not say what they are.
    for other in (
        array[:, :, ::2],
        array.assign_coords(x=array.x.astype("f8")),
        array.assign_coords(x=("x", np.arange(10))),
    ):
        _, said = written(other, tmp_path / "a.mrc")
        assert "along x have no units" in said
    # The file had positions, and the object still knows it.
    _, said = written(open_mrc(tmp_path / "opened.mrc", coords="index"), tmp_path / "a.mrc")
    assert "the positions along x, y, z are not written" in said


# Kept ------------------------------------------------------------------------------------------

KEPT = {
    "arithmetic": lambda a: a.assign_coords(x=a.x + 12.5, y=a.y * 2),
    "a new coordinate": lambda a: a.assign_coords(x=("x", 3.5 * np.arange(10))),
    "interp to an array": lambda a: a.interp(x=np.arange(11.0, 19, 0.5)),
    "interp to a DataArray": lambda a: a.interp(x=xr.DataArray(np.arange(11.0, 19, 0.5), dims="x")),
    "interp to another grid": lambda a: a.interp(z=[11.0, 12.0, 13.0], y=np.linspace(11, 16, 6)),
    "coarsen": lambda a: a.coarsen(x=2, y=2, z=3).mean(),
    "coarsen by five": lambda a: a.coarsen(x=5).mean(),
    "sel": lambda a: a.sel(x=slice(12, 18), y=slice(11, None)),
    "nearest": lambda a: a.sel(x=a.x.values[2:7], method="nearest"),
    "isel": lambda a: a.isel(x=slice(2, 9, 2), z=slice(1, 4)),
    "isel of a list": lambda a: a.isel(x=[1, 3, 5]),
    "transpose": lambda a: a.transpose("x", "z", "y"),
    "concat": lambda a: xr.concat([a.isel(x=slice(4)), a.isel(x=slice(4, None))], "x"),
    "astype": lambda a: a.astype("int16"),
    "reindex": lambda a: a.reindex(x=10 + 1.07 * np.arange(-1, 12), fill_value=0),
    "roll of the data": lambda a: a.roll(x=3),
    "shift": lambda a: a.shift(x=1, fill_value=0),
    "rolling": lambda a: a.rolling(x=3, center=True).mean().fillna(0),
    "where": lambda a: a.where(a > 0, 0),
    "float32 coordinates": lambda a: a.assign_coords(x=a.x.astype("f4")),
}


@pytest.mark.parametrize("name", KEPT)
def test_kept(tmp_path, opened, name):
    array = KEPT[name](opened)
    found, said = written(array, tmp_path / "a.mrc")
    unitless = [d for d in "xyz" if "units" not in array[d].attrs]
    assert ("have no units" in said) == bool(unitless)
    assert not said or f"along {', '.join(unitless)} have no units" in said
    assert ";" not in said
    assert_positions(found, array)
    np.testing.assert_array_equal(found, array.transpose(*DIMS).astype(found.dtype))


def test_kept_on_a_renamed_axis(tmp_path, opened):
    for new in ("col", "X"):
        array = opened.rename(x=new)
        if "mrc_kind" in array.attrs:
            found, said = written(array, tmp_path / "a.mrc")
            assert not said
            np.testing.assert_array_equal(found.x, array[new])


@pytest.mark.parametrize(
    ("mode", "options"),
    [("constant", {"constant_values": 0}), ("mean", {}), ("linear_ramp", {}), ("maximum", {})],
)
def test_padded_ends_are_continued(tmp_path, opened, mode, options):
    array = opened.pad(x=(3, 2), z=(0, 1), mode=mode, **options)
    assert np.isnan(array.x).any()
    found, said = written(array, tmp_path / "a.mrc")
    assert not said or "have no units" in said
    np.testing.assert_allclose(found.x, 10 + 1.07 * np.arange(-3, 12), atol=1e-6)
    np.testing.assert_allclose(found.z, 10 + 2.5 * np.arange(7), atol=1e-6)


def test_padded_ends_of_an_axis_of_one_voxel(tmp_path, opened):
    array = opened.isel(z=[2]).pad(z=(1, 1), constant_values=0)
    with pytest.raises(ValueError, match="voxel_size="):
        to_mrc(array, tmp_path / "a.mrc")
    found, _ = written(array, tmp_path / "a.mrc", voxel_size={"z": 2.5})
    assert found.z.values.tolist() == [12.5, 15, 17.5]


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_padding_that_repeats_positions_is_refused(tmp_path, opened, mode):
    array = opened.pad(x=(2, 2), mode=mode)
    with pytest.raises(ValueError, match=r"obj.assign_coords\(x=...\), as after .*pad\(mode="):
        to_mrc(array, tmp_path / "a.mrc")
    array = array.assign_coords(x=10 + 1.07 * np.arange(-2, 12))
    found, _ = written(array, tmp_path / "a.mrc")
    assert_positions(found, array)


# Kept where they can be, else named or refused -------------------------------------------------


def test_another_name_for_the_dimension(tmp_path, opened):
    array = opened.assign_coords(col=("x", np.arange(10))).swap_dims(x="col")
    if "mrc_kind" not in array.attrs:
        array = array.assign_attrs(mrc_kind="volume")
    found, said = written(array, tmp_path / "a.mrc")
    assert not said
    np.testing.assert_array_equal(found.x, opened.x)


@pytest.mark.parametrize("axis", DIMS)
def test_dropped_positions_are_named(tmp_path, opened, axis):
    for array in (opened, opened + 1):
        found, said = written(array.drop_vars(axis), tmp_path / "a.mrc")
        assert f"the positions along {axis} are not written" in said
        others = [dim for dim in DIMS if dim != axis]
        assert_positions(found, opened, others)
    _, said = written(opened.drop_vars(DIMS), tmp_path / "a.mrc")
    assert "the positions along x, y, z are not written" in said
    _, said = written(opened.drop_vars(axis), tmp_path / "a.mrc", voxel_size=2)
    assert "voxel_size" in said  # the start


def test_cells_of_coarsen(tmp_path, opened):
    cells = opened.coarsen(x=2).construct(x=("x", "fine"))
    _, said = written(cells, tmp_path / "a.mrc")
    assert "along x are not written (it has the dimensions ('x', 'fine')" in said
    found, said = written(cells.mean("fine"), tmp_path / "a.mrc")
    assert "the positions along x are not written" in said
    assert_positions(found, opened, ["y", "z"])


def test_bins_of_groupby(tmp_path, opened):
    edges = 10 - 1.07 / 2 + 2.14 * np.arange(6)
    array = opened.groupby_bins("x", edges).mean()
    assert "x_bins" in array.dims
    found, said = written(array, tmp_path / "a.mrc")
    assert ("along x_bins have no units" in said) == ("units" not in array.x_bins.attrs)
    np.testing.assert_allclose(found.x, 10 + 1.07 * (2 * np.arange(5) + 0.5), atol=1e-3)


def test_roll_with_its_coordinates_is_refused(tmp_path, opened):
    with pytest.raises(ValueError, match="roll_coords=True"):
        to_mrc(opened.roll(x=3, roll_coords=True), tmp_path / "a.mrc")


def test_another_size_by_apply_ufunc_is_named(tmp_path, opened):
    array = xr.apply_ufunc(
        lambda a: a[..., ::2],
        opened,
        input_core_dims=[["x"]],
        output_core_dims=[["x"]],
        exclude_dims={"x"},
    )
    found, said = written(array, tmp_path / "a.mrc")
    assert "the positions along x are not written" in said
    assert_positions(found, opened, ["y", "z"])


def test_labels_that_are_no_numbers_are_named(tmp_path, opened):
    array = opened.assign_coords(x=list("abcdefghij"))
    _, said = written(array, tmp_path / "a.mrc")
    assert "the positions along x are not written (it holds no numbers" in said


def test_one_warning_names_all(tmp_path, opened):
    array = opened.drop_vars("z").assign_coords(y=np.arange(8.0))
    _, said = written(array, tmp_path / "a.mrc")
    assert "along y have no units" in said
    assert "along z are not written" in said
    assert said.startswith(str(tmp_path / "a.mrc"))


# Flips -----------------------------------------------------------------------------------------


def test_a_flip_is_refused_with_the_ways_that_work(tmp_path, opened):
    flipped = opened.isel(y=slice(None, None, -1))
    with pytest.raises(ValueError, match=r"y decreases.*assign_coords.*sortby") as caught:
        to_mrc(flipped, tmp_path / "a.mrc")
    assert "isel(y=slice(None, None, -1))" in str(caught.value)
    found, said = written(flipped.assign_coords(y=opened.y), tmp_path / "a.mrc")
    assert not said
    assert_positions(found, opened)
    np.testing.assert_array_equal(found, opened.values[:, ::-1])
    for back in (flipped.sortby("y"), flipped.isel(y=slice(None, None, -1))):
        found, said = written(back, tmp_path / "a.mrc")
        assert not said
        np.testing.assert_array_equal(found, opened)
    assert flipped.mrc.voxel_size == opened.mrc.voxel_size


def test_bytes_of_the_header_are_the_same_after_reading_and_writing(tmp_path):
    for voxel in (1.0, 0.832, 1.35, 1.07, 13.3291, 0.4007):
        for start in (0.0, -12.5, 101.25):
            x = np.round(start + voxel * np.arange(9), 6)
            coords = {d: (d, x, {"units": "angstrom"}) for d in DIMS}
            to_mrc(xr.DataArray(np.ones((9, 9, 9), "f4"), coords, DIMS), tmp_path / "a.mrc",
                   overwrite=True)  # fmt: skip
            to_mrc(open_mrc(tmp_path / "a.mrc"), tmp_path / "b.mrc", overwrite=True)
            assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


# Crystals, and files without a voxel size -------------------------------------------------------


def test_far_in_a_crystal_the_start_stays_in_nstart(tmp_path):
    """Programs of crystallography read NSTART alone."""
    cell = {"mx": 50, "my": 40, "mz": 60, "cella": (50.0, 48.0, 90.0), "ispg": 19}
    laid = lay("int16", lengths=(48, 38, 58), nxstart=2, nystart=1, nzstart=1, **cell)
    (tmp_path / "crystal.map").write_bytes(laid.raw)
    whole = open_mrc(tmp_path / "crystal.map", chunks=None).load()
    cut = whole[40:43, 30:33, 40:43]
    found, said = written(cut, tmp_path / "a.mrc", like=tmp_path / "crystal.map")
    assert not said
    raw = (tmp_path / "a.mrc").read_bytes()
    assert [get(raw, "<", f"n{a}start") for a in "xyz"] == [42, 31, 41]
    assert get(raw, "<", "origin") == (0, 0, 0)
    assert read_header(tmp_path / "a.mrc").m == (50, 40, 60)
    assert read_header(tmp_path / "a.mrc").ispg == 19
    assert_positions(found, cut)
    found, said = written(cut, tmp_path / "b.mrc")
    assert "the space group 19 of the crystal is written as 1" in said
    assert read_header(tmp_path / "b.mrc").ispg == 1
    assert_positions(found, cut)


def test_origin_without_a_voxel_size(tmp_path):
    laid = lay("int16", voxel=None, origin=(12.5, 0.0, -3.25))
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    array = open_mrc(tmp_path / "a.mrc")
    _, said = written(array, tmp_path / "b.mrc", like=tmp_path / "a.mrc")
    assert not said
    assert read_header(tmp_path / "b.mrc").origin == (12.5, 0, -3.25)
    _, said = written(array, tmp_path / "b.mrc")
    assert "the positions along x, z are not written" in said
    _, said = written(array[1:], tmp_path / "b.mrc", like=tmp_path / "a.mrc")
    assert "the positions along x, z are not written" in said
