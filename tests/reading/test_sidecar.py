"""SerialEM's .mdoc beside an image stack."""

import _strptime
import contextlib
import gzip
import locale
import os

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header

from xarray_mrc import MrcWarning, open_mrc
from xarray_mrc.backend import MrcBackendEntrypoint

TOP = """PixelSpacing = 5.4
ImageFile = tilts.mrc

[T =     Tilt axis angle = 84.1, binning = 1  spot = 8  camera = 0]

"""
SECTION = """[ZValue = {z}]
TiltAngle = {tilt}
StagePosition = 10.5 -20.25
StageZ = 3.5
Defocus = -4.25
ExposureDose = 2.5
DateTime = 04-Oct-19  18:22:{z:02d}
SomethingNew = 1 2 3
"""


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "tilts.mrc"
    path.write_bytes(header(nx=4, ny=3, nz=3, mx=4, my=3, mz=3, mode=0, ispg=0) + bytes(36))
    return path


def write_mdoc(path, order=(0, 1, 2)):
    sections = [SECTION.format(z=z, tilt=-3.0 + 3 * z) for z in order]
    path.write_text(TOP + "\n".join(sections))


@pytest.mark.parametrize("name", ["tilts.mrc.mdoc", "tilts.mdoc"])
def test_sections_by_their_number(stack, name):
    write_mdoc(stack.with_name(name), order=(2, 0, 1))
    data = open_mrc(stack)
    assert data.dims == ("image", "y", "x")  # a volume, were it not for the sidecar
    assert data.tilt_angle.values.tolist() == [-3, 0, 3]
    assert data.tilt_angle.attrs["units"] == "degree"
    assert data.stage_x.values.tolist() == [10.5] * 3
    assert data.stage_y.values.tolist() == [-20.25] * 3
    assert data.defocus.values.tolist() == [-4.25] * 3
    assert data.defocus.attrs["units"] == "micrometer"
    assert data.dose.attrs["units"] == "e-/angstrom^2"
    assert data.tilt_axis_angle.values.tolist() == [84.1] * 3
    assert data.timestamp.values[1] == np.datetime64("2019-10-04T18:22:01")
    assert "exposure_time" not in data.coords


def test_a_sidecar_of_another_stack_is_left_out(stack):
    write_mdoc(stack.with_name("tilts.mrc.mdoc"), order=(0, 1))
    with pytest.warns(MrcWarning, match=r"tilts.mrc.mdoc was left out: it describes 2 sections"):
        data = open_mrc(stack)
    assert "tilt_angle" not in data.coords


def test_junk_is_left_out(stack):
    stack.with_name("tilts.mrc.mdoc").write_bytes(b"\xff\x00[ZValue = x]\nTiltAngle = y\n")
    with pytest.warns(MrcWarning, match=r"tilts.mrc.mdoc was left out"):
        open_mrc(stack)


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 2, 3), (0, 1, 1), (1, 2, 3)])
@pytest.mark.parametrize("mz", [1, 3])
def test_more_or_fewer_sections_are_left_out(stack, order, mz):
    stack.write_bytes(header(nx=4, ny=3, nz=3, mx=4, my=3, mz=mz, mode=0, ispg=0) + bytes(36))
    write_mdoc(stack.with_name("tilts.mrc.mdoc"), order=order)
    message = rf"tilts.mrc.mdoc was left out: it describes {len(order)} sections, expected one .* 3"
    with pytest.warns(MrcWarning, match=message) as warned:
        data = open_mrc(stack)
    assert len(warned) == 1
    assert not {"tilt_angle", "section"} & {*data.coords}
    with pytest.raises(ValueError, match=r"sidecar=True was passed, but tilts.mrc.mdoc was left"):
        open_mrc(stack, sidecar=True, kind="image_stack")


@pytest.mark.parametrize("sections", [1, 3])
def test_a_set_of_frames_gives_scalars(stack, sections):
    raw = header(nx=4, ny=3, nz=sections, mx=4, my=3, mz=1, mode=0, ispg=0) + bytes(12 * sections)
    stack.write_bytes(raw)
    text = SECTION.format(z=0, tilt=-3.0).replace("ZValue", "FrameSet")
    stack.with_name("tilts.mrc.mdoc").write_text(TOP + text)
    data = open_mrc(stack)
    assert data.dims == (("image", "y", "x") if sections > 1 else ("y", "x"))
    assert {name: data[name].item() for name in ("tilt_angle", "stage_x", "dose", "defocus")} == {
        "tilt_angle": -3, "stage_x": 10.5, "dose": 2.5, "defocus": -4.25,
    }  # fmt: skip
    assert data.timestamp.values == np.datetime64("2019-10-04T18:22:00")
    assert data.timestamp.dtype == "M8[ns]"
    # They describe no section of a movie.
    assert ("section" in data.coords) == (sections == 1)


