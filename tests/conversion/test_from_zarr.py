"""From Zarr back to MRC: what was read is there again, whichever way it went."""

from __future__ import annotations

import os
import struct
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
import zarr
from mrcbytes import KINDS, lay
from xarray.testing import assert_identical

from xarray_mrc import MrcWarning, convert, read_header
from xarray_mrc.conversion import grid as grids
from xarray_mrc.conversion import zarr as groups
from xarray_mrc.dataset.conventions import data_variable

# The pixels of the forms hold nan and infinite values on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*values, which many programs")

LABELS = (b"made by hand", b"and described")
# What a header says of the specimen and of the sampling; dims, mode and statistics follow the data.
FACTS = (
    "n", "m", "cella", "cellb", "ispg", "mode", "origin", "nstart", "voxel_size",
)  # fmt: skip


FORMS_OF_NUMPY = ("int8", "int16", "uint16", "float16", "float32", "complex64", "rgb")


def open_file(path, **options):
    return xr.open_dataset(path, engine="mrc", **options)


def assert_back(found, path):
    """Assert that one file says what another says, apart from the label of who wrote it."""
    expected, back = open_file(path), open_file(found)
    labels = back["data"].attrs["mrc_labels"].split("\n")
    assert len(labels) == len(LABELS) + 1
    back["data"].attrs["mrc_labels"] = "\n".join(labels[:-1])
    assert_identical(back.load(), expected.load())
    assert back["data"].values.tobytes() == expected["data"].values.tobytes()
    ours, theirs = read_header(found), read_header(path)
    assert [getattr(ours, name) for name in FACTS] == [getattr(theirs, name) for name in FACTS]


