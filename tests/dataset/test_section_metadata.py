"""What describes the images of a stack goes into the file with them, or beside it."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
import xarray as xr
from mrcbytes import get, lay

from xarray_mrc import MrcWarning, open_mrc, read_header, to_mrc

COUNT = 5
TILTS = [-60.0, -30.0, 0.0, 30.0, 60.5]
EXACT = {
    "tilt_angle": TILTS,
    "stage_x": [0.04, -1.0, 2.0, 3.0, 100.0],
    "stage_y": [0.0, 0.04, 0.08, 0.12, 0.16],
    "magnification": [8100.0, 8100.0, 6500000.0, 100.0, 53000.0],
    "dose": [0.5, 1.25, 100.0, 3.5, 2.75],
}


def stack(fields=EXACT, count=COUNT) -> xr.DataArray:
    values = np.arange(count * 12, dtype="f4").reshape(count, 3, 4)
    at = {d: (d, 1.5 * np.arange(n), {"units": "angstrom"}) for d, n in (("y", 3), ("x", 4))}
    coords = {name: ("image", np.array(numbers)[:count]) for name, numbers in fields.items()}
    return xr.DataArray(values, at | coords, ("image", "y", "x"))


def written(array, path, **options) -> tuple[xr.DataArray, str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(array, path, overwrite=True, **options)
    assert [w.category for w in caught] in ([], [MrcWarning])
    return open_mrc(path, chunks=None).load(), str(caught[0].message) if caught else ""


def test_records_byte_by_byte(tmp_path):
    fields = {name: numbers[:2] for name, numbers in EXACT.items()}
    to_mrc(stack(fields, 2), tmp_path / "a.st")
    raw = (tmp_path / "a.st").read_bytes()
    assert get(raw, "<", "exttyp") == b"SERI"
    assert (get(raw, "<", "nint"), get(raw, "<", "nreal")) == (12, 1 | 4 | 8 | 32)
    assert get(raw, "<", "nsymbt") == 1024
    for i in range(2):
        tilt, x, y, mag, s1, s2 = struct.unpack_from("<hhhHhh", raw, 1024 + 12 * i)
        assert tilt == round(TILTS[i] * 100)
        assert (x, y) == (round(EXACT["stage_x"][i] * 25), round(EXACT["stage_y"][i] * 25))
        assert mag == 81
        dose = (abs(s1) * 256 + abs(s2) % 256) * 2.0 ** (np.sign(s2) * (abs(s2) // 256))
        assert dose == EXACT["dose"][i]
    assert raw[1024 + 24 : 2048] == bytes(1000)


def test_exact_values_are_written_without_a_word(tmp_path):
    found, said = written(stack(), tmp_path / "a.mrc")
    assert not said
    for name, numbers in EXACT.items():
        assert found[name].values.tolist() == numbers
        assert found[name].dims == ("image",)


def test_rounding_is_named(tmp_path):
    array = stack(
        {"tilt_angle": np.array(TILTS) + 0.004, "stage_x": [0.01] * 5, "stage_y": [0.0] * 5}
    )
    found, said = written(array, tmp_path / "a.mrc")
    assert (
        "tilt_angle (by up to 0.004 degree), stage_x (by up to 0.01 micrometer) will be rounded"
        in said
    )
    assert "sidecar='mdoc'" in said
    assert found.tilt_angle.values.tolist() == TILTS


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("tilt_angle", [0.0, 1.0, np.nan, 3.0, 4.0]),
        ("tilt_angle", [0.0, 1.0, 181.0, 3.0, 4.0]),
        ("stage_x", [0.0] * 5),  # there is no stage_y
        ("magnification", [1e7] * 5),
        ("dose", [-1.0] * 5),
        ("defocus", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("exposure_time", [1.0] * 5),
        ("timestamp", np.array(["2026-11-27T10:00:00"] * 5, "M8[ns]")),
        ("acceleration_voltage", [3e5] * 5),
        ("my_field", list("abcde")),
    ],
)
def test_fields_that_records_do_not_hold_are_named(tmp_path, name, numbers):
    found, said = written(stack({name: numbers}), tmp_path / "a.mrc")
    assert f"{name} of the sections will not be written" in said
    assert name not in found.coords


def test_a_field_in_other_units_is_named(tmp_path):
    array = stack({"tilt_angle": np.deg2rad(TILTS)})
    array.tilt_angle.attrs["units"] = "radian"
    _, said = written(array, tmp_path / "a.mrc")
    assert (
        "tilt_angle (units='radian', expected 'degree') of the sections will not be written" in said
    )


def test_unknown_doses_and_magnifications_stay_unknown(tmp_path):
    array = stack({"dose": [1.0, np.nan, 2.0, 3.0, 4.0], "magnification": [np.nan] + [100.0] * 4})
    found, said = written(array, tmp_path / "a.mrc")
    assert not said or "dose" in said
    np.testing.assert_array_equal(found.magnification, array.magnification)


def test_a_single_image(tmp_path):
    found, said = written(stack()[3], tmp_path / "a.mrc")
    assert not said
    assert found.dims == ("y", "x")
    for name, numbers in EXACT.items():
        assert found[name].values == numbers[3]


def test_scalars_of_a_stack_are_those_of_every_image(tmp_path):
    found, said = written(stack({}).assign_coords(tilt_angle=12.5), tmp_path / "a.mrc")
    assert not said
    assert found.tilt_angle.values.tolist() == [12.5] * 5


# Operations ------------------------------------------------------------------------------------

CHAINS = {
    "sortby": lambda a: a.sortby("tilt_angle", ascending=False),
    "isel": lambda a: a.isel(image=[3, 0, 4]),
    "a slice backwards": lambda a: a[::-2],
    "drop_isel": lambda a: a.drop_isel(image=[1, 2]),
    "concat": lambda a: xr.concat([a[3:], a[:2]], "image"),
    "arithmetic": lambda a: (a - a.mean()).astype("f4"),
    "another dimension": lambda a: a.rename(image="tilt"),
    "along the angles": lambda a: a.swap_dims(image="tilt_angle"),
    "transpose": lambda a: a.transpose("x", "image", "y"),
    "cut": lambda a: a[:, 1:, :2],
    "sel of angles": lambda a: (
        a.swap_dims(image="tilt_angle").sortby("tilt_angle").sel(tilt_angle=slice(-40, 40))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("through", ["mrc", "zarr"])
def test_images_keep_their_metadata(tmp_path, name, through):
    to_mrc(stack(), tmp_path / "a.st")
    opened = open_mrc(tmp_path / "a.st")
    if through == "zarr":
        opened.to_dataset(name="data").to_zarr(tmp_path / "a.zarr", consolidated=False)
        opened = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).data
    array = CHAINS[name](opened).load()
    found, said = written(array, tmp_path / "b.st")
    assert not said
    slow = next(d for d in array.dims if d not in "xy")
    assert found.attrs["mrc_kind"] == "image_stack"
    np.testing.assert_array_equal(found, array.transpose(slow, "y", "x"))
    for field in EXACT:
        assert found[field].values.tolist() == array[field].values.tolist()


def test_projections_along_tilt_angles_are_a_stack(tmp_path):
    at = {d: (d, 2.0 * np.arange(4), {"units": "angstrom"}) for d in "zyx"}
    volume = xr.DataArray(np.ones((4, 4, 4), "f4"), at, ("z", "y", "x"))
    to_mrc(volume, tmp_path / "v.mrc")
    volume = open_mrc(tmp_path / "v.mrc", chunks=None).load()
    images = [volume.mean("z", keep_attrs=True) * i for i in range(3)]
    array = xr.concat(images, xr.Variable("tilt_angle", [-10.0, 0.0, 10.0]))
    array.attrs["mrc_kind"] = "volume"  # stale
    found, said = written(array, tmp_path / "a.mrc")
    assert not said
    assert found.attrs["mrc_kind"] == "image_stack"
    assert found.tilt_angle.values.tolist() == [-10, 0, 10]
    assert array.mrc.kind == "image_stack"


@pytest.mark.parametrize("slow", ["tilt", "frame", "particle", "time", "image"])
def test_labels_of_the_slow_dimension(tmp_path, slow):
    array = stack({}).rename(image=slow)
    _, said = written(array, tmp_path / "a.mrc")
    assert not said
    _, said = written(array.assign_coords({slow: np.arange(COUNT)}), tmp_path / "a.mrc")
    assert not said
    _, said = written(array.assign_coords({slow: 0.5 * np.arange(COUNT)}), tmp_path / "a.mrc")
    assert f"{slow} of the sections will not be written" in said


# like= -----------------------------------------------------------------------------------------


def records_of_agard(numbers) -> bytes:
    return b"".join(struct.pack("<2i6f", 7, n, 10.0 * n - 20, *[0] * 5) for n in numbers)


def lay_agard(path):
    fields = {"exttyp": b"AGAR", "nint": 2, "nreal": 6, "extended": records_of_agard(range(COUNT))}
    path.write_bytes(lay("int16", "image_stack", lengths=(4, 3, COUNT), **fields).raw)
    return open_mrc(path, chunks=None).load()


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3], [1]])
def test_records_follow_their_images(tmp_path, order):
    array = lay_agard(tmp_path / "like.mrc")
    array = array.assign_coords(section=("image", np.arange(COUNT))).isel(image=order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        to_mrc(array, tmp_path / "a.mrc", like=tmp_path / "like.mrc")
    raw = (tmp_path / "a.mrc").read_bytes()
    assert get(raw, "<", "exttyp") == b"AGAR"
    wanted = records_of_agard(order)
    assert raw[1024 : 1024 + len(wanted)] == wanted


def test_numbers_of_sections_that_repeat_are_refused(tmp_path):
    array = lay_agard(tmp_path / "like.mrc").assign_coords(section=("image", np.arange(COUNT)))
    twice = xr.concat([array, array], "image")
    with pytest.raises(ValueError, match=r"section has the same number more than once.*drop_vars"):
        to_mrc(twice, tmp_path / "a.mrc", like=tmp_path / "like.mrc")
    to_mrc(twice, tmp_path / "a.mrc")
    far = array.assign_coords(section=("image", np.arange(COUNT) + 1))
    _, said = written(far, tmp_path / "a.mrc", like=tmp_path / "like.mrc")
    assert "is left out" in said


def test_angles_that_were_changed_win_over_records(tmp_path):
    array = lay_agard(tmp_path / "like.mrc").assign_coords(section=("image", np.arange(COUNT)))
    array = array.assign_coords(tilt_angle=("image", np.array(TILTS)))
    found, said = written(array, tmp_path / "a.mrc", like=tmp_path / "like.mrc")
    assert "its tilt angles are not those of the data" in said
    assert found.tilt_angle.values.tolist() == TILTS
    assert read_header(tmp_path / "a.mrc").exttyp == b"SERI"


# Sidecars --------------------------------------------------------------------------------------

MDOC = {
    "tilt_angle": np.array(TILTS) + 0.00123,
    "stage_x": [0.011, 1.0, 2.0, 3.0, -1.5],
    "stage_y": [0.5, 0.25, 0.0, 1e-7, 2.0],
    "stage_z": [12.345678901, 0.0, 1.0, 2.0, 3.0],
    "defocus": [-2.5, -2.0, -1.0, -3.0, -4.0],
    "dose": [2.7, 2.8, 2.9, 3.0, np.nan],
    "exposure_time": [0.1] * 5,
    "magnification": [81000.5] * 5,
    "pixel_size": [1.3379] * 5,
    "tilt_axis_angle": [85.3] * 5,
    "timestamp": np.array([f"2026-{m:02}-27T10:00:59" for m in (1, 5, 10, 12, 3)], "M8[ns]"),
}


def test_a_mdoc_holds_everything_exactly(tmp_path):
    array = stack(MDOC)
    found, said = written(array, tmp_path / "a.st", sidecar="mdoc")
    assert not said
    for name, numbers in MDOC.items():
        np.testing.assert_array_equal(found[name], numbers)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.st", "a.st.mdoc"]
    text = (tmp_path / "a.st.mdoc").read_text()
    assert text.count("[ZValue = ") == COUNT
    assert "DateTime = 27-May-2026  10:00:59" in text
    found, said = written(array.sortby("dose")[::-1], tmp_path / "a.st", sidecar="mdoc")
    np.testing.assert_array_equal(found.dose, array.sortby("dose")[::-1].dose)


def test_a_mdoc_does_not_hold_all(tmp_path):
    fields = MDOC | {"acceleration_voltage": [3e5] * 5}
    array = stack(fields)
    array = array.assign_coords(timestamp=array.timestamp + np.timedelta64(5, "ms"))
    _, said = written(array, tmp_path / "a.st", sidecar="mdoc")
    assert "acceleration_voltage of the sections will not be written" in said
    assert "timestamp (to whole seconds)" in said
    with pytest.raises(ValueError, match="no coordinate of the images can be written"):
        to_mrc(stack({}), tmp_path / "b.st", sidecar="mdoc")
    volume = stack({}).rename(image="z")
    with pytest.raises(ValueError, match="describes images"):
        to_mrc(volume, tmp_path / "b.st", sidecar="mdoc")
    with pytest.raises(ValueError, match="expected 'mdoc', 'rawtlt'"):
        to_mrc(stack(), tmp_path / "b.st", sidecar="tlt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.st", "a.st.mdoc"]


def test_tilt_angles_in_a_text_file(tmp_path):
    array = stack({"tilt_angle": np.array(TILTS) + 0.00123})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_mrc(array, tmp_path / "a.st", sidecar="rawtlt")
    lines = (tmp_path / "a.st.rawtlt").read_text().splitlines()
    assert [float(line) for line in lines] == (np.array(TILTS) + 0.00123).tolist()
    with pytest.raises(ValueError, match="tilt_angle"):
        to_mrc(stack({}), tmp_path / "b.st", sidecar="rawtlt")


def test_a_sidecar_that_is_there(tmp_path):
    (tmp_path / "a.st.mdoc").write_text("old")
    with pytest.raises(FileExistsError, match="mdoc"):
        to_mrc(stack(), tmp_path / "a.st", sidecar="mdoc")
    assert [p.name for p in tmp_path.iterdir()] == ["a.st.mdoc"]
    to_mrc(stack(), tmp_path / "a.st", sidecar="mdoc", overwrite=True)
    assert "TiltAngle" in (tmp_path / "a.st.mdoc").read_text()


def test_sidecars_of_other_images_are_named(tmp_path):
    """They would win over the records, with the angles of what lay there before."""
    path = tmp_path / "a.st"
    other = stack({"tilt_angle": np.array(TILTS)[::-1]})
    to_mrc(other, path, sidecar="mdoc")
    _, said = written(stack(), path)
    assert "tilt_angle will be read from a sidecar beside the file" in said
    found, said = written(stack(), path, sidecar="mdoc")
    assert not said
    assert found.tilt_angle.values.tolist() == TILTS
    _, said = written(stack(), path)  # it is the right one
    assert not said
    _, said = written(other, path, sidecar="rawtlt")  # the .mdoc wins
    assert "tilt_angle" in said
    (tmp_path / "a.st.mdoc").unlink()
    (tmp_path / "a.tlt").write_text("1\n" * COUNT)
    _, said = written(stack(), path, sidecar="mdoc")  # a .tlt wins over the .mdoc
    assert "tilt_angle will be read from a sidecar" in said
    (tmp_path / "a.tlt").write_text("1\n" * 99)
    with pytest.warns(MrcWarning, match="a.tlt was left out"):
        written_without_a_word = open_mrc(path)
    assert written_without_a_word.tilt_angle.values.tolist() == TILTS


def test_sections_are_numbered_where_something_is_known(tmp_path):
    to_mrc(stack(), tmp_path / "a.st")
    array = open_mrc(tmp_path / "a.st", chunks=None).load()
    assert array.section.values.tolist() == [0, 1, 2, 3, 4]
    assert array.section.dtype == np.int64
    part = array.sortby("tilt_angle", ascending=False)[1:3]
    found, said = written(part, tmp_path / "b.st", like=tmp_path / "a.st")
    assert not said
    assert found.tilt_angle.values.tolist() == [30.0, 0.0]
    assert found.section.values.tolist() == [0, 1]
    to_mrc(stack({}), tmp_path / "c.st")
    assert "section" not in open_mrc(tmp_path / "c.st").coords
