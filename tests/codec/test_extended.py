"""Extended headers, laid down byte by byte here and read back by the codec.

The layouts in this file are written out once more from the formats' descriptions, as sequences
of packed fields, so that an offset, a bit or a unit that is wrong in the codec does not agree.
"""

from __future__ import annotations

import os
import random
import struct
from dataclasses import dataclass
from decimal import Decimal
from math import floor, frexp, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.codec.extended import COMMON_UNITS, Extended, decode_extended, per_section
from xarray_mrc.codec.extended.table import decimals

ORDERS = ("<", ">")
BLANK = b"\0\0\0\0"
NAMED = (b"FEI1", b"FEI2", b"SERI", b"AGAR", b"CCP4", b"MRCO", b"HDF5", b"JSON")
LEFT_OUT = "extended header is left out of the coordinates"


@dataclass(frozen=True)
class Facts:
    exttyp: bytes
    nsymbt: int
    byteorder: str = "<"
    nx: int = 7
    ny: int = 5
    nint: int = 0
    nreal: int = 0
    lskflg: int = 0
    labels: tuple[str, ...] = ()


def decode(exttyp: bytes, raw: bytes, sections: int, **facts: Any) -> Extended:
    return decode_extended(Facts(exttyp, **{"nsymbt": len(raw), **facts}), raw, sections)


def values(fields: Any) -> dict[str, list[Any]]:
    return {field.name: field.values.tolist() for field in fields}


def units(fields: Any) -> dict[str, str]:
    return {field.name: field.units for field in fields}


def assert_refused(found: Extended, *words: str) -> None:
    assert found.kind == "unknown"
    assert (found.common, found.all, found.symmetry) == ((), (), ())
    assert LEFT_OUT in found.problem
    for word in words:
        assert word in found.problem


def assert_sound(found: Extended, sections: int) -> None:
    for field in found.common + found.all:
        assert field.values.shape == (sections,)
        assert field.values.dtype.kind in "bifUM"
        assert field.values.dtype.isnative
        assert field.values.flags.owndata or field.values.base.flags.owndata
        assert field.name.isidentifier()
        assert field.long_name
    for field in found.common:
        assert field.units == COMMON_UNITS[field.name]
    for fields in (found.common, found.all):
        assert len({field.name for field in fields}) == len(fields)
    assert not found.problem or not (found.common or found.all or found.symmetry)


# FEI -------------------------------------------------------------------------------------------

# Fields in their order, packed. "#" is a bitmask; the bits of the following fields count from
# its end on, in their order, except that the first mask also rules what was listed before it.
FEI_FIELDS = """
    i metadata_size; i metadata_version; # 1;
    d timestamp; 16s microscope_type; 16s d_number; 16s application; 16s application_version;
    d ht; d dose; d alpha_tilt; d beta_tilt; d x_stage; d y_stage; d z_stage; d tilt_axis_angle;
    d dual_axis_rotation; d pixel_size_x; d pixel_size_y; d unused_range_0; d unused_range_1;
    d unused_range_2; d unused_range_3; d unused_range_4; d unused_range_5; d defocus;
    d stem_defocus; d applied_defocus; i instrument_mode; i projection_mode;
    16s objective_lens_mode; 16s high_magnification_mode; i probe_mode; ? eftem_on;
    d magnification; # 2;
    d camera_length; i spot_index; d illuminated_area; d intensity; d convergence_angle;
    16s illumination_mode; ? wide_convergence_angle_range; ? slit_inserted; d slit_width;
    d acceleration_voltage_offset; d drift_tube_voltage; d energy_shift; d shift_offset_x;
    d shift_offset_y; d shift_x; d shift_y; d integration_time; i binning_width;
    i binning_height; 16s camera_name; i readout_area_left; i readout_area_top;
    i readout_area_right; i readout_area_bottom; ? ceta_noise_reduction; i ceta_frames_summed;
    ? direct_detector_electron_counting; ? direct_detector_align_frames;
    i camera_param_reserved_0; i camera_param_reserved_1; i camera_param_reserved_2;
    i camera_param_reserved_3; # 3;
    i camera_param_reserved_4; i camera_param_reserved_5; i camera_param_reserved_6;
    i camera_param_reserved_7; i camera_param_reserved_8; i camera_param_reserved_9;
    ? phase_plate; 16s stem_detector_name; d gain; d offset; i stem_param_reserved_0;
    i stem_param_reserved_1; i stem_param_reserved_2; i stem_param_reserved_3;
    i stem_param_reserved_4; d dwell_time; d frame_time; i scan_size_left; i scan_size_top;
    i scan_size_right; i scan_size_bottom; d full_scan_fov_x; d full_scan_fov_y; 16s element;
    d energy_interval_lower; d energy_interval_higher; i method; ? is_dose_fraction;
    i fraction_number; i start_frame; i end_frame; 80s input_stack_filename; # 4;
    d alpha_tilt_min; d alpha_tilt_max
"""
FEI2_FIELDS = """;
    d scan_rotation; d diffraction_pattern_rotation; d image_rotation; i scan_mode_enumeration;
    q acquisition_time_stamp; 16s detector_commercial_name; d start_tilt_angle;
    d end_tilt_angle; d tilt_per_image; d tilt_speed; i beam_center_x_pixel;
    i beam_center_y_pixel; q cfeg_flash_timestamp; i phase_plate_position_index;
    16s objective_aperture_name
"""


