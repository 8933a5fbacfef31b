"""The planes of a picture: which, upright, labelled, and read alone."""

from __future__ import annotations

import os

import numpy as np
import pytest
import xarray as xr
from engine import UNTIMED, open_mrc, save
from hypothesis import given
from hypothesis import strategies as st
from mrcbytes import AXES, KINDS, header, lay

from xarray_mrc.codec.contrast import contrast_limits
from xarray_mrc.pictures.histogram import histogram_of, log_of
from xarray_mrc.pictures.planes import open_array, read_planes
from xarray_mrc.pictures.section_spectrum import section_spectrum


def small(kind="volume", **options):
    """Lay down a file of values that are exact in float32."""
    return lay("int16", kind, **{"lengths": (7, 5, 1 if kind == "image" else 4)} | options)


@pytest.mark.parametrize("axes", AXES)
def test_planes_of_a_volume_are_upright(axes):
    laid = small(axes=axes)
    found = read_planes(laid.raw)
    assert found.kind == "volume"
    pixels = laid.pixels
    # y and z increase upwards, so that the last row of the array is the first of the picture.
    expected = (pixels[2][::-1], pixels[:, 2][::-1], pixels[:, :, 3][::-1])
    for plane, picture in zip(found.planes, expected, strict=True):
        np.testing.assert_array_equal(plane.pixels, picture)
    assert [plane.dims for plane in found.planes] == [("y", "x"), ("z", "x"), ("z", "y")]
    assert [plane.title for plane in found.planes] == [
        "z = 1.75 Å (section 2 of 0 to 3)",
        "y = 5 Å (section 2 of 0 to 4)",
        "x = 4.05 Å (section 3 of 0 to 6)",
    ]


def test_edges_are_half_a_voxel_outside_of_the_positions():
    first, *_ = read_planes(small(nstart=(10, 0, 0)).raw).planes
    assert (first.left, first.right) == pytest.approx((1.35 * 9.5, 1.35 * 16.5))
    assert (first.bottom, first.top) == pytest.approx((-1.25, 2.5 * 4.5))
    assert (first.width, first.height) == pytest.approx((1.35 * 7, 2.5 * 5))
    assert (first.unit, first.angle) == ("angstrom", 90)


def test_images_of_epu_have_their_first_row_on_top():
    laid = small("image", exttyp=b"FEI1", nversion=20140)
    (plane,) = read_planes(laid.raw).planes
    np.testing.assert_array_equal(plane.pixels, laid.pixels)
    assert plane.bottom == pytest.approx(2.5 * 4.5)
    assert plane.top == pytest.approx(-1.25)
    flipped = open_mrc(laid.raw).isel(y=slice(None, None, -1))
    (plane,) = read_planes(flipped).planes
    np.testing.assert_array_equal(plane.pixels, laid.pixels)


@pytest.mark.parametrize("dim", ["x", "y", "z"])
def test_a_flipped_object_gives_the_same_picture(dim):
    laid = small()
    upright = read_planes(laid.raw)
    flipped = read_planes(open_mrc(laid.raw).isel({dim: slice(None, None, -1)}))
    across = {"z": 0, "y": 1, "x": 2}[dim]
    for number, (plane, expected) in enumerate(zip(flipped.planes, upright.planes, strict=True)):
        if number == across and laid.lengths["xyz".index(dim)] % 2 == 0:
            continue  # of an even number of sections another one is the middle
        np.testing.assert_array_equal(plane.pixels, expected.pixels)
        for edge in ("left", "right", "bottom", "top"):
            assert getattr(plane, edge) == pytest.approx(getattr(expected, edge))


def test_first_middle_and_last_image_of_a_stack():
    laid = lay("int16", "image_stack", lengths=(7, 5, 9))
    angles = xr.DataArray(np.linspace(-60, 60, 9), dims="image")
    found = read_planes(open_mrc(laid.raw).assign_coords(tilt_angle=angles))
    assert [plane.title for plane in found.planes] == [
        "image 0 of 0 to 8, tilt -60°",
        "image 4 of 0 to 8, tilt 0°",
        "image 8 of 0 to 8, tilt 60°",
    ]
    for plane, number in zip(found.planes, (0, 4, 8), strict=True):
        np.testing.assert_array_equal(plane.pixels, laid.pixels[number][::-1])
    assert len({plane.limits for plane in found.planes}) == 3  # each image has its own contrast
    assert len(read_planes(lay("int16", "image_stack", lengths=(7, 5, 1)).raw).planes) == 1


def test_a_single_image_with_a_tilt_angle_is_labelled():
    stack = open_mrc(lay("int16", "image_stack", lengths=(7, 5, 3)).raw)
    one = stack.assign_coords(tilt_angle=("image", [1.0, 2.5, 3.0])).isel(image=1)
    (plane,) = read_planes(one).planes
    assert plane.title == "tilt 2.5°"


