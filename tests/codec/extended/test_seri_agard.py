"""Records of SerialEM and Agard, and older ones without a name."""

from __future__ import annotations

import random
import struct
from math import isnan, nan

import pytest
from extended_records import (
    BLANK,
    COMMON,
    FULL,
    ORDERS,
    agard_record,
    assert_refused,
    assert_sound,
    decode,
    dose_shorts,
    seri_bytes,
    units,
    values,
)
from hypothesis import given
from hypothesis import strategies as st


@given(bits=st.integers(1, 2047), order=st.sampled_from(ORDERS), sections=st.integers(1, 40))
def test_seri_gives_every_set_bit(bits: int, order: str, sections: int) -> None:
    raw, nint = seri_bytes(order, bits, sections)
    found = decode(b"SERI", raw, sections, byteorder=order, nint=nint, nreal=bits)
    assert (found.kind, found.problem) == ("SERI", "")
    assert_sound(found, sections)
    count = range(sections)
    expected: dict[str, list[float]] = {}
    if bits & 1:
        expected["tilt_angle"] = [(-6000 + 101 * i) / 100 for i in count]
    if bits & 2:
        expected["piece_x"] = [40000 + i for i in count]
        expected["piece_y"] = [65535 - i for i in count]
        expected["piece_z"] = [-i for i in count]
    if bits & 4:
        expected["stage_x"] = [(-2500 + i) / 25 for i in count]
        expected["stage_y"] = [101 * i / 25 for i in count]
    if bits & 8:
        expected["magnification"] = [(420 + i) * 100 for i in count]
    if bits & 32:
        expected["dose"] = [2.75 + i / 8 for i in count]
    assert values(found.common) == expected
    every = values(found.all)
    if bits & 16:
        assert every.pop("intensity") == [(12501 + i) / 25000 for i in count]
    assert list(every.values()) == list(expected.values())


@given(st.one_of(st.floats(1e-30, 9e5, allow_subnormal=False), st.sampled_from([1.0, 0.5, 255])))
def test_seri_dose_in_two_shorts(dose: float) -> None:
    raw = struct.pack("<hh", *dose_shorts(dose))
    found = decode(b"SERI", raw, 1, nint=4, nreal=32)
    (read,) = values(found.common)["dose"]
    assert read == pytest.approx(dose, rel=2**-21)


@pytest.mark.parametrize(
    ("low", "high", "dose"),
    [(1, 0, 256.0), (0, 5, 5.0), (16384, -5 * 256, 2.0**17), (3, 258, 1540.0), (3, -258, 385.0)],
)
def test_seri_dose_by_hand(low: int, high: int, dose: float) -> None:
    found = decode(b"SERI", struct.pack("<hh", low, high), 1, nint=4, nreal=32)
    assert values(found.common) == {"dose": [dose]}


def test_seri_dose_of_zero_is_unknown() -> None:
    found = decode(b"SERI", struct.pack("<4h", 0, 0, 0, 5), 2, nint=4, nreal=32)
    first, second = values(found.common)["dose"]
    assert isnan(first)
    assert second == 5.0
    assert decode(b"SERI", bytes(4), 1, nint=4, nreal=32).all == ()


def test_seri_magnification_of_zero_is_none() -> None:
    found = decode(b"SERI", struct.pack("<3H", 0, 200, 65000), 3, nint=2, nreal=8)
    first, *others = values(found.common)["magnification"]
    assert isnan(first)
    assert others == [20000.0, 6500000.0]
    assert decode(b"SERI", bytes(2), 1, nint=2, nreal=8).all == ()


@pytest.mark.parametrize(
    ("nint", "nreal", "sections", "words"),
    [
        (4, 1, 2, ["4 bytes per section", "bits 1"]),
        (2, 2049, 2, ["bits 2049"]),
        (0, 0, 2, ["NINT"]),
        (-2, 1, 2, ["-2 bytes per section"]),
        (2, -1, 2, ["bits -1"]),
        (2, 1, 513, ["512 sections", "513 are expected"]),
    ],
)
def test_seri_that_does_not_bear_its_name_out(
    nint: int, nreal: int, sections: int, words: list[str]
) -> None:
    raw = b"\x7f" * 1024
    assert_refused(decode(b"SERI", raw, sections, nint=nint, nreal=nreal), "SERI", *words)