def fei_fields(size: int) -> list[list[str]]:
    text = FEI_FIELDS + (FEI2_FIELDS if size == 888 else "")
    return [item.split() for item in text.split(";")]


def fei_record(
    size: int, order: str, seed: int, masks: dict[str, int] | None = None, **given: Any
) -> tuple[bytes, dict[str, Any]]:
    """Lay down one record; without masks, all bits are set."""
    chance = random.Random(seed)
    made: dict[str, Any] = {"metadata_size": size, "metadata_version": 2 if size == 888 else 0}
    out = b""
    for code, name in fei_fields(size):
        if code == "#":
            out += struct.pack("<I", 0xFFFFFFFF if masks is None else masks.get(name, 0))
            continue
        if name in given:
            made[name] = given[name]
        elif name not in made:
            made[name] = {
                "d": lambda: round(chance.uniform(-1, 1), 5),
                "i": lambda: chance.randrange(-(2**31), 2**31),
                "q": lambda: chance.randrange(1, 2 * 10**15),
                "?": lambda: chance.random() < 0.5,
                "s": lambda: "".join(chance.choices("abcXYZ 0.9é", k=chance.randrange(17))),
            }[code[-1]]()
        value = made[name]
        out += struct.pack(order + code, value.encode("latin-1") if code[-1] == "s" else value)
    assert len(out) == size
    return out, made


def ole(text: str) -> float:
    return (
        float((np.datetime64(text, "ms") - np.datetime64("1899-12-30", "ms")).astype(int)) / 864e5
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [768, 888])
@pytest.mark.parametrize("name", [b"FEI1", b"FEI2"])
def test_fei_gives_every_field(size: int, order: str, name: bytes) -> None:
    moments = ["2017-10-10T08:37:35.641", "2020-02-29T23:59:59.999", "1999-12-31T00:00:00.001"]
    laid = [
        fei_record(size, order, seed, timestamp=ole(moment)) for seed, moment in enumerate(moments)
    ]
    raw = b"".join(record for record, _ in laid) + b"\xa5" * (3 * size)
    found = decode(name, raw, 3, byteorder=order)
    assert (found.kind, found.problem) == ({768: "FEI1", 888: "FEI2"}[size], "")
    assert_sound(found, 3)
    fields = [(code, field) for code, field in fei_fields(size)[2:] if code != "#"]
    assert [field.name for field in found.all] == [field for _, field in fields]
    for (code, field), column in zip(fields, found.all, strict=True):
        expected = [made[field] for _, made in laid]
        if field == "timestamp":
            expected = [np.datetime64(moment, "ns") for moment in moments]
        elif code == "q":
            expected = [np.datetime64(count, "us").astype("datetime64[ns]") for count in expected]
        assert (
            column.values.dtype
            == {
                "d": np.dtype("f8"),
                "i": np.dtype("i4"),
                "q": np.dtype("M8[ns]"),
                "?": np.dtype("?"),
                "s": column.values.dtype,
            }["q" if field == "timestamp" else code[-1]]
        )
        assert list(column.values) == expected, field


