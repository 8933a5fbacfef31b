"""Options of the writer: kinds, voxel sizes, another file's fields, parts of files, later."""

import struct
from contextlib import nullcontext

import dask
import dask.array as da
import gemmi
import mrcfile
import numpy as np
import pytest
import xarray as xr
from dask.diagnostics import ProgressBar
from mrcbytes import FORMS, KINDS, get, header, lay, put

from xarray_mrc import (
    MrcChangedError,
    MrcError,
    MrcWarning,
    edit_header,
    open_mrc,
    read_header,
    to_mrc,
)
from xarray_mrc.codec.statistics import measure

# The pixels of the forms hold nan and infinite values on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*values, which many programs")

DIMS = ("z", "y", "x")


def noise(shape=(6, 5, 7), chunks=2, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype("f4")
    return xr.DataArray(da.from_array(values, chunks=chunks), dims=DIMS)


def stated(path):
    found = read_header(path)
    return found.dmin, found.dmax, found.dmean, found.rms


def expected(values):
    fields = measure(np.asarray(values)).fields()
    return tuple(np.float32(v) for v in fields.values())


UNKNOWN = (0, -1, -2, -1)


def test_unnamed_dimensions(tmp_path):
    path = tmp_path / "a.mrc"
    for shape, kind in (((3, 4), "image"), ((2, 3, 4), "volume"), ((2, 2, 3, 4), "volume_stack")):
        to_mrc(xr.DataArray(np.zeros(shape, "i2")), path, overwrite=True)
        assert open_mrc(path).shape == shape
        assert open_mrc(path).attrs["mrc_kind"] == kind
    to_mrc(xr.DataArray(np.zeros((2, 3, 4), "i2")), path, overwrite=True, kind="image_stack")
    assert open_mrc(path).dims == ("image", "y", "x")
    tilts = open_mrc(path).rename(image="tilt")
    to_mrc(tilts, path, overwrite=True)
    assert open_mrc(path).dims == ("image", "y", "x")


def test_voxel_size_is_passed(tmp_path):
    path = tmp_path / "a.mrc"
    for given, found in (
        (2, (2, 2, 2)),
        ((1, 2, 3), (1, 2, 3)),
        ({"z": 3, "x": 1, "y": 2}, (1, 2, 3)),
    ):
        to_mrc(noise(), path, overwrite=True, voxel_size=given)
        assert read_header(path).voxel_size == found
    to_mrc(noise(), path, overwrite=True)
    assert read_header(path).cella == (0, 0, 0)
    assert mrcfile.validate(path)


def test_voxel_size_of_a_slice_whose_place_is_counted_in_voxels(tmp_path):
    at = {dim: (dim, 1.5 * np.arange(4.0), {"units": "angstrom"}) for dim in ("y", "x")}
    slab = xr.DataArray(np.zeros((1, 4, 4), "f4"), at, DIMS)
    slab = slab.assign_coords(z=("z", [12.0], {"units": "angstrom"}))
    slab.attrs["mrc_origin_source"] = "nstart"
    to_mrc(slab, tmp_path / "a.mrc", voxel_size={"z": 3.0})
    assert read_header(tmp_path / "a.mrc").nstart == (0, 0, 4)
    assert open_mrc(tmp_path / "a.mrc").z.values.tolist() == [12]


def test_another_voxel_size_leaves_the_place(tmp_path):
    at = {dim: (dim, 10 + 2.0 * np.arange(5), {"units": "angstrom"}) for dim in DIMS}
    array = xr.DataArray(np.zeros((5, 5, 5), "f4"), at, DIMS)
    to_mrc(array, tmp_path / "a.mrc", voxel_size={"z": 3.0})
    assert read_header(tmp_path / "a.mrc").origin == (10, 10, 10)


def test_a_dataset(tmp_path):
    dataset = noise().to_dataset(name="density")
    dataset.mrc.to_mrc(tmp_path / "a.mrc")
    dataset.density.mrc.to_mrc(tmp_path / "b.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def test_like_copies_what_is_not_carried(tmp_path):
    records = b"".join(struct.pack("<2i", 7, i) + bytes(24) for i in range(6))
    raw = header(
        nx=7, ny=5, nz=6, mz=1, mode=2, ispg=0, exttyp=b"AGAR", nsymbt=len(records), nint=2,
        nreal=6, imod_stamp=1146047817, imod_flags=32, idtype=1, tilt_angles=(1, 2, 3, 4, 5, 6),
        labels=(b"of the other",),
    )  # fmt: skip
    (tmp_path / "like.mrc").write_bytes(raw + records + bytes(4 * 210))
    array = noise().rename(z="image")
    to_mrc(array, tmp_path / "a.mrc", like=tmp_path / "like.mrc")
    made = (tmp_path / "a.mrc").read_bytes()
    assert made[1024 : 1024 + len(records)] == records
    for name in ("exttyp", "nsymbt", "nint", "nreal", "imod_stamp", "idtype", "tilt_angles"):
        assert get(made, "<", name) == get(raw, "<", name)
    assert read_header(tmp_path / "a.mrc").labels[0] == "of the other"
    np.testing.assert_array_equal(open_mrc(tmp_path / "a.mrc"), array)
    with pytest.warns(MrcWarning, match="records of 6 sections"):
        to_mrc(array[:3], tmp_path / "b.mrc", like=tmp_path / "like.mrc")
    assert get((tmp_path / "b.mrc").read_bytes(), "<", "nsymbt") == 0


def test_like_of_images_in_another_order(tmp_path):
    path = tmp_path / "like.mrc"
    records = b"".join(struct.pack("<2i6f", 1, 1, angle, *[0] * 5) for angle in (-3, 3, 0))
    raw = header(nx=2, ny=1, nz=3, mz=1, mode=2, ispg=0, exttyp=b"AGAR", nsymbt=96, nint=2, nreal=6)
    path.write_bytes(raw + records + np.arange(6, dtype="<f4").tobytes())
    array = open_mrc(path).load()
    assert array.tilt_angle.values.tolist() == [-3, 3, 0]
    to_mrc(array + 1, tmp_path / "a.mrc", like=path)
    assert open_mrc(tmp_path / "a.mrc").tilt_angle.equals(array.tilt_angle)
    for other in (array.sortby("tilt_angle"), array[::-1]):
        to_mrc(other, tmp_path / "b.mrc", like=path, overwrite=True)  # by the coordinate section
        assert open_mrc(tmp_path / "b.mrc").tilt_angle.variable.equals(other.tilt_angle.variable)
        assert get((tmp_path / "b.mrc").read_bytes(), "<", "nreal") == 6
        other = other.drop_vars("section")
        with pytest.warns(MrcWarning, match="tilt angles"):
            to_mrc(other, tmp_path / "b.mrc", like=path, overwrite=True)
        assert open_mrc(tmp_path / "b.mrc").tilt_angle.variable.equals(other.tilt_angle.variable)
    to_mrc(array[::-1].drop_vars("tilt_angle"), tmp_path / "c.mrc", like=path)


@pytest.mark.parametrize(
    "attrs",
    [
        {"mrc_space_group": np.array([146]), "mrc_cell_angles": np.array([90.0, 90.0, 120.0])},
        {"mrc_space_group": np.array([146, 146]), "mrc_kind": ["volume"]},
        {"mrc_space_group": "cubic", "mrc_origin_source": np.array(["nstart", "none"])},
        {"mrc_space_group": None, "mrc_origin_source": None, "mrc_labels": None},
        {"mrc_labels": np.array(["one", "two"])},
    ],
)
def test_attributes_as_other_programs_leave_them(tmp_path, attrs):
    path = tmp_path / "a.mrc"
    one = isinstance(attrs.get("mrc_space_group"), np.ndarray) and "mrc_kind" not in attrs
    for array in (noise(), noise().rename(z="dim_0", y="dim_1", x="dim_2")):
        with pytest.warns(MrcWarning, match="space group 146") if one else nullcontext():
            to_mrc(array.assign_attrs(attrs), path, overwrite=True)
    found = read_header(path)
    assert found.ispg == 1
    assert found.labels[:-1] == (("one", "two") if attrs.get("mrc_labels") is not None else ())


@pytest.mark.parametrize("order", ["<", ">"])
def test_like_copies_symmetry_that_goes_without_a_type(tmp_path, order):
    records = b"X,Y,Z".ljust(80) + b"-X,Y,-Z".ljust(80)
    (tmp_path / "like.map").write_bytes(lay(extended=records, order=order).raw)
    to_mrc(noise(), tmp_path / "a.mrc", like=tmp_path / "like.map")
    assert open_mrc(tmp_path / "a.mrc").attrs["mrc_symmetry"] == "X,Y,Z\n-X,Y,-Z"
    assert read_header(tmp_path / "a.mrc").exttyp == b"CCP4"
    assert mrcfile.validate(tmp_path / "a.mrc")


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2)])
def test_like_copies_the_cell_that_the_symmetry_is_of(tmp_path, axes):
    """A cut-out is no crystal of its own."""
    path, out = tmp_path / "like.map", tmp_path / "a.mrc"
    cell = {"mx": 50, "my": 40, "mz": 60, "cella": (41.23, 38.79, 52.31), "ispg": 19}
    path.write_bytes(lay(lengths=(7, 5, 6), axes=axes, nxstart=-3, nystart=4, **cell).raw)
    array = open_mrc(path).load()
    for data in (array, array[1:3], array[:, :1, 2:4]):
        to_mrc(data * 2, out, like=path, overwrite=True)
        found = gemmi.read_ccp4_map(str(out))
        assert found.grid.unit_cell.parameters[:3] == pytest.approx(cell["cella"])
        assert found.grid.spacegroup.number == 19
        assert read_header(out).m == (50, 40, 60)
        for dim in DIMS:
            np.testing.assert_array_equal(open_mrc(out)[dim], data[dim])
    binned = array.coarsen(dict.fromkeys(DIMS, 2), boundary="trim").mean()
    with pytest.warns(MrcWarning, match="space group 19 of the crystal is written as 1"):
        to_mrc(binned, out, like=path, overwrite=True)
    assert read_header(out).m == tuple(reversed(binned.shape))
    assert read_header(out).ispg == 1
    path.write_bytes(put(path.read_bytes(), "<", ispg=1, mx=7, my=5, mz=6))
    to_mrc(open_mrc(path)[:2], out, like=path, overwrite=True)
    assert axes != (1, 2, 3) or read_header(out).m == (7, 5, 2)


