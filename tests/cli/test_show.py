"""``xarray-mrc show``: an asymmetric phantom is the right way up; widths, colours, large files."""

import re

import numpy as np
import pytest
from command import run
from files import FILES, sound
from programs import PEAK_MEMORY, run_program

SIDE = 24


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def phantom(**fields):
    """Lay down bright bars at small x, large y and large z that the middle planes cut."""
    numbers = np.zeros((SIDE, SIDE, SIDE), "f4")
    numbers[:, 18:, :6] = 1  # across z
    numbers[18:, :, :6] = 1  # across y
    numbers[18:, 18:, :] = 1  # across x
    numbers[20:, 20:, :4] = 2
    return sound(numbers, **fields)


def panels(text):
    """Cut the pictures out of the output, one list of lines for each plane."""
    lines = text.splitlines()
    width = max(i for i, line in enumerate(lines) if "→" in line)
    rows = [line.ljust(80) for line in lines[:width] if set(line) <= set(" .:-=+*#%@")]
    return [[row[start : start + 25] for row in rows] for start in (0, 27, 54)]


def bright_corners(panel):
    """Return the corners of a panel of 25 characters that are bright."""
    corners = {
        "upper left": panel[0][0], "upper right": panel[0][24],
        "lower left": panel[-1][0], "lower right": panel[-1][24],
    }  # fmt: skip
    return [name for name, mark in corners.items() if mark in "#%@"]


def test_the_right_way_up(folder):
    (folder / "a.mrc").write_bytes(phantom())
    done = run("show", "a.mrc")
    assert (done.status, done.err) == (0, "")
    across_z, across_y, across_x = panels(done.out)
    assert bright_corners(across_z) == ["upper left"]  # x to the right, y up
    assert bright_corners(across_y) == ["upper left"]  # x to the right, z up
    assert bright_corners(across_x) == ["upper right"]  # y to the right, z up
    assert "x → 36, y ↑ 36 Å" in done.out


def test_facts(folder):
    (folder / "a.mrc").write_bytes(phantom(dmin=0.0, dmax=1.0, dmean=0.25, rms=0.5))
    lines = run("show", "a.mrc").out.splitlines()
    assert lines[:5] == [
        "a.mrc",
        "24 x 24 x 24 pixels, 32-bit float (mode 2), volume",
        "voxel size 1.5 Å",
        "header: densities 0 to 1, mean 0.25, rms 0.5",
        "label: made by hand",
    ]
    assert re.fullmatch("0 █[▁▂▃▄▅▆▇█ ]* 1", lines[-2])


@pytest.mark.parametrize("width", [10, 20, 40, 61, 62, 63, 64, 79, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(folder, width):
    (folder / "a.mrc").write_bytes(phantom(labels=()))
    for options in ({}, {"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm"}):
        text = run("show", "a.mrc", COLUMNS=str(width), **options).out
        body = text.split("rms")[1].splitlines()[1:]
        plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in body]
        assert max(map(len, plain)) <= width
        assert max(map(len, plain)) >= min(width, 60) - 12


def test_facts_break_between_words_on_a_terminal(folder):
    (folder / "a phantom.mrc").write_bytes(phantom(dmin=0.0, dmax=1.0, dmean=0.25, rms=0.5))
    on_terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
    lines = run("show", "a phantom.mrc", COLUMNS="35", **on_terminal).out.splitlines()
    assert lines[:6] == [
        "a phantom.mrc",
        "24 x 24 x 24 pixels, 32-bit float",
        "(mode 2), volume",
        "voxel size 1.5 Å",
        "header: densities 0 to 1, mean",
        "0.25, rms 0.5",
    ]
    narrow = run("show", "a phantom.mrc", COLUMNS="10", **on_terminal).out.splitlines()
    assert narrow[0] == "a phantom.mrc"
    piped = run("show", "a phantom.mrc", COLUMNS="35").out.splitlines()
    assert piped[1] == "24 x 24 x 24 pixels, 32-bit float (mode 2), volume"


def test_narrow_terminals_show_the_planes_below_each_other(folder):
    (folder / "a.mrc").write_bytes(phantom())
    text = run("show", "a.mrc", COLUMNS="30").out
    assert [line for line in text.splitlines() if "→" in line] == [
        "x → 36, y ↑ 36 Å", "x → 36, z ↑ 36 Å", "y → 36, z ↑ 36 Å",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "\x1b[38;2;"),
        ({"TERM": "xterm-256color"}, "\x1b[38;5;"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ""),
        ({"TERM": "dumb"}, ""),
    ],
)
def test_colours(folder, variables, code):
    (folder / "a.mrc").write_bytes(phantom())
    text = run("show", "a.mrc", FORCE_COLOR="1", **variables).out
    if code:
        assert code in text
        assert "▀" in text
    else:
        assert "\x1b" not in text
        assert "@@" in text


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
def test_corpus():
    done = run("show", *FILES)
    assert done.status == 2
    errors = [line for line in done.err.splitlines() if ": error: " in line]
    assert len(errors) == 2  # DeltaVision's file, and one without data
    assert done.out.count("pixels, ") == len(FILES) - 2