def test_sections_are_numbered_where_there_are_metadata(stack):
    assert "section" not in open_mrc(stack, kind="image_stack").coords
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    section = open_mrc(stack).section
    assert section.dtype == np.int64
    assert section.dims == ("image",)
    assert open_mrc(stack).sortby("tilt_angle", ascending=False).section.values.tolist() == [
        2,
        1,
        0,
    ]
    assert "section" not in open_mrc(stack, sidecar=False).coords


def test_the_axis_of_tilts(stack):
    mdoc = stack.with_name("tilts.mrc.mdoc")
    for top in ("TiltAxisAngle = 85.25\n", "TiltAxisAngle = 85.25\n" + TOP):
        mdoc.write_text(top + "\n".join(SECTION.format(z=z, tilt=z) for z in range(3)))
        assert open_mrc(stack).tilt_axis_angle.values.tolist() == [85.25] * 3
    mdoc.write_text("\n".join(SECTION.format(z=z, tilt=z) for z in range(3)))
    assert "tilt_axis_angle" not in open_mrc(stack).coords


def test_doses_of_zero(stack):
    mdoc = stack.with_name("tilts.mrc.mdoc")
    section = "[ZValue = {}]\nExposureDose = {}\nPriorRecordDose = {}\n"
    mdoc.write_text("".join(section.format(*row) for row in ((0, 0, 0), (1, 2.5, 2.5), (2, 0, 5))))
    data = open_mrc(stack)
    np.testing.assert_array_equal(data.dose, [np.nan, 2.5, np.nan])
    assert data.prior_dose.values.tolist() == [0, 2.5, 5]
    assert data.prior_dose.attrs["units"] == "e-/angstrom^2"
    mdoc.write_text("".join(section.format(z, 0, 0) for z in range(3)))
    assert "dose" not in open_mrc(stack).coords
    assert open_mrc(stack).prior_dose.values.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("04-Oct-19  18:22:01", "2019-10-04T18:22:01"),
        ("04-Oct-2019  18:22:01", "2019-10-04T18:22:01"),
        ("2019-Oct-04  18:22:01", "2019-10-04T18:22:01"),
        ("31-dec-98 23:59:59", "1998-12-31T23:59:59"),
        ("01-MAY-68 00:00:00", "2068-05-01T00:00:00"),
        ("30-Feb-19 18:22:01", "NaT"),
        ("04-Okt-19 18:22:01", "NaT"),
        ("04-Oct-1066 18:22:01", "NaT"),
        ("yesterday", "NaT"),
    ],
)
def test_dates(stack, text, expected):
    sections = ["[ZValue = 0]\nDateTime = 01-Jan-20 00:00:00\n"]
    sections += [f"[ZValue = {z}]\nDateTime = {text}\n" for z in (1, 2)]
    stack.with_name("tilts.mrc.mdoc").write_text("".join(sections))
    times = open_mrc(stack).timestamp.values
    np.testing.assert_array_equal(times[1:], np.array([expected] * 2, "M8[ns]"))


