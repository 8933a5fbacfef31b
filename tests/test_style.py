"""Rules of style that a program can check: length of files, first words of docstrings."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "xarray_mrc").rglob("*.py"))
MAX_LINES = 450
# A docstring starts with Return, Read, Write, Compute, Check, Raise or another plain verb.
FORBIDDEN = re.compile(r"(Give|Tell|Say|Hear|Go)s?\b")


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_length(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings(path):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        assert not FORBIDDEN.match(text or ""), text
