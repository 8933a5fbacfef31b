"""Run the command ``xarray-mrc``: in this process, in a new one, or in a terminal of its own."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

COMMAND = [sys.executable, "-P", "-m", "xarray_mrc"]
# Variables of the computer that runs the tests, which change colours and widths.
VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "XARRAY_MRC_TRACEBACK")


@dataclass
class Done:
    """Exit status, standard output and standard error of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as JSON, in which nan and infinity are not allowed."""

        def refuse(name: str) -> None:
            raise ValueError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def error(self) -> str:
        """The one line that the command wrote as an error."""
        (line,) = self.err.splitlines()
        prefix = "xarray-mrc: error: "
        assert line.startswith(prefix)
        return line.removeprefix(prefix)


def run(*arguments: object, **variables: str) -> Done:
    """Run a command in this process; it must end by an exit status, not by an exception."""
    from xarray_mrc.cli.program import program

    # Before click 8.2 the streams were mixed unless this was passed.
    options = (
        {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    )
    environment = dict.fromkeys(VARIABLES) | variables
    done = CliRunner(**options, env=environment).invoke(program, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return Done(done.exit_code, done.stdout, done.stderr)


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of a new process: those of this one, without colours and widths."""
    return {k: v for k, v in os.environ.items() if k not in VARIABLES} | variables


def start(*arguments: object, folder: Path | None = None, **variables: str) -> Done:
    """Run a command in a new process, with pipes for its output."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        cwd=folder,
        env=environment(**variables),
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def start_in_terminal(
    *arguments: object,
    columns: int = 80,
    folder: Path | None = None,
    command: list[str] | None = None,
    **variables: str,
) -> Done:
    """Run a command in a new pseudo-terminal; all that it shows is the output."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*(command or COMMAND), *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment(**{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | variables),
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return Done(process.wait(timeout=60), shown.decode().replace("\r\n", "\n"), "")
