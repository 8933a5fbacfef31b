"""Metadata of sections beside the file: .mdoc, .tlt and .rawtlt."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from dialects import kind_of, lay_down, mdoc, open_quietly, open_with_warning, stack, write

# Sidecars.


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [
        ("TS.mrc", "TS.mrc.mdoc"),
        ("TS.st", "TS.mdoc"),
        ("TS.st", "TS.st.mdoc"),
        ("TS.mrc.gz", "TS.mrc.mdoc"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sidecar_of_serialem(tmp_path, name, sidecar, end):
    path = write(tmp_path, name, stack())
    (tmp_path / sidecar).write_bytes(mdoc(3).replace("\n", end).encode())
    found = open_quietly(path)
    assert found.tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]
    assert found.dose.values.tolist() == [3.0, 3.0, 3.0]
    assert found.tilt_axis_angle.values.tolist() == [85.3] * 3
    assert str(found.timestamp.values[1]) == "2024-05-07T10:01:02.000000000"
    assert found.section.values.tolist() == [0, 1, 2]
    assert {found[name].dims for name in found.coords if name not in "yx"} == {("image",)}


@pytest.mark.parametrize("count", [2, 4, 7])
def test_a_sidecar_with_another_number_of_sections(tmp_path, count):
    path = write(tmp_path, "TS.mrc", stack())
    (tmp_path / "TS.mrc.mdoc").write_text(mdoc(count))
    found = open_with_warning(path, rf"TS\.mrc\.mdoc.*left out.*{count}")
    assert "tilt_angle" not in found.coords
    assert "section" not in found.coords


@pytest.mark.parametrize("suffix", [".tlt", ".rawtlt"])
@pytest.mark.parametrize("name", ["TS.mrc", "TS.st", "TS.ali", "TS.st.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ""])
def test_a_list_of_angles(tmp_path, suffix, name, end):
    path = write(tmp_path, name, stack())
    (tmp_path / f"TS{suffix}").write_bytes(f" -60.01\n   0.0\n\t59.99{end}".encode())
    found = open_quietly(path)
    assert found.tilt_angle.values.tolist() == [-60.01, 0.0, 59.99]
    assert found.tilt_angle.attrs["units"] == "degree"


@pytest.mark.parametrize("text", ["1\n2\n", "1\n2\n3\n4\n", "", "1\nx\n3\n"])
def test_a_list_of_angles_that_does_not_match(tmp_path, text):
    path = write(tmp_path, "TS.st", stack())
    (tmp_path / "TS.rawtlt").write_text(text)
    found = open_with_warning(path, r"TS\.rawtlt.*left out")
    assert "tilt_angle" not in found.coords


def test_a_sidecar_of_a_volume_gives_one_warning(tmp_path):
    path = write(tmp_path, "TS.mrc", lay_down((4, 3, 3), ispg=1)[0])
    (tmp_path / "TS.rawtlt").write_text("1\n2\n3\n")
    found = open_with_warning(path, "TS.rawtlt")
    assert kind_of(found) == "volume"
    assert "tilt_angle" not in found.coords


def test_the_frames_of_a_movie_that_is_read_as_a_volume(tmp_path):
    path = write(tmp_path, "movie.mrc", lay_down((4, 3, 3), ispg=1)[0])
    (tmp_path / "movie.mrc.mdoc").write_text("[FrameSet = 0]\nTiltAngle = 3\n")
    open_with_warning(path, "movie.mrc.mdoc describes a set of frames, but .* read as a volume")


@pytest.mark.parametrize("sidecar", ["TS.mrc.mdoc", "TS.tlt"])
def test_a_sidecar_is_evidence_of_a_stack(tmp_path, sidecar):
    path = write(tmp_path, "TS.mrc", stack(mz=3, cella=(6.0, 4.5, 4.5)))
    (tmp_path / sidecar).write_text(mdoc(3) if "mdoc" in sidecar else "-3\n0\n3\n")
    found = open_quietly(path)
    assert kind_of(found) == "image_stack"
    assert found.tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]


FRAMES = """T = SerialEM: Acquired on Krios
Voltage = 300

