"""Run the benchmarks and print the tables: ci/bench [--mib 1024] [--only warm] ...

With --write FILE the tables also replace those in a page of the documentation.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import cluster
import cold
import particles
import warm
import write
from harness import machine, measure, print_rows
from peers import make_file

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
PARTS = ("warm", "cold", "cluster", "write", "particles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--only", choices=PARTS, action="append", help="parts to run")
    parser.add_argument("--cold-runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made")
    parser.add_argument("--write", type=Path, help="a page whose tables are replaced")
    options = parser.parse_args()
    parts = options.only or PARTS
    print(machine())
    lines = [f"{options.mib} MiB of float32, 1024 x 1024 pixels a section. {machine()}."]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, path = Path(name), Path(name, "noise.mrc")
        make_file(path, options.mib // 4)
        if "warm" in parts:
            rows = map(measure, warm.cases(folder, options.mib))
            lines += ["", *print_rows("Page cache warm, best of all runs", rows)]
        if "cluster" in parts:
            with cluster.cases(path) as cases:
                title = "Two worker processes with 1 GiB each, best of all runs"
                lines += ["", *print_rows(title, map(measure, cases))]
        if "cold" in parts:
            title = "Page cache dropped, a fresh process each, median"
            lines += ["", *print_rows(title, cold.rows(path, options.cold_runs))]
        if "write" in parts:
            rows = map(measure, write.cases(folder, options.mib))
            lines += ["", *print_rows("Writing, to the disk, best of all runs", rows)]
        if "particles" in parts:
            rows = map(measure, particles.cases(folder))
            title = (
                f"{particles.FILLED} stacks of {particles.PER_STACK} particles, best of all runs"
            )
            lines += ["", *print_rows(title, rows)]
    if options.write:
        before, rest = options.write.read_text().split(BEGIN)
        after = rest.split(END)[1]
        text = "\n".join(lines)
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