def test_names_of_months_are_english_in_every_locale(stack, monkeypatch):
    # What a French locale does to names of months.
    monkeypatch.setattr(
        "calendar.month_abbr", ["", *(["janv", "févr", "mars", "avr", "mai", "juin"] * 2)]
    )
    for name in ("fr_FR.UTF-8", "de_DE.UTF-8", "fr_FR.utf8"):
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_TIME, name)
            break
    try:
        _strptime._TimeRE_cache = _strptime.TimeRE()
        write_mdoc(stack.with_name("tilts.mrc.mdoc"))
        assert open_mrc(stack).timestamp.values[1] == np.datetime64("2019-10-04T18:22:01")
    finally:
        locale.setlocale(locale.LC_TIME, "C")
        monkeypatch.undo()
        _strptime._TimeRE_cache = _strptime.TimeRE()


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("a.mrc", "a.tlt"), ("a.st", "a.rawtlt"), ("a.mrc", "a.mrc.rawtlt"), ("a.mrc.gz", "a.tlt"),
        ("a_ali.mrc", "a.tlt"), ("a_ali.mrc", "a_ali.tlt"), ("a.ali", "a.rawtlt"),
        ("a_preali.mrc", "a.rawtlt"), ("a.preali", "a.tlt"),
    ],
)  # fmt: skip
def test_angles_of_text_files(tmp_path, name, beside):
    raw = header(nx=4, ny=3, nz=3, mx=4, my=3, mz=1, mode=0, ispg=0) + bytes(36)
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    path.with_name(beside).write_text(" -3.00\n\n  0.01  2\n# the last\n3.00, 1\r\n\n")
    data = open_mrc(path)
    assert data.tilt_angle.values.tolist() == [-3, 0.01, 3]
    assert data.tilt_angle.attrs == {"units": "degree", "long_name": f"tilt angle of {beside}"}
    assert data.section.values.tolist() == [0, 1, 2]
    for text, reason in (
        ("1\n2\n", "it has 2 angles, expected one for each of 3"),
        ("1\n2\n3\n4", "it has 4 angles"),
        ("", "it has 0 angles"),
        ("1\nx\n3", "it cannot be read .*'x'"),
        ("1\nnan\n3", "it holds angles that are not finite"),
        ("1\n-inf\n3", "it holds angles that are not finite"),
        ("1\n360.5\n3", "it holds angles that are not finite"),
        ("-3,5\n0,5\n3,5", "the comma in -3,5 may be that of a decimal"),
        ("-3,5 1\n0,5 2\n3,5 3", "the comma in -3,5 may be that of a decimal"),
    ):
        path.with_name(beside).write_text(text)
        with pytest.warns(MrcWarning, match=f"{beside} was left out: {reason}"):
            assert "tilt_angle" not in open_mrc(path).coords


def test_angles_of_several_files(stack):
    # IMOD refines those of the .tlt; those of the .rawtlt are a copy of what the .mdoc has.
    stack.with_name("tilts.rawtlt").write_text("1\n2\n3\n")
    assert open_mrc(stack).tilt_angle.values.tolist() == [1, 2, 3]
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    assert open_mrc(stack).tilt_angle.values.tolist() == [-3, 0, 3]
    stack.with_name("tilts.tlt").write_text("-3.1\n-0.1\n2.9\n")
    data = open_mrc(stack)
    assert data.tilt_angle.values.tolist() == [-3.1, -0.1, 2.9]
    assert data.stage_x.values.tolist() == [10.5] * 3
    stack.with_name("tilts.tlt").write_text("-3.1\n-0.1\n")
    with pytest.warns(MrcWarning, match=r"tilts.tlt was left out"):
        assert open_mrc(stack).tilt_angle.values.tolist() == [-3, 0, 3]


def test_a_sidecar_that_is_too_long(stack, monkeypatch):
    monkeypatch.setattr("xarray_mrc.reading.sidecar.MAX_NBYTES", 2**20)
    stack.with_name("tilts.tlt").write_text("1\n" * 2**20)
    with pytest.warns(MrcWarning, match=r"tilts.tlt was left out: it is longer than 1 MiB"):
        open_mrc(stack, kind="image_stack")
    stack.with_name("tilts.tlt").unlink()
    stack.with_name("tilts.tlt").mkdir()
    with pytest.warns(MrcWarning, match=r"tilts.tlt was left out: it cannot be read"):
        open_mrc(stack, kind="image_stack")


