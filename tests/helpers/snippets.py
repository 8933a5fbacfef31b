"""The code blocks of the documentation: found, run, and compared with the output that is shown.

A page is run from top to bottom with one set of names, as a reader would run it. Of its blocks

- ``python`` is run, unless the line before it is ``<!-- not run: REASON -->``;
- ``text`` after a ``python`` block is what this block prints; ``...`` stands for anything;
- every other language needs such a comment.
"""

import contextlib
import doctest
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

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
    {"bin", "crystal", "eight-bit", "gain", "half-maps", "many-files", "masks", "tilt-angles"}
)
# Markdown that is run by other means: directives by the build of the site.
RUN_BY_SPHINX = re.compile(r"\{[\w-]+\}")

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A code block: its language, its text, and why it is not run."""

    language: str
    code: str
    reason: str | None


def blocks_of(page):
    """Return the code blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = [Block(m["language"], m["code"], m["reason"]) for m in FENCE.finditer(text)]
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found), f"{page}: odd fences"
    return [block for block in found if not RUN_BY_SPHINX.match(block.language)]


def run_page(page, names):
    """Run the Python of a page, and compare what it prints; return the number of blocks run."""
    printed = None
    count = 0
    for language, code, reason in blocks_of(page):
        if reason:
            printed = None
        elif language == "python":
            printed = io.StringIO()
            if "needs matplotlib" in code and not find_spec("matplotlib"):
                continue
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(page), "exec"), names)
            print(printed.getvalue(), end="")
            count += 1
        elif language == "text" and printed is not None:
            same = doctest.OutputChecker().check_output(code, printed.getvalue(), SAME)
            assert same, (
                f"{page} shows\n{code}\nbut the block before it prints\n{printed.getvalue()}"
            )
        else:
            raise AssertionError(f"{page}: a block of {language!r} is not run, and says no reason")
    return count
