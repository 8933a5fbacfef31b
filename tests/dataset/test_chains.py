"""Everyday chains of xarray operations, written and read again: nothing is lost without a word.

XARRAY_MRC_CHAINS is the number of random chains that are tried, 60 by default.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mrcbytes import KINDS, lay

from xarray_mrc import MrcWarning, open_mrc, to_mrc

CHAINS = int(os.environ.get("XARRAY_MRC_CHAINS", "60"))
FORMS = ("int8", "int16", "float32", "uint16", "float16")
METADATA = {"tilt_angle", "stage_x", "stage_y", "magnification", "dose"}
Step = Callable[[xr.DataArray, st.DataObject], xr.DataArray]


# Operations ------------------------------------------------------------------------------------


def axis_of(array: xr.DataArray, data: st.DataObject) -> str:
    return str(data.draw(st.sampled_from(list(array.dims)), label="dim"))


def grid_axis(array: xr.DataArray, data: st.DataObject) -> str:
    """Draw an axis of space with positions and more than one of them, if there is one."""
    axes = [d for d in "xyz" if d in array.dims and array.sizes[d] > 1 and d in array.coords]
    axes = [d for d in axes if array[d].dims == (d,) and np.isfinite(array[d].values).all()]
    return data.draw(st.sampled_from(axes), label="axis") if axes else ""


def cut(array, data):
    dim = axis_of(array, data)
    begin = data.draw(st.integers(0, array.sizes[dim] - 1))
    step = data.draw(st.integers(1, 2))
    return array.isel({dim: slice(begin, None, step)})


def pick(array, data):
    slow = [d for d in array.dims if d not in ("x", "y")]
    return (
        array.isel({slow[0]: data.draw(st.integers(0, array.sizes[slow[0]] - 1))})
        if slow
        else array
    )


def by_position(array, data):
    axis = grid_axis(array, data)
    if not axis or not array.indexes[axis].is_monotonic_increasing:
        return array
    values = array[axis].values
    return array.sel({axis: slice(values[0], values[data.draw(st.integers(0, values.size - 1))])})


def nearest(array, data):
    axis = grid_axis(array, data)
    if not axis or not array.indexes[axis].is_unique:
        return array
    return array.sel({axis: array[axis].values[1:]}, method="nearest")


def turn(array, data):
    return array.transpose(*data.draw(st.permutations(list(array.dims))))


def scale(array, data):
    return array * 2 if array.dtype.kind == "f" else array + array.dtype.type(1)


def centre(array, data):
    return array - array.mean()


def as_float(array, data):
    return array.astype(data.draw(st.sampled_from(["float32", "float64"])))


def as_bool(array, data):
    return array > 0


def coarsen(array, data):
    axis = grid_axis(array, data)
    factor = data.draw(st.integers(2, 3))
    return (
        array.coarsen({axis: factor}, boundary="trim").mean()
        if axis and array.sizes[axis] >= factor
        else array
    )


def pad(array, data):
    axis = grid_axis(array, data)
    mode = data.draw(st.sampled_from(["constant", "mean", "linear_ramp", "empty", "edge"]))
    if not axis:
        return array
    options = {"constant_values": 0} if mode == "constant" else {}
    wide = array.astype("f4").pad(
        {axis: data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))}, mode, **options
    )
    return wide.fillna(0) if mode != "empty" else wide.copy(data=np.zeros(wide.shape, "f4"))


def interpolate(array, data):
    axis = grid_axis(array, data)
    if not axis or not array.indexes[axis].is_monotonic_increasing:
        return array
    values = array[axis].values
    points = values[:-1] + (values[1] - values[0]) / data.draw(st.sampled_from([2, 4]))
    if data.draw(st.booleans()):
        points = xr.DataArray(points, dims=axis, attrs=array[axis].attrs)
    return array.astype("f4").interp({axis: points})


def shift_positions(array, data):
    axis = grid_axis(array, data)
    if not axis:
        return array
    moved = array[axis] + data.draw(st.integers(-99, 99)) / 4
    return array.assign_coords({axis: moved})


def new_positions(array, data):
    axis = data.draw(st.sampled_from([d for d in "xyz" if d in array.dims] or [""]))
    if not axis:
        return array
    return array.assign_coords(
        {axis: np.arange(array.sizes[axis]) * data.draw(st.sampled_from([1, 2, 1.5]))}
    )


def in_nm(array, data):
    axis = grid_axis(array, data)
    if not axis or array[axis].attrs.get("units") != "angstrom":
        return array
    new = (
        array[axis].dims,
        array[axis].values / 10,
        {"units": data.draw(st.sampled_from(["nm", "nanometers"]))},
    )
    return array.assign_coords({axis: new})


def roll(array, data):
    axis = axis_of(array, data)
    return array.roll({axis: 1}, roll_coords=data.draw(st.booleans()))


def flip(array, data):
    return array.isel({axis_of(array, data): slice(None, None, -1)})


def sort(array, data):
    if "tilt_angle" in array.coords and array.tilt_angle.ndim:
        return array.sortby("tilt_angle")
    axis = grid_axis(array, data)
    return array.sortby(axis) if axis else array


def drop_images(array, data):
    slow = array.dims[0] if array.dims[0] not in "xyz" else ""
    if not slow or array.sizes[slow] < 2:
        return array
    return array.drop_isel({slow: [data.draw(st.integers(0, array.sizes[slow] - 1))]})


def join_again(array, data):
    dim = axis_of(array, data)
    at = data.draw(st.integers(0, array.sizes[dim]))
    parts = [array.isel({dim: slice(at)}), array.isel({dim: slice(at, None)})]
    return xr.concat([p for p in parts if p.sizes[dim]], dim)


def rename_slow(array, data):
    slow = [d for d in array.dims if d not in "xyz" and d != "volume"]
    return array.rename({slow[0]: "tilt"}) if slow and "tilt" not in array.dims else array


def along_angles(array, data):
    slow = [d for d in array.dims if d not in "xyz"]
    if (
        len(slow) != 1
        or slow[0] == "tilt_angle"
        or "tilt_angle" not in array.coords
        or not array.tilt_angle.ndim
    ):
        return array
    return array.swap_dims({slow[0]: "tilt_angle"})


def average(array, data):
    slow = [d for d in array.dims if d not in ("x", "y")]
    return array.astype("f4").mean(slow[0]) if slow else array


def quantile(array, data):
    slow = [d for d in array.dims if d not in ("x", "y")]
    return array.astype("f4").quantile(0.5, slow[0]) if slow else array


def forget(array, data):
    axis = grid_axis(array, data)
    return array.drop_vars(axis) if axis else array


def swap(array, data):
    axis = grid_axis(array, data)
    if not axis or {"row", "fine"} & set(array.dims):
        return array
    return array.assign_coords(row=(axis, np.arange(array.sizes[axis]))).swap_dims({axis: "row"})


def bins(array, data):
    axis = grid_axis(array, data)
    if not axis or array.sizes[axis] < 4:
        return array
    values = array[axis].values
    step = values[1] - values[0]
    edges = values[0] - step / 2 + 2 * step * np.arange(array.sizes[axis] // 2 + 1)
    return array.astype("f4").groupby_bins(axis, edges).mean() if step > 0 else array


def construct(array, data):
    axis = grid_axis(array, data)
    if not axis or "fine" in array.dims:
        return array
    cells = array.astype("f4").coarsen({axis: 2}, boundary="trim").construct({axis: (axis, "fine")})
    return cells.mean("fine") if data.draw(st.booleans()) else cells


def resize(array, data):
    axis = grid_axis(array, data)
    if not axis:
        return array
    return xr.apply_ufunc(
        lambda a: a[..., ::2],
        array,
        input_core_dims=[[axis]],
        output_core_dims=[[axis]],
        exclude_dims={axis},
    )


COMMON: tuple[Step, ...] = (
    cut, pick, by_position, nearest, turn, scale, centre, as_float, as_bool, coarsen, pad,
    interpolate, shift_positions, new_positions, in_nm, sort, drop_images, join_again,
    rename_slow, along_angles, average, quantile,
)  # fmt: skip
RARE: tuple[Step, ...] = (roll, flip, forget, swap, bins, construct, resize)


# Files -----------------------------------------------------------------------------------------


def seri_records(count: int, seed: int) -> bytes:
    """Lay down SerialEM's records with tilt, stage, magnification and dose."""
    random = np.random.default_rng(seed)
    records = b""
    for _ in range(count):
        tilt, x, y = random.integers(-6000, 6000, 3).tolist()
        records += struct.pack(
            "<hhhHhh",
            tilt,
            x,
            y,
            int(random.integers(1, 900)),
            16384,
            int(random.integers(-5000, -4000)),
        )
    return records