def test_seri_values_that_no_microscope_has() -> None:
    tilts = struct.pack("<3h", 100, 0, 18001)
    assert_refused(decode(b"SERI", tilts, 3, nint=2, nreal=1), "section 2", "180.01")
    dose = struct.pack("<2h", -300, 0)
    assert_refused(decode(b"SERI", dose, 1, nint=4, nreal=32), "dose")


def test_seri_without_an_extended_header_is_no_problem() -> None:
    assert (decode(b"SERI", b"", 3).kind, decode(b"SERI", b"", 3).problem) == ("none", "")
    reserved = decode(b"SERI", bytes(1024), 3)
    assert (reserved.kind, reserved.problem, reserved.all) == ("SERI", "", ())


def test_agard_records_under_the_name_of_seri() -> None:
    raw = struct.pack("<2f", 10.0, 0.5) * 3
    found = decode(b"SERI", raw, 3, nint=0, nreal=2)
    assert found.kind == "AGAR"
    assert values(found.common) == {"tilt_angle": [10.0] * 3, "beta_tilt": [0.5] * 3}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "ints", "reals", "nint", "nreal", "slots", "labels"),
    [
        (b"AGAR", 0, 32, 0, 32, 3, ()),
        (b"AGAR", 5, 13, 5, 13, 3, ()),
        (b"AGAR", 1, 40, 1, 40, 4, ()),
        (b"AGAR", 0, 32, 0, 32, 1024, ()),  # the old FEI block
        (b"AGAR", 0, 32, 128, 32, 1024, ()),  # with NINT in bytes
        (b"AGAR", 0, 32, 128, 32, 40, ("Fei Company (C) Copyright 2003",)),
        (b"AGAR", 0, 32, 0, 0, 1024, ()),
        (BLANK, 0, 32, 0, 32, 1024, ()),  # from before the types had names
        (BLANK, 0, 32, 128, 32, 1024, ()),
    ],
)
def test_agard_records_give_section_values(
    order: str,
    name: bytes,
    ints: int,
    reals: int,
    nint: int,
    nreal: int,
    slots: int,
    labels: tuple[str, ...],
) -> None:
    tilts = [-60.01, 0.0, 1.5]
    raw = b"".join(agard_record(order, ints, reals, alpha=tilt, **FULL) for tilt in tilts)
    raw += bytes((slots - 3) * 4 * (ints + reals))
    found = decode(name, raw, 3, byteorder=order, nint=nint, nreal=nreal, labels=labels)
    assert (found.kind, found.problem) == ("AGAR", "")
    assert_sound(found, 3)
    expected = {"tilt_angle": tilts} | {key: [value] * 3 for key, value in COMMON.items()}
    assert values(found.common) == expected
    every = values(found.all)
    assert every["defocus"] == [-4.4e-6] * 3
    assert every["image_shift_y"] == [-2e-8] * 3
    assert every["mean_intensity"] == [1234.5] * 3
    own = units(found.all)
    assert (own["x_stage"], own["defocus"], own["pixel_size"]) == ("m", "m", "m")
    assert (own["alpha_tilt"], own["exposure_time"]) == ("degree", "s")


def test_agard_block_with_bytes_in_nint_needs_a_reason() -> None:
    raw = agard_record("<", alpha=1.0, **FULL) * 40
    found = decode(b"AGAR", raw, 40, nint=128, nreal=32)
    assert_refused(found, "640 bytes each", "8 sections", "40 are expected")


@pytest.mark.parametrize("reals", range(1, 13))
def test_agard_records_that_stop_short(reals: int) -> None:
    raw = agard_record("<", reals=reals, alpha=5.0, **FULL)
    found = decode(b"AGAR", raw, 1, nreal=reals)
    common = values(found.common)
    assert common.pop("tilt_angle") == [5.0]
    assert common == {key: [COMMON[key]] for key in common}
    assert len(found.all) == reals


def test_agard_stage_in_micrometers() -> None:
    raw = agard_record("<", x=250.5, y=-0.5, z=0.001) + agard_record("<", x=0.0, y=0.25, z=-30.0)
    found = decode(b"AGAR", raw, 2, nreal=32)
    assert values(found.common) == {
        "tilt_angle": [0.0, 0.0],
        "stage_x": [250.5, 0.0],
        "stage_y": [-0.5, 0.25],
        "stage_z": [0.001, -30.0],
    }
    assert units(found.all)["x_stage"] == "micrometer"


