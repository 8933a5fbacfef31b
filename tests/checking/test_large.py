"""Large files: memory stays the same, and headers are enough where they are asked for."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from files import sound
from mrcbytes import lay, put
from programs import PEAK_MEMORY, run_program

from xarray_mrc import MrcChangedError, validate
from xarray_mrc.checking.measurement import SLAB_NBYTES, NumpyStatistics, measure_file
from xarray_mrc.checking.profiles import PROFILES
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.storage import open_source

MIB, TIB = 2**20, 2**40
VALIDATE = (
    PEAK_MEMORY
    + """
import sys
from xarray_mrc import MrcChangedError, validate
from xarray_mrc.checking.profiles import PROFILES
path, profile, data = sys.argv[1:]
validate(path, profile, False)
before = peak_nbytes()
report = validate(path, profile, data == "True")
print(*(finding.id for finding in report.findings))
print(peak_nbytes() - before)
"""
)


def sparse(path, shape, nbytes=None, **fields):
    """Lay down a file of zeros that takes no room."""
    nz, ny, nx = shape
    head = sound(nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz, **fields)[:1024]
    with path.open("wb") as file:
        file.write(head)
        try:
            file.truncate(1024 + 4 * nz * ny * nx if nbytes is None else nbytes)
        except OSError as error:
            pytest.skip(f"the file system takes no sparse file of that size: {error}")
    return path


@pytest.mark.serial
@pytest.mark.parametrize("profile", ["mrc2014", "mrcfile"])
def test_headers_of_a_tebibyte(tmp_path, profile):
    shape = (16384, 4096, 4096)
    whole = sparse(tmp_path / "whole.mrc", shape)
    found, peak = run_program(VALIDATE, whole, profile, False).splitlines()
    assert found == ""
    assert int(peak) < 8 * MIB
    # Cut off, it is told from the size alone, data asked for or not.
    cut = sparse(tmp_path / "cut.mrc", shape, TIB - 5)
    for data in (False, True):
        found, peak = run_program(VALIDATE, cut, profile, data).splitlines()
        # mrcfile takes zeros for the statistics of what it can't read.
        assert found.split()[-1] == "S01"
        assert int(peak) < 8 * MIB


@pytest.mark.serial
@pytest.mark.parametrize("profile", ["mrc2014", "mrcfile"])
def test_data_of_a_gibibyte(tmp_path, profile):
    zeros = {"dmin": 0.0, "dmax": 0.0, "dmean": 0.0, "rms": 0.0}
    path = sparse(tmp_path / "large.mrc", (256, 1024, 1024), **zeros)
    with path.open("r+b") as file:
        file.seek(1024 + 4 * 200 * 1024 * 1024)
        file.write(np.array([-2, 6], "<f4").tobytes())
    found, peak = run_program(VALIDATE, path, profile, True).splitlines()
    assert int(peak) < 64 * MIB
    assert set(found.split()) == ({"D05"} if profile == "mrc2014" else {"D03"})


OPEN = (
    PEAK_MEMORY
    + """
import sys
import xarray as xr
from xarray_mrc import validate
whole, large = sys.argv[1:]
for path in whole, large:
    before = peak_nbytes()
    ds = xr.open_dataset(path, engine="mrc")
    print(ds.tilt_angle.values.tolist(), bool(validate(path)))
print(peak_nbytes() - before)
"""
)
EXTENDED = {
    b"SERI": ({"nint": 2, "nreal": 1}, np.array([-300, 300], "<i2").tobytes()),
    b"AGAR": ({"nint": 1, "nreal": 2}, np.array([0, -3, 1, 0, 3, 1], "<f4").tobytes()),
}


@pytest.mark.parametrize("exttyp", EXTENDED)
def test_room_for_more_records_than_sections(tmp_path, exttyp):
    fields, records = EXTENDED[exttyp]
    stack = sound(extended=records, ispg=0, mz=1, exttyp=exttyp, **fields)
    small = tmp_path / "small.mrc"
    small.write_bytes(stack)
    large = sparse(tmp_path / "large.mrc", (2, 3, 4), 1024 + 2**31 - 1 + 96)
    with large.open("r+b") as file:
        file.write(put(stack[:1024], "<", nsymbt=2**31 - 1))
        file.seek(1024)
        file.write(records)
    one, two, peak = run_program(OPEN, small, large).splitlines()
    assert one == two == "[-3.0, 3.0] True"
    assert int(peak) < 16 * MIB


@pytest.mark.parametrize("profile", ["mrc2014", "mrcfile"])
def test_a_small_stream_that_claims_much(profile):
    claim = {"nx": 2**20, "ny": 2**20, "nz": 1, "mx": 2**20, "my": 2**20, "mz": 1}
    raw = gzip.compress(sound(**claim))
    report = validate(raw, profile)
    assert "S01" in [finding.id for finding in report.findings]


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("claim", [2**31 - 1, 10**8])
def test_a_small_stream_that_claims_many_records(claim, data, monkeypatch):
    def empty(shape, dtype):
        assert shape <= SLAB_NBYTES
        return np.zeros(shape, dtype)

    monkeypatch.setattr("numpy.empty", empty)
    raw = gzip.compress(sound(nsymbt=claim, exttyp=b"FEI1") + b"\0")
    report = validate(raw, data=data)
    assert "H24" in [finding.id for finding in report.findings]
    assert "only 97 bytes follow" in str(report)


@pytest.mark.parametrize("form", ["int8", "float32", "complex_int16", "rgb", "four_bit", "float16"])
@pytest.mark.parametrize("slab", [16, 40, SLAB_NBYTES])
def test_slabs_are_the_whole(monkeypatch, form, slab):
    monkeypatch.setattr("xarray_mrc.checking.measurement.SLAB_NBYTES", slab)
    laid = lay(form, "volume_stack", ">", lengths=(7, 3, 4))
    header = Header(laid.head, ">")
    layout = Layout.from_header(header, len(laid.raw))
    found = measure_file(open_source(laid.raw), layout, NumpyStatistics.of)
    pixels = laid.pixels.astype("c16" if laid.pixels.dtype.kind == "c" else "f8")
    pixels = pixels[np.isfinite(pixels)]
    assert found.statistics.count == pixels.size
    assert found.size == laid.pixels.size
    assert found.statistics.mean == pytest.approx(pixels.mean())
    assert found.statistics.rms == pytest.approx(pixels.std())
    if pixels.dtype.kind != "c":
        assert (found.statistics.minimum, found.statistics.maximum) == (pixels.min(), pixels.max())


def test_a_slab_is_bounded():
    header = Header(put(lay("four_bit").head, "<", nx=2**26 + 1, ny=3, nz=1), "<")
    layout = Layout.from_header(header)
    parts = [(len(rows), len(columns)) for _, _, rows, columns in layout.slabs(SLAB_NBYTES)]
    assert len(parts) == 3 * (2**25 // SLAB_NBYTES + 1)
    assert max(-(-columns // 2) * rows for rows, columns in parts) <= SLAB_NBYTES
    assert sum(columns * rows for rows, columns in parts) == 3 * (2**26 + 1)


class Shrinking(io.BytesIO):
    """A file that becomes shorter once its header was read."""

    def readinto(self, out):
        found = super().readinto(out)
        if self.tell() <= 1104:
            self.truncate(1200)
        return found


@pytest.mark.parametrize("profile", PROFILES)
def test_a_file_that_shrinks_is_no_finding(profile):
    with pytest.raises(MrcChangedError, match="became shorter while it was read"):
        validate(Shrinking(sound(np.zeros((8, 16, 16), "f4"))), profile)
