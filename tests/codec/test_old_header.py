"""Headers from before 2000: zorg, xorg, yorg in place of MAP, the machine stamp and RMS."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from engine import open_mrc, open_warned
from mrcbytes import ORDERS, get, lay, put

from xarray_mrc import edit_header, validate

VOXEL = ("2", "2", "2")


def old(origin: tuple[float, float, float], order: str = "<", **fields: Any) -> bytes:
    """Lay down a volume whose header has xorg, yorg, zorg, and the waves of its colours."""
    laid = lay("int16", order=order, voxel=VOXEL, nversion=0, **{"dmax": 9.0} | fields)
    raw = bytearray(laid.raw)
    x, y, z = origin
    struct.pack_into(order + "6h", raw, 196, 1, 0, 0, 0, 0, 0)
    struct.pack_into(order + "3f", raw, 208, z, x, y)
    return bytes(raw)


def start(dataset: Any) -> tuple[float, ...]:
    return tuple(float(dataset[dim][0]) for dim in "xyz")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "origin",
    [(10.0, 20.5, -30.25), (12.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 4640.0), (-1e6, 1e-3, 0)],
)
def test_position_is_index_times_voxel_minus_origin(
    origin: tuple[float, float, float], order: str
) -> None:
    dataset = open_mrc(old(origin, order))
    assert start(dataset) == tuple(0 - value for value in origin)
    assert dataset.x.values[1] == 2 - origin[0]
    assert dataset.data.attrs["mrc_origin_source"] == "origin"
    assert start(open_mrc(old(origin, order), origin="zero")) == (0, 0, 0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "stamp", [b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x11\x11\0\0", b"\0\0\x44\x44", b"\x44\0\0\0"]
)
@pytest.mark.filterwarnings("ignore:.*the machine stamp")  # says another byte order
def test_a_machine_stamp_is_no_origin(stamp: bytes, order: str) -> None:
    raw = put(old((0, 5, 0), order), order, machst=stamp, rms=3.5)
    dataset = open_mrc(put(raw, order, origin=(1.0, 2.0, 3.0)))
    assert start(dataset) == (1, 2, 3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "fields",
    [
        {"rms": math.nan}, {"rms": math.inf}, {"rms": 1e20}, {"rms": 2.3e-41}, {"rms": 1e-12},
        {"machst": b"\x01\0\0\0"}, {"machst": b"abcd"}, {"map_id": b"\xff\xff\xff\xff"},
    ],
)  # fmt: skip
def test_what_is_no_place_is_left_out_with_a_warning(fields: dict[str, Any], order: str) -> None:
    raw = put(old((1, 2, 3), order), order, **fields)
    dataset, message = open_warned(raw)
    assert start(dataset) == (0, 0, 0)
    assert "bytes 208 to 219" in message
    assert "H49" in [finding.id for finding in validate(raw).findings]


@pytest.mark.parametrize("order", ORDERS)
def test_headers_of_today_without_map_keep_their_origin(order: str) -> None:
    raw = put(old((0, 0, 0), order), order, rms=-1.0)  # zeros, and an RMS that is unknown
    assert start(open_mrc(raw)) == (0, 0, 0)
    raw = put(raw, order, rms=3.5, origin=(4.0, 5.0, 6.0))
    assert start(open_mrc(raw)) == (4, 5, 6)
    raw = put(old((1, 2, 3), order), order, nversion=20140, origin=(4.0, 5.0, 6.0))
    assert start(open_mrc(raw)) == (4, 5, 6)
    for map_id in (b" PAM", b"STK "):
        assert start(open_mrc(put(old((0, 7, 0), order), order, map_id=map_id))) == (0, 0, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_yorg_is_not_checked_as_an_rms(order: str, tmp_path: Any) -> None:
    raw = old((0.0, 250.0, 7.0), order, dmin=0.0, dmean=1.0)
    found = [finding.id for finding in validate(raw).findings]
    assert "D03" not in found
    assert "before 2000" in str(validate(raw))
    path = tmp_path / "a.mrc"
    path.write_bytes(raw)
    edit_header(path, fix=True, data=True)
    assert np.array_equal(open_mrc(path).y, open_mrc(raw).y)
    assert get(path.read_bytes(), order, "rms") == 250.0


def test_it_is_printed() -> None:
    from xarray_mrc import read_header

    assert "old origin" in str(read_header(old((1, 2, 3))))
    assert "old origin" not in str(read_header(lay().raw))
