"""Short Python programs, run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# The most memory that this process held. Not ru_maxrss where it can be helped: on Linux that counts
# what the parent held when it forked.
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
    """Run a program, which has to succeed, and give what it printed.

    With a folder it is a file there, which multiprocessing can import, else it has no name.
    """
    start = ["-c", source]
    if folder is not None:
        file = folder / "program.py"
        file.write_text(source, "utf-8")
        start = [str(file)]
    # -P: the package that is installed, not one that lies in the current folder.
    command = [sys.executable, "-P", *start, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
