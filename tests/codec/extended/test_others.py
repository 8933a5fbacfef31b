"""Symmetry records, opaque types, junk, and the real files."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest
from extended_records import (
    BLANK,
    CORPUS,
    LEFT_OUT,
    NAMED,
    ORDERS,
    assert_refused,
    assert_sound,
    decode,
    fei_record,
    lines,
    raw_bytes,
    read_corpus,
    shorts,
    values,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.codec.extended import COMMON_UNITS, decode_extended, per_section
from xarray_mrc.codec.extended.table import shift_point


@pytest.mark.parametrize("name", [b"CCP4", b"MRCO", BLANK, b"    ", b"\xcd\xcd\xcd\xcd"])
@pytest.mark.parametrize("order", ORDERS)
def test_symmetry_records(name: bytes, order: str) -> None:
    raw = lines("X,  Y,  Z", "-x, y+1/2, -z", "", "1/2+X,-Y,Z* X-Y , X , Z+0.333 *")
    raw += b"-Y,X-Y,2/3+Z".ljust(80, b"\0")
    found = decode(name, raw, 1, byteorder=order)
    assert (found.kind, found.problem, found.all) == ("CCP4", "", ())
    assert found.symmetry == (
        "X,Y,Z",
        "-X,Y+1/2,-Z",
        "1/2+X,-Y,Z",
        "X-Y,X,Z+0.333",
        "-Y,X-Y,2/3+Z",
    )


@pytest.mark.parametrize(
    "raw",
    [
        lines("X,Y,Z")[:-1],
        lines("X,Y"),
        lines("X,Y,Z,X"),
        lines("X,Y,1/2"),
        lines("X,Y,W"),
        lines("X,Y,Z+1/0"),
        lines("X,Y,XZ"),
        lines("X,Y,Z+"),
        lines("X,Y,Z", "not an operator"),
        b"X,Y,Z\n".ljust(80),
        b"X,Y,Z\xe9".ljust(80),
        b" " * 160,
        bytes(80),
        lines("+" * 80),
        lines("1" * 80),
    ],
)
def test_records_that_are_no_symmetry(raw: bytes) -> None:
    assert_refused(decode(b"CCP4", raw, 1), "CCP4", "expected")
    blank = decode(BLANK, raw, 1)
    assert (blank.kind, blank.problem, blank.symmetry) == ("unknown", "", ())


def test_symmetry_that_is_absent_from_an_old_entry() -> None:
    assert decode(BLANK, b"", 1, nsymbt=160).problem == ""
    assert_refused(decode(b"CCP4", b"", 1, nsymbt=160), "0 bytes", "160 are expected")


def test_opaque_types() -> None:
    hdf5 = decode(b"HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100), 1)
    assert (hdf5.kind, hdf5.problem) == ("HDF5", "")
    assert_refused(decode(b"HDF5", bytes(100), 1), "signature")
    json = decode(b"JSON", b' {"a": 1}', 1)
    assert (json.kind, json.problem) == ("JSON", "")
    assert_refused(decode(b"JSON", b"junk", 1), "JSON")
    assert_refused(decode(b"JSON", b"{\xff", 1), "JSON")
    mrco = decode(b"MRCO", bytes(100), 1)
    assert (mrco.kind, mrco.problem) == ("MRCO", "")
    assert_refused(decode(b"MRCO", b"\1" * 100, 1), "MRCO")


@pytest.mark.parametrize("name", NAMED)
def test_bytes_that_are_not_there(name: bytes) -> None:
    assert decode(name, b"", 2).kind == "none"
    assert decode(name, b"", 2, nsymbt=-5).kind == "none"
    assert_refused(decode(name, bytes(99), 2, nsymbt=100), "99 bytes", "100 are expected")
    vast = decode(name, bytes(99), 2**31 - 1, nsymbt=2**31 - 1, nint=2, nreal=1)
    assert_refused(vast, "99 bytes")


@pytest.mark.parametrize("name", NAMED)
def test_claims_are_held_against_the_bytes(name: bytes) -> None:
    record, _ = fei_record(888, "<", 1, timestamp=4e4)
    for facts in ({"nint": 2, "nreal": 1}, {"nreal": 32}, {"nint": 32767, "nreal": 32767}):
        found = decode(name, record, 2**31 - 1, **facts)
        assert_refused(found)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("sections", [0, -1])
def test_files_without_sections(name: bytes, sections: int) -> None:
    found = decode(name, lines("X,Y,Z"), sections, nint=2, nreal=1)
    assert found.all == ()
    if per_section(name):
        assert (found.kind, found.problem) == ("none", "")


def test_per_section() -> None:
    assert [name for name in NAMED if per_section(name)] == [b"FEI1", b"FEI2", b"SERI", b"AGAR"]
    assert not per_section(BLANK)
    assert not per_section(b"fei1")


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("seed", range(20))
def test_junk_under_every_name_gives_one_sentence(name: bytes, seed: int) -> None:
    chance = random.Random(seed)
    for sections, facts in [
        (1, {}),
        (40, {"nint": 18, "nreal": 0b110111}),
        (40, {"nint": 0, "nreal": 32}),
        (40, {"nint": 128, "nreal": 32}),
        (7, {"nint": 3, "nreal": 13, "byteorder": ">"}),
    ]:
        for length in (80, 800, 8192, 131072):
            found = decode(name, chance.randbytes(length), sections, **facts)
            assert_refused(found, name.decode())
            assert found.problem.count(LEFT_OUT) == 1
            assert "\n" not in found.problem


@settings(max_examples=400, deadline=None)
@given(
    name=st.one_of(st.sampled_from([*NAMED, BLANK]), st.binary(min_size=4, max_size=4)),
    raw=raw_bytes(),
    claim=st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
    sections=st.one_of(st.integers(-2, 12), st.integers(-(2**31), 2**31 - 1)),
    order=st.sampled_from(ORDERS),
    nint=shorts,
    nreal=shorts,
    lskflg=st.sampled_from([0, 1, -16224]),
    labels=st.sampled_from([(), ("Fei Company",), ("", "x")]),
)
def test_no_bytes_raise(
    name: bytes,
    raw: bytes,
    claim: int | None,
    sections: int,
    order: str,
    nint: int,
    nreal: int,
    lskflg: int,
    labels: tuple[str, ...],
) -> None:
    found = decode(
        name,
        raw,
        sections,
        nsymbt=len(raw) if claim is None else claim,
        byteorder=order,
        nint=nint,
        nreal=nreal,
        lskflg=lskflg,
        labels=labels,
    )
    assert_sound(found, sections)
    if name not in NAMED:
        assert not found.problem


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=20),
    st.sampled_from([-20, 0, 6, 10]),
    st.sampled_from(["f4", "f8"]),
)
def test_decimals_moves_the_point(numbers: list[float], shift: int, code: str) -> None:
    stored = np.array(numbers, code)
    moved = shift_point(stored, shift)
    assert moved.dtype == np.float64
    for before, after in zip(stored, moved, strict=True):
        if np.isfinite(before):
            assert after == float(Decimal(str(before)).scaleb(shift))
        else:
            np.testing.assert_equal(after, float(before))


@pytest.mark.corpus
# mrcfile sets a dtype in place, which numpy 2.5 warns of.
@pytest.mark.filterwarnings("ignore:Setting the dtype on a NumPy array:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "kind", "tilt", "defocus", "applied"),
    [
        ("fei1_epu1.2_crop64.mrc", "FEI1", 0.004274353952111746, -0.9065800391478006, -0.8),
        ("fei2_epu2.9_crop64.mrc", "FEI2", -0.011856155199630836, 1.815154498012938, -2.2),
    ],
)
def test_epu_files(name: str, kind: str, tilt: float, defocus: float, applied: float) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    facts, raw, nz = read_corpus(name)
    found = decode_extended(facts, raw, nz)
    assert (found.kind, found.problem) == (kind, "")
    assert_sound(found, 1)
    common = values(found.common)
    assert common["tilt_angle"] == [tilt]
    assert common["defocus"] == [defocus]
    assert (COMMON_UNITS["tilt_angle"], COMMON_UNITS["defocus"]) == ("degree", "micrometer")
    assert "tilt_axis_angle" not in common  # its bit is not set
    assert values(found.all)["applied_defocus"] == [applied * 1e-6]
    with mrcfile.open(CORPUS / name, permissive=True) as mrc:
        records = mrc.indexed_extended_header.copy()
    for field in found.all:
        if field.name == "timestamp" or field.name.startswith("unused_range"):
            continue
        (other,) = records[field.long_name]
        assert field.values[0] == (other.decode("latin-1") if isinstance(other, bytes) else other)
    moved = {"stage_x": ("X-Stage", 6), "dose": ("Dose", -20), "pixel_size": ("Pixel size X", 10)}
    for name_, (other_name, shift) in moved.items():
        assert common[name_][0] == pytest.approx(records[other_name][0] * 10.0**shift, rel=1e-14)
    when = np.datetime64("1899-12-30", "ms") + np.timedelta64(
        round(float(records["Timestamp"][0]) * 86400000), "ms"
    )
    assert np.array(common["timestamp"], "M8[ns]")[0] == when


@pytest.mark.corpus
def test_tomography_file_of_two_sections() -> None:
    facts, raw, nz = read_corpus("exiftool_MRC.mrc")
    found = decode_extended(facts, raw, nz)
    common = values(found.common)
    assert [round(angle) for angle in common["tilt_angle"]] == [-64, -62]
    assert common["tilt_axis_angle"][0] == pytest.approx(-0.8477, abs=1e-4)


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("cctbx_tst_input.map", ("X,Y,Z", "-X,Y,-Z", "X+1/2,Y+1/2,Z", "-X+1/2,Y+1/2,-Z")),
        ("gemmi_5i55_tiny.ccp4", ("X,Y,Z", "-X,Y+1/2,-Z")),
    ],
)
def test_symmetry_of_real_maps(name: str, operators: tuple[str, ...]) -> None:
    facts, raw, nz = read_corpus(name)
    found = decode_extended(facts, raw, nz)
    assert (found.kind, found.problem, found.symmetry) == ("CCP4", "", operators)


@pytest.mark.parametrize("options", [{"legacy": "1.13"}, {"precision": 2}])
def test_numbers_do_not_depend_on_how_numpy_prints(options: dict[str, object]) -> None:
    numbers = [0.1, -2.5874007, 1 / 3, 2.2e-6]
    with np.printoptions(**options):  # type: ignore[arg-type]
        assert shift_point(np.array(numbers, "f8"), 6).tolist() == [
            100000.0, -2587400.7, 333333.3333333333, 2.2
        ]  # fmt: skip
        found = shift_point(np.array(numbers, "f4"), 6).tolist()
    assert found == [100000.0, -2587400.7, 333333.34, 2.2]