@pytest.mark.parametrize("text", ["-3\n0\n3\n", "-3.0,1\n0.0,2\n3.0,3\n", "-3, 1\n0, 2\n3, 3"])
def test_columns_and_byte_order_marks(stack, text):
    stack.with_name("tilts.tlt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert open_mrc(stack, kind="image_stack").tilt_angle.values.tolist() == [-3, 0, 3]


@pytest.mark.parametrize("name", ["tilts.tlt", "tilts.mrc.mdoc"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_opened(stack, name):
    os.mkfifo(stack.with_name(name))
    with pytest.warns(MrcWarning, match=f"{name} was left out: .*not a regular file"):
        open_mrc(stack, kind="image_stack")


def test_numbers_of_thousands_of_digits(stack):
    path = stack.with_name("tilts.mrc.mdoc")
    write_mdoc(path)
    text = path.read_text()
    path.write_text(text.replace("[ZValue = 2]", f"[ZValue = {'1' * 5000}]"))
    with pytest.warns(MrcWarning, match="was left out: it describes 2 sections"):
        open_mrc(stack, kind="image_stack")
    path.write_text(text + f"DateTime = 04-Oct-{'2' * 5000} 18:22:01\n")
    assert np.isnat(open_mrc(stack, kind="image_stack").timestamp.values[-1])


def test_the_reason_against_an_mdoc_is_clear(stack):
    path = stack.with_name("tilts.mrc.mdoc")
    write_mdoc(path, (1, 2, 3))
    with pytest.warns(
        MrcWarning, match=r"3 sections, expected .* from 0 \(they are numbered 1 to 3"
    ):
        open_mrc(stack, kind="image_stack")
    write_mdoc(path)
    path.write_text(path.read_text() + "TiltAngle = steep\n")
    with pytest.warns(MrcWarning, match="cannot be read .*TiltAngle .*'steep'") as caught:
        open_mrc(stack, kind="image_stack")
    assert "http" not in str(caught[0].message)
    write_mdoc(path)
    path.write_text(path.read_text() + "TiltAngle = inf\n")
    assert np.isnan(open_mrc(stack, kind="image_stack").tilt_angle.values[-1])


def test_lines_that_are_not_used_do_no_harm(stack, caplog):
    path = stack.with_name("tilts.mrc.mdoc")
    write_mdoc(path)
    odd = "# a comment\nBinning = 1 x 1\nPieceCoordinates = 0\nSubFramePath = D:\\a=b.tif\n"
    text = path.read_text().replace("StageZ", f"{odd}StageZ")
    path.write_text(f"ImageFile = a=b.mrc\nImageSize = 4\n# a comment\n{text}\n[T = the end]\n")
    data = open_mrc(stack)
    assert data.tilt_angle.values.tolist() == [-3, 0, 3]
    assert data.stage_z.values.tolist() == [3.5] * 3
    assert data.tilt_axis_angle.values.tolist() == [84.1] * 3
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "beside", "is_own"),
    [
        ("a_ali.mrc", "a.st.mdoc", False), ("a_ali.mrc", "a.mdoc", False),
        ("a.ali", "a.mrc.mdoc", False), ("a.preali", "a.mdoc", False),
        ("a.ali", "a.ali.mdoc", True), ("a_ali.mrc", "a_ali.mrc.mdoc", True),
        ("a_ali.mrc", "a_ali.mdoc", True),
        ("a.st", "a.mdoc", True), ("a.st.gz", "a.st.mdoc", True),
    ],
)  # fmt: skip
def test_aligned_images_have_another_axis_and_pixel_size(tmp_path, name, beside, is_own):
    raw = header(nx=4, ny=3, nz=3, mx=4, my=3, mz=1, mode=0, ispg=0) + bytes(36)
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    sections = "".join(
        f"[ZValue = {i}]\nTiltAngle = {i}\nPixelSpacing = 1.35\n\n" for i in range(3)
    )
    path.with_name(beside).write_text(f"TiltAxisAngle = 85.3\n\n{sections}")
    found = open_mrc(path)
    assert found.tilt_angle.values.tolist() == [0, 1, 2]
    assert {"pixel_size", "tilt_axis_angle"} & {*found.coords} == (
        {"pixel_size", "tilt_axis_angle"} if is_own else set()
    )


@pytest.mark.parametrize("required", [True, 1, np.True_])
def test_what_equals_true_requires_a_sidecar(stack, required):
    with pytest.raises(FileNotFoundError, match=r"there is no \.mdoc beside"):
        open_mrc(stack, sidecar=required, kind="image_stack")


def test_choices(stack):
    with pytest.raises(FileNotFoundError, match=r"there is no \.mdoc beside"):
        open_mrc(stack, sidecar=True, kind="image_stack")
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    assert "tilt_angle" not in open_mrc(stack, sidecar=False).coords
    assert "tilt_angle" not in open_mrc(stack, extended_header="none").coords
    assert "tilt_angle" not in open_mrc(stack, kind="volume").coords
    with pytest.raises(ValueError, match=r"is read as a volume: pass kind='image_stack'"):
        open_mrc(stack, sidecar=True, kind="volume")
    with pytest.raises(ValueError, match=r"sidecar=True .* extended_header='none'"):
        open_mrc(stack, sidecar=True, extended_header="none")
    with pytest.raises(ValueError, match=r"sidecar=True .* <bytes> is not at a local path"):
        open_mrc(stack.read_bytes(), sidecar=True)
    assert open_mrc(stack, sidecar=True).tilt_angle.values.tolist() == [-3, 0, 3]


def test_saves_and_sorts(stack, tmp_path):
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    dataset = xr.open_dataset(stack, engine=MrcBackendEntrypoint).sortby("tilt_angle")
    dataset.to_netcdf(tmp_path / "out.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), dataset.load())
