"""Build the documentation site with this interpreter, and check the pages that came out."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from executed_notebooks import provide_copies
from site_check import find_faults

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SITE = DOCS / "_build" / "html"
# Written into docs/ by the build, so that a page of a name that is gone would stay.
GENERATED = (DOCS / "_build" / "doctrees", SITE, DOCS / "api" / "generated")


def main() -> int:
    """Build the site; return 1 if there was a warning or a page has a fault."""
    start = time.monotonic()
    for folder in GENERATED:
        shutil.rmtree(folder, ignore_errors=True)
    provide_copies()
    options = ("-W", "--keep-going", "-q", "-j", "2", "-b", "html", "-d", str(GENERATED[0]))
    command = (sys.executable, "-m", "sphinx", *options, str(DOCS), str(SITE))
    failed = subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    if SITE.exists():
        faults = find_faults(SITE)
        print("\n".join(faults))
        pages = sum(1 for _ in SITE.rglob("*.html"))
        print(f"{pages} pages in {time.monotonic() - start:.0f} s, {len(faults)} faults: {SITE}")
        failed |= bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
