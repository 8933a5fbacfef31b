"""Thumbnails, PNG files, and the page of one file."""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import pytest
from files import FILES, sound
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image as images
from mrcbytes import header, lay

import xarray_mrc
from xarray_mrc.checking.report_page import report_page
from xarray_mrc.pictures.overview import overview_page
from xarray_mrc.pictures.png import encode_png
from xarray_mrc.pictures.thumbnails import report_thumbnails, thumbnails_of


@given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 99))
def test_png_files_are_read_by_others(height, width, is_colour, seed):
    shape = (height, width, 3) if is_colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    found = images.imread(io.BytesIO(encode_png(pixels)))
    np.testing.assert_array_equal(np.rint(found * 255).astype("u1"), pixels)


def test_thumbnails_are_upright_and_have_the_shape_of_the_voxels():
    laid = lay("int8", "volume", lengths=(7, 5, 4))
    found = thumbnails_of(laid.raw)
    assert [thumbnail.aspect for thumbnail in found] == pytest.approx(
        [7 * 1.35 / (5 * 2.5), 7 * 1.35 / (4 * 0.875), 5 * 2.5 / (4 * 0.875)]
    )
    first = images.imread(io.BytesIO(found[0].png))
    assert first.shape == (5, 7)
    section = laid.pixels[2][::-1]
    brightest = np.unravel_index(section.argmax(), section.shape)
    assert first[brightest] == first.max()
    assert found[0].title == "z = 1.75 Å (section 2 of 0 to 3); x 9.45, y 12.5 Å"


def test_a_skewed_plane_states_its_angle():
    (first, *_) = thumbnails_of(lay("int8", cellb=(90.0, 90.0, 120.0)).raw)
    assert first.title.endswith(", y at 120°")


def test_pictures_of_files_whose_data_were_read(tmp_path):
    good, cut, large = tmp_path / "good.mrc", tmp_path / "cut.mrc", tmp_path / "large.mrc"
    good.write_bytes(sound())
    cut.write_bytes(sound()[:-60])
    large.write_bytes(header(nx=4096, ny=4096, nz=1, mx=4096, my=4096, mz=1, ispg=0))
    with large.open("r+b") as file:
        file.truncate(1024 + 4 * 4096**2)
    reports = [xarray_mrc.validate(path) for path in (good, cut)]
    reports += [xarray_mrc.validate(large, data=False), xarray_mrc.validate(sound())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = report_thumbnails(reports)
    assert found.keys() == {str(good)}
    page = report_page(reports, found)
    assert page.count("data:image/png") == 3
    assert len(thumbnails_of(large)[0].png) < 20_000


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_the_page_of_a_file(tmp_path):
    path = tmp_path / "<b>a.mrc"
    path.write_bytes(sound(nversion=0, labels=(b"<script>alert(1)</script>",)))
    page = overview_page(path)
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/png") == 1
    assert "<h1>&lt;b&gt;a.mrc</h1>" in page
    assert "volume, 4 x 3 x 2 (x, y, z), float32, 1.5 Å" in page
    assert "nversion is 0, expected 20140 or 20141" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_genuine_files(path):
    found = xarray_mrc.validate(path)
    pictures = report_thumbnails([found])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            xarray_mrc.open_mrc(path)
    except xarray_mrc.MrcError:
        assert not pictures
    else:
        assert all(len(thumbnail.png) < 60_000 for thumbnail in pictures[str(path)])
    assert len(report_page([found], pictures)) < 200_000
