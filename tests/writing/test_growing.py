"""Files that grow: every byte of the result, failures on the way, and what readers see."""

import errno
import math
import os
import signal
import struct
import sys
import tempfile
import warnings
from pathlib import Path

import dask
import dask.array as da
import mrcfile
import numpy as np
import pytest
import xarray as xr
from extended_records import seri_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import FORMS, encode, get, lay, pixels_of
from programs import run_program
from waiting import wait_for
from writers import start

import xarray_mrc
from xarray_mrc import MrcTruncatedError, MrcWarning, append, open_mrc, read_header

CAN_KILL = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
DIMS = ("image", "y", "x")


def stack(values, **coords) -> xr.DataArray:
    return xr.DataArray(np.asarray(values), coords, DIMS)


def image(number: float, **coords) -> xr.DataArray:
    return xr.DataArray(np.full((4, 5), number, "f4"), coords, ("y", "x"))


# What is in the file


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_bytes_of_every_mode(tmp_path, form, order):
    path = tmp_path / "a.mrcs"
    old = lay(form, "image_stack", order, voxel=("1.35", "1.35", "1.35"))
    path.write_bytes(old.raw)
    pixels = pixels_of(form, (3, *old.pixels.shape[1:3]), seed=7)
    obj = xr.DataArray(pixels, dims=old.dims).astype(form.dtype)
    with np.errstate(all="ignore"):
        if np.isfinite(pixels).all():
            count = append(obj, path, dtype=form.dtype)
        else:
            with pytest.warns(MrcWarning, match="nan and"):
                count = append(obj, path, dtype=form.dtype)
    raw = path.read_bytes()
    assert count == 5
    assert raw[:1024] == old.with_fields(nz=5)[:1024]  # statistics were unknown, and are
    if form.packed:  # half a byte at the end of a row may have any value
        assert raw[1024 : len(old.raw)] == old.raw[1024:]
        read = open_mrc(path).values
        np.testing.assert_array_equal(read, np.concatenate([old.pixels, pixels]))
    else:
        assert raw[1024:] == old.raw[1024:] + encode(form, pixels, order)


def test_a_camera_loop(tmp_path):
    path = tmp_path / "movie.mrc"
    random = np.random.default_rng(1)
    frames = random.normal(1000, 50, (40, 12, 10)).astype("i2")
    for number, frame in enumerate(frames, 1):
        assert append(xr.DataArray(frame, dims=("y", "x")), path, voxel_size=0.83) == number
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert mrc.is_image_stack()
        np.testing.assert_array_equal(mrc.data, frames)
        assert mrc.voxel_size.x == pytest.approx(0.83)
        assert (mrc.header.dmin, mrc.header.dmax) == (frames.min(), frames.max())
        assert mrc.header.dmean == pytest.approx(frames.mean(), rel=1e-6)
        assert mrc.header.rms == pytest.approx(frames.std(), rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "options", "mode"),
    [
        ("u1", {}, 6), ("u1", {"dtype": "uint8"}, 0), ("u1", {"mode": 0}, 0),
        ("i2", {"mode": 2}, 2), ("u1", {"mode": 101}, 101),
        ("f8", {}, 2), ("f8", {"dtype": "float16"}, 12), ("?", {}, 0),
        ("i4", {"dtype": "int16"}, 1), ("c16", {}, 4),
    ],
)  # fmt: skip
def test_the_same_call_again(tmp_path, dtype, options, mode):
    """Whatever the first call made of the data type, the next ones do too."""
    values = np.arange(30).reshape(2, 3, 5) % 2
    for each in values:
        append(xr.DataArray(each.astype(dtype), dims=("y", "x")), tmp_path / "a.mrcs", **options)
    assert read_header(tmp_path / "a.mrcs").mode == mode
    np.testing.assert_array_equal(open_mrc(tmp_path / "a.mrcs"), values)


