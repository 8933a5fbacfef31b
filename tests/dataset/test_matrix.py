"""Every mode, byte order, axis order and kind."""

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
    assert_pixels,
    open_mrc,
    save,
)
from mrcbytes import AXES, FORMS, KINDS, ORDERS, STAMPS, Form, Laid, lay

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
    attrs = {name: value for name, value in data.attrs.items() if name != "mrc_kind_source"}
    assert attrs == expected_attrs(form, kind, laid.axes)
    assert data.encoding["mrc_mode"] == form.mode
    assert data.encoding["mrc_byteorder"] == laid.order
    assert "dtype" not in data.encoding
    known = set(FILE_AXES) if laid.voxel is not None else set()
    assert set(dataset.coords) == set(laid.dims) & known
    for dim in dataset.coords:
        coord = dataset[dim]
        assert coord.attrs["axis"] == str(dim).upper()
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
