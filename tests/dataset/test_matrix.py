"""Every mode, byte order, axis order and kind; the rules of kinds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from engine import (
    FILE_AXES,
    assert_index,
    assert_pixels,
    kind_of,
    named,
    open_mrc,
    open_warned,
    save,
)
from mrcbytes import AXES, FORMS, IMOD, KINDS, ORDERS, STAMPS, Form, Laid, lay

from xarray_mrc import (
    MrcHeaderError,
)

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
