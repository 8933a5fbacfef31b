"""Every command on good, missing, damaged and foreign input: exit status, and one line of error."""

import gzip

import pytest
from command import run, start
from files import sound

from xarray_mrc.cli.output import as_command

READERS = {
    "header": [],
    "stats": [],
    "show": [],
    "edit": ["--voxel-size", "2", "--dry-run"],
}
# Input by name, the words of its error, and whether its header can be read all the same.
INPUTS = {
    "missing.mrc": ("No such file or directory", False),
    "directory": ("directory", False),
    "empty.mrc": ("the file has 0 bytes", False),
    "text.mrc": ("not an MRC file", False),
    "cut.mrc": ("cut off", True),
    "cut.mrc.gz": ("", True),
    "short.mrc": ("the file has 100 bytes", False),
    "short.mrc.gz": ("", False),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "good.mrc").write_bytes(sound())
    (tmp_path / "empty.mrc").touch()
    (tmp_path / "text.mrc").write_text("# Notes on the microscope\n" * 100, "utf-8")
    (tmp_path / "cut.mrc").write_bytes(sound()[:-40])
    (tmp_path / "short.mrc").write_bytes(sound()[:100])
    packed = gzip.compress(sound(), 1)
    (tmp_path / "cut.mrc.gz").write_bytes(packed[:-12])
    (tmp_path / "short.mrc.gz").write_bytes(packed[:40])
    return tmp_path


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("command", READERS)
def test_unreadable_input(folder, command, name):
    words, has_header = INPUTS[name]
    done = run(command, *READERS[command], name)
    if command == "header" and has_header:
        assert (done.status, done.err) == (0, "")
        return
    assert done.status == 2
    assert done.out == ""
    assert done.error.startswith((f"{name}: ", f"{name} "))
    assert words in done.error
    assert str(folder) not in done.error.replace(f"{name}: ", "", 1)


@pytest.mark.parametrize("name", INPUTS)
def test_validate_unreadable_input(folder, name):
    done = run("validate", name)
    if name in ("missing.mrc", "directory"):
        assert done.status == 2
        assert done.error.startswith(f"{name}: ")
    else:
        assert (done.status, done.err) == (1, "")
        assert done.out.splitlines()[-1].startswith(f"{name}: invalid (mrc2014)")


@pytest.mark.parametrize("name", INPUTS)
def test_convert_unreadable_input(folder, name):
    for target in ("new.zarr", "new.mrc"):
        done = run("convert", name, target)
        assert done.status == 2
        assert done.error.startswith((f"{name}: ", f"{name} "))
        assert not (folder / target).exists()


@pytest.mark.parametrize("command", [*READERS, "validate"])
def test_other_files_go_on(folder, command):
    done = run(command, *READERS.get(command, []), "missing.mrc", "good.mrc", "directory")
    assert done.status == 2
    assert [line.split(": ")[2] for line in done.err.splitlines()] == ["missing.mrc", "directory"]
    assert "good.mrc" in done.out


@pytest.mark.parametrize("command", ["header", "stats", "edit", "validate"])
def test_json_lists_every_file(folder, command):
    options = READERS.get(command, [])
    done = run(command, *options, "--json", "good.mrc", "missing.mrc", "text.mrc")
    found = done.json
    assert [entry["path"] for entry in found] == ["good.mrc", "missing.mrc", "text.mrc"]
    assert found[1]["error"] == "missing.mrc: No such file or directory"
    assert "error" not in found[0]
    assert done.status == 2


def test_a_finding_is_outweighed_by_an_error(folder):
    assert run("validate", "good.mrc").status == 0
    assert run("validate", "good.mrc", "text.mrc").status == 1
    assert run("validate", "missing.mrc", "text.mrc").status == 2


