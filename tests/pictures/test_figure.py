"""Figures: what is drawn where, and how it is labelled."""

from __future__ import annotations

import io
import math
import pickle
import sys
from pathlib import Path

import mrcbytes
import numpy as np
import pytest
import xarray as xr
from engine import open_mrc
from files import FILES
from matplotlib import image as images
from mrcbytes import lay
from programs import PEAK_MEMORY, run_program

import xarray_mrc
from xarray_mrc.pictures.figure import BAD_COLOUR, show
from xarray_mrc.pictures.labels import length_text, nice_length


def render(figure):
    """Return the pixels of a figure, whose first row is the lowest."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    return (images.imread(io.BytesIO(buffer.getvalue()))[::-1, :, :3] * 255).round().astype(int)


def drawn(figure, ax, x, y):
    """Return the colours of the picture at positions of an axes."""
    pixels = render(figure)
    points = np.round(ax.transData.transform(np.stack([np.ravel(x), np.ravel(y)], -1))).astype(int)
    return pixels[points[:, 1], points[:, 0]]


def texts(figure):
    found = []
    for ax in figure.axes:
        found += [
            ax.get_title(),
            ax.get_xlabel(),
            ax.get_ylabel(),
            *(t.get_text() for t in ax.texts),
        ]
    return found


def labels_of(ax):
    return ax.get_title(), ax.get_xlabel(), ax.get_ylabel()


def phantom(kind="volume", *, lengths=(9, 7, 5), **fields):
    """Lay down a file with other values in each corner: no flip and no turn gives the same."""
    laid = lay("int16", kind, lengths=lengths, **fields)
    nx, ny, nz = lengths
    z, y, x = np.ogrid[:nz, :ny, :nx]
    values = (x * 10 // nx + y * 40 // ny + z * 160 // nz).astype("<i2")
    return laid.head + values.tobytes(), values


def greys(values, limits):
    low, high = limits
    return np.clip((values - low) / (high - low), 0, 1) * 255


def test_a_volume_is_the_right_way_up():
    raw, values = phantom()
    figure = show(raw)
    planes = (values[2], values[:, 3], values[:, :, 4])
    steps = ((2.5, 1.35), (0.875, 1.35), (0.875, 2.5))
    for ax, plane, (dy, dx) in zip(figure.axes, planes, steps, strict=False):
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
        # Away from the scale bar, which lies in the lower quarter.
        rows = slice(plane.shape[0] // 3, None)
        found = drawn(figure, ax, x[rows] * dx, y[rows] * dy)
        expected = greys(plane[rows].ravel(), ax.images[0].get_clim())
        np.testing.assert_allclose(found, np.repeat(expected[:, None], 3, 1), atol=2)
    assert labels_of(figure.axes[0]) == ("z = 1.75 Å\n(section 2 of 0 to 4)", "x (Å)", "y (Å)")
    assert labels_of(figure.axes[1]) == ("y = 7.5 Å (section 3 of 0 to 6)", "x (Å)", "z (Å)")
    assert len({ax.images[0].get_clim() for ax in figure.axes[:3]}) == 1
    assert "2 Å" in texts(figure)


def test_a_skewed_cell_is_sheared_by_its_angle():
    raw, values = phantom(cellb=(90.0, 90.0, 120.0))
    figure = show(raw)
    ax, plane = figure.axes[0], values[2]
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    rows = slice(3, None)
    bottom = -2.5 / 2
    along = y[rows] * 2.5 - bottom
    across = x[rows] * 1.35 + along * math.cos(math.radians(120))
    found = drawn(figure, ax, across, along * math.sin(math.radians(120)))
    expected = greys(plane[rows].ravel(), ax.images[0].get_clim())
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 3, 1), atol=2)
    assert ax.get_ylabel() == "y at 120° (Å)"
    figure.draw_without_rendering()
    ticks = [(t.get_position()[1], t.get_text()) for t in ax.get_yticklabels()]
    assert len(ticks) > 2
    for position, text in ticks:
        height = (float(text.replace("\N{MINUS SIGN}", "-")) - bottom) * math.sin(math.radians(120))
        assert position == pytest.approx(height)


def test_an_image_of_epu_has_its_first_row_on_top():
    raw, values = phantom("image", lengths=(9, 7, 1), exttyp=b"FEI1", nversion=20140)
    figure = show(raw)
    ax = figure.axes[0]
    assert ax.transData.transform((0, 0))[1] > ax.transData.transform((0, 2.5 * 6))[1]
    y, x = np.mgrid[:4, :9]
    found = drawn(figure, ax, x * 1.35, y * 2.5)
    expected = greys(values[0, :4].ravel(), ax.images[0].get_clim())
    np.testing.assert_allclose(found[:, 0], expected, atol=2)


def test_a_stack_shows_first_middle_and_last_with_tilt_angles():
    raw, _ = phantom("image_stack", lengths=(16, 12, 5))
    ds = open_mrc(raw).assign_coords(tilt_angle=("image", [-60.0, -30, 0, 30, 60]))
    figure = ds.mrc.show()
    assert [ax.get_title() for ax in figure.axes] == [
        "image 0 of 0 to 4, tilt -60°",
        "image 2 of 0 to 4, tilt 0°",
        "image 4 of 0 to 4, tilt 60°",
        "histogram",
        "power spectrum, image 2",
        "mean over directions",
    ]


def test_without_a_voxel_size_there_is_no_scale_bar():
    figure = show(phantom("image", lengths=(16, 12, 1), voxel=None)[0])
    assert labels_of(figure.axes[0])[1:] == ("x (pixel)", "y (pixel)")
    assert "spatial frequency (1/pixel)" in texts(figure)
    assert not any("Å" in text for text in texts(figure))
    assert "voxel size not known" in figure.get_suptitle()


def test_the_range_of_the_header_is_marked():
    raw, values = phantom("image", lengths=(16, 12, 1), dmin=0.0, dmax=40.0)
    ax = show(raw).axes[1]
    assert sorted(line.get_xdata()[0] for line in ax.lines) == [0, 40]
    assert "header: 0 to 40" in [text.get_text() for text in ax.texts]
    ax = show(phantom("image", lengths=(16, 12, 1), dmin=0.0, dmax=-1.0)[0]).axes[1]
    assert [text.get_text() for text in ax.texts] == ["the header states no range"]
    ax = show(phantom("image", lengths=(16, 12, 1), dmin=0.0, dmax=1e6)[0]).axes[1]
    assert len(ax.lines) == 1  # the other end is far away
    assert values.max() < ax.get_xlim()[1] < 1000
    computed = open_mrc(raw) * 2
    assert not show(computed).axes[1].texts


def test_pixels_that_are_no_numbers_have_their_own_colour():
    image = np.random.default_rng(1).normal(size=(20, 20)).astype("f4")
    image[15, 3], image[12, 8] = np.nan, np.inf
    figure = show(xr.DataArray(image, dims=("y", "x")))
    found = drawn(figure, figure.axes[0], [3, 8], [15, 12])
    expected = [int(BAD_COLOUR[i : i + 2], 16) for i in (1, 3, 5)]
    assert found.tolist() == [expected, expected]
    assert "2 of 400 are nan or infinite" in texts(figure)


ODD = {
    "constant": np.full((20, 20), 7, "i2"),
    "nan": np.full((20, 20), np.nan),
    "bool": np.zeros((20, 20), bool),
    "pixel": np.zeros((1, 1), "f4"),
    "row": np.zeros((1, 300), "f4"),
    "needle": np.zeros((300, 1, 2), "f4"),
    "huge": np.full((20, 20), 1e38, "f4"),
    "complex": np.ones((9, 9), "c8"),
    "volumes": np.ones((2, 9, 9, 9), "f2"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_are_drawn(name):
    values = ODD[name]
    figure = show(xr.DataArray(values, dims=("volume", "z", "y", "x")[-values.ndim :]))
    assert render(figure).std() > 0


@pytest.mark.parametrize("form", ["int8", "uint8", "uint16", "float16", "four_bit", "half_width"])
def test_forms(form):
    laid = lay(form, "image", lengths=(20, 16, 1))
    ds = open_mrc(io.BytesIO(laid.raw), chunks={})
    assert len(show(ds).axes) == 4


def test_colours_are_drawn_as_they_are():
    laid = lay("rgb", "image", lengths=(20, 16, 1))
    figure = show(laid.raw)
    y, x = np.mgrid[8:16, :20]
    found = drawn(figure, figure.axes[0], x * 1.35, y * 2.5)
    np.testing.assert_array_equal(found, laid.pixels[8:].reshape(-1, 3))
    assert "RGB" in figure.get_suptitle()


def test_the_spectrum_peaks_at_the_period_of_a_grating():
    x = xr.Variable("x", 1.5 * np.arange(64), {"units": "angstrom"})
    y = xr.Variable("y", 1.5 * np.arange(64), {"units": "angstrom"})
    wave = np.cos(2 * np.pi * np.arange(64) / 8) * np.ones((64, 1))  # a period of 12 angstrom
    rings = show(xr.DataArray(wave, {"y": y, "x": x})).axes[3].lines[0]
    frequency, power = rings.get_data()
    assert frequency[np.argmax(power)] == pytest.approx(1 / 12)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_names_of_files_are_no_formulas(tmp_path):
    path = tmp_path / "$\\frac{a$_<b>.mrc"
    path.write_bytes(phantom()[0])
    figure = show(path)
    assert figure.get_suptitle().startswith(
        "$\\frac{a$_<b>.mrc   volume, 9 x 7 x 5 (x, y, z), int16"
    )
    assert render(figure).std() > 0
    by_array = show(xarray_mrc.open_mrc(path))
    assert by_array.get_suptitle() == figure.get_suptitle()


def test_a_figure_shows_itself_and_can_be_pickled():
    figure = show(phantom()[0])
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(pickle.loads(pickle.dumps(figure)).axes) == len(figure.axes)


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::xarray_mrc.MrcWarning")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_genuine_files(path):
    try:
        figure = show(path)
    except xarray_mrc.MrcError:
        with pytest.raises(xarray_mrc.MrcError):
            xarray_mrc.open_mrc(path)
        return
    assert render(figure).std() > 5


@pytest.mark.parametrize(
    ("width", "length", "text"),
    [
        (4.1, 1, "1 Å"),
        (90, 20, "20 Å"),
        (2749, 500, "500 Å"),
        (4000, 1000, "100 nm"),
        (45_000, 10_000, "1 µm"),
        (1e-3, 2e-4, "0.0002 Å"),
    ],
)
def test_lengths_of_scale_bars(width, length, text):
    assert nice_length(width) == pytest.approx(length)
    assert length_text(nice_length(width)) == text


def test_neither_pyplot_nor_a_display_is_needed():
    found = run_program(
        """
