"""`edit_header(tilt_angle=)`: the bytes of the records afterwards, for each kind of records."""

import gzip
import struct
import warnings

import numpy as np
import pytest
from extended_records import agard_record, fei_record, seri_bytes
from files import NUMBERS, sound

from xarray_mrc import MrcWarning, edit_header, open_mrc

STACK = {"ispg": 0, "mz": 1}
ANGLES = [-60.25, 33.5]


@pytest.fixture
def stack(tmp_path):
    def write(extended=b"", order="<", name="t.mrc", **fields):
        path = tmp_path / name
        path.write_bytes(sound(order=order, extended=extended, **STACK | fields))
        return path

    return write


def angles_of(path):
    return open_mrc(path, chunks=None, sidecar=False).tilt_angle.values.tolist()


def differing(before, after):
    assert len(before) == len(after)
    return [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 15, 63])
def test_serialem(stack, order, bits):
    raw, nint = seri_bytes(order, bits, 2)
    path = stack(raw, order, exttyp=b"SERI", nint=nint, nreal=bits)
    before = path.read_bytes()
    found = edit_header(path, tilt_angle=ANGLES)
    assert dict(found) == {"tilt_angle": ((-60.0, -58.99), (-60.25, 33.5))}
    after = path.read_bytes()
    assert set(differing(before, after)) <= {1024, 1025, 1024 + nint, 1025 + nint}
    for number, angle in enumerate((-6025, 3350)):
        assert struct.unpack_from(f"{order}h", after, 1024 + number * nint) == (angle,)
    assert angles_of(path) == ANGLES


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [768, 888])
@pytest.mark.parametrize("bits", [0xFFFFFFFF, 0xFFFFFF7F])  # with and without the angle
def test_fei(stack, order, size, bits):
    raw = b"".join(fei_record(size, order, seed, timestamp=3e4)[0] for seed in (1, 2))
    raw = raw[: size + 8] + struct.pack("<I", bits) + raw[size + 12 :]
    path = stack(raw, order, exttyp=b"FEI1" if size == 768 else b"FEI2")
    before = path.read_bytes()
    assert np.isnan(angles_of(path)).tolist() == [False, bits != 0xFFFFFFFF]
    edit_header(path, tilt_angle=ANGLES)
    after = path.read_bytes()
    places = {1024 + n * size + 100 + i for n in (0, 1) for i in range(8)}
    assert set(differing(before, after)) <= places | {1024 + size + 8}
    for number, angle in enumerate(ANGLES):
        assert struct.unpack_from(f"{order}d", after, 1024 + number * size + 100) == (angle,)
    assert angles_of(path) == ANGLES


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ints", [0, 3])
def test_agard(stack, order, ints):
    raw = agard_record(order, ints, alpha=3.0, beta=0.25) + agard_record(order, ints, alpha=5.0)
    path = stack(raw, order, exttyp=b"AGAR", nint=ints, nreal=32)
    edit_header(path, tilt_angle=ANGLES)
    after = path.read_bytes()
    for number, angle in enumerate(ANGLES):
        place = 1024 + number * 4 * (32 + ints) + 4 * ints
        assert struct.unpack_from(f"{order}f", after, place) == (angle,)
    assert angles_of(path) == ANGLES


@pytest.mark.parametrize("order", ["<", ">"])
def test_room_of_zeros(stack, order):
    path = stack(bytes(2048), order)
    edit_header(path, tilt_angle=ANGLES)
    after = path.read_bytes()
    assert after[104:108] == b"SERI"
    assert struct.unpack_from(f"{order}hh", after, 128) == (2, 1)
    assert struct.unpack_from(f"{order}i", after, 92) == (2048,)
    assert after[1024:1028] == struct.pack(f"{order}2h", -6025, 3350)
    assert after[3072:] == NUMBERS.astype(f"{order}f4").tobytes()
    assert angles_of(path) == ANGLES


@pytest.mark.parametrize("trailing", [b"", b"tail"])
def test_no_room(stack, trailing):
    path = stack()
    path.write_bytes(path.read_bytes() + trailing)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="has no room for tilt angles before its data: pass rewr"):
        edit_header(path, tilt_angle=ANGLES)
    assert path.read_bytes() == before
    edit_header(path, tilt_angle=ANGLES, rewrite=True, dry_run=True)
    edit_header(path, tilt_angle=ANGLES, dry_run=True)
    assert path.read_bytes() == before
    found = edit_header(path, tilt_angle=ANGLES, rewrite=True, voxel_size=3.0)
    assert {"nsymbt", "exttyp", "nint", "nreal", "tilt_angle", "cella"} == set(found)
    after = path.read_bytes()
    assert after[2048:] == before[1024:]
    assert struct.unpack_from("<3f", after, 40) == (12.0, 9.0, 3.0)
    path.write_bytes(after.removesuffix(trailing))
    array = open_mrc(path, chunks=None)
    np.testing.assert_array_equal(array, NUMBERS)
    assert array.tilt_angle.values.tolist() == ANGLES


