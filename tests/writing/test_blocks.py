"""Chunks that are cut along rows or columns: no more in memory than they hold, in few parts."""

from __future__ import annotations

import functools
import os

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from mrcbytes import FORMS, KINDS, lay
from xarray.testing import assert_identical

from xarray_mrc import open_mrc, to_mrc
from xarray_mrc.storage import local_sink as sinks
from xarray_mrc.storage.compressed.members import plain_file
from xarray_mrc.writing import block_writing, blocks

# The pixels of the forms hold nan and infinite values on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*values, which many programs")


def watched(monkeypatch, module, name):
    """Note the arguments of each call of a function."""
    seen, found = [], getattr(module, name)

    @functools.wraps(found)  # dask asks which arguments it takes
    def call(*args, **options):
        seen.append(args)
        return found(*args, **options)

    monkeypatch.setattr(module, name, call)
    return seen


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("chunks", [(6, 2, 7), (6, 5, 3), (3, 1, 1)])
def test_blocks_are_no_larger_than_chunks(tmp_path, suffix, chunks, monkeypatch):
    values = np.random.default_rng(0).normal(size=(6, 5, 7)).astype("f4")
    array = xr.DataArray(da.from_array(values, chunks=chunks), dims=("z", "y", "x"))
    seen = watched(monkeypatch, block_writing, "write_block")
    with dask.config.set(scheduler="synchronous"):
        to_mrc(array, tmp_path / f"a.mrc{suffix}")
    assert max(block.size for block, *_ in seen) == np.prod(chunks)
    assert open_mrc(tmp_path / f"a.mrc{suffix}").values.tobytes() == values.tobytes()
    assert os.listdir(tmp_path) == [f"a.mrc{suffix}"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_error_leaves_nothing(tmp_path, suffix, monkeypatch):
    array = xr.DataArray(da.zeros((4, 6, 8), chunks=(4, 3, 8), dtype="f4"), dims=("z", "y", "x"))

    def fail(*_):
        raise OSError("full")

    for name in ("write_at", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(sinks if name == "write_at" else os, name, fail)
            with pytest.raises(OSError, match="full"):
                to_mrc(array, tmp_path / f"a.mrc{suffix}")
        assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="elsewhere files have no such mode")
def test_the_plain_file_is_as_private_as_the_other(tmp_path):
    with sinks.new_file(str(tmp_path / "a.mrc.gz"), has_pieces=True) as new:
        os.chmod(new.sink.part, 0o600)
        with plain_file(new.sink, 2048) as plain:
            assert os.stat(plain.part).st_mode & 0o777 == 0o600
            assert os.stat(plain.part).st_size == 2048
        assert not os.path.exists(plain.part)


def test_short_runs_share_a_slab(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(-99, 99, (40, 60, 50)).astype("i2")
    array = xr.DataArray(da.from_array(values, chunks=(20, 60, 25)), dims=("z", "y", "x"))
    seen = watched(monkeypatch, block_writing, "measure")
    to_mrc(array, tmp_path / "a.mrc")
    # All rows of a block, of every section: they take 60 kB, and one slab may have 1 MiB.
    assert [part.shape for (part,) in seen] == [(20, 60, 25)] * 4
    assert open_mrc(tmp_path / "a.mrc").values.tobytes() == values.tobytes()


@pytest.mark.parametrize("slab", [1, 24, 100])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [form for form in FORMS.values() if not form.halved], ids=str)
def test_slabs_of_any_length(tmp_path, form, kind, slab, monkeypatch):
    monkeypatch.setattr(blocks, "SLAB_NBYTES", slab)
    (tmp_path / "a.mrc").write_bytes(
        lay(form, kind, lengths=(7, 6, 1 if kind == "image" else 6)).raw
    )
    expected = open_mrc(tmp_path / "a.mrc", chunks=None)
    mode = expected.encoding["mrc_mode"]
    for chunks in ({"y": 3, "x": 2}, {"y": 4}, {"x": 4}):
        for name in ("b.mrc", "b.mrc.gz"):
            to_mrc(expected.chunk(chunks), tmp_path / name, mode=mode, overwrite=True)
            found = open_mrc(tmp_path / name, chunks=None).drop_attrs()
            assert_identical(found, expected.drop_attrs())
            assert found.values.tobytes() == expected.values.tobytes()
