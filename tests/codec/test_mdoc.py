"""The text of a .mdoc as columns, and back."""

from __future__ import annotations

import math
from typing import Any

import mdocfile.data_models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.codec.extended import COMMON_UNITS, agard, fei, seri
from xarray_mrc.codec.mdoc import KEYS, decode_mdoc, encode_mdoc, parse_mdoc
from xarray_mrc.codec.mdoc.table import RESERVED

HEAD = """PixelSpacing = 1.35
Voltage = 300
Version = SerialEM Version 4.1.0,  built Jan  1 2024  12:00:00
ImageFile = TS_01.mrc
ImageSize = 5760 4092
DataMode = 1

[T = SerialEM: Acquired on Titan Krios    07-May-24  10:00:02]

[T =     Tilt axis angle = 85.3, binning = 1  spot = 8  camera = 0]
"""
SECTION = r"""
[ZValue = {z}]
TiltAngle = {tilt}
StagePosition = 312.408 -87.12
StageZ = 51.2
Magnification = 81000
Intensity = 0.1148
ExposureDose = 2.7
DoseRate = 8.1
PixelSpacing = 1.35
SpotSize = 8
Defocus = -3.512
ImageShift = 0.25 -0.125
RotationAngle = 175.3
ExposureTime = 1.2
Binning = 1
CameraIndex = 1
DividedBy2 = 0
OperatingMode = 1
UsingCDS = 1
MagIndex = 28
LowDoseConSet = 4
CountsPerElectron = 33.7
MinMaxMean = 0 127 14.5
TargetDefocus = -3.5
PriorRecordDose = {prior}
SubFramePath = X:\krios\TS_01\[{z}] tilt=a.tif
NumSubFrames = 8
FrameDosesAndNumber = 0.3375 8
DateTime = 07-May-2024  10:0{z}:02
FilterSlitAndLoss = 20 0
NavigatorLabel = 00{z}
UncroppedSize = -11520 -8184
DE12-PreexposureTime(s) = 0.5
"""


def series(count: int = 3) -> str:
    return HEAD + "".join(
        SECTION.format(z=z, tilt=3.0 * z - 3.004, prior=2.7 * z) for z in range(count)
    )


def columns(text: str) -> dict[str, Any]:
    common, others = decode_mdoc(parse_mdoc(text))
    assert {column.name for column in common} <= set(COMMON_UNITS)
    assert not {column.name for column in others} & (set(COMMON_UNITS) | {"x", "section", "data"})
    return {column.name: column for column in (*common, *others)}


def test_a_whole_series_agrees_with_mdocfile() -> None:
    found = columns(series())
    plain = series().replace(" tilt=a", "")  # its first versions take one "=" a line
    sections = mdocfile.data_models.Mdoc.from_string(plain).section_data
    for row in KEYS:
        wanted = [getattr(section, row.key, None) for section in sections]
        if wanted[0] is None or row.form == "time" or row.key == "SubFramePath":
            continue
        for i, name in enumerate(row.names):
            values = [value[i] if isinstance(value, tuple) else value for value in wanted]
            if row.form == "number":
                assert found[name].values.tolist() == values, name
    for name in ("spot_size", "mag_index", "using_cds", "num_sub_frames", "camera_index"):
        key = found[name].long_name
        assert found[name].values.tolist() == [float(getattr(s, key)) for s in sections]


def test_the_other_keys_and_their_units() -> None:
    found = columns(series())
    assert found["sub_frame_path"].values.tolist() == [
        rf"X:\krios\TS_01\[{z}] tilt=a.tif" for z in range(3)
    ]
    assert found["navigator_label"].values.tolist() == ["000", "001", "002"]
    assert found["frame_doses_and_number"].values.tolist() == ["0.3375 8"] * 3
    assert found["uncropped_size_2"].values.tolist() == [-8184] * 3
    assert found["de12_preexposure_time_s"].long_name == "DE12-PreexposureTime(s)"
    assert [found[f"image_{name}"].values[0] for name in ("min", "max", "mean")] == [0, 127, 14.5]
    assert found["rotation_angle"].values.tolist() == [175.3] * 3
    assert found["tilt_axis_angle"].values.tolist() == [85.3] * 3
    units = {name: column.units for name, column in found.items()}
    assert (units["target_defocus"], units["rotation_angle"], units["image_shift_x"]) == (
        "micrometer",
        "degree",
        "",
    )


