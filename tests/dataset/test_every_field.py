"""Every field of the records: extended_header="all", and the dataset of the extended header."""

from __future__ import annotations

import json
import struct
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from extended_records import (
    CORPUS,
    FULL,
    agard_record,
    fei_fields,
    fei_record,
    lines,
    ole,
    seri_bytes,
)
from mrcbytes import lay

from xarray_mrc import MrcWarning, open_mrc
from xarray_mrc.codec.extended import COMMON_UNITS
from xarray_mrc.dataset.section_coords import extended_dataset


def write(path: Any, extended: bytes, sections: int = 3, kind: str = "image_stack", **fields: Any):
    laid = lay(
        "int16", kind, lengths=(5, 4, sections), extended=extended,
        **{"nsymbt": len(extended), **fields},
    )  # fmt: skip
    path.write_bytes(laid.raw)
    return laid


def opened(path: Any, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_dataset(path, engine="mrc", extended_header="all", **options).load()


# What the names of the producer become, and the power of ten to the common unit.
OF_FEI = {
    "timestamp": ("timestamp", 0), "ht": ("acceleration_voltage", 0), "dose": ("dose", -20),
    "alpha_tilt": ("tilt_angle", 0), "beta_tilt": ("beta_tilt", 0), "x_stage": ("stage_x", 6),
    "y_stage": ("stage_y", 6), "z_stage": ("stage_z", 6),
    "tilt_axis_angle": ("tilt_axis_angle", 0), "pixel_size_x": ("pixel_size", 10),
    "defocus": ("defocus", 6), "magnification": ("magnification", 0),
    "integration_time": ("exposure_time", 0),
}  # fmt: skip


@pytest.mark.parametrize(("exttyp", "size"), [(b"FEI1", 768), (b"FEI2", 888)])
def test_every_field_of_fei(tmp_path, exttyp, size):
    made = [
        fei_record(size, "<", seed, timestamp=ole(f"2026-11-2{seed}T10:00"), application="EPU",
                   application_version="1.2")
        for seed in range(3)
    ]  # fmt: skip
    raw = b"".join(record for record, _ in made)
    write(tmp_path / "a.mrc", raw.ljust(1024 * size, b"\x7f"), exttyp=exttyp)
    ds = opened(tmp_path / "a.mrc")
    names = [name for code, name in fei_fields(size) if code != "#"][2:]
    for name in names:
        common, shift = OF_FEI.get(name, (name, 0))
        found = ds[common]
        assert found.dims == ("image",)
        values = [fields[name] for _, fields in made]
        if "time" in name and name.endswith(("timestamp", "time_stamp")):
            assert found.dtype == "M8[ns]"
        elif isinstance(values[0], str):
            assert found.values.tolist() == values
        else:
            np.testing.assert_allclose(found, np.array(values, "f8") * 10.0**shift, rtol=1e-14)
        if common in COMMON_UNITS:
            assert found.attrs.get("units", "") == COMMON_UNITS[common]
            assert name == common or name not in ds.coords  # once, under the common name
    assert ds.slit_width.attrs == {"long_name": "Slit width", "units": "eV"}
    assert {*ds.coords} == {OF_FEI.get(name, (name,))[0] for name in names} | {"section", "x", "y"}
    table = ds.mrc.extended_header()
    assert {*table.data_vars} == {*names}
    assert table.sizes == {"image": 3}
    assert table.x_stage.attrs == {"long_name": "X-Stage", "units": "m"}
    assert table.x_stage.values.tolist() == [fields["x_stage"] for _, fields in made]
    assert table.attrs == {"mrc_extended_header": exttyp.decode()}


def test_masks_of_fei(tmp_path):
    """A field that is valid nowhere is absent, and nan or empty where it is not valid."""
    seen = {"1": 1 << 7 | 1 << 2, "2": 1 << 1 | 1 << 6}
    made = [
        fei_record(768, "<", 1, seen, alpha_tilt=3.0, d_number="D1", spot_index=9),
        fei_record(768, "<", 2, {"1": 1 << 7}, alpha_tilt=6.0, d_number="D2", spot_index=8),
    ]
    write(tmp_path / "a.mrc", b"".join(raw for raw, _ in made), sections=2, exttyp=b"FEI1")
    ds = opened(tmp_path / "a.mrc")
    assert {*ds.coords} == {
        "tilt_angle", "d_number", "spot_index", "wide_convergence_angle_range", "section", "x", "y",
    }  # fmt: skip
    assert ds.tilt_angle.values.tolist() == [3, 6]
    assert ds.d_number.values.tolist() == ["D1", ""]
    np.testing.assert_array_equal(ds.spot_index, [9, np.nan])
    assert np.isnan(ds.wide_convergence_angle_range.values[1])


def test_every_field_of_serialem(tmp_path):
    raw, nint = seri_bytes("<", 2047, 3)
    write(tmp_path / "a.mrc", raw, exttyp=b"SERI", nint=nint, nreal=2047)
    ds = opened(tmp_path / "a.mrc")
    assert {*ds.coords} - {"x", "y", "section"} == {
        "tilt_angle", "piece_x", "piece_y", "piece_z", "stage_x", "stage_y", "magnification",
        "intensity", "dose",
    }  # fmt: skip
    assert ds.intensity.values.tolist() == [(12501 + i) / 25000 for i in range(3)]
    assert ds.mrc.extended_header().exposure_dose.values.tolist() == [2.75, 2.875, 3.0]
    # SerialEM's records hold all of them.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds[["data"]].isel(image=[2, 0]).mrc.to_mrc(tmp_path / "b.mrc")
    again = opened(tmp_path / "b.mrc")
    xr.testing.assert_equal(again.drop_vars("section"), ds.isel(image=[2, 0]).drop_vars("section"))


def test_a_sidecar_is_advised_for_what_it_can_hold(tmp_path):
    raw = struct.pack("<3h", -300, 0, 300)
    write(tmp_path / "a.mrc", raw, exttyp=b"SERI", nint=2, nreal=1)
    text = "".join(f"[ZValue = {n}]\nTiltAngle = {3 * n - 3}\nSpotSize = 8\n" for n in range(3))
    (tmp_path / "a.mrc.mdoc").write_text(text)
    ds = opened(tmp_path / "a.mrc")
    message = "spot_size of the sections will not be written: pass sidecar='mdoc'"
    with pytest.warns(MrcWarning, match=message):
        ds.mrc.to_mrc(tmp_path / "b.mrc")
    ds = ds.assign_coords(mine=("image", [1, 2, 3])).drop_vars("spot_size")
    with pytest.warns(MrcWarning, match="mine of the sections will not be written$"):
        ds.mrc.to_mrc(tmp_path / "c.mrc")


@pytest.mark.parametrize(("nint", "slots"), [(0, 3), (128, 1024)])  # NINT in bytes: IMOD's remedy
def test_every_field_of_agard(tmp_path, nint, slots):
    raw = b"".join(agard_record("<", alpha=float(tilt), **FULL) for tilt in (-3, 0, 3))
    write(tmp_path / "a.mrc", raw.ljust(128 * slots, b"\0"), exttyp=b"AGAR", nint=nint, nreal=32)
    ds = opened(tmp_path / "a.mrc")
    assert ds.tilt_angle.values.tolist() == [-3, 0, 3]
    assert ds.mean_intensity.values.tolist() == [1234.5] * 3
    assert ds.image_shift_x.attrs == {"long_name": "Image shift x", "units": "m"}
    assert not {"alpha_tilt", "x_stage"} & {*ds.coords}
    assert ds.mrc.extended_header().x_stage.values.tolist() == [1.2e-4] * 3


def test_a_number_in_an_unknown_unit_does_not_take_a_common_name(tmp_path):
    raw = b"".join(agard_record("<", alpha=3.0, defocus=-25000.0) for _ in range(3))
    write(tmp_path / "a.mrc", raw, exttyp=b"AGAR", nreal=32)
    ds = opened(tmp_path / "a.mrc")
    assert "defocus" not in ds.coords
    assert ds.agar_defocus.values.tolist() == [-25000.0] * 3
    assert "units" not in ds.agar_defocus.attrs


@pytest.mark.parametrize(
    ("exttyp", "extended", "kind"),
    [
        (b"CCP4", lines("X,Y,Z", "-X,Y+1/2,-Z"), "CCP4"),
        (b"\0\0\0\0", lines("X,Y,Z", "-X,Y+1/2,-Z"), "CCP4"),
        (b"MRCO", bytes(1024), "MRCO"),
        (b"HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"JSON", json.dumps({"a": 1}).encode(), "JSON"),
        (b"", b"", "none"),
    ],
)
def test_extended_headers_without_sections(tmp_path, exttyp, extended, kind):
    write(tmp_path / "a.map", extended, 4, "volume", exttyp=exttyp.ljust(4, b"\0"), ispg=4)
    ds = opened(tmp_path / "a.map")
    assert {*ds.coords} == {"x", "y", "z"}
    table = ds.data.mrc.extended_header()
    assert not table.variables
    expected = {"mrc_extended_header": kind}
    if kind == "CCP4":
        expected["mrc_symmetry"] = ds.data.attrs["mrc_symmetry"]
        assert expected["mrc_symmetry"] == "X,Y,Z\n-X,Y+1/2,-Z"
    assert table.attrs == expected


RECORD, _ = fei_record(768, "<", 1, timestamp=4e4)
MALFORMED = {
    "too short": (b"FEI1", RECORD * 2, {}, "records for 2 sections, where 3 are expected"),
    "wrong size": (b"FEI1", struct.pack("<i", 767) + RECORD[4:] * 4, {}, "begins with 767"),
    "no version": (b"FEI2", struct.pack("<ii", 888, -1) + bytes(2656), {}, "of version -1"),
    "wrong bits": (b"SERI", b"\1" * 1024, {"nint": 6, "nreal": 1}, "do not belong together"),
    "not an angle": (b"SERI", b"\xff\x7f" * 512, {"nint": 2, "nreal": 1}, "tilt angle of 327.67"),
    "not a number": (b"AGAR", struct.pack("<96f", *[np.nan] * 96), {"nreal": 32}, "alpha tilt"),
    "no operators": (b"CCP4", b"not an operator".ljust(80), {}, "a symmetry operator such as"),
    "no HDF5": (b"HDF5", bytes(100), {}, "signature of HDF5"),
    "no JSON": (b"JSON", b"\xff" * 10, {}, "a JSON object"),
    "no comments": (b"MRCO", b"\1" * 80, {}, "not printable"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("which", ["common", "all"])
def test_malformed_records_give_one_warning_and_the_data(tmp_path, name, which):
    exttyp, extended, fields, reason = MALFORMED[name]
    laid = write(tmp_path / "a.mrc", extended, exttyp=exttyp, **fields)
    with pytest.warns(MrcWarning, match=reason) as caught:
        found = open_mrc(tmp_path / "a.mrc", extended_header=which, kind="image_stack").load()
    assert len(caught) == 1
    np.testing.assert_array_equal(found, laid.pixels)
    assert {*found.coords} == {"x", "y"}
    with pytest.warns(MrcWarning, match=reason) as caught:
        assert not found.mrc.extended_header().variables
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_mrc(tmp_path / "a.mrc", extended_header="none", kind="image_stack")


def test_records_without_a_bit_say_nothing(tmp_path):
    """That is no fault."""
    raw = b"".join(fei_record(768, "<", seed, {})[0] for seed in range(3))
    write(tmp_path / "a.mrc", raw, exttyp=b"FEI1")
    ds = opened(tmp_path / "a.mrc", kind="image_stack")
    assert {*ds.coords} == {"x", "y"}
    assert not ds.mrc.extended_header().variables


def test_a_dataset_that_does_not_know_its_file():
    with pytest.raises(ValueError, match="does not know its file"):
        xr.Dataset({"data": ("x", [1.0])}).mrc.extended_header()


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore:The (codec|dtype) :UserWarning")  # of texts, by zarr 3.0
@pytest.mark.parametrize("name", ["fei1_epu1.2_crop64.mrc", "fei2_epu2.9_crop64.mrc"])
def test_files_of_epu(name, tmp_path):
    if not (CORPUS / name).exists():
        pytest.skip(f"{name} is not in {CORPUS}")
    ds = opened(CORPUS / name)
    assert ds.data.dims == ("y", "x")
    table = ds.mrc.extended_header()
    assert table.sizes == {"image": 1}
    assert ds.defocus == pytest.approx(table.defocus.item() * 1e6)
    assert ds.coords["application_version"].item() == table.application_version.item()
    shared = set(table.data_vars) - set(OF_FEI)
    for each in shared:
        assert ds[each].dims == ()
        assert ds[each].item() == table[each].item() or table[each].dtype.kind == "f"
    for zarr_format in (2, 3):
        ds.to_zarr(tmp_path / f"{zarr_format}.zarr", zarr_format=zarr_format, consolidated=False)
        again = xr.open_zarr(tmp_path / f"{zarr_format}.zarr", consolidated=False).load()
        assert {*again.coords} == {*ds.coords}
        for each in ds.coords:
            np.testing.assert_array_equal(again[each], ds[each])


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "kind", "sections", "operators"),
    [
        ("exiftool_MRC.mrc", "FEI1", 2, 0),  # its data are cut off
        ("cctbx_tst_input.map", "CCP4", 0, 4),
        ("gemmi_5i55_tiny.ccp4", "CCP4", 0, 2),
        ("emdb_EMD-3197.map", "none", 0, 0),
    ],
)
def test_extended_headers_of_the_corpus(name, kind, sections, operators):
    if not (CORPUS / name).exists():
        pytest.skip(f"{name} is not in {CORPUS}")
    table = extended_dataset(str(CORPUS / name))
    assert table.attrs["mrc_extended_header"] == kind
    assert len(table.attrs.get("mrc_symmetry", "").split()) == operators
    assert dict(table.sizes) == ({"image": sections} if sections else {})
    if sections:
        assert table.alpha_tilt.values.round().tolist() == [-64, -62]
        assert table.tilt_axis_angle.attrs["units"] == "degree"
