"""Writers of the drop-in under Windows' rule: no file in use is renamed, replaced or removed."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
from mrcbytes import lay
from windows import needs_simulation, windows_rules

from xarray_mrc import mrcfile

pytestmark = needs_simulation

OLD = lay("int16", lengths=(6, 5, 4), extended=bytes(range(48)))
NEW = np.arange(60, dtype="f4").reshape(3, 4, 5)
COMPRESSIONS = {"": None, ".gz": "gzip", ".bz2": "bzip2"}


@pytest.fixture(autouse=True)
def windows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gc.collect()  # files that earlier tests did not close
    with windows_rules() as calls:
        yield calls
    assert sorted(os.listdir(tmp_path)) in (["a.mrc"], ["a.mrc.gz"], ["a.mrc.bz2"], [])


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_write(suffix, windows):
    for factor in (1, 2):
        mrcfile.write(f"a.mrc{suffix}", NEW * factor, overwrite=factor == 2)
        assert (mrcfile.read(f"a.mrc{suffix}") == NEW * factor).all()
    assert windows.count("replace") == 2


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_new(suffix):
    with mrcfile.new(f"a.mrc{suffix}", NEW, COMPRESSIONS[suffix]) as mrc:
        mrc.flush()
        mrc.data[0] = 0
        mrc.flush()
        mrc.set_data(NEW[:2])
    assert (mrcfile.read(f"a.mrc{suffix}") == NEW[:2]).all()


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_new_file_that_gets_no_data_is_removed(suffix):
    with pytest.raises(ValueError, match="float64"):
        mrcfile.write(f"a.mrc{suffix}", np.zeros((2, 3)))
    assert os.listdir() == []


@pytest.mark.parametrize("opener", ["open", "mmap"])
@pytest.mark.parametrize("step", ["data", "extended header", "both"])
def test_growth(opener, step):
    with open("a.mrc", "wb") as file:
        file.write(OLD.raw)
    with getattr(mrcfile, opener)("a.mrc", "r+") as mrc:
        if step != "extended header":
            mrc.set_data(NEW)
            mrc.data[2] = 7
        if step != "data":
            mrc.set_extended_header(np.zeros(100, "u1"))
            mrc.data[1] = 8
        expected = np.array(mrc.data)
    with mrcfile.open("a.mrc") as mrc:
        assert (mrc.data == expected).all()
        assert mrc.extended_header.nbytes == (48 if step == "data" else 100)


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_growth_of_a_compressed_file(suffix):
    mrcfile.write(f"a.mrc{suffix}", NEW)
    with mrcfile.open(f"a.mrc{suffix}", "r+") as mrc:
        if suffix == ".gz":
            assert mrc._fileobj.read(2) == b"\x1f\x8b"
        mrc.set_data(NEW[:1])
    assert (mrcfile.read(f"a.mrc{suffix}") == NEW[:1]).all()


@pytest.mark.parametrize("overwrite", [False, True])
def test_new_mmap(overwrite):
    if overwrite:
        mrcfile.write("a.mrc", NEW)
    with mrcfile.new_mmap("a.mrc", (3, 4, 5), 2, fill=1.5, overwrite=overwrite) as mrc:
        data = mrc.data  # which is in use until the end
        data[1] = NEW[1]
        mrc.flush()
        data[2] = NEW[2]
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 1
    found = mrcfile.read("a.mrc")
    assert (found[0] == 1.5).all()
    assert (found[1:] == NEW[1:]).all()


def test_new_mmap_of_data_that_are_in_use():
    with mrcfile.mmap("a.mrc", "w+") as mrc:
        mrc.set_data(NEW)
        data = mrc.data
        data[0] = 5
    assert (mrcfile.read("a.mrc")[0] == 5).all()
    assert (data[1:] == NEW[1:]).all()


def test_an_old_map_that_is_in_use_prevents_growth_and_loses_nothing():
    mrcfile.write("a.mrc", NEW)
    mrc = mrcfile.mmap("a.mrc", "r+")
    data = mrc.data
    with pytest.raises(PermissionError):
        mrc.set_data(np.ones((9, 9), "f4"))
    mrc.close()
    assert (data == NEW).all()
    assert (mrcfile.read("a.mrc") == NEW).all()


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_target_that_another_handle_holds_open(suffix):
    path = f"a.mrc{suffix}"
    mrcfile.write(path, NEW)
    mrc = mrcfile.open(path, "r+")
    mrc.set_data(NEW[:1])
    with open(path, "rb"), pytest.raises(PermissionError):
        mrc.flush()
    assert (mrcfile.read(path) == NEW).all()
    mrc.close()
    assert (mrcfile.read(path) == NEW[:1]).all()
