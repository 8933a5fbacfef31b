"""Files of other formats are named in the error."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mrcbytes import header, lay

from xarray_mrc import MrcFormatError, MrcTruncatedError, open_mrc, read_header, validate

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
FORMATS = {
    "Git LFS pointer": POINTER,
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "TIFF": b"II*\0\x08\0\0\0",
    "TIFF ": b"MM\0*\0\0\0\x08",
    "BigTIFF": b"II+\0\x08\0\0\0",
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "GIF": b"GIF89a",
    "PDF": b"%PDF-1.7",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "netCDF": b"CDF\x01",
    "ZIP": b"PK\x03\x04\x14\0",
    "tar": bytes(257) + b"ustar",
    "NumPy": b"\x93NUMPY\x01\0",
    "NIfTI": struct.pack("<i", 348) + bytes(340) + b"n+1\0",
    "DICOM": bytes(128) + b"DICM",
    "HTML": b"<!DOCTYPE html>\n<html><title>404</title></html>",
    "HTML ": b"\xef\xbb\xbf  <HTML>",
    "XML": b'<?xml version="1.0"?>',
    "text that begins '_rlnVoltage": b"_rlnVoltage #1\n300\n",
    "text that begins '{": b'{"version": 3}',
    "text that begins 'Zweitgrößte": "Zweitgrößte Zahl: ".encode() * 100,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [None, 1024, 5000])
def test_other_formats_are_named(name: str, size: int | None, tmp_path: Path) -> None:
    raw = FORMATS[name]
    if size:
        raw = raw.ljust(size, b" " if "text" in name else b"\0" if name[:4] != "HTML" else b"\n")
    path = tmp_path / "a.mrc"
    path.write_bytes(raw)
    if name in ("HTML", "XML", "Git LFS pointer") and size:
        path.write_bytes(raw.replace(b"\0", b"\n"))
    for read in (open_mrc, read_header):
        with pytest.raises(MrcFormatError, match=r"this is not an MRC file but an? ") as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert name.strip() in str(caught.value)
    report = validate(path)
    assert not report
    assert name.strip() in str(report)


def test_genuine_files_of_other_formats(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mrc", "w") as file:
        file.writestr("b.mrc", lay().raw)
    with pytest.raises(MrcFormatError, match="ZIP"):
        open_mrc(tmp_path / "a.mrc")
    np.save(tmp_path / "a.npy", np.zeros((20, 20)))
    with pytest.raises(MrcFormatError, match="NumPy"):
        open_mrc(tmp_path / "a.npy")


def test_junk_and_short_files_are_none_of_these() -> None:
    for raw in (b"", bytes(100), bytes(range(256)) * 2):
        with pytest.raises(MrcTruncatedError, match="expected a header of 1024"):
            open_mrc(raw)
    with pytest.raises(MrcFormatError, match="no 'MAP ' at byte 208"):
        open_mrc(bytes(range(256)) * 8)


def test_an_mrc_file_is_never_taken_for_another_format() -> None:
    # Headers that begin as a DigitalMicrograph file does: three or four big endian columns.
    for nx in (3, 4):
        raw = header(">", nx=nx, ny=1, nz=1, mx=nx, my=1, mz=1, mode=0) + bytes(nx)
        assert open_mrc(raw).sizes["x"] == nx
