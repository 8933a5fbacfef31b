"""Pyramids of OME-Zarr, side by side with ome-zarr-py, ngff-zarr and a plain group, in one run.

    python tests/benchmarks/pyramids.py [--mib 512] [--large-mib 4096] [--runs 3] [FOLDER]

All write three levels of the same shapes in the same chunks with the same compression, ome-zarr-py
with its usual method and with the block means that the others write. The second table is of
a large file, and has `convert` to a plain group beside `convert` to OME-Zarr. Each figure is the
median of the runs, which take turns. This is not a test; docs/convert.md has the ratios of one
machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask.array
import mrcfile
import zarr
from samples import make_file

import xarray_mrc

CHUNKS = {"z": 64, "y": 128, "x": 128}
FACTORS = (2, 4)
VOXEL = 1.35
OURS, PLAIN = "ours", "convert to a plain group"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test files are made")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--large-mib", type=int, default=4096, help="0 leaves the second table out")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        source, target = Path(name, "source.mrc"), Path(name, "a.ome.zarr")
        jobs: dict[str, Callable[[], object]] = {
            OURS: lambda: xarray_mrc.convert(source, target, chunks=CHUNKS, shards=None),
            "ours, in shards": lambda: xarray_mrc.convert(source, target, chunks=CHUNKS),
            "ngff-zarr": lambda: with_ngff_zarr(source, target),
            "ome-zarr-py": lambda: with_ome_zarr(source, target),
            "ome-zarr-py, block means": lambda: with_ome_zarr(source, target, "local_mean"),
        }
        make_file(source, "int16", 8)  # the first call of each imports and compiles
        measure(jobs, target, 1)
        if options.mib:
            make_file(source, "int16", options.mib)
            print_table(f"{options.mib} MiB of int16", measure(jobs, target, options.runs), OURS)
        if options.large_mib:
            make_file(source, "int16", options.large_mib)
            jobs = {
                PLAIN: lambda: xarray_mrc.convert(source, target, format="zarr"),
                OURS: lambda: xarray_mrc.convert(source, target),
            }
            found = measure(jobs, target, options.runs)
            print_table(f"{options.large_mib} MiB of int16", found, PLAIN)


def compressor() -> Any:
    return zarr.codecs.BloscCodec(
        typesize=2, cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=2**18
    )


def with_ome_zarr(source: Path, target: Path, method: str = "resize") -> None:
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    data = dask.array.from_array(mrcfile.mmap(source).data, chunks=(64, 512, 1024), name=False)
    write_image(
        data,
        zarr.open_group(target, mode="w", zarr_format=3),
        scale_factors=[dict.fromkeys("zyx", factor) for factor in FACTORS],
        method=Methods(method),
        axes="zyx",
        scale=dict.fromkeys("zyx", VOXEL),
        axes_units=dict.fromkeys("zyx", "angstrom"),
        storage_options={"chunks": tuple(CHUNKS.values()), "compressors": [compressor()]},
    )


def with_ngff_zarr(source: Path, target: Path) -> None:
    import ngff_zarr

    data = dask.array.from_array(mrcfile.mmap(source).data, chunks=tuple(CHUNKS.values()))
    image = ngff_zarr.to_ngff_image(
        data,
        dims="zyx",
        scale=dict.fromkeys("zyx", VOXEL),
        axes_units=dict.fromkeys("zyx", "angstrom"),
    )
    levels = ngff_zarr.to_multiscales(
        image,
        scale_factors=list(FACTORS),
        method=ngff_zarr.Methods.ITKWASM_BIN_SHRINK,
        chunks=CHUNKS,
    )
    ngff_zarr.to_ome_zarr(str(target), levels, version="0.5", compressors=[compressor()])


def measure(
    jobs: Mapping[str, Callable[[], object]], target: Path, runs: int
) -> dict[str, tuple[float, float, int]]:
    """Run jobs in turns; return median seconds, CPU seconds and the size of the group by job."""
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    busy: dict[str, list[float]] = {name: [] for name in jobs}
    sizes: dict[str, int] = {}
    for _ in range(runs):
        for name, job in jobs.items():
            shutil.rmtree(target, ignore_errors=True)
            os.sync()
            start, cpu = time.perf_counter(), time.process_time()
            job()
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - cpu)
            sizes[name] = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    return {n: (statistics.median(wall[n]), statistics.median(busy[n]), sizes[n]) for n in jobs}


def print_table(title: str, found: Mapping[str, tuple[float, float, int]], base: str) -> None:
    """Print what was measured, with the ratios to one job."""
    print(f"{title}, load {os.getloadavg()[0]:.1f}")
    for name, (seconds, cpu, nbytes) in found.items():
        print(
            f"  {name:26} {seconds:6.2f} s ({seconds / found[base][0]:.2f}), "
            f"CPU {cpu:6.2f} s ({cpu / found[base][1]:.2f}), {nbytes / 2**20:5.0f} MiB"
        )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
