"""The snippets of the README and of the documentation and the docstrings' examples, run."""

import doctest
import importlib
import pkgutil
import re
import runpy
import sys

import numpy as np
import pytest
import xarray as xr
from snippets import DOCS, PAGES, RECIPES, ROOT, run_page, urls_of

import xarray_mrc

README = ROOT / "README.md"
MODULES = sorted(
    ["xarray_mrc"] + [m.name for m in pkgutil.walk_packages(xarray_mrc.__path__, "xarray_mrc.")]
)


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write the files that docs/tomogram.py writes for its readers."""
    folder = tmp_path_factory.mktemp("files")
    runpy.run_path(str(DOCS / "tomogram.py"))["write_files"](folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    """Run in a directory with these files, which no snippet may change."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    # What a page sets for its readers, and draws, ends with it.
    with xr.set_options(arithmetic_join="inner"):
        yield tmp_path
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_readme_snippets(folder, capsys):
    names = {}
    assert run_page(README, names) == 8
    shown = re.search(r"```text\n(.*?)```", README.read_text("utf-8"), re.DOTALL).group(1)
    said = capsys.readouterr().out
    assert said.startswith(shown)
    assert names["ds"].data.dtype == np.int16
    assert float(names["mean"]) == pytest.approx(names["ds"].data.values.mean(), abs=1e-9)
    assert names["binned"].z[0] == pytest.approx(28.5 * 10.74)
    written = xarray_mrc.open_mrc("binned.mrc.gz")
    xr.testing.assert_allclose(written, names["binned"].data.astype("f4"))
    assert written.shape == (19, 128, 128)
    assert names["series"].tilt_angle.values.tolist() == list(range(-60, 61, 3))
    written = xarray_mrc.open_mrc("low_tilts.mrc")
    assert written.tilt_angle.values.tolist() == list(range(-30, 31, 3))
    np.testing.assert_array_equal(written, names["series"][10:31])
    assert "cella: (2749.44, 2749.44, 1031.04) -> (2764.8, 2764.8, 1036.8)\n" in said
    assert "valid (mrc2014)" in said
    assert said.endswith("(96, 256, 256) 10.74\n")
    assert xr.open_zarr("tomo.zarr").data.dtype == "i2"


def test_picture_of_the_readme(folder):
    picture = DOCS / "tomogram.png"
    assert picture.stat().st_size < 150_000
    pytest.importorskip("matplotlib")
    script = runpy.run_path(str(DOCS / "tomogram.py"))
    script["draw"](folder, folder / "again.png")
    assert (folder / "again.png").read_bytes()[:8] == picture.read_bytes()[:8]


# tests/remote/test_pages.py runs those with URLs.
OTHERS = [page for page in PAGES if page.stem not in RECIPES and not urls_of(page)]


@pytest.mark.parametrize("page", OTHERS, ids=name_of)
def test_snippets_of_the_documentation(page, folder):
    run_page(page, {})


def test_the_files_to_try_are_not_replaced(tmp_path, monkeypatch, capsys):
    main = runpy.run_path(str(DOCS / "tomogram.py"))["main"]
    (tmp_path / "tomo.mrc").write_text("mine")
    monkeypatch.setattr("sys.argv", ["tomogram.py", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "tomo.mrc exists; it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "tomo.mrc").read_text() == "mine"


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_links_between_pages(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
    for link in links:
        # The build copies the notebooks there, when they were executed.
        place = page.parent / link.replace("../notebooks/", "../../notebooks/")
        assert "://" in link or place.is_file(), link


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_public_names_have_docstrings():
    for name in xarray_mrc.__all__:
        assert name == "__version__" or getattr(xarray_mrc, name).__doc__