@pytest.mark.parametrize("order", ORDERS)
def test_fei_gives_common_names_in_common_units(order: str) -> None:
    record, _ = fei_record(
        888,
        order,
        1,
        timestamp=ole("2021-05-06T07:08:09.010"),
        ht=300000.0,
        dose=4.2e21,
        alpha_tilt=-60.01,
        beta_tilt=0.5,
        x_stage=1.2345e-4,
        y_stage=-8.1e-4,
        z_stage=2e-7,
        tilt_axis_angle=85.3,
        pixel_size_x=1.35e-10,
        defocus=-2.2e-6,
        magnification=105000.0,
        integration_time=1.7,
    )
    found = decode(b"FEI2", record, 1, byteorder=order)
    assert values(found.common) == {
        "timestamp": [1620284889010000000],
        "acceleration_voltage": [300000.0],
        "dose": [42.0],
        "tilt_angle": [-60.01],
        "beta_tilt": [0.5],
        "stage_x": [123.45],
        "stage_y": [-810.0],
        "stage_z": [0.2],
        "tilt_axis_angle": [85.3],
        "pixel_size": [1.35],
        "defocus": [-2.2],
        "magnification": [105000.0],
        "exposure_time": [1.7],
    }
    own = units(found.all)
    assert own["dose"] == "e-/m^2"
    assert own["defocus"] == own["x_stage"] == own["pixel_size_y"] == "m"
    assert own["alpha_tilt_max"] == "degree"
    assert own["slit_width"] == "eV"
    # In what unit these are is not known.
    assert own["convergence_angle"] == own["scan_rotation"] == own["tilt_per_image"] == ""
    assert next(field for field in found.common if field.name == "stage_x").long_name == "X-Stage"


def test_fei_bitmasks_decide() -> None:
    bits: dict[str, tuple[str, int]] = {}
    mask, number = "", 0
    for code, name in fei_fields(888)[2:]:
        if code == "#":
            mask, number = name, 0
        else:
            bits[name] = (mask, number)
            number += 1
    assert bits["magnification"] == ("1", 31)
    assert bits["objective_aperture_name"] == ("4", 16)
    none, _ = fei_record(888, "<", 1, {}, timestamp=4e4)
    assert decode(b"FEI2", none, 1).all == ()
    for name, (mask, number) in bits.items():
        one, _ = fei_record(888, "<", 2, {mask: 1 << number}, timestamp=4e4)
        found = decode(b"FEI2", one, 1)
        assert [field.name for field in found.all] == [name]
        assert len(found.common) <= 1


def test_fei_field_that_only_some_sections_have() -> None:
    full, made = fei_record(768, "<", 1, timestamp=4e4, application="EPU")
    empty, _ = fei_record(768, "<", 2, {}, timestamp=4e4)
    found = decode(b"FEI1", full + empty, 2)
    assert_sound(found, 2)
    every = {field.name: field.values for field in found.all}
    assert every["alpha_tilt"][0] == made["alpha_tilt"]
    assert isnan(every["alpha_tilt"][1])
    assert every["spot_index"].dtype == np.float64
    assert every["spot_index"][0] == made["spot_index"]
    assert isnan(every["spot_index"][1])
    assert isnan(every["phase_plate"][1])
    assert every["application"].tolist() == ["EPU", ""]
    assert np.isnat(every["timestamp"]).tolist() == [False, True]
    common = {field.name: field.values for field in found.common}
    assert isnan(common["defocus"][1])
    assert np.isnat(common["timestamp"]).tolist() == [False, True]


