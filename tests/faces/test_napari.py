"""The plugin of napari: its manifest, and its layers against bytes laid down here.

`npe2 validate` checks the manifest before a release (docs/releasing.md).
"""

from __future__ import annotations

import importlib
import tomllib
import warnings

import dask.array
import mrcfile
import numpy as np
import pytest
import yaml
from files import FILES, ROOT, sound
from mrcbytes import lay

from xarray_mrc.codec.containers import MRC_ENDINGS
from xarray_mrc.errors import MrcError
from xarray_mrc.napari_reader import get_reader, read_layers

MANIFEST = ROOT / "xarray_mrc" / "napari.yaml"
CUBIC = ("1.5", "1.5", "1.5")


def save(path, raw):
    path.write_bytes(raw)
    return str(path)


def only_layer(path):
    ((data, options, kind),) = read_layers(path)
    assert kind == "image"
    assert isinstance(data, dask.array.Array)
    assert len(options["scale"]) == len(options["translate"]) == len(options["units"])
    assert len(options["scale"]) == data.ndim - options.get("rgb", False)
    return data, options


def test_manifest():
    found = yaml.safe_load(MANIFEST.read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["napari.manifest"] == {found["name"]: "xarray_mrc:napari.yaml"}
    assert found["name"] == project["name"]
    assert found.keys() == {"name", "display_name", "categories", "contributions"}
    assert 3 <= len(found["display_name"]) <= 90
    ((command,), (reader,)) = (found["contributions"][part] for part in ("commands", "readers"))
    assert command.keys() == {"id", "title", "python_name"}
    assert command["id"].startswith(f"{found['name']}.")
    module, name = command["python_name"].split(":")
    assert getattr(importlib.import_module(module), name) is get_reader
    assert reader["command"] == command["id"]
    assert reader["filename_patterns"] == [f"*{ending}" for ending in MRC_ENDINGS]
    assert reader["accepts_directories"] is False


def test_volume(tmp_path):
    laid = lay("int16", "volume", lengths=(4, 3, 2), voxel=CUBIC, origin=(30.0, 45.0, 60.0))
    path = save(tmp_path / "part.mrc", laid.raw)
    data, options = only_layer(path)
    np.testing.assert_array_equal(data.compute(), laid.pixels)
    assert options["name"] == "part.mrc"
    assert options["scale"] == [1.5, 1.5, 1.5]
    assert options["translate"] == [60.0, 45.0, 30.0]
    assert options["units"] == ["angstrom"] * 3
    assert options["axis_labels"] == ["z", "y", "x"]
    assert options["metadata"]["mrc_kind"] == "volume"
    assert options["metadata"]["path"] == path
    assert not {"rgb", "affine"} & options.keys()


def test_files_as_stack(tmp_path):
    first = sound()
    second = sound(np.arange(24, dtype="f4").reshape(2, 3, 4))
    paths = [save(tmp_path / f"{n}.mrc", raw) for n, raw in enumerate((first, second))]
    data, options = only_layer(paths)
    assert data.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(data[1].compute(), np.arange(24).reshape(2, 3, 4))
    assert options["scale"] == [1.0, 1.5, 1.5, 1.5]
    assert options["units"] == ["pixel", "angstrom", "angstrom", "angstrom"]
    assert options["contrast_limits"] == [-1.0, 23.0]
    assert [entry["path"] for entry in options["metadata"]["files"]] == paths


def test_unequal_files_make_no_stack(tmp_path):
    paths = [
        save(tmp_path / "a.mrc", sound()),
        save(tmp_path / "b.mrc", sound(np.zeros((2, 3, 5), "f4"))),
    ]
    with pytest.raises(ValueError, match=r"b\.mrc: the shape is \(2, 3, 5\), but \(2, 3, 4\)"):
        read_layers(paths)
    with pytest.raises(ValueError, match="at least one file"):
        read_layers([])


def test_names():
    assert get_reader(["a.mrc", "b.map.gz"]) is read_layers
    assert get_reader("TOMO.REC") is read_layers
    for other in ("a.tif", ["a.mrc", "b.tif"], []):
        assert get_reader(other) is None


def test_stack_counts_its_images(tmp_path):
    laid = lay("float32", "image_stack", lengths=(4, 3, 2), voxel=CUBIC)
    _, options = only_layer(save(tmp_path / "tilts.mrcs", laid.raw))
    assert options["scale"] == [1.0, 1.5, 1.5]
    assert options["units"] == ["pixel", "angstrom", "angstrom"]
    assert options["axis_labels"] == ["image", "y", "x"]


def test_tilt_angles_are_metadata(tmp_path):
    laid = lay("float32", "image_stack", lengths=(4, 3, 2), voxel=CUBIC)
    (tmp_path / "tilts.tlt").write_text("-3.0\n3.0\n")
    _, options = only_layer(save(tmp_path / "tilts.st", laid.raw))
    assert options["metadata"]["tilt_angle"].tolist() == [-3.0, 3.0]


def test_unknown_voxel_size(tmp_path):
    _, options = only_layer(save(tmp_path / "a.mrc", sound(cella=(0.0, 0.0, 0.0))))
    assert options["scale"] == [1.0] * 3
    assert options["translate"] == [0.0] * 3
    assert options["units"] == ["pixel"] * 3


def test_rows_keep_the_order_of_the_file(tmp_path):
    path = save(tmp_path / "a.mrc", sound())
    data, options = only_layer(path)
    with mrcfile.open(path) as other:
        np.testing.assert_array_equal(data.compute(), other.data)
    assert min(options["scale"]) > 0


def test_rgb(tmp_path):
    laid = lay("rgb", "image", lengths=(4, 3, 1), voxel=CUBIC)
    data, options = only_layer(save(tmp_path / "a.mrc", laid.raw))
    assert options["rgb"] is True
    assert "contrast_limits" not in options
    assert data.shape == (3, 4, 3)
    np.testing.assert_array_equal(data.compute(), laid.pixels)


def test_complex_numbers_become_amplitudes(tmp_path):
    numbers = (np.arange(24) * (3 + 4j)).astype("c8").reshape(2, 3, 4)
    data, options = only_layer(save(tmp_path / "a.mrc", sound(numbers)))
    np.testing.assert_allclose(data.compute(), 5 * np.arange(24).reshape(2, 3, 4))
    low, high = options["contrast_limits"]
    assert 60 <= low < 61 < 114 < high <= 115  # the second section


def test_skewed_cell(tmp_path):
    path = save(tmp_path / "a.map", sound(ispg=1, cellb=(90.0, 90.0, 120.0)))
    affine = only_layer(path)[1]["affine"]
    # One step along b, in the order z, y, x, goes back half a step along x.
    np.testing.assert_allclose(affine @ [0, 1, 0, 1], [0, np.sqrt(3) / 2, -0.5, 1], atol=1e-12)
    np.testing.assert_allclose(affine @ [1, 0, 1, 1], [1, 0, 1, 1], atol=1e-12)


NOISE = np.random.default_rng(5).normal(10, 2, (2, 64, 64)).astype("f4")
HOT = NOISE.copy()
HOT[1, 5, 6] = 1e6


@pytest.mark.parametrize(
    ("numbers", "fields", "from_header"),
    [
        (NOISE, {}, True),
        (NOISE, {"rms": -1.0}, False),
        (NOISE, {"dmin": 0.0, "dmax": -1.0, "dmean": -2.0}, False),
        (NOISE, {"dmean": 1e3}, False),
        (NOISE, {"dmax": float("nan")}, False),
        (HOT, {}, False),
        (NOISE.astype("i2"), {}, True),
        (NOISE.astype("i2"), {"dmin": 0.5, "dmax": 20.5}, False),
        (NOISE.astype("i2"), {"dmax": 40000.0, "rms": 9000.0}, False),
    ],
)
def test_contrast(tmp_path, numbers, fields, from_header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, options = only_layer(save(tmp_path / "a.mrc", sound(numbers, **fields)))
    low, high = options["contrast_limits"]
    whole = [float(numbers.min()), float(numbers.max())]
    if from_header:
        assert [low, high] == whole
    else:
        assert np.allclose([low, high], np.percentile(numbers[1], [0.5, 99.5]))
        assert whole[0] < low < 10 < high < 20


def test_only_what_is_shown_is_read(tmp_path, monkeypatch):
    from xarray_mrc.reading.array import MrcArray

    path = save(tmp_path / "a.mrc", sound(np.zeros((8, 16, 16), "f4"), dmin=0.0, dmax=1.0, rms=1.0))
    keys = []
    read = MrcArray.read
    monkeypatch.setattr(
        MrcArray, "read", lambda self, key, **k: keys.append(key) or read(self, key, **k)
    )
    data, _ = only_layer(path)
    assert keys == []
    np.asarray(data[3])
    ((section, *_),) = keys
    assert section == 3


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_corpus(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data, options = only_layer(path)
        except MrcError:
            assert path.name in {"deltavision_toxo.dv", "exiftool_MRC.mrc"}
            return
    low, high = options["contrast_limits"]
    assert low < high
    section = data[(data.shape[0] // 2,) if data.ndim > 2 else ()]
    assert section.compute().size
