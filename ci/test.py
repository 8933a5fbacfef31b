"""Run the linters and the tests with this interpreter, count the tests, and build the site.

All steps run even if earlier ones failed, so that one run shows all failures.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ROOT / "ci" / "packages"

# Tests that need a program of the system have the marker of this name.
GROUPS = ("servers", "browser", "compressors")

NOTHING_SELECTED = 5
"""Exit status of pytest that is not a failure, because one of the two passes may have no test."""


def run(*command: str) -> int:
    """Run a tool of this environment in the root of the repository; return its exit status."""
    print(f"\n== {' '.join(command)}", flush=True)
    # Not from PATH, which may find the tool of another environment.
    program = shutil.which(command[0], path=sysconfig.get_path("scripts"))
    if program is None:
        print(f"{command[0]} is not installed beside {sys.executable}", file=sys.stderr)
        return 1
    return subprocess.run([program, *command[1:]], cwd=ROOT, check=False).returncode


def run_pytest(*arguments: str) -> tuple[bool, Counter[str]]:
    """Run pytest; return True if nothing failed, and the counts of its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        status = run("pytest", *arguments, f"--junit-xml={report}")
        counts: Counter[str] = Counter()
        if report.exists():
            for suite in ElementTree.parse(report).iter("testsuite"):  # noqa: S314 - our own file
                tests, failures, errors, skipped = (
                    int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
                )
                counts["failed"] += failures + errors
                counts["skipped"] += skipped
                counts["passed"] += tests - failures - errors - skipped
    return status in (0, NOTHING_SELECTED), counts


def main() -> int:
    """Run the steps that the command line asks for; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        description="Run ruff, mypy, import-linter and pytest, and build the documentation.",
        epilog="All other arguments go to pytest, paths relative to the root of the repository.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", choices=["lint", "tests", "docs"], help="run one part")
    parser.add_argument("-m", dest="markers", metavar="EXPRESSION", help="as for pytest")
    parser.add_argument(
        "--without",
        choices=GROUPS,
        action="append",
        default=[],
        help="leave out the tests that need this group of packages",
    )
    options, arguments = parser.parse_known_args()

    failed: list[str] = []
    if options.only in (None, "lint"):
        linters = ("ruff check", "ruff format --check", "mypy", "lint-imports")
        failed += [linter for linter in linters if run(*linter.split()) != 0]

    counts: Counter[str] = Counter()
    if options.only in (None, "tests"):
        needed = [group for group in GROUPS if group not in options.without]
        if needed and subprocess.run([PACKAGES, *needed], check=False).returncode != 0:
            failed.append("packages")
        selected = f"({options.markers}) and " if options.markers else ""
        selected += "".join(f"not {group} and " for group in options.without)
        # -n and -m come last, so that they override the arguments that were passed on.
        in_parallel = ["-n", "auto", *arguments, "-m", f"{selected}not serial"]
        alone = [*arguments, "-n", "0", "-m", f"{selected}serial"]
        for selection in (in_parallel, alone):
            succeeded, pass_counts = run_pytest(*selection)
            counts += pass_counts
            if not succeeded and "pytest" not in failed:
                failed.append("pytest")
        if not counts.total() and "pytest" not in failed:
            failed.append("pytest: no test was run")

    if options.only in (None, "docs"):
        print("\n== ci/docs.py", flush=True)
        build = [sys.executable, str(ROOT / "ci" / "docs.py")]
        if subprocess.run(build, cwd=ROOT, check=False).returncode != 0:
            failed.append("the documentation")

    print()
    if failed:
        print(f"failed: {', '.join(failed)}")
    if options.only in (None, "tests"):
        totals = (f"{counts[name]} {name}" for name in ("passed", "failed", "skipped"))
        print(f"tests: {', '.join(totals)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