def test_a_compressed_file(stack, tmp_path):
    path = tmp_path / "t.mrc.gz"
    path.write_bytes(gzip.compress(stack().read_bytes()))
    with pytest.raises(ValueError, match="is compressed"):
        edit_header(path, tilt_angle=ANGLES)
    edit_header(path, tilt_angle=ANGLES, rewrite=True)
    assert gzip.decompress(path.read_bytes())[2048:] == NUMBERS.tobytes()
    assert angles_of(path) == ANGLES


def test_the_same_angles_change_nothing(stack):
    path = stack(bytes(1024))
    edit_header(path, tilt_angle=ANGLES)
    before = path.stat().st_mtime_ns, path.read_bytes()
    found = edit_header(path, tilt_angle=ANGLES)
    assert not found
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_rounding_is_named_once(stack):
    path = stack(bytes(1024))
    with pytest.warns(MrcWarning, match=r"rounded by up to 0\.004 degree") as caught:
        edit_header(path, tilt_angle=[1.004, 2.0])
    assert len(caught) == 1
    assert angles_of(path) == [1.0, 2.0]


@pytest.mark.parametrize("name", ["angles.tlt", "angles.rawtlt", "angles.txt"])
def test_a_file_of_angles(stack, tmp_path, name):
    (tmp_path / name).write_text("# from the microscope\n-60.25 1\n 33.5 2\n")
    path = stack(bytes(1024))
    edit_header(path, tilt_angle=tmp_path / name)
    assert angles_of(path) == ANGLES


def test_a_mdoc(stack, tmp_path):
    mdoc = tmp_path / "x.mdoc"
    sections = zip((1, 0), (33.5, -60.25), strict=True)
    mdoc.write_text("".join(f"[ZValue = {n}]\nTiltAngle = {a}\n\n" for n, a in sections))
    path = stack(bytes(1024))
    edit_header(path, tilt_angle=str(mdoc))
    assert angles_of(path) == ANGLES


def test_a_sidecar_that_differs_is_named(stack, tmp_path):
    path = stack(bytes(1024))
    (tmp_path / "t.rawtlt").write_text("1\n2\n")
    with pytest.warns(MrcWarning, match="t.rawtlt outweighs the angles in the records"):
        edit_header(path, tilt_angle=ANGLES)
    (tmp_path / "t.rawtlt").write_text("-60.25\n33.5\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edit_header(path, tilt_angle=ANGLES)


@pytest.mark.parametrize(
    ("angles", "fields", "extended", "text"),
    [
        ([1.0], {}, bytes(1024), r"has the shape \(1,\), expected a finite angle"),
        ([1.0, np.nan], {}, bytes(1024), "expected a finite angle"),
        ([1.0, 181.0], {}, bytes(1024), "expected -180 to 180"),
        (ANGLES, {"ispg": 1, "mz": 2}, bytes(1024), "is read as a volume .* pass kind='image_st"),
        (ANGLES, {"exttyp": b"CCP4"}, b"X,Y,Z".ljust(80), "CCP4, 80 bytes. has no tilt angles"),
        (ANGLES, {"lskflg": 1}, b"", "skew matrix"),
    ],
)
def test_refusals(stack, angles, fields, extended, text):
    path = stack(extended, **fields)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=text):
        edit_header(path, tilt_angle=angles, rewrite=True)
    assert path.read_bytes() == before


def test_a_volume_that_becomes_a_stack(stack):
    path = stack(bytes(1024), ispg=1, mz=2)
    found = edit_header(path, tilt_angle=ANGLES, kind="image_stack")
    assert found["ispg"] == (1, 0)
    assert angles_of(path) == ANGLES


def test_files_of_angles_that_cannot_be_used(stack, tmp_path):
    path = stack(bytes(1024))
    (tmp_path / "x.txt").write_text("1,5\n2,5\n")
    with pytest.raises(ValueError, match=r"x\.txt' cannot be used: the comma in 1,5"):
        edit_header(path, tilt_angle=str(tmp_path / "x.txt"))
    with pytest.raises(FileNotFoundError):
        edit_header(path, tilt_angle=str(tmp_path / "none.txt"))