[FrameSet = 0]
TiltAngle = 12.5
StagePosition = 1.5 -2.25
ExposureDose = 40
ExposureTime = 2
DateTime = 01-Dec-23  11:12:13
"""


@pytest.mark.parametrize(("nz", "dims"), [(1, ("y", "x")), (3, ("image", "y", "x"))])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_movie_beside_the_metadata_of_its_exposure(tmp_path, nz, dims, end):
    path = write(tmp_path, "movie.mrc", stack(nz))
    (tmp_path / "movie.mrc.mdoc").write_bytes(FRAMES.replace("\n", end).encode())
    found = open_quietly(path)
    assert found.dims == dims
    for name, value in {"tilt_angle": 12.5, "stage_x": 1.5, "dose": 40.0}.items():
        assert found[name].dims == ()
        assert float(found[name]) == value
    assert str(found.timestamp.values) == "2023-12-01T11:12:13.000000000"


@pytest.mark.parametrize(
    ("head", "axis"), [("TiltAxisAngle = 84.7", "85.3"), ("TiltAxisAngle = 84.7", "")]
)
def test_the_tilt_axis_as_a_key_of_its_own(tmp_path, head, axis):
    path = write(tmp_path, "TS.mrc", stack())
    (tmp_path / "TS.mrc.mdoc").write_text(mdoc(3, head=head, axis=axis))
    assert set(open_quietly(path).tilt_axis_angle.values.tolist()) == {84.7}


def test_a_dose_of_zero_is_unknown(tmp_path):
    path = write(tmp_path, "TS.mrc", stack())
    (tmp_path / "TS.mrc.mdoc").write_text(mdoc(3, dose=0))
    found = open_quietly(path)
    assert "dose" not in found.coords or np.isnan(found.dose.values).all()


@pytest.mark.parametrize("shorts", [(0, 0), (3, 0)])
def test_a_dose_of_zero_in_a_record_is_unknown(tmp_path, shorts):
    records = b"".join(struct.pack("<hhh", 300 * i, *shorts) for i in range(3))
    raw = stack(extended=records, exttyp=b"SERI", nint=6, nreal=1 + 32)
    found = open_quietly(write(tmp_path, "TS.mrc", raw))
    dose = found.dose.values if "dose" in found.coords else np.full(3, np.nan)
    expected = 3.0 * 256 if shorts[0] else np.nan
    np.testing.assert_array_equal(dose, [expected] * 3)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("angles", ["1\n2\n", "1\n2\n3\n4\n", "not\nan\nangle\n"])
def test_a_volume_beside_a_sidecar_that_does_not_match(tmp_path, order, angles):
    """It may be any folder: what does not match says nothing."""
    path = write(tmp_path, "TS.mrc", lay_down((4, 3, 3), order, ispg=1)[0])
    (tmp_path / "TS.tlt").write_text(angles)
    assert kind_of(open_quietly(path)) == "volume"


def test_sections_in_any_order(tmp_path):
    path = write(tmp_path, "TS.mrc", stack())
    head, *sections = mdoc(3).split("[ZValue")
    (tmp_path / "TS.mrc.mdoc").write_text(head + "".join("[ZValue" + s for s in sections[::-1]))
    assert open_quietly(path).tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]


def test_angles_of_a_list_and_of_an_mdoc(tmp_path):
    path = write(tmp_path, "TS.st", stack())
    (tmp_path / "TS.mdoc").write_text(mdoc(3))
    (tmp_path / "TS.tlt").write_text("-3.11\n0.01\n2.99\n")
    found = open_quietly(path)
    assert found.tilt_angle.values.tolist() == [-3.11, 0.01, 2.99]
    assert found.dose.values.tolist() == [3.0, 3.0, 3.0]


def test_one_sidecar_that_matches_beside_one_that_does_not(tmp_path):
    path = write(tmp_path, "TS.st", stack())
    (tmp_path / "TS.mdoc").write_text(mdoc(4))
    (tmp_path / "TS.rawtlt").write_text("-3\n0\n3\n")
    found = open_with_warning(path, r"TS\.mdoc")
    assert found.tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]
    assert "dose" not in found.coords


@pytest.mark.parametrize("month", ["Mar", "May", "Oct", "Dec", "mar", "DEC"])
@pytest.mark.parametrize("year", ["24", "2024"])
def test_months_are_english(tmp_path, month, year, monkeypatch):
    import _strptime
    import time

    class German(_strptime.LocaleTime):
        def __init__(self):
            super().__init__()
            self.a_month = ["", "jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep",
                            "okt", "nov", "dez"]  # fmt: skip

    monkeypatch.setattr(_strptime, "_TimeRE_cache", _strptime.TimeRE(German()))
    monkeypatch.setattr(_strptime, "_getlang", lambda: _strptime._TimeRE_cache.locale_time.lang)
    _strptime._regex_cache.clear()
    with pytest.raises(ValueError, match="does not match"):
        time.strptime("Dec", "%b")
    path = write(tmp_path, "TS.mrc", stack())
    text = mdoc(3, month=month).replace("-24 ", f"-{year} ")
    (tmp_path / "TS.mrc.mdoc").write_text(text)
    found = open_quietly(path)
    _strptime._regex_cache.clear()
    number = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    expected = f"2024-{number.index(month.lower()) + 1:02}-07T10:01:02"
    assert str(found.timestamp.values[1]).startswith(expected)


def test_a_dose_before_the_first_image_is_a_value(tmp_path):
    path = write(tmp_path, "TS.mrc", stack())
    (tmp_path / "TS.mrc.mdoc").write_text(mdoc(3))
    assert open_quietly(path).prior_dose.values.tolist() == [0.0, 3.0, 6.0]


@pytest.mark.parametrize("name", ["TS_1.05A_-60.0.mrc", "a b.mrc", "ü.st"])
def test_names_with_dots_and_blanks(tmp_path, name):
    path = write(tmp_path, name, stack())
    (tmp_path / f"{name}.mdoc").write_text(mdoc(3))
    assert open_quietly(path).tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]


def test_bytes_of_another_encoding(tmp_path):
    path = write(tmp_path, "TS.mrc", stack())
    text = mdoc(3).replace("EMBL Krios", "Größe µm")
    (tmp_path / "TS.mrc.mdoc").write_bytes(text.encode("latin-1"))
    assert open_quietly(path).tilt_angle.values.tolist() == [-3.0, 0.0, 3.0]


def test_sidecars_may_be_left_out(tmp_path):
    path = write(tmp_path, "TS.st", stack())
    (tmp_path / "TS.mdoc").write_text(mdoc(3))
    (tmp_path / "TS.tlt").write_text("1\n2\n")
    found = open_quietly(path, sidecar=False)
    assert not {"tilt_angle", "dose", "section"} & set(found.coords)