def test_kinds(folder):
    numbers = np.arange(5 * 8 * 8, dtype="i2").reshape(5, 8, 8)
    (folder / "t.st").write_bytes(sound(numbers, ispg=0, mz=1))
    text = run("show", "t.st").out
    assert all(f"image {n} of 0 to 4" in text for n in (0, 2, 4))
    (folder / "i.mrc").write_bytes(sound(numbers[:1], ispg=0, mz=1))
    assert ", image\n" in run("show", "i.mrc").out
    (folder / "v.mrc").write_bytes(sound(numbers[:4], ispg=401, mz=2))
    assert ", volume stack\n" in run("show", "v.mrc").out


@pytest.mark.parametrize("values", [np.nan, 0.0, 1e30])
def test_values_without_contrast(folder, values):
    (folder / "a.mrc").write_bytes(sound(np.full((4, 8, 8), values, "f4"), dmin=0.0))
    assert run("show", "a.mrc").status == 0


SHOW_A_LARGE_FILE = (
    PEAK_MEMORY
    + """
import sys, time
from xarray_mrc.cli.program import program
start = time.monotonic()
assert program.main(["show", sys.argv[1]], standalone_mode=False) == 0
print("SECONDS", time.monotonic() - start, "MIB", peak_nbytes() / 2**20)
"""
)


@pytest.mark.serial
def test_a_sparse_file_of_a_tebibyte(folder):
    """Three planes of 1 TiB cost seconds and less than 500 MiB."""
    path = folder / "huge.mrc"
    n = {"nx": 8192, "ny": 8192, "nz": 4096}
    head = sound(**n, mx=8192, my=8192, mz=4096, cella=(8192.0, 8192.0, 4096.0))[:1024]
    try:
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(1024 + 4 * 8192 * 8192 * 4096)
    except OSError:
        pytest.skip("the file system has no sparse files of 1 TiB")
    said = run_program(SHOW_A_LARGE_FILE, path).splitlines()[-1].split()
    assert float(said[1]) < 20
    assert float(said[3]) < 500


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html", ".HTML"])
def test_save(folder, suffix):
    pytest.importorskip("matplotlib")
    (folder / "a.mrc").write_bytes(phantom())
    target = folder / f"out{suffix}"
    done = run("show", "--save", target.name, "a.mrc")
    assert (done.status, done.out, done.err) == (0, f"a.mrc -> {target.name}\n", "")
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    content = target.read_bytes()
    assert content.startswith(starts.get(suffix, b"<!DOCTYPE html>"))
    if suffix == ".html":
        assert b"a.mrc" in content
    target.write_text("precious")
    done = run("show", "--save", target.name, "a.mrc")
    assert (done.status, target.read_text()) == (2, "precious")
    assert done.error == f"{target.name}: it exists already; pass --overwrite to replace it"
    assert run("show", "--overwrite", "--save", target.name, "a.mrc").status == 0
    assert target.read_bytes()[:20] == content[:20]


def test_nothing_is_saved_of_a_file_that_cannot_be_read(folder):
    (folder / "a.mrc").write_bytes(phantom()[:-100])
    assert run("show", "--save", "out.html", "a.mrc").status == 2
    assert not (folder / "out.html").exists()
    (folder / "a.mrc").write_bytes(phantom())
    done = run("show", "--save", "no/such/folder/out.png", "a.mrc")
    assert done.status == 2
    assert "no/such/folder/out.png: No such file or directory" in done.error
