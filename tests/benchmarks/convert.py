"""Converting a file to Zarr, side by side with xarray, zarrs and tensorstore, in one run.

    ci/bench convert [--mib 1024] [--runs 5] [--form int16] [--only speed] [FOLDER]

Speed: median seconds, processor time and size, with their ratios to xarray's `to_zarr`. Every job
ends with a sync of its files. zarrs and tensorstore write the same chunks and shards from an array
in memory; they are left out if they are not installed (pip install zarrs tensorstore).
Memory: the growth of a process that converts, and of workers of 400 MiB.
Expressions: reading by arrays of dask-array, as a ratio to dask's own, if it is installed.
This is not a test; docs/convert.md has the ratios of one machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from harness import machine
from numpy.typing import NDArray
from programs import run_program
from samples import SIDE, make_file

import xarray_mrc
from xarray_mrc.storage.folder import sync

NAIVE, OURS, ZARRS = "to_zarr", "ours", "zarrs"
PARTS = ("speed", "memory", "expressions")
# Ratios of the time that must hold: ours to another job.
BARS = {NAIVE: 0.7, ZARRS: 1.2}
ZARRS_PIPELINE = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}

# Mapped pages of the file are left out, as they are no memory that is used.
MEMORY = """
import sys, threading, time, dask.array, zarr, xarray_mrc
import xarray_mrc.conversion.partition

def anonymous_mib():
    with open("/proc/self/status") as status:
        return next(int(s.split()[1]) // 1024 for s in status if s.startswith("RssAnon"))

def watch():
    while True:
        peaks[0] = max(peaks[0], anonymous_mib())
        time.sleep(0.001)

before = anonymous_mib()
peaks = [before]
threading.Thread(target=watch, daemon=True).start()
xarray_mrc.convert(sys.argv[1], sys.argv[2], overwrite=True)
print(peaks[0] - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test files are made")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--form", action="append")
    parser.add_argument("--only", action="append", choices=PARTS)
    options = parser.parse_args()
    parts = options.only or PARTS
    print(f"{machine()}, zarr {zarr.__version__}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for form in options.form or ["int16"]:
            source = make_file(folder / "source.mrc", form, options.mib)
            print(f"{options.mib} MiB of {form}, sections of {SIDE} x {SIDE}", flush=True)
            if "speed" in parts:
                measure_speed(source, folder / "a.zarr", options.runs)
            if "memory" in parts:
                measure_memory(source, folder / "a.zarr")
            if "expressions" in parts and importlib.util.find_spec("dask_array"):
                measure_expressions(source, 2 * options.runs)
        print(f"load {os.getloadavg()[0]:.1f}")


def measure_speed(source: Path, target: Path, runs: int) -> None:
    """Run all jobs in turns, and print their medians."""
    dataset = xr.open_dataset(source, engine="mrc", cache=False)
    jobs: dict[str, Callable[[], object]] = {
        NAIVE: lambda: dataset.chunk({"z": 16}).to_zarr(target, zarr_format=3),
        OURS: lambda: xarray_mrc.convert(source, target),
        "ours, format 2": lambda: xarray_mrc.convert(source, target, zarr_format=2),
    }
    values = None
    if any(map(importlib.util.find_spec, ("zarrs", "tensorstore"))):
        xarray_mrc.convert(source, target, overwrite=True)
        metadata = zarr.open_array(target / "data").metadata.to_dict()
        values = dataset["data"].to_numpy()
        jobs |= jobs_from_memory(values, target, metadata)
    for job in jobs.values():  # a round that does not count
        shutil.rmtree(target, ignore_errors=True)
        job()
        if values is not None:
            check(target, values)
    seconds: dict[str, list[tuple[float, float, float]]] = {title: [] for title in jobs}
    sizes = {}
    for _ in range(runs):
        for title, job in jobs.items():
            shutil.rmtree(target, ignore_errors=True)
            start, cpu = time.perf_counter(), time.process_time()
            job()
            written = time.perf_counter() - start
            sync(str(target))
            total = time.perf_counter() - start
            seconds[title].append((total, written, time.process_time() - cpu))
            sizes[title] = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    shutil.rmtree(target, ignore_errors=True)
    medians = {
        title: [statistics.median(column) for column in zip(*rows, strict=True)]
        for title, rows in seconds.items()
    }
    for title, (total, written, cpu) in medians.items():
        ratios = [total / medians[NAIVE][0], cpu / medians[NAIVE][2], sizes[title] / sizes[NAIVE]]
        print(
            f"  {title:15} {total:6.2f} s ({ratios[0]:.2f}), before the sync {written:5.2f} s"
            f" | processor {cpu:6.2f} s ({ratios[1]:.2f})"
            f" | {sizes[title] / 2**20:6.0f} MiB ({ratios[2]:.2f})"
        )
    for title, bar in BARS.items():
        if title in medians:
            ratio = medians[OURS][0] / medians[title][0]
            missed = "" if ratio <= bar else " (missed)"
            print(f"  ours / {title}: {ratio:.2f} <= {bar}{missed}", flush=True)


def jobs_from_memory(
    values: NDArray[Any], target: Path, metadata: dict[str, Any]
) -> dict[str, Callable[[], object]]:
    """Return jobs that write an array in memory in the chunks and shards of our group."""
    sharding = metadata["codecs"][0]["configuration"]
    shards = metadata["chunk_grid"]["configuration"]["chunk_shape"]

    def by_zarrs() -> None:
        with zarr.config.set(ZARRS_PIPELINE):
            array = zarr.create_array(
                target / "data",
                shape=values.shape,
                dtype=values.dtype,
                chunks=sharding["chunk_shape"],
                shards=shards,
                compressors=sharding["codecs"][1:],
                fill_value=0,
            )
            array[...] = values

    def by_tensorstore() -> None:
        import tensorstore

        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(target / "data"), "file_io_sync": False},
            "metadata": {
                "shape": values.shape,
                "data_type": values.dtype.name,
                "chunk_grid": metadata["chunk_grid"],
                "codecs": metadata["codecs"],
            },
        }
        tensorstore.open(spec, create=True).result().write(values).result()

    found = {ZARRS: by_zarrs, "tensorstore": by_tensorstore}
    return {title: job for title, job in found.items() if importlib.util.find_spec(title)}


