"""Kinds of files as many programs write them, and extended headers that are not there."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from dialects import (
    agard_records,
    kind_of,
    lay_down,
    open_quietly,
    open_with_warning,
    seri_records,
    write,
)
from mrcbytes import IMOD, decimals, put

from xarray_mrc import MrcError, MrcHeaderError, edit_header, open_mrc, validate

# Kind.


STACK_NAMES = ("p.mrcs", "TS.st", "TS.ali", "TS.preali", "TS_ali.mrc", "TS_preali.mrc")


@pytest.mark.parametrize("name", [*STACK_NAMES, "P.MRCS", "TS.ST", "p.mrcs.gz", "TS.st.bz2"])
@pytest.mark.parametrize("ispg", [0, 1])
@pytest.mark.parametrize("lengths", [(4, 3, 5), (4, 3, 1)])
@pytest.mark.parametrize("order", "<>")
def test_names_that_only_stacks_bear(tmp_path, name, ispg, lengths, order):
    raw, numbers = lay_down(lengths, order, ispg=ispg)
    found = open_quietly(write(tmp_path, name, raw))
    assert kind_of(found) == "image_stack"
    assert found.dims == ("image", "y", "x")
    assert (found.values == numbers).all()
    assert "image" not in found.coords
    assert found.attrs["mrc_kind_source"]


@pytest.mark.parametrize("name", STACK_NAMES)
@pytest.mark.parametrize(("ispg", "mz", "kind"), [(4, 6, "volume"), (401, 3, "volume_stack")])
def test_space_groups_that_outrank_a_name(tmp_path, name, ispg, mz, kind):
    raw, _ = lay_down((4, 3, 6), ispg=ispg, mz=mz, cella=(6.0, 4.5, 1.5 * mz))
    found = open_mrc(write(tmp_path, name, raw), chunks=None)
    assert kind_of(found) == kind


IN_FOLDER_OF_IMOD = ("TS.tlt", "TS.rawtlt", "TS.st.mdoc", "TS.mrc.mdoc", "TS_rec.tlt", "TS.mdoc")


@pytest.mark.parametrize("name", ["TS.rec", "TS_rec.mrc", "TS.REC", "TS.rec.gz"])
@pytest.mark.parametrize("ispg", [0, 1])
@pytest.mark.parametrize("mz", [5, 7])
def test_a_reconstruction_in_its_folder(tmp_path, name, ispg, mz):
    for sidecar in IN_FOLDER_OF_IMOD:
        text = "".join(f"[ZValue = {i}]\nTiltAngle = {i}\n\n" for i in range(5))
        (tmp_path / sidecar).write_text(text if "mdoc" in sidecar else "1.0\n2.0\n3.0\n4.0\n5.0\n")
    raw, _ = lay_down((4, 3, 5), ispg=ispg, mz=mz, cella=(6.0, 4.5, 1.5 * mz))
    found = open_quietly(write(tmp_path, name, raw))
    assert kind_of(found) == "volume"
    assert "tilt_angle" not in found.coords


def aretomo(order: str = "<", lengths: tuple[int, int, int] = (8, 6, 5), **fields: Any) -> bytes:
    """A tomogram as AreTomo writes it: every sign of a stack but the contents of its records."""
    usual = {
        "ispg": 0, "exttyp": b"AGAR", "nint": 0, "nreal": 32, "creatid": -16224, "idtype": 5,
        "nversion": 20140, "tilt_angles": (0.0, 0.0, 0.0, 90.0, 90.0, 90.0), "map_id": b"MAP\0",
        "extended": bytes(128 * lengths[2]),
    }  # fmt: skip
    return lay_down(lengths, order, **usual | fields)[0]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": 12, "nversion": 20141},
        {"mode": 1},
        {"nreal": 0},
        {"exttyp": b"SERI", "nint": 8, "nreal": 13, "extended": bytes(1024)},
        {"exttyp": b"\0\0\0\0"},
    ],
)
@pytest.mark.parametrize("name", ["tomo.mrc", "tomo_Vol.mrc.gz"])
def test_records_of_zeros_are_no_evidence(tmp_path, order, fields, name):
    path = write(tmp_path, name, aretomo(order, **fields))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(path, chunks=None)
    assert kind_of(found) == "volume"
    assert found.dims == ("z", "y", "x")
    assert "tilt_angle" not in found.coords
    assert (found.values == lay_down((8, 6, 5), mode=fields.get("mode", 2))[1]).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["TS_01.mrc", "TS_01.mrc.gz"])
@pytest.mark.parametrize("padded", [False, True])
def test_records_of_serialem_from_before_exttyp(tmp_path, order, name, padded):
    angles = [-60.0, -57.01, 0.0, 3.25, 60.0]
    records, counts = seri_records(angles, order)
    records += bytes(-len(records) % 1024 if padded else 0)
    raw, _ = lay_down(
        (4, 3, 5), order, mode=1, ispg=0, extended=records, nversion=0, exttyp=b"\0\0\0\0", **counts
    )
    found = open_quietly(write(tmp_path, name, raw))
    assert kind_of(found) == "image_stack"
    assert found.tilt_angle.values.tolist() == angles
    assert found.tilt_angle.dims == ("image",)
    assert found.section.values.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("exttyp", [b"\0\0\0\0", b"    ", b"AGAR"])
@pytest.mark.parametrize("nint", [0, 128])
def test_records_of_fei_from_before_exttyp(tmp_path, order, exttyp, nint):
    if nint and exttyp == b"AGAR":
        pytest.skip("the false count is of before the types had names")
    angles = [-60.0, -30.0, 0.0, 30.0, 60.0]
    raw, _ = lay_down(
        (4, 3, 5), order, mode=1, ispg=0, nint=nint, nreal=32, exttyp=exttyp, nversion=0,
        labels=(b"Fei Company (C) Copyright 2003",),
        extended=agard_records(angles, order, 1024),
    )  # fmt: skip
    found = open_quietly(write(tmp_path, "TS.mrc", raw))
    assert kind_of(found) == "image_stack"
    assert found.tilt_angle.values.tolist() == angles


def test_a_stage_position_is_evidence_without_a_tilt(tmp_path):
    records, counts = seri_records([0.0] * 5)
    raw, _ = lay_down((4, 3, 5), ispg=0, extended=records, exttyp=b"SERI", **counts)
    assert kind_of(open_quietly(write(tmp_path, "a.mrc", raw))) == "image_stack"


OTHER_EVIDENCE = [
    # Name, number of sections, fields of the header, kind.
    ("a.mrc", 1, {"ispg": 0}, "image"),
    ("a.mrc", 1, {"ispg": 0, "mz": 0}, "image"),
    ("a.rec", 1, {"ispg": 0}, "image"),
    ("a.mrc", 1, {"ispg": 1}, "volume"),
    ("a.mrc", 5, {"ispg": 0, "mz": 1}, "image_stack"),
    ("a.mrc", 5, {"ispg": 0, "mz": 0}, "image_stack"),
    ("a.map", 5, {"ispg": 0, "mz": 1}, "image_stack"),
    ("a.map", 5, {"ispg": 0, "mz": 9}, "volume"),
    ("a.CCP4", 5, {"ispg": 0, "mz": 9}, "volume"),
    ("a.map.gz", 5, {"ispg": 0}, "volume"),
    ("a.mrc", 5, {"ispg": 0}, "volume"),
    ("a.mrc", 5, {"ispg": 0, "mx": 3, "my": 2, "mz": 4}, "volume"),
    ("a.mrc", 5, {"ispg": 0, "mz": 4}, "image_stack"),
    ("a.mrc", 5, {"ispg": 0, "imod_stamp": IMOD, "idtype": 1}, "image_stack"),
    ("a.mrc", 5, {"ispg": 0, "idtype": 1}, "volume"),
    ("a.mrc", 6, {"ispg": 630, "mz": 2}, "volume_stack"),
    ("a.mrc", 6, {"ispg": 19, "mz": 2}, "volume"),
]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("name", "nz", "fields", "kind"), OTHER_EVIDENCE)
def test_other_evidence(tmp_path, order, name, nz, fields, kind):
    raw, _ = lay_down((4, 3, nz), order, mode=1, **fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(write(tmp_path, name, raw), chunks=None)
        asked = open_mrc(write(tmp_path, name, raw), chunks=None, kind="volume")
    assert kind_of(found) == kind
    assert kind_of(asked) == "volume"
    assert asked.attrs["mrc_kind_source"] != found.attrs["mrc_kind_source"]


# An extended header that is not there.


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "exttyp", [b"SERI", b"AGAR", b"FEI1", b"FEI2", b"CCP4", b"HDF5", b"\0" * 4]
)
@pytest.mark.parametrize(("nsymbt", "name"), [(786432, "a.mrc"), (333, "a.mrc"), (160, "b.mrc.gz")])
def test_a_header_that_was_copied_without_its_records(tmp_path, order, exttyp, nsymbt, name):
    raw, numbers = lay_down((4, 3, 5), order, ispg=0, exttyp=exttyp, nint=8, nreal=13)
    path = write(tmp_path, name, put(raw, order, nsymbt=nsymbt))
    for options in ({}, {"truncated": "sections"}):
        found = open_with_warning(path, "nsymbt", **options)
        assert (found.values == numbers).all()
        assert kind_of(found) == "volume"
    assert "tilt_angle" not in found.coords
    report = validate(path)
    assert "S02" in [finding.id for finding in report.findings]
    assert "S01" not in [finding.id for finding in report.findings]
    edit_header(path, fix=True, rewrite=name.endswith("gz"))
    assert (open_quietly(path).values == numbers).all()


@pytest.mark.parametrize("order", "<>")
def test_records_that_are_there_and_data_that_are_cut_off(tmp_path, order):
    records, counts = seri_records([-3.0, 0.0, 3.0, 6.0, 9.0], order)
    raw, numbers = lay_down((4, 3, 5), order, ispg=0, extended=records, exttyp=b"SERI", **counts)
    path = write(tmp_path, "a.mrc", raw[:-4])
    with pytest.raises(MrcError, match="cut off"):
        open_mrc(path)
    found = open_with_warning(path, "cut off", truncated="sections")
    assert (found.values == numbers[:4]).all()
    assert found.tilt_angle.values.tolist() == [-3.0, 0.0, 3.0, 6.0]


@pytest.mark.parametrize("order", "<>")
def test_a_negative_number_of_bytes_is_refused(tmp_path, order):
    raw, _ = lay_down(order=order, nsymbt=-80)
    with pytest.raises(MrcHeaderError, match="nsymbt"):
        open_mrc(write(tmp_path, "a.mrc", raw))


# More of the same kinds: other shapes and types.


@pytest.mark.parametrize(
    ("lengths", "fields", "kind"),
    [
        ((4, 3, 1), {"ispg": 0}, "image"),
        ((4, 3, 6), {"ispg": 401, "mz": 3, "cella": (6.0, 4.5, 4.5)}, "volume_stack"),
        ((4, 3, 5), {"ispg": 0, "mz": 1, "cella": (6.0, 4.5, 1.5)}, "image_stack"),
        ((4, 3, 5), {"mapc": 3, "mapr": 1, "maps": 2, "mx": 3, "my": 5, "mz": 4}, "volume"),
    ],
)
@pytest.mark.parametrize("mode", [0, 1, 4, 6, 12])
def test_missing_records_before_data_of_any_shape(tmp_path, lengths, fields, kind, mode):
    raw, numbers = lay_down(lengths, mode=mode, **fields)
    path = write(tmp_path, "a.mrc", put(raw, "<", nsymbt=5120, exttyp=b"FEI1"))
    found = open_with_warning(path, "nsymbt")
    assert kind_of(found) == kind
    assert sorted(found.values.reshape(-1).tolist(), key=abs) == sorted(
        numbers.reshape(-1).tolist(), key=abs
    )


def test_a_symmetry_record_that_is_there_is_no_data(tmp_path):
    raw, numbers = lay_down((4, 5, 1), mode=0, ispg=1, extended=b"X,Y,Z".ljust(80))
    found = open_quietly(write(tmp_path, "a.map", put(raw, "<", exttyp=b"CCP4")))
    assert (found.values == numbers).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("axes", [(1, 2, 3), (2, 1, 3), (3, 1, 2)])
def test_intervals_between_points_along_permuted_axes(tmp_path, order, axes):
    stored = (9, 7, 5)
    by_axis = dict(zip(axes, stored, strict=True))
    mx, my, mz = (by_axis[axis] - 1 for axis in (1, 2, 3))
    raw, _ = lay_down(
        stored, order, ispg=0, mapc=axes[0], mapr=axes[1], maps=axes[2],
        mx=mx, my=my, mz=mz, cella=(2.2 * mx, 2.2 * my, 2.2 * mz),
    )  # fmt: skip
    found = open_quietly(write(tmp_path, "a.mrc", raw))
    assert kind_of(found) == "volume"
    assert found.shape == tuple(by_axis[axis] for axis in (3, 2, 1))
    assert found.z.values.tolist() == decimals("0", "2.2", by_axis[3])


@pytest.mark.parametrize("order", "<>")
def test_aligned_tilts_of_aretomo_have_angles_in_their_records(tmp_path, order):
    angles = [-30.0, -10.0, 0.0, 10.0, 30.0]
    raw = aretomo(order, extended=agard_records(angles, order))
    found = open_quietly(write(tmp_path, "TS_aligned.mrc", put(raw, order, map_id=b"MAP ")))
    assert kind_of(found) == "image_stack"
    assert found.tilt_angle.values.tolist() == angles


@pytest.mark.parametrize("order", "<>")
def test_records_of_warp_under_the_name_of_fei(tmp_path, order):
    angles = [-3.0, 0.0, 3.0, 6.0, 9.0]
    raw, _ = lay_down(
        (4, 3, 5), order, ispg=0, exttyp=b"FEI1", nint=0, nreal=32,
        extended=agard_records(angles, order),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_mrc(write(tmp_path, "TS.mrc", raw), chunks=None)
    assert kind_of(found) == "image_stack"
    assert found.tilt_angle.values.tolist() == angles


@pytest.mark.parametrize("ispg", [0, 1])
@pytest.mark.parametrize("name", ["a.mrcs", "a.ST"])
def test_a_stack_of_another_order_of_axes_keeps_its_images(tmp_path, ispg, name):
    raw, numbers = lay_down((4, 3, 5), ispg=ispg, mapc=2, mapr=1, mx=3, my=4, cella=(4.5, 6.0, 7.5))
    found = open_mrc(write(tmp_path, name, raw), chunks=None)
    assert found.dims == ("image", "y", "x")
    assert (found.values == numbers.transpose(0, 2, 1)).all()


@pytest.mark.parametrize("order", "<>")
def test_a_volume_that_is_one_section_deep(tmp_path, order):
    for fields in ({"ispg": 1}, {"ispg": 4}):
        raw, _ = lay_down((4, 3, 1), order, **fields)
        assert open_quietly(write(tmp_path, "a.mrc", raw)).dims == ("z", "y", "x")


def test_an_image_stays_one_beside_records_and_sidecars(tmp_path):
    records, counts = seri_records([3.0])
    raw, _ = lay_down((4, 3, 1), ispg=0, extended=records, exttyp=b"SERI", **counts)
    (tmp_path / "a.rawtlt").write_text("3.0\n")
    found = open_quietly(write(tmp_path, "a.mrc", raw))
    assert found.dims == ("y", "x")
    assert float(found.tilt_angle) == 3.0
    assert found.tilt_angle.dims == ()
