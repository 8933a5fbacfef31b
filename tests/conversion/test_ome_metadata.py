"""The JSON of OME-Zarr, against models of others; its positions, against xarray's coarsen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header

from xarray_mrc.codec.header import Header
from xarray_mrc.conversion.ome_metadata import (
    Axis,
    Channel,
    axes_of,
    group_attributes,
    ome_version,
    portal_axes,
    source_fields,
)
from xarray_mrc.dataset.conventions import match_dims

VERSIONS = ("0.4", "0.5", "0.6")
CHANNEL = Channel("density", "FFFFFF", -3.0, 9.0, -1.0, 5.0)


def axes_and_notes(array):
    return axes_of(array, *match_dims(array, None))


def attributes(axes, version="0.5", factors=(1, 2, 4), **options):
    usual = {"name": "a", "method": "mean", "metadata": {}, "channels": [CHANNEL]}
    found = group_attributes(ome_version(version), axes, factors, **usual | options)
    return json.loads(json.dumps(found, allow_nan=False))


def array_of(shape, dims, step=1.5, starts=(-20.0, 3.5, 1000.25), units="angstrom"):
    coords = {}
    for dim, length, start in zip(dims[-3:], shape[-3:], starts[-len(dims[-3:]) :], strict=True):
        if dim in "xyz":
            values = np.round(start + step * np.arange(length), 6)
            coords[dim] = xr.Variable(dim, values, {"units": units} if units else {})
    return xr.DataArray(np.zeros(shape, "i2"), coords, dims)


def image_of(attrs, version):
    """Return the multiscales image, and its axes, scales and translations."""
    attrs = attrs if version == "0.4" else attrs["ome"]
    (image,) = attrs["multiscales"]
    if version != "0.6":
        pairs = [d["coordinateTransformations"] for d in image["datasets"]]
        return image, image["axes"], [tuple(s[s["type"]] for s in pair) for pair in pairs]
    (system,) = image["coordinateSystems"]
    found = []
    for dataset in image["datasets"]:
        (whole,) = dataset["coordinateTransformations"]
        assert whole["type"] == "sequence"
        assert whole["input"] == {"path": dataset["path"]}
        assert whole["output"] == {"name": system["name"]}
        found.append(tuple(s[s["type"]] for s in whole["transformations"]))
    return image, system["axes"], found


FORMS = pytest.mark.parametrize(
    "dims", [("y", "x"), ("image", "y", "x"), ("z", "y", "x"), ("volume", "z", "y", "x")], ids=str
)


def array_with(dims, units):
    array = array_of((8, 16, 24, 32)[-len(dims) :], dims)
    return array if units else array.drop_vars([dim for dim in dims if dim in array.coords])


@FORMS
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("units", ["angstrom", None])
def test_scales_and_translations_are_those_of_coarsen(version, dims, units):
    array = array_with(dims, units)
    axes, notes = axes_and_notes(array)
    _, described, transforms = image_of(attributes(axes, version), version)
    space = {"type": "space"} | ({"unit": units} if units else {})
    slow = {"image": {} if version != "0.6" else {"type": "image"}, "volume": {"type": "volume"}}
    assert described == [{"name": d} | slow.get(d, space) for d in dims]
    assert notes == []
    for factor, (scale, translation) in zip((1, 2, 4), transforms, strict=True):
        for dim, s, t in zip(dims, scale, translation, strict=True):
            if dim not in array.coords:
                usual = (float(factor), (factor - 1) / 2) if dim in "zyx" else (1.0, 0.0)
                assert (s, t) == usual
                continue
            coarse = array[dim].coarsen({dim: factor}).mean()
            assert s == pytest.approx(float(coarse[1] - coarse[0]), abs=1e-9)
            assert t == pytest.approx(float(coarse[0]), abs=1e-9)


@FORMS
@pytest.mark.parametrize("units", ["angstrom", None])
@pytest.mark.parametrize(
    ("version", "module"),
    [("0.4", "ome_zarr_models.v04"), ("0.5", "ome_zarr_models.v05"),
     ("0.6", "ome_zarr_models.v06"), ("0.4", "yaozarrs"), ("0.5", "yaozarrs")],
)  # fmt: skip
def test_models_of_others(version, module, dims, units):
    attrs = attributes(axes_and_notes(array_with(dims, units))[0], version)
    attrs = attrs if version == "0.4" else attrs["ome"]
    if module == "yaozarrs":
        pytest.importorskip(module).validate_ome_object(attrs)
    else:  # 0.6 since ome-zarr-models 1.8, which needs Python 3.12
        pytest.importorskip(f"{module}.image").ImageAttrs.model_validate(attrs)


def test_odd_lengths_and_few_voxels():
    array = array_of((3, 5, 1), ("z", "y", "x"), step=2.0, starts=(0.0, 0.0, 7.0))
    axes, _ = axes_and_notes(array)
    _, _, transforms = image_of(attributes(axes, "0.6"), "0.6")
    # z: 2 voxels that stand for 2, then the one that stands for all 3; x: always the same one.
    assert transforms == [
        ([2, 2, 2], [0, 0, 7]), ([4, 4, 2], [1, 1, 7]), ([6, 8, 2], [2, 3, 7]),
    ]  # fmt: skip


def test_partly_known_voxel_size():
    array = array_of((4, 8, 8), ("z", "y", "x")).drop_vars("z")
    axes, notes = axes_and_notes(array)
    assert [axis.unit for axis in axes] == ["", "angstrom", "angstrom"]
    assert [axis.step for axis in axes] == [1.0, 1.5, 1.5]
    assert notes == []  # there were none
    for dim in "yx":  # as in a file that has positions along all axes
        array[dim].attrs = {"axis": dim.upper(), "units": "angstrom"}
    assert axes_and_notes(array)[1] == [
        "the positions along z are not written (it has no coordinate)"
    ]


def test_positions_that_are_not_held():
    array = array_of((4, 8, 8), ("z", "y", "x"), units=None)
    (note,) = axes_and_notes(array)[1]
    assert note.startswith("the positions along x, y, z have no units and were taken as angstrom")
    array = array_of((4, 8, 8), ("z", "y", "x"))
    array.attrs["mrc_cell_angles"] = [90.0, 110.0, 90.0]
    (note,) = axes_and_notes(array)[1]
    assert note.startswith("the cell angles (90.0, 110.0, 90.0) are not written")
    with pytest.raises(ValueError, match="x decreases"):
        axes_and_notes(array.isel(x=slice(None, None, -1)))
    with pytest.raises(ValueError, match="y is not evenly spaced"):
        axes_and_notes(array.isel(y=[0, 1, 5]))
    nanometres = array.assign_coords(x=("x", array.x.values / 10, {"units": "nm"}))
    assert axes_and_notes(nanometres)[0][2].step == 1.5


def test_colours_are_channels_in_front():
    array = array_of((6, 8, 8, 3), ("z", "y", "x", "rgb"))
    axes, _ = axes_and_notes(array)
    assert [(axis.name, axis.type) for axis in axes] == [
        ("c", "channel"), ("z", "space"), ("y", "space"), ("x", "space"),
    ]  # fmt: skip
    colours = [Channel(c, h, 0, 255, 0, 255) for c, h in (("red", "FF0000"), ("green", "00FF00"))]
    assert attributes(axes, channels=colours)["ome"]["omero"]["rdefs"] == {"model": "color"}
    with pytest.raises(ValueError, match=r"obj.isel\(tilt=0\)"):
        axes_and_notes(xr.DataArray(np.zeros((2, 4, 4, 3)), dims=("tilt", "y", "x", "rgb")))


def test_any_stack_has_images():
    axes, _ = axes_and_notes(xr.DataArray(np.zeros((4, 2, 3)), dims=("y", "tilt", "x")))
    assert [(axis.name, axis.dim, axis.length) for axis in axes] == [
        ("image", "tilt", 2), ("y", "y", 4), ("x", "x", 3),
    ]  # fmt: skip


def test_the_portal():
    array = array_of((41, 64, 64), ("image", "y", "x"), step=1.3456)
    found = portal_axes(axes_and_notes(array)[0])
    attrs = attributes(found, "0.4", has_translation=False)
    image, axes, _ = image_of(attrs, "0.4")
    assert axes == [{"name": n, "type": "space", "unit": "angstrom"} for n in "zyx"]
    scales = [d["coordinateTransformations"] for d in image["datasets"]]
    # Images are not binned.
    assert scales == [
        [{"type": "scale", "scale": [1.346, f * 1.346, f * 1.346]}] for f in (1, 2, 4)
    ]
    with pytest.raises(ValueError, match="the voxel size is unknown"):
        portal_axes(axes_and_notes(array.drop_vars(["y", "x"]))[0])
    with pytest.raises(ValueError, match="expected a volume"):
        portal_axes(axes_and_notes(array.isel(image=0))[0])


def test_header_of_the_source():
    raw = header(cella=(4.5, 3.0, 2.0), origin=(1.0, float("nan"), 3.0), labels=(b"made",))
    found = source_fields(Header.decode(raw))
    assert found["nx"] == 4
    assert found["cella"] == {"x": 4.5, "y": 3.0, "z": 2.0}
    assert found["origin"] == {"x": 1.0, "y": None, "z": 3.0}  # JSON has no nan
    assert found["map"] == "MAP"
    assert found["label"] == ["made"]
    json.dumps(found, allow_nan=False)


def test_unknown_version():
    with pytest.raises(ValueError, match=r"version='0.3', expected one of 0.4, 0.5, 0.6"):
        ome_version("0.3")
    assert Axis("x", "x", 3).json(ome_version("0.4")) == {"name": "x"}