def test_agard_pixel_in_angstrom() -> None:
    raw = agard_record("<", pixel=0.83) + agard_record("<", pixel=0.0)
    found = decode(b"AGAR", raw, 2, nreal=32)
    first, second = values(found.common)["pixel_size"]
    assert first == 0.83
    assert isnan(second)
    assert units(found.all)["pixel_size"] == "angstrom"
    mixed = agard_record("<", pixel=0.83) + agard_record("<", pixel=8.3e-11)
    assert_refused(decode(b"AGAR", mixed, 2, nreal=32), "metres", "angstrom")


def test_agard_defocus_in_an_unknown_unit_has_no_common_name() -> None:
    found = decode(b"AGAR", agard_record("<", alpha=3.0, defocus=-25000.0), 1, nreal=32)
    assert values(found.common) == {"tilt_angle": [3.0]}
    assert values(found.all)["defocus"] == [-25000.0]
    assert units(found.all)["defocus"] == ""


def test_agard_columns_of_zeros_say_nothing() -> None:
    untouched = decode(b"AGAR", bytes(1024 * 128), 41, nreal=32)
    assert (untouched.kind, untouched.problem, untouched.all) == ("AGAR", "", ())
    untilted = decode(b"AGAR", agard_record("<", magnification=100.0), 1, nreal=32)
    assert values(untilted.common) == {"tilt_angle": [0.0], "magnification": [100.0]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 361.0},
        {"alpha": nan},
        {"beta": float("inf")},
        {"axis": -400.0},
        {"x": 2e4},
        {"magnification": -1.0},
        {"exposure": -0.1},
        {"pixel": -1e-10},
        {"pixel": 1e-4},
        {"mean": 1e-30},
        {"alpha": 1e-40},
    ],
)
def test_agard_values_that_no_microscope_has(wrong: dict[str, float]) -> None:
    raw = agard_record("<", alpha=1.0) + agard_record("<", **wrong)
    assert_refused(decode(b"AGAR", raw, 2, nreal=32), "section 1", "AGAR")


def test_agard_in_the_other_byte_order_is_not_believed() -> None:
    raw = agard_record(">", alpha=-60.0, **FULL)
    assert_refused(decode(b"AGAR", raw, 1, nreal=32))


def test_agard_without_records_is_no_problem() -> None:
    assert decode(b"AGAR", b"", 3).kind == "none"
    gain = struct.pack("<35f", *[1.5] * 35)
    for raw in (gain, bytes(200)):  # MotionCor keeps its gain reference there
        found = decode(b"AGAR", raw, 3)
        assert (found.kind, found.problem, found.all) == ("AGAR", "", ())
    assert_refused(decode(b"AGAR", b"\1" * 200, 3), "200 bytes", "NINT and NREAL of 0")


def test_agard_with_a_gain_reference_behind_the_records() -> None:
    raw = agard_record("<", alpha=4.0) * 3 + struct.pack("<35f", *[1.5] * 35)
    assert values(decode(b"AGAR", raw, 3, nreal=32).common) == {"tilt_angle": [4.0] * 3}


def test_records_without_a_name_are_believed_by_their_form() -> None:
    raw, nint = seri_bytes("<", 0b100111, 5)
    found = decode(BLANK, raw, 5, nint=nint, nreal=0b100111)
    assert found.kind == "SERI"
    assert values(found.common)["tilt_angle"][0] == -60.0
    # These two shorts lie in the skew matrix when there is one.
    skewed = decode(BLANK, raw, 5, nint=nint, nreal=0b100111, lskflg=1)
    assert (skewed.kind, skewed.problem) == ("unknown", "")


@pytest.mark.parametrize("name", [BLANK, b"    ", b"\xcd\xcd\xcd\xcd", b"WXYZ", b"fei1"])
def test_unknown_types_cost_nothing(name: bytes) -> None:
    junk = random.Random(1).randbytes(4096)
    for facts in ({}, {"nint": 2, "nreal": 1}, {"nint": 8, "nreal": 32}, {"nreal": 32}):
        found = decode(name, junk, 900, **facts)
        assert (found.kind, found.problem, found.all) == ("unknown", "", ())
    assert decode(name, b"", 2, nsymbt=160).kind == "none"
    assert decode(name, b"", 2).kind == "none"