@settings(max_examples=20, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    dtype=st.sampled_from(["i1", "i2", "u2", "f2", "f4", "c8"]),
    name=st.sampled_from(["a.mrc", "a.st"]),
    has_tilts=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pieces_make_the_file_of_the_whole(pieces, dtype, name, has_tilts, seed):
    random = np.random.default_rng(seed)
    count = sum(pieces)
    values = (random.normal(size=(count, 3, 4)) * 50).astype(dtype)
    coords = {"tilt_angle": ("image", random.integers(-60, 60, count) * 1.0)} if has_tilts else {}
    whole = stack(values, **coords)
    ends = np.cumsum(pieces)
    with tempfile.TemporaryDirectory() as folder:
        path, other = f"{folder}/{name}", f"{folder}/whole.mrcs"
        for start_, end in zip(ends - pieces, ends, strict=True):
            part = whole[start_:end]
            found = append(part[0] if len(part) == 1 else part, path, voxel_size=1.5, reserve=512)
            assert found == end
        xarray_mrc.to_mrc(whole, other, voxel_size=1.5, kind="image_stack")
        raw, expected = Path(path).read_bytes(), Path(other).read_bytes()
    assert raw[1024:] == expected[1024:]
    assert raw[:76] == expected[:76]
    assert raw[88:216] == expected[88:216]
    assert raw[220:1024] == expected[220:1024]
    if dtype != "c8":  # there is no place for the mean of complex data
        assert raw[76:84] == expected[76:84]
        for place in (84, 216):
            ours, theirs = (struct.unpack_from("<f", each, place)[0] for each in (raw, expected))
            assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("is_stack", [True, False])
def test_a_file_of_mrcfile(tmp_path, is_stack):
    path = tmp_path / "a.mrcs"
    values = np.arange(60, dtype="f4").reshape(3, 4, 5)
    with mrcfile.new(path) as mrc:
        mrc.set_data(values)
        if is_stack:
            mrc.set_image_stack()
        mrc.voxel_size = 1.4
    append(image(99), path, voxel_size=1.4)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert mrc.is_image_stack() == is_stack
        np.testing.assert_array_equal(mrc.data, [*values, np.full((4, 5), 99)])
        assert mrc.voxel_size.z == pytest.approx(1.4)
        assert mrc.header.rms == pytest.approx(mrc.data.std(), rel=1e-5)


@pytest.mark.parametrize("chunk", [None, 3])
def test_many_images_at_once(tmp_path, chunk):
    path = tmp_path / "a.mrcs"
    values = np.random.default_rng(2).normal(size=(10, 6, 4))
    array = xr.DataArray(values, dims=("frame", "y", "x"))
    append(array[:1], path)
    later = array[1:] if chunk is None else array[1:].chunk(frame=chunk, y=2)
    assert append(later.transpose("y", "frame", "x"), path) == 10
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, values.astype("f4"))
        assert mrc.header.dmean == pytest.approx(values.mean(), rel=1e-5)
        assert mrc.header.rms == pytest.approx(values.std(), rel=1e-5)


def test_imod_counts_sections_in_mz(tmp_path):
    path = tmp_path / "tilts.st"
    old = lay(
        "int16",
        "image_stack",
        ispg=0,
        mz=2,
        cella=(5.0, 3.0, 2 * 2.5),
        dmin=-9.0,
        dmax=4.0,
        dmean=-10.0,
    )
    path.write_bytes(old.raw)
    append(stack(np.full((3, 3, 5), 7, "i2")), path)
    head = path.read_bytes()[:1024]
    unknown = struct.unpack("<f", head[84:88])[0]
    assert unknown < -9  # the mean is not known, which a value between the extremes would deny
    fields = {"nz": 5, "mz": 5, "cella": (5.0, 3.0, 12.5), "dmin": -9.0, "dmax": 7.0}
    assert head == old.with_fields(**fields, dmean=unknown)[:1024]


def test_statistics_that_are_not_known(tmp_path):
    path = tmp_path / "a.mrcs"
    append(image(1.0), path, stats=False)
    append(image(2.0), path)
    assert struct.unpack_from("<3f", path.read_bytes(), 76) == (0.0, -1.0, -2.0)
    whole = tmp_path / "b.mrcs"
    append(image(1.0), whole)
    with pytest.warns(MrcWarning, match="20 nan"):
        append(image(math.nan), whole)
    assert struct.unpack_from("<3f", whole.read_bytes(), 76) == (0.0, -1.0, -2.0)