def test_fei_records_of_both_sizes_in_one_file() -> None:
    first, one = fei_record(768, "<", 1, timestamp=4e4)
    second, two = fei_record(888, "<", 2, timestamp=4e4)
    for name in (b"FEI1", b"FEI2"):
        found = decode(name, first + second, 2)
        assert (found.kind, found.problem) == ("FEI2", "")
        every = values(found.all)
        assert every["dose"] == [one["dose"], two["dose"]]
        assert isnan(every["tilt_speed"][0])
        assert every["tilt_speed"][1] == two["tilt_speed"]


@pytest.mark.parametrize(
    ("version", "factor"),
    [("4.4.0.4981", 0.0174533), ("4.4.0.49810", 1.0), ("4.4.0.498", 1.0), ("", 1.0)],
)
def test_fei_angle_fault_of_one_version(version: str, factor: float) -> None:
    angles = {
        "alpha_tilt": 3437.7468,
        "beta_tilt": 57.3,
        "tilt_axis_angle": 4870.1,
        "alpha_tilt_min": -3437.7468,
        "alpha_tilt_max": 3000.0,
    }
    faulty, _ = fei_record(768, "<", 1, timestamp=4e4, application_version=version, **angles)
    right, _ = fei_record(768, "<", 2, timestamp=4e4, application_version="4.5", **angles)
    found = decode(b"FEI1", faulty + right, 2)
    every = values(found.all)
    for name, stored in angles.items():
        assert every[name] == [stored * factor, stored]
    assert values(found.common)["tilt_angle"] == [3437.7468 * factor, 3437.7468]
    assert isnan(every["dual_axis_rotation"][0]) == (factor != 1)


def test_fei_angle_fault_is_seen_behind_an_unset_bit_and_before_junk() -> None:
    record, _ = fei_record(
        768, "<", 1, {"1": 1 << 7}, timestamp=0.0, alpha_tilt=100.0,
        application_version="4.4.0.4981\0junk",
    )  # fmt: skip
    assert values(decode(b"FEI1", record, 1).common) == {"tilt_angle": [100.0 * 0.0174533]}


@pytest.mark.parametrize("days", [0.0, -1.0, nan, 1e300, float("inf"), 140000.0])
def test_fei_day_count_that_is_no_time(days: float) -> None:
    record, _ = fei_record(768, "<", 1, timestamp=days)
    assert "timestamp" not in values(decode(b"FEI1", record, 1).common)


@pytest.mark.parametrize("count", [0, -1, 2**63 - 1, -(2**63)])
def test_fei_microsecond_count_that_is_no_time(count: int) -> None:
    record, _ = fei_record(888, "<", 1, timestamp=4e4, acquisition_time_stamp=count)
    assert "acquisition_time_stamp" not in values(decode(b"FEI2", record, 1).all)


def test_fei_text_ends_at_its_first_nul() -> None:
    record, _ = fei_record(768, "<", 1, timestamp=4e4, camera_name="Falcon\0xyz", element="Å")
    every = values(decode(b"FEI1", record, 1).all)
    assert (every["camera_name"], every["element"]) == (["Falcon"], ["Å"])


@pytest.mark.parametrize("order", ORDERS)
def test_fei_order_of_the_records_overrules_that_of_the_header(order: str) -> None:
    record, made = fei_record(768, order, 1, timestamp=4e4)
    other = "<" if order == ">" else ">"
    found = decode(b"FEI1", record, 1, byteorder=other)
    assert values(found.all)["alpha_tilt"] == [made["alpha_tilt"]]


def test_fei_with_fewer_records_than_sections() -> None:
    record, _ = fei_record(768, "<", 1, timestamp=4e4)
    assert_refused(decode(b"FEI1", record * 2, 3), "2 sections", "3 are expected")
    assert_refused(decode(b"FEI1", record * 2 + record[:767], 3), "2 sections", "3 are expected")
    assert_refused(decode(b"FEI1", record * 2 + bytes(768), 3), "2 sections", "3 are expected")
    assert decode(b"FEI1", record * 3, 2).problem == ""