def test_angles_are_kept_and_the_symmetry_is_not(tmp_path):
    """The symmetry is that of the crystal's cell, and without like= the cell is the data's."""
    array = noise()
    for dim in DIMS:
        at = 3.0 + np.arange(array.sizes[dim])
        array = array.assign_coords({dim: (dim, at, {"units": "angstrom"})})
    array.attrs |= {"mrc_space_group": 146, "mrc_cell_angles": [90.0, 90.0, 120.0]}
    with pytest.warns(MrcWarning, match="space group 146") as caught:
        to_mrc(array, tmp_path / "a.mrc")
    assert len(caught) == 1
    found = open_mrc(tmp_path / "a.mrc")
    assert found.attrs["mrc_space_group"] == 1
    assert found.attrs["mrc_cell_angles"] == [90, 90, 120]
    np.testing.assert_allclose(found.y, array.y, atol=1e-5)


def test_ten_labels_at_most(tmp_path):
    array = noise()
    array.attrs["mrc_labels"] = "\n".join(f"label {i}" for i in range(10))
    to_mrc(array, tmp_path / "a.mrc")
    labels = read_header(tmp_path / "a.mrc").labels
    assert labels == tuple(f"label {i}" for i in range(10))
    to_mrc(open_mrc(tmp_path / "a.mrc"), tmp_path / "b.mrc")
    assert read_header(tmp_path / "b.mrc").labels == labels
    to_mrc(array, tmp_path / "c.mrc", labels=[f"mine {i}" for i in range(10)])
    assert read_header(tmp_path / "c.mrc").labels[-1] == "mine 9"
    array.attrs["mrc_labels"] = ["one", "two"]
    to_mrc(array, tmp_path / "d.mrc")
    assert read_header(tmp_path / "d.mrc").labels[:2] == ("one", "two")


