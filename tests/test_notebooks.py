"""The notebooks: executed with warnings as errors, and stored without outputs."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CI = runpy.run_path(str(ROOT / "ci" / "executed_notebooks.py"))


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore:Proactor event loop:RuntimeWarning")  # of zmq, on Windows
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook):
    """The site shows the executed copy that this test makes."""
    copy = CI["write_copy"](notebook)
    executed = nbformat.read(copy, as_version=4)
    stored = nbformat.read(notebook, as_version=4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in stored.cells]
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    # Pages must not show where they were made.
    assert str(ROOT) not in copy.read_text("utf-8")


def test_an_error_and_a_warning_fail(tmp_path):
    for line, text in (("assert 1 == 2", "AssertionError"), ("warnings.warn('odd')", "odd")):
        cell = nbformat.v4.new_code_cell(f"import warnings\n{line}")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "bad.ipynb")
        with pytest.raises(CellExecutionError, match=text):
            CI["execute"](tmp_path / "bad.ipynb")


HEARTBEAT = """\
2026-11-28 01:33:26,884 - distributed.worker - ERROR - Failed to communicate with scheduler during \
heartbeat.
Traceback (most recent call last):
  File "comm.py", line 226, in read
tornado.iostream.StreamClosedError: Stream is closed

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "worker.py", line 1165, in heartbeat
distributed.comm.core.CommClosedError: in <TCP (closed) ConnectionPool>: Stream is closed
"""


@pytest.mark.parametrize(
    ("source", "text", "fails"),
    [
        ("client.close()", HEARTBEAT, False),
        ("client.close()", HEARTBEAT + HEARTBEAT, False),
        ("client.close()", HEARTBEAT + "something else\n", True),
        ("client.close()", HEARTBEAT.replace("heartbeat.", "work."), True),
        ("1 + 1", HEARTBEAT, True),
    ],
)
def test_workers_may_complain_only_when_their_cluster_is_closed(tmp_path, source, text, fails):
    start = "class client: close = staticmethod(lambda: None)"
    code = f"import sys\n{start}\n{source}\nsys.stderr.write({text!r});"
    cell = nbformat.v4.new_code_cell(code, id="end")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "end.ipynb")
    if fails:
        with pytest.raises(RuntimeError, match=r"end\.ipynb, cell end"):
            CI["execute"](tmp_path / "end.ipynb")
    else:
        assert CI["execute"](tmp_path / "end.ipynb").cells[0].outputs == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(notebook):
    text = notebook.read_text("utf-8")
    content = json.loads(text)
    nbformat.validate(content)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    # Ids that mean something do not change when a cell is inserted.
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", id) for id in ids)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert content["cells"][0]["source"][0].startswith("# ")
    assert not re.search(r"/(home|Users|tmp|work)/|[A-Z]:\\\\", text)


def test_every_notebook_is_on_the_site():
    page = (ROOT / "docs" / "notebooks" / "index.md").read_text("utf-8")
    listed = re.search(r"```{toctree}\n(.*?)```", page, re.DOTALL).group(1).split()
    names = [path.stem for path in NOTEBOOKS]
    assert sorted(set(listed) & set(names)) == names
    assert all(f"({name}.ipynb)" in page for name in names)
