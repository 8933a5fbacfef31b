"""A folder of files as a tree."""

import warnings

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay, put

from xarray_mrc import MrcError, MrcWarning, open_collection
from xarray_mrc.multifile import collection


@pytest.fixture
def folder(tmp_path):
    """Two tilt series with their tomograms, in folders of their own."""
    for number in (1, 2):
        home = tmp_path / f"TS_{number}"
        home.mkdir()
        (home / "tilts.st").write_bytes(lay("int16", "image_stack", seed=number).raw)
        (home / "tilts.rec").write_bytes(lay("int16", "volume", seed=number).raw)
        (home / "notes.txt").write_text("no map")
    return tmp_path


def test_one_node_a_file(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = open_collection(folder)
    assert sorted(tree) == ["TS_1", "TS_2"]
    assert sorted(tree["TS_1"]) == ["tilts.rec", "tilts.st"]
    for number in (1, 2):
        for name, kind in (("tilts.st", "image_stack"), ("tilts.rec", "volume")):
            node = tree[f"TS_{number}/{name}"]
            np.testing.assert_array_equal(node.data, lay("int16", kind, seed=number).pixels)
            assert node.data.chunks is not None
            assert node.data.attrs["mrc_kind"] == kind
    means = tree.match("*.rec").map_over_datasets(lambda ds: ds.mean() if ds else ds)
    expected = lay("int16", "volume", seed=2).pixels.mean()
    assert float(means["TS_2/tilts.rec"].data) == pytest.approx(expected)


def test_options_and_single_folders(folder):
    tree = open_collection([folder / "TS_1" / "tilts.rec"], chunks=None, coords="none")
    assert list(tree) == ["tilts.rec"]
    assert tree["tilts.rec"].data.chunks is None
    assert not tree["tilts.rec"].coords
    assert sorted(open_collection(str(folder / "TS_*" / "*.st"))) == ["TS_1", "TS_2"]


def test_files_that_cannot_be_read_are_named_once(folder):
    (folder / "TS_1" / "cut.mrc").write_bytes(lay("int16", "volume").raw[:-1])
    (folder / "TS_2" / "odd.mrc").write_bytes(put(lay("int16", "volume").raw, "<", mapc=0))
    with pytest.warns(MrcWarning) as caught:
        tree = open_collection(folder)
    (warning,) = caught
    assert "TS_1/cut.mrc was left out: the header says" in str(warning.message)
    assert "TS_2/odd.mrc: " in str(warning.message)
    assert sorted(tree["TS_1"]) == ["tilts.rec", "tilts.st"]
    assert "odd.mrc" in tree["TS_2"]
    with pytest.raises(MrcError, match="no file can be read"):
        open_collection(folder / "TS_1" / "cut.mrc")


def test_too_many_files(folder, monkeypatch):
    monkeypatch.setattr(collection, "MAX_FILES", 3)
    with pytest.raises(ValueError, match=r"4 files were found.*xarray_mrc\.index"):
        open_collection(folder)


def test_nothing_is_read(folder):
    big = folder / "big.mrc"
    with big.open("wb") as file:
        file.write(put(lay("float32", "volume").head, "<", nx=2**12, ny=2**12, nz=2**14, mz=2**14))
        file.truncate(1024 + 2**40)
    tree = open_collection(folder)
    assert tree["big.mrc"].data.nbytes == 2**40
    assert isinstance(tree, xr.DataTree)


@pytest.mark.parametrize(
    ("paths", "error", "words"),
    [([], ValueError, "empty list"), (None, TypeError, "None was passed"), (5, TypeError, "5 was")],
)
def test_what_is_no_path_is_refused(paths, error, words):
    with pytest.raises(error, match=words):
        open_collection(paths)
