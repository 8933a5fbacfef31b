"""Converting a file to Zarr, side by side with xarray's `to_zarr`, in one run.

    python tests/benchmarks/convert.py [--mib 1024] [--runs 3] [--form int16] [FOLDER]

Prints the seconds and the size of the group, with their ratios to xarray's. This is not a test;
docs/convert.md has the ratios of one machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import xarray as xr
from samples import SIDE, make_file

import xarray_mrc

NAIVE = "to_zarr"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test files are made")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--form", action="append")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        source, target = Path(name, "source.mrc"), Path(name, "a.zarr")
        for form in options.form or ["int16"]:
            make_file(source, form, options.mib)
            dataset = xr.open_dataset(source, engine="mrc")
            jobs: dict[str, Callable[[], object]] = {
                NAIVE: lambda d=dataset: d.chunk({"z": 16}).to_zarr(target, zarr_format=3),
                "ours": lambda: xarray_mrc.convert(source, target),
                "ours, format 2": lambda: xarray_mrc.convert(source, target, zarr_format=2),
            }
            seconds: dict[str, list[float]] = {title: [] for title in jobs}
            sizes: dict[str, int] = {}
            for _ in range(options.runs):
                for title, job in jobs.items():
                    shutil.rmtree(target, ignore_errors=True)
                    start = time.perf_counter()
                    job()
                    seconds[title].append(time.perf_counter() - start)
                    sizes[title] = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
            print(f"{options.mib} MiB of {form}, sections of {SIDE} x {SIDE}")
            for title, values in seconds.items():
                median = statistics.median(values)
                ratio = median / statistics.median(seconds[NAIVE])
                print(
                    f"  {title:15} {median:6.2f} s ({ratio:.2f})"
                    f" | {sizes[title] / 2**20:6.0f} MiB ({sizes[title] / sizes[NAIVE]:.2f})"
                )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
