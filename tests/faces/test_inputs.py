"""What can be opened: paths, URLs, memory and file objects."""

from __future__ import annotations

import io
import pickle
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from mrcbytes import put
from opened import LAID, SPLITS, expected, key_of, open_file, save
from programs import run_program
from xarray.testing import assert_equal, assert_identical

import xarray_mrc
from xarray_mrc import MrcError
from xarray_mrc.backend import MrcBackendEntrypoint


@pytest.mark.filterwarnings(SPLITS)
@pytest.mark.parametrize("chunks", [None, {}, {"z": 7}])
@pytest.mark.parametrize("make", [bytearray, memoryview, io.BytesIO])
def test_open_from_memory(make, chunks):
    dataset = open_file(make(LAID.raw), chunks=chunks)
    assert_equal(dataset, expected())
    assert_equal(dataset.isel(z=[4, 1], y=slice(None, None, -2)), expected().isel(z=[4, 1])[
        {"y": slice(None, None, -2)}
    ])  # fmt: skip


def test_open_bytes():
    assert_equal(open_file(LAID.raw), expected())
    assert_equal(xarray_mrc.open_mrc(LAID.raw), expected()["data"])
    assert_equal(xarray_mrc.open_mrc(LAID.raw, chunks=None), expected()["data"])


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_bytes_are_pickled_with_the_dataset(make):
    assert_equal(pickle.loads(pickle.dumps(open_file(make(LAID.raw)))), expected())


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, io.BytesIO])
def test_loaded_from_memory_is_not_the_memory(make):
    raw = make(LAID.raw)
    dataset = open_file(raw)
    dataset["data"].load()[...] = 1
    assert_equal(open_file(raw), expected())


def test_file_object_is_held_and_not_closed(path):
    with path.open("rb") as file:
        dataset = open_file(file)
        path.unlink()
        assert_equal(dataset[["data"]].isel(z=3), expected().isel(z=3))
        assert_equal(open_file(file, chunks={}).max("z"), expected().max("z"))
        assert not file.closed
        for thing in (dataset, dataset["data"], dataset.isel(z=1), open_file(file, chunks={})):
            with pytest.raises(TypeError, match="by its path or URL"):
                pickle.dumps(thing)
        assert_equal(pickle.loads(pickle.dumps(dataset.compute())), expected())
    with pytest.raises(ValueError, match="closed file"):
        dataset["data"][0].load()


def test_two_datasets_of_one_file_object_take_turns(path):
    wanted = expected()["data"].values
    with path.open("rb", buffering=0) as file:
        datasets = [open_file(file, cache=False)["data"] for _ in range(8)]

        def compare(number):
            z = number % 20
            data = datasets[number % 8] if number % 5 else open_file(file)["data"]
            return np.array_equal(data[z], wanted[z], equal_nan=True)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(compare, range(1000)))
        finally:
            sys.setswitchinterval(interval)


def test_text_file_is_refused(path):
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match="binary file"):
        open_file(file)


def test_paths(path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    odd = save(tmp_path / "50% of #1?, naïve [a]&b=c;d:e.mrc")
    ways = [str(path), path, "volume.mrc", Path("volume.mrc"), "./elsewhere/../volume.mrc"]
    ways += ["~/volume.mrc", Path("~/volume.mrc"), path.as_uri(), odd, str(odd), odd.as_uri()]
    ways += [f"file://localhost{path}"]
    opened = [open_file(way) for way in ways] + [open_file(way, chunks={}) for way in ways]
    opened += [MrcBackendEntrypoint().open_dataset(way) for way in ways]
    monkeypatch.chdir(tmp_path / "elsewhere")
    for dataset in opened:
        assert_equal(dataset, expected())
        assert dataset.encoding["source"] in (str(path), str(odd))
        assert pickle.loads(pickle.dumps(dataset))["data"].sizes == {"z": 20, "y": 6, "x": 7}


def test_what_is_no_file(path):
    for thing in ([str(path)], expected(), None):
        with pytest.raises(TypeError, match=f"^{type(thing).__name__} was found, expected a path"):
            xarray_mrc.validate(thing)


def test_a_file_url_with_two_slashes(path):
    with pytest.raises(MrcError, match="computer 'data' was found, expected file:///"):
        open_file(f"file://data{path}")


def test_missing_file(tmp_path):
    for missing in (tmp_path / "no.mrc", str(tmp_path / "no.mrc"), (tmp_path / "no.mrc").as_uri()):
        with pytest.raises(FileNotFoundError, match=r"no\.mrc"):
            open_file(missing)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)


def test_the_package_is_installed_with_its_engine(path):
    # The engine by name, in a process that imports nothing of ours.
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import xarray as xr\n"
        "ds = xr.open_dataset(sys.argv[1])\n"
        "print(ds.mrc.kind, *ds.sizes.values())\n"
    )
    assert run_program(program, path) == "volume 20 6 7\n"


def test_import_is_light():
    heavy = {
        "dask",
        "distributed",
        "zarr",
        "fsspec",
        "isal",
        "zlib_ng",
        "matplotlib",
        "rich",
        "scipy",
    }
    program = "import sys, xarray; before = set(sys.modules); import xarray_mrc\n"
    program += "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    assert not heavy & set(run_program(program).split())


def test_no_warning_at_all(path, recwarn):
    for chunks in (None, {}, "auto", -1):
        open_file(path, chunks=chunks).load()
    assert not recwarn.list


def test_one_warning_points_at_the_caller(tmp_path):
    odd = save(tmp_path / "odd.mrc", put(LAID.raw, "<", machst=b"\x11\x11\0\0"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xr.open_dataset(odd, engine="mrc")
        xarray_mrc.open_mrc(odd)
    assert [warning.category for warning in caught] == [xarray_mrc.MrcWarning] * 2
    assert {warning.filename for warning in caught} == {__file__}
    assert all(str(odd) in str(warning.message) for warning in caught)


def test_copies_of_one_file_agree(path, tmp_path):
    other = shutil.copy(path, tmp_path / "copy.mrc")
    assert_identical(open_file(path), open_file(other))
    assert key_of(open_file(path, chunks={})) != key_of(open_file(other, chunks={}))
