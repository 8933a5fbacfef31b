"""The pictures of the documentation are those that its script draws now."""

from __future__ import annotations

import runpy
import shutil

import numpy as np
import pytest
from files import ROOT
from matplotlib import image as images

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "pictures.py"))


@pytest.fixture(scope="module")
def folder(script, tmp_path_factory):
    found = tmp_path_factory.mktemp("files")
    script["write_files"](found)
    return found


def coarse(path):
    """Return a picture in greys, in blocks of 8 pixels: fonts and edges differ between versions."""
    grey = images.imread(path)[..., :3].mean(-1)
    height, width = (n // 8 * 8 for n in grey.shape)
    return grey[:height, :width].reshape(height // 8, 8, width // 8, 8).mean((1, 3))


def assert_alike(path, expected):
    assert expected.stat().st_size < 150 * 1024
    found, wanted = coarse(path), coarse(expected)
    assert found.shape == wanted.shape
    distance = np.abs(found - wanted).mean()
    assert distance < 0.03
    for other in (np.ones_like(wanted), wanted[::-1], wanted[:, ::-1]):
        assert np.abs(other - wanted).mean() > 0.05  # so that a wrong picture is noticed


def test_figure(script, folder, tmp_path):
    script["draw_figure"](folder, tmp_path)
    assert_alike(tmp_path / "show.png", DOCS / "show.png")


@pytest.mark.browser
def test_report(script, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "files")
    script["draw_report"](tmp_path / "files", tmp_path)
    assert_alike(tmp_path / "report.png", DOCS / "report.png")
