"""What MRC can't hold is refused, with a hint, and nothing is touched."""

import time

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xarray_mrc import MrcWarning, open_mrc, to_mrc

DIMS = ("z", "y", "x")
ANGSTROM = {"units": "angstrom"}


def zeros(dtype="f4", shape=(2, 3, 4), dims=DIMS, **coords):
    found = {dim: (dim, np.array(at, "f8"), ANGSTROM) for dim, at in coords.items()}
    return xr.DataArray(np.zeros(shape, dtype), found, dims)


REFUSED = [
    (zeros("f8"), {"dtype": "f8"}, "dtype='float32'"),
    (zeros("i8"), {}, "int16.*uint16.*float32.*not known before"),
    (zeros("i4"), {}, "int16.*uint16.*float32.*not known before"),
    (zeros("u8"), {"dtype": "u4"}, "uint32.*int16"),
    (zeros("?"), {"dtype": "?"}, "dtype='int8'"),
    (zeros("c16"), {"dtype": "c16"}, "complex64"),
    (zeros("f8") + 1e300, {}, "1e.300"),
    (zeros("c16") + 1e300j, {}, "1e.300"),
    (zeros("U1"), {}, "expected numbers"),
    (zeros(), {"storage_options": {"key": "any"}}, "is not remote"),
    (zeros(), {"mode": 5}, "expected one of 0, 1, 2"),
    (zeros("c8"), {"mode": 2}, "complex"),
    (zeros("u1"), {"mode": 16}, "no dimension rgb"),
    (zeros("u1", dims=("y", "x", "rgb")), {}, "expected 3"),
    (zeros("f4", (2, 2, 3), ("y", "x", "rgb")), {}, "uint8"),
    (zeros(), {"mode": 2, "dtype": "i2"}, "mode=2 holds float32"),
    (zeros("i4") + 40000, {"mode": 1}, "40000"),
    (zeros("f4") + 0.5, {"mode": 1}, "0.5"),
    (zeros("u1") + np.uint8(16), {"mode": 101}, "from 0 to 15"),
    (zeros("c8") + 0.5j, {"mode": 3}, "0.5"),
    (zeros("f4") + 1e6, {"mode": 12}, "float16"),
    (zeros("u1") + np.uint8(200), {"dtype": "i1"}, "200"),
    (zeros("f2") + np.float16(32768), {"mode": 1}, "32768"),
    (zeros("f2") + np.float16(32768), {"mode": 3}, "32768"),
    (zeros("f2") + np.float16(np.inf), {"mode": 6}, "inf"),
    (zeros(shape=(2, 3), dims=("z", "x")), {}, "expected one of"),
    (zeros(shape=(2,), dims=("x",)), {}, "expected one of"),
    (zeros(dims=("volume", "y", "x")), {}, "kind='image_stack'"),
    (zeros(shape=(), dims=()), {}, "expected one of"),
    (zeros(shape=(2,), dims=("dim_0",)).assign_attrs(mrc_kind="image"), {}, "expected one of"),
    (zeros(), {"kind": "image"}, "has 2.*isel"),
    (zeros(), {"kind": "volume_stack"}, "has 4.*expand_dims"),
    (zeros(), {"kind": "stack"}, "expected one of image"),
    (zeros(shape=(0, 3, 4)), {}, "length 0"),
    (zeros(x=[0, 1, 2, 4]), {}, "sortby"),
    (zeros(x=[3, 2, 1, 0]), {}, "assign_coords.x=original.x.*sortby.'x'"),
    (zeros(x=[3, 0, 1, 2]), {}, "roll.roll_coords=True"),
    (zeros(x=[0, 0, 0, 0]), {}, "evenly"),
    (zeros(x=[0, np.nan, 2, 3]), {}, "no positions"),
    (zeros(x=[0, 4e-6, 8e-6, 12e-6]), {}, "look at the units"),
    (zeros(x=[-9e8, -3e8, 3e8, 9e8]), {}, "look at the units"),
    (zeros(), {"voxel_size": 3e8}, "look at the units"),
    (zeros().assign_coords(x=("x", list("abcd"), ANGSTROM)), {}, "no positions"),
    (zeros(), {"voxel_size": "wide"}, "length in angstrom"),
    (zeros(), {"voxel_size": 1j}, "length in angstrom"),
    (zeros(), {"voxel_size": (1, 2)}, "three of them"),
    (zeros(), {"voxel_size": -1.0}, "length in angstrom"),
    (zeros(), {"voxel_size": {"w": 1.0}}, "length in angstrom"),
    (zeros(), {"voxel_size": 1.35e-10}, "length in angstrom"),
    (zeros(), {"voxel_size": {"x": None}}, "length in angstrom"),
    (zeros().assign_attrs(mrc_cell_angles=[0, 0, 0]), {}, "angles of a cell"),
    (zeros().assign_attrs(mrc_cell_angles=[90, 90, 400]), {}, "angles of a cell"),
    (zeros().assign_attrs(mrc_cell_angles=[]), {}, "mrc_cell_angles|cellb"),
    (zeros().assign_attrs(mrc_labels="\n".join("abcdefghijk")), {}, "at most 10"),
    (zeros(), {"labels": ["a" * 81]}, "80"),
    (zeros(), {"labels": ["a"] * 11}, "at most 10"),
    (zeros(), {"labels": "\u4e2d"}, "Latin-1"),
    (zeros(), {"compression": "xz"}, "can't be written"),
    (zeros(), {"compression": "gzip", "compression_level": 10}, "compression_level=10, .* 1 to 9"),
    (zeros(), {"compression": "zstd", "compression_level": 23}, "compression_level=23, .* 1 to 22"),
    (zeros(), {"compression": None, "compression_level": 6}, "is not compressed: name it .gz"),
    (zeros().to_dataset(name="a").assign(b=1), {}, "'data'"),
    (zeros(), {"like": zeros()}, "does not know its file"),
]


