"""Contact sheets: which files, which plane, which title, and files that can't be read."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from files import sound
from matplotlib import image as images
from mrcbytes import lay

import xarray_mrc
from xarray_mrc import contact_sheet
from xarray_mrc.pictures.contact import MAX_FILES, short_names

LAID = {
    "a.mrc": lay("int16", "image", lengths=(9, 7, 1), voxel=("1.5", "1.5", "1.5")),
    "b.mrcs": lay("int16", "image_stack", lengths=(9, 7, 4)),
    "c.mrc": lay("int16", "volume", lengths=(9, 7, 5), voxel=None),
    "d.mrc": lay("rgb", "volume_stack", lengths=(9, 7, 5), volumes=3),
}


@pytest.fixture
def folder(tmp_path):
    for name, laid in LAID.items():
        (tmp_path / name).write_bytes(laid.raw)
    return tmp_path


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_the_middle_of_each_file(folder):
    figure = contact_sheet(folder)
    assert titles(figure) == [
        "a.mrc\n9 x 7, 1.5 Å",
        "b.mrcs\n9 x 7 x 4, 1.35 x 2.5 Å",
        "c.mrc\n9 x 7 x 5",
        "d.mrc\n9 x 7 x 5 x 3, 1.35 x 2.5 Å",
    ]
    middles = [laid.pixels for laid in LAID.values()]
    middles = [middles[0], middles[1][2], middles[2][2], middles[3][1, 2]]
    for ax, middle in zip(figure.axes, middles, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), middle[::-1])
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts == [["2 Å"], ["2 Å"], [], ["2 Å"]]
    buffer = io.BytesIO(figure._repr_png_())
    assert images.imread(buffer).std() > 0.1


def test_places_of_the_pictures(folder):
    figure = contact_sheet(folder, columns=2)
    boxes = [ax.get_position(original=True) for ax in figure.axes]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y0 == boxes[3].y0 > 0
    assert boxes[0].x0 == boxes[2].x0 < boxes[1].x0 == boxes[3].x0
    assert all(box.y1 < 1 and box.x1 <= 1 for box in boxes)
    width, height = figure.get_size_inches()
    assert boxes[0].width * width == pytest.approx(boxes[0].height * height)
    assert len(contact_sheet([folder / "a.mrc"], columns=5).axes) == 1


def test_a_file_that_cannot_be_read_has_the_reason_in_its_place(folder):
    (folder / "e.mrc").write_bytes(sound()[:-60])
    (folder / "f.mrc").write_bytes(b"$\\frac{no MRC file")
    figure = contact_sheet([folder, folder / "g.mrc"])
    reasons = {ax.get_title(): ax.texts[0].get_text() for ax in figure.axes[4:]}
    assert list(reasons) == ["e.mrc", "f.mrc", "g.mrc"]
    assert reasons["e.mrc"].replace("\n", " ").startswith("the header says 4 x 3 x 2 pixels")
    assert reasons["g.mrc"] == "No such file or directory"
    assert not any(ax.images for ax in figure.axes[4:])
    figure._repr_png_()


def test_one_warning_for_all_files(folder):
    odd = lay("int8", "volume", dmin=0.0, dmax=255.0).raw
    for name in ("a.mrc", "c.mrc"):
        (folder / name).write_bytes(odd)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        contact_sheet(folder)
    assert [warning.category for warning in caught] == [xarray_mrc.MrcWarning]
    assert caught[0].filename == __file__
    assert "a.mrc: the bytes (mode 0) are signed" in str(caught[0].message)
    assert str(caught[0].message).endswith("; so were 1 other files")


def test_wrong_arguments(folder):
    with pytest.raises(ValueError, match="columns=0"):
        contact_sheet(folder, columns=0)
    with pytest.raises(ValueError, match="0 files were found, expected 1 to"):
        contact_sheet([])
    with pytest.raises(ValueError, match=f"expected 1 to {MAX_FILES}"):
        contact_sheet(f"{n}.mrc" for n in range(MAX_FILES + 1))
    with pytest.raises(FileNotFoundError):
        contact_sheet(folder / "*.map")


def test_names_are_cut_in_the_middle():
    (name,) = short_names(["folder/" + "a" * 40 + "b" * 40])
    assert name == "a" * 16 + "..." + "b" * 16
    assert short_names(["https://a.org/x/1.mrc", "2.mrc"]) == ["1.mrc", "2.mrc"]
