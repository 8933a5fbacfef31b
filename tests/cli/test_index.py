"""``xarray-mrc index``: the headers of many files as text, CSV and JSON."""

import csv
import io

import pytest
from command import run
from files import sound
from mrcbytes import put


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Three files in the current folder, one of them cut off."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound())
    (tmp_path / "b.mrcs").write_bytes(put(sound(), "<", nzstart=7))
    (tmp_path / "cut.mrc").write_bytes(sound()[:-1])
    return tmp_path


def test_text():
    done = run("index", "a.mrc", "b.mrcs")
    head, *lines = done.out.splitlines()
    assert head.split() == ["nx", "ny", "nz", "dtype", "kind", "voxel", "size", "file"]
    assert [line.split()[:6] for line in lines] == [
        ["4", "3", "2", "float32", "volume", "1.5"],
        ["4", "3", "2", "float32", "image_stack", "1.5"],
    ]
    assert [line.split()[-1] for line in lines] == ["a.mrc", "b.mrcs"]
    assert (done.status, done.err) == (0, "")


def test_a_problem_is_a_finding():
    done = run("index", ".")
    assert done.status == 1
    assert done.out.splitlines()[3].split("./cut.mrc: ")[1].startswith("the header says 4 x 3 x 2")
    only = run("index", "--problems", ".")
    assert only.status == 1
    assert len(only.out.splitlines()) == 2
    assert run("index", "--problems", "a.mrc").out == ""


def test_csv():
    rows = list(csv.DictReader(io.StringIO(run("index", "--csv", ".").out)))
    assert [row["file"] for row in rows] == ["./a.mrc", "./b.mrcs", "./cut.mrc"]
    assert [row["nzstart"] for row in rows] == ["0", "7", "0"]
    assert rows[0]["labels"] == "made by hand"
    assert "cut off" in rows[2]["problem"]


def test_json():
    rows = run("index", "--json", "*.mrc*").json
    assert [row["file"] for row in rows] == ["a.mrc", "b.mrcs", "cut.mrc"]
    assert rows[1]["nzstart"] == 7
    assert rows[0]["skew_matrix_1"] is None
    assert rows[0]["mtime"].startswith("20")
    assert run("index", "--json", "--problems", "a.mrc").json == []


def test_nothing_to_read():
    done = run("index", "*.map")
    assert done.status == 2
    assert done.error == "*.map: no file matches this pattern; patterns are those of Python's glob"
    assert run("index", "--csv", "--json", "a.mrc").status == 2
    assert run("index").status == 2
    missing = run("index", "none.mrc")
    assert missing.status == 1
    assert "No such file or directory" in missing.out


def test_a_path_without_files_does_not_stop_the_others(folder):
    (folder / "empty").mkdir()
    done = run("index", "*.zzz", "a.mrc")
    assert done.status == 2
    assert done.error.startswith("*.zzz: no file matches this pattern")
    assert done.out.splitlines()[1].endswith("  a.mrc")
    found = run("index", "--json", "*.zzz", "a.mrc")
    assert found.status == 2
    assert [row.get("file") for row in found.json] == ["a.mrc", None]
    assert found.json[1] == {"path": "*.zzz", "error": found.error}
    alone = run("index", "--json", "empty")
    assert (alone.status, alone.json) == (2, [{"path": "empty", "error": alone.error}])
    assert alone.error == "empty: no file below this folder has a name of an MRC file"


def test_an_unknown_time_is_null_in_json():
    (row,) = run("index", "--json", "none.mrc").json
    assert (row["file"], row["problem"]) == ("none.mrc", "No such file or directory")
    assert row["mtime"] is None


def test_secrets_of_a_url_are_not_shown():
    url = "http://me:secret@127.0.0.1:9/a.mrc?token=secret"  # nobody listens there
    for form in ([], ["--csv"], ["--json"]):
        done = run("index", *form, url)
        assert done.status == 1
        assert "http://127.0.0.1:9/a.mrc" in done.out
        assert "secret" not in done.out + done.err
