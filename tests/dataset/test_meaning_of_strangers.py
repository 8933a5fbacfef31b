"""Headers from before 2000, other formats, and damage."""

from __future__ import annotations

import math
import struct
import warnings
from typing import Any

import pytest
import xarray as xr
from dialects import COMPRESS, lay_down, open_quietly, write
from mrcbytes import decimals, put

from xarray_mrc import MrcError, open_mrc, read_header, to_mrc, validate

# Headers from before 2000.


def before_2000(
    order: str = "<", zxy: tuple[float, float, float] = (1.5, -3.0, 6.0), **fields: Any
) -> bytes:
    raw, _ = lay_down((4, 3, 2), order, mode=1, nversion=0, **fields)
    return raw[:208] + struct.pack(f"{order}3f", *zxy) + raw[220:]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_origin_of_a_header_from_before_2000(tmp_path, order, suffix):
    path = write(tmp_path, f"old.mrc{suffix}", before_2000(order))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
    # position = index * voxel - origin
    assert found.x.values.tolist() == decimals("3", "1.5", 4)
    assert found.y.values.tolist() == decimals("-6", "1.5", 3)
    assert found.z.values.tolist() == decimals("-1.5", "1.5", 2)
    ids = [finding.id for finding in validate(path).findings]
    assert "D03" not in ids
    assert "H02" in ids


NO_ORIGIN = [
    b"\0\0\0\0\x44\x44\0\0" + struct.pack("<f", 7.5),  # MAP is missing beside a stamp and an RMS
    b"\0\0\0\0\x44\x41\0\0" + struct.pack("<f", 7.5),
    struct.pack("<3f", 1e-40, 0.0, 0.0),
    struct.pack("<3f", math.nan, 1.0, 2.0),
    struct.pack("<3f", 1e30, 1.0, 2.0),
    bytes(12),
]


@pytest.mark.parametrize("words", NO_ORIGIN)
def test_words_that_are_no_origin(tmp_path, words):
    raw = before_2000()
    path = write(tmp_path, "a.mrc", raw[:208] + words + raw[220:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
    assert found.x.values.tolist() == decimals("0", "1.5", 4)
    assert found.z.values.tolist() == decimals("0", "1.5", 2)


# Files that are not MRC, or damaged.

FOREIGN = {
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"a" * 64
    + b"\nsize 12345\n",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "TIFF": b"II*\0" + bytes(range(256)) * 8,
    "TIFF ": b"MM\0*" + bytes(range(256)) * 8,
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8,
    "HTML": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n" * 30,
    "HTML ": b"\n  <html>\n<body>Sign in</body></html>",
    "text": b"This is a README, not a map. " * 60,
}


@pytest.mark.parametrize(("name", "raw"), FOREIGN.items(), ids=FOREIGN)
@pytest.mark.parametrize("suffix", COMPRESS)
def test_foreign_files_are_named(tmp_path, name, raw, suffix):
    path = write(tmp_path, f"a.mrc{suffix}", raw)
    for call in (open_mrc, read_header):
        with pytest.raises(MrcError, match=f"(?i){name.strip()}"):
            call(path)
    report = validate(path)
    assert not report
    assert any(name.strip().lower() in finding.text.lower() for finding in report.findings)


@pytest.mark.parametrize("mode", [7000, 16777216, -1, 40, 999])
def test_a_damaged_mode_is_called_damaged(tmp_path, mode):
    raw, _ = lay_down()
    with pytest.raises(MrcError, match=f"mode.*{mode}|{mode}.*mode") as caught:
        open_mrc(write(tmp_path, "a.mrc", put(raw, "<", mode=mode)))
    assert "MRCZ" not in str(caught.value)


@pytest.mark.parametrize("method", range(1, 7))
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_mrcz_is_named(tmp_path, method, mode):
    raw, _ = lay_down()
    with pytest.raises(MrcError, match="MRCZ"):
        open_mrc(write(tmp_path, "a.mrcz", put(raw, "<", mode=1000 * method + mode)))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("z", [0.0, -1.0, math.nan])
def test_an_image_has_no_cell_along_z(tmp_path, order, z):
    raw, _ = lay_down((4, 3, 1), order, ispg=0, cella=(6.0, 4.5, z))
    path = write(tmp_path, "a.mrc", raw)
    found = open_quietly(path)
    assert found.dims == ("y", "x")
    assert found.x.values.tolist() == decimals("0", "1.5", 4)
    assert not {"H09", "H40"} & {finding.id for finding in validate(path).findings}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "zxy",
    [(0.0, 12.5, 40.25), (100.0, 0.0, -7.5), (-3.0, -3.0, 0.0), (1.0, 512.0, 3.0), (0.0, 8.0, 8.0)],
)
def test_an_old_origin_with_zeros(tmp_path, order, zxy):
    path = write(tmp_path, "old.rec", before_2000(order, zxy))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
    for dim, value in zip("zxy", zxy, strict=True):
        assert found[dim].values[0] == -value
        assert found[dim].values[1] == 1.5 - value


def test_an_old_header_that_is_written_again_is_of_today(tmp_path):
    path = write(tmp_path, "old.rec", before_2000())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
        to_mrc(found, tmp_path / "new.mrc")
    again = open_quietly(tmp_path / "new.mrc")
    xr.testing.assert_equal(found, again)
    assert validate(tmp_path / "new.mrc")


def test_a_file_without_map_but_with_a_stamp_keeps_its_origin(tmp_path):
    raw, _ = lay_down(map_id=b"\0\0\0\0", nversion=0, origin=(3.0, 4.5, 6.0), rms=2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(write(tmp_path, "a.mrc", raw), chunks=None)
    assert [float(found[dim][0]) for dim in "xyz"] == [3.0, 4.5, 6.0]


def test_an_rms_without_map_and_stamp_is_no_origin(tmp_path):
    """Programs that leave out both write an RMS, which lies where yorg was."""
    raw, numbers = lay_down(map_id=b"\0\0\0\0", machst=b"\0\0\0\0", nversion=0)
    wide = numbers.astype("f8")
    raw = put(raw, "<", dmin=wide.min(), dmax=wide.max(), dmean=wide.mean(), rms=wide.std())
    path = write(tmp_path, "a.mrc", raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
    assert [float(found[dim][0]) for dim in "xyz"] == [0.0, 0.0, 0.0]
