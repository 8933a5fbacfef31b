"""What an opened file saves to as it is: Zarr, netCDF4 and h5netcdf."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import xarray as xr
from mrcbytes import FORMS, KINDS, Laid, lay
from opened import WRITERS, can_hold, open_file, read, save, write
from xarray.testing import assert_equal, assert_identical


def simple(value) -> bool:
    if type(value) is list:
        return len({type(item) for item in value}) == 1 and all(
            type(item) in (str, int, float) for item in value
        )
    return type(value) in (str, int, float)


def full(form="float32", kind="volume", **options) -> Laid:
    """Lay down a file whose header says as much as it can."""
    labels = tuple(f"label {i}".encode() for i in range(10))
    return lay(
        form, kind, labels=labels, nstart=(1, 2, 3), origin=(1.5, -2.25, 3.1),
        cellb=(90.0, 90.0, 120.0), imod_stamp=1146047817, imod_flags=7, exttyp=b"CCP4",
        extended=b"X,Y,Z".ljust(80), **options,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2)])
def test_types_of_attributes(tmp_path, kind, axes):
    if kind != "volume" and axes != (1, 2, 3):
        pytest.skip("only maps have other axes")
    dataset = open_file(save(tmp_path / "full.mrc", full(kind=kind, axes=axes)))
    variables = {**dataset.variables}
    assert not dataset.attrs
    for name, variable in variables.items():
        assert all(simple(value) for value in variable.attrs.values()), (name, variable.attrs)
    attrs = dataset["data"].attrs
    assert all(name.startswith("mrc_") for name in attrs)
    assert attrs["mrc_labels"].split("\n") == [f"label {i}" for i in range(10)]
    encoding = dataset["data"].encoding
    assert encoding.keys() == {"source", "preferred_chunks", "mrc_mode", "mrc_byteorder"}
    assert (encoding["mrc_mode"], encoding["mrc_byteorder"]) == (2, "<")
    assert encoding["source"] == dataset.encoding["source"] == str(tmp_path / "full.mrc")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_saving(tmp_path, form, writer):
    laid = full(form, order=">") if form.flags is None else lay(form, order=">")
    dataset = open_file(save(tmp_path / "file.mrc", laid))
    if not can_hold(writer, form):
        with pytest.raises((TypeError, ValueError)):
            write(dataset, writer, tmp_path / "out")
        return
    write(dataset, writer, tmp_path / "out")
    found = read(writer, tmp_path / "out")
    assert_identical(found, dataset)
    assert found["data"].dtype == laid.pixels.dtype
    assert found["data"].values.tobytes() == laid.pixels.tobytes()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_saving_chunks(tmp_path, kind, writer):
    laid = full("int16", kind)
    path = save(tmp_path / "file.mrc", laid)
    dataset = open_file(path, chunks={}, preferred_chunks={"y": 2})
    write(dataset, writer, tmp_path / "out")
    assert_identical(read(writer, tmp_path / "out"), open_file(path))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("chunks", [None, {}])
def test_what_is_derived_is_saved_whole(tmp_path, chunks, writer):
    # A dtype in the encoding, as other engines set it, would cut these down to integers.
    laid = lay("int16", lengths=(7, 6, 5))
    dataset = open_file(save(tmp_path / "file.mrc", laid), chunks=chunks)
    doubled = xr.concat([dataset, dataset * 1.25], "run")
    assert doubled["data"].dtype.kind == "f"
    write(doubled, writer, tmp_path / "concat")
    found = read(writer, tmp_path / "concat")["data"]
    assert found.dtype == doubled["data"].dtype
    np.testing.assert_array_equal(found[1], laid.pixels * 1.25)
    with xr.set_options(keep_attrs=True):
        halves = dataset.coarsen(z=2, y=2, x=2, boundary="trim").mean()
    write(halves, writer, tmp_path / "halves")
    assert_identical(read(writer, tmp_path / "halves"), halves.compute())
    wide = dataset.astype("f8") / 3
    write(wide, writer, tmp_path / "wide")
    assert_identical(read(writer, tmp_path / "wide"), wide.compute())


def fei_records(count: int) -> bytes:
    """Lay down FEI1 records in which every field is set."""
    records = bytearray(768 * count)
    for i in range(count):
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 << 7 | 1 << 22)
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
        struct.pack_into("<d", records, 768 * i + 220, -4e-6)
    return bytes(records)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("which", ["common", "all", "raw"])
def test_saving_an_extended_header(tmp_path, writer, which):
    laid = lay(kind="image_stack", lengths=(5, 4, 3), extended=fei_records(3), exttyp=b"FEI1")
    dataset = open_file(save(tmp_path / "tilts.mrc", laid), extended_header=which)
    if which != "raw":
        assert dataset["tilt_angle"].values.tolist() == [-3, 0, 3]
        by_angle = dataset.swap_dims(image="tilt_angle")
        assert_equal(by_angle.sel(tilt_angle=3), dataset.isel(image=2))
    write(dataset, writer, tmp_path / "out")
    assert_identical(read(writer, tmp_path / "out"), dataset)
