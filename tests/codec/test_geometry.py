"""Voxel size as the decimal that was meant, positions, axes and skewed cells."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

import gemmi
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mrcbytes import AXES, IMOD, ORDERS, decimals
from mrcbytes import header as lay_header

from xarray_mrc.codec.decimals import first_position, shortest, start_of, step_of
from xarray_mrc.codec.geometry import (
    RIGHT_ANGLES,
    Geometry,
    axis_order,
    cell_angles,
    cell_matrix,
)
from xarray_mrc.codec.header import Header

UNTIMED = settings(deadline=None)
INTERVALS = st.integers(1, 20_000)
CLEAN = st.integers(2, 4).flatmap(
    lambda places: st.decimals("0.01", "99.99", places=places, allow_nan=False)
)
# All that a map can be long; smaller and greater ones are no lengths in angstrom.
LENGTHS = st.floats(np.float32(0.25), np.float32(1e8), width=32)


def header(**fields: Any) -> Header:
    return Header(lay_header(**fields), "<")


def voxel_size(header: Header) -> tuple[float, float, float]:
    return header.voxel_size


def with_cell(length: float, intervals: int) -> Header:
    sides = (length,) * 3
    return header(cella=sides, mx=intervals, my=intervals, mz=intervals)


# Voxel size --------------------------------------------------------------------------------------


@UNTIMED
@given(CLEAN, INTERVALS)
@example(Decimal("1.35"), 3)
@example(Decimal("0.8332"), 7676)
def test_clean_voxel_size_is_recovered(voxel: Decimal, m: int) -> None:
    found = voxel_size(with_cell(float(np.float32(float(voxel * m))), m))
    assert found == (float(voxel),) * 3


def test_clean_voxel_sizes_are_recovered_without_exception() -> None:
    random = np.random.default_rng(7)
    for places in (2, 3, 4):
        sizes = np.round(random.uniform(0.05, 60, 3000), places)
        counts = random.integers(1, 12_000, 3000)
        for size, m in zip(sizes.tolist(), counts.tolist(), strict=True):
            length = float(np.float32(size * m))
            assert voxel_size(with_cell(length, m))[0] == size


def f32(*values: float) -> Any:
    return np.float32(values[0]) if len(values) == 1 else tuple(map(np.float32, values))


@pytest.mark.parametrize("places", [2, 3, 4, 5])
@pytest.mark.parametrize("way", ["float64", "float32", "copied"])
def test_clean_voxel_sizes_are_recovered_however_the_cell_was_computed(
    places: int, way: str
) -> None:
    random = np.random.default_rng(places)
    sizes = np.round(random.uniform(0.2, 20, 5000), places)
    counts, others = random.integers(16, 8193, (2, 5000))
    if way == "float64":
        lengths = (sizes * counts).astype("f4")
    else:
        lengths = sizes.astype("f4") * counts.astype("f4")
    if way == "copied":  # the voxel size of one file, in float32, times the counts of another
        lengths = (lengths / counts.astype("f4")) * others.astype("f4")
        counts = others
    found = [
        voxel_size(with_cell(float(length), int(m)))[0]
        for length, m in zip(lengths, counts, strict=True)
    ]
    assert (np.array(found) == sizes).mean() >= 0.9995


@UNTIMED
@given(LENGTHS, INTERVALS)
@example(0.25, 20_000)
@example(512.0, 375)
@example(1e8, 1)
def test_a_voxel_size_is_the_shortest_decimal_near_the_cell_or_the_quotient(
    length: float, m: int
) -> None:
    found = voxel_size(with_cell(length, m))[0]
    near = 3 * Fraction(float(np.spacing(np.float32(length))))
    exact = Fraction(length) / m
    decimals = [Decimal(float(exact)).quantize(Decimal(1).scaleb(-places)) for places in range(7)]
    meant = [d for d in decimals if abs(Fraction(d) * m - Fraction(length)) <= near]
    assert found == float(meant[0] if meant else exact)
    assert abs(found - float(exact)) <= 3.6e-7 * float(exact)


def test_a_cell_that_was_computed_in_float32() -> None:
    for voxel, m in ((1.07, 96), (1.05, 40), (2.62, 511), (5.36, 928)):
        cella = float(f32(voxel) * f32(m))
        assert voxel_size(with_cell(cella, m)) == (voxel,) * 3
        assert voxel_size(with_cell(np.nextafter(f32(cella), f32(0)), m)) == (voxel,) * 3


@UNTIMED
@given(
    st.floats(0.05, 500),
    st.integers(2, 700),
    st.floats(-3000, 3000, width=32),
    st.sampled_from(["origin", "nstart", "none"]),
)
@example(43.145189432110875, 3, 0.0, "none")
def test_positions_of_any_file_are_stored_as_they_were_read(
    voxel: float, m: int, start: float, source: str
) -> None:
    def read(cella: float, origin: float, first: int) -> Any:
        fields = {"cella": (cella,) * 3, "origin": (origin,) * 3, "nxstart": first}
        return Geometry.from_header(header(nx=m, mx=m, my=m, mz=m, **fields))

    assume(start == 0 or abs(start) > 1e-30)
    first = int(start) % (5 * m) if source == "nstart" else 0
    before = read(voxel * m, start if source == "origin" else 0.0, first)
    positions = before.positions(0, m)
    grid_point = first if before.origin_source == "nstart" else None
    cella = step_of(positions, m, grid_point) * m
    size = read(cella, 0.0, 0).voxel[0]
    origin = 0.0 if grid_point else start_of(positions, size)
    assert read(cella, origin, first).positions(0, m).tolist() == positions.tolist()


@UNTIMED
@given(CLEAN, INTERVALS)
def test_the_cell_is_the_float32_of_the_decimal_times_m(voxel: Decimal, m: int) -> None:
    positions = np.array(decimals("0", voxel, max(2, min(m, 50))))
    assert f32(step_of(positions, m) * m) == f32(float(voxel) * m)


@UNTIMED
@given(CLEAN, INTERVALS, INTERVALS)
def test_files_of_one_data_set_agree(voxel: Decimal, m: int, other: int) -> None:
    # A cut-out of another size has another cell, whose float32 is off by another amount.
    sizes = {voxel_size(with_cell(float(np.float32(float(voxel * n))), n)) for n in (m, other)}
    assert len(sizes) == 1


@pytest.mark.parametrize("length", [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, 1e-30, 3e38])
@pytest.mark.parametrize("order", ORDERS)
def test_lengths_that_say_nothing(length: float, order: Any) -> None:
    for axis in range(3):
        cella = [2.0, 3.0, 4.0]
        cella[axis] = length
        raw = lay_header(order, cella=tuple(cella), mx=2, my=2, mz=2)
        found = voxel_size(Header(raw, order))
        assert [math.isnan(size) for size in found] == [i == axis for i in range(3)]


@pytest.mark.parametrize("m", [0, -1, -(2**31)])
def test_intervals_that_say_nothing(m: int) -> None:
    assert all(math.isnan(size) for size in voxel_size(with_cell(100.0, m)))


@UNTIMED
@given(st.floats(np.float32(-1e38), np.float32(1e38), width=32))
def test_shortest_decimal_of_a_float32(value: float) -> None:
    found = shortest(value)
    assert np.float32(found) == np.float32(value)
    digits = len(Decimal(repr(found)).normalize().as_tuple().digits)
    assert digits <= 9
    for fewer in range(1, digits):
        decimal = Context(fewer, ROUND_HALF_EVEN).create_decimal(Decimal(value))
        assert np.float32(float(decimal)) != np.float32(value)


@pytest.mark.parametrize(
    "options", [{"legacy": "1.13"}, {"precision": 2}, {"floatmode": "fixed"}, {"suppress": True}]
)
def test_numbers_do_not_depend_on_how_numpy_prints(options: dict[str, Any]) -> None:
    values = [0.1, -2587.4007, 1 / 3, 1e-7, 6.000002, 123456.79]
    expected = [float(str(np.float32(value))) for value in values]
    with np.printoptions(**options):
        assert [shortest(value) for value in values] == expected


# Positions ---------------------------------------------------------------------------------------


@UNTIMED
@given(
    st.decimals("0.001", "99.9999", places=4),
    st.integers(-20_000, 20_000),
    st.integers(1, 50),
)
def test_positions_from_nstart(voxel: Decimal, first: int, count: int) -> None:
    m = 10_000
    assume(first)
    place = header(
        nx=count, ny=1, nz=1, mx=m, my=m, mz=m, cella=(float(voxel * m),) * 3, nxstart=first
    )
    geometry = Geometry.from_header(place)
    assert geometry.origin_source == "nstart"
    positions = geometry.positions(0, count)
    assert positions is not None
    assert positions.dtype == np.float64
    assert positions.tolist() == decimals(first * voxel, voxel, count)


@UNTIMED
@given(
    st.decimals("0.001", "99.9999", places=4),
    st.decimals("-9999", "9999", places=2),
    st.integers(1, 50),
)
def test_positions_from_origin(voxel: Decimal, first: Decimal, count: int) -> None:
    assume(first)
    place = header(
        mx=100, my=100, mz=100, cella=(float(voxel * 100),) * 3, origin=(0.0, float(first), 0.0)
    )
    geometry = Geometry.from_header(place)
    assert geometry.origin_source == "origin"
    positions = geometry.positions(1, count)
    assert positions is not None
    assert positions.tolist() == decimals(first, voxel, count)


@pytest.mark.parametrize(
    ("stored", "voxel", "expected"),
    [
        (2587 * 0.4007, 0.4007, 1036.6109),  # a whole number of voxels, 1036.6108 to float32
        (-2587 * 0.4007 / 4, 0.4007, -259.152725),
        (5000.01, 0.0012, 5000.01),  # a number that was meant, though 4166675 voxels are as near
        (1234.5677, math.nan, 1234.5677),
        (1036.6108, 0.0012, 1036.6108),  # of which any number would be a multiple
        (1036.6108, 3.3, 1036.6108),
        (0.0, 1.35, 0.0),
    ],
)
def test_a_place_that_float32_can_not_hold(stored: float, voxel: float, expected: float) -> None:
    for sign in (1, -1):
        assert first_position(float(np.float32(sign * stored)), voxel) == sign * expected


@UNTIMED
@given(LENGTHS, INTERVALS, st.integers(-5000, 5000), st.integers(2, 100))
def test_any_positions(length: float, m: int, first: int, count: int) -> None:
    geometry = Geometry.from_header(
        header(cella=(length,) * 3, mx=m, my=m, mz=m, nx=count, nxstart=first)
    )
    voxel = geometry.voxel[0]
    assume(not math.isnan(voxel))
    positions = geometry.positions(0, count)
    assert positions is not None
    expected = geometry.start[0] + np.arange(count) * voxel
    assert np.abs(positions - expected).max() <= 0.5000001e-6 + np.abs(expected).max() * 1e-15
    assert (np.diff(positions) > 0).all()


def test_rounding_makes_parts_align() -> None:
    # Without it the sums differ in the last bit, and an inner join finds nothing.
    voxel = 1.3379
    nowhere = (0.0, 0.0, 0.0)
    whole = Geometry((voxel,) * 3, nowhere, (0, 0, 0), "none", RIGHT_ANGLES).positions(0, 500)
    assert whole is not None
    for first in range(1, 400):
        for part in (
            Geometry((voxel,) * 3, (first * voxel, 0.0, 0.0), (0, 0, 0), "origin", RIGHT_ANGLES),
            Geometry((voxel,) * 3, nowhere, (first, 0, 0), "nstart", RIGHT_ANGLES),
        ):
            positions = part.positions(0, 100)
            assert positions is not None
            assert np.array_equal(positions, whole[first : first + 100])


@pytest.mark.parametrize("voxel", [1.2345675, 2.7182815, 0.8125005])
def test_cut_outs_align_at_any_voxel_size(voxel: float) -> None:
    # Halves of the last place are rounded after sums that differ: the grid has to be added first.
    def positions(**fields: Any) -> Any:
        found = header(mx=2000, cella=(float(np.float32(voxel * 2000)), 1.0, 1.0), **fields)
        return Geometry.from_header(found).positions(0, 1500)

    assert np.array_equal(positions(nx=1500, nxstart=500)[:1000], positions(nx=1500)[500:])


def test_unknown_voxel_size_has_no_positions() -> None:
    geometry = Geometry.from_header(header(cella=(0.0, 3.0, 2.0)))
    assert geometry.positions(0, 4) is None
    assert geometry.positions(1, 3) is not None


# Axes and cells ----------------------------------------------------------------------------------


def test_axis_order() -> None:
    for mapc, mapr, maps in AXES:
        found = axis_order(header(mapc=mapc, mapr=mapr, maps=maps))
        assert found == (mapc - 1, mapr - 1, maps - 1)
    for mapc, mapr, maps in ((0, 0, 0), (1, 2, 2), (4, 5, 6), (1, 2, -3), (2**31 - 1, 1, 2)):
        assert axis_order(header(mapc=mapc, mapr=mapr, maps=maps)) == (0, 1, 2)


ANGLES = st.tuples(*[st.floats(25, 155, width=32)] * 3)


def is_a_cell(angles: tuple[float, float, float]) -> bool:
    return sum(angles) < 355 and 2 * max(angles) < sum(angles) - 5


@UNTIMED
@given(ANGLES)
@example((90.0, 90.0, 120.0))
@example((90.0, 101.48, 90.0))
def test_cell_matrix(angles: tuple[float, float, float]) -> None:
    assume(is_a_cell(angles))
    found = cell_matrix(angles)
    lengths = (13.0, 17.0, 29.0)
    orth = np.array(gemmi.UnitCell(*lengths, *angles).orth.mat.tolist())
    assert np.allclose(found * lengths, orth, rtol=0, atol=1e-9)
    assert np.allclose(np.linalg.norm(found, axis=0), 1)


@UNTIMED
@given(ANGLES, st.tuples(*[st.floats(-500, 500, width=32)] * 3))
def test_origin_in_a_skewed_cell(
    angles: tuple[float, float, float], origin: tuple[float, float, float]
) -> None:
    assume(is_a_cell(angles) and any(abs(v) > 1e-3 for v in origin))
    geometry = Geometry.from_header(header(cellb=angles, origin=origin))
    place = cell_matrix(geometry.angles) @ geometry.start
    assert np.allclose(place, origin, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "cellb",
    [
        (0.0, 0.0, 0.0), (90.0, 90.0, 0.0), (90.0, 90.0, 180.0), (-90.0, 90.0, 90.0),
        (120.0, 120.0, 120.0), (30.0, 30.0, 90.0), (60.0, 30.0, 90.0), (math.nan, 90.0, 90.0),
        (90.0, math.inf, 90.0),
    ],
    ids=str,
)  # fmt: skip
def test_angles_that_make_no_cell(cellb: tuple[float, float, float]) -> None:
    geometry = Geometry.from_header(header(cellb=cellb))
    assert cell_angles(header(cellb=cellb)) == geometry.angles == RIGHT_ANGLES
    assert not geometry.is_skewed


def test_angles_are_given_as_they_were_meant() -> None:
    assert cell_angles(header(cellb=(90.0, 94.33, 90.0))) == (90.0, 94.33, 90.0)
    assert Geometry.from_header(header(cellb=(90.0, 94.33, 90.0))).is_skewed


# Where the start comes from ----------------------------------------------------------------------


def test_sign_of_imod() -> None:
    turned = header(imod_stamp=IMOD, nversion=0, origin=(1.5, 0.0, -2.5))
    assert Geometry.from_header(turned).start == (-1.5, 0.0, 2.5)
    assert math.copysign(1, Geometry.from_header(turned).start[1]) == 1
    for change in ({"imod_flags": 4}, {"nversion": 20140}, {"imod_stamp": 0}):
        assert Geometry.from_header(turned.replace(**change)).start == (1.5, 0.0, -2.5)


def test_options_of_the_start() -> None:
    both = header(origin=(1.5, 2.5, 3.5), nxstart=1, nystart=2, nzstart=1)
    starts = {
        "auto": ((1.5, 2.5, 3.5), "origin"),
        "origin": ((1.5, 2.5, 3.5), "origin"),
        "nstart": ((1.0, 2.0, 1.0), "nstart"),
        "zero": ((0.0, 0.0, 0.0), "none"),
    }
    for option, (start, source) in starts.items():
        geometry = Geometry.from_header(both, option)  # type: ignore[arg-type]
        assert (geometry.start, geometry.origin_source) == (start, source)
