"""Write the table of checks into docs/validation.md."""

from __future__ import annotations

import sys
from pathlib import Path

from xarray_mrc.checking.profiles import PROFILES, severity_of
from xarray_mrc.codec.checks import CHECKS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
START, END = "<!-- checks -->\n", "<!-- end of checks -->\n"


def table() -> str:
    """Return the table of checks in Markdown."""
    names = ("id", "rule", *PROFILES, "repair")
    rows = [names, ("---",) * len(names)]
    for check in CHECKS:
        weights = (severity_of(check, profile) or "·" for profile in PROFILES)
        rows.append((check.id, check.title, *weights, "yes" if check.fix else ""))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def renewed(page: str) -> str:
    """Return the page with its current table."""
    before, rest = page.split(START)
    return before + START + table() + END + rest.split(END)[1]


def main() -> int:
    """Write the page."""
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
