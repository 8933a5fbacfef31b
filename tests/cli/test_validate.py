"""``xarray-mrc validate``: verdicts, exit statuses, and the text of mrcfile's own program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken_files import FILES as BROKEN
from command import run
from files import FILES, sound

from xarray_mrc import edit_header


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.mrc").write_bytes(sound())
    (tmp_path / "old.mrc").write_bytes(sound(nversion=0))
    (tmp_path / "bad.mrc").write_bytes(sound(nlabl=20))
    (tmp_path / "dmin.mrc").write_bytes(sound(dmin=-9.0))
    return tmp_path


def test_text(folder):
    done = run("validate", "good.mrc")
    assert done.out == "good.mrc: valid (mrc2014): nothing found\n"
    done = run("validate", "old.mrc", "bad.mrc")
    assert done.out.splitlines() == [
        "W H06 nversion is 0, expected 20140 or 20141; 'xarray-mrc edit --fix FILE' corrects it",
        "old.mrc: valid (mrc2014): 1 warning",
        "E L01 nlabl is 20, expected 0 to 10; 'xarray-mrc edit --fix FILE' corrects it",
        "W L02 nlabl is 20, but 1 label contains text; 'xarray-mrc edit --fix FILE' corrects it",
        "bad.mrc: invalid (mrc2014): 1 error, 1 warning",
    ]
    assert (done.status, done.err) == (1, "")


def test_the_command_that_a_finding_names_works(folder):
    text = run("validate", "dmin.mrc").out.splitlines()[0]
    assert "'xarray-mrc edit --fix --data FILE'" in text
    assert run("edit", "--fix", "--data", "dmin.mrc").status == 0
    assert run("validate", "dmin.mrc").out == "dmin.mrc: valid (mrc2014): nothing found\n"
    assert not edit_header("dmin.mrc", fix=True, data=True, dry_run=True)


def test_json(folder):
    done = run("validate", "--json", "good.mrc", "bad.mrc")
    assert done.status == 1
    good, bad = done.json
    assert good == {
        "path": "good.mrc", "profile": "mrc2014", "valid": True, "data_checked": True,
        "findings": [],
    }  # fmt: skip
    assert [finding["id"] for finding in bad["findings"]] == ["L01", "L02"]
    assert set(bad["findings"][0]) == {"id", "severity", "title", "text"}


def test_headers_only(folder):
    done = run("validate", "--no-data", "dmin.mrc")
    assert done.out == "dmin.mrc: valid (mrc2014, headers only): nothing found\n"
    assert "D01" in run("validate", "dmin.mrc").out


@pytest.mark.parametrize(
    ("profile", "status"), [("mrc2014", 0), ("emdb", 0), ("cryoet-portal", 1), ("mrcfile", 1)]
)
def test_profiles(folder, profile, status):
    assert run("validate", "--profile", profile, "old.mrc").status == status


def program_of_mrcfile(*arguments):
    """Run the program that mrcfile installed."""
    program = Path(sys.executable).with_name("mrcfile-validate")
    if not program.exists():
        pytest.skip("mrcfile has not installed its programs here")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def compare_with_mrcfile(name):
    """Assert that output and exit status are those of mrcfile's program."""
    theirs = program_of_mrcfile(name)
    ours = run("validate", "--profile", "mrcfile", name)
    assert ours.status == theirs.returncode
    if "Traceback" in theirs.stderr:  # mrcfile ends there, where the profile gives the reason
        assert ours.out.startswith(theirs.stdout)
        assert len(ours.out) > len(theirs.stdout)
    else:
        assert rounded(ours.out) == rounded(theirs.stdout)


def rounded(text):
    """Round decimals: sums in another order differ in the last digits."""
    return re.sub(r"\d+\.\d{6,}", lambda number: f"{float(number[0]):.6g}", text)


# Files for which mrcfile's verdict is right; docs/validation.md names the others.
ALIKE = ("H05", "H06", "H07", "H08", "H14", "L01", "L02", "H25", "D01", "S03", "S01", "H02")


@pytest.mark.parametrize("id_", ALIKE)
def test_the_text_of_mrcfile(folder, id_):
    number, content = next((n, c) for n, (i, c, _) in enumerate(BROKEN) if i == id_)
    (folder / f"{number}.mrc").write_bytes(content)
    compare_with_mrcfile(f"{number}.mrc")


def test_the_text_of_mrcfile_for_a_valid_file(folder):
    compare_with_mrcfile("good.mrc")


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_text_of_mrcfile_for_the_corpus(path):
    compare_with_mrcfile(str(path))


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
@pytest.mark.parametrize("profile", ["mrc2014", "emdb", "cryoet-portal", "mrcfile"])
def test_corpus(profile):
    done = run("validate", "--json", "--profile", profile, *FILES)
    assert (done.status, done.err) == (1, "")
    assert len(done.json) == len(FILES)


def test_html(folder):
    done = run("validate", "--html", "report.html", "good.mrc", "bad.mrc", "missing.mrc")
    assert done.status == 2
    page = (folder / "report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "good.mrc" in page
    assert "nlabl is 20" in page
    done = run("validate", "--html", "report.html", "good.mrc")
    assert done.status == 2
    assert done.error == "report.html: it exists already; pass --overwrite to replace it"
    assert (folder / "report.html").read_text("utf-8") == page
    assert run("validate", "--html", "report.html", "--overwrite", "good.mrc").status == 0
    assert "bad.mrc" not in (folder / "report.html").read_text("utf-8")
    done = run("validate", "--html", "no/folder/report.html", "good.mrc")
    assert done.status == 2
    assert "no/folder/report.html: No such file or directory" in done.error