@st.composite
def files(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(KINDS))
    depth = 1 if kind == "image" else draw(st.integers(2, 5))
    lengths = (draw(st.integers(2, 7)), draw(st.integers(2, 7)), depth)
    voxel = tuple(str(draw(st.integers(1, 99999)) / 10**4) for _ in range(3))
    if draw(st.booleans()):
        voxel = (voxel[0],) * 3
    fields: dict[str, object] = {"voxel": draw(st.sampled_from([voxel, voxel, voxel, None]))}
    start = draw(st.sampled_from(["none", "origin", "nstart"]))
    if start == "origin":
        fields["origin"] = tuple(draw(st.integers(-4000, 4000)) / 4 for _ in range(3))
    if start == "nstart":
        fields["nstart"] = tuple(draw(st.integers(-9, 9)) for _ in range(3))
    if kind in ("image", "image_stack") and draw(st.booleans()):
        records = seri_records(depth, draw(st.integers(0, 99)))
        fields |= {"extended": records, "exttyp": b"SERI", "nint": 12, "nreal": 1 | 4 | 8 | 32}
    return lay(
        draw(st.sampled_from(FORMS)), kind, lengths=lengths, seed=draw(st.integers(0, 9)), **fields
    ).raw


# What has to hold ------------------------------------------------------------------------------

