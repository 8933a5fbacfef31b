"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

Usage: python ci/floors.py >floors.txt && python -m pip install --editable . --constraint floors.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"

REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+) (\[[^]]*\])? >= (?P<floor>[\w.]+) \s* (?P<marker>;.*)?", re.VERBOSE
)
"""The form of all our dependencies. Extras are dropped, because constraints may not have them."""


def main() -> int:
    """Print a pin for every dependency, including those of the extras."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        requirements += [line for line in extra if not line.startswith(project["name"])]
    for requirement in requirements:
        match = REQUIREMENT.fullmatch(requirement)
        if match is None:
            print(f"{requirement!r} is not of the form NAME>=FLOOR[; MARKER]", file=sys.stderr)
            return 1
        print(f"{match['name']}=={match['floor']}{match['marker'] or ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
