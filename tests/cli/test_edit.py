"""``xarray-mrc edit``: the bytes of the file afterwards, and what is said about them."""

import gzip
import struct

import numpy as np
import pytest
from command import run
from files import NUMBERS, sound
from mrcbytes import get

STACK = {"ispg": 0, "mz": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(sound(cella=(8.0, 6.0, 4.0)))
    (tmp_path / "t.st").write_bytes(sound(**STACK))
    return tmp_path


def test_voxel_size_of_many_files(folder):
    before = (folder / "a.mrc").read_bytes()
    dry = run("edit", "--voxel-size", "1.5", "--dry-run", "*.mrc")
    assert dry.out == "".join(
        f"{name}\n  cella: (8.0, 6.0, 4.0) -> (6.0, 4.5, 3.0)\n" for name in ("a.mrc", "b.mrc")
    )
    assert (folder / "a.mrc").read_bytes() == before
    done = run("edit", "--voxel-size", "1.5", "*.mrc")
    assert (done.status, done.out, done.err) == (0, dry.out, "")
    for name in ("a.mrc", "b.mrc"):
        content = (folder / name).read_bytes()
        assert struct.unpack_from("<3f", content, 40) == (6.0, 4.5, 3.0)
        assert content[:40] + content[52:] == before[:40] + before[52:]
    again = run("edit", "--voxel-size", "1.5", "a.mrc")
    assert (again.status, again.out) == (0, "a.mrc\n  no change\n")


@pytest.mark.parametrize(
    ("options", "offset", "code", "values"),
    [
        (["--angpix", "2"], 40, "3f", (8.0, 6.0, 4.0)),
        (["--voxel-size", "0"], 40, "3f", (0.0, 0.0, 0.0)),
        (["--voxel-size", "1, 2, 3"], 40, "3f", (4.0, 6.0, 6.0)),
        (["--origin", "-10,0,2.5"], 196, "3f", (-10.0, 0.0, 2.5)),
        (["--origin=-1 -2 -3"], 196, "3f", (-1.0, -2.0, -3.0)),
        (["--kind", "image_stack"], 88, "i", (0,)),
        (["--set", "nxstart=-3", "--set", "nystart=4"], 16, "2i", (-3, 4)),
        (["--set", "dmean=0.5"], 84, "f", (0.5,)),
        (["--set", "origin=1,2,3"], 196, "3f", (1.0, 2.0, 3.0)),
        (["--set", "exttyp=CCP4"], 104, "4s", (b"CCP4",)),
        (["--set", "map_id=MAP"], 208, "4s", (b"MAP ",)),
        (["--set", "machst=44410000"], 212, "4s", (b"\x44\x41\0\0",)),
        (["--label", "one", "--label", "two words"], 220, "i80s80s",
         (2, b"one".ljust(80), b"two words".ljust(80))),
    ],
)  # fmt: skip
def test_fields(folder, options, offset, code, values):
    done = run("edit", *options, "a.mrc")
    assert (done.status, done.err) == (0, "")
    assert struct.unpack_from(f"<{code}", (folder / "a.mrc").read_bytes(), offset) == values


def test_json(folder):
    done = run("edit", "--voxel-size", "0.1", "--dry-run", "--json", "a.mrc", "missing.mrc")
    changes = {"cella": [[8.0, 6.0, 4.0], [0.4, 0.3, 0.2]]}
    assert done.json == [
        {"path": "a.mrc", "written": False, "changes": changes},
        {"path": "missing.mrc", "error": "missing.mrc: No such file or directory"},
    ]
    found = run("edit", "--set", "rms=0", "--set", "exttyp=SERI", "--json", "a.mrc").json[0]
    assert found["written"] is True
    assert found["changes"]["exttyp"] == ["\0\0\0\0", "SERI"]
    assert run("edit", "--set", "rms=0", "--json", "a.mrc").json[0]["written"] is False
    (folder / "n.mrc").write_bytes(sound(dmean=float("nan")))
    found = run("edit", "--set", "dmean=inf", "--dry-run", "--json", "n.mrc").json[0]
    assert found["changes"] == {"dmean": [None, None]}


def test_fix(folder):
    (folder / "a.mrc").write_bytes(sound(nversion=0, nlabl=9, dmin=-50.0))
    dry = run("edit", "--fix", "--dry-run", "a.mrc")
    assert dry.out == "a.mrc\n  nversion: 0 -> 20141\n  nlabl: 9 -> 1\n"
    assert run("edit", "--fix", "--data", "a.mrc").out == dry.out.replace(
        "  nversion", "  dmin: -50.0 -> -1.0\n  nversion"
    )
    assert get((folder / "a.mrc").read_bytes(), "<", "dmin") == -1.0


def test_an_edit_that_would_break_the_file(folder):
    before = (folder / "a.mrc").read_bytes()
    done = run("edit", "--set", "nx=40", "a.mrc", "b.mrc")
    assert done.status == 2
    assert all("unreadable" in line for line in done.err.splitlines())
    assert (folder / "a.mrc").read_bytes() == before


def test_compressed_files(folder):
    (folder / "a.mrc.gz").write_bytes(gzip.compress(sound()))
    done = run("edit", "--label", "new", "a.mrc.gz")
    assert done.status == 2
    assert done.error.endswith("pass --rewrite to write the whole file anew")
    assert run("edit", "--label", "new", "--rewrite", "a.mrc.gz").status == 0
    content = gzip.decompress((folder / "a.mrc.gz").read_bytes())
    assert content[224:227] == b"new"
    assert content[1024:] == NUMBERS.tobytes()


def test_a_file_that_may_not_be_written(folder, monkeypatch):
    import os

    if os.geteuid() == 0:
        pytest.skip("root may write every file")
    (folder / "a.mrc").chmod(0o444)
    done = run("edit", "--label", "new", "a.mrc")
    assert (done.status, done.error) == (2, "a.mrc: Permission denied")


def test_tilt_angles(folder):
    (folder / "x.txt").write_text("-3.5\n61.25\n")
    done = run("edit", "--tilt-angles", "x.txt", "t.st")
    assert done.status == 2
    assert done.error.startswith("t.st has no room for tilt angles before its data: pass --rewrite")
    done = run("edit", "--tilt-angles", "x.txt", "--rewrite", "t.st")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "  tilt_angle: None -> (-3.5, 61.25)"
    content = (folder / "t.st").read_bytes()
    assert struct.unpack_from("<2h", content, 1024) == (-350, 6125)
    assert content[2048:] == NUMBERS.tobytes()
    assert run("header", "--field", "tilt_angle", "t.st").out == "-3.5\n61.25\n"
    (folder / "x.txt").write_text("1\n2\n3\n")
    done = run("edit", "--tilt-angles", "x.txt", "t.st")
    assert (
        done.error
        == "t.st: --tilt-angles x.txt cannot be used: it has 3 angles, expected one for each of 2"
    )
    assert run("edit", "--tilt-angles", "no.txt", "t.st").status == 2


def test_all_of_it_on_a_big_endian_file(folder):
    (folder / "a.mrc").write_bytes(sound(order=">", nversion=0))
    done = run("edit", "--fix", "--voxel-size", "3", "--origin", "1,2,3", "--label", "x", "a.mrc")
    assert done.status == 0
    content = (folder / "a.mrc").read_bytes()
    assert struct.unpack_from(">3f", content, 40) == (12.0, 9.0, 6.0)
    assert struct.unpack_from(">3f", content, 196) == (1.0, 2.0, 3.0)
    assert np.frombuffer(content, ">f4", 24, 1024).tolist() == NUMBERS.reshape(-1).tolist()
