"""Pages that read from URLs, with nginx on loopback in the place of the archives."""

from __future__ import annotations

import gzip
import runpy

import numpy as np
import pytest
from snippets import DOCS, PAGES, ROOT, run_page, urls_of

import xarray_mrc

pytestmark = pytest.mark.servers

README = ROOT / "README.md"
WITH_URLS = [page for page in (README, *PAGES) if urls_of(page)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Run in a directory with the files of the pages."""
    runpy.run_path(str(DOCS / "tomogram.py"))["write_files"](tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_such_pages():
    assert {README, DOCS / "howto" / "archives.md"} <= set(WITH_URLS)


@pytest.mark.parametrize("page", WITH_URLS, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, folder, nginx):
    raw = (folder / "tomo.mrc").read_bytes()
    for path in set(urls_of(page)):
        file = nginx.files / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(raw, 1) if path.endswith(".gz") else raw)
    names = {}
    run_page(page, names, nginx.ranges)
    np.testing.assert_array_equal(names["section"], xarray_mrc.open_mrc("tomo.mrc")[20])
    assert all(nginx.requests(path.lstrip("/")) for path in urls_of(page))