UNITS = {"angstrom": 1, "nm": 10, "nanometers": 10, None: 1}


def positions_of(array: xr.DataArray, axis: str, dim: str):
    """Give the positions in memory in angstrom, with nan at padded ends continued; or None."""
    for name in (axis, dim):
        if name in array.coords and array[name].dims == (dim,):
            coord = array[name]
            if "index" in coord.attrs.get("long_name", ""):
                return None
            values = coord.values
            if values.dtype == object:
                values = np.array([v.mid for v in values])
            values = values.astype("f8") * UNITS[coord.attrs.get("units")]
            known = np.flatnonzero(~np.isnan(values))
            if known.size > 1:
                step = (values[known[-1]] - values[known[0]]) / (known[-1] - known[0])
                line = values[known[0]] + step * (np.arange(values.size) - known[0])
                values = np.where(np.isnan(values), line, values)
            return values
    return None


WAYS_ON = ("obj.", "rename", "voxel_size=", ".astype", "kind=", ".clip")


def write(array: xr.DataArray, path: Path) -> str | None:
    """Write, and give what the one warning says; None if it was refused with a way on."""
    refusal = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            to_mrc(array, path)
        except ValueError as error:
            refusal = str(error)
    if refusal:
        assert any(way in refusal for way in WAYS_ON)
        assert not path.exists()
        return None
    messages = [str(w.message) for w in caught if w.category is MrcWarning]
    assert len(messages) <= 1, messages
    return "".join(messages)