@pytest.mark.parametrize(("array", "options", "said"), REFUSED)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_refused(tmp_path, array, options, said, chunked, suffix):
    old = tmp_path / f"a.mrc{suffix}"
    old.write_bytes(b"old")
    with pytest.raises(ValueError, match=said):
        to_mrc(array.chunk(1) if chunked else array, old, overwrite=True, **options)
    assert old.read_bytes() == b"old"
    # Threads that were at work when the first one failed clear up after themselves.
    for _ in range(500):
        if list(tmp_path.iterdir()) == [old]:
            return
        time.sleep(0.01)
    raise AssertionError(list(tmp_path.iterdir()))


@pytest.mark.parametrize("labels", [5, [1], b"text"])
def test_labels_that_are_no_text(tmp_path, labels):
    with pytest.raises(TypeError):
        to_mrc(zeros(), tmp_path / "a.mrc", labels=labels)
    with pytest.raises(TypeError):
        to_mrc(zeros().assign_attrs(mrc_labels=labels), tmp_path / "a.mrc")
    assert not list(tmp_path.iterdir())


def test_an_existing_file(tmp_path):
    to_mrc(zeros(), tmp_path / "a.mrc")
    raw = (tmp_path / "a.mrc").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        to_mrc(zeros() + 1, tmp_path / "a.mrc")
    with pytest.raises(FileExistsError, match="compute=False"):
        to_mrc(zeros() + 1, tmp_path / "a.mrc", overwrite=True, compute=False)
    with pytest.raises(ValueError, match="compressed"):
        to_mrc(zeros(), tmp_path / "b.mrc.gz", compute=False)
    assert (tmp_path / "a.mrc").read_bytes() == raw
    assert [p.name for p in tmp_path.iterdir()] == ["a.mrc"]


def test_chunks_of_unknown_length(tmp_path):
    values = da.zeros((4, 3), chunks=2, dtype="f4")
    array = xr.DataArray(values[values[:, 0] == 0], dims=("y", "x"))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        to_mrc(array, tmp_path / "a.mrc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda block: block[:, :2], "2, 4"),
        (lambda block: np.concatenate([block, block]), "expected .1, 3, 4"),
        (lambda block: block[0], "the shape .3, 4"),
        (lambda block: block + 1j, "complex64, expected .* real"),
        (lambda block: block.astype("O"), "object"),
        (lambda block: np.ma.masked_equal(block, 0), "masked"),
    ],
)
def test_blocks_that_are_not_what_was_announced(tmp_path, made, said, suffix):
    """dask believes it; what is missing would be zeros, and what is too much lie over others."""
    values = da.zeros((2, 3, 4), chunks=(1, 3, 4), dtype="f4")
    meta = np.empty((0, 0, 0), "f4")
    array = xr.DataArray(da.map_blocks(made, values, dtype="f4", meta=meta), dims=DIMS)
    with pytest.raises(ValueError, match=said):
        to_mrc(array, tmp_path / f"a.mrc{suffix}")
    assert not (tmp_path / f"a.mrc{suffix}").exists()


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        to_mrc(zeros(), tmp_path / "none" / "a.mrc")


@pytest.mark.parametrize("units", ["pixel", "px", "1", "degree", "nM", "a", "furlong"])
def test_units_that_are_no_length(tmp_path, units):
    array = zeros(x=[0, 1, 2, 3])
    array.x.attrs["units"] = units
    with pytest.raises(ValueError, match=f"units='{units}', expected a length: set obj.x.attrs"):
        to_mrc(array, tmp_path / "a.mrc")
    to_mrc(array.drop_vars("x"), tmp_path / "b.mrc", voxel_size=10)  # as the error says
    array.x.attrs["units"] = "angstrom"  # as it says, too
    to_mrc(array, tmp_path / "a.mrc")


def test_no_voxel_size_is_told(tmp_path):
    array = zeros(shape=(1, 1), dims=("y", "x"), x=[5], y=[5])
    with pytest.warns(MrcWarning, match="voxel_size="):
        to_mrc(array, tmp_path / "a.mrc")
    to_mrc(array, tmp_path / "a.mrc", voxel_size=2, overwrite=True)
    assert open_mrc(tmp_path / "a.mrc").x.values.tolist() == [5]
