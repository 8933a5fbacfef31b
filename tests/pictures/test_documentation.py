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


def assert_alike(path, expected):
    """Assert that pictures are alike: fonts and libraries draw other pixels along edges."""
    found, wanted = (images.imread(p)[..., :3].mean(-1) for p in (path, expected))
    assert expected.stat().st_size < 150 * 1024
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 0.03  # a white page is 0.07 away


def test_figure(script, folder, tmp_path):
    script["draw_figure"](folder, tmp_path)
    assert_alike(tmp_path / "show.png", DOCS / "show.png")


@pytest.mark.browser
def test_report(script, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "files")
    script["draw_report"](tmp_path / "files", tmp_path)
    assert_alike(tmp_path / "report.png", DOCS / "report.png")