def check(array: xr.DataArray, path: Path, said: str, had: set[str]) -> None:
    """Assert that what is read is what was written, but for what was said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_mrc(path, chunks=None).load()
        kind = array.mrc.kind
        if found.attrs["mrc_kind"] != kind:
            assert f"the {kind} will be read as" in said
            found = open_mrc(path, chunks=None, kind=kind).load()
    new = [d for d in found.dims if d not in array.dims]
    moved = {d: f"{d}_bins" for d in new if f"{d}_bins" in array.dims}
    others = [d for d in array.dims if d not in found.dims and d not in moved.values()]
    moved |= dict(zip([d for d in new if d not in moved], others, strict=True))
    values = array.transpose(*[moved.get(d, d) for d in found.dims]).values
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found.values, values.astype(found.dtype))
    for axis in set("xyz") & set(found.dims):
        dim = moved.get(axis, axis)
        wanted = positions_of(array, axis, dim)
        if wanted is None or "units" not in found[axis].attrs:
            # Nothing is known of positions if no coordinate is left.
            is_lost = axis in had and array.sizes[dim] > 1 and set("xyz") & set(array.coords)
            if wanted is not None or is_lost:
                assert "positions along" in said, (axis, said)
                assert axis in said.split("positions along", 1)[1], (axis, said)
            continue
        farthest = np.abs(wanted).max() + abs(wanted[-1] - wanted[0])
        away = np.abs(found[axis].values - wanted).max()
        assert away <= 2.1e-6 + 5e-7 * farthest or f"{axis} (by up to" in said, (axis, away, said)
    for name in METADATA & set(array.coords):
        read = found.coords[name].values if name in found.coords else np.array([])
        wanted = np.broadcast_to(array[name].values, read.shape) if read.size else None
        is_kept = wanted is not None and np.array_equal(read, wanted, equal_nan=True)
        assert is_kept or name in said, (name, said)


@given(
    files(), st.lists(st.sampled_from(COMMON + COMMON + RARE), min_size=1, max_size=4), st.data()
)
@settings(
    max_examples=CHAINS, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
def test_a_chain(tmp_path_factory, raw, steps, data):
    folder = tmp_path_factory.mktemp("chain")
    (folder / "a.mrc").write_bytes(raw)
    array = open_mrc(folder / "a.mrc", chunks=None).load()
    had = {d for d in "xyz" if d in array.dims and "units" in array[d].attrs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in steps:
            array = step(array, data)
            if 0 in array.shape:
                return
    said = write(array, folder / "b.mrc")
    event("refused" if said is None else "warned" if said else "silent")
    if said is not None:
        check(array, folder / "b.mrc", said, had)


@pytest.mark.parametrize("binned", ["x", "y", "z"])
@pytest.mark.parametrize("cells", ["x", "y", "z"])
def test_cells_of_bins(tmp_path, cells, binned):
    """The bins lie along the axis of their name, wherever the dimension of the cells is."""
    shape, dims = (8, 10, 12), ("z", "y", "x")
    at = {d: (d, np.arange(n), {"units": "angstrom"}) for d, n in zip(dims, shape, strict=True)}
    array = xr.DataArray(np.arange(960, dtype="f4").reshape(shape), at, dims)
    array = array.coarsen({cells: 2}).construct({cells: (cells, "fine")}).drop_vars(cells)
    array = array.assign_coords({cells: (cells, np.arange(array.sizes[cells]))})
    array = array.groupby_bins(binned, np.arange(-0.5, array.sizes[binned], 2)).mean()
    said = write(array, tmp_path / "b.mrc")
    check(array, tmp_path / "b.mrc", said, set(dims))
    found = open_mrc(tmp_path / "b.mrc")
    assert dict(found.sizes) == {"volume": 2} | {d: array.sizes.get(d, 0) for d in dims} | {
        binned: array.sizes[f"{binned}_bins"]
    }


@pytest.mark.filterwarnings("ignore:.*infinite values:xarray_mrc.MrcWarning")
@given(files())
@settings(max_examples=CHAINS, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_of_ours_read_and_written_again_has_the_same_header(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("again")
    (folder / "a.mrc").write_bytes(raw)
    first = open_mrc(folder / "a.mrc")
    with warnings.catch_warnings():
        if {"mrc_origin", "mrc_nstart"} & set(first.attrs) and "units" not in first.x.attrs:
            warnings.simplefilter("ignore")  # the start of a file that has no voxel size
        to_mrc(first, folder / "b.mrc")
    second = open_mrc(folder / "b.mrc")
    assert set(first.coords) == set(second.coords)
    for name in first.coords:
        np.testing.assert_array_equal(first[name], second[name])
    for options in ({}, {"like": folder / "b.mrc"}):
        to_mrc(second, folder / "c.mrc", overwrite=True, **options)
        assert (folder / "c.mrc").read_bytes()[:1024] == (folder / "b.mrc").read_bytes()[:1024]