def laid_for(form, kind):
    # Images say nothing of a place along z, nor of a distance.
    sections, deep = {"image": (1, 0), "image_stack": (3, 0)}.get(kind, (7, 5))
    voxel = ("1.35", "2.5", "0.875" if deep else "1.35")
    return lay(
        form, kind, labels=LABELS, lengths=(6, 5, sections), voxel=voxel, nstart=(3, -2, deep)
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("way", ["convert", "methods"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS_OF_NUMPY)
def test_there_and_back(tmp_path, form, kind, way, zarr_format):
    path, group, back = tmp_path / "a.mrc", tmp_path / "a.zarr", tmp_path / "b.mrc"
    path.write_bytes(laid_for(form, kind).raw)
    if way == "convert":
        convert(path, group, zarr_format=zarr_format)
        convert(group, back)
    else:
        open_file(path).to_zarr(group, zarr_format=zarr_format, consolidated=True)
        xr.open_zarr(group).mrc.to_mrc(back)
    assert_back(back, path)


def fei_records(count):
    records = bytearray(768 * count)
    for i in range(count):
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 << 7 | 1 << 22)
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
        struct.pack_into("<d", records, 768 * i + 220, -4e-6)
    return bytes(records)


@pytest.mark.parametrize("name", ["b.mrc", "b.mrc.gz"])
def test_options_of_reading(tmp_path, name):
    # The extended header comes along, though its bytes are no part of a dataset.
    laid = lay(
        "uint8", "image_stack", lengths=(5, 4, 3), extended=fei_records(3), exttyp=b"FEI1",
        labels=LABELS, voxel=("1.35", "1.35", "1.35"),
    )  # fmt: skip
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    convert(tmp_path / "a.mrc", tmp_path / name, signed=True)
    found = open_file(tmp_path / name)
    expected = open_file(tmp_path / "a.mrc", signed=True)
    assert found["data"].dtype == np.int8
    np.testing.assert_array_equal(found["data"], expected["data"])
    assert found["tilt_angle"].values.tolist() == [-3, 0, 3]


def test_options_of_reading_what_is_no_path(tmp_path):
    laid = lay(
        "int8", "image_stack", lengths=(5, 4, 3), extended=fei_records(3), exttyp=b"FEI1",
        labels=LABELS,
    )  # fmt: skip
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    with (tmp_path / "a.mrc").open("rb") as file:
        for src in (laid.raw, file):
            convert(src, tmp_path / "b.mrc", kind="image_stack", overwrite=True)
            raw = (tmp_path / "b.mrc").read_bytes()
            assert raw[1024:] == laid.raw[1024:]
            assert open_file(tmp_path / "b.mrc")["tilt_angle"].values.tolist() == [-3, 0, 3]


def warns_of_defocus():
    # SerialEM's records, which describe the sections of a new file, have no defocus.
    return pytest.warns(MrcWarning, match="defocus of the sections will not be written")


@pytest.mark.parametrize("src", ["a.mrc", "a.mrc.gz", "a.zarr"])
def test_another_data_type(tmp_path, src):
    laid = lay(
        "uint8", "image_stack", lengths=(5, 4, 3), extended=fei_records(3), exttyp=b"FEI1",
        labels=LABELS, voxel=("1.35", "1.35", "1.35"),
    )  # fmt: skip
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    if src != "a.mrc":
        convert(tmp_path / "a.mrc", tmp_path / src)
    for arguments, mode in (
        ({"dtype": "float32"}, 2),
        ({"dtype": np.int16}, 1),
        ({"mode": 0}, 0),
        ({"mode": 12}, 12),
        ({"mode": 2, "dtype": "f4"}, 2),
    ):
        with warns_of_defocus() if src == "a.zarr" else nullcontext():
            convert(tmp_path / src, tmp_path / "b.mrc", overwrite=True, **arguments)
        assert read_header(tmp_path / "b.mrc").mode == mode
        found = open_file(tmp_path / "b.mrc")
        np.testing.assert_array_equal(found["data"], laid.pixels)
        assert found["x"].values.tolist() == laid.positions("x")
        assert found["tilt_angle"].values.tolist() == [-3, 0, 3]
        assert read_header(tmp_path / "b.mrc").labels[:2] == ("made by hand", "and described")
    with pytest.raises(ValueError, match="whole numbers from -128 to 127"):
        convert(tmp_path / src, tmp_path / "c.mrc", dtype="int8")
    with pytest.raises(ValueError, match="mode=2 holds float32, but dtype=int16"):
        convert(tmp_path / src, tmp_path / "c.mrc", dtype="int16", mode=2)
    assert not (tmp_path / "c.mrc").exists()


def save_tilts(folder, tilts, **fields):
    """Lay down a tilt series with SerialEM's records of tilt angles, which have 0.01 degree."""
    records = struct.pack(f"<{len(tilts)}h", *[round(100 * tilt) for tilt in tilts])
    laid = lay(
        "int16", "image_stack", lengths=(6, 5, len(tilts)), extended=records.ljust(1024, b"\0"),
        exttyp=b"SERI", nint=2, nreal=1, labels=LABELS, voxel=("1.35", "1.35", "1.35"), **fields,
    )  # fmt: skip
    (folder / "a.mrc").write_bytes(laid.raw)
    return laid


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("tilts", [(-3.25, 0, 3.5), (60.01, -60.01), (12.5,)])
def test_metadata_of_sections(tmp_path, tilts, zarr_format):
    save_tilts(tmp_path, tilts)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr", zarr_format=zarr_format, kind="image_stack")
    read_back_as_image = pytest.warns(MrcWarning, match="will be read as image")
    with read_back_as_image if len(tilts) == 1 else nullcontext():
        convert(tmp_path / "a.zarr", tmp_path / "b.mrc")
    assert read_header(tmp_path / "b.mrc").exttyp == b"SERI"
    expected = open_file(tmp_path / "a.mrc", kind="image_stack")
    found = open_file(tmp_path / "b.mrc", kind="image_stack")
    assert found["tilt_angle"].values.tolist() == list(tilts)
    assert {*found.coords} == {*expected.coords}
    for name in expected.coords:
        xr.testing.assert_identical(found[name], expected[name])
    np.testing.assert_array_equal(found["data"], expected["data"])


def test_metadata_of_sections_in_another_order(tmp_path):
    tilts = (0, 3.0, -3.0, 6.0, -6.0)
    laid = save_tilts(tmp_path, tilts)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr")
    ordered = xr.open_zarr(tmp_path / "a.zarr").sortby("tilt_angle").isel(image=slice(1, None))
    ordered.drop_encoding().to_zarr(tmp_path / "b.zarr", consolidated=True)
    convert(tmp_path / "b.zarr", tmp_path / "b.mrc")
    found = open_file(tmp_path / "b.mrc")
    assert found["tilt_angle"].values.tolist() == [-3, 0, 3, 6]
    np.testing.assert_array_equal(found["data"], laid.pixels[[2, 0, 1, 3]])


@pytest.mark.parametrize("sidecar", ["mdoc", "rawtlt"])
@pytest.mark.parametrize("src", ["a.mrc", "a.zarr"])
def test_sidecar_of_the_target(tmp_path, sidecar, src):
    save_tilts(tmp_path, (-3.25, 0, 3.5))
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr")
    convert(tmp_path / src, tmp_path / "b.mrc", sidecar=sidecar)
    (found,) = tmp_path.glob(f"b*.{sidecar}")
    assert "-3.25" in found.read_text("ascii")
    assert open_file(tmp_path / "b.mrc")["tilt_angle"].values.tolist() == [-3.25, 0, 3.5]


@pytest.mark.parametrize("kind", KINDS)
def test_no_voxel_size(tmp_path, kind):
    laid = lay("int16", kind, voxel=None)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr")
    convert(tmp_path / "a.zarr", tmp_path / "b.mrc")
    found = open_file(tmp_path / "b.mrc")
    assert found["data"].dims == laid.dims
    assert not found.coords.keys() & {"x", "y", "z"}
    assert read_header(tmp_path / "b.mrc").cella == (0, 0, 0)
    assert found["data"].attrs["mrc_kind"] == kind


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bytes_of_records_and_keys_of_a_sidecar(tmp_path, zarr_format):
    records = struct.pack("<6h", 100, 1, 200, 2, 300, 3)
    fields = {"exttyp": b"SERI", "nint": 4, "nreal": 1 | 8}
    laid = lay("int16", "image_stack", lengths=(5, 4, 3), extended=records, **fields)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr", extended_header="raw", zarr_format=zarr_format)
    convert(tmp_path / "a.zarr", tmp_path / "b.mrc")
    back = (tmp_path / "b.mrc").read_bytes()
    assert back[1024:1036] == records
    assert back[2048:] == laid.raw[1036:]
    text = "".join(f"[ZValue = {n}]\nTiltAngle = {n}\nSpotSize = {8 - n}\n\n" for n in range(3))
    (tmp_path / "a.mrc.mdoc").write_text(f"Voltage = 300\n\n{text}")
    convert(tmp_path / "a.mrc", tmp_path / "c.zarr", extended_header="all", zarr_format=zarr_format)
    with pytest.warns(MrcWarning, match="spot_size of the sections will not be written"):
        convert(tmp_path / "c.zarr", tmp_path / "c.mrc", sidecar="rawtlt")
    convert(tmp_path / "c.zarr", tmp_path / "d.mrc", sidecar="mdoc")
    assert (tmp_path / "d.mrc.mdoc").read_text().startswith("Voltage = 300\n\n[ZValue = 0]\n")
    assert open_file(tmp_path / "d.mrc", extended_header="all").spot_size.values.tolist() == [
        8,
        7,
        6,
    ]


def test_what_is_cut_off(tmp_path):
    laid = lay("int16", "image_stack", lengths=(5, 4, 3), extended=b" " * 80, exttyp=b"MRCO")
    (tmp_path / "a.mrc").write_bytes(laid.raw[:-2])
    with pytest.warns(MrcWarning, match="cut off"):
        convert(tmp_path / "a.mrc", tmp_path / "b.mrc", truncated="sections")
    assert (tmp_path / "b.mrc").read_bytes()[1024:] == laid.raw[1024:-40]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_blocks_are_bounded(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(grids, "REGION_NBYTES", 100_000)
    laid = lay("int16", lengths=(70, 66, 65), labels=LABELS)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr", chunks={"z": 16, "y": 32, "x": 32})
    chunks = data_variable(groups.open_group(str(tmp_path / "a.zarr"))).chunks
    assert np.prod([axis[0] for axis in chunks]) * 2 <= 100_000
    assert [len(axis) for axis in chunks] == [5, 3, 1]
    assert all(stop <= start for axis in chunks for start, stop in pairwise(axis))
    convert(tmp_path / "a.zarr", tmp_path / f"b.mrc{suffix}")
    assert_back(tmp_path / f"b.mrc{suffix}", tmp_path / "a.mrc")


def test_a_number_that_means_missing_is_named(tmp_path):
    # zarr-python gives arrays of format 2 the fill value 0, which xarray reads as missing.
    values = np.arange(24, dtype="i2").reshape(2, 3, 4)
    dataset = xr.Dataset({"data": (("z", "y", "x"), values)})
    dataset.to_zarr(
        tmp_path / "a.zarr", zarr_format=2, encoding={"data": {"_FillValue": 0}}, consolidated=True
    )
    with pytest.warns(MrcWarning, match="fill value 0 of 'data'"):
        convert(tmp_path / "a.zarr", tmp_path / "a.mrc")
    wanted = np.where(values == 0, np.float32("nan"), values)
    np.testing.assert_array_equal(open_file(tmp_path / "a.mrc")["data"], wanted)


def test_a_group_of_another(tmp_path):
    # Without shards or attributes, and with a variable of another name.
    values = np.arange(24, dtype="i2").reshape(2, 3, 4)
    dataset = xr.Dataset({"density": (("z", "y", "x"), values)})
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    convert(tmp_path / "a.zarr", tmp_path / "a.mrc")
    assert open_file(tmp_path / "a.mrc")["data"].values.tobytes() == values.tobytes()


# zarr 3.0 warns of strings, which are no part of the standard.
@pytest.mark.filterwarnings("ignore:The (codec|dtype) .* is currently not part:UserWarning")
def test_other_variables_are_left_alone(tmp_path):
    # They have chunks and missing values of their own.
    values = np.arange(24, dtype="i2").reshape(2, 3, 4)
    dataset = xr.Dataset(
        {"data": (("z", "y", "x"), values), "mask": (("z", "y", "x"), values), "day": 3.5},
        {"name": ("z", np.array(["first", "second"], object))},
    )
    encoding = {"data": {"chunks": (2, 3, 2)}, "mask": {"chunks": (1, 1, 1), "_FillValue": 3}}
    dataset.to_zarr(tmp_path / "a.zarr", encoding=encoding, consolidated=False)
    assert data_variable(groups.open_group(str(tmp_path / "a.zarr"))).chunks == ((2,), (3,), (4,))
    with pytest.warns(MrcWarning, match="the coordinates name will not be written"):
        convert(tmp_path / "a.zarr", tmp_path / "a.mrc.gz")
    assert open_file(tmp_path / "a.mrc.gz")["data"].values.tobytes() == values.tobytes()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("names", [None, ("z", "y", "x")])
def test_a_group_that_is_no_dataset(tmp_path, names, zarr_format):
    # As in OME-Zarr, whose levels have different sizes.
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    for level in range(2):
        array = group.create_array(
            str(level),
            shape=(4 >> level,) * 3,
            dtype="f4",
            dimension_names=names if zarr_format == 3 else None,
        )
        if names and zarr_format == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = names
    with pytest.raises(ValueError, match=r"a\.zarr is a Zarr group, but not .* call to_mrc"):
        convert(tmp_path / "a.zarr", tmp_path / "a.mrc")
    assert os.listdir(tmp_path) == ["a.zarr"]