def test_a_stack_of_volumes(tmp_path):
    path = tmp_path / "a.mrc"
    volumes = np.random.default_rng(3).normal(size=(3, 2, 4, 5)).astype("f4")
    array = xr.DataArray(volumes, dims=("volume", "z", "y", "x"))
    assert append(array[:1], path, voxel_size=2) == 1
    assert append(array[1], path) == 2
    assert append(array[2:], path) == 3
    with mrcfile.open(path) as mrc:
        assert mrc.is_volume_stack()
        np.testing.assert_array_equal(mrc.data, volumes)
    with pytest.raises(ValueError, match="expand_dims"):
        append(array[0], tmp_path / "new.mrc")


def test_images_without_names_of_dimensions(tmp_path):
    path = tmp_path / "a.mrcs"
    append(xr.DataArray(np.zeros((2, 4, 5), "f4")), path)
    assert append(xr.DataArray(np.ones((1, 4, 5), "f4")), path) == 3
    assert append(xr.DataArray(np.ones((4, 5), "f4")), path) == 4


def test_through_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "a.mrcs", tmp_path / "link.mrcs"
    append(image(1), real)
    link.symlink_to(real)
    append(image(2), link)
    assert link.is_symlink()
    assert read_header(real).nz == 2


def test_beyond_4_gib(tmp_path):
    path = tmp_path / "a.mrcs"
    head = lay("uint16", "image_stack", lengths=(1024, 1024, 1)).head
    sections = 2200  # 4.3 GiB
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<i", sections))
        file.truncate(1024 + sections * 2**21)
    append(xr.DataArray(np.full((1024, 1024), 9, "u2"), dims=("y", "x")), path)
    assert path.stat().st_size == 1024 + (sections + 1) * 2**21
    with path.open("rb") as file:
        assert get(file.read(1024), "<", "nz") == sections + 1
        file.seek(-(2**21) - 2, 2)
        assert file.read(6) == struct.pack("<3H", 0, 9, 9)


def test_images_of_the_file_itself(tmp_path):
    path = tmp_path / "a.mrcs"
    values = np.random.default_rng(4).normal(size=(6, 256, 256)).astype("f4")
    append(stack(values), path)
    append(open_mrc(path, chunks={"image": 2})[::-1] * np.float32(2), path)
    np.testing.assert_array_equal(open_mrc(path), np.concatenate([values, values[::-1] * 2]))


# Metadata of the images


@pytest.mark.parametrize("order", ["<", ">"])
def test_records_of_serialem(tmp_path, order):
    path = tmp_path / "a.st"
    bits = 0b1001  # tilt angle and magnification
    records = seri_bytes(order, bits, 2)[0][:8]
    room = records.ljust(1024, b"\0")
    old = lay(
        "int16", "image_stack", order, extended=room, exttyp=b"SERI", nint=4, nreal=bits,
        voxel=("1", "1", "1"),
    )  # fmt: skip
    path.write_bytes(old.raw)
    tilts = xr.Variable("image", [-59.99, 3.0])
    append(
        stack(np.zeros((2, 3, 5), "i2"), tilt_angle=tilts, magnification=("image", [53000, 53000])),
        path,
    )
    raw = path.read_bytes()
    assert raw[1024:2048].startswith(records + struct.pack(order + "4h", -5999, 530, 300, 530))
    assert not any(raw[1024 + 16 : 2048])
    assert open_mrc(path).tilt_angle.values[2:].tolist() == [-59.99, 3.0]
    before = path.read_bytes()
    for coords, words in [
        ({}, "holds tilt_angle, magnification of each image, but the data have no tilt_angle"),
        ({"tilt_angle": 3.0}, "have no magnification"),
        ({"tilt_angle": 300.0, "magnification": 100.0}, "values out of range"),
    ]:
        with pytest.raises(ValueError, match=words):
            append(xr.DataArray(np.zeros((3, 5), "i2"), coords, ("y", "x")), path)
    many = stack(np.zeros((253, 3, 5), "i2")).assign_coords(tilt_angle=1.0, magnification=100.0)
    with pytest.raises(ValueError, match="room for the records of 256 sections, but 257 are"):
        append(many, path)
    assert path.read_bytes() == before


