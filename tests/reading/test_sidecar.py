"""SerialEM's .mdoc beside an image stack."""

import sys

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header

from xarray_mrc import MrcWarning, open_mrc
from xarray_mrc.backend import MrcBackendEntrypoint

pytest.importorskip("mdocfile")

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


def test_choices(stack, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"there is no \.mdoc beside"):
        open_mrc(stack, sidecar=True, kind="image_stack")
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    assert "tilt_angle" not in open_mrc(stack, sidecar=False).coords
    assert "tilt_angle" not in open_mrc(stack, extended_header="none").coords
    assert "tilt_angle" not in open_mrc(stack, kind="volume").coords
    monkeypatch.setitem(sys.modules, "mdocfile.data_models", None)
    assert "tilt_angle" not in open_mrc(stack).coords
    with pytest.raises(ImportError, match=r"pip install 'xarray-mrc\[mdoc\]'"):
        open_mrc(stack, sidecar=True)


def test_saves_and_sorts(stack, tmp_path):
    write_mdoc(stack.with_name("tilts.mrc.mdoc"))
    dataset = xr.open_dataset(stack, engine=MrcBackendEntrypoint).sortby("tilt_angle")
    dataset.to_netcdf(tmp_path / "out.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), dataset.load())
