"""The program: help, the default command, wrong usage, completion."""

import pytest
from click.testing import CliRunner
from command import run, start
from files import sound

from xarray_mrc.cli.program import COMMANDS, program


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound())
    return "a.mrc"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_a_command(command, option):
    done = run(command, option)
    assert (done.status, done.err) == (0, "")
    assert f"xarray-mrc {command}" in done.out.split("Examples:")[1]
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_help_lists_the_commands_in_order():
    done = run("--help")
    listed = [
        line.split()[0] for line in done.out.split("Commands:\n")[1].split("\n\n")[0].split("\n")
    ]
    assert tuple(listed) == COMMANDS
    assert "Exit status:" in done.out
    assert run() == done  # without arguments


def test_version():
    import xarray_mrc

    assert run("--version").out == f"xarray-mrc {xarray_mrc.__version__}\n"


def test_a_file_alone_shows_its_header(file):
    assert run(file) == run("header", file)
    assert run(file, "--json") == run("--json", file) == run("header", "--json", file)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("heder", "a.mrc"), "'heder' is neither a command nor a file; did you mean 'header'?"),
        (("frobnicate",), "'frobnicate' is neither a command nor a file; the commands are header"),
        (("header",), "missing argument 'FILE...'."),
        (("header", "--jsno", "a.mrc"), "no such option"),
        (("validate", "--profile", "emd", "a.mrc"), "invalid value for '--profile'"),
        (("edit", "a.mrc"), "nothing to change was passed"),
        (("edit", "--data", "--label", "x", "a.mrc"), "--data was passed without --fix"),
        (
            ("edit", "--voxel-size", "big", "a.mrc"),
            "'big' was found, expected one number, or three",
        ),
        (
            ("edit", "--voxel-size", "1,2", "a.mrc"),
            "'1,2' was found, expected one number, or three",
        ),
        (("edit", "--origin", "1", "a.mrc"), "'1' was found, expected three numbers"),
        (("edit", "--set", "nx", "a.mrc"), "--set 'nx' was found, expected FIELD=VALUE"),
        (("edit", "--set", "nxx=3", "a.mrc"), "there is no field 'nxx'; did you mean 'nx'?"),
        (("edit", "--set", "nx=3.5", "a.mrc"), "expected a whole number"),
        (("edit", "--set", "origin=1,2", "a.mrc"), "expected a number, or as many"),
        (("edit", "--origin", "1,2,3", "--set", "origin=1,2,3", "a.mrc"), "expected one"),
        (("header", "--field", "nx", "--json", "a.mrc"), "--field prints single values"),
        (("show", "--save", "a.jpg", "a.mrc"), "expected a name in .png, .svg, .pdf, .html"),
        (("show", "--save", "a.png", "a.mrc", "b.mrc"), "--save takes one file, but 2 were passed"),
        (("convert",), "missing argument 'TARGET'"),
        (("convert", "a.mrc"), "'a.mrc' was passed, expected SOURCE and TARGET"),
        (("convert", "--option", "dtype=int8", "a.mrc", "b.mrc"), "expected --dtype"),
        (("convert", "--option", "dtype", "a.mrc", "b.mrc"), "expected NAME=VALUE, such as"),
        (("convert", "a.mrc", "b.mrc", "c.zarr"), "TARGET is 'c.zarr': for a directory, or"),
        (("convert", "a.mrc", "b.mrc", "c.zarr"), "pass a directory and the suffix"),
        (("convert", "--suffix", ".zarr", "a.mrc", "b.mrc"), "--suffix needs a directory"),
    ],
)
def test_wrong_usage_is_one_line(file, arguments, text):
    done = run(*arguments)
    assert done.status == 2
    assert text in done.error
    assert done.error.endswith("--help'.")
    assert done.out == ""


def test_an_unexpected_error_is_one_line(file, monkeypatch):
    import xarray_mrc.reading.header_reading

    def fail(path):
        raise RuntimeError("on\nfire \x1b[31m")

    monkeypatch.setattr(xarray_mrc.reading.header_reading, "read_header", fail)
    done = run(file)
    assert (done.status, done.error) == (2, r"a.mrc: RuntimeError: on fire \x1b[31m")
    with_traceback = CliRunner(env={"XARRAY_MRC_TRACEBACK": "1"}).invoke(program, [file])
    assert isinstance(with_traceback.exception, RuntimeError)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    done = start(_XARRAY_MRC_COMPLETE=f"{shell}_source")
    if shell == "bash" and "bash" in done.err.lower():
        pytest.skip("click asks bash for its version")
    assert done.status == 0
    assert "_XARRAY_MRC_COMPLETE" in done.out


def test_completion_of_commands_and_files(file):
    words = {"COMP_WORDS": "xarray-mrc va", "COMP_CWORD": "1"}
    assert start(_XARRAY_MRC_COMPLETE="bash_complete", **words).out.strip() == "plain,validate"
    words = {"COMP_WORDS": "xarray-mrc header a", "COMP_CWORD": "2"}
    assert start(_XARRAY_MRC_COMPLETE="bash_complete", **words).out.strip() == "file,a"