def test_middle_sections_of_the_volumes_of_a_stack():
    laid = lay("int16", "volume_stack", lengths=(7, 5, 4), volumes=3)
    found = read_planes(laid.raw)
    assert found.planes[1].title == "volume 1 of 0 to 2, z = 1.75 Å (section 2 of 0 to 3)"
    np.testing.assert_array_equal(found.planes[1].pixels, laid.pixels[1, 2][::-1])


def test_dimensions_in_any_order_and_of_other_names():
    laid = small("image_stack")
    data = open_mrc(laid.raw)["data"].rename(image="tilt").transpose("x", "tilt", "y")
    plane = read_planes(data).planes[0]
    assert plane.title == "tilt 0 of 0 to 3"
    np.testing.assert_array_equal(plane.pixels, laid.pixels[0][::-1])


def test_a_cross_section_is_an_image():
    laid = small()
    (plane,) = read_planes(open_mrc(laid.raw).isel(y=1)).planes
    np.testing.assert_array_equal(plane.pixels, laid.pixels[:, 1][::-1])
    assert plane.dims == ("z", "x")
    assert plane.top == pytest.approx(0.875 * 3.5)


def test_skewed_cells():
    planes = read_planes(small(cellb=(80.0, 100.0, 120.0)).raw).planes
    assert [plane.angle for plane in planes] == [120, 100, 80]


def test_without_a_voxel_size_positions_are_pixels():
    (plane,) = read_planes(small("image", voxel=None).raw).planes
    assert plane.unit == "pixel"
    assert (plane.left, plane.right, plane.bottom, plane.top) == (-0.5, 6.5, -0.5, 4.5)


def test_axes_of_one_pixel():
    planes = read_planes(lay("float32", "volume", lengths=(1, 3, 1)).raw).planes
    assert [plane.pixels.shape for plane in planes] == [(3, 1), (1, 1), (1, 3)]
    assert planes[0].width == pytest.approx(2.5)  # as the other axis
    assert planes[1].unit == "pixel"


@pytest.mark.parametrize("form", ["int8", "uint8", "uint16", "float16", "four_bit", "half_width"])
def test_real_forms(form):
    laid = lay(form, "image", lengths=(8, 6, 1))
    found = read_planes(laid.raw)
    expected = laid.pixels[::-1].astype("f4")
    np.testing.assert_array_equal(found.planes[0].pixels, expected)
    bad = np.count_nonzero(~np.isfinite(expected))
    assert found.histogram.nonfinite == bad
    assert found.histogram.counts.sum() == expected.size - bad
    grey = found.planes[0].grey()
    assert grey.dtype == "u1"
    assert not grey[~np.isfinite(expected)].any()


def test_complex_pixels_are_amplitudes_on_a_logarithmic_scale():
    data = np.array([[3 + 4j, 0], [100, 1000j]], "c8")
    found = read_planes(xr.DataArray(data, dims=("y", "x")))
    assert found.quantity == "log10 of the amplitude"
    expected = np.log10([[100, 1000], [5, 5]])  # zero is drawn as the least amplitude
    np.testing.assert_allclose(found.planes[0].pixels, expected, rtol=1e-6)
    assert log_of(np.zeros(2)).tolist() == [0, 0]


def test_colours_stay_as_they_are():
    laid = lay("rgb", "image", lengths=(6, 4, 1))
    found = read_planes(laid.raw)
    assert found.quantity == "colour"
    np.testing.assert_array_equal(found.planes[0].grey(), laid.pixels[::-1])
    halved = read_planes(laid.raw, max_side=3).planes[0].pixels
    expected = np.rint(laid.pixels.reshape(2, 2, 3, 2, 3).mean((1, 3)))[::-1]
    np.testing.assert_array_equal(halved, expected)


def test_truth_values_and_constants():
    data = xr.DataArray(np.eye(3, dtype=bool), dims=("y", "x"))
    assert read_planes(data).planes[0].grey()[::-1].tolist() == (np.eye(3) * 255).tolist()
    constant = read_planes(data.astype("f4") * 0 + 7).planes[0]
    assert constant.limits == (6.5, 7.5)
    assert set(constant.grey().flat) == {127}
    low, high = contrast_limits(np.full(3, 1e30))
    assert low < high
    assert contrast_limits(np.array([np.nan])) == (0, 1)


def test_contrast_leaves_out_hot_pixels_but_shows_rare_labels():
    image = np.random.default_rng(1).normal(100, 10, 10_000)
    image[:20] = 1e6
    low, high = contrast_limits(image)
    assert 60 < low < 80
    assert 120 < high < 140
    mask = np.zeros(10_000)
    mask[:3] = 1
    assert contrast_limits(mask) == (0, 1)


