"""SerialEM's records are encoded so that they decode to the same numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from extended_records import decode
from hypothesis import given
from hypothesis import strategies as st

from xarray_mrc.codec.extended import seri

SHORTS = st.integers(-32767, 32767)


@given(st.lists(st.tuples(SHORTS, SHORTS), min_size=1, max_size=20))
def test_numbers_in_two_shorts(pairs):
    numbers = seri.two_shorts(np.array(pairs, np.int16))
    again = seri.two_shorts(seri.two_shorts_of(numbers))
    np.testing.assert_array_equal(again, numbers)


@given(st.lists(st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30) | st.just(0.0), min_size=1))
def test_any_number_keeps_23_bits(numbers):
    values = np.array(numbers)
    read = seri.two_shorts(seri.two_shorts_of(values))
    assert (np.abs(read - values) <= 2.0**-23 * np.abs(values) + 2.0**-127).all()


RECORD = st.tuples(
    st.integers(-18000, 18000),  # tilt
    st.integers(0, 65535), st.integers(0, 65535), st.integers(-32768, 32767),  # piece
    st.integers(-32768, 32767), st.integers(-32768, 32767),  # stage
    st.integers(1, 65535),  # magnification
    st.integers(-32768, 32767),  # intensity
    st.integers(256, 32767), st.integers(-5100, -1300),  # dose
)  # fmt: skip
CODES = ("h", "HHh", "hh", "H", "h", "hh")


@given(st.lists(RECORD, min_size=1, max_size=9), st.integers(1, 63))
def test_records_are_the_same_after_decoding_and_encoding(records, bits):
    code, taken, first = "<", [], 0
    for number, part in enumerate(CODES):
        if bits >> number & 1:
            code += part
            taken += range(first, first + len(part))
        first += len(part)
    raw = b"".join(struct.pack(code, *[record[i] for i in taken]) for record in records)
    facts = {"nint": struct.calcsize(code), "nreal": bits}
    found = decode(b"SERI", raw, len(records), **facts)
    fields = {field.name: field.values for field in (*found.all, *found.common)}
    made, again = seri.encode(fields, len(records))
    assert made == bits
    if not bits & 32:  # a dose has several mantissas
        assert again == raw
    read = decode(b"SERI", again, len(records), **facts)
    for one, other in zip(found.all + found.common, read.all + read.common, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize(
    ("fields", "bits"),
    [
        ({}, 0),
        ({"tilt_angle": np.array([1.0, np.nan])}, 0),
        ({"tilt_angle": np.array([1.0, 181.0])}, 0),
        ({"tilt_angle": np.array(["1", "2"])}, 0),
        ({"stage_x": np.array([1.0, 2.0])}, 0),
        ({"stage_x": np.array([1.0, 2.0]), "stage_y": np.array([1.0, 1400.0])}, 0),
        ({"stage_x": np.array([1, 2]), "stage_y": np.array([1, 2])}, 4),
        ({"magnification": np.array([np.nan, 1e7])}, 0),
        ({"magnification": np.array([np.nan, 1e5])}, 8),
        ({"dose": np.array([np.nan, 1e7])}, 0),
    ],
    ids=str,
)
def test_fields_are_encoded_whole_or_not(fields, bits):
    assert seri.encode(fields, 2)[0] == bits