def test_without_statistics(tmp_path):
    to_mrc(noise(), tmp_path / "a.mrc", stats=False)
    assert stated(tmp_path / "a.mrc") == UNKNOWN


def test_overwritten_by_what_is_computed_from_it(tmp_path):
    path = tmp_path / "a.mrc"
    values = np.random.default_rng(0).normal(size=(40, 512, 1024)).astype("f4")
    to_mrc(xr.DataArray(values, dims=DIMS), path)
    lazy = open_mrc(path)  # blocks of 64 and 16 MiB, which are maps of the file
    to_mrc(lazy.isel(z=slice(None, None, -1)) * np.float32(2), path, overwrite=True)
    np.testing.assert_array_equal(open_mrc(path), values[::-1] * 2)
    with pytest.raises(MrcChangedError):
        lazy.load()


@pytest.mark.parametrize("kind", KINDS)
def test_later(tmp_path, kind):
    shape, dims = {
        "image": ((5, 7), ("y", "x")),
        "image_stack": ((6, 5, 7), ("image", "y", "x")),
        "volume": ((6, 5, 7), DIMS),
        "volume_stack": ((2, 3, 5, 7), ("volume", *DIMS)),
    }[kind]
    array = xr.DataArray(noise().data.reshape(-1)[: np.prod(shape)].reshape(shape), dims=dims)
    path = tmp_path / "a.mrc"
    later = to_mrc(array.chunk(2), path, compute=False)
    assert path.stat().st_size == 1024 + 4 * array.size
    assert stated(path) == UNKNOWN
    before = open_mrc(path)
    with ProgressBar():
        assert later.compute() is None
    np.testing.assert_array_equal(before, array)
    assert stated(path) == expected(array)
    edit_header(path, nxstart=3, mx=9, labels="edited")
    later.compute()
    assert stated(path) == expected(array)
    assert read_header(path).labels == ("edited",)
    path.rename(tmp_path / "b.mrc")
    with pytest.raises(MrcError, match="removed or replaced"):
        later.compute()