def test_fei_that_does_not_bear_its_name_out() -> None:
    record, _ = fei_record(768, "<", 1, timestamp=4e4)
    assert_refused(decode(b"FEI1", bytes(768), 1), "FEI1", "begins with 0", "768 or 888")
    assert_refused(decode(b"FEI2", struct.pack("<i", 128) + record[4:], 1), "128")
    wild, _ = fei_record(768, "<", 1, timestamp=4e4, metadata_version=-7)
    assert_refused(decode(b"FEI1", wild, 1), "version -7")
    assert_refused(decode(b"FEI1", record[:3], 1), "FEI1")


@pytest.mark.parametrize("order", ORDERS)
def test_warp_writes_agard_records_under_the_name_of_fei(order: str) -> None:
    tilts = [-60.0, -57.01, 0.0, 3.3]
    raw = b"".join(
        struct.pack(order + "32f", tilt, 85.5, *[0.0] * 8, 85.5, 1.35, *[0.0] * 20)
        for tilt in tilts
    ) + bytes(128 * 1020)
    found = decode(b"FEI1", raw, 4, byteorder=order)
    assert (found.kind, found.problem) == ("AGAR", "")
    assert_sound(found, 4)
    assert values(found.common) == {
        "tilt_angle": tilts,
        "tilt_axis_angle": [85.5] * 4,
        "pixel_size": [1.35] * 4,
    }
    assert_refused(decode(b"FEI2", raw, 4, byteorder=order))
    assert_refused(decode(b"FEI1", raw, 1025, byteorder=order))


def test_fei_offsets_agree_with_mrcfile() -> None:
    dtypes = pytest.importorskip("mrcfile.dtypes")
    from xarray_mrc.codec.extended import fei

    fields = dict(dtypes.get_ext_header_dtype(b"FEI2").fields)
    assert fields.pop("Unused range")[1] == 172
    for column in fei.COLUMNS:
        if column.name.startswith("Unused range"):
            continue
        dtype, offset = fields.pop(column.name)[:2]
        assert (column.offset, column.nbytes) == (offset, dtype.itemsize)
    for number, offset in fei.MASKS.items():
        assert fields.pop(f"Bitmask {number}")[1] == offset
    assert set(fields) == {"Metadata size", "Metadata version"}


# SERI ------------------------------------------------------------------------------------------

SERI_SIZES = [2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2]


def dose_shorts(dose: float) -> tuple[int, int]:
    """Put a dose into two shorts, with a mantissa of 22 or 23 bits and a power of two."""
    if dose == 0:
        return 0, 0
    power = frexp(dose)[1] - 1 - 22
    scaled = floor(dose / 2.0**power)
    sign = -1 if power < 0 else 1
    return scaled // 256, sign * (abs(power) * 256 + scaled % 256)


def seri_record(order: str, bits: int, section: int) -> bytes:
    out = b""
    if bits & 1:
        out += struct.pack(order + "h", -6000 + 101 * section)
    if bits & 2:
        out += struct.pack(order + "HHh", 40000 + section, 65535 - section, -section)
    if bits & 4:
        out += struct.pack(order + "hh", -2500 + section, 101 * section)
    if bits & 8:
        out += struct.pack(order + "h", 420 + section)
    if bits & 16:
        out += struct.pack(order + "h", 12501 + section)
    if bits & 32:
        out += struct.pack(order + "hh", *dose_shorts(2.75 + section / 8))
    for number in range(6, 11):
        if bits >> number & 1:
            out += b"\x5a" * SERI_SIZES[number]
    return out


def seri_bytes(order: str, bits: int, sections: int) -> tuple[bytes, int]:
    raw = b"".join(seri_record(order, bits, section) for section in range(sections))
    nint = sum(size for number, size in enumerate(SERI_SIZES) if bits >> number & 1)
    assert len(raw) == nint * sections
    return raw + bytes(-len(raw) % 1024), nint


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