def test_mdocfile_reads_in_the_written_text_what_it_read_in_the_first() -> None:
    text = series().replace(" tilt=a", "")
    found = columns(text)
    written = encode_mdoc(
        {name: column.values for name, column in found.items()},
        {name: (column.long_name, column.units) for name, column in found.items()},
        3,
        parse_mdoc(text).head,
    )
    assert written.held == dict.fromkeys(found, "")
    first, second = map(mdocfile.data_models.Mdoc.from_string, (text, written.text))
    assert second.titles == first.titles
    assert second.global_data.Voltage == 300
    for before, after in zip(first.section_data, second.section_data, strict=True):
        assert after.model_dump() == before.model_dump()


def test_sections_of_other_types_do_not_leak() -> None:
    text = """[MontSection = 0]
TiltAngle = 99
[ZValue = 0]
PieceCoordinates = 0 1800 2
# TiltAngle = 98
TiltAngle = 1
[T = a title in between]
StageZ = 4
[Item = 3]
TiltAngle = 97
[MontSection = 1]
TiltAngle = 96
[ZValue = 1]
PieceCoordinates = 1900 0 2
TiltAngle = 2
StageZ = 5
TiltAxisAngle = 84
"""
    found = columns(text)
    assert found["tilt_angle"].values.tolist() == [1, 2]
    assert found["stage_z"].values.tolist() == [4, 5]
    assert [found[f"piece_{axis}"].values.tolist() for axis in "xyz"] == [
        [0, 1900],
        [1800, 0],
        [2, 2],
    ]
    np.testing.assert_array_equal(found["tilt_axis_angle"].values, [math.nan, 84])
    found = columns("TiltAxisAngle = 85\n" + text)
    assert found["tilt_axis_angle"].values.tolist() == [85, 84]


def test_a_set_of_frames_has_scalars() -> None:
    text = "Voltage = 300\n[FrameSet = 0]\nTiltAngle = 3\nSubFramePath = a.tif\nSpotSize = 7\n"
    found = columns(text)
    assert {name: column.values.item() for name, column in found.items()} == {
        "tilt_angle": 3,
        "sub_frame_path": "a.tif",
        "spot_size": 7,
    }
    assert all(column.values.ndim == 0 for column in found.values())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("1", "-2.5e3", "", "nan"), [1, -2500, math.nan, math.nan]),
        (("007", "8", "9", "1"), ["007", "8", "9", "1"]),
        (("1", "2 3", "4", "5"), ["1", "2 3", "4", "5"]),
        (("1_000", "2", "3", "4"), ["1_000", "2", "3", "4"]),
        (("20241128123456789012", "1", "1", "1"), ["20241128123456789012", "1", "1", "1"]),
        (("1e999", "1", "1", "1"), ["1e999", "1", "1", "1"]),
        (("a\0b", "", "", "c"), ["ab", "", "", "c"]),
    ],
)
def test_values_of_keys_that_nobody_foresaw(texts: Any, expected: list[Any]) -> None:
    text = "".join(f"[ZValue = {z}]\nSomething = {value}\n" for z, value in enumerate(texts))
    values = columns(text)["something"].values
    assert values.dtype == (object if isinstance(expected[0], str) else np.float64)
    np.testing.assert_array_equal(values, np.array(expected, values.dtype))


@pytest.mark.parametrize("key", ["X", "Image", "Data", "Section", "Dose", "Timestamp", "123", "-"])
def test_names_that_mean_something_else_are_not_taken(key: str) -> None:
    for value in ("5", "5 6", "five"):
        found = columns(f"[ZValue = 0]\n{key} = {value}\n")
        assert len(found) == len(value.split())
        assert all(name.startswith("mdoc_") and name not in RESERVED for name in found)


def test_no_field_of_any_record_has_the_name_of_a_dimension() -> None:
    for table in (seri.COLUMNS, fei.COLUMNS, agard.COLUMNS):
        names = [column.identifier for column in table]
        assert len({*names}) == len(names)
        assert not {*names} & {"x", "y", "z", "image", "volume", "rgb", "section", "data"}
    names = [name for row in KEYS for name in row.names]
    assert len({*names}) == len(names)


