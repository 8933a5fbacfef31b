"""Reading side by side with np.memmap and mrcfile, in one process and in turns.

    python tests/benchmarks/read.py [--mib 1024] [--runs 7] [FOLDER]

Prints the median of each in milliseconds and its ratio to np.memmap. Nothing here is a test: the
ratios that hold on one computer are reported in docs/speed.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import xarray as xr
from mrcbytes import header

import xarray_mrc
from xarray_mrc.reader import open_file

SIDE = 1024


def make_file(path: Path, sections: int) -> None:
    """Write float32 noise, 4 MiB a section."""
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype("<f4").tobytes()
    raw = header(
        nx=SIDE, ny=SIDE, nz=sections, mx=SIDE, my=SIDE, mz=sections, mode=2, ispg=1,
        cella=(SIDE * 1.35, SIDE * 1.35, sections * 1.35),
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(raw)
        for _ in range(sections):
            file.write(noise)


def in_turns(jobs: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Run the jobs one after the other, several times over; the median of each in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:] or values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test file is made")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "noise.mrc")
        sections = options.mib // 4
        make_file(path, sections)
        memmap = np.memmap(path, "<f4", "r", offset=1024, shape=(sections, SIDE, SIDE))
        array = open_file(path).array
        blocks = xr.open_dataset(path, engine="mrc", chunks={}).data.data
        middle, brick = sections // 2, slice(sections // 4, sections // 4 + 64)
        keys = {
            "one section": (middle,),
            "xz plane": (slice(None), 500),
            "yz plane": (slice(None), slice(None), 500),
            "brick of 64": (brick, slice(100, 164), slice(100, 164)),
            "every 8th voxel": (slice(None, None, 8),) * 3,
        }
        rows: list[tuple[str, dict[str, Callable[[], object]]]] = [
            (name, {"np.memmap": lambda k=key: np.array(memmap[k]), "ours": lambda k=key: array[k]})
            for name, key in keys.items()
        ]
        rows.append(
            (
                "mean of all",
                {
                    "np.memmap": lambda: memmap.mean(dtype="f8"),
                    "ours": lambda: blocks.mean(dtype="f8").compute(),
                },
            )
        )
        rows.append(
            (
                "load all",
                {
                    "np.memmap": lambda: np.array(memmap),
                    "ours": lambda: array[...],
                    "mrcfile.read": lambda: mrcfile.read(path),
                },
            )
        )
        rows.append(
            (
                "header",
                {
                    "np.memmap": lambda: np.memmap(path, "u1", "r", shape=1024),
                    "ours": lambda: xarray_mrc.read_header(path),
                    "mrcfile.open": lambda: mrcfile.open(path, header_only=True).close(),
                },
            )
        )
        print(f"{options.mib} MiB of float32, median of {options.runs - 1} runs in turns")
        for name, jobs in rows:
            medians = in_turns(jobs, options.runs)
            first = medians["np.memmap"]
            cells = (f"{n} {s * 1e3:9.3f} ms ({s / first:5.2f})" for n, s in medians.items())
            print(f"{name:16}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