def test_progress_is_seen(tmp_path, capsys):
    with ProgressBar(dt=0.001):
        to_mrc(noise(), tmp_path / "a.mrc")
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize("form", [f for f in FORMS.values() if not f.packed], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2)])
def test_region(tmp_path, form, order, axes):
    path = tmp_path / "a.mrc"
    laid = lay(form=form, order=order, axes=axes, lengths=(7, 5, 6))
    path.write_bytes(laid.raw)
    opened = open_mrc(path)
    part = opened[1:3, :, 2:4][::-1].compute()
    whole = opened.values.copy()
    whole[1:3, :, 2:4] = part
    to_mrc(part.drop_vars(DIMS), path, region={"z": slice(1, 3), "x": slice(2, 4)})
    np.testing.assert_array_equal(open_mrc(path), whole)
    assert stated(path) == UNKNOWN
    np.testing.assert_array_equal(opened, whole)
    to_mrc(opened.compute()[::-1], path, region={}, stats=False)
    assert stated(path) == UNKNOWN
    to_mrc(opened.compute(), path, region={"z": slice(0, 6)})
    np.testing.assert_array_equal(open_mrc(path), whole[::-1])
    assert stated(path) == expected(whole[::-1])
    raw = path.read_bytes()
    for name in ("mode", "cella", "imod_flags", "label_bytes", "nlabl"):
        assert get(raw, order, name) == get(laid.raw, order, name)


