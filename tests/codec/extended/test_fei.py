"""Records of FEI and Thermo Fisher, and those of Warp under their name."""

from __future__ import annotations

import struct
from math import isnan, nan

import numpy as np
import pytest
from extended_records import (
    ORDERS,
    assert_refused,
    assert_sound,
    decode,
    fei_fields,
    fei_record,
    ole,
    units,
    values,
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
