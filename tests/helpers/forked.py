"""Run short programs in new processes that have imported the drop-in already."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import tempfile
import traceback
from pathlib import Path


def run(program: str, arguments: list[str], output: str) -> None:
    """Run a program in this process, with its output in a file."""
    sys.argv = ["program", *arguments]
    with open(output, "w", encoding="utf-8", buffering=1) as file, contextlib.redirect_stdout(file):
        try:
            exec(compile(program, "program", "exec"), {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc(file=file)
            raise


def run_forked(program: str, *arguments: object) -> str:
    """Run a program, assert that it succeeds, and return its output."""
    context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    if sys.platform != "win32":
        context.set_forkserver_preload(["xarray_mrc.mrcfile"])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        process = context.Process(
            target=run, args=(program, list(map(str, arguments)), str(output))
        )
        process.start()
        process.join(60)
        status, printed = process.exitcode, output.read_text("utf-8") if output.exists() else ""
        process.kill()
    assert status == 0, f"exit status {status}\n{printed}"
    return printed
