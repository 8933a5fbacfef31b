"""The code blocks of the documentation: found, run, and compared with the output that is shown.

A page is run from top to bottom with one set of names, as a reader would run it. Of its blocks

- ``python`` is run, unless the line before it is ``<!-- not run: REASON -->``;
- ``text`` after a ``python`` block is what this block prints; ``...`` stands for anything;
- ``console`` has commands after ``$ `` and what each prints, which are compared in the same way;
- every other language needs such a comment.

Blocks with a URL are run only where a server on loopback takes the place of its host.
"""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import xarray as xr

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN_BY_BUILD = (DOCS / "_build", DOCS / "api" / "generated", DOCS / "notebooks")
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if not any(path.is_relative_to(folder) for folder in WRITTEN_BY_BUILD)
)
# Pages of docs/howto/ about files of their own: test_recipes.py runs them, with their numbers.
RECIPES = frozenset(
    {
        "batches",
        "bin",
        "crystal",
        "eight-bit",
        "extract",
        "gain",
        "half-maps",
        "many-files",
        "masks",
        "tilt-angles",
    }
)
# Markdown that is run by other means: directives by the build of the site.
RUN_BY_SPHINX = re.compile(r"\{[\w-]+\}")

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
# Packages that some environments do not have.
NEEDED = re.compile(r"needs (matplotlib|virtualizarr)")
URL = re.compile(r"https?://[\w.-]+(/[^\s\"']+)")
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# The commands of a console run with this interpreter and this source tree, and know the exit status
# of the command before them.
PRELUDE = """
python() {{ "$PYTHON" "$@"; }}
xarray-mrc() {{ "$PYTHON" -m xarray_mrc "$@"; }}
(exit {status})
"""


class Block(NamedTuple):
    """A code block: its language, its text, and why it is not run."""

    language: str
    code: str
    reason: str | None


def blocks_of(page):
    """Return the code blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = [Block(m["language"], m["code"], m["reason"]) for m in FENCE.finditer(text)]
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found), f"{page}: odd fences"
    indented = re.search(r"\n\n    \S.*", FENCE.sub("", text))
    assert not indented, f"{page}: {indented.group()!r} is a block that nobody runs: use ```"
    return [block for block in found if not RUN_BY_SPHINX.match(block.language)]


def compare(page, shown, printed):
    """Check that a page shows what was printed."""
    same = doctest.OutputChecker().check_output(shown, printed, SAME)
    assert same, f"{page} shows\n{shown}\nbut the program prints\n{printed}"


def run_console(page, code):
    """Run the commands of a transcript one after the other, and compare what they print."""
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",
    }
    status = 0
    head, *entries = re.split(r"^\$ ", code, flags=re.MULTILINE)
    assert not head.strip(), f"{page}: a console starts with {head!r}, expected '$ ' and a command"
    for entry in entries:
        command, _, shown = entry.partition("\n")
        done = subprocess.run(
            ["bash", "-c", PRELUDE.format(status=status) + command],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            timeout=120, check=False,
        )  # fmt: skip
        compare(page, shown, done.stdout)
        status = done.returncode


def urls_of(page):
    """Return the paths of the URLs that the Python of a page reads."""
    blocks = blocks_of(page)
    code = "".join(b.code for b in blocks if b.language == "python" and not b.reason)
    return URL.findall(code)


def run_page(page, names, server=None):
    """Run the code of a page, and compare what it prints; return the number of Python blocks run.

    Parameters
    ----------
    page : Path
        The page.
    names : dict
        The names that the blocks define and use.
    server : str, optional
        URL of a server on loopback, which takes the place of all others.
    """
    before = xr.get_options()
    try:
        return run_blocks(page, names, server)
    finally:  # a page may set some
        now = xr.get_options()
        xr.set_options(**{name: value for name, value in before.items() if now[name] != value})


def run_blocks(page, names, server):
    """Run the blocks of a page in order, as `run_page` does."""
    printed = None
    count = 0
    for language, code, reason in blocks_of(page):
        if reason:
            printed = None
        elif language == "python":
            printed = io.StringIO()
            needed = NEEDED.search(code)
            if needed and not find_spec(needed[1]):
                printed = None
                continue
            if URL.search(code) and server is None:
                printed = None
                continue
            code = URL.sub(rf"{server}\1", code)
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(page), "exec"), names)
            print(printed.getvalue(), end="")
            count += 1
        elif language == "text" and printed is not None:
            compare(page, code, printed.getvalue())
        elif language == "console":
            run_console(page, code)
        else:
            raise AssertionError(f"{page}: a block of {language!r} is not run, and says no reason")
    return count