def test_a_rare_key_is_left_out_and_a_file_of_them_stays_small() -> None:
    text = "".join(f"[ZValue = {z}]\nTiltAngle = 1\nKey{z} = 5\n" for z in range(1000))
    assert list(columns(text)) == ["tilt_angle"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [("TiltAngle = steep", "'steep', expected a number"), ("StagePosition = 1", "2 numbers")],
)
def test_a_wrong_value_under_a_common_name(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        columns(f"[ZValue = 0]\n{line}\n")


@settings(deadline=None)
@given(st.text("[]=ZValueT# \n0123.-abcFrameSet\t\r", max_size=200) | st.text(max_size=100))
def test_no_text_raises_anything_else(text: str) -> None:
    parsed = parse_mdoc(text)
    try:
        decode_mdoc(parsed)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017


COUNT = 4
numbers = st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=COUNT, max_size=COUNT)
words = st.lists(
    st.text("abc\\:=[]#. 0123é", max_size=9).map(str.strip), min_size=COUNT, max_size=COUNT
)
times = st.lists(
    st.integers(-9_000_000_000, 9_000_000_000).map(lambda s: np.datetime64(s, "s")),
    min_size=COUNT,
    max_size=COUNT,
)


@settings(deadline=None)
@given(
    floats=st.dictionaries(
        st.sampled_from(
            ["tilt_angle", "stage_z", "defocus", "prior_dose", "tilt_axis_angle", "target_defocus",
             "some_number", "piece_x"]
        ),
        numbers,
        min_size=1,
    ),
    pair=numbers,
    paths=words,
    labels=words,
    when=times,
)  # fmt: skip
def test_columns_are_read_as_they_were_written(floats, pair, paths, labels, when) -> None:
    values = {name: np.array(column) for name, column in floats.items()}
    values |= {"stage_x": np.array(pair), "stage_y": np.array(pair)[::-1]}
    values["sub_frame_path"] = np.array(paths, object)
    values["navigator_label"] = np.array(labels)
    values["timestamp"] = np.array(when, "M8[ns]")
    described = {"some_number": ("SomeNumber", ""), "target_defocus": ("", "micrometer")}
    written = encode_mdoc(values, described, COUNT, HEAD)
    assert set(written.held) == {*values} - {"piece_x"}  # its line needs all three
    assert set(written.held.values()) == {""}
    found = columns(written.text)
    for name in written.held:
        wanted = values[name]
        if name not in found:  # nothing is known
            assert all(value == "" or value != value for value in wanted.tolist())
            continue
        np.testing.assert_array_equal(found[name].values, wanted.astype(found[name].values.dtype))
    assert "Voltage = 300" in written.text
    assert "ImageSize" not in written.text


def test_what_a_mdoc_cannot_hold() -> None:
    held = encode_mdoc(
        {
            "sub_frame_path": np.array(["a\nb", "c"], object),
            "channel_name": np.array([" a", "c"], object),
            "target_defocus": np.array([1.0, 2.0]),
            "dose": np.array([0.0, 2.0]),
            "defocus": np.array([np.inf, 2.0]),
            "timestamp": np.array([1, 2], "M8[ns]"),
            "mine": np.array([1.0, 2.0]),
            "count": np.array([2**60 + 1, 0]),
            "voltage": np.array([300.0, 300.0]),
            "tilt_axis_angle": np.array(["85", "85"]),
        },
        {"target_defocus": ("TargetDefocus", "nm"), "mine": ("mine, in words", ""),
         "count": ("Count", ""), "voltage": ("", "V")},
        2,
    ).held  # fmt: skip
    assert held == {
        "defocus": "infinite values will be read as unknown",
        "dose": "0 will be read as unknown",
        "timestamp": "to whole seconds",
    }


def test_the_title_with_the_tilt_axis_is_kept_if_it_is_still_right() -> None:
    title = "[T =     Tilt axis angle = 85.3, binning = 1  spot = 8  camera = 0]"
    for axis, is_kept in ((85.3, True), (10.0, False)):
        text = encode_mdoc({"tilt_axis_angle": np.full(2, axis)}, {}, 2, HEAD).text
        assert (title in text) == is_kept
        assert columns(text)["tilt_axis_angle"].values.tolist() == [axis] * 2
    odd = HEAD.replace("[T =     Tilt", "[{ =     Tilt")  # no title, so it is not kept
    text = encode_mdoc({"tilt_axis_angle": np.full(2, 85.3)}, {}, 2, odd).text
    assert columns(text)["tilt_axis_angle"].values.tolist() == [85.3] * 2
    text = encode_mdoc({"tilt_axis_angle": np.array([85.3, 10.0])}, {}, 2, HEAD).text
    assert columns(text)["tilt_axis_angle"].values.tolist() == [85.3, 10.0]
    assert "tilt_axis_angle" not in columns(encode_mdoc({"stage_z": np.ones(2)}, {}, 2, HEAD).text)
