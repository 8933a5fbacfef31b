"""Chunks of dask, and the names that its tasks get."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
from contextlib import nullcontext

import dask
import pytest
import xarray as xr
from mrcbytes import lay
from opened import LAID, expected, key_of, open_file, save
from programs import run_program
from xarray.testing import assert_equal

import xarray_mrc
from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.reading import open_file as reader
from xarray_mrc.reading.options import ReadingOptions


def test_preferred_chunks(tmp_path):
    file = tmp_path / "big.mrc"
    laid = lay(lengths=(4, 4, 4))
    with file.open("wb") as out:
        out.write(laid.with_fields(nx=1024, ny=1024, nz=100, mz=100)[:1024])
        out.truncate(1024 + 400 * 2**20)
    assert open_file(file, chunks={}).chunks == {"z": (16,) * 6 + (4,), "y": (1024,), "x": (1024,)}
    assert open_file(file, chunks=-1).chunks == {"z": (100,), "y": (1024,), "x": (1024,)}
    assert open_file(file, chunks={"z": 32}).chunks["z"] == (32, 32, 32, 4)
    assert open_file(file, chunks={"z": 1}, preferred_chunks={"z": 1}).chunks["z"] == (1,) * 100
    auto = open_file(file, chunks="auto").chunks
    assert (auto["y"], auto["x"]) == ((1024,), (1024,))
    assert all(length % 16 == 0 for length in auto["z"][:-1])
    mine = open_file(file, chunks={}, preferred_chunks={"z": 10, "y": 512})
    assert mine.chunks == {"z": (10,) * 10, "y": (512, 512), "x": (1024,)}
    assert mine["data"].encoding["preferred_chunks"]["z"] == 10
    with pytest.warns(UserWarning, match="separate the stored chunks"):
        open_file(file, chunks={"z": 7})


@pytest.mark.parametrize("preferred", [{"w": 3}, {"z": 0}, {"z": "auto"}, {"z": ()}, {"z": True}])
def test_preferred_chunks_that_cannot_be(path, preferred):
    with pytest.raises(ValueError, match=r"preferred_chunks=\{'.': .*\}, expected"):
        open_file(path, preferred_chunks=preferred)


def test_blocks_of_the_stored_axes(tmp_path):
    # Sections lie along x here, so that is the axis that is cut.
    laid = lay(axes=(3, 2, 1), lengths=(4, 4, 4))
    file = tmp_path / "turned.mrc"
    with file.open("wb") as out:
        out.write(laid.with_fields(nx=1024, ny=1024, nz=40, mx=40, mz=1024)[:1024])
        out.truncate(1024 + 160 * 2**20)
    chunks = open_file(file, chunks={}).chunks
    assert chunks == {"z": (1024,), "y": (1024,), "x": (16, 16, 8)}


def test_chunks_of_a_derived_dataset_are_computed_right(path):
    dataset = open_file(path, chunks={}, preferred_chunks={"z": 3})
    cut = dataset.isel(z=slice(None, None, -2), y=[5, 0, 1]).transpose("x", "z", "y")
    wanted = expected().isel(z=slice(None, None, -2), y=[5, 0, 1]).transpose("x", "z", "y")
    assert_equal(cut, wanted)
    assert_equal(dataset.chunk(z=4, y=1), expected())
    wanted = expected().max("z", skipna=False)
    assert_equal(dataset.max("z", skipna=False), wanted)


def test_tokens(path):
    ways = {
        "engine": lambda: open_file(path, chunks={}),
        "class": lambda: xr.open_dataset(path, engine=MrcBackendEntrypoint, chunks={}),
        "option": lambda: open_file(path, chunks={}, origin="zero"),
        "text": lambda: open_file(str(path), chunks={}),
        "later": lambda: open_file(path).chunk(z=5),
        "part": lambda: open_file(path).isel(z=slice(3)).chunk(z=5),
        "open_mrc": lambda: xarray_mrc.open_mrc(path).to_dataset(name="data"),
    }
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        keys = {way: key_of(opened()) for way, opened in ways.items()}
        assert keys == {way: key_of(opened()) for way, opened in ways.items()}
        assert len({key for way, key in keys.items() if way not in ("text", "open_mrc")}) == 5
        save(path, lay(lengths=(7, 6, 20), seed=2))
        os.utime(path, ns=(1, 1))
        assert not set(keys.values()) & {key_of(opened()) for opened in ways.values()}


def test_tokens_of_arrays(path, tmp_path):
    # What holds below xarray, whose own token of a lazy dataset loads it.
    def token(source, **options):
        return dask.base.tokenize(reader.open_file(source, ReadingOptions(**options)).array)

    with dask.config.set({"tokenize.ensure-deterministic": True}):
        assert token(path) == token(str(path)) == token(path, memmap=False)
        assert token(path) != token(path, kind="image_stack")
        assert token(path) != token(shutil.copy(path, tmp_path / "copy.mrc"))
        other = bytearray(LAID.raw)
        other[-1] ^= 1
        assert token(LAID.raw) == token(bytearray(LAID.raw)) == token(memoryview(LAID.raw))
        assert token(LAID.raw) != token(other)
        file, twin = io.BytesIO(LAID.raw), io.BytesIO(LAID.raw)
        assert token(file) == token(file) != token(twin)


def test_tokens_are_the_same_in_another_process(path):
    program = (
        "import dask, sys, xarray as xr\n"
        "ds = xr.open_dataset(sys.argv[1], engine='mrc', chunks={})\n"
        "print(ds['data'].data.name)\n"
        "print(xr.open_dataset(sys.argv[1], engine='mrc').chunk(z=5)['data'].data.name)\n"
        "import xarray_mrc; print(xarray_mrc.open_mrc(sys.argv[1]).data.name)\n"
    )
    here = [
        open_file(str(path), chunks={})["data"].data.name,
        open_file(str(path)).chunk(z=5)["data"].data.name,
        xarray_mrc.open_mrc(str(path)).data.name,
    ]
    assert run_program(program, path).split() == here


@pytest.mark.parametrize("chunks", [{"z": 7}, {"z": 7, "y": 2, "x": -1}, 7, 10**6, "auto", -1])
@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_a_plain_file_has_no_stored_chunks(tmp_path, chunks, name):
    # xarray's warning of "stored chunks" is an error here, as any.
    raw = LAID.raw if name == "a.mrc" else gzip.compress(LAID.raw)
    file = save(tmp_path / name, raw)
    cuts = isinstance(chunks, dict) or chunks == 7
    warns = pytest.warns(UserWarning, match="separate the stored chunks")
    with warns if cuts and name == "a.mrc.gz" else nullcontext():
        array = xarray_mrc.open_mrc(file, chunks=chunks)
    assert array.chunks[0] == ((7, 7, 6) if cuts else (20,))


def test_coordinates_are_in_memory(tmp_path):
    # xarray makes dask arrays of them with chunks=, which it does not take as conditions.
    laid = lay(kind="image_stack", lengths=(5, 4, 3), extended=struct.pack("<3h", -300, 0, 300),
               exttyp=b"SERI", nint=2, nreal=1)  # fmt: skip
    file = save(tmp_path / "tilts.mrc", laid)
    series = xarray_mrc.open_mrc(file)
    assert series.chunks is not None
    assert series.tilt_angle.chunks is None
    low = series.where(abs(series.tilt_angle) < 1, drop=True)
    assert low.tilt_angle.values.tolist() == [0]
    assert series.isel(image=series.tilt_angle > 0).shape == (1, 4, 5)
    assert series.tilt_angle.attrs == open_file(file).tilt_angle.attrs
    assert "source" in series.encoding
