"""What becomes of values: casts that were asked for, and values that few programs expect."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from mrcbytes import get

from xarray_mrc import MrcWarning, open_mrc, to_mrc

DIMS = ("z", "y", "x")
SUFFIXES = ["", ".gz"]


def volume(values, dtype=None, chunked=False):
    found = np.zeros((2, 3, 4), dtype or np.asarray(values).dtype)
    found.reshape(-1)[: np.size(values)] = values
    return xr.DataArray(da.from_array(found, chunks=(1, 3, 4)) if chunked else found, dims=DIMS)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("values", "dtype", "said"),
    [
        (np.uint16([300]), "uint8", "300.*0 to 255"),
        (np.int16([-1]), "uint8", "-1.*0 to 255"),
        ([1.5], "uint8", "1.5.*whole numbers"),
        ([np.nan], "uint8", "nan.*whole numbers"),
        (np.int32([40000]), "int16", "40000"),
        (np.int64([2**40]), "uint16", "1099511627776"),
        (np.uint8([128]), "int8", "128"),
        ([1e39], "float32", r"1e\+39"),
        ([1e5], "float16", "100000"),
        ([1e300 + 0j], "complex64", "1e"),
        ([True], "int16", None),
        (np.uint16([255]), "uint8", None),
        ([255.0], "uint8", None),
        (np.int64([-32768]), "int16", None),
        ([np.float64("inf")], "float32", None),
        ([1 / 3], "float32", None),
        (np.int8([-3]), "complex64", None),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*values, which many programs")
def test_dtype_is_honoured_or_an_error(tmp_path, values, dtype, said, chunked):
    array = volume(values, chunked=chunked)
    for suffix in SUFFIXES:
        path = tmp_path / f"a.mrc{suffix}"
        if said is None:
            to_mrc(array, path, dtype=dtype)
            np.testing.assert_array_equal(open_mrc(path), array.astype(dtype))
        else:
            with pytest.raises(ValueError, match=said):
                to_mrc(array, path, dtype=dtype)
            assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stored", ["u1", "u2", "f4"])
def test_dtype_uint8_writes_bytes_that_are_marked_unsigned(tmp_path, stored):
    to_mrc(volume([0, 200, 255], stored), tmp_path / "a.mrc", dtype="uint8")
    raw = (tmp_path / "a.mrc").read_bytes()
    assert raw[1024:1027] == bytes([0, 200, 255])
    assert get(raw, "<", "mode") == 0
    assert open_mrc(tmp_path / "a.mrc").dtype == np.uint8
    to_mrc(volume([0, 200, 255], "u1"), tmp_path / "b.mrc")
    assert open_mrc(tmp_path / "b.mrc").dtype == np.uint16


def test_dtype_uint8_of_delayed_and_mode_0(tmp_path):
    later = to_mrc(volume(np.uint16([300]), chunked=True), tmp_path / "a.mrc", dtype="u1",
                   compute=False)  # fmt: skip
    with pytest.raises(ValueError, match="300"):
        later.compute()
    to_mrc(volume(np.uint16([255])), tmp_path / "b.mrc", dtype="u1", mode=0)
    assert open_mrc(tmp_path / "b.mrc").dtype == np.uint8
    with pytest.raises(ValueError, match="300"):
        to_mrc(volume(np.uint16([300])), tmp_path / "c.mrc", dtype="u1", mode=0)


@pytest.mark.parametrize(
    ("dtype", "wanted", "values"),
    [("f8", "f4", [1.25, -3]), ("c16", "c8", [1 + 2j]), ("?", "i1", [True, False, True])],
)
def test_default_casts(tmp_path, dtype, wanted, values):
    for chunked in (False, True):
        to_mrc(volume(values, dtype, chunked), tmp_path / "a.mrc", overwrite=True)
        found = open_mrc(tmp_path / "a.mrc")
        assert found.dtype == np.dtype(wanted)
        np.testing.assert_array_equal(found, volume(values, dtype))


def test_a_value_that_overflows_float32(tmp_path):
    with pytest.raises(ValueError, match=r"1e\+300.*at most 3\.40282e\+38"):
        to_mrc(volume([1e300]), tmp_path / "a.mrc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([np.nan, np.nan, 1], "2 nan and 0 infinite"),
        ([np.inf, -np.inf, np.nan], "1 nan and 2 infinite"),
        ([complex(np.nan, np.inf)], "1 nan and 0 infinite"),
    ],
)
def test_nan_and_infinite_values_give_one_warning(tmp_path, values, said, suffix, chunked):
    path = tmp_path / f"a.mrc{suffix}"
    with pytest.warns(MrcWarning) as caught:
        to_mrc(volume(values, chunked=chunked), path)
    (warning,) = caught
    assert str(warning.message).startswith(f"{path}: ")
    assert said in str(warning.message)
    assert warning.filename == __file__
    raw = volume(values).values.astype("c8" if np.iscomplexobj(values) else "f4").tobytes()
    assert open_mrc(path).values.tobytes() == raw
    if not suffix:
        head = path.read_bytes()[:1024]
        assert (get(head, "<", "dmin"), get(head, "<", "dmax")) == (0, -1)


def test_nan_in_delayed_data(tmp_path):
    later = to_mrc(volume([np.nan], chunked=True), tmp_path / "a.mrc", compute=False)
    with pytest.warns(MrcWarning, match="1 nan and 0 infinite") as caught:
        later.compute(scheduler="sync")
    assert len(caught) == 1


def test_one_warning_for_all_that_is_lost(tmp_path):
    array = volume([np.nan]).assign_coords(x=[0.0, 1, 2, 3], y=[0.0, 1, 2], z=[0.0, 1])
    with pytest.warns(MrcWarning) as caught:
        to_mrc(array, tmp_path / "a.mrc")
    assert len(caught) == 1  # of the units and of nan
    assert "nan" in str(caught[0].message)
    assert "angstrom" in str(caught[0].message)


def test_no_warning_without_statistics_or_where_all_is_well(tmp_path):
    to_mrc(volume([np.nan]), tmp_path / "a.mrc", stats=False)
    to_mrc(volume([1.0, 2.0]), tmp_path / "b.mrc")
