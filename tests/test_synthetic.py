"""Files laid down byte by byte, opened with the engine: every rule of how a file is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import pickle
import struct
import warnings
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mrcbytes import AXES, FORMS, IMOD, KINDS, ORDERS, STAMPS, Form, Laid, decimals, get, lay, put

from xarray_mrc import (
    MrcError,
    MrcFormatError,
    MrcHeaderError,
    MrcModeError,
    MrcTruncatedError,
    MrcWarning,
    read_header,
)
from xarray_mrc.backend import MrcBackendEntrypoint

UNTIMED = settings(deadline=None)
NAN, INF = math.nan, math.inf
FILE_AXES = ("x", "y", "z")


def open_mrc(path: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine=MrcBackendEntrypoint, **options)


def open_warned(path: Any, **options: Any) -> tuple[xr.Dataset, str]:
    """Open a file that gives exactly one warning, and give what it says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = open_mrc(path, **options)
    assert [warning.category for warning in caught] == [MrcWarning]
    assert caught[0].filename == __file__
    return dataset, str(caught[0].message)


def save(path: Path, raw: bytes) -> Path:
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)
    return path


def assert_pixels(found: xr.DataArray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.dtype.isnative
    assert found.shape == expected.shape
    values = found.values
    assert values.dtype == expected.dtype
    # As bytes, so that nan, the sign of zero and every last bit count.
    assert values.tobytes() == np.ascontiguousarray(expected).tobytes()


def assert_index(coord: xr.DataArray, count: int) -> None:
    """Assert that a coordinate counts, and does not claim to be a length."""
    assert coord.dtype.kind == "i"
    assert coord.values.tolist() == list(range(count))
    assert "units" not in coord.attrs


def start_of(dataset: xr.Dataset) -> tuple[float, float, float]:
    return tuple(float(dataset[dim][0]) for dim in FILE_AXES)


def kind_of(path: Any, **options: Any) -> str:
    dataset = open_mrc(path, **options)
    kind: str = dataset.data.attrs["mrc_kind"]
    dims = {
        "image": ("y", "x"),
        "image_stack": ("image", "y", "x"),
        "volume": ("z", "y", "x"),
        "volume_stack": ("volume", "z", "y", "x"),
    }
    assert dataset.data.dims == dims[kind]
    return kind


def named(value: Any) -> str:
    """Name a test by the fields that it sets."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(f"{k}={v}".replace(" ", "")[:24] for k, v in value.items()) or "usual"


# Every mode, byte order, axis order and kind ---------------------------------------------------

NSTART = (3, -2, 1)
MARKS = tuple(product((True, False), repeat=3))


def lay_marked(
    form: Form, kind: str, order: str, axes: tuple[int, int, int], marks: tuple[bool, bool, bool]
) -> Laid:
    stamp, map_id, cell = marks
    return lay(
        form,
        kind,
        order,
        axes,
        nstart=NSTART,
        voxel=("1.35", "2.5", "0.875") if cell else None,
        machst=STAMPS[order] if stamp else bytes(4),
        map_id=b"MAP " if map_id else bytes(4),
    )


def expected_attrs(form: Form, kind: str, axes: tuple[int, int, int]) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "mrc_kind": kind,
        "mrc_space_group": {"volume": 1, "volume_stack": 401}.get(kind, 0),
        "mrc_nversion": 20141,
        "mrc_nstart": list(NSTART),
        "mrc_origin_source": "nstart",
    }
    if axes != (1, 2, 3):
        attrs["mrc_axes"] = list(axes)
    if form.flags is not None:
        attrs["mrc_imod_flags"] = form.flags
    return attrs


def assert_as_laid(dataset: xr.Dataset, laid: Laid, form: Form, kind: str) -> None:
    assert set(dataset.data_vars) == {"data"}
    data = dataset.data
    assert data.dims == laid.dims
    assert_pixels(data, laid.pixels)
    assert data.attrs == expected_attrs(form, kind, laid.axes)
    assert data.encoding["mrc_mode"] == form.mode
    assert data.encoding["mrc_byteorder"] == laid.order
    assert "dtype" not in data.encoding
    assert set(dataset.coords) == set(laid.dims) & set(FILE_AXES)
    for dim in dataset.coords:
        coord = dataset[dim]
        assert coord.attrs["axis"] == str(dim).upper()
        if laid.voxel is None:
            assert_index(coord, laid.lengths["xyz".index(str(dim))])
            continue
        assert coord.dtype == np.float64
        assert coord.values.tolist() == laid.positions(str(dim))
        assert coord.attrs["units"] == "angstrom"
        assert coord.attrs["long_name"] == f"{dim} position"


def is_possible(form: Form, kind: str, axes: tuple[int, int, int]) -> bool:
    """Whether the file can be: a row of two pixels a byte can't run along an image's depth of 1."""
    return not (form.halved and kind == "image" and axes[0] == 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_every_axis_order_and_mark(form: Form, order: str, kind: str) -> None:
    for axes, marks in product(AXES, MARKS):
        if is_possible(form, kind, axes):
            laid = lay_marked(form, kind, order, axes, marks)
            assert_as_laid(open_mrc(laid.raw), laid, form, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_files_read_as_bytes_do(tmp_path: Path, form: Form, kind: str) -> None:
    for order, axes in (("<", (1, 2, 3)), (">", (2, 1, 3)), ("<", (3, 1, 2))):
        if is_possible(form, kind, axes):
            laid = lay_marked(form, kind, order, axes, (True, True, True))
            path = save(tmp_path / "file.mrc", laid.raw)
            dataset = open_mrc(path)
            assert_as_laid(dataset, laid, form, kind)
            assert_as_laid(pickle.loads(pickle.dumps(dataset)), laid, form, kind)
            assert_as_laid(open_mrc(path, chunks={}), laid, form, kind)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_compressed_bytes_read_as_plain_ones(form: Form, compress: Any) -> None:
    for kind, order in product(("image_stack", "volume_stack"), ORDERS):
        laid = lay_marked(form, kind, order, (3, 1, 2), (True, True, True))
        assert_as_laid(open_mrc(compress(laid.raw)), laid, form, kind)


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_one_part_of_every_mode(order: str, axes: tuple[int, int, int]) -> None:
    for form in FORMS.values():
        laid = lay(form, "volume_stack", order, axes, lengths=(6, 4, 2), volumes=3)
        part = {"volume": [2, 0], "z": 1, "y": slice(3, 0, -2), "x": slice(1, 6, 3)}
        found = open_mrc(laid.raw).data.isel(part)
        assert_pixels(found, laid.pixels[[2, 0], 1, 3:0:-2, 1:6:3])
        assert found["x"].values.tolist() == laid.positions("x")[1:6:3]
        assert found["y"].values.tolist() == laid.positions("y")[3:0:-2]


@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_bytes_before_the_data_are_passed_over(form: Form) -> None:
    for order, size in product(ORDERS, (1, 7, 80, 4096)):
        laid = lay(form, "volume", order, extended=(bytes(range(1, 8)) * size)[:size])
        assert_pixels(open_mrc(laid.raw).data, laid.pixels)


# Kinds -----------------------------------------------------------------------------------------


def stack(**fields: Any) -> bytes:
    """Lay down three sections of space group 0 that MZ = NZ calls a volume."""
    usual = {"lengths": (4, 4, 3), "ispg": 0, "mz": 3, "cella": (4.0, 4.0, 3.0)}
    return lay("int16", **usual | fields).raw


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "volume"),
        ({"mz": 0}, "image_stack"),
        ({"mz": 1}, "image_stack"),
        ({"mz": 2}, "image_stack"),
        ({"mz": 4}, "image_stack"),
        ({"ispg": 1}, "volume"),
        ({"ispg": 1, "mz": 1}, "volume"),
        ({"ispg": 1, "mz": 0}, "volume"),
        ({"ispg": 1, "lengths": (4, 4, 1), "mz": 1}, "volume"),
        ({"ispg": 150}, "volume"),
        ({"ispg": 230}, "volume"),
        ({"ispg": 231}, "volume"),
        ({"ispg": 400}, "volume"),
        ({"ispg": 631}, "volume"),
        ({"ispg": -1}, "volume"),
        ({"ispg": 401}, "volume_stack"),
        ({"ispg": 401, "mz": 1}, "volume_stack"),
        ({"ispg": 630}, "volume_stack"),
        ({"ispg": 630, "mz": 1}, "volume_stack"),
        ({"lengths": (4, 4, 1), "mz": 1}, "image"),
        ({"lengths": (4, 4, 1), "mz": 0}, "image"),
        ({"lengths": (4, 4, 1), "mz": 7}, "image"),
        ({"imod_stamp": IMOD, "idtype": 1}, "image_stack"),
        ({"imod_stamp": IMOD, "idtype": 2}, "image_stack"),
        ({"imod_stamp": IMOD, "idtype": 0}, "volume"),
        ({"imod_stamp": IMOD, "idtype": 3}, "volume"),
        ({"idtype": 1}, "volume"),
        ({"ispg": 1, "imod_stamp": IMOD, "idtype": 1}, "volume"),
    ],
    ids=named,
)
def test_kind_by_header(fields: dict[str, Any], kind: str) -> None:
    assert kind_of(stack(**fields)) == kind


@pytest.mark.parametrize("exttyp", [b"SERI", b"AGAR", b"FEI1", b"FEI2"])
def test_kind_by_records_of_sections(exttyp: bytes) -> None:
    assert kind_of(stack(exttyp=exttyp)) == "volume"  # SerialEM names the type of no records too
    # Room for records that does not bear the name out costs a warning, not the kind.
    dataset, message = open_warned(stack(exttyp=exttyp, extended=b"\x7f" * 80))
    assert dataset.data.dims == ("image", "y", "x")
    assert exttyp.decode() in message
    assert kind_of(stack(exttyp=exttyp, extended=b"\x7f" * 80), extended_header="none") == (
        "image_stack"
    )


@pytest.mark.parametrize("exttyp", [b"MRCO", b"CCP4", b"\0\0\0\0"])
def test_kind_with_symmetry_records(exttyp: bytes) -> None:
    extended = b"X,Y,Z".ljust(80)
    assert kind_of(stack(exttyp=exttyp, extended=extended)) == "volume"


SUFFIXES = (".mrcs", ".st", ".ali", ".preali", ".MRCS", ".St")


@pytest.mark.parametrize("container", ["", ".gz"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kind_by_suffix(tmp_path: Path, suffix: str, container: str) -> None:
    path = save(tmp_path / f"a{suffix}{container}", stack())
    assert kind_of(path) == "image_stack"
    save(path, stack(ispg=1))
    assert kind_of(path) == "volume"
    save(path, stack(lengths=(4, 4, 1)))
    assert kind_of(path) == "image"
    save(path, stack(ispg=401))
    assert kind_of(path) == "volume_stack"


@pytest.mark.parametrize("container", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".mrc", ".map", ".ccp4", ".rec", ".st.mrc", ".mrcs.map", ""])
def test_suffixes_that_say_nothing(tmp_path: Path, suffix: str, container: str) -> None:
    assert kind_of(save(tmp_path / f"a{suffix}{container}", stack())) == "volume"


@pytest.mark.parametrize("beside", ["a.mrc.mdoc", "a.mdoc", "a.tlt", "a.rawtlt"])
def test_kind_by_sidecar(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc", stack())
    assert kind_of(path) == "volume"
    (tmp_path / beside).touch()
    assert kind_of(path, sidecar=False) == "image_stack"  # it counts without being read, too
    save(path, stack(ispg=1))
    assert kind_of(path) == "volume"


@pytest.mark.parametrize("beside", ["b.mdoc", "a.mrc.tlt", "a.xf", "a.mrc.mdoc.txt"])
def test_files_beside_that_are_no_sidecars(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc", stack())
    (tmp_path / beside).touch()
    assert kind_of(path) == "volume"


@pytest.mark.parametrize(
    "beside",
    [
        "a.mrc.mdoc",
        "a.mdoc",
        "a.tlt",
        "a.rawtlt",
    ],
)
def test_sidecar_of_a_compressed_file(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc.gz", stack())
    (tmp_path / beside).touch()
    assert kind_of(path, sidecar=False) == "image_stack"


@pytest.mark.parametrize("mz", [0, -1, 2, 4])
def test_volume_stack_of_no_whole_volumes(mz: int) -> None:
    raw = stack(ispg=401, mz=mz, voxel=None)
    dataset, message = open_warned(raw)
    assert dataset.data.dims == ("z", "y", "x")
    for words in ("401", "nz=3", f"mz={mz}", "volume"):
        assert words in message


def test_kind_along_x_y_z_of_any_axis_order() -> None:
    # What is an image, or MZ = NZ, is judged along Z, wherever the file has that axis.
    for axes in AXES:
        raw = lay("int16", "image", axes=axes).raw
        assert kind_of(raw) == "image"
        for mz, kind in ((4, "volume"), (1, "image_stack"), (5, "image_stack")):
            raw = lay("int16", axes=axes, lengths=(6, 5, 4), ispg=0, mz=mz).raw
            dataset = open_mrc(raw)
            assert dataset.data.attrs["mrc_kind"] == kind
            assert dataset.sizes["x"] == 6
            assert dataset.sizes["y"] == 5


@pytest.mark.parametrize("kind", KINDS)
def test_kind_override(kind: str) -> None:
    # Of four sections MZ = 2; of an image there is one.
    for axes in AXES:
        laid = lay("int16", kind, axes=axes, lengths=(2, 2, 1 if kind == "image" else 2), ispg=0)
        dataset = open_mrc(laid.raw, kind=kind)
        assert dataset.data.dims == laid.dims
        assert dataset.data.attrs["mrc_kind"] == kind
        assert_pixels(dataset.data, laid.pixels)


def test_kind_override_of_a_volume_stack_has_nothing_odd() -> None:
    laid = lay("int16", "volume_stack")
    for kind in ("volume", "image_stack"):
        dataset = open_mrc(laid.raw, kind=kind)
        assert_pixels(dataset.data, laid.pixels.reshape(-1, *laid.pixels.shape[2:]))


def test_impossible_kinds() -> None:
    with pytest.raises(MrcHeaderError, match=r"single image .* 3 sections: pass kind="):
        open_mrc(stack(), kind="image")
    for mz in (0, -3, 2, 4):
        message = rf"volume stack .* nz is 3 and mz {mz}, expected nz to be a multiple of mz"
        with pytest.raises(MrcHeaderError, match=message):
            open_mrc(stack(mz=mz, voxel=None), kind="volume_stack")
    with pytest.raises(ValueError, match=r"kind='tomogram', expected 'auto' or one of image,"):
        open_mrc(stack(), kind="tomogram")


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
        assert_index(dataset["x"], 5)
        assert dataset["y"].values.tolist() == [0, 2.5, 5]
        assert dataset["x"].attrs["long_name"] == "x index"


@pytest.mark.parametrize("length", [-1.0, -40.0, NAN, INF, -INF])
def test_length_that_can_not_be(length: float) -> None:
    for order, axis in product(ORDERS, range(3)):
        cella = [5.0, 7.5, 3.5]
        cella[axis] = length
        laid = lay("int16", order=order, cella=tuple(cella))
        dataset, message = open_warned(laid.raw)
        assert f"{length}" in message
        assert "cell lengths" in message
        assert_index(dataset[FILE_AXES[axis]], laid.lengths[axis])
        others = [dim for dim in FILE_AXES if dim != FILE_AXES[axis]]
        assert all(dataset[dim].attrs["units"] == "angstrom" for dim in others)


def test_grid_of_no_intervals() -> None:
    for axis, name in enumerate(("mx", "my", "mz")):
        laid = lay("int16", **{name: 0})
        dataset = open_mrc(laid.raw)
        assert_index(dataset[FILE_AXES[axis]], laid.lengths[axis])
        dataset, message = open_warned(laid.with_fields(**{name: -4}))
        assert "-4" in message
        assert_index(dataset[FILE_AXES[axis]], laid.lengths[axis])


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


# Labels ----------------------------------------------------------------------------------------


def labels_of(text: bytes, **fields: Any) -> str:
    laid = lay("int16", label_bytes=text.ljust(800, b"\0"), **fields)
    found: str = open_mrc(laid.raw).data.attrs.get("mrc_labels", "")
    return found


def test_labels() -> None:
    ten = [f"{i}" * 80 for i in range(10)]
    assert labels_of("".join(ten).encode()) == "\n".join(ten)
    assert labels_of(b"") == ""
    assert labels_of(b" " * 800) == ""
    assert labels_of(b"first".ljust(80) + b"second\0junk after it".ljust(80)) == "first\nsecond"
    # What NLABL says is not asked.
    for nlabl in (0, 1, 10, -1, 262146):
        assert labels_of(b"first".ljust(160) + b"third", nlabl=nlabl) == "first\nthird"


def test_labels_that_are_not_ascii() -> None:
    assert labels_of(b"25 \xb0C, 3 \xc5") == "25 \u00b0C, 3 \u00c5"
    assert labels_of(b"a\tb\x07c\x85d\r\n") == "a b c d"
    assert labels_of(b"\xcd" * 80) == "\u00cd" * 80
    every = labels_of(bytes(range(1, 256)).ljust(800))
    assert every.isprintable() or "\n" in every
    assert all(c.isprintable() for line in every.split("\n") for c in line)


@UNTIMED
@given(st.binary(min_size=800, max_size=800))
def test_any_labels(text: bytes) -> None:
    found = labels_of(text)
    assert all(line and line == line.strip() for line in found.split("\n")) or found == ""
    assert len(found.split("\n")) <= 10
    found.encode("utf-8")


# Files that are too short or too long ----------------------------------------------------------


@pytest.mark.parametrize("form", FORMS.values(), ids=str)
@pytest.mark.parametrize("kind", ["image_stack", "volume", "volume_stack"])
def test_truncated(form: Form, kind: str) -> None:
    sections_of = {"image_stack": 5, "volume": 5, "volume_stack": 3}
    lengths = (4, 3, sections_of[kind])
    for order in ORDERS:
        laid = lay(form, kind, order, lengths=lengths, extended=bytes(160))
        per = laid.pixels.shape[1] if kind == "volume_stack" else 1
        count = laid.pixels.shape[0] * per
        start, size = 1184, len(laid.raw)
        section = (size - start) // count
        for there, more in product(range(count), (0, 1, section - 1)):
            raw = laid.raw[: start + there * section + more]
            with pytest.raises(MrcTruncatedError) as caught:
                open_mrc(raw)
            words = str(caught.value)
            assert f"take {count * section} bytes from byte {start}" in words
            assert f"only {there * section + more} there ({there} whole sections" in words
            assert "truncated='sections'" in words
            if there < per:
                with pytest.raises(MrcTruncatedError):
                    open_mrc(raw, truncated="sections")
                continue
            dataset, message = open_warned(raw, truncated="sections")
            whole = there // per
            assert f"cut off: {whole * per} of {count} sections" in message
            assert_pixels(dataset.data, laid.pixels[:whole])
            first = laid.dims[0]
            if first == "z":
                assert dataset["z"].values.tolist() == laid.positions("z")[:whole]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_truncated_file_of_other_axes(axes: tuple[int, int, int]) -> None:
    laid = lay("int16", axes=axes, lengths=(4, 4, 4), voxel=("1", "2", "3"))
    dataset, _ = open_warned(laid.raw[:-1], truncated="sections")
    part: list[slice] = [slice(None)] * 3
    part[3 - axes[2]] = slice(3)
    assert_pixels(dataset.data, laid.pixels[tuple(part)])
    for dim in FILE_AXES:
        assert dataset[dim].values.tolist() == laid.positions(dim)[: dataset.sizes[dim]]


def test_whole_file_is_not_truncated() -> None:
    laid = lay("int16")
    assert_pixels(open_mrc(laid.raw, truncated="sections").data, laid.pixels)


@pytest.mark.parametrize("size", [0, 1, 500, 1023])
def test_no_whole_header(tmp_path: Path, size: int) -> None:
    raw = lay().raw[:size]
    path = save(tmp_path / "a.mrc", raw)
    message = rf"has {size} bytes, expected a header of 1024"
    for source in (raw, path):
        with pytest.raises(MrcTruncatedError, match=message):
            open_mrc(source)


@pytest.mark.parametrize("count", [1, 3, 512, 100_000])
def test_trailing_bytes(count: int) -> None:
    for form, order in product(FORMS.values(), ORDERS):
        laid = lay(form, order=order, trailing=b"\x55" * count)
        dataset, message = open_warned(laid.raw)
        assert f"{count} bytes more than the header describes" in message
        assert_pixels(dataset.data, laid.pixels)


# Headers that can't be -------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("field", ["nx", "ny", "nz"])
@pytest.mark.parametrize("value", [0, -1, -(2**31)])
def test_size_that_is_none(field: str, value: int, order: str) -> None:
    raw = lay("int16", order=order).with_fields(**{field: value})
    with pytest.raises(MrcHeaderError, match=rf"{field} is {value}, expected 1 or more"):
        open_mrc(raw)
    with pytest.raises(MrcHeaderError, match=rf"{field} is {value}"):
        read_header(raw)


@pytest.mark.parametrize("n", [(2**31 - 1,) * 3, (2**20, 2**20, 1), (70000, 70000, 70000)], ids=str)
def test_size_beyond_the_file(n: tuple[int, int, int]) -> None:
    nx, ny, nz = n
    for form, truncated in product(FORMS.values(), ("raise", "sections")):
        raw = lay(form).with_fields(nx=nx, ny=ny, nz=nz)
        with pytest.raises(MrcTruncatedError, match=rf"{nx} x {ny} x {nz}"):
            open_mrc(raw, truncated=truncated)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (5, "CCP4"),
        (7, "MotionCor"),
        (8, "MRCZ"),
        (9, "unknown"),
        (13, "unknown"),
        (17, "EMAN2"),
        (100, "unknown"),
        (102, "unknown"),
        (-1, "unknown"),
        (2002, "MRCZ (method 2)"),
        (6001, "MRCZ (method 6)"),
    ],
)
def test_mode_that_is_none(mode: int, words: str, order: str) -> None:
    raw = lay("int8", order=order).with_fields(mode=mode)
    with pytest.raises(MrcModeError) as caught:
        open_mrc(raw)
    message = str(caught.value)
    assert f"mode is {mode} ({words}" in message or f"mode is {mode} (" in message
    assert words in message
    assert "expected one of 0, 1, 2, 3, 4, 6, 12, 16, 101" in message
    assert isinstance(caught.value, MrcHeaderError | ValueError)
    # The header can be looked at all the same.
    assert read_header(raw).mode == mode


@pytest.mark.parametrize("order", ORDERS)
def test_extended_header_that_can_not_be(order: str) -> None:
    laid = lay("int16", order=order)
    for nsymbt in (-1, -80, -(2**31)):
        with pytest.raises(MrcHeaderError, match=rf"nsymbt, .* is {nsymbt}, expected 0 or more"):
            open_mrc(laid.with_fields(nsymbt=nsymbt))
    # One byte more than there is behind the header (exactly the data would be missing symmetry).
    raw = laid.raw + b"\0"
    after = len(raw) - 1024
    for nsymbt in (after + 1, 2**31 - 1):
        message = rf"nsymbt, .* is {nsymbt} bytes, but the file has only {after} after its header"
        for truncated in ("raise", "sections"):
            with pytest.raises(MrcTruncatedError, match=message):
                open_mrc(put(raw, order, nsymbt=nsymbt), truncated=truncated)


@pytest.mark.parametrize("nsymbt", [80, 320, 100_000])
def test_symmetry_records_that_are_absent(nsymbt: int) -> None:
    for order, form in product(ORDERS, FORMS.values()):
        laid = lay(form, order=order, ispg=4, nversion=0)
        dataset, message = open_warned(laid.with_fields(nsymbt=nsymbt))
        assert f"nsymbt says {nsymbt} bytes" in message
        assert "1024" in message
        assert_pixels(dataset.data, laid.pixels)
        assert "mrc_symmetry" not in dataset.data.attrs


# In a compressed file the size does not tell, until it was read through; the bytes must.
@pytest.mark.parametrize(
    "which",
    [
        "common",
        "all",
        "raw",
        "none",
    ],
)
def test_absent_symmetry_of_a_compressed_file(which: str) -> None:
    laid = lay(ispg=4, nversion=0)
    raw = gzip.compress(laid.with_fields(nsymbt=80))
    dataset, _ = open_warned(raw, extended_header=which)
    assert_pixels(dataset.data[0], laid.pixels[0])
    assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize(
    "fields",
    [
        {"extended": b"X,Y,Z".ljust(80), "ispg": 4},
        {"extended": b"X,Y,Z".ljust(80), "ispg": 4, "exttyp": b"CCP4"},
        {"extended": bytes(range(1, 5)) + bytes(1020), "exttyp": b"SERI", "nint": 2, "nreal": 1},
        {"extended": b"\x01\x02" * 512},
    ],
    ids=("unnamed", "CCP4", "SERI", "opaque"),
)
def test_file_cut_off_by_the_size_of_its_extended_header(fields: dict[str, Any]) -> None:
    # It is as long as a file without one; but the extended header is there, the last bytes not.
    laid = lay("int16", "image_stack", lengths=(32, 32, 2), **fields)
    with pytest.raises(MrcTruncatedError):
        open_mrc(laid.raw[: -len(fields["extended"])])


def test_symmetry_records() -> None:
    operators = ("X,Y,Z", "-X,Y+1/2,-Z")
    extended = b"".join(text.encode().ljust(80) for text in operators)
    for exttyp in (b"CCP4", b"\0\0\0\0", b"MRCO"):
        laid = lay("int16", extended=extended, exttyp=exttyp, ispg=4)
        dataset = open_mrc(laid.raw)
        assert dataset.data.attrs["mrc_symmetry"] == "X,Y,Z\n-X,Y+1/2,-Z"
        assert_pixels(dataset.data, laid.pixels)


@pytest.mark.parametrize("order", ORDERS)
def test_deltavision(order: str) -> None:
    for form in ("int16", "uint16", "float32"):
        laid = lay(form, order=order, creatid=-16224, map_id=bytes(4), machst=bytes(4))
        for opener in (open_mrc, read_header):
            with pytest.raises(MrcFormatError, match=r"DeltaVision .* -16224 .* no 'MAP '"):
                opener(laid.raw)
        # MotionCor and AreTomo write the same id into MRC files.
        for map_id in (b"MAP ", b"MAP\0"):
            raw = laid.with_fields(map_id=map_id)
            assert_pixels(open_mrc(raw).data, laid.pixels)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(2048),
        b"\xff" * 2048,
        b"\x89PNG\r\n\x1a\n".ljust(2048, b"\x01"),
        b"II*\0\x08\0\0\0".ljust(2048, b"\0"),
        bytes(range(256)) * 8,
        b"The quick brown fox jumps over the lazy dog. " * 50,
        struct.pack("<256f", *np.linspace(-3, 3, 256)) * 2,
    ],
    ids=("zeros", "ones", "png", "tiff", "counting", "text", "floats"),
)
def test_other_files(raw: bytes) -> None:
    with pytest.raises(MrcError) as caught:
        open_mrc(raw)
    assert "<bytes>: " in str(caught.value)
    assert "this is not an MRC file" in str(caught.value) or "expected" in str(caught.value)


# Attributes and options ------------------------------------------------------------------------


def test_first_row_at_the_top() -> None:
    def y_origin(**fields: Any) -> str | None:
        dataset = open_mrc(lay("int16", "image", **fields).raw, extended_header="none")
        found: str | None = dataset.data.attrs.get("mrc_y_origin")
        return found

    for exttyp in (b"FEI1", b"FEI2"):
        assert y_origin(exttyp=exttyp, nversion=20140) == "top"
        assert y_origin(exttyp=exttyp, nversion=20141) is None
        assert y_origin(exttyp=exttyp, nversion=20140, imod_stamp=IMOD, imod_flags=4) is None
    assert y_origin(exttyp=b"SERI", nversion=20140) is None


def test_exttyp_that_is_no_text() -> None:
    for exttyp, expected in ((b"\xcd" * 4, None), (b"\0\0\0\0", None), (b"HKL ", "HKL")):
        attrs = open_mrc(lay("int16", exttyp=exttyp).raw).data.attrs
        assert attrs.get("mrc_exttyp") == expected


@pytest.mark.parametrize("nversion", [0, 1184716800, -842150451, 20139])
def test_version_that_is_none(nversion: int) -> None:
    assert "mrc_nversion" not in open_mrc(lay("int16", nversion=nversion).raw).data.attrs


@pytest.mark.parametrize(
    "options",
    [
        {"origin": "nstrat"},
        {"coords": "phsyical"},
        {"truncated": "section"},
        {"extended_header": "commmon"},
        {"kind": "stack"},
    ],
    ids=named,
)
def test_option_that_is_none(options: dict[str, str]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=rf"{name}='{value}'"):
        open_mrc(lay("int16").raw, **options)