def test_tilt_series_from_a_camera(tmp_path):
    path = tmp_path / "tilts.mrc"
    tilts = [0.0, 3.0, -3.0, 6.0, -6.0]
    for tilt in tilts:
        append(image(tilt, tilt_angle=tilt, stage_x=tilt, stage_y=0.0), path, reserve=5)
    found = open_mrc(path)
    assert found.mrc_kind == "image_stack"
    assert found.tilt_angle.values.tolist() == tilts
    assert found.stage_x.values.tolist() == tilts
    head = path.read_bytes()[:1024]
    assert [get(head, "<", name) for name in ("exttyp", "nint", "nsymbt")] == [b"SERI", 6, 1024]
    with pytest.warns(MrcWarning, match=r"tilt_angle \(by up to 0\.004 degree\) will be rounded"):
        append(image(9, tilt_angle=9.004, stage_x=0.0, stage_y=0.0), path)
    with pytest.warns(MrcWarning, match="dose of the sections will not be written$"):
        append(image(9, tilt_angle=9.0, stage_x=0.0, stage_y=0.0, dose=3.0), path)


def test_positions_and_sidecars_are_named(tmp_path):
    path = tmp_path / "a.mrcs"
    x = xr.Variable("x", np.arange(5) * 2.0, {"units": "angstrom"})
    append(image(1, x=x), path)
    with pytest.warns(MrcWarning, match=r"along x \(from 20 instead of 0 angstrom\) are not"):
        append(image(1, x=x + 20), path)
    (tmp_path / "a.rawtlt").write_text("1\n2\n")
    with pytest.warns(MrcWarning, match="the sidecar beside the file describes 2 sections"):
        append(image(1), path)


def test_a_sidecar_grows_with_its_stack(tmp_path):
    path, mdoc = tmp_path / "tilts.mrc", tmp_path / "tilts.mrc.mdoc"
    tilts = [0.123, 3.004, -3.3333]
    for tilt in tilts:
        append(image(tilt, tilt_angle=tilt, exposure_time=0.25), path, sidecar="mdoc")
    heads = [line for line in mdoc.read_text().splitlines() if line.startswith("[")]
    assert heads == ["[ZValue = 0]", "[ZValue = 1]", "[ZValue = 2]"]
    angles = [line for line in mdoc.read_text().splitlines() if line.startswith("TiltAngle")]
    assert angles == ["TiltAngle = 0.123", "TiltAngle = 3.004", "TiltAngle = -3.3333"]
    found = open_mrc(path)
    assert found.tilt_angle.values.tolist() == tilts
    assert found.exposure_time.values.tolist() == [0.25] * 3
    before, text = path.read_bytes(), mdoc.read_text()
    with pytest.raises(ValueError, match=r"but .* holds"):
        append(image(1, tilt_angle=1.0)[:, :4], path, sidecar="mdoc")
    lazy = da.zeros((4, 5), dtype="f4").map_blocks(broken, dtype="f4", meta=np.empty((0, 0), "f4"))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError):
        append(xr.DataArray(lazy, {"tilt_angle": 1.0}, ("y", "x")), path, sidecar="mdoc")
    assert (path.read_bytes(), mdoc.read_text()) == (before, text)
    # A call that is killed after it wrote the sidecar leaves a section that the stack has not.
    mdoc.write_text(f"{text}[ZValue = 3]\nTiltAngle = 77\n")
    append(image(9, tilt_angle=9.5, exposure_time=0.5), path, sidecar="mdoc")
    assert open_mrc(path).tilt_angle.values.tolist() == [*tilts, 9.5]
    mdoc.write_text(text)
    with pytest.raises(ValueError, match="describes 3 of the 4 images that are there"):
        append(image(1, tilt_angle=1.0), path, sidecar="mdoc")
    mdoc.unlink()
    with pytest.raises(FileNotFoundError):
        append(image(1, tilt_angle=1.0), path, sidecar="mdoc")
    assert read_header(path).nz == 4


