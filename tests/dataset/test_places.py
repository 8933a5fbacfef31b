"""ORIGIN and NSTART, voxel size and cell, skewed cells."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import product
from typing import Any

import gemmi
import numpy as np
import pytest
from engine import (
    FILE_AXES,
    INF,
    NAN,
    UNTIMED,
    assert_index,
    assert_pixels,
    open_mrc,
    open_warned,
    start_of,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from mrcbytes import AXES, IMOD, KINDS, ORDERS, Laid, decimals, lay, put

from xarray_mrc import validate

# ORIGIN and NSTART -----------------------------------------------------------------------------

GRID = {"lengths": (4, 3, 2), "voxel": ("1.05", "1.05", "1.05")}


@pytest.mark.parametrize(
    ("origin", "nstart", "start", "source"),
    [
        ((0.0, 0.0, 0.0), (0, 0, 0), (0, 0, 0), "none"),
        ((-0.0, 0.0, 0.0), (0, 0, 0), (0, 0, 0), "none"),
        ((162.75, 231.0, 204.75), (0, 0, 0), (162.75, 231, 204.75), "origin"),
        ((0.0, 0.0, -0.1), (0, 0, 0), (0, 0, -0.1), "origin"),
        ((0.0, 0.0, 0.0), (15, -20, 3), (15.75, -21, 3.15), "nstart"),
        ((0.0, 0.0, 0.0), (0, 0, 1), (0, 0, 1.05), "nstart"),
        ((1.2, 3.4, 5.6), (3, 4, 5), (1.2, 3.4, 5.6), "origin"),
        ((1e-7, 0.0, 0.0), (3, 4, 5), (0, 0, 0), "origin"),
    ],
    ids=str,
)
def test_start(
    origin: tuple[float, ...], nstart: tuple[int, int, int], start: Any, source: str
) -> None:
    laid = lay("int16", nstart=nstart, origin=origin, **GRID)
    dataset = open_mrc(laid.raw)
    for dim, first, count in zip(FILE_AXES, start, (4, 3, 2), strict=True):
        assert dataset[dim].values.tolist() == decimals(str(first), "1.05", count)
        assert not np.signbit(dataset[dim].values[dataset[dim].values == 0]).any()
    attrs = dataset.data.attrs
    assert attrs["mrc_origin_source"] == source
    assert attrs.get("mrc_origin", [0, 0, 0]) == list(origin)
    assert attrs.get("mrc_nstart", [0, 0, 0]) == list(nstart)
    assert ("mrc_origin" in attrs, "mrc_nstart" in attrs) == (any(origin), any(nstart))


@pytest.mark.parametrize(
    ("option", "start", "source"),
    [
        ("auto", (1.2, 3.4, 5.6), "origin"),
        ("origin", (1.2, 3.4, 5.6), "origin"),
        ("nstart", (3.15, 4.2, 5.25), "nstart"),
        ("zero", (0, 0, 0), "none"),
    ],
)
def test_origin_option(option: str, start: tuple[float, ...], source: str) -> None:
    laid = lay("int16", nstart=(3, 4, 5), origin=(1.2, 3.4, 5.6), **GRID)
    dataset = open_mrc(laid.raw, origin=option)
    assert start_of(dataset) == start
    assert dataset.data.attrs["mrc_origin_source"] == source
    # What the file says stays on record, whatever is made of it.
    assert dataset.data.attrs["mrc_origin"] == [1.2, 3.4, 5.6]
    assert dataset.data.attrs["mrc_nstart"] == [3, 4, 5]


@pytest.mark.parametrize("option", ["origin", "nstart"])
def test_origin_option_without_such_an_origin(option: str) -> None:
    other = {"origin": {"nstart": (3, 4, 5)}, "nstart": {"origin": (1.2, 3.4, 5.6)}}[option]
    assert start_of(open_mrc(lay("int16", **GRID, **other).raw, origin=option)) == (0, 0, 0)


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_axes_of_origin_and_nstart(axes: tuple[int, int, int]) -> None:
    # ORIGIN is along X, Y, Z; NSTART along columns, rows and sections.
    voxel = ("1.1", "2.2", "3.3")
    laid = lay("int16", axes=axes, voxel=voxel, origin=(7.0, 8.0, 9.0), nstart=(10, 20, 30))
    assert start_of(open_mrc(laid.raw)) == (7, 8, 9)
    start = dict(zip(axes, (10, 20, 30), strict=True))
    expected = tuple(float(start[i + 1] * Decimal(voxel[i])) for i in range(3))
    assert start_of(open_mrc(laid.raw, origin="nstart")) == expected


@pytest.mark.parametrize("stamp", [IMOD, 0, IMOD + 1])
@pytest.mark.parametrize("flags", [0, 1, 2, 4, 5, 8, 12, 32, -1])
@pytest.mark.parametrize("nversion", [0, 20139, 20140, 20141, 30000])
def test_sign_of_origin(stamp: int, flags: int, nversion: int) -> None:
    turned = stamp == IMOD and flags & 4 == 0 and nversion not in (20140, 20141)
    for order in ORDERS:
        laid = lay(
            "int16", order=order, imod_stamp=stamp, imod_flags=flags, nversion=nversion,
            origin=(-10.25, 0.0, 31.3), **GRID,
        )  # fmt: skip
        dataset = open_mrc(laid.raw)
        assert start_of(dataset) == ((10.25, 0, -31.3) if turned else (-10.25, 0, 31.3))
        assert not np.signbit(dataset["y"][0])
        assert dataset.data.attrs["mrc_origin_source"] == "origin"
        assert dataset.data.attrs["mrc_origin"] == [-10.25, 0, 31.3]
        found = dataset.data.attrs.get("mrc_imod_flags")
        assert found == (flags if stamp == IMOD else None)


@pytest.mark.parametrize(
    "origin",
    [(NAN, 0.0, 0.0), (1.0, INF, 1.0), (0.0, 0.0, -INF), (1e30, 0.0, 0.0), (NAN, NAN, NAN)],
    ids=str,
)
def test_origin_that_is_no_place(origin: tuple[float, ...]) -> None:
    for nstart, start in (((0, 0, 0), (0, 0, 0)), ((2, 4, -6), (2.1, 4.2, -6.3))):
        raw = lay("int16", origin=origin, nstart=nstart, **GRID).raw
        dataset, message = open_warned(raw)
        assert "ORIGIN" in message
        assert start_of(dataset) == start
        assert dataset.data.attrs["mrc_origin_source"] == ("nstart" if any(nstart) else "none")


@pytest.mark.parametrize(
    "nstart",
    [(41, 0, 0), (0, -31, 0), (0, 0, 2**31 - 1), (-(2**31), 0, 0), (-842150451, 1, 1)],
    ids=str,
)
def test_nstart_that_was_never_set(nstart: tuple[int, int, int]) -> None:
    raw = lay("int16", nstart=nstart, **GRID).raw
    dataset, message = open_warned(raw)
    assert all(str(first) in message for first in nstart)
    assert start_of(dataset) == (0, 0, 0)
    assert dataset.data.attrs["mrc_origin_source"] == "none"
    assert start_of(open_warned(raw, origin="nstart")[0]) == (0, 0, 0)
    # It does not stand in ORIGIN's way.
    dataset, _ = open_warned(put(raw, "<", origin=(5.0, 6.0, 7.0)))
    assert start_of(dataset) == (5, 6, 7)


def test_nstart_at_the_limit_of_belief() -> None:
    assert start_of(open_mrc(lay("int16", nstart=(40, -30, 20), **GRID).raw)) == (42, -31.5, 21)
    # The grid counts, where the data are a small part of it.
    raw = lay("int16", nstart=(400, 0, 0), mx=40, cella=(42.0, 3.15, 2.1), **GRID).raw
    assert start_of(open_mrc(raw)) == (420, 0, 0)


def test_cut_outs_of_one_grid_align() -> None:
    whole = lay("int16", lengths=(40, 3, 2), voxel=("1.3379", "2", "2"))
    expected = open_mrc(whole.raw)["x"].values.tolist()
    for first in range(36):
        for by in ({"nstart": (first, 0, 0)}, {"origin": (expected[first], 0.0, 0.0)}):
            part = lay("int16", lengths=(4, 3, 2), voxel=("1.3379", "2", "2"), **by)
            found = open_mrc(part.raw)["x"].values.tolist()
            assert found == expected[first : first + 4]


# Voxel size and cell ---------------------------------------------------------------------------


def test_voxel_size_is_over_m_and_not_over_n() -> None:
    raw = lay("int16", lengths=(4, 3, 2), mx=40, my=60, mz=80, cella=(54.0, 66.6, 10.0)).raw
    dataset = open_mrc(raw)
    assert dataset["x"].values.tolist() == [0, 1.35, 2.7, 4.05]
    assert dataset["y"].values.tolist() == [0, 1.11, 2.22]
    assert dataset["z"].values.tolist() == [0, 0.125]


@pytest.mark.parametrize("length", [0.0, -0.0, 1e-30])
def test_length_that_is_not_set(length: float) -> None:
    for order in ORDERS:
        raw = lay("int16", order=order, cella=(length, 7.5, 3.5)).raw
        dataset = open_mrc(raw)
        assert "x" not in dataset.coords
        assert dataset["y"].values.tolist() == [0, 2.5, 5]


@pytest.mark.parametrize("length", [-1.0, -40.0, NAN, INF, -INF])
def test_length_that_can_not_be(length: float) -> None:
    for order, axis in product(ORDERS, range(3)):
        cella = [5.0, 7.5, 3.5]
        cella[axis] = length
        laid = lay("int16", order=order, cella=tuple(cella))
        dataset, message = open_warned(laid.raw)
        assert f"{length}" in message
        assert "cell lengths" in message
        assert FILE_AXES[axis] not in dataset.coords
        others = [dim for dim in FILE_AXES if dim != FILE_AXES[axis]]
        assert all(dataset[dim].attrs["units"] == "angstrom" for dim in others)


def test_grid_of_no_intervals() -> None:
    for axis, name in enumerate(("mx", "my", "mz")):
        laid = lay("int16", **{name: 0})
        dataset = open_mrc(laid.raw)
        assert FILE_AXES[axis] not in dataset.coords
        dataset, message = open_warned(laid.with_fields(**{name: -4}))
        assert "-4" in message
        assert FILE_AXES[axis] not in dataset.coords


def test_what_is_odd_is_said_once() -> None:
    raw = lay(
        "int16", cella=(-1.0, NAN, 2.0), origin=(NAN, 0.0, 0.0), nstart=(9999, 0, 0),
        machst=b"\x11\x11\0\0", mapc=1, mapr=1, maps=1, trailing=b"abc",
    ).raw  # fmt: skip
    _, message = open_warned(raw)
    for words in ("cell lengths", "ORIGIN", "NXSTART", "machine stamp", "axes", "3 bytes more"):
        assert words in message
    assert message.startswith("<bytes>: ")


@UNTIMED
@given(
    st.tuples(*[st.decimals("0.001", "99.9999", places=4)] * 3),
    st.tuples(*[st.integers(-300, 300)] * 3),
    st.sampled_from(AXES),
    st.sampled_from(ORDERS),
)
def test_any_clean_grid(
    voxel: tuple[Decimal, ...], nstart: tuple[int, int, int], axes: tuple[int, int, int], order: str
) -> None:
    assume(any(nstart))
    size = tuple(str(v) for v in voxel)
    m = {"mx": 100, "my": 100, "mz": 100}
    cella = tuple(float(100 * v) for v in voxel)
    laid = lay("int16", "volume", order, axes, voxel=size, nstart=nstart, cella=cella, **m)
    dataset = open_mrc(laid.raw)
    for dim in FILE_AXES:
        assert dataset[dim].values.tolist() == laid.positions(dim)


@pytest.mark.parametrize("coords", ["index", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_coords(kind: str, coords: str) -> None:
    laid = lay("int16", kind, nstart=(1, 2, 3), origin=(1.0, 2.0, 3.0))
    dataset = open_mrc(laid.raw, coords=coords)
    assert_pixels(dataset.data, laid.pixels)
    if coords == "none":
        assert not dataset.coords
        return
    assert set(dataset.coords) == set(laid.dims) & set(FILE_AXES)
    for dim in dataset.coords:
        assert_index(dataset[dim], dataset.sizes[dim])
        assert dataset[dim].dtype == np.int64
        assert dataset[dim].attrs["long_name"] == f"{dim} index"


@pytest.mark.parametrize("mapcrs", [(0, 0, 0), (1, 1, 2), (1, 2, 4), (-1, 2, 3), (1, -2, 3)])
def test_axes_that_are_none(mapcrs: tuple[int, int, int]) -> None:
    for order in ORDERS:
        laid = lay("int16", order=order, voxel=("1", "2", "3"), nstart=(1, 2, 3))
        mapc, mapr, maps = mapcrs
        dataset, message = open_warned(laid.with_fields(mapc=mapc, mapr=mapr, maps=maps))
        assert str(mapcrs) in message
        assert_pixels(dataset.data, laid.pixels)
        assert start_of(dataset) == (1, 4, 9)


# Skewed cells ----------------------------------------------------------------------------------

CELLS = ((90.0, 90.0, 120.0), (90.0, 94.33, 90.0), (78.5, 99.25, 111.125), (60.0, 60.0, 60.0))
LENGTHS_ABC = (24.0, 30.0, 12.0)
INTERVALS = (12, 20, 6)


def orthogonalize(angles: tuple[float, ...], fraction: np.ndarray) -> np.ndarray:
    cell = gemmi.UnitCell(*LENGTHS_ABC, *angles)
    return np.array(cell.orthogonalize(gemmi.Fractional(*fraction)).tolist())


def lay_skewed(angles: tuple[float, ...], axes: tuple[int, int, int], **fields: Any) -> Laid:
    grid = dict(zip(("mx", "my", "mz"), INTERVALS, strict=True))
    return lay("int16", axes=axes, cella=LENGTHS_ABC, cellb=angles, **grid, **fields)


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("angles", CELLS, ids=str)
def test_positions_in_a_skewed_cell(angles: tuple[float, ...], axes: tuple[int, int, int]) -> None:
    angles32 = tuple(float(np.float32(angle)) for angle in angles)
    for by in ({"nstart": (7, -5, 2)}, {"origin": (4.5, -20.25, 100.0)}, {}):
        laid = lay_skewed(angles, axes, **by)
        dataset = open_mrc(laid.raw)
        assert_pixels(dataset.data, laid.pixels)
        assert dataset.data.attrs["mrc_cell_angles"] == list(angles)
        first = np.zeros(3)
        for file_axis, axis in enumerate(axes):
            first[axis - 1] = laid.nstart[file_axis]
        origin = np.array(by.get("origin", (0.0, 0.0, 0.0)))
        for index in product((0, 1, 4), (0, 1, 2), (0, 1, 3)):
            # By the file: ORIGIN is a place, NSTART and the index count along the cell axes.
            fraction = (first + index) / INTERVALS
            expected = origin + orthogonalize(angles32, fraction)
            along = [float(dataset[dim][i]) for dim, i in zip(FILE_AXES, index, strict=True)]
            found = orthogonalize(angles32, np.array(along) / LENGTHS_ABC)
            assert np.abs(found - expected).max() < 1e-5
        for dim, name in zip(FILE_AXES, "abc", strict=True):
            assert dataset[dim].attrs["long_name"] == f"distance along the cell axis {name}"
            assert dataset[dim].attrs["units"] == "angstrom"


def test_distances_along_a_skewed_cell_are_clean() -> None:
    dataset = open_mrc(lay_skewed((90.0, 90.0, 120.0), (1, 2, 3), nstart=(7, -5, 2)).raw)
    assert dataset["x"].values.tolist() == decimals("14", "2", 5)
    assert dataset["y"].values.tolist() == decimals("-7.5", "1.5", 3)
    assert dataset["z"].values.tolist() == decimals("4", "2", 4)


@pytest.mark.parametrize(
    ("cellb", "warned"),
    [
        ((0.0, 0.0, 0.0), False),
        ((90.0, 90.0, 90.0), False),
        ((90.0, 90.0, 0.0), True),
        ((90.0, 90.0, 180.0), True),
        ((-90.0, 90.0, 90.0), True),
        ((30.0, 30.0, 90.0), True),
        ((120.0, 120.0, 120.0), True),
        ((NAN, 90.0, 90.0), True),
        ((INF, 90.0, 90.0), True),
    ],
    ids=str,
)
def test_angles_that_make_no_cell(cellb: tuple[float, ...], warned: bool) -> None:
    laid = lay("int16", cellb=cellb, nstart=(1, 2, 3))
    dataset = open_warned(laid.raw)[0] if warned else open_mrc(laid.raw)
    assert "mrc_cell_angles" not in dataset.data.attrs
    for dim in FILE_AXES:
        assert dataset[dim].values.tolist() == laid.positions(dim)
        assert dataset[dim].attrs["long_name"] == f"{dim} position"


@pytest.mark.parametrize("length", [0.0, -1.0, math.nan, math.inf])
def test_an_image_has_no_cell_along_z(length: float) -> None:
    raw = lay("int16", "image", cella=(6.75, 7.5, length)).raw
    assert open_mrc(raw).x.values[1] == 1.35
    assert not {"H09", "H40"} & {finding.id for finding in validate(raw).findings}
