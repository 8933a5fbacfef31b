"""extended_header="raw": the bytes of a record stay with their image, whoever wrote them."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
import xarray as xr
from extended_records import FULL, agard_record, fei_record, lines, seri_bytes
from mrcbytes import get, lay

from xarray_mrc import MrcWarning, append, open_mrc, to_mrc, write_stack

TILTS = (-3.0, 0.0, 3.5)


def fei(size: int) -> tuple[list[bytes], dict]:
    made = [fei_record(size, "<", n, timestamp=4e4, alpha_tilt=t) for n, t in enumerate(TILTS)]
    return [raw for raw, _ in made], {"exttyp": b"FEI2" if size == 888 else b"FEI1"}


def serialem() -> tuple[list[bytes], dict]:
    raw, nint = seri_bytes("<", 0b100111, 3)
    fields = {"exttyp": b"SERI", "nint": nint, "nreal": 0b100111}
    return [raw[n * nint : (n + 1) * nint] for n in range(3)], fields


def agard(exttyp: bytes = b"AGAR") -> tuple[list[bytes], dict]:
    return [agard_record("<", alpha=tilt, **FULL) for tilt in TILTS], {
        "exttyp": exttyp, "nint": 128, "nreal": 32,
    }  # fmt: skip


RECORDS = {
    "FEI1": (*fei(768), 1024 * 768),
    "FEI2": (*fei(888), 3 * 888),
    "SERI": (*serialem(), 1024),
    "AGAR": (*agard(), 131072),  # NINT in bytes, which its length gives away
    "old FEI": (*agard(b"\0\0\0\0"), 131072),
}


def raw_dataset(path, **options) -> xr.Dataset:
    return xr.open_dataset(path, engine="mrc", extended_header="raw", **options).load()


def write_quietly(ds, path, **options) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_mrc(ds, path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("through", ["memory", "zarr 2", "zarr 3", "netcdf"])
@pytest.mark.parametrize("name", RECORDS)
def test_records_go_with_their_images(tmp_path, name, through):
    records, fields, nbytes = RECORDS[name]
    extended = b"".join(records).ljust(nbytes, b"\x7f" if name == "FEI1" else b"\0")
    laid = lay("int16", "image_stack", lengths=(5, 4, 3), extended=extended, **fields)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    ds = raw_dataset(tmp_path / "a.mrc", kind="image_stack")
    assert ds.extended_header.dims == ("image", "extended_header_byte")
    assert [row.tobytes() for row in ds.extended_header.values] == records
    ds = ds.isel(image=[2, 0])
    if through.startswith("zarr"):
        ds.to_zarr(tmp_path / "a.zarr", zarr_format=int(through[-1]), consolidated=False)
        ds = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    elif through == "netcdf":
        ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        ds = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    twice = xr.concat([ds, ds.isel(image=[1])], "image")
    raw = write_quietly(twice, tmp_path / "b.mrc")
    wanted = b"".join(records[n] for n in (2, 0, 0))
    assert raw[1024 : 1024 + len(wanted)] == wanted
    assert not any(raw[1024 + len(wanted) : 1024 + get(raw, "<", "nsymbt")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_mrc(tmp_path / "b.mrc", chunks=None).load()
        before = open_mrc(tmp_path / "a.mrc", chunks=None, kind="image_stack").load()
    assert found.dims == ("image", "y", "x")
    xr.testing.assert_equal(
        found.drop_vars("section"), before.isel(image=[2, 0, 0]).drop_vars("section")
    )


def test_one_image(tmp_path):
    (record, *_), fields = fei(768)
    extended = record.ljust(1024 * 768, b"\x7f")
    laid = lay("int16", "image", lengths=(5, 4, 1), extended=extended, **fields)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    ds = raw_dataset(tmp_path / "a.mrc")
    assert ds.extended_header.values.tobytes() == record
    raw = write_quietly(ds, tmp_path / "b.mrc")
    assert raw[1024:1792] == record
    both = xr.concat([ds, ds], "image")
    assert both.extended_header.dims == ("extended_header_byte",)  # equal, so it stays one
    with pytest.warns(MrcWarning, match="it has the record of one image, and several are written"):
        to_mrc(both, tmp_path / "c.mrc")


OPAQUE = {
    "CCP4": (b"CCP4", lines("X,Y,Z", "-X,Y+1/2,-Z")),
    "JSON": (b"JSON", b'{"a": 1}'),
    "HDF5": (b"HDF5", b"\x89HDF\r\n\x1a\n" + bytes(range(100))),
    "MRCO": (b"MRCO", bytes(80)),
    "unknown": (b"\xcd\xcd\xcd\xcd", b"\xcd" * 99),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_bytes_that_are_no_records(tmp_path, name):
    exttyp, extended = OPAQUE[name]
    fields = {"exttyp": exttyp, "ispg": 4, "extended": extended}
    (tmp_path / "a.map").write_bytes(lay("int16", "volume", lengths=(5, 4, 3), **fields).raw)
    ds = raw_dataset(tmp_path / "a.map")
    assert ds.extended_header.dims == ("extended_header_byte",)
    ds.to_zarr(tmp_path / "a.zarr", consolidated=False)
    ds = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert ds.extended_header.values.tobytes() == extended
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(ds, tmp_path / "b.map")
    raw = (tmp_path / "b.map").read_bytes()
    if name == "CCP4":  # the cell of the crystal is not known any more
        assert "symmetry is that of space group 4" in str(caught[0].message)
        assert get(raw, "<", "nsymbt") == 0
    else:
        assert raw[1024 : 1024 + len(extended)] == extended
        assert get(raw, "<", "exttyp") == exttyp


def test_records_that_do_not_belong_to_the_data(tmp_path):
    records, fields = serialem()
    angles = struct.pack(">3h", 100, 200, 300)
    laid = lay("int16", "image_stack", ">", lengths=(5, 4, 3), extended=angles,
               exttyp=b"SERI", nint=2, nreal=1)  # fmt: skip
    (tmp_path / "big.mrc").write_bytes(laid.raw)
    ds = raw_dataset(tmp_path / "big.mrc")
    with pytest.warns(MrcWarning, match="numbers are big endian, and little endian is written"):
        to_mrc(ds, tmp_path / "b.mrc")
    laid = lay("int16", "image_stack", lengths=(5, 4, 3), extended=b"".join(records), **fields)
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    ds = raw_dataset(tmp_path / "a.mrc")
    other = ds.assign_coords(tilt_angle=("image", [1.0, 2.0, 3.0]))
    with pytest.warns(MrcWarning, match="its tilt angles are not those of the data"):
        to_mrc(other, tmp_path / "c.mrc")
    assert open_mrc(tmp_path / "c.mrc").tilt_angle.values.tolist() == [1, 2, 3]
    for odd in (ds.extended_header.astype("f4"), ds.extended_header.drop_attrs()):
        with pytest.warns(MrcWarning, match="not bytes with the attributes"):
            to_mrc(ds.assign_coords(extended_header=odd), tmp_path / "d.mrc", overwrite=True)


def test_a_data_array_cannot_hold_them(tmp_path):
    (tmp_path / "a.mrc").write_bytes(lay("int16").raw)
    with pytest.raises(ValueError, match=r"extended_header='raw' .* xarray.open_dataset"):
        open_mrc(tmp_path / "a.mrc", extended_header="raw")


def test_records_of_two_lengths_are_put_in_order_by_like(tmp_path):
    records = [fei_record(size, "<", n, timestamp=4e4, alpha_tilt=t)[0]
               for n, (size, t) in enumerate(zip((888, 768, 888), TILTS, strict=True))]  # fmt: skip
    extended = b"".join(records)
    laid = lay("int16", "image_stack", lengths=(5, 4, 3), extended=extended, exttyp=b"FEI2")
    (tmp_path / "a.mrc").write_bytes(laid.raw)
    array = open_mrc(tmp_path / "a.mrc", chunks=None).load()[::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_mrc(array, tmp_path / "b.mrc", like=tmp_path / "a.mrc")
    raw = (tmp_path / "b.mrc").read_bytes()
    assert raw[1024 : 1024 + len(extended)] == b"".join(records[::-1])
    ds = raw_dataset(tmp_path / "a.mrc")
    assert np.array_equal(ds.extended_header, np.frombuffer(extended, "u1"))
    with pytest.warns(MrcWarning, match="does not show which record belongs to which image"):
        to_mrc(ds, tmp_path / "c.mrc")


@pytest.mark.parametrize("write", [append, write_stack])
def test_other_writers_name_them(tmp_path, write):
    records, fields, nbytes = RECORDS["FEI1"]
    path = tmp_path / "a.mrcs"
    extended = b"".join(records).ljust(nbytes, b"\0")
    path.write_bytes(
        lay("int16", "image_stack", lengths=(4, 3, 3), extended=extended, **fields).raw
    )
    dataset = raw_dataset(path)
    with pytest.warns(MrcWarning, match="extended_header, bytes of records, will not be written"):
        write(dataset, tmp_path / "b.mrcs", voxel_size=1.35)
