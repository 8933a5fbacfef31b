"""What is written reads back as it was: here, in mrcfile and in gemmi."""

import io
import itertools
import warnings

import dask.array as da
import gemmi
import mrcfile
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import FIELDS, get, put

from xarray_mrc import open_mrc, to_mrc

# Mode, data type given out, and what mrcfile can say of it.
MODES = {
    "int8": (None, "i1"),
    "uint8 as 0": (0, "u1"),
    "uint8 widened": (None, "u1"),
    "int16": (None, "i2"),
    "float32": (None, "f4"),
    "complex of int16": (3, "c8"),
    "complex64": (None, "c8"),
    "uint16": (None, "u2"),
    "float16": (None, "f2"),
    "rgb": (None, "rgb"),
    "four bits": (101, "u1"),
}
KINDS = {
    "image": ("y", "x"),
    "image_stack": ("image", "y", "x"),
    "volume": ("z", "y", "x"),
    "volume_stack": ("volume", "z", "y", "x"),
}
LENGTHS = {"volume": 2, "image": 3, "z": 3, "y": 5, "x": 7}
NOT_MRCFILE = ("complex of int16", "rgb", "four bits")  # modes that it does not know
UNTIMED = settings(deadline=None, max_examples=60)


def values_of(code, shape, seed=0):
    random = np.random.default_rng(seed)
    if code == "rgb":
        return random.integers(0, 256, (*shape, 3), np.uint8)
    if np.dtype(code).kind in "iu":
        return random.integers(0, 16, shape).astype(code)
    parts = random.integers(-99, 99, (*shape, 2))
    if np.dtype(code).kind == "c":
        return (parts[..., 0] + 1j * parts[..., 1]).astype(code)
    return parts[..., 0].astype(code) / np.dtype(code).type(8)


def array_of(name, kind, *, chunks=None, lengths=LENGTHS, voxel=1.35, start=20.25):
    dims = KINDS[kind]
    values = values_of(MODES[name][1], tuple(lengths[dim] for dim in dims))
    if name == "rgb":
        dims = (*dims, "rgb")
    coords = {
        dim: (dim, np.round(start + voxel * np.arange(lengths[dim]), 6), {"units": "angstrom"})
        for dim in dims
        if dim in "xyz"
    }
    array = xr.DataArray(values, coords, dims)
    return array if chunks is None else array.chunk(dict.fromkeys(dims, chunks))


def assert_same(found, array):
    assert found.dims == array.dims
    assert found.values.tobytes() == np.ascontiguousarray(array.values, found.dtype).tobytes()
    np.testing.assert_array_equal(found.values, array.values)
    for dim in set(array.dims) & set("xyz"):
        np.testing.assert_array_equal(found[dim].values, array[dim].values)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODES)
