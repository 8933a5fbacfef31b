"""Run short Python programs in new processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# The peak memory of this process. On Linux ru_maxrss is not used, because it includes the memory
# that the parent had when it forked.
PEAK_MEMORY = """
def peak_nbytes():
    import resource, sys
    try:
        with open("/proc/self/status") as status:
            return next(int(s.split()[1]) * 1024 for s in status if s.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
"""


def run_program(source: str, *arguments: object, folder: Path | None = None) -> str:
    """Run a program, assert that it succeeds, and return its output.

    With a folder the program is a file in it, so that multiprocessing can import it.
    """
    start = ["-c", source]
    if folder is not None:
        file = folder / "program.py"
        file.write_text(source, "utf-8")
        start = [str(file)]
    # -P: use the installed package, even if the current directory has one.
    command = [sys.executable, "-P", *start, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
