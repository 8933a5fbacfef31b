"""Execute the notebooks, and keep the executed copies for the documentation site.

A notebook is executed in a temporary directory, with its helper modules on the path and warnings as
errors. The site shows the copies in docs/notebooks/. The tests make all of them; `ci/docs` only
those that are older than the notebook or the package.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = ROOT / "docs" / "notebooks"

MAX_SECONDS = 60
"""Time limit of a cell. A whole notebook takes less than 30 s on two idle cores."""

ENDING_WORKERS = re.compile(
    r".* - distributed\.nanny - WARNING - Worker process still alive .*\n"
    r"|.* - distributed\.worker - ERROR - Failed to communicate with scheduler during heartbeat\.\n"
    r"Traceback (?:.*\n)+?distributed\.comm\.core\.CommClosedError: .*Stream is closed\n+"
)
"""What a cell that closes a cluster may write to the standard error on a loaded computer: a worker
takes longer than 4 s to end, or its heartbeat is on its way when the scheduler ends."""

STARTUP = (
    "import warnings",
    "warnings.simplefilter('error')",
    # Other packages deprecate things for each other.
    "warnings.filterwarnings('ignore', category=DeprecationWarning)",
    "warnings.filterwarnings('ignore', category=PendingDeprecationWarning)",
    "warnings.filterwarnings('error', category=DeprecationWarning, module='__main__|xarray_mrc')",
)
"""Lines that the kernel runs before the first cell."""


def execute(notebook: Path) -> nbformat.NotebookNode:
    """Return the executed copy of a notebook.

    Parameters
    ----------
    notebook : Path
        The notebook.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell raised an error or gave a warning.
    RuntimeError
        A cell wrote to the standard error, as loggers do.
    """
    executed: nbformat.NotebookNode = nbformat.read(notebook, as_version=4)
    paths = [str(notebook.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = NotebookClient(
            executed,
            timeout=MAX_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=[
                *(f"--IPKernelApp.exec_lines={line}" for line in STARTUP),
                "--IPKernelApp.log_level=ERROR",  # a warning of TCP, which is on loopback here
            ],
        )
        client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    for cell in executed.cells:
        for output in [*cell.get("outputs", ())]:
            if output.output_type == "stream" and output.name == "stderr":
                text = output.text
                if "client.close()" in cell.source:
                    text = ENDING_WORKERS.sub("", text)
                if text:
                    raise RuntimeError(f"{notebook.name}, cell {cell.id}: {output.text}")
                cell.outputs.remove(output)
        cell.metadata.pop("execution", None)  # the times of the run
    return executed


def write_copy(notebook: Path) -> Path:
    """Execute a notebook; return the path of the executed copy that the site shows."""
    executed = execute(notebook)
    copy = EXECUTED / notebook.name
    nbformat.write(executed, copy)
    return copy


def is_fresh(copy: Path) -> bool:
    """Return True if an executed copy is newer than its notebook, the helpers and the package."""
    sources = [NOTEBOOKS / copy.name, *NOTEBOOKS.glob("*.py"), *(ROOT / "xarray_mrc").rglob("*.py")]
    newest = max(path.stat().st_mtime_ns for path in sources)
    return copy.exists() and copy.stat().st_mtime_ns > newest


def provide_copies() -> None:
    """Copy the notebooks and their helpers to the site; execute those without a fresh copy."""
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    for old in EXECUTED.glob("*.ipynb"):
        if NOTEBOOKS / old.name not in notebooks:
            old.unlink()
    for helper in NOTEBOOKS.glob("*.py"):
        shutil.copy(helper, EXECUTED)
    for notebook in notebooks:
        if not is_fresh(EXECUTED / notebook.name):
            print(f"executing {notebook.name}", flush=True)
            write_copy(notebook)
