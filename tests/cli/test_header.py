"""``xarray-mrc header``: values from bytes that were laid down, and mrcfile's own program."""

import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from command import run
from files import FILES, sound

STACK = {"ispg": 0, "mz": 1}
SERI = {"exttyp": b"SERI", "nint": 2, "nreal": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = struct.pack("<2h", -6000, 150).ljust(1024, b"\0")
    fields = {"nxstart": -7, "cella": (6.0, 4.5, 3.0), "dmean": math.nan, "rms": math.inf}
    (tmp_path / "a.mrc").write_bytes(sound(**fields, labels=(b"one", b"two")))
    (tmp_path / "t.st").write_bytes(sound(extended=records, **STACK, **SERI))
    (tmp_path / "big.mrc").write_bytes(sound(order=">"))
    return tmp_path


def test_the_table(folder):
    done = run("header", "a.mrc")
    rows = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert "-7" in rows["nxstart"]
    assert "1.5, 1.5, 1.5 angstrom" in rows["voxel size"]
    assert "two" in rows["label 2"]
    assert (done.status, done.err) == (0, "")
    assert all(row in run("header", "big.mrc", "a.mrc").out for row in ("big.mrc:\n", "\na.mrc:\n"))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["nxstart"], "-7\n"),
        (["cella"], "6.0 4.5 3.0\n"),
        (["voxel_size"], "1.5 1.5 1.5\n"),
        (["labels"], "one\ntwo\n"),
        (["labels", "nx"], "one; two\t4\n"),
        (["byteorder"], "<\n"),
        (["map_id"], "MAP\n"),
        (["machst"], "44 44 00 00\n"),
        (["exttyp"], "\n"),
        (["dmean", "rms"], "nan\tinf\n"),
        (["nx", "ny", "nz"], "4\t3\t2\n"),
    ],
)
def test_bare_values(folder, names, text):
    done = run("header", *(word for name in names for word in ("--field", name)), "a.mrc")
    assert (done.status, done.out, done.err) == (0, text, "")


def test_values_of_several_files(folder):
    done = run("header", "--field", "nx", "--field", "byteorder", "a.mrc", "no.mrc", "big.mrc")
    assert done.out == "a.mrc\t4\t<\nbig.mrc\t4\t>\n"
    assert done.status == 2


def test_values_of_the_extended_header(folder):
    assert run("header", "--field", "tilt_angle", "t.st").out == "-60.0\n1.5\n"
    assert run("header", "--field", "tilt_angle", "--field", "nz", "t.st").out == "-60.0 1.5\t2\n"
    done = run("header", "--field", "tilt_angel", "t.st")
    assert done.status == 2
    assert "did you mean 'tilt_angle'?" in done.error


def test_the_extended_header(folder):
    lines = run("header", "--ext", "t.st").out.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["extended", "header", "SERI,", "1024", "bytes"]
    assert lines[1].split() == ["tilt_angle", "-60.0", "...", "1.5", "degree", "Tilt", "angle"]
    assert "extended header  none" in run("header", "--ext", "a.mrc").out


def test_the_extended_header_of_a_file_that_is_cut_off(folder):
    (folder / "t.st").write_bytes((folder / "t.st").read_bytes()[:-30])
    assert run("header", "--field", "tilt_angle", "t.st").out == "-60.0\n1.5\n"


def test_json(folder):
    (found,) = run("header", "--json", "a.mrc").json
    assert found["path"] == "a.mrc"
    assert found["byteorder"] == "<"
    assert found["voxel_size"] == [1.5, 1.5, 1.5]
    assert found["labels"] == ["one", "two"]
    fields = found["fields"]
    assert (fields["nx"], fields["nxstart"], fields["cella"]) == (4, -7, [6.0, 4.5, 3.0])
    assert (fields["dmean"], fields["rms"]) == (None, None)  # nan and infinity
    assert fields["machst"] == "44 44 00 00"
    (found,) = run("header", "--json", "--ext", "t.st").json
    assert found["extended_header"]["kind"] == "SERI"
    tilts = found["extended_header"]["sections"]["tilt_angle"]
    assert tilts == {"units": "degree", "long_name": "Tilt angle", "values": [-60.0, 1.5]}


def test_json_has_the_shortest_decimal_of_a_float32(folder):
    (folder / "a.mrc").write_bytes(sound(cella=(0.1, 4.5, 3.0)))
    assert run("header", "--json", "a.mrc").json[0]["fields"]["cella"] == [0.1, 4.5, 3.0]


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
@pytest.mark.parametrize("options", [[], ["--ext"], ["--json"], ["--json", "--ext"]], ids=str)
def test_corpus(options):
    done = run("header", *options, *FILES)
    assert done.status == 2  # of the DeltaVision file
    assert len(done.err.splitlines()) == 1
    if "--json" in options:
        assert len(done.json) == len(FILES)


def program_of_mrcfile(name, *arguments):
    """Run a program that mrcfile installed."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip("mrcfile has not installed its programs here")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_the_text_of_mrcfile(folder):
    names = ["a.mrc", "t.st", "big.mrc"]
    theirs = program_of_mrcfile("mrcfile-header", *names)
    assert run("header", "--profile", "mrcfile", *names).out == theirs.stdout
    assert theirs.stdout.count("nxstart") == 3


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
def test_the_text_of_mrcfile_for_the_corpus():
    names = [str(path) for path in FILES]
    theirs = program_of_mrcfile("mrcfile-header", *names)
    assert run("header", "--profile", "mrcfile", *names).out == theirs.stdout


def test_a_link_under_the_name_of_mrcfiles_program(folder):
    """What pip installs for an entry point, under another name."""
    script = folder / "mrcfile-header"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom xarray_mrc.cli.program import main\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n"
    )
    script.chmod(0o755)
    os.link(script, folder / "mrcfile-validate")
    (folder / "bad.mrc").write_bytes(sound(nversion=0))
    for name in ("mrcfile-header", "mrcfile-validate"):
        for files in (["a.mrc"], ["big.mrc", "bad.mrc"], ["a.mrc", "missing.mrc"], []):
            theirs = program_of_mrcfile(name, *files)
            command = [folder / name, *files]
            ours = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
