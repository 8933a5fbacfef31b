"""edit_header changes what it was asked to, and nothing else; statistics say what data are."""

import gzip
import lzma

import dask.array as da
import mrcfile
import numpy as np
import pytest
import xarray as xr
from mrcbytes import FIELDS, header, lay, put

from xarray_mrc import MrcError, edit_header, open_mrc, read_header, statistics, to_mrc

LAID = lay(lengths=(7, 5, 6), labels=(b"old",))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.mrc").write_bytes(LAID.raw)
    return tmp_path / "a.mrc"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"voxel_size": 2}, {"cella": (14.0, 10.0, 12.0)}),
        ({"voxel_size": {"z": 3}}, {"cella": (9.449999809265137, 12.5, 18.0)}),
        ({"origin": (1, -2, 3.5)}, {"origin": (1, -2, 3.5)}),
        ({"labels": "a\nb"}, {"nlabl": 2, "label_bytes": b"a".ljust(80) + b"b".ljust(720)}),
        ({"nxstart": -4}, {"nxstart": -4}),
        ({"kind": "image_stack"}, {"ispg": 0, "mz": 1, "cella": (9.449999809265137, 12.5, 0.875)}),
        ({"kind": "volume_stack", "mz": 2, "cella": (9.45, 12.5, 1.75)}, {"ispg": 401, "mz": 2}),
        (
            {"kind": "volume_stack", "mz": 2},
            {"ispg": 401, "mz": 2, "cella": (9.449999809265137, 12.5, 1.75)},
        ),
        ({"dmin": -1.5, "dmax": 2.5, "dmean": 0.5, "rms": 1.0}, {"dmin": -1.5, "rms": 1.0}),
        ({"lskflg": 0, "exttyp": b"MRCO"}, {"exttyp": b"MRCO"}),
    ],
)
def test_only_what_was_asked(tmp_path, order, asked, fields):
    raw = lay(order=order, lengths=(7, 5, 6), labels=(b"old",)).raw
    path = tmp_path / "a.mrc"
    path.write_bytes(raw)
    shown = edit_header(path, dry_run=True, **asked)
    assert path.read_bytes() == raw
    assert edit_header(path, **asked) == shown
    assert shown
    now = path.read_bytes()
    cella = asked.get("cella")
    expected = put(raw, order, **({"cella": cella} if cella else {}) | asked_fields(asked) | fields)
    assert now == expected
    assert not edit_header(path, **asked)
    for name in fields:
        assert name == "label_bytes" or name in shown
    assert str(path) in str(shown)


def asked_fields(asked):
    return {name: value for name, value in asked.items() if name in FIELDS and name != "origin"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("imod_flags", 16), ("idtype", 1), ("creatid", 7), ("skew_translation", (1, 2, 3))],
)
def test_what_is_not_shown_of_a_file_is_shown_of_an_edit(path, name, value):
    """The difference is empty only if no byte changes."""
    shown = edit_header(path, **{name: value})
    assert path.read_bytes() == put(LAID.raw, "<", **{name: value})
    assert shown[name][1] == value


def test_mrcfile_would_have_destroyed_it(path):
    edit_header(path, voxel_size=2)
    assert path.read_bytes()[1024:] == LAID.raw[1024:]
    assert mrcfile.validate(path)
    np.testing.assert_array_equal(open_mrc(path), LAID.pixels)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"nx": 70}, MrcError, "bytes"),
        ({"mode": 7}, MrcError, "mode"),
        ({"mapc": 2}, ValueError, "valid"),
        ({"nsymbt": 10**9 + 1}, ValueError, "extended"),
        ({"kind": "image"}, ValueError, "one section"),
        ({"kind": "volume_stack", "mz": 4}, ValueError, "pass mz="),
        ({"nope": 1}, TypeError, "no field"),
        ({"nxstart": 1.5}, ValueError, "nxstart"),
        ({"labels": ["a"] * 11}, ValueError, "at most 10"),
        ({"voxel_size": (1, 2)}, ValueError, "three"),
        ({"machst": bytes(4), "map_id": b"no  "}, ValueError, "valid"),
        ({"nx": 0}, MrcError, "would be unreadable: nx is 0"),
        ({"nx": 5}, ValueError, "more than the header"),
        ({"mode": 0}, ValueError, "more than the header"),
        ({"nz": 5, "mz": 5}, ValueError, "more than the header"),
        ({"cellb": (90, 90, float("nan"))}, ValueError, "make no cell"),
        ({"cellb": (0.1, 0.1, 170)}, ValueError, "make no cell"),
        ({"nzstart": -(2**31)}, ValueError, "10 times"),
        ({"ispg": -1}, ValueError, "space group"),
        ({"origin": 5}, ValueError, "origin"),
        ({"origin": (1, 2)}, ValueError, "origin"),
        ({"origin": "abc"}, ValueError, "origin"),
        ({"origin": (float("inf"), 0, 0)}, ValueError, "not a position"),
        ({"labels": [b"bytes"]}, TypeError, "expected a str"),
    ],
)
def test_refused(path, asked, error, said):
    with pytest.raises(error, match=said):
        edit_header(path, **asked)
    assert path.read_bytes() == LAID.raw