@given(
    st.one_of(
        st.just(0.0), st.floats(1e-30, 9e5, allow_subnormal=False), st.sampled_from([1.0, 0.5, 255])
    )
)
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


# AGAR ------------------------------------------------------------------------------------------


def agard_record(order: str, ints: int = 0, reals: int = 32, **given: float) -> bytes:
    """Lay down one record in SI units."""
    names = ["alpha", *FULL]
    numbers = [given.get(name, 0.0) for name in names] + [0.0] * 100
    return struct.pack(f"{order}{ints}i{reals}f", *[-77] * ints, *numbers[:reals])


FULL = {
    "beta": 0.25,
    "x": 1.2e-4,
    "y": -3.4e-4,
    "z": 5.6e-6,
    "shift_x": 1e-8,
    "shift_y": -2e-8,
    "defocus": -4.4e-6,
    "exposure": 1.1,
    "mean": 1234.5,
    "axis": -85.7,
    "pixel": 2.74e-10,
    "magnification": 53000.0,
}
COMMON = {
    "beta_tilt": 0.25,
    "stage_x": 120.0,
    "stage_y": -340.0,
    "stage_z": 5.6,
    "defocus": -4.4,
    "exposure_time": 1.1,
    "tilt_axis_angle": -85.7,
    "pixel_size": 2.74,
    "magnification": 53000.0,
}


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


# Before the types had names --------------------------------------------------------------------


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


# Symmetry --------------------------------------------------------------------------------------


def lines(*records: str) -> bytes:
    return b"".join(record.encode().ljust(80) for record in records)


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


# Others ----------------------------------------------------------------------------------------


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


shorts = st.one_of(st.integers(-(2**15), 2**15 - 1), st.sampled_from([0, 1, 2, 13, 32, 128]))


@st.composite
def raw_bytes(draw: st.DrawFn) -> bytes:
    """Bytes of all kinds: junk, and sound records that were cut, joined and spoilt."""
    parts = draw(
        st.lists(
            st.one_of(
                st.binary(max_size=1000),
                st.builds(
                    lambda size, order, seed: fei_record(size, order, seed, timestamp=seed)[0],
                    st.sampled_from([768, 888]),
                    st.sampled_from(ORDERS),
                    st.integers(0, 5),
                ),
                st.builds(lambda k: agard_record("<", alpha=1.0, **FULL) * k, st.integers(1, 9)),
                st.builds(lambda k: lines("X,Y,Z") * k, st.integers(1, 3)),
                st.builds(lambda value, k: bytes([value]) * k, st.integers(0, 255), st.just(4096)),
            ),
            max_size=4,
        )
    )
    raw = bytearray(b"".join(parts))
    for place, value in draw(
        st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8)
    ):
        if raw:
            raw[place % len(raw)] = value
    return bytes(raw)


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
    moved = decimals(stored, shift)
    assert moved.dtype == np.float64
    for before, after in zip(stored, moved, strict=True):
        if np.isfinite(before):
            assert after == float(Decimal(str(before)).scaleb(shift))
        else:
            np.testing.assert_equal(after, float(before))


# Real files ------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(os.environ.get("XARRAY_MRC_CORPUS", ROOT.parent / "shared" / "corpus"))


def read_corpus(name: str) -> tuple[Facts, bytes, int]:
    path = CORPUS / name
    if not path.exists():
        pytest.skip(f"{name} is not in {CORPUS}")
    content = path.read_bytes()
    nx, ny, nz = struct.unpack_from("<3i", content)
    (nsymbt,) = struct.unpack_from("<i", content, 92)
    nint, nreal = struct.unpack_from("<2h", content, 128)
    facts = Facts(content[104:108], nsymbt, "<", nx, ny, nint, nreal)
    return facts, content[1024 : 1024 + nsymbt], nz


@pytest.mark.corpus
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