import os, sys
os.environ.pop("DISPLAY", None)
import numpy as np, xarray as xr
from xarray_mrc.pictures.figure import show
show(xr.DataArray(np.eye(16), dims=("y", "x")))._repr_png_()
print("matplotlib.pyplot" in sys.modules)
"""
    )
    assert found == "False\n"


def test_without_matplotlib_the_error_says_how_to_install_it():
    found = run_program(
        """
import sys
sys.modules["matplotlib"] = None
import numpy as np, xarray as xr, xarray_mrc
data = xr.DataArray(np.eye(16), dims=("y", "x"))
data.mrc.power_spectrum(), data.expand_dims("z").mrc.projection()
try:
    data.mrc.show()
except ImportError as error:
    print(error)
"""
    )
    assert "pip install 'xarray-mrc[viz]'" in found


HUGE = f"""
import os, struct, sys, time
sys.path.insert(0, sys.argv[2])
from mrcbytes import header
{PEAK_MEMORY}
nx, ny, nz = 8192, 8192, 4096
with open(sys.argv[1], "wb") as file:
    file.write(header(nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz, cella=(nx, ny, nz)))
    file.truncate(1024 + 4 * nx * ny * nz)
import xarray_mrc
from xarray_mrc.pictures.figure import show
start = time.perf_counter()
show(sys.argv[1])._repr_png_()
print(time.perf_counter() - start, peak_nbytes())
"""


@pytest.mark.serial
def test_a_tebibyte_is_shown_in_seconds(tmp_path):
    path = tmp_path / "huge.mrc"
    helpers = Path(mrcbytes.__file__).parent
    try:
        with path.open("wb") as file:
            file.truncate(2**40)
    except OSError:
        path.unlink(missing_ok=True)
        pytest.skip("the file system has no sparse files of 1 TiB")
    try:
        seconds, nbytes = map(float, run_program(HUGE, path, helpers).split())
    finally:
        path.unlink(missing_ok=True)
    assert seconds < 60
    assert nbytes < 500 * 2**20