def test_patterns_are_expanded(folder):
    for name in ("b2.mrc", "b1.mrc"):
        (folder / name).write_bytes(sound())
    (folder / "directory" / "c.mrc").write_bytes(sound())
    found = run("header", "--json", "b*.mrc", "**/c.mrc").json
    assert [entry["path"] for entry in found] == ["b1.mrc", "b2.mrc", "directory/c.mrc"]


def test_a_pattern_without_a_match_is_named(folder):
    done = run("header", "z*.mrc", "good.mrc")
    assert (done.status, done.error) == (2, "z*.mrc: No such file or directory")


def test_a_name_that_looks_like_a_pattern(folder):
    (folder / "run[1].mrc").write_bytes(sound(nxstart=7))
    (folder / "run1.mrc").write_bytes(sound())
    assert run("header", "--field", "nxstart", "run[1].mrc").out == "7\n"


def test_a_url_is_not_a_pattern(folder):
    (folder / "directory" / "x.mrc").write_bytes(sound())
    done = run("header", "ftp9://example.org/directory/?.mrc?token=secret#x")
    assert done.status == 2
    assert done.error.startswith("ftp9://example.org/directory/: ")
    assert "secret" not in done.err + done.out


def test_a_home_directory(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert run("header", "--field", "nx", "~/good.mrc").out == "4\n"
    assert run("header", "--field", "nx", "~/g*d.mrc").out == "4\n"


def test_a_file_url(folder):
    assert run("header", "--field", "nx", (folder / "good.mrc").as_uri()).out == "4\n"


def test_control_characters_do_not_reach_the_terminal(folder):
    (folder / "a\x1b[31m\nb.mrc").write_bytes(sound(nxstart=7))
    done = run("header", "--field", "nx", "--field", "ny", "a*.mrc", "missing\x1b.mrc")
    assert "\x1b" not in done.out + done.err
    assert len(done.err.splitlines()) == 1


def test_names_that_are_not_text(folder):
    (folder / "b\udcff.mrc").write_bytes(sound())
    done = start("validate", "b*.mrc", folder=folder)
    assert (done.status, done.err) == (0, "")
    assert r"b\udcff.mrc: valid" in done.out
    assert start("validate", "--json", "b*.mrc", folder=folder).json[0]["valid"] is True


def test_five_hundred_files(folder):
    for number in range(500):
        (folder / f"n{number:03}.mrc").write_bytes(sound(nxstart=number))
    lines = run("header", "--field", "nxstart", "n*.mrc").out.splitlines()
    assert lines == [f"n{number:03}.mrc\t{number}" for number in range(500)]


def test_a_warning_is_one_line(folder):
    (folder / "skew.mrc").write_bytes(
        sound(cella=(6.0, 4.5, 3.0), mode=0, dmax=255.0, ispg=1)[:1048]
    )
    done = run("stats", "skew.mrc")
    (line,) = done.err.splitlines()
    assert line.startswith("xarray-mrc: warning: ")
    assert "Warning:" not in line


def test_errors_name_the_option_of_convert(folder):
    done = run("show", "cut.mrc")
    assert "'convert --option truncated=sections' reads the whole sections" in done.error
    refused = run("convert", "good.mrc", "new.tif")
    assert "pass 'convert --option format=mrc' to write an MRC file" in refused.error
    assert run("convert", "--option", "format=mrc", "good.mrc", "new.tif").status == 0


@pytest.mark.parametrize("target", ["nowhere/new.mrc", "nowhere/new.mrc.gz"])
def test_target_in_a_missing_directory(folder, target):
    done = run("convert", "good.mrc", target)
    assert done.status == 2
    assert done.error == f"good.mrc: {folder / 'nowhere'}: No such file or directory"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pass storage_options={'anon': True} for", "pass --storage anon=true for"),
        ("with storage_options={'max_requests': 2}", "with --storage max_requests=2"),
        ("as storage_options={'ssl': 'FILE.pem'}", "as --storage ssl=FILE.pem"),
    ],
)
def test_storage_options_are_options_of_the_command(text, shown):
    assert as_command(text) == shown
