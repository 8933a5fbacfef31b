"""Boxes around points: `da.mrc.extract`, held against plain slices of numpy."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay

from xarray_mrc import open_mrc, open_stack, to_mrc

VOXEL = ("1.35", "2.5", "0.875")


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory):
    """A volume that starts beside the origin: its path and pixels."""
    laid = lay("int16", lengths=(20, 16, 12), voxel=VOXEL, nstart=(3, -2, 5))
    path = tmp_path_factory.mktemp("extract") / "tomo.rec"
    path.write_bytes(laid.raw)
    return path, laid.pixels


def positions(pixels, seed=0, count=12):
    """Return voxels, and points that are nearest to them, in angstrom."""
    random = np.random.default_rng(seed)
    voxels = np.stack([random.integers(0, n, count) for n in pixels.shape], axis=1)
    near = voxels + random.uniform(-0.49, 0.49, voxels.shape)
    start = np.array([5, -2, 3])
    points = (near + start) * np.array([0.875, 2.5, 1.35])
    return voxels, dict(zip("zyx", points.T, strict=True))


def cut(pixels, voxels, size, fill):
    """Return the boxes, whose voxel number size // 2 is the given one."""
    padded = np.pad(pixels, 30, constant_values=fill)
    return np.stack(
        [
            padded[
                tuple(
                    slice(30 + v - n // 2, 30 + v - n // 2 + n)
                    for v, n in zip(at, size, strict=True)
                )
            ]
            for at in voxels
        ]
    )


WAYS = {
    "lazy": lambda path: open_mrc(path, chunks=None),
    "blocks": open_mrc,
    "chunks": lambda path: open_mrc(path, chunks={"z": 5, "y": 7, "x": 20}),
    "memory": lambda path: open_mrc(path).load(),
    "computed": lambda path: open_mrc(path, chunks={"z": 5, "x": 6}) + 0,
    "turned": lambda path: open_mrc(path, chunks=None).transpose("x", "z", "y"),
    "strided": lambda path: open_mrc(path, chunks=None)[::-1][::-1],
}


@pytest.mark.parametrize("way", WAYS)
def test_boxes_of_a_tomogram(tomogram, way):
    path, pixels = tomogram
    data, (voxels, points) = WAYS[way](path), positions(pixels)
    table = pd.DataFrame({**points, "rlnClassNumber": np.arange(12), "name": list("abcdefghijkl")})
    boxes = data.mrc.extract(table, {"z": 4, "y": 5, "x": 1}, fill=-7)
    assert boxes.dims == ("image", *data.dims)
    assert boxes.dtype == np.int16
    assert (boxes.chunks is None) == (data.chunks is None)
    wanted = cut(pixels, voxels, (4, 5, 1), -7)
    boxes = boxes.transpose("image", "z", "y", "x")
    np.testing.assert_array_equal(boxes, wanted)
    np.testing.assert_array_equal(boxes[::-2, [3, 0], 1:4, 0], wanted[::-2, [3, 0], 1:4][..., 0])
    np.testing.assert_array_equal(boxes[5], wanted[5])
    np.testing.assert_allclose(boxes.mean("image"), wanted.mean(0))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(boxes)), wanted)
    at = xr.DataArray([3, 0, 3], dims="p"), xr.DataArray([1, 2, 3], dims="p")
    np.testing.assert_array_equal(boxes[at[0], at[1], 0, 0], wanted[[3, 0, 3], [1, 2, 3], 0, 0])
    assert boxes.z.values.tolist() == [-1.75, -0.875, 0.0, 0.875]
    assert boxes.y.values.tolist() == [-5.0, -2.5, 0.0, 2.5, 5.0]
    assert boxes.x.values.tolist() == [0.0]
    assert boxes.z.attrs["units"] == boxes.center_z.attrs["units"] == "angstrom"
    np.testing.assert_allclose(boxes.center_x, (voxels[:, 2] + 3) * 1.35, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(boxes.point_x, points["x"])
    assert boxes.rlnClassNumber.values.tolist() == list(range(12))
    chosen = boxes[boxes.rlnClassNumber % 3 == 1]
    np.testing.assert_array_equal(chosen, wanted[1::3])
    batches = list(boxes.mrc.batches(5, shuffle=False))
    np.testing.assert_array_equal(np.concatenate(batches), wanted)
    assert batches[1].coords["name"].values.tolist() == list("fghij")
    assert boxes.name == "data"
    assert boxes.coords["name"].values.tolist() == list("abcdefghijkl")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_box_of_any_micrograph(data):
    """Sizes, fills, chunks and places of all sorts; numbers that decode to themselves."""
    shape = data.draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    pixels = np.arange(shape[0] * shape[1], dtype="f4").reshape(shape)
    coords = {"y": np.arange(shape[0]) * 2.0 - 3, "x": np.arange(shape[1]) * 2.0 + 5}
    array = xr.DataArray(pixels, coords, ("y", "x"))
    if data.draw(st.booleans()):
        array = array.chunk(y=data.draw(st.integers(1, 9)), x=data.draw(st.integers(1, 9)))
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    count = data.draw(st.integers(1, 5))
    voxels = np.array([[data.draw(st.integers(0, n - 1)) for n in shape] for _ in range(count)])
    points = {"y": voxels[:, 0] * 2.0 - 3, "x": voxels[:, 1] * 2.0 + 5}
    boxes = array.mrc.extract(points, {"y": size[0], "x": size[1]}, fill=np.nan)
    np.testing.assert_array_equal(boxes, cut(pixels, voxels, size, np.nan))
    inside = ~np.isnan(cut(pixels, voxels, size, np.nan)).any((1, 2))
    kept = array.mrc.extract(points, {"y": size[0], "x": size[1]}, drop=True)
    np.testing.assert_array_equal(
        kept, cut(pixels, voxels[inside], size, 0) if inside.any() else kept
    )
    assert kept.sizes["image"] == kept.center_x.size == inside.sum()


def test_the_centre_of_a_box_and_points_halfway():
    x = np.arange(10) * 1.1
    row = xr.DataArray(np.arange(20.0).reshape(2, 10), {"y": [0.0, 1.0], "x": x}, ("y", "x"))
    halfway = {"x": (np.arange(3, 7) + 0.5) * 1.1, "y": 0.0}
    assert row.mrc.extract(halfway, 1)[:, 0, 0].values.tolist() == [4.0, 5.0, 6.0, 7.0]
    point = {"x": [5 * 1.1], "y": [1.0]}
    assert row.mrc.extract(point, {"x": 4, "y": 1}).values.tolist() == [[[13, 14, 15, 16]]]
    assert row.mrc.extract(point, {"x": 3, "y": 1}).values.tolist() == [[[14, 15, 16]]]


def test_units_tables_and_decreasing_positions():
    x = xr.Variable("x", [4.0, 2.0, 0.0], {"units": "nm"})
    array = xr.DataArray(np.arange(6).reshape(2, 3), {"y": [0.0, 20.0], "x": x}, ("y", "x"))
    points = xr.Dataset({"x": ("p", [2.0], {"units": "nm"}), "y": ("p", [20.0])})
    assert array.mrc.extract(points, {"x": 2, "y": 1}).values.tolist() == [[[3, 4]]]
    assert array.mrc.extract(points, {"x": 2, "y": 1}).x.values.tolist() == [20.0, 0.0]
    table = pd.DataFrame({"x": [20.0], "y": [20.0]}, index=pd.Index(["a"], name="id"))
    assert array.mrc.extract(table, {"x": 2, "y": 1}).coords["id"].values.tolist() == ["a"]
    index = array.assign_coords(
        x=("x", [0, 1, 2], {"long_name": "x index"}), y=("y", [0, 1], {"long_name": "y index"})
    )
    boxes = index.mrc.extract({"x": [1.4], "y": [0.0]}, 1)
    assert boxes.item() == 1
    assert boxes.center_x.item() == 1
    assert "units" not in boxes.x.attrs


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Three micrographs of two files, in an order of their own."""
    monkeypatch.chdir(tmp_path)
    a = lay("float32", "image_stack", lengths=(30, 20, 2), voxel=("2", "2", "2"), seed=4)
    b = lay("float32", "image", lengths=(30, 20, 1), voxel=("2", "2", "2"), seed=5)
    (tmp_path / "a.mrcs").write_bytes(a.raw)
    (tmp_path / "b.mrc").write_bytes(b.raw)
    return ["2@a.mrcs", "b.mrc", "1@a.mrcs"], np.stack([a.pixels[1], b.pixels, a.pixels[0]])


@pytest.mark.parametrize("options", [{}, {"chunks": None}, {"check": False}, {"crop": (18, 26)}])
def test_points_of_several_micrographs(stack, options):
    names, pixels = stack
    images = open_stack(names, **options).assign_coords(defocus=("image", [1.0, 2.0, 3.0]))
    if "crop" in options:
        pixels = pixels[:, 1:19, 2:28]
    which, y, x = [2, 0, 1, 2], [5, 9, 7, 11], [8, 20, 13, 17]
    points = {"x": np.array(x) * 2.0, "y": np.array(y) * 2.0, "image": which, "score": [1, 2, 3, 4]}
    boxes = images.mrc.extract(points, 6)
    wanted = [pixels[i, b - 3 : b + 3, a - 3 : a + 3] for i, b, a in zip(which, y, x, strict=True)]
    np.testing.assert_array_equal(boxes, np.stack(wanted))
    assert boxes.defocus.values.tolist() == [3.0, 1.0, 2.0, 3.0]
    assert boxes.source_image.values.tolist() == which
    chosen = images[[2, 0]].mrc.extract({**points, "image": [0, 1, 1, 0]}, 6)
    np.testing.assert_array_equal(chosen[0], wanted[0])
    labelled = images.rename(image="tilt").assign_coords(tilt=[30.0, 0.0, -30.0])
    by_label = labelled.mrc.extract({**points, "tilt": [-30.0, 30.0, 0.0, -30.0]}, 6)
    np.testing.assert_array_equal(by_label, np.stack(wanted))
    assert by_label.tilt.values.tolist() == [-30.0, 30.0, 0.0, -30.0]
    one = labelled.rename(tilt="image")[0].mrc.extract({"x": [40.0], "y": [18.0]}, 6)
    np.testing.assert_array_equal(one, wanted[1:2])
    assert one.source_image.item() == 30
    none = images.mrc.extract({"x": [0.0], "y": [0.0], "image": [0]}, 6, drop=True)
    assert none.compute().shape == (0, 6, 6)
    frames = images.rename(image="frame").mrc.extract({"x": [16.0], "y": [10.0]}, 6)
    assert frames.dims == ("image", "frame", "y", "x")
    np.testing.assert_array_equal(frames[0], pixels[:, 2:8, 5:11])
    assert frames.defocus.dims == ("frame",)


def test_boxes_are_written_and_read_back(tomogram, tmp_path):
    path, pixels = tomogram
    voxels, points = positions(pixels)
    boxes = open_mrc(path).mrc.extract({**points, "score": np.arange(12) / 8}, 4, fill=0)
    boxes.to_dataset().to_zarr(tmp_path / "boxes.zarr", zarr_format=2)
    again = xr.open_zarr(tmp_path / "boxes.zarr").data
    np.testing.assert_array_equal(again, cut(pixels, voxels, (4, 4, 4), 0))
    assert again.score.values.tolist() == (np.arange(12) / 8).tolist()
    bare = boxes.reset_coords(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_mrc(bare, tmp_path / "boxes.mrc")
    volumes = open_mrc(tmp_path / "boxes.mrc")
    assert volumes.dims == ("volume", "z", "y", "x")
    np.testing.assert_array_equal(volumes, boxes)
    for dim in "zyx":
        np.testing.assert_array_equal(volumes[dim], boxes[dim])
    at_once = open_mrc(tmp_path / "boxes.mrc").mrc.extract(
        {"x": [0.0], "y": [0.0], "z": [0.0], "volume": [3]}, 2
    )
    np.testing.assert_array_equal(at_once[0], boxes[3, 1:3, 1:3, 1:3])


GRID = {"y": np.arange(8) * 2.0, "x": np.arange(9) * 2.0}
PLANE = xr.DataArray(np.zeros((8, 9), "i2"), GRID, ("y", "x"))


@pytest.mark.parametrize(
    ("data", "points", "options", "error", "message"),
    [
        (
            PLANE,
            {"x": [8, 0, 1], "y": [8, 8, 8]},
            {},
            ValueError,
            "points 1, 2 reach beyond the edge",
        ),
        (
            PLANE,
            {"x": [8, 400], "y": [8, 8]},
            {"fill": 0},
            ValueError,
            "from 0 to 16 angstrom along x, but not to point 1",
        ),
        (PLANE, {"x": [8], "y": [8]}, {"fill": 0.5}, ValueError, "fill=0.5 is no value"),
        (PLANE, {"x": [8], "y": [8]}, {"fill": "mean"}, ValueError, "fill='mean', expected"),
        (PLANE, {"x": [8], "y": [8]}, {"fill": np.nan}, ValueError, "fill=nan"),
        (PLANE, {"x": [8], "y": [8]}, {"fill": 1, "drop": True}, ValueError, "one of them"),
        (PLANE, {"x": [8]}, {}, ValueError, "expected also y, in angstrom"),
        (PLANE, {"rlnCoordinateX": [8]}, {}, ValueError, "count pixels"),
        (PLANE, {"x": [8, 9], "y": [1, 2, 3]}, {}, ValueError, "one number"),
        (PLANE, {"x": [np.nan], "y": [8]}, {}, ValueError, "no number for point 0"),
        (PLANE, {"x": ["a"], "y": [8]}, {}, ValueError, "expected numbers"),
        (PLANE, [[1, 2]], {}, TypeError, "points is a list"),
        (PLANE, {"x": [8], "y": [8]}, {"size": 0}, ValueError, "size=0"),
        (PLANE, {"x": [8], "y": [8]}, {"size": {"x": 3}}, ValueError, "each of y, x"),
        (PLANE.drop_vars("x"), {"x": [8], "y": [8]}, {}, ValueError, "no positions along x"),
        (PLANE.rename(x="u"), {"x": [8], "y": [8]}, {}, ValueError, "expected y and x"),
        (PLANE.expand_dims("image"), {"x": [8], "y": [8]}, {}, ValueError, "column image"),
        (
            PLANE.expand_dims("image"),
            {"x": [8, 8], "y": [8, 8], "image": [0, -1]},
            {},
            ValueError,
            "image is -1 at point 1, expected 0 to 0",
        ),
        (
            PLANE.expand_dims(tilt=[3.0]),
            {"x": [8], "y": [8], "tilt": [4.0]},
            {},
            ValueError,
            "expected labels",
        ),
        (PLANE, {"x": [8], "y": [8], "center_x": [1]}, {}, ValueError, "center_x"),
    ],
)
def test_what_is_refused(data, points, options, error, message):
    with pytest.raises(error, match=message):
        data.mrc.extract(points, **{"size": 4, **options})
