"""Real processes: start-up, pipes, terminals, signals."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command import COMMAND, environment, start, start_in_terminal
from files import sound
from programs import run_program

HEAVY = ("xarray", "pandas", "dask", "zarr", "distributed", "matplotlib", "rich", "asyncio")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound(nversion=0))
    return tmp_path


def loaded(*arguments):
    """Return the modules that a command has loaded at its end."""
    source = """
import sys, json, contextlib, io
from xarray_mrc.cli.program import program
with contextlib.redirect_stdout(io.StringIO()):
    program.main(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    return set(json.loads(run_program(source, *arguments)))


@pytest.mark.parametrize("arguments", [["--help"], ["header", "--help"], ["edit", "--help"]])
def test_help_loads_almost_nothing(arguments):
    found = loaded(*arguments)
    assert not found & {*HEAVY, "numpy"}
    assert "click" in found


@pytest.mark.parametrize("options", [[], ["--json"], ["--field", "nx"], ["--ext"]])
def test_header_loads_no_xarray(folder, options):
    assert not loaded("header", *options, folder / "a.mrc") & set(HEAVY)


def test_validate_loads_no_xarray(folder):
    assert not loaded("validate", folder / "a.mrc") & {"xarray", "pandas", "dask", "zarr", "rich"}


def test_the_module_and_the_script(folder):
    done = start("header", "--field", "nx", "a.mrc", folder=folder)
    assert (done.status, done.out, done.err) == (0, "4\n", "")
    script = "import sys; from xarray_mrc.cli.program import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", script, "validate", "a.mrc", "missing.mrc"]
    status = subprocess.run(command, capture_output=True, cwd=folder, check=False).returncode
    assert status == 2


@pytest.mark.parametrize("arguments", [["header"], ["header", "--ext"], ["validate"], ["stats"]])
def test_json_through_a_pipe(folder, arguments):
    command = [*COMMAND, *arguments, "--json", "a.mrc", "missing.mrc"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
    ) as first:
        tool = [sys.executable, "-m", "json.tool"]
        done = subprocess.run(tool, stdin=first.stdout, capture_output=True, check=False)
    assert done.returncode == 0
    assert [entry["path"] for entry in json.loads(done.stdout)] == ["a.mrc", "missing.mrc"]


def test_a_reader_that_goes_away(folder):
    command = [*COMMAND, "header", *["a.mrc"] * 500]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_pipes_and_files_have_no_colours(folder):
    text = start("validate", "a.mrc", folder=folder, TERM="xterm-256color").out
    assert "\x1b" not in text
    assert "nversion" in text


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
class TestTerminal:
    def test_colours(self, folder):
        done = start_in_terminal("validate", "a.mrc", folder=folder)
        assert done.status == 0
        assert "\x1b[33mW H06" in done.out  # yellow
        assert "\x1b[32ma.mrc: valid" in done.out  # green
        done = start_in_terminal("validate", "a.mrc", folder=folder, NO_COLOR="1")
        assert "\x1b" not in done.out
        assert "W H06" in done.out

    def test_an_error_is_red(self, folder):
        done = start_in_terminal("header", "no.mrc", folder=folder)
        assert done.status == 2
        assert "xarray-mrc: \x1b[31merror\x1b[0m: no.mrc: No such file" in done.out

    @pytest.mark.parametrize("columns", [30, 80])
    def test_pictures_fit_the_terminal(self, folder, columns):
        done = start_in_terminal(
            "show", "a.mrc", columns=columns, folder=folder, COLORTERM="truecolor"
        )
        assert done.status == 0
        assert "\x1b[38;2;" in done.out
        picture = [line for line in done.out.splitlines() if "▀" in line]
        assert max(line.count("▀") for line in picture) <= columns
        assert start_in_terminal("show", "a.mrc", folder=folder, NO_COLOR="1").out.count("▀") == 0

    def test_tables_fit_the_terminal(self, folder):
        done = start_in_terminal("header", "a.mrc", columns=50, folder=folder)
        lines = done.out.splitlines()
        assert max(map(len, lines)) == 50
        assert lines[1].startswith("nx ")
        piped = start("header", "a.mrc", folder=folder, COLUMNS="50").out.splitlines()
        assert max(map(len, piped)) > 80
        assert [line[:40] for line in piped] == [line[:40] for line in lines]

    def test_short_work_has_no_bar(self, folder):
        done = start_in_terminal("stats", "a.mrc", folder=folder)
        assert done.out.splitlines() == [start("stats", "a.mrc", folder=folder).out.rstrip()]

    def test_long_work_has_a_bar(self, folder):
        numbers = np.random.default_rng(0).integers(0, 99, (64, 512, 512), "i2")
        (folder / "b.mrc").write_bytes(sound(numbers, dmin=0.0, dmax=-1.0, dmean=-2.0, rms=-1.0))
        source = """
import sys, time
import xarray_mrc.cli.progress as progress
from xarray_mrc.cli.program import main
progress.DELAY_SECONDS = 0
sys.exit(main())
"""
        command = [sys.executable, "-P", "-c", source, "stats", "b.mrc"]
        done = start_in_terminal(folder=folder, command=command)
        assert done.status == 0
        assert "%" in done.out
        assert "b.mrc: minimum 0, maximum 98" in done.out
        piped = subprocess.run(command, capture_output=True, cwd=folder, check=False)
        assert piped.stderr == b""
        assert piped.stdout.startswith(b"b.mrc: minimum 0")


SLOW = """
import sys, time, threading
import xarray_mrc.checking.array_statistics as module
from xarray_mrc.cli.program import main

def wait(path, **options):
    print("started", flush=True)
    time.sleep(60)

module.statistics = wait
sys.exit(main())
"""


def allow_interrupts():
    """Have Ctrl-C end this process: a shell makes programs in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c(folder):
    command = [sys.executable, "-P", "-c", SLOW, "stats", "a.mrc"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
        text=True,
        preexec_fn=allow_interrupts,
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert error == "xarray-mrc: error: interrupted\n"
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c_leaves_no_half_written_file(folder):
    size = 2**28
    head = sound(nx=1024, ny=1024, nz=size // 2**22, mx=1024, my=1024, mz=size // 2**22)[:1024]
    with open(folder / "big.mrc", "wb") as file:
        file.write(head)
        file.truncate(1024 + size)
    command = [*COMMAND, "convert", "big.mrc", "big.mrc.bz2"]
    before = set(os.listdir(folder))
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
        text=True,
        preexec_fn=allow_interrupts,
    ) as process:
        deadline = time.monotonic() + 60
        # Until some of the file is written: a new name alone is left for the next writer to remove.
        while time.monotonic() < deadline:
            new = set(os.listdir(folder)) - before
            if any((folder / name).stat().st_size > 1000 for name in new):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "xarray-mrc: error: interrupted\n"
    assert set(os.listdir(folder)) == before
