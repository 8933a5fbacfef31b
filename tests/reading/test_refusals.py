"""Inputs that once gave a wrong number, a bare error, or cost more than they are worth."""

import gzip
import os
import sys
import threading
import warnings
import zipfile

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header, lay, put
from programs import PEAK_MEMORY, run_program

from xarray_mrc import MrcError, MrcHeaderError, open_mrc, read_header
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions

MIB = 2**20
SERI = bytes((100, 0, 200, 0, 44, 1))  # tilts of 1, 2 and 3 degrees


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2), (1, 3, 2), (3, 2, 1)])
def test_records_of_sections_that_are_no_images(axes):
    laid = lay(
        "float32", "image_stack", "<", axes, lengths=(2, 3, 3), extended=SERI, exttyp=b"SERI",
        nint=2, nreal=1,
    )  # fmt: skip
    data = open_mrc(laid.raw, kind="image_stack")
    assert ("tilt_angle" in data.coords) == (axes[2] == 3)
    if axes[2] == 3:
        assert data.tilt_angle.values.tolist() == [1, 2, 3]


def test_voxel_size_is_that_of_positions():
    laid = lay("int16", voxel=("1.35", "2.5", "0.875"))
    assert open_mrc(laid.raw)[:, ::-1, ::-2].mrc.voxel_size == {"z": 0.875, "y": 2.5, "x": 2.7}
    assert open_mrc(laid.raw, coords="index").mrc.voxel_size == {}
    assert open_mrc(lay("int16", voxel=None).raw).mrc.voxel_size == {}


def test_header_is_never_that_of_another_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner.mrc").write_bytes(lay("int16", lengths=(9, 9, 9)).raw)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("inner.mrc", lay("int16").raw)
    with zipfile.ZipFile("a.zip") as archive, archive.open("inner.mrc") as file:
        for data in (open_mrc(file), open_mrc(lay("int16").raw)):
            with pytest.raises(ValueError, match="does not know its file"):
                data.mrc.header  # noqa: B018
            assert "source" not in data.encoding
    assert open_mrc("inner.mrc").mrc.header.n == (9, 9, 9)
    assert xr.open_dataset("inner.mrc", engine="mrc").mrc.header.n == (9, 9, 9)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_file_object_is_not_read_in_a_child(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("int16").raw)
    with path.open("rb") as file:
        data = open_mrc(file, chunks=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of threads at a fork
            child = os.fork()
        if child == 0:
            try:
                data[0].load()
            except TypeError as error:
                os._exit(7 if "open in this one" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_volume_stack_of_nothing():
    raw = put(lay("int16", "image_stack", lengths=(4, 3, 5)).raw, "<", mz=0)
    with pytest.raises(MrcHeaderError, match="mz 0"):
        open_file(raw[:-10], ReadingOptions(truncated="sections", kind="volume_stack"))


def test_positions_are_not_made_by_claim(tmp_path):
    # Half a byte a pixel in the file, and sixteen for its position.
    n = 2 * (16 * MIB - 2048)
    raw = header(nx=n, ny=1, nz=1, mode=101, mx=n, my=1, mz=1, cella=(float(n), 1.0, 1.0))
    with pytest.raises(MrcError, match=f"{n} x 1 x 1 pixels"):
        open_file(gzip.compress(raw))


def test_a_long_extended_header_is_read_on_demand(tmp_path):
    path = tmp_path / "a.mrc"
    laid = lay("int16")
    with path.open("wb") as file:
        file.write(laid.with_fields(nsymbt=2**30)[:1024])
        file.seek(2**30, 1)
        file.write(laid.raw[1024:])
    program = PEAK_MEMORY + (
        "import sys, xarray_mrc\n"
        "header = xarray_mrc.Header.blank().replace(nx=1, ny=1, nz=1).raw\n"
        "xarray_mrc.open_mrc(header + b'1').astype('f8').sum().compute()  # loads all packages\n"
        "before = peak_nbytes()\n"
        "data = xarray_mrc.open_mrc(sys.argv[1])\n"
        "print(float(data.astype('f8').sum()), peak_nbytes() - before)\n"
    )
    total, grown = run_program(program, path).split()
    assert float(total) == laid.pixels.astype("f8").sum()
    assert int(grown) < 32 * MIB


@pytest.mark.parametrize("code", ["u1", "i1", "u2", "i8", "u8"])
def test_indices_of_any_integer_type(code):
    laid = lay("int16", lengths=(300, 2, 2))
    found = open_file(laid.raw).array[0, 0, np.array([1, 5], code)]
    assert found.tolist() == laid.pixels[0, 0, [1, 5]].tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="a path has at most 260 characters there")
def test_long_names(tmp_path):
    path = tmp_path / ("a" * 250 + ".mrc")
    path.write_bytes(lay("int16", "image_stack").raw)
    assert open_mrc(path).sizes["image"] == open_mrc(path, sidecar=False).sizes["image"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with names")
def test_a_pipe_is_refused(tmp_path):
    path = tmp_path / "a.mrc"
    os.mkfifo(path)
    said = []

    def look():
        with pytest.raises(OSError, match="a pipe or device, expected a file"):
            read_header(path)
        said.append(True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(10)
    assert said


def test_memory_that_is_not_contiguous():
    raw = lay("int16").raw
    spread = bytes(byte for pair in zip(raw, raw, strict=True) for byte in pair)
    assert read_header(memoryview(spread)[::2]) == read_header(raw)


def test_origin_source_says_where_the_place_comes_from():
    raw = lay("int16", voxel=("1.5", "1.5", "1.5")).raw
    for origin in ("origin", "nstart", "auto", "zero"):
        assert open_mrc(raw, origin=origin).attrs["mrc_origin_source"] == "none"
