"""Byte order, the sign of bytes, two pixels a byte."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from engine import (
    NAN,
    assert_pixels,
    named,
    open_mrc,
    open_warned,
)
from mrcbytes import AXES, FORMS, IMOD, KINDS, ORDERS, STAMPS, Form, decimals, get, lay, put

from xarray_mrc import (
    MrcHeaderError,
    MrcWarning,
)

# Byte order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_lying_stamp(form: Form, kind: str) -> None:
    lies = (("<", b"\x11\x11\0\0"), (">", b"\x44\x44\0\0"), (">", b"\x44\x41\0\0"))
    for order, stamp in lies:
        laid = lay(form, kind, order, machst=stamp)
        dataset, message = open_warned(laid.raw)
        assert stamp.hex(" ") in message
        assert f"numbers are {'little' if order == '<' else 'big'} endian" in message
        assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
def test_lying_stamp_of_a_bare_header(order: str) -> None:
    # The sizes alone speak against the stamp, of the file and of the image.
    axes = {"mapc": 0, "mapr": 0, "maps": 0}
    stamp = {"machst": STAMPS["<>".replace(order, "")], "map_id": bytes(4)}
    laid = lay("int8", order=order, nversion=0, voxel=None, **stamp, **axes)
    dataset, message = open_warned(laid.raw)
    assert "machine stamp" in message
    assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize(
    "stamp",
    [
        b"\0\0\0\0",  # none
        b"\0\0\x44\x44",  # whole words swapped
        b"\0\0\x41\x44",
        b"\x44\0\0\0",  # old SerialEM
        b"MAE ",  # Maestro
        b"\x22\x41\0\0",  # VAX
        b"\x55\x11\0\0",
        b"\xcd\xcd\xcd\xcd",
    ],
)
def test_stamp_that_says_nothing(stamp: bytes) -> None:
    for form, order, map_id in product(FORMS.values(), ORDERS, (b"MAP ", b"\0\0\0\0", b" PAM")):
        laid = lay(form, order=order, machst=stamp, map_id=map_id)
        dataset = open_mrc(laid.raw)
        assert dataset.data.encoding["mrc_byteorder"] == order
        assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize("stamp", [b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x44\x44\x44\x44"])
@pytest.mark.parametrize("map_id", [b"MAP ", b"MAP\0", b"STK ", b"\0\0\0\0"])
def test_usual_marks(map_id: bytes, stamp: bytes) -> None:
    laid = lay("int16", map_id=map_id, machst=stamp)
    assert_pixels(open_mrc(laid.raw).data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("nx", "ny"), [(256, 256), (256, 512), (1, 256), (768, 256)])
def test_mode_that_reads_alike_in_both_orders(nx: int, ny: int, order: str) -> None:
    # Mode 0, and sizes that the other order makes other sensible sizes of.
    bare = {
        "machst": bytes(4), "map_id": bytes(4), "nversion": 0, "ispg": 0, "mz": 0, "voxel": None,
    }  # fmt: skip
    for axes in ((1, 2, 3), (2, 1, 3)):
        laid = lay("int8", order=order, axes=axes, lengths=(nx, ny, 2), **bare)
        dataset = open_mrc(laid.raw)
        assert dataset.data.encoding["mrc_byteorder"] == order
        assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
def test_only_the_size_of_the_file_tells_the_order(order: str) -> None:
    # Every number is a palindrome, or makes sense in both orders.
    axes = {"mapc": 0, "mapr": 0, "maps": 0}
    bare = {"machst": bytes(4), "map_id": bytes(4), "nversion": 0, "ispg": 0, "voxel": None}
    raw = lay("int8", order=order, lengths=(1, 1, 1), **bare, **axes, nx=256, ny=256, nz=256).raw
    data = bytes(range(256)) * 256 * 256
    dataset, message = open_warned(raw[:1024] + data)
    assert "axes" in message
    assert dataset.data.encoding["mrc_byteorder"] == order
    assert dataset.data.shape == (256, 256, 256)
    assert dataset.data[255, 255, 200] == 200 - 256


@pytest.mark.parametrize("order", ORDERS)
def test_text_of_the_header_has_no_byte_order(order: str) -> None:
    laid = lay("int16", order=order, exttyp=b"MRCO", labels=(b"first", b"second"))
    dataset = open_mrc(laid.raw)
    assert dataset.data.attrs["mrc_exttyp"] == "MRCO"
    assert dataset.data.attrs["mrc_labels"] == "first\nsecond"


# Bytes, signed or not --------------------------------------------------------------------------

OLD = {"nversion": 0}
UNSIGNED = {"dmin": 0.0, "dmax": 255.0}
SIGNED = {"dmin": -128.0, "dmax": 127.0}
EMDB = b"::::EMDATABANK.org::::EMD-1234::::"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        # IMOD's flag 1, whatever else is said.
        ({"imod_stamp": IMOD, "imod_flags": 0, **SIGNED}, "u1"),
        ({"imod_stamp": IMOD, "imod_flags": 4, **SIGNED, **OLD}, "u1"),
        ({"imod_stamp": IMOD, "imod_flags": 1, **SIGNED}, "i1"),
        ({"imod_stamp": IMOD, "imod_flags": 5, **OLD}, "i1"),
        ({"imod_stamp": IMOD, "imod_flags": 0, "ispg": 1, "lskflg": 1, **OLD}, "u1"),
        # Flags without the stamp are none.
        ({"imod_flags": 1, **OLD, **UNSIGNED}, "u1"),
        ({"imod_flags": 0, **OLD, **SIGNED}, "i1"),
        # A standard version.
        ({"nversion": 20140, **SIGNED}, "i1"),
        ({"nversion": 20141}, "i1"),
        ({"nversion": 20139, **UNSIGNED}, "u1"),
        # CCP4's and EMDB's marks.
        ({"ispg": 1, "lskflg": 1, **OLD, "dmax": 127.0}, "i1"),
        ({"ispg": 4, "extended": b"X,Y,Z".ljust(80), **OLD}, "i1"),
        ({"ispg": 1, "labels": (EMDB,), **OLD}, "i1"),
        ({"ispg": 0, "lskflg": 1, **OLD, **UNSIGNED}, "u1"),
        ({"ispg": 0, "labels": (EMDB,), **OLD, **UNSIGNED}, "u1"),
        # The range of the densities.
        ({**OLD, **UNSIGNED}, "u1"),
        ({**OLD, **SIGNED}, "i1"),
        ({**OLD, "dmin": 0.0, "dmax": 128.0}, "u1"),
        ({**OLD, "dmin": 0.0, "dmax": 127.0}, "i1"),
        ({**OLD, "dmin": 0.0, "dmax": 0.0}, "i1"),
        ({**OLD, "dmin": 200.0, "dmax": 255.0}, "u1"),
        ({**OLD, "dmin": -1.0, "dmax": 127.0}, "i1"),
        ({**OLD, "dmin": -1.0, "dmax": 200.0}, "u1"),
        ({**OLD, "dmin": -72.0, "dmax": 200.0}, "u1"),
        # Not computed, or no numbers: as the standard says.
        ({**OLD, "dmin": 0.0, "dmax": -1.0}, "i1"),
        ({**OLD, "dmin": 3.0, "dmax": 2.0}, "i1"),
        ({**OLD, "dmin": 1e38, "dmax": -1e38}, "i1"),
        ({**OLD, "dmin": NAN, "dmax": 255.0}, "i1"),
        ({**OLD, "dmin": 0.0, "dmax": NAN}, "i1"),
    ],
    ids=named,
)
def test_sign_of_bytes(fields: dict[str, Any], dtype: str, order: str) -> None:
    laid = lay("int8", order=order, **fields)
    assert_pixels(open_mrc(laid.raw).data, laid.pixels.view(dtype))
    # The user has the last word.
    assert_pixels(open_mrc(laid.raw, signed=False).data, laid.pixels.view("u1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MrcWarning)
        assert_pixels(open_mrc(laid.raw, signed=True).data, laid.pixels)


def test_sign_that_the_user_gives_is_not_doubted() -> None:
    laid = lay("int8", **OLD, **UNSIGNED)
    assert_pixels(open_mrc(laid.raw, signed=True).data, laid.pixels)


@pytest.mark.parametrize(
    "fields",
    [
        {"dmin": -128.0, "dmax": 255.0},
        {"dmin": 0.0, "dmax": 128.0, "imod_stamp": IMOD, "imod_flags": 1},
        {"dmin": -100.0, "dmax": 200.0, **OLD},
        {"dmin": 0.0, "dmax": 255.0, "ispg": 1, "lskflg": 1, **OLD},
        {"dmin": 0.0, "dmax": 255.0, "ispg": 1, "extended": b"X,Y,Z".ljust(80), **OLD},
        {"dmin": 0.0, "dmax": 255.0, "ispg": 1, "labels": (EMDB,), **OLD},
    ],
    ids=named,
)
def test_signed_bytes_with_densities_above_127(fields: dict[str, Any]) -> None:
    laid = lay("int8", **fields)
    dataset, message = open_warned(laid.raw)
    assert_pixels(dataset.data, laid.pixels)
    assert f"{fields['dmax']:g}" in message
    assert "signed=False" in message
    assert_pixels(open_mrc(laid.raw, signed=False).data, laid.pixels.view("u1"))


def test_sign_of_other_modes_is_fixed() -> None:
    for name, signed in product(("int16", "uint16", "float32", "four_bit", "rgb"), (True, False)):
        laid = lay(name)
        assert_pixels(open_mrc(laid.raw, signed=signed).data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
def test_map_scaled_to_bytes(order: str) -> None:
    # Where IMOD's flags would be, such a map has -128; there is no stamp of IMOD's before it.
    laid = lay("int8", order=order, imod_flags=-128, scale_top=127, dmin=-0.5, dmax=0.75, **OLD)
    dataset, message = open_warned(laid.raw)
    assert_pixels(dataset.data, laid.pixels)
    assert "mrc_imod_flags" not in dataset.data.attrs
    slope, base = (float(part.split(" ")[0]) for part in message.split("density = ")[1].split("+ "))
    assert slope == pytest.approx(1.25 / 255, rel=1e-6)
    assert slope * -128 + base == pytest.approx(-0.5, abs=1e-6)
    assert slope * 127 + base == pytest.approx(0.75, abs=1e-6)


# Two pixels a byte -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("nx", [1, 2, 3, 4, 7, 8])
def test_rows_of_four_bits(nx: int, order: str) -> None:
    for ny, nz in product((1, 2, 3), (1, 2, 3)):
        for axes in AXES:
            laid = lay("four_bit", order=order, axes=axes, lengths=(nx, ny, nz))
            columns, rows, sections = (laid.lengths[axis - 1] for axis in axes)
            assert len(laid.raw) == 1024 + (columns + 1) // 2 * rows * sections
            assert_pixels(open_mrc(laid.raw).data, laid.pixels)


def test_low_half_of_a_byte_is_first() -> None:
    for order in ORDERS:
        laid = lay("four_bit", "image", order, lengths=(3, 1, 1))
        data = open_mrc(laid.raw[:1024] + b"\x21\xf3").data
        assert data.values.tolist() == [[1, 2, 3]]
        laid = lay("half_width", "image", order, lengths=(4, 1, 1))
        data = open_mrc(laid.raw[:1024] + b"\x21\xf3").data
        assert data.values.tolist() == [[1, 2, 3, 15]]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("nx", [2, 4, 6, 14])
def test_half_width(nx: int, order: str) -> None:
    voxel = ("0.5", "0.5", "0.5")
    for ny, nz in product((1, 2, 3), (1, 2)):
        laid = lay("half_width", order=order, lengths=(nx, ny, nz), voxel=voxel)
        assert get(laid.raw, order, "nx") == nx // 2
        # MX and the cell are of the true width, or both of half of it.
        half = laid.with_fields(mx=nx // 2, cella=(nx / 4, ny / 2, nz / 2))
        for raw in (laid.raw, half):
            dataset = open_mrc(raw)
            assert_pixels(dataset.data, laid.pixels)
            assert dataset["x"].values.tolist() == decimals("0", "0.5", nx)


def test_half_width_with_columns_along_z() -> None:
    # Nobody writes it; but two pixels along Z are no single image.
    laid = lay("half_width", "image_stack", axes=(3, 2, 1), lengths=(5, 3, 2))
    assert_pixels(open_mrc(laid.raw).data, laid.pixels)


def test_half_width_can_not_be_signed() -> None:
    laid = lay("half_width", imod_flags=17)
    with pytest.raises(MrcHeaderError, match=r"signed and that each holds two 4-bit pixels"):
        open_mrc(laid.raw)
    assert_pixels(open_mrc(laid.raw, signed=False).data, laid.pixels)
    with pytest.raises(MrcHeaderError, match="4-bit"):
        open_mrc(lay("half_width").raw, signed=True)


def test_flag_of_half_width_in_other_modes() -> None:
    for name in ("int16", "four_bit", "float32"):
        laid = lay(name, imod_stamp=IMOD, imod_flags=16)
        assert_pixels(open_mrc(laid.raw).data, laid.pixels)


@pytest.mark.parametrize("shape", [(3838, 7420), (3710, 7676), (5760, 8184), (3712, 7678)])
@pytest.mark.parametrize("order", ORDERS)
def test_half_width_by_label(tmp_path: Path, shape: tuple[int, int], order: str) -> None:
    # The files are as long as a camera's, but hold only one row; the rest is a hole.
    nx, ny = shape
    labels = (b"SerialEM: K2 super-resolution, 4 bits packed",)
    head = lay("int8", "image", order, labels=labels, nx=nx, ny=ny, nz=1, **OLD, **UNSIGNED).head
    path = tmp_path / "file.mrc"

    def open_as(head: bytes) -> tuple[xr.Dataset, int]:
        with path.open("wb") as file:
            file.write(head + b"\x21\xf3")
            file.truncate(1024 + nx * ny)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return open_mrc(path), len(caught)

    dataset, count = open_as(head)
    assert count == 1
    assert dataset.data.shape == (ny, 2 * nx)
    assert dataset.data[0, :5].values.tolist() == [1, 2, 3, 15, 0]
    # Another size, another label or another label beside it, and bytes are bytes.
    others = (
        put(head, order, nx=nx - 9, ny=ny),
        put(head, order, label_bytes=b"8 bits".ljust(800)),
        put(head, order, label_bytes=labels[0].ljust(80) + b"x".ljust(720), nlabl=2),
    )
    for other in others:
        dataset, _ = open_as(other)
        assert dataset.data[0, :3].values.tolist() == [0x21, 0xF3, 0]
