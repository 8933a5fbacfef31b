"""Extended headers laid down byte by byte, from layouts written independently of the package."""

from __future__ import annotations

import os
import random
import struct
from math import floor, frexp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from mrcbytes import header as lay_header

from xarray_mrc.codec.extended import COMMON_UNITS, Extended, decode_extended
from xarray_mrc.codec.header import Header

ORDERS = ("<", ">")


BLANK = b"\0\0\0\0"


NAMED = (b"FEI1", b"FEI2", b"SERI", b"AGAR", b"CCP4", b"MRCO", b"HDF5", b"JSON")


LEFT_OUT = "extended header is left out of the coordinates"


def facts(exttyp: bytes, nsymbt: int, byteorder: str = "<", **fields: Any) -> Header:
    """Lay down the header of an image of 7 x 5 pixels with an extended header."""
    labels = tuple(label.encode() for label in fields.pop("labels", ()))
    usual = {"nx": 7, "ny": 5, "nint": 0, "nreal": 0, "exttyp": exttyp, "nsymbt": nsymbt}
    return Header(lay_header(byteorder, labels, **usual | fields), byteorder)


def decode(exttyp: bytes, raw: bytes, sections: int, **fields: Any) -> Extended:
    return decode_extended(facts(exttyp, **{"nsymbt": len(raw), **fields}), raw, sections)


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


# The fields in file order, without padding. "#" is a bitmask of the fields after it, one bit each,
# in order; the first mask also covers the fields before it.
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
    """Lay down one record; all bits are set unless masks are passed."""
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


SERI_SIZES = [2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2]


def dose_shorts(dose: float) -> tuple[int, int]:
    """Return a dose as two shorts: a mantissa of 22 or 23 bits and a power of two."""
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


def lines(*records: str) -> bytes:
    return b"".join(record.encode().ljust(80) for record in records)


shorts = st.one_of(st.integers(-(2**15), 2**15 - 1), st.sampled_from([0, 1, 2, 13, 32, 128]))


@st.composite
def raw_bytes(draw: st.DrawFn) -> bytes:
    """Draw bytes of all kinds: junk, and valid records that were cut, joined and damaged."""
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


ROOT = Path(__file__).resolve().parents[2]


CORPUS = Path(os.environ.get("XARRAY_MRC_CORPUS", ROOT.parent / "shared" / "corpus"))


def read_corpus(name: str) -> tuple[Header, bytes, int]:
    path = CORPUS / name
    if not path.exists():
        pytest.skip(f"{name} is not in {CORPUS}")
    content = path.read_bytes()
    (nz,) = struct.unpack_from("<i", content, 8)
    (nsymbt,) = struct.unpack_from("<i", content, 92)
    return Header(content[:1024], "<"), content[1024 : 1024 + nsymbt], nz