def test_region_of_bytes_that_are_unsigned_by_their_range(tmp_path):
    path = tmp_path / "a.mrc"
    raw = header(nx=4, ny=3, nz=2, mz=2, mode=0, nversion=0, dmin=0, dmax=255)
    path.write_bytes(raw + bytes(range(200, 224)))
    part = open_mrc(path)[:1].drop_vars(DIMS).compute()
    with pytest.raises(ValueError, match="only its statistics show that its bytes are unsigned"):
        to_mrc(part, path, region={"z": slice(1, 2)})
    assert path.read_bytes() == raw + bytes(range(200, 224))
    edit_header(path, imod_stamp=1146047817, imod_flags=4)
    to_mrc(part, path, region={"z": slice(1, 2)})
    np.testing.assert_array_equal(open_mrc(path)[1], part[0])


def test_regions_by_and_by(tmp_path):
    path, array = tmp_path / "a.mrc", noise()
    to_mrc(array * 0, path, compute=False)
    jobs = [
        to_mrc(array[i : i + 2], path, region={"z": slice(i, i + 2)}, compute=False)
        for i in (0, 2, 4)
    ]
    dask.compute(*jobs)
    np.testing.assert_array_equal(open_mrc(path), array)
    assert stated(path) == UNKNOWN


def test_a_region_that_does_not_fit(tmp_path):
    path, array = tmp_path / "a.mrc", noise()
    to_mrc(array, path)
    to_mrc(array, tmp_path / "a.mrc.gz")
    to_mrc(abs(array[:2]).astype("u1"), tmp_path / "b.mrc", mode=101)
    raw = path.read_bytes()
    part = array[:2]
    for options, said in (
        ({"region": {"z": slice(5, 7)}}, "6 long"),
        ({"region": {"z": slice(0, 4, 2)}}, "without a step"),
        ({"region": {"z": slice(0, 3)}}, "long, but"),
        ({"region": {"w": slice(0, 2)}}, "rename"),
        ({"region": {"z": [0, 1]}}, "expected an integer or a slice"),
        ({"region": {"z": 0}}, "long, but"),
        ({"region": {"z": 6}}, "6 long"),
        ({"region": {"z": -7}}, "6 long"),
        ({"region": {"z": True}}, "expected an integer or a slice"),
        ({"region": {"z": slice(0, 2)}, "voxel_size": 2}, "edit_header"),
        ({"region": {"z": slice(0, 2)}, "labels": "new"}, "edit_header"),
        ({"region": {"z": slice(0, 2)}, "compression": "gzip"}, "plain file"),
        ({"region": {"z": slice(0, 2)}, "compression_level": 3}, "plain file"),
        ({"region": {"z": slice(0, 2)}, "mode": 1}, "has mode 2"),
        ({"region": {"z": slice(0, 2)}, "dtype": "i2"}, "astype.'float32'"),
    ):
        with pytest.raises(ValueError, match=said):
            to_mrc(part, path, **options)
    with pytest.raises(TypeError, match="region='auto', expected a dict"):
        to_mrc(part, path, region="auto")
    with pytest.raises(ValueError, match="compressed"):
        to_mrc(part, tmp_path / "a.mrc.gz", region={"z": slice(0, 2)})
    nibbles = abs(part[:, :, :2]).astype("u1")
    with pytest.raises(ValueError, match="even columns"):
        to_mrc(nibbles, tmp_path / "b.mrc", region={"x": slice(1, 3)})
    to_mrc(nibbles + np.uint8(9), tmp_path / "b.mrc", region={"x": slice(2, 4)})
    assert (open_mrc(tmp_path / "b.mrc")[:, :, 2:4] == nibbles + 9).all()
    for other, said in ((part.astype("c8"), "complex"), (part.astype("M8[s]"), "numbers")):
        with pytest.raises(ValueError, match=said):
            to_mrc(other, path, region={"z": slice(0, 2)}, dtype="f4")
    assert path.read_bytes() == raw