def check(target: Path, values: NDArray[Any]) -> None:
    """Assert that a group holds the values: one section of every sixteen."""
    found = zarr.open_array(target / "data", mode="r")
    for section in range(0, len(values), 16):
        np.testing.assert_array_equal(found[section], values[section])


def measure_memory(source: Path, target: Path) -> None:
    """Print the peaks of a process with threads, and of workers of 400 MiB."""
    grown = run_program(MEMORY, source, target).strip()
    print(f"  a process with {os.cpu_count()} threads grows by {grown} MiB", flush=True)
    from distributed import Client, LocalCluster

    def peak_mib() -> int:
        with open("/proc/self/status") as status:
            return next(int(s.split()[1]) // 1024 for s in status if s.startswith("VmHWM"))

    for threads in (1, 2, 4):
        with (
            LocalCluster(
                n_workers=1,
                threads_per_worker=threads,
                memory_limit="400MiB",
                dashboard_address=":0",
            ) as cluster,
            Client(cluster) as client,
        ):
            before = set(client.scheduler_info(n_workers=-1)["workers"])
            start = time.perf_counter()
            xarray_mrc.convert(source, target, overwrite=True)
            spent = time.perf_counter() - start
            lost = before - set(client.scheduler_info(n_workers=-1)["workers"])
            (peak,) = client.run(peak_mib).values()
            print(
                f"  a worker of 400 MiB with {threads} threads: {spent:.1f} s, peak {peak} MiB, "
                f"restarted {len(lost)} times",
                flush=True,
            )


def measure_expressions(source: Path, runs: int) -> None:
    """Print the time of reading by array expressions, as a ratio to that by dask's arrays."""
    import dask_array.xarray

    dataset = xr.open_dataset(source, engine="mrc", cache=False)
    arrays = [dataset.chunk(z=32)["data"].data]
    dask_array.xarray.register()
    arrays.append(dataset.chunk(z=32)["data"].data)
    jobs = {
        "sum": lambda array: array.sum(dtype="f8"),
        "maximum": lambda array: array.max(),
        "yz-plane": lambda array: array[:, :, 500],
        "section": lambda array: array[10],
    }
    for title, job in jobs.items():
        seconds: list[list[float]] = [[], []]
        for _ in range(runs):
            for array, found in zip(arrays, seconds, strict=True):
                start = time.perf_counter()
                job(array).compute()
                found.append(time.perf_counter() - start)
        ratio = statistics.median(seconds[1]) / statistics.median(seconds[0])
        print(f"  {title} by array expressions: {ratio:.2f} of dask's own", flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
