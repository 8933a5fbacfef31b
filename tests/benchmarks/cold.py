"""Reading of local files after the page cache was dropped, each case in a new process.

Run with the name of a job and a file, this script does the job and prints its seconds and result.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from harness import Row
from mrcbytes import header
from peers import memmap

import xarray_mrc

DROP = Path("/proc/sys/vm/drop_caches")
CASES = {
    "xz-plane": {"np.memmap": 0.1},
    "brick of 64^3": {"np.memmap": 0.2},
    "sum of all": {"raw sequential reading": 1.2},
}


def main(job: str, path: Path) -> None:
    """Run one job and print its seconds and its result."""
    jobs = prepare(path)
    # Read another file first, so that all code is loaded and dask has made its threads.
    small = header(nx=9, ny=9, nz=9, mx=9, my=9, mz=9) + bytes(4 * 9**3)
    xarray_mrc.open_mrc(small).isel(x=5).sum().compute()
    xarray_mrc.open_mrc(small, chunks=None).isel(x=slice(2, 5), y=slice(2, 5)).values.sum()
    xr.open_dataset(io.BytesIO(small), engine="mrc").close()
    start = time.perf_counter()
    answer = jobs[job]()
    print(time.perf_counter() - start, answer)


def prepare(path: Path) -> dict[str, Callable[[], float]]:
    """Return all jobs; nothing but headers has been read."""
    z, y, x = slice(100, 164), slice(300, 364), slice(500, 564)

    def ours() -> xr.DataArray:
        return xr.open_dataset(path, engine="mrc").data

    def read_raw() -> float:
        """Read the file in order into one reused buffer, and sum it."""
        block, total = np.empty(2**21, "<f4"), 0.0
        with path.open("rb", buffering=0) as file:
            file.seek(1024)
            while count := file.readinto(block):
                total += float(block[: count // 4].sum(dtype="f8"))
        return total

    return {
        "xz-plane/ours": lambda: float(ours().isel(y=500).values.sum(dtype="f8")),
        "xz-plane/np.memmap": lambda: float(memmap(path)[:, 500].sum(dtype="f8")),
        "brick of 64^3/ours": lambda: float(ours().isel(z=z, y=y, x=x).values.sum(dtype="f8")),
        "brick of 64^3/np.memmap": lambda: float(memmap(path)[z, y, x].sum(dtype="f8")),
        "sum of all/ours": lambda: float(
            xr.open_dataset(path, engine="mrc", chunks={}).data.data.sum(dtype="f8")
        ),
        "sum of all/raw sequential reading": read_raw,
    }


def rows(path: Path, runs: int) -> list[Row]:
    """Return the median of several runs of all cases; [] if the cache cannot be dropped."""
    if not os.access(DROP, os.W_OK):
        print("the page cache can't be dropped here: no cold rows")
        return []
    found = []
    for name, bars in CASES.items():
        seconds: dict[str, list[float]] = {"ours": [], **{other: [] for other in bars}}
        answers = set()
        for _ in range(runs):
            for job in seconds:
                os.sync()
                DROP.write_text("3")
                command = [sys.executable, __file__, f"{name}/{job}", str(path)]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                took, answer = shown.split()
                seconds[job].append(float(took))
                answers.add(round(float(answer), 2))
        if max(answers) - min(answers) > 1e-6 * abs(max(answers)) + 0.1:
            raise AssertionError(f"{name}: the answers are {answers}")
        medians = {job: statistics.median(took) for job, took in seconds.items()}
        pairs = {other: (medians["ours"], medians[other]) for other in bars}
        found.append(Row(name, pairs, bars))
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