def test_a_dataset_that_is_open_reads_on(path):
    lazy = open_mrc(path)
    edit_header(path, origin=(9, 9, 9))
    np.testing.assert_array_equal(lazy, LAID.pixels)


def test_imods_sign(tmp_path):
    raw = header(imod_stamp=1146047817, imod_flags=0, nversion=0) + bytes(96)
    (tmp_path / "a.mrc").write_bytes(raw)
    edit_header(tmp_path / "a.mrc", origin=(1, 2, 3))
    assert read_header(tmp_path / "a.mrc").origin == (-1, -2, -3)
    assert open_mrc(tmp_path / "a.mrc").x[0] == 1
    for asked in ({"nversion": 20141}, {"imod_flags": 4}, {"imod_stamp": 0}):
        with pytest.raises(ValueError, match="other sign"):
            edit_header(tmp_path / "a.mrc", **asked)
    edit_header(tmp_path / "a.mrc", nversion=20141, origin=(1, 2, 3))
    assert read_header(tmp_path / "a.mrc").origin == (1, 2, 3)


def test_kind_of_permuted_axes(path):
    raw = lay(lengths=(7, 5, 6), axes=(3, 1, 2), ispg=0, labels=(b"old",)).raw
    path.write_bytes(raw)
    edit_header(path, kind="volume")
    assert path.read_bytes() == put(raw, "<", ispg=1)


def test_no_place_for_a_place(path):
    raw = put(LAID.raw, "<", nxstart=3)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="nxstart=0"):
        edit_header(path, origin=(0, 0, 0))
    assert path.read_bytes() == raw
    edit_header(path, origin=(0, 0, 0), nxstart=0)
    assert open_mrc(path).x[0] == 0
    path.write_bytes(put(LAID.raw, "<", mx=0))
    with pytest.raises(ValueError, match="mx="):
        edit_header(path, voxel_size=2)
    edit_header(path, voxel_size={"y": 2})
    edit_header(path, voxel_size=2, mx=7)
    assert read_header(path).voxel_size == (2, 2, 2)


def test_fix(path):
    path.write_bytes(put(LAID.raw, "<", map_id=b"MAP\0", nlabl=7))
    edit_header(path, fix=True)
    assert path.read_bytes() == LAID.raw
    path.write_bytes(put(LAID.raw, "<", nsymbt=-4))
    edit_header(path, fix=True)
    assert path.read_bytes() == LAID.raw
    symmetry = lay(extended=b"X,Y,Z".ljust(80)).raw
    path.write_bytes(symmetry)
    edit_header(path, fix=True)
    assert path.read_bytes() == put(symmetry, "<", exttyp=b"CCP4")
    assert mrcfile.validate(path)