def test_matrix(tmp_path, name, kind, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    array = array_of(name, kind, chunks=2)
    to_mrc(array, path, mode=MODES[name][0])
    assert_same(open_mrc(path), array)
    assert len(list(tmp_path.iterdir())) == 1
    if name in NOT_MRCFILE or suffix == ".zst":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of unsigned bytes, and of float16
        if name != "float16":
            said = io.StringIO()
            assert mrcfile.validate(path, print_file=said), said.getvalue()
        found = mrcfile.read(path)
    if name == "uint8 as 0":
        found = found.view("u1")
    np.testing.assert_array_equal(found, array.values)
    if suffix == "" and name in ("int8", "int16", "float32", "uint16") and kind == "volume":
        grid = gemmi.read_ccp4_map(str(path)).grid.array
        np.testing.assert_array_equal(grid.T, array.values.astype(grid.dtype))


def as_it_lies(values):
    """Give the same values as they may lie in memory."""
    backwards = (slice(None, None, -1),) * values.ndim
    yield np.asfortranarray(values)
    yield np.ascontiguousarray(values[backwards])[backwards]
    yield np.repeat(values, 2, axis=-1)[..., ::2]
    yield values.astype(values.dtype.newbyteorder(">"))


@pytest.mark.parametrize("kind", ["image", "volume"])
@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("chunks", [None, 2])
def test_however_it_lies_in_memory(tmp_path, name, kind, chunks):
    array = array_of(name, kind)
    for i, values in enumerate(as_it_lies(array.values)):
        path = tmp_path / f"{i}.mrc"
        moved = array.copy(data=values)
        to_mrc(moved.chunk(chunks) if chunks else moved, path, mode=MODES[name][0])
        assert_same(open_mrc(path), array)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_chunks_without_a_length(tmp_path, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    array = array_of("float32", "volume")
    chunks = ((0, 1, 0, 2), (5, 0), (0, 4, 3))
    to_mrc(array.copy(data=da.from_array(array.values, chunks=chunks)), path)
    assert_same(open_mrc(path), array)


@pytest.mark.parametrize("start", [-10.9939995, 1.1067995, 102.130684])
def test_a_start_of_more_decimals_than_positions_have(tmp_path, start):
    array = array_of("float32", "volume", voxel=8.939, start=start)
    to_mrc(array, tmp_path / "a.mrc")
    assert_same(open_mrc(tmp_path / "a.mrc"), array)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lone", ["x", "y", "z", "volume"])
def test_a_length_of_one(tmp_path, name, kind, lone):
    if lone not in KINDS[kind]:
        pytest.skip("no such axis")
    array = array_of(name, kind, chunks=3, lengths=LENGTHS | {lone: 1})
    to_mrc(array, tmp_path / "a.mrc", mode=MODES[name][0])
    assert_same(open_mrc(tmp_path / "a.mrc"), array)


@given(
    st.sampled_from(list(MODES)),
    st.sampled_from(list(KINDS)),
    st.lists(st.integers(2, 6), min_size=5, max_size=5),
    st.integers(1, 5),
    st.integers(1, 20000),
    st.integers(-5000, 5000),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@UNTIMED
def test_any(tmp_path_factory, name, kind, lengths, chunk, voxel, start, packed, random):
    path = tmp_path_factory.mktemp("a") / ("a.mrc.gz" if packed else "a.mrc")
    lengths = dict(zip(LENGTHS, lengths, strict=True))
    lengths["z"] = max(2, lengths["z"])
    array = array_of(
        name, kind, chunks=chunk, lengths=lengths, voxel=voxel / 1000, start=start / 100
    )
    array.attrs["mrc_labels"] = "first\nsecond"
    order = list(array.dims)
    random.shuffle(order)
    to_mrc(array.transpose(*order), path, mode=MODES[name][0])
    found = open_mrc(path)
    assert_same(found, array)
    assert found.attrs["mrc_labels"].split("\n")[:2] == ["first", "second"]


@given(st.floats(1e-3, 100), st.floats(-1e5, 1e5), st.integers(2, 300))
@UNTIMED
def test_positions_to_the_precision_of_float32(tmp_path_factory, voxel, start, count):
    path = tmp_path_factory.mktemp("a") / "a.mrc"
    x = np.round(start + voxel * np.arange(count), 6)
    array = xr.DataArray(
        np.zeros((1, count), "f4"), {"x": ("x", x, {"units": "angstrom"})}, ("y", "x")
    )
    to_mrc(array, path)
    away = np.abs(open_mrc(path).x.values - x).max()
    # A voxel size is read as a decimal within three units in the last place of a float32.
    assert away <= 2e-6 + 1.3e-7 * abs(start) + 3.6e-7 * voxel * count


@given(st.integers(-60, 60), st.sampled_from([1.0, 0.832, 1.35, 2.5]), st.integers(10, 30))
@UNTIMED
def test_a_place_in_nstart_stays_there(tmp_path_factory, first, voxel, count):
    path = tmp_path_factory.mktemp("a") / "a.mrc"
    at = np.round((first + np.arange(count)) * voxel, 6)
    coords = {dim: (dim, at, {"units": "angstrom"}) for dim in "zyx"}
    array = xr.DataArray(np.zeros((count,) * 3, "i1"), coords, ("z", "y", "x"))
    array.attrs["mrc_origin_source"] = "nstart"
    to_mrc(array, path)
    raw = path.read_bytes()
    assert [get(raw, "<", f"n{axis}start") for axis in "xyz"] == [first] * 3
    assert get(raw, "<", "origin") == (0, 0, 0)
    assert_same(open_mrc(path), array)
    part = open_mrc(path)[2:9, 1:8, 3:]
    to_mrc(part, path.with_name("part.mrc"))
    assert_same(open_mrc(path.with_name("part.mrc")), part)


@pytest.mark.parametrize("voxel", [0.832, 1.35, 1.0825, 3.1416])
@pytest.mark.parametrize("source", ["origin", "nstart", "none"])
def test_cut_outs_and_bins_coincide_with_their_parent(tmp_path, voxel, source):
    start = {"origin": 123.4, "nstart": 17 * voxel, "none": 0.0}[source]
    array = array_of(
        "float32", "volume", lengths=dict.fromkeys("zyx", 40), voxel=voxel, start=start
    )
    array.attrs["mrc_origin_source"] = source
    to_mrc(array, tmp_path / "a.mrc")
    parent = open_mrc(tmp_path / "a.mrc")
    part = parent[10:30, 5:, 7:33]
    binned = parent.coarsen(z=3, y=3, x=3, boundary="trim").mean(keep_attrs=True)
    for number, child in enumerate((part, binned)):
        to_mrc(child, tmp_path / f"{number}.mrc")
        again = open_mrc(tmp_path / f"{number}.mrc")
        # The mean of three positions is off in its last bit, and is put right.
        assert_same(again, child.assign_coords({k: child[k].round(6) for k in "xyz"}))
    np.testing.assert_array_equal(again.x.values, parent.x.values[1:-1:3])
    xr.testing.assert_equal(open_mrc(tmp_path / "0.mrc") - parent, part - parent)


@pytest.mark.parametrize("voxel", [0.4007, 0.82215, 1.0825, 13.3291])
@pytest.mark.parametrize("centred", [False, True])
def test_positions_of_cut_outs_that_have_more_digits_than_float32(tmp_path, voxel, centred):
    values = np.zeros((2, 11521), "i1")
    x = np.round((np.arange(11521) - (5760 if centred else 0)) * voxel, 6)
    array = xr.DataArray(values, {"x": ("x", x, {"units": "angstrom"})}, ("y", "x"))
    to_mrc(array, tmp_path / "a.mrc")
    parent = open_mrc(tmp_path / "a.mrc")
    np.testing.assert_array_equal(parent.x, x)
    for begin in (3001, 7002, 11123):
        for step in (1, 2, 3):
            part = parent[:, begin : begin + 120 : step]
            to_mrc(part, tmp_path / "b.mrc", overwrite=True)
            assert open_mrc(tmp_path / "b.mrc").x.equals(part.x)
        bins = parent[:, begin : begin + 120].coarsen(x=3).mean().astype("f4")
        to_mrc(bins, tmp_path / "b.mrc", overwrite=True)
        np.testing.assert_array_equal(
            open_mrc(tmp_path / "b.mrc").x, parent.x[begin + 1 : begin + 120 : 3]
        )


def test_the_header(tmp_path):
    to_mrc(array_of("float32", "volume_stack", chunks=2), tmp_path / "a.mrc", labels="mine")
    raw = (tmp_path / "a.mrc").read_bytes()
    fields = {name: get(raw, "<", name) for name in FIELDS}
    assert [fields[f"n{a}"] for a in "xyz"] == [7, 5, 6]
    assert [fields[f"m{a}"] for a in "xyz"] == [7, 5, 3]
    assert fields["ispg"] == 401
    assert fields["nversion"] == 20141
    assert fields["machst"] == b"\x44\x44\0\0"
    assert fields["map_id"] == b"MAP "
    assert fields["nlabl"] == 2
    assert fields["label_bytes"].startswith(b"mine".ljust(80) + b"Created by xarray_mrc")
    values = array_of("float32", "volume_stack").values.astype("f8")
    assert (fields["dmin"], fields["dmax"]) == (values.min(), values.max())
    assert fields["dmean"] == np.float32(values.mean())
    assert fields["rms"] == pytest.approx(values.std())


def test_lazy_data_without_dask_are_written_in_slabs(tmp_path, monkeypatch):
    array = array_of("int16", "volume")
    to_mrc(array, tmp_path / "a.mrc")
    monkeypatch.setattr("xarray_mrc.writing.block_writing.SMALL_NBYTES", 1)
    for name, compression in itertools.product(("b.mrc", "c.mrc"), ("gzip", None)):
        to_mrc(
            open_mrc(tmp_path / "a.mrc", chunks=None),
            tmp_path / name,
            compression=compression,
            overwrite=True,
        )
        assert_same(open_mrc(tmp_path / name), array)


def test_the_graph_is_small(tmp_path):
    import cloudpickle

    array = xr.DataArray(da.zeros((2000, 4, 4), dtype="f4", chunks=(1, 4, 4)), dims=("z", "y", "x"))
    later = to_mrc(array, tmp_path / "a.mrc", compute=False)
    assert len(cloudpickle.dumps(dict(later.__dask_graph__()))) < 2000 * 600


def test_bytes_that_were_unsigned_are_named(tmp_path):
    array = array_of("uint8 as 0", "volume")
    to_mrc(array, tmp_path / "a.mrc", mode=0)
    with pytest.warns(RuntimeWarning, match="mode=0"):
        to_mrc(open_mrc(tmp_path / "a.mrc"), tmp_path / "b.mrc")
    assert open_mrc(tmp_path / "b.mrc").dtype == "u2"


@given(
    st.lists(st.decimals("0.2", "30", places=4), min_size=3, max_size=3),
    st.lists(st.integers(2, 30), min_size=3, max_size=3),
    st.lists(st.floats(-900, 900, width=32), min_size=3, max_size=3),
    st.booleans(),
)
@UNTIMED
def test_what_was_read_and_is_written_again(tmp_path_factory, sizes, lengths, starts, foreign):
    first, second = (tmp_path_factory.mktemp("a") / name for name in ("1.mrc", "2.mrc"))
    coords = {
        dim: (dim, np.round(float(size) * np.arange(n), 6), {"units": "angstrom"})
        for dim, size, n in zip("zyx", sizes, lengths, strict=True)
    }
    to_mrc(xr.DataArray(np.zeros(lengths, "i1"), coords), first)
    if foreign:  # a program of single precision, with any origin
        cella = [np.float32(size) * np.float32(n) for size, n in zip(sizes, lengths, strict=True)]
        fields = {"cella": tuple(map(float, cella[::-1])), "origin": tuple(starts[::-1])}
        first.write_bytes(put(first.read_bytes(), "<", **fields))
    found = open_mrc(first).load()
    to_mrc(found, second)
    assert foreign or first.read_bytes()[:1024] == second.read_bytes()[:1024]
    for dim in "zyx":
        np.testing.assert_array_equal(open_mrc(second)[dim], found[dim])
