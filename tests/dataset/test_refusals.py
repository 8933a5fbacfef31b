"""Labels, files of a wrong length, headers that can't be, attributes and options."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import (
    FILE_AXES,
    UNTIMED,
    assert_pixels,
    named,
    open_mrc,
    open_warned,
    save,
)
from extended_records import seri_bytes
from hypothesis import given
from hypothesis import strategies as st
from mrcbytes import AXES, FORMS, IMOD, ORDERS, Form, lay, put

from xarray_mrc import (
    MrcError,
    MrcFormatError,
    MrcHeaderError,
    MrcModeError,
    MrcTruncatedError,
    read_header,
)
from xarray_mrc.storage.compressed.source import CompressedSource

# Labels ----------------------------------------------------------------------------------------


def labels_of(text: bytes, **fields: Any) -> str:
    laid = lay("int16", label_bytes=text.ljust(800, b"\0"), **fields)
    found: str = open_mrc(laid.raw).data.attrs.get("mrc_labels", "")
    return found


def test_labels() -> None:
    ten = [f"{i}" * 80 for i in range(10)]
    assert labels_of("".join(ten).encode()) == "\n".join(ten)
    assert labels_of(b"") == ""
    assert labels_of(b" " * 800) == ""
    assert labels_of(b"first".ljust(80) + b"second\0junk after it".ljust(80)) == "first\nsecond"
    # What NLABL says is not asked.
    for nlabl in (0, 1, 10, -1, 262146):
        assert labels_of(b"first".ljust(160) + b"third", nlabl=nlabl) == "first\nthird"


def test_labels_that_are_not_ascii() -> None:
    assert labels_of(b"25 \xb0C, 3 \xc5") == "25 \u00b0C, 3 \u00c5"
    assert labels_of(b"a\tb\x07c\x85d\r\n") == "a b c d"
    assert labels_of(b"\xcd" * 80) == "\u00cd" * 80
    every = labels_of(bytes(range(1, 256)).ljust(800))
    assert every.isprintable() or "\n" in every
    assert all(c.isprintable() for line in every.split("\n") for c in line)


@UNTIMED
@given(st.binary(min_size=800, max_size=800))
def test_any_labels(text: bytes) -> None:
    found = labels_of(text)
    assert all(line and line == line.strip() for line in found.split("\n")) or found == ""
    assert len(found.split("\n")) <= 10
    found.encode("utf-8")


# Files that are too short or too long ----------------------------------------------------------


@pytest.mark.parametrize("form", FORMS.values(), ids=str)
@pytest.mark.parametrize("kind", ["image_stack", "volume", "volume_stack"])
def test_truncated(form: Form, kind: str) -> None:
    sections_of = {"image_stack": 5, "volume": 5, "volume_stack": 3}
    lengths = (4, 3, sections_of[kind])
    for order in ORDERS:
        laid = lay(form, kind, order, lengths=lengths, extended=bytes(160))
        per = laid.pixels.shape[1] if kind == "volume_stack" else 1
        count = laid.pixels.shape[0] * per
        start, size = 1184, len(laid.raw)
        section = (size - start) // count
        for there, more in product(range(count), (0, 1, section - 1)):
            raw = laid.raw[: start + there * section + more]
            with pytest.raises(MrcTruncatedError) as caught:
                open_mrc(raw)
            words = str(caught.value)
            assert f"take {count * section} bytes from byte {start}" in words
            assert f"only {there * section + more} there ({there} whole sections" in words
            assert "truncated='sections'" in words
            if there < per:
                with pytest.raises(MrcTruncatedError):
                    open_mrc(raw, truncated="sections")
                continue
            dataset, message = open_warned(raw, truncated="sections")
            whole = there // per
            assert f"cut off: {whole * per} of {count} sections" in message
            assert_pixels(dataset.data, laid.pixels[:whole])
            first = laid.dims[0]
            if first == "z":
                assert dataset["z"].values.tolist() == laid.positions("z")[:whole]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_truncated_file_of_other_axes(axes: tuple[int, int, int]) -> None:
    laid = lay("int16", axes=axes, lengths=(4, 4, 4), voxel=("1", "2", "3"))
    dataset, _ = open_warned(laid.raw[:-1], truncated="sections")
    part: list[slice] = [slice(None)] * 3
    part[3 - axes[2]] = slice(3)
    assert_pixels(dataset.data, laid.pixels[tuple(part)])
    for dim in FILE_AXES:
        assert dataset[dim].values.tolist() == laid.positions(dim)[: dataset.sizes[dim]]


def test_whole_file_is_not_truncated() -> None:
    laid = lay("int16")
    assert_pixels(open_mrc(laid.raw, truncated="sections").data, laid.pixels)


@pytest.mark.parametrize("size", [0, 1, 500, 1023])
def test_no_whole_header(tmp_path: Path, size: int) -> None:
    raw = lay().raw[:size]
    path = save(tmp_path / "a.mrc", raw)
    message = rf"has {size} bytes, expected a header of 1024"
    for source in (raw, path):
        with pytest.raises(MrcTruncatedError, match=message):
            open_mrc(source)


@pytest.mark.parametrize("count", [1, 3, 512, 100_000])
def test_trailing_bytes(count: int) -> None:
    for form, order in product(FORMS.values(), ORDERS):
        laid = lay(form, order=order, trailing=b"\x55" * count)
        dataset, message = open_warned(laid.raw)
        assert f"{count} bytes more than the header describes" in message
        assert_pixels(dataset.data, laid.pixels)


# Headers that can't be -------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("field", ["nx", "ny", "nz"])
@pytest.mark.parametrize("value", [0, -1, -(2**31)])
def test_size_that_is_none(field: str, value: int, order: str) -> None:
    raw = lay("int16", order=order).with_fields(**{field: value})
    with pytest.raises(MrcHeaderError, match=rf"{field} is {value}, expected 1 or more"):
        open_mrc(raw)
    with pytest.raises(MrcHeaderError, match=rf"{field} is {value}"):
        read_header(raw)


@pytest.mark.parametrize("n", [(2**31 - 1,) * 3, (2**20, 2**20, 1), (70000, 70000, 70000)], ids=str)
def test_size_beyond_the_file(n: tuple[int, int, int]) -> None:
    nx, ny, nz = n
    for form, truncated in product(FORMS.values(), ("raise", "sections")):
        raw = lay(form).with_fields(nx=nx, ny=ny, nz=nz)
        with pytest.raises(MrcTruncatedError, match=rf"{nx} x {ny} x {nz}"):
            open_mrc(raw, truncated=truncated)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (5, "CCP4"),
        (7, "MotionCor"),
        (8, "MRCZ"),
        (9, "unknown"),
        (13, "unknown"),
        (17, "EMAN2"),
        (100, "unknown"),
        (102, "unknown"),
        (-1, "unknown"),
        (2002, "MRCZ (method 2)"),
        (6001, "MRCZ (method 6)"),
        (7001, "damaged"),  # there is no method 7
        (1999, "damaged"),
        (33554432, "damaged"),
        (-1, "damaged"),
    ],
)
def test_mode_that_is_none(mode: int, words: str, order: str) -> None:
    raw = lay("int8", order=order).with_fields(mode=mode)
    with pytest.raises(MrcModeError) as caught:
        open_mrc(raw)
    message = str(caught.value)
    assert f"mode is {mode} ({words}" in message or f"mode is {mode} (" in message
    assert words in message
    assert "expected one of 0, 1, 2, 3, 4, 6, 12, 16, 101" in message
    assert isinstance(caught.value, MrcHeaderError | ValueError)
    # The header can be looked at all the same.
    assert read_header(raw).mode == mode


@pytest.mark.parametrize("order", ORDERS)
def test_extended_header_that_can_not_be(order: str) -> None:
    laid = lay("int16", order=order)
    for nsymbt in (-1, -80, -(2**31)):
        with pytest.raises(MrcHeaderError, match=rf"nsymbt, .* is {nsymbt}, expected 0 or more"):
            open_mrc(laid.with_fields(nsymbt=nsymbt))
    # One byte more than there is behind the header (exactly the data would be missing symmetry).
    raw = laid.raw + b"\0"
    after = len(raw) - 1024
    for nsymbt in (after + 1, 2**31 - 1):
        message = rf"nsymbt, .* is {nsymbt} bytes, but the file has only {after} after its header"
        for truncated in ("raise", "sections"):
            with pytest.raises(MrcTruncatedError, match=message):
                open_mrc(put(raw, order, nsymbt=nsymbt), truncated=truncated)


EXTTYPS = (b"\0\0\0\0", b"CCP4", b"MRCO", b"SERI", b"AGAR", b"FEI1", b"FEI2", b"HDF5", b"JSON")


@pytest.mark.parametrize("exttyp", EXTTYPS, ids=str)
@pytest.mark.parametrize("nsymbt", [7, 80, 1024, 100_000])
def test_an_extended_header_that_is_absent(nsymbt: int, exttyp: bytes) -> None:
    for order, form in product(ORDERS, FORMS.values()):
        laid = lay(form, order=order, ispg=4, exttyp=exttyp, nint=2, nreal=1)
        raw = laid.with_fields(nsymbt=nsymbt)
        dataset, message = open_warned(raw)
        assert f"nsymbt says {nsymbt} bytes" in message
        assert "1024" in message
        assert_pixels(dataset.data, laid.pixels)
        assert "mrc_symmetry" not in dataset.data.attrs
        dataset, _ = open_warned(raw, truncated="sections")
        assert_pixels(dataset.data, laid.pixels)


# In a compressed file the size does not tell, until it was read through; the bytes must.
@pytest.mark.parametrize("which", ["common", "all", "raw", "none"])
@pytest.mark.parametrize("exttyp", [b"\0\0\0\0", b"SERI", b"FEI1"], ids=str)
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_an_absent_extended_header_of_a_compressed_file(
    which: str, exttyp: bytes, compress: Any
) -> None:
    # The images count 1, 2, ...: as records of SerialEM they would be good tilt angles.
    laid = lay("int16", "image_stack", lengths=(16, 16, 4), exttyp=exttyp, nint=2, nreal=1, mz=4)
    stored = np.arange(1, 1025, dtype="<i2")
    raw = compress(put(laid.head, "<", nsymbt=1024) + stored.tobytes())
    dataset, _ = open_warned(raw, extended_header=which)
    assert dataset.data.dims == ("z", "y", "x")  # no records, so that MZ = NZ decides
    assert_pixels(dataset.data[0], stored[:256].reshape(16, 16))
    assert_pixels(dataset.data, stored.reshape(4, 16, 16))


def test_a_compressed_tilt_series_is_opened_without_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    extended, nint = seri_bytes("<", 1, 4)
    fields = {"exttyp": b"SERI", "nint": nint, "nreal": 1, "extended": extended}
    laid = lay("int16", "image_stack", lengths=(16, 16, 4), **fields)
    bounded_size = CompressedSource.bounded_size

    def of_the_headers(source: CompressedSource, limit: int) -> int:
        assert limit <= 1024 + len(extended), "the file was read through"
        return bounded_size(source, limit)

    monkeypatch.setattr(CompressedSource, "bounded_size", of_the_headers)
    dataset = open_mrc(gzip.compress(laid.raw))
    assert dataset["tilt_angle"].values.tolist() == [-60, -58.99, -57.98, -56.97]


@pytest.mark.parametrize("exttyp", [b"\0\0\0\0", b"CCP4"], ids=str)
def test_file_cut_off_by_the_size_of_its_extended_header(exttyp: bytes) -> None:
    # It is as long as a file without one; but the operator is there, the last bytes are not.
    extended = b"X,Y,Z".ljust(80)
    laid = lay("int16", "image_stack", lengths=(32, 32, 2), ispg=4, extended=extended)
    with pytest.raises(MrcTruncatedError):
        open_mrc(put(laid.raw[:-80], "<", exttyp=exttyp))


def test_symmetry_records() -> None:
    operators = ("X,Y,Z", "-X,Y+1/2,-Z")
    extended = b"".join(text.encode().ljust(80) for text in operators)
    for exttyp in (b"CCP4", b"\0\0\0\0", b"MRCO"):
        laid = lay("int16", extended=extended, exttyp=exttyp, ispg=4)
        dataset = open_mrc(laid.raw)
        assert dataset.data.attrs["mrc_symmetry"] == "X,Y,Z\n-X,Y+1/2,-Z"
        assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
def test_deltavision(order: str) -> None:
    for form in ("int16", "uint16", "float32"):
        laid = lay(form, order=order, creatid=-16224, map_id=bytes(4), machst=bytes(4))
        for opener in (open_mrc, read_header):
            with pytest.raises(MrcFormatError, match=r"DeltaVision .* -16224 .* no 'MAP '"):
                opener(laid.raw)
        # MotionCor and AreTomo write the same id into MRC files.
        for map_id in (b"MAP ", b"MAP\0"):
            raw = laid.with_fields(map_id=map_id)
            assert_pixels(open_mrc(raw).data, laid.pixels)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(2048),
        b"\xff" * 2048,
        b"\x89PNG\r\n\x1a\n".ljust(2048, b"\x01"),
        b"II*\0\x08\0\0\0".ljust(2048, b"\0"),
        bytes(range(256)) * 8,
        b"The quick brown fox jumps over the lazy dog. " * 50,
        struct.pack("<256f", *np.linspace(-3, 3, 256)) * 2,
    ],
    ids=("zeros", "ones", "png", "tiff", "counting", "text", "floats"),
)
def test_other_files(raw: bytes) -> None:
    with pytest.raises(MrcError) as caught:
        open_mrc(raw)
    assert "<bytes>: " in str(caught.value)
    assert "this is not an MRC file" in str(caught.value) or "expected" in str(caught.value)


# Attributes and options ------------------------------------------------------------------------


def test_first_row_at_the_top() -> None:
    def y_origin(**fields: Any) -> str | None:
        dataset = open_mrc(lay("int16", "image", **fields).raw, extended_header="none")
        found: str | None = dataset.data.attrs.get("mrc_y_origin")
        return found

    for exttyp in (b"FEI1", b"FEI2"):
        assert y_origin(exttyp=exttyp, nversion=20140) == "top"
        assert y_origin(exttyp=exttyp, nversion=20141) is None
        assert y_origin(exttyp=exttyp, nversion=20140, imod_stamp=IMOD, imod_flags=4) is None
    assert y_origin(exttyp=b"SERI", nversion=20140) is None


def test_exttyp_that_is_no_text() -> None:
    for exttyp, expected in ((b"\xcd" * 4, None), (b"\0\0\0\0", None), (b"HKL ", "HKL")):
        attrs = open_mrc(lay("int16", exttyp=exttyp).raw).data.attrs
        assert attrs.get("mrc_exttyp") == expected


@pytest.mark.parametrize("nversion", [0, 1184716800, -842150451, 20139])
def test_version_that_is_none(nversion: int) -> None:
    assert "mrc_nversion" not in open_mrc(lay("int16", nversion=nversion).raw).data.attrs


@pytest.mark.parametrize(
    "options",
    [
        {"origin": "nstrat"},
        {"coords": "phsyical"},
        {"truncated": "section"},
        {"extended_header": "commmon"},
        {"kind": "stack"},
    ],
    ids=named,
)
def test_option_that_is_none(options: dict[str, str]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=rf"{name}='{value}'"):
        open_mrc(lay("int16").raw, **options)
