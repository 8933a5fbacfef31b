"""The README's snippets and the docstrings' examples, run."""

import doctest
import importlib
import pkgutil
import re
import runpy
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xarray_mrc

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted({path.name for path in (ROOT / "docs").glob("*.md")} - {"recipes.md"})
MODULES = sorted(
    ["xarray_mrc"] + [m.name for m in pkgutil.walk_packages(xarray_mrc.__path__, "xarray_mrc.")]
)


def header(nx, ny, nz, mode, **words):
    """Lay down a header of 1.5 angstrom voxels; further words by their offset."""
    raw = bytearray(1024)
    struct.pack_into("<10i", raw, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, nz)
    struct.pack_into("<6f", raw, 40, nx * 1.5, ny * 1.5, nz * 1.5, 90, 90, 90)
    struct.pack_into("<3i3fi", raw, 64, 1, 2, 3, 0, -1, -2, words.get("ispg", 1))
    struct.pack_into("<i", raw, 92, words.get("nsymbt", 0))
    raw[104:108] = words.get("exttyp", bytes(4))
    struct.pack_into("<i4s4sf", raw, 108, 20141, *[b""] * 2, 0)
    raw[208:216] = b"MAP \x44\x44\0\0"
    return bytes(raw)


def write_inputs(folder):
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(64, 32, 32)).astype("<f4")
    (folder / "tomo.mrc").write_bytes(header(32, 32, 64, 2) + volume.tobytes())
    records = bytearray(768 * 3)
    for i in range(3):
        # Size, version, bitmask with the bits of alpha tilt (7) and defocus (22), the values.
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 << 7 | 1 << 22)
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
        struct.pack_into("<d", records, 768 * i + 220, -4e-6)
    raw = header(32, 32, 3, 2, ispg=0, nsymbt=len(records), exttyp=b"FEI1")
    (folder / "tilts.mrc").write_bytes(raw + records + volume[:3].tobytes())
    return volume


def test_readme_snippets(tmp_path, monkeypatch, capsys):
    # The files are those that docs/tomogram.py writes for its readers.
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs" / "tomogram.py"))["write_files"](tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    names = {}
    assert run_snippets(README, names) == 8
    shown = re.search(r"```text\n(.*?)```", README.read_text("utf-8"), re.DOTALL).group(1)
    said = capsys.readouterr().out
    assert said.startswith(shown)
    assert names["ds"].data.dtype == np.int16
    assert float(names["mean"]) == pytest.approx(names["ds"].data.values.mean(), abs=1e-9)
    assert names["binned"].z[0] == pytest.approx(28.5 * 10.74)
    assert xr.open_zarr("binned.zarr").data.shape == (19, 128, 128)
    xr.testing.assert_allclose(xarray_mrc.open_mrc("binned.mrc.gz").z, names["binned"].z)
    assert names["series"].tilt_angle.values.tolist() == list(range(-60, 61, 3))
    written = xarray_mrc.open_mrc("low_tilts.mrc")
    assert written.tilt_angle.values.tolist() == list(range(-30, 31, 3))
    np.testing.assert_array_equal(written, names["series"][10:31])
    assert "cella: (2749.44, 2749.44, 1031.04) -> (2764.8, 2764.8, 1036.8)\n" in said
    assert "valid (mrc2014)" in said
    assert said.endswith("(96, 256, 256) 10.74\n")
    assert xr.open_zarr("tomo.zarr").data.dtype == "i2"
    # No snippet changes the files of the reader.
    assert {name: Path(name).read_bytes() for name in before} == before


def test_picture_of_the_readme(tmp_path):
    picture = ROOT / "docs" / "tomogram.png"
    assert picture.stat().st_size < 150_000
    pytest.importorskip("matplotlib")
    script = runpy.run_path(str(ROOT / "docs" / "tomogram.py"))
    script["write_files"](tmp_path)
    script["draw"](tmp_path, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes()[:8] == picture.read_bytes()[:8]


@pytest.mark.parametrize("page", PAGES)
def test_snippets_of_the_documentation(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    ds = xr.open_dataset("tomo.mrc", engine="mrc", chunks={}).load()
    (tmp_path / "tilts.mrc").unlink()
    if page == "writing.md":
        (tmp_path / "tomo.mrc").unlink()
    names = {"xarray_mrc": xarray_mrc, "ds": ds, "da": ds.data, "part": ds.data[2:4]}
    run_snippets(ROOT / "docs" / page, names, between=lambda: page == "writing.md" and clear())


def clear():
    """Let the next snippet begin with an empty folder."""
    for path in Path().iterdir():
        path.unlink()


def run_snippets(page, names, between=bool):
    """Run the Python of a page, block after block; return the number of blocks."""
    snippets = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    for snippet in snippets:
        if "needs matplotlib" in snippet and not find_spec("matplotlib"):
            continue
        exec(compile(snippet, str(page), "exec"), names)
        between()
    return len(snippets)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_public_names_have_docstrings():
    for name in xarray_mrc.__all__:
        assert name == "__version__" or getattr(xarray_mrc, name).__doc__