def test_a_tilt_axis_that_the_sidecar_states_differently(tmp_path):
    path = tmp_path / "tilts.st"
    axes = [85.3, 85.3, -90.0]
    for axis in axes:
        append(image(1, tilt_angle=3.0, tilt_axis_angle=axis), path, sidecar="mdoc")
    assert open_mrc(path).tilt_axis_angle.values.tolist() == axes
    other = tmp_path / "other.st"
    append(image(1, tilt_angle=3.0), other, sidecar="mdoc")
    append(image(1, tilt_angle=3.0, tilt_axis_angle=85.3), other, sidecar="mdoc")
    np.testing.assert_array_equal(open_mrc(other).tilt_axis_angle, [np.nan, 85.3])


def broken(block):
    raise RuntimeError("no image")


def test_a_file_of_angles_grows_with_its_stack(tmp_path):
    path = tmp_path / "tilts.st"
    for tilt in (1.5, 2.0001, -3.0):
        append(image(tilt, tilt_angle=tilt), path, sidecar="rawtlt")
    assert (tmp_path / "tilts.st.rawtlt").read_text().split() == ["1.5", "2.0001", "-3.0"]
    assert open_mrc(path).tilt_angle.values.tolist() == [1.5, 2.0001, -3.0]


# Refusals


REFUSED = {
    "volume": (lay(), image(1), {}, r"read as a volume \(space group 1.*kind='image_stack'"),
    "size": (lay(kind="image_stack"), image(1), {}, r"are {'y': 4, 'x': 5}, .* {'y': 3, 'x': 5}"),
    "dtype": (
        lay("int16", "image_stack", lengths=(5, 4, 2)), image(1), {}, "float32, but .* holds int16"
    ),
    "mode": (
        lay(kind="image_stack", lengths=(5, 4, 2)), image(1), {"mode": 12}, "mode=12 .* mode 2"
    ),
    "voxel size": (
        lay(kind="image_stack", lengths=(5, 4, 2)), image(1), {"voxel_size": 1.4},
        "along x is 1.4 angstrom, but .* has 1.35",
    ),
    "no voxel size": (
        lay(kind="image_stack", lengths=(5, 4, 2), voxel=None), image(1), {"voxel_size": 1.4},
        "states no voxel size",
    ),
    "dimensions": (
        lay(kind="image_stack", lengths=(5, 4, 2)), image(1).expand_dims("z"), {},
        r"which is a volume, but .* holds a image_stack.*rename",
    ),
    "axes": (
        lay(kind="image_stack", axes=(1, 3, 2), lengths=(5, 4, 2)), image(1)[:, :4], {},
        "another axis",
    ),
    "only statistics say unsigned": (
        lay("int8", "image_stack", lengths=(5, 4, 2), nversion=0, dmin=0.0, dmax=255.0),
        image(1).astype("u1"), {}, "imod_stamp",
    ),
    "records of others": (
        lay(kind="image_stack", lengths=(5, 4, 2), extended=bytes(1024), exttyp=b"AGAR", nreal=32),
        image(1), {}, "which only the program that wrote them can add",
    ),
    "no images": (
        lay(kind="image_stack", lengths=(5, 4, 2)), image(1).expand_dims(image=0), {}, "length 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    old, obj, options, words = REFUSED[name]
    path = tmp_path / "a.mrc"
    path.write_bytes(old.raw)
    with pytest.raises(ValueError, match=words):
        append(obj, path, **options)
    assert path.read_bytes() == old.raw


def test_refused_files(tmp_path):
    with pytest.raises(ValueError, match="cannot grow: append to a plain one"):
        append(image(1), tmp_path / "a.mrcs.gz")
    packed = tmp_path / "a.mrcs"
    xarray_mrc.to_mrc(image(1).expand_dims("image"), packed, compression="gzip")
    with pytest.raises(ValueError, match="is compressed"):
        append(image(1), packed)
    with pytest.raises(ValueError, match="is remote"):
        append(image(1), "s3://bucket/a.mrcs")
    with pytest.raises(ValueError, match=r"a\.rec: .* volumes, expected a name for a stack"):
        append(image(1), tmp_path / "a.rec")
    short = tmp_path / "short.mrcs"
    short.write_bytes(lay(kind="image_stack").raw[:-1])
    with pytest.raises(MrcTruncatedError):
        append(image(1), short)
    assert short.stat().st_size == len(lay(kind="image_stack").raw) - 1


def test_a_kind_that_a_sidecar_decides(tmp_path):
    """With another image the sidecar no longer matches, and the file would become a volume."""
    path = tmp_path / "a.mrc"
    old = lay(kind="image_stack", lengths=(5, 4, 3), mz=3)
    path.write_bytes(old.raw)
    (tmp_path / "a.rawtlt").write_text("1\n2\n3\n")
    with pytest.raises(ValueError, match="would be read as a volume with more images"):
        append(image(1), path)
    assert path.read_bytes() == old.raw


# Failures, and others at the same time


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.mrcs"
    append(image(1), path)
    before = path.read_bytes()

    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 2:
            raise RuntimeError("no more images")
        return block

    lazy = da.zeros((4, 4, 5), dtype="f4", chunks=(1, 4, 5)).map_blocks(fail, dtype="f4")
    with pytest.raises(RuntimeError, match="no more images"):
        append(xr.DataArray(lazy, dims=DIMS), path)
    assert path.read_bytes()[: len(before)] == before  # a thread may still be at it
    other = tmp_path / "b.mrcs"
    other.write_bytes(before)
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError):
        append(xr.DataArray(lazy, dims=DIMS), other)
    assert other.read_bytes() == before


FULL = """
import resource, signal, sys
import numpy as np, xarray as xr
from xarray_mrc import append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = 40000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
image = xr.DataArray(np.ones((64, 64), "f4"), dims=("y", "x"))
count = 0
try:
    while True:
        count = append(image, sys.argv[1], voxel_size=1.5)
except OSError as error:
    print(count, error.errno)
"""


@ON_POSIX
def test_a_full_disk(tmp_path):
    """A limit on the size of files fails as a full disk does, in the middle of an image."""
    path = tmp_path / "a.mrcs"
    assert run_program(FULL, path).split() == ["2", str(errno.EFBIG)]
    assert path.stat().st_size == 1024 + 2 * 64 * 64 * 4
    assert mrcfile.validate(path)


@CAN_KILL
def test_killed_in_the_middle(tmp_path):
    path = tmp_path / "a.mrcs"
    append(stack(np.ones((2, 256, 256), "f4")), path)
    before = path.read_bytes()
    process = start("grow_slowly", path)
    wait_for(lambda: path.stat().st_size > len(before) + 3 * 2**20)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = path.read_bytes()
    assert left[: len(before)] == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the bytes after the data
        with mrcfile.open(path) as mrc:
            assert mrc.data.shape == (2, 256, 256)
            assert (mrc.data == 1).all()
    words = f"{len(left) - len(before)} bytes after the data, which the header does not count"
    with pytest.warns(MrcWarning, match=words):
        append(stack(np.full((1, 256, 256), 3, "f4")), path)
    with mrcfile.open(path) as mrc:
        assert mrc.data[:, 5, 5].tolist() == [1, 1, 3]


def test_readers_see_whole_images_meanwhile(tmp_path):
    path = tmp_path / "a.mrcs"
    append(image(0).pad(y=(0, 60), x=(0, 59), constant_values=0), path, voxel_size=1.5)
    first = open_mrc(path, chunks={})
    process = start("grow", path, 25)
    seen = set()
    while process.poll() is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that the header does not count yet
            found = open_mrc(path, chunks=None)
            values = found.values
            with mrcfile.open(path, permissive=True) as mrc:
                others = mrc.data[..., 5, 5].reshape(-1).tolist()
        seen.add(len(values))
        expected = [0, *range(len(values) - 1)]
        assert values[:, 63, 63].tolist() == values[:, 0, 0].tolist() == expected
        assert others == [0, *range(len(others) - 1)]
    process.communicate()
    assert process.returncode == 0
    assert len(seen) > 1
    assert read_header(path).nz == 26
    assert first.values.shape == (1, 64, 64)  # opened before all others were there


@ON_POSIX
def test_two_at_once(tmp_path):
    import fcntl

    path = tmp_path / "a.mrcs"
    append(image(1), path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another program appends to it"):
            append(image(2), path)
    assert append(image(2), path) == 2
