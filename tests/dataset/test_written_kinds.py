"""Kinds by dimensions and names of files, and data types that become others by default."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xarray_mrc import MrcWarning, open_mrc, read_header, to_mrc


def zeros(dims, dtype="f4", length=3):
    return xr.DataArray(np.zeros((length,) * len(dims), dtype), dims=dims)


def written(array, path, **options) -> tuple[xr.DataArray, str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(array, path, overwrite=True, **options)
    assert [w.category for w in caught] in ([], [MrcWarning])
    return open_mrc(path, chunks=None).load(), str(caught[0].message) if caught else ""


@pytest.mark.parametrize(
    ("dims", "kind"),
    [
        (("y", "x"), "image"),
        (("x", "y"), "image"),
        (("z", "y", "x"), "volume"),
        (("volume", "z", "y", "x"), "volume_stack"),
        (("time", "z", "y", "x"), "volume_stack"),
        *[((slow, "y", "x"), "image_stack") for slow in ("image", "tilt", "frame", "particle")],
        *[((slow, "y", "x"), "image_stack") for slow in ("time", "tilt_angle", "class", 7)],
        (("y", "x", "frame"), "image_stack"),
        (("z_bins", "y", "x"), "volume"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stale", [None, "volume", "image_stack", "image"])
def test_dimensions_decide(tmp_path, dims, kind, stale):
    array = zeros(dims)
    if stale:
        array.attrs["mrc_kind"] = stale
    found, said = written(array, tmp_path / "a.mrc")
    assert not said
    assert found.attrs["mrc_kind"] == array.mrc.kind == kind


@pytest.mark.parametrize(
    "array",
    [
        zeros(()),
        zeros(("x",)),
        zeros(("dim_0",)),
        zeros(("z", "x")),
        zeros(("a", "b", "c")),
        zeros(("volume", "y", "x")),
        zeros(("a", "b", "z", "y", "x"), length=1),
        zeros(("image", "time", "y", "x")),
    ],
    ids=lambda a: str(a.dims),
)
@pytest.mark.parametrize("stale", [None, "volume_stack"])
def test_dimensions_that_are_no_file(tmp_path, array, stale):
    array.attrs["mrc_kind"] = stale
    with pytest.raises(ValueError, match=r"the dimensions are .*expected one of .*rename them"):
        to_mrc(array, tmp_path / "a.mrc")
    with pytest.raises(ValueError, match="the dimensions are"):
        _ = array.mrc.kind


@pytest.mark.parametrize(
    ("dims", "kind"),
    [(("y", "x"), "image"), (("z", "y", "x"), "volume"), (("t", "y", "x"), "image_stack")],
)
@pytest.mark.parametrize(
    "name",
    ["a.mrc", "a.map", "a.rec", "a.mrcs", "a.st", "a.ali", "a.preali", "a.mrcs.gz", "a.ccp4"],
)
@pytest.mark.parametrize("length", [3, 1])
def test_a_name_that_stands_for_another_kind_is_named(tmp_path, dims, kind, name, length):
    array = zeros(dims, length=3).isel({dims[0]: slice(length)} if len(dims) == 3 else {})
    found, said = written(array, tmp_path / name)
    is_kept = found.attrs["mrc_kind"] == kind
    assert is_kept == (not said)
    assert is_kept or f"the {kind} will be read as {found.attrs['mrc_kind']}" in said
    if name == "a.mrc":
        assert is_kept == (kind != "image_stack" or length > 1)


# Types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "stored", "mode"),
    [("f8", "f4", 2), ("c16", "c8", 4), ("?", "i1", 0), ("f4", "f4", 2), ("i2", "i2", 1)],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_types_by_default(tmp_path, found, stored, mode, chunked):
    array = zeros(("z", "y", "x"), found)
    array[0, 1, 2] = 1
    read, said = written(array.chunk(2) if chunked else array, tmp_path / "a.mrc")
    assert not said
    assert read.dtype == stored
    assert read_header(tmp_path / "a.mrc").mode == mode
    np.testing.assert_array_equal(read, array)


def test_results_of_everyday_reductions(tmp_path):
    array = zeros(("frame", "y", "x"), "i2") + np.arange(3, dtype="i2")
    for result in (
        array.mean("frame"),
        array.std("frame"),
        array.quantile(0.5, "frame"),
        array.coarsen(y=2, x=2, boundary="trim").mean(),
        array.assign_coords(y=("y", [0.0, 1, 2], {"units": "nm"})).interp(y=[0.5, 1.5]),
        array > 0,
        array / 3,
    ):
        read, said = written(result, tmp_path / "a.mrc")
        assert not said or "have no units" in said
        np.testing.assert_array_equal(read, result.astype(read.dtype))


@pytest.mark.parametrize("dtype", ["i4", "i8", "u4", "u8"])
def test_wide_integers_are_refused_with_what_works(tmp_path, dtype):
    array = zeros(("z", "y", "x"), dtype)
    with pytest.raises(ValueError, match=r"int16.*uint16.*float32.*not known before") as caught:
        to_mrc(array, tmp_path / "a.mrc")
    for cast in ("int16", "uint16", "float32"):
        assert cast in str(caught.value)
        read, _ = written(array, tmp_path / "a.mrc", dtype=cast)
        assert read.dtype == cast
        written(array.astype(cast), tmp_path / "a.mrc")


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 300), ("int8", 200), ("int16", 0.5), ("uint16", -1), ("f2", 1e6)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_the_type_that_is_asked_for_holds_the_values_or_not(tmp_path, dtype, value, chunked):
    array = xr.DataArray(np.full((2, 3, 4), value, "f4"), dims=("z", "y", "x"))
    if chunked:
        array = array.copy(data=da.from_array(array.values, chunks=1))
    with pytest.raises(ValueError, match=str(float(value)).split(".")[0]):
        to_mrc(array, tmp_path / "a.mrc", dtype=dtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["f8", "?", "c16", "i8", "M8[s]", "U3"])
def test_a_type_that_is_asked_for_and_has_no_mode(tmp_path, dtype):
    with pytest.raises(ValueError, match="the data type is"):
        to_mrc(zeros(("y", "x")), tmp_path / "a.mrc", dtype=dtype)
