"""The kind of a file: every row of the table of evidence, from bytes laid down by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine import assert_pixels, kind_of, named, open_mrc, open_warned, save
from extended_records import agard_record, fei_record, seri_bytes
from mrcbytes import AXES, IMOD, KINDS, lay

from xarray_mrc import MrcHeaderError


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


SOURCES = {
    "volume_stack": "space groups 401 to 630",
    "crystal": "space groups 2 to 230",
    "name": "names that end in .mrcs",
    "one": "one section",
    "one volume": "space group 1 is",
    "rec": "names that end in .rec",
    "mz": "MZ 0 or 1",
    "map": "names that end in .map",
    "records": "records",
    "sidecar": "sidecar",
    "idtype": "IMOD's file type",
    "cell": "grid intervals",
    "else": "no evidence",
}
CRYSTAL: dict[str, Any] = {"ispg": 19}
VOLUME: dict[str, Any] = {"ispg": 1}
ONE: dict[str, Any] = {"lengths": (4, 4, 1), "mz": 1}
TILTED: dict[str, Any] = {
    "exttyp": b"SERI",
    "nint": 2,
    "nreal": 1,
    "extended": seri_bytes("<", 1, 3)[0],
}
TILTS: dict[str, Any] = {"imod_stamp": IMOD, "idtype": 1}


# Each case has the evidence of its own row and of rows below, which say something else.
@pytest.mark.parametrize(
    ("name", "fields", "kind", "source"),
    [
        ("a.mrcs", {"ispg": 401}, "volume_stack", "volume_stack"),
        ("a.mrcs", CRYSTAL, "volume", "crystal"),
        ("a.st", {"ispg": 230} | TILTED, "volume", "crystal"),
        ("a.mrcs", VOLUME, "image_stack", "name"),
        ("a.ST", ONE, "image_stack", "name"),
        ("a.preali", ONE | VOLUME, "image_stack", "name"),
        ("a_ali.mrc", {}, "image_stack", "name"),
        ("a_Preali.MRC", VOLUME, "image_stack", "name"),
        ("a.ali", {"ispg": 300}, "image_stack", "name"),
        ("a.mrc", ONE | TILTED, "image", "one"),
        ("a.rec", ONE, "image", "one"),
        ("a.mrc", VOLUME | TILTED, "volume", "one volume"),
        ("a.mrc", VOLUME | ONE, "volume", "one volume"),
        ("a.rec", {"mz": 1} | TILTED, "volume", "rec"),
        ("a_rec.mrc", {"mz": 0}, "volume", "rec"),
        ("a.map", {"mz": 1}, "image_stack", "mz"),
        ("a.mrc", {"mz": 0}, "image_stack", "mz"),
        ("a.map", TILTED, "volume", "map"),
        ("a.ccp4", TILTS | {"mz": 7}, "volume", "map"),
        ("a.mrc", TILTED, "image_stack", "records"),
        ("a.mrc", TILTS, "image_stack", "idtype"),
        ("a.mrc", {}, "volume", "cell"),
        ("a.mrc", {"mx": 3, "my": 3, "mz": 2}, "volume", "cell"),
        ("a.mrc", {"mx": 4, "my": 3, "mz": 2}, "image_stack", "else"),
        ("a.mrc", {"mz": 4}, "image_stack", "else"),
    ],
    ids=named,
)  # fmt: skip
@pytest.mark.parametrize("container", ["", ".gz"])
def test_rows(
    tmp_path: Path, name: str, fields: dict[str, Any], kind: str, source: str, container: str
) -> None:
    path = save(tmp_path / f"{name}{container}", stack(**fields))
    assert kind_of(path) == kind
    assert SOURCES[source] in open_mrc(path).data.attrs["mrc_kind_source"]
    assert kind_of(path, kind="image_stack") == "image_stack"
    assert "kind=" in open_mrc(path, kind="image_stack").data.attrs["mrc_kind_source"]


def test_records_without_content_are_no_evidence() -> None:
    """A tomogram of AreTomo: records of zeros, the id of DeltaVision, a type that is no tilt."""
    fields = {"exttyp": b"AGAR", "nint": 0, "nreal": 32, "extended": bytes(128 * 3)}
    more = {"creatid": -16224, "idtype": 5, "tilt_angles": (0.0,) * 3 + (90.0,) * 3}
    assert kind_of(stack(nversion=20140, **fields, **more)) == "volume"
    tilts = b"".join(agard_record("<", alpha=3.0 * i - 3) for i in range(3))
    dataset = open_mrc(stack(**fields | {"extended": tilts}))
    assert dataset["tilt_angle"].values.tolist() == [-3, 0, 3]
    # A pixel size is one of a volume, too; a stage position is not.
    pixels = b"".join(agard_record("<", pixel=2e-10) for _ in range(3))
    assert kind_of(stack(**fields | {"extended": pixels})) == "volume"
    stages = b"".join(agard_record("<", x=1e-5) for _ in range(3))
    assert kind_of(stack(**fields | {"extended": stages})) == "image_stack"


@pytest.mark.parametrize("exttyp", [b"SERI", b"AGAR", b"FEI1", b"FEI2"])
def test_a_name_without_records_is_no_evidence(exttyp: bytes) -> None:
    assert kind_of(stack(exttyp=exttyp)) == "volume"  # SerialEM names the type of no records too
    dataset, message = open_warned(stack(exttyp=exttyp, extended=b"\x7f" * 80))
    assert dataset.data.dims == ("z", "y", "x")
    assert exttyp.decode() in message


@pytest.mark.parametrize("size", [768, 888])
def test_records_of_fei(size: int) -> None:
    records = [fei_record(size, "<", 1, alpha_tilt=float(i))[0] for i in range(3)]
    fields = {"exttyp": {768: b"FEI1", 888: b"FEI2"}[size], "extended": b"".join(records)}
    dataset = open_mrc(stack(**fields))
    assert dataset["tilt_angle"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("exttyp", [b"\0\0\0\0", b"    ", b"\xcd\xcd\xcd\xcd"], ids=str)
@pytest.mark.parametrize("creatid", [0, 1000])
def test_records_from_before_they_had_a_name(exttyp: bytes, creatid: int) -> None:
    """SerialEM with NINT = bytes a section and NREAL = flags; FEI with room for 1024 records."""
    fields = {"exttyp": exttyp, "nversion": 0, "creatid": creatid}
    records, nint = seri_bytes("<", 1 | 4, 3)
    for extended in (records, records[: 3 * nint]):  # NSYMBT can be exactly NZ * NINT
        dataset = open_mrc(stack(nint=nint, nreal=5, extended=extended, **fields))
        assert dataset.data.dims == ("image", "y", "x")
        assert dataset["tilt_angle"].values.tolist() == [-60, -58.99, -57.98]
        assert dataset["stage_x"].values.tolist() == [-100, -99.96, -99.92]
    tilts = b"".join(agard_record("<", alpha=3.0 * i - 3, x=1e-5) for i in range(3))
    dataset = open_mrc(stack(nint=0, nreal=32, extended=tilts.ljust(131072, b"\0"), **fields))
    assert dataset["tilt_angle"].values.tolist() == [-3, 0, 3]
    # Nothing is filled in.
    assert kind_of(stack(nint=0, nreal=32, extended=bytes(131072), **fields)) == "volume"
    assert kind_of(stack(nint=2, nreal=1, extended=bytes(1024), **fields)) == "volume"


def test_evidence_is_looked_up_only_where_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the records were decoded")

    monkeypatch.setattr("xarray_mrc.reading.file_layout.decode_extended", refuse)
    for fields in (VOLUME, ONE, {"mz": 1}, CRYSTAL):
        kind_of(stack(**TILTED | fields), extended_header="none")
    with pytest.raises(AssertionError):
        kind_of(stack(**TILTED), extended_header="none")


@pytest.mark.parametrize("exttyp", [b"MRCO", b"CCP4", b"\0\0\0\0"])
def test_kind_with_symmetry_records(exttyp: bytes) -> None:
    extended = b"X,Y,Z".ljust(80)
    assert kind_of(stack(exttyp=exttyp, extended=extended)) == "volume"


@pytest.mark.parametrize("container", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".mrc", ".map", ".ccp4", ".rec", ".st.mrc", ".mrcs.map", ""])
def test_suffixes_that_are_no_stack(tmp_path: Path, suffix: str, container: str) -> None:
    assert kind_of(save(tmp_path / f"a{suffix}{container}", stack())) == "volume"


# Of a stack of three sections.
SIDECARS = {
    ".mdoc": "[ZValue = 0]\n[ZValue = 1]\n[ZValue = 2]\n",
    ".tlt": "-3.00\n 0.00\n 3.00\n",
    ".rawtlt": "-3\n0\n3",
}


@pytest.mark.parametrize("beside", ["a.mrc.mdoc", "a.mdoc", "a.tlt", "a.rawtlt", "a.mrc.rawtlt"])
def test_kind_by_sidecar(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc", stack())
    assert kind_of(path) == "volume"
    text = SIDECARS[Path(beside).suffix]
    (tmp_path / beside).write_text(text.partition("\n")[2])  # that of another stack
    assert kind_of(path, sidecar=False) == "volume"
    (tmp_path / beside).write_text(text)
    assert kind_of(path, sidecar=False) == "image_stack"  # it counts without being read, too
    save(path, stack(ispg=1))
    assert kind_of(path, sidecar=False) == "volume"
    assert kind_of(path, kind="volume") == "volume"
    _, message = open_warned(path)
    assert f"{beside} describes as many sections as there are" in message
    assert "pass kind='image_stack'" in message


@pytest.mark.parametrize("beside", ["b.mdoc", "a.mrc.tlt", "a.xf", "a.mrc.mdoc.txt"])
def test_files_beside_that_are_no_sidecars(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc", stack())
    (tmp_path / beside).touch()
    assert kind_of(path) == "volume"


@pytest.mark.parametrize("beside", ["a.mrc.mdoc", "a.mrc.gz.mdoc", "a.mdoc", "a.tlt", "a.rawtlt"])
def test_sidecar_of_a_compressed_file(tmp_path: Path, beside: str) -> None:
    path = save(tmp_path / "a.mrc.gz", stack())
    (tmp_path / beside).write_text(SIDECARS[Path(beside).suffix])
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
    with pytest.raises(ValueError, match=r"kind='tomogram', expected one of 'auto', 'image',"):
        open_mrc(stack(), kind="tomogram")