@UNTIMED
@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=32) | st.integers(-(2**40), 2**40),
        min_size=1,
        max_size=50,
    )
)
def test_histograms_count_every_finite_value(values):
    found = histogram_of(np.array(values, "f8"))
    finite = np.isfinite(np.array(values, "f8")).sum()
    assert found.counts.sum() + found.outside == finite
    assert found.nonfinite == len(values) - finite
    assert (np.diff(found.edges) > 0).all()
    assert len(found.counts) <= 128


@UNTIMED
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_neighbours_are_averaged(height, width, side):
    values = np.random.default_rng(height * width).normal(size=(height, width))
    data = xr.DataArray(values, dims=("y", "x"))
    plane = read_planes(data, max_side=side).planes[0]
    down, across = -(-height // side), -(-width // side)
    rows, columns = height // down, width // across
    parts = values[: rows * down, : columns * across].reshape(rows, down, columns, across)
    np.testing.assert_allclose(plane.pixels, parts.mean((1, 3))[::-1], rtol=1e-5, atol=1e-6)
    assert (plane.right, plane.top) == (columns * across - 0.5, rows * down - 0.5)


def test_histograms_leave_out_hot_pixels():
    image = np.random.default_rng(1).normal(100, 10, 10_000)
    image[:3] = 1e6, 1e5, -1e6
    found = histogram_of(image)
    assert found.outside == 3
    assert found.counts.sum() == 9_997
    assert -60 < found.edges[0] < found.edges[-1] < 260
    labels = np.zeros(10_000)
    labels[:2] = 7
    assert histogram_of(labels).counts.tolist() == [9_998, 0, 0, 0, 0, 0, 0, 2]


def test_tilt_angles_that_are_unknown_are_left_out():
    data = xr.DataArray(np.zeros((3, 4, 4)), dims=("image", "y", "x"))
    for angles in ([np.nan, 1.5, np.inf], ["a", "b", "c"]):
        found = read_planes(data.assign_coords(tilt_angle=("image", angles)))
        assert found.planes[0].title == "image 0 of 0 to 2"
    assert found.planes[1].title == "image 1 of 0 to 2"


def test_data_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="expected numbers"):
        read_planes(xr.DataArray([["a", "b"]], dims=("y", "x")))
    skewed = xr.DataArray(np.zeros((4, 4)), dims=("y", "x"), attrs={"mrc_cell_angles": [1, 2, 3]})
    with pytest.raises(ValueError, match="expected the three angles of a cell"):
        read_planes(skewed)
    with pytest.raises(ValueError, match="expected the three angles of a cell"):
        skewed.mrc.power_spectrum()


def test_no_pixels():
    with pytest.raises(ValueError, match="at least one pixel"):
        read_planes(xr.DataArray(np.zeros((0, 3)), dims=("y", "x")))


@pytest.mark.parametrize("kind", KINDS)
def test_dask_and_memory_give_the_same(kind, tmp_path):
    laid = small(kind)
    lazy = read_planes(laid.raw)
    loaded = open_mrc(laid.raw).load()
    for data in (
        loaded,
        loaded.chunk(x=2),
        open_mrc(save(tmp_path / "a.mrc", laid.raw), chunks={}),
    ):
        for plane, expected in zip(read_planes(data).planes, lazy.planes, strict=True):
            np.testing.assert_array_equal(plane.pixels, expected.pixels)
            assert plane.title == expected.title


class CountingFile:
    """A file object of a huge volume of zeros that counts the bytes that are read."""

    def __init__(self, head, size):
        self.head, self.size, self.position, self.count = head, size, 0, 0

    def seek(self, offset, whence=os.SEEK_SET):
        self.position = offset + (self.size if whence == os.SEEK_END else 0)
        return self.position

    def tell(self):
        return self.position

    def readinto(self, buffer):
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self.position))
        part = self.head[self.position : self.position + count]
        view[:count] = part + bytes(count - len(part))
        self.position += count
        self.count += count
        return count

    def read(self, count):
        found = bytearray(count)
        return bytes(found[: self.readinto(found)])


def test_only_the_planes_are_read():
    nx, ny, nz = 4096, 2048, 1024
    head = header(nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz, cella=(nx, ny, nz))
    file = CountingFile(head, 1024 + 4 * nx * ny * nz)
    planes = read_planes(file).planes
    assert [plane.pixels.shape for plane in planes] == [(1024, 1024), (1024, 1024), (256, 256)]
    section, across, along = 4 * nx * ny, 4 * nx * nz, 256 * 256 * 4096
    assert file.count <= 1.1 * (section + across + along)
    file.count = 0
    section_spectrum(open_array(file))
    assert file.count <= 1.1 * section