@pytest.mark.parametrize(
    "asked",
    [{"kind": "volume"}, {"dmax": 100.0}, {"dmin": 0.0, "dmax": -1.0}, {"nversion": 20141}],
    ids=str,
)
def test_bytes_keep_their_sign(tmp_path, asked):
    raw = header(
        nx=4, ny=3, nz=2, mx=4, my=3, mz=2, mode=0, ispg=0, nversion=0, dmin=0, dmax=255,
        nsymbt=80,
    )  # fmt: skip
    raw += bytes(80) + bytes(range(200, 224))
    (tmp_path / "a.mrc").write_bytes(raw)
    with pytest.raises(ValueError, match="read as int8 instead of uint8"):
        edit_header(tmp_path / "a.mrc", **asked)
    assert (tmp_path / "a.mrc").read_bytes() == raw
    edit_header(tmp_path / "a.mrc", imod_stamp=1146047817, imod_flags=4, **asked)
    assert open_mrc(tmp_path / "a.mrc").values.tobytes() == raw[1104:]
    assert open_mrc(tmp_path / "a.mrc").dtype == "u1"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_compressed(tmp_path, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    array = xr.DataArray(np.arange(210, dtype="i2").reshape(6, 5, 7), dims=("z", "y", "x"))
    to_mrc(array, path)
    raw = path.read_bytes()
    with pytest.raises(ValueError, match="rewrite=True"):
        edit_header(path, voxel_size=2)
    assert edit_header(path, voxel_size=2, dry_run=True)
    assert path.read_bytes() == raw
    edit_header(path, voxel_size=2, rewrite=True)
    assert read_header(path).voxel_size == (2, 2, 2)
    np.testing.assert_array_equal(open_mrc(path), array)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_container_that_can_not_be_written(tmp_path):
    path = tmp_path / "a.mrc.xz"
    path.write_bytes(lzma.compress(LAID.raw))
    for options in ({}, {"rewrite": True}):
        with pytest.raises(ValueError, match="'xz' can't be written"):
            edit_header(path, voxel_size=2, **options)
    assert edit_header(path, voxel_size=2, dry_run=True)


def test_a_file_that_was_cut_off_before(path):
    path.write_bytes(LAID.raw[:-1])
    with pytest.raises(MrcError, match=r"^(?!.*would be unreadable).*cut off"):
        edit_header(path, voxel_size=2)


def test_bytes_behind_compressed_data_are_kept(tmp_path):
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(gzip.compress(LAID.raw + b"and more"))
    edit_header(path, nxstart=3, rewrite=True)
    assert gzip.decompress(path.read_bytes()) == put(LAID.raw, "<", nxstart=3) + b"and more"


def test_statistics(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(1000, 1, size=(9, 40, 50)).astype("f4")
    wide = values.astype("f8")
    path = tmp_path / "a.mrc"
    array = xr.DataArray(values, dims=("z", "y", "x"))
    to_mrc(array, path)
    (tmp_path / "b.mrc.gz").write_bytes(gzip.compress(path.read_bytes()))
    blocks = array.chunk(7)
    for data in (
        values, array, blocks, blocks.data, blocks.to_dataset(name="a"), path, str(path),
        path.read_bytes(), tmp_path / "b.mrc.gz", open_mrc(path, chunks=None),
    ):  # fmt: skip
        found = statistics(data)
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert found.count == values.size
        assert found.mean == pytest.approx(wide.mean(), rel=1e-14)
        assert found.rms == pytest.approx(wide.std(), rel=1e-11)
    assert statistics(da.from_array(np.array([1.0, np.nan]), chunks=1)).nans == 1
    assert statistics([1, 2, 6]).mean == 3
    masked = np.ma.masked_greater(np.arange(12.0), 5)
    for data in (masked, da.from_array(masked, chunks=5)):
        assert (statistics(data).mean, statistics(data).maximum) == (2.5, 5)


def test_statistics_of_lazy_data_are_measured_in_parts(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(2, 3, 40, 50)).astype("f4")
    to_mrc(xr.DataArray(values, dims=("volume", "z", "y", "x")), tmp_path / "a.mrc")
    lazy = open_mrc(tmp_path / "a.mrc", chunks=None)
    read = []
    loaded = xr.Variable.to_numpy
    monkeypatch.setattr("xarray_mrc.checking.array_statistics.PREFERRED_NBYTES", 7 * 200)
    monkeypatch.setattr(xr.Variable, "to_numpy", lambda v: read.append(v.nbytes) or loaded(v))
    found = statistics(lazy)
    assert (found.count, found.maximum) == (values.size, values.max())
    assert found.rms == pytest.approx(values.astype("f8").std())
    assert max(read) == 7 * 200
