"""Reading of a gzip file that is one deflate stream, each job in a new process, in turns.

    python tests/benchmarks/compressed.py [--mib 192] [--runs 5] [FOLDER]

Prints the seconds of ours and of others, their ratios, and the peak memory of a sum. Imports do not
count. The others are mrcfile, streaming with gzip of the standard library, isal and zlib-ng, and
`bgzip -b` on a BGZF file of the same data. This is not a test; docs/compression.md has the ratios
of one machine. Run with the name of a job and a file, it does the job and prints its seconds, its
result and its peak memory in MiB.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import xarray as xr
from harness import Row, machine, print_rows
from mrcbytes import header
from samples import SIDE

SECTION_NBYTES = SIDE * SIDE * 2
RANDOM_SLICES = 20
# Rows: our job, the others, and the upper limits of the ratios.
CASES: dict[str, dict[str, float | None]] = {
    "open and an early section": {"mrcfile.open": 0.05},
    "open and a late section": {"mrcfile.open": 0.2},
    "a random section after a pass": {"mrcfile.open": 0.03, "bgzip -b": None},
    # New memory takes 0.02 to 0.4 s on a virtual machine, so isal fills an array, too.
    "all values, in order": {"isal": 1.25, "isal, into an array": None, "gzip": None},
    "sum by dask": {"isal": 2.1, "gzip": 0.7, "mrcfile": 0.35},
}
STREAMS = {
    "isal": ("isal.igzip", "IGzipFile"),
    "zlib-ng": ("zlib_ng.gzip_ng", "GzipNGFile"),
    "gzip": ("gzip", "GzipFile"),
}


def make_file(folder: Path, mib: int) -> Path:
    """Write counts of electrons in 16 bits, as `gzip -6` and as bgzip compress them."""
    count = mib * 2**20 // SECTION_NBYTES
    chance = np.random.default_rng(0)
    planes = [chance.poisson(8, (SIDE, SIDE)).astype("<i2") for _ in range(16)]
    path = folder / "counts.mrc"
    with path.open("wb") as file:
        file.write(header(nx=SIDE, ny=SIDE, nz=count, mx=SIDE, my=SIDE, mz=count, mode=1, ispg=1))
        for z in range(count):
            file.write(np.roll(planes[z % 16], (211 * (z // 16), 397 * (z // 16)), (0, 1)))
    if shutil.which("bgzip"):
        with (folder / "blocks.mrc.gz").open("wb") as file:
            subprocess.run(["bgzip", "-c", str(path)], stdout=file, check=True)
        subprocess.run(["bgzip", "-r", str(folder / "blocks.mrc.gz")], check=True)
    subprocess.run(["gzip", "-6", str(path)], check=True)
    small = header(nx=SIDE, ny=SIDE, nz=8, mx=SIDE, my=SIDE, mz=8, mode=1, ispg=1)
    with gzip.open(folder / "small.mrc.gz", "wb") as packed:
        packed.write(small + bytes(8 * SECTION_NBYTES))
    return folder / "counts.mrc.gz"


def prepare(path: Path) -> dict[str, Callable[[], float]]:
    """Return all jobs; the file was not read yet."""

    def ours(**options: object) -> xr.DataArray:
        return xr.open_dataset(path, engine="mrc", **options).data

    def by_mrcfile() -> float:
        with mrcfile.open(path) as file:
            return float(file.data[0].sum())

    def sum_by_mrcfile() -> float:
        with mrcfile.open(path) as file:
            return float(file.data.sum())

    def stream(name: str) -> Callable[[], float]:
        """Return a job that decompresses all with a library, in blocks that it drops."""
        module, kind = STREAMS[name]
        reader = getattr(__import__(module, fromlist=[kind]), kind)

        def run() -> float:
            total = 0
            with reader(path) as file:
                while block := file.read(2**20):
                    total += len(block)
            return total

        return run

    def into_array() -> float:
        """Decompress all with isal into new memory."""
        from isal import igzip

        data, total = np.empty(file_nbytes, np.uint8), 0
        with igzip.open(path) as file:
            while count := file.readinto(data[total : total + 2**20]):
                total += count
        return total

    file_nbytes = 1024 + SECTION_NBYTES * xr.open_dataset(path, engine="mrc").sizes["z"]
    found: dict[str, Callable[[], float]] = {
        "open and an early section/ours": lambda: float(ours()[1].values.sum()),
        "open and an early section/mrcfile.open": by_mrcfile,
        "open and a late section/ours": lambda: float(ours()[-2].values.sum()),
        "open and a late section/mrcfile.open": by_mrcfile,
        "a random section after a pass/mrcfile.open": by_mrcfile,
        "all values, in order/ours": lambda: float(ours().values[-1, -1, -1]),
        "sum by dask/ours": lambda: float(ours(chunks={}).sum()),
        "sum by dask/mrcfile": sum_by_mrcfile,
    }
    for name in STREAMS:
        found[f"all values, in order/{name}"] = found[f"sum by dask/{name}"] = stream(name)
    found["all values, in order/isal, into an array"] = into_array
    return found


def random_sections(path: Path) -> float:
    """Return the mean seconds of a random section once a late one was read."""
    ours = xr.open_dataset(path, engine="mrc", cache=False).data
    ours[-1].values.sum()
    numbers = np.random.default_rng(1).integers(0, len(ours), RANDOM_SLICES)
    start = time.perf_counter()
    for z in numbers.tolist():
        ours[z].values.sum()
    return (time.perf_counter() - start) / RANDOM_SLICES


def bgzip_sections(path: Path) -> float:
    """Return the mean seconds in which `bgzip -b` reads a random section, by its index."""
    blocks = path.with_name("blocks.mrc.gz")
    count = xr.open_dataset(path, engine="mrc").sizes["z"]
    numbers = np.random.default_rng(1).integers(0, count, RANDOM_SLICES)
    start = time.perf_counter()
    for z in numbers.tolist():
        place = ["-b", str(1024 + z * SECTION_NBYTES), "-s", str(SECTION_NBYTES)]
        subprocess.run(["bgzip", *place, str(blocks)], check=True, capture_output=True)
    return (time.perf_counter() - start) / RANDOM_SLICES


def peak_mib() -> float:
    """Return the peak memory of this process."""
    status = Path("/proc/self/status").read_text()
    return next(int(s.split()[1]) / 1024 for s in status.splitlines() if s.startswith("VmHWM"))


def run_job(job: str, path: Path) -> None:
    """Run one job, and print its seconds, its result and the peak memory."""
    jobs = prepare(path)
    # Read another file first, so that all code is loaded and dask has made its threads.
    small = path.with_name("small.mrc.gz")
    xr.open_dataset(small, engine="mrc", chunks={"z": 2}).data.sum().compute()
    xr.open_dataset(small, engine="mrc").data[-1].values.sum()
    mrcfile.open(small).close()
    before = peak_mib()
    if job == "a random section after a pass/ours":
        seconds, answer = random_sections(path), 0.0
    elif job == "a random section after a pass/bgzip -b":
        seconds, answer = bgzip_sections(path), 0.0
    else:
        start = time.perf_counter()
        answer = jobs[job]()
        seconds = time.perf_counter() - start
    print(seconds, answer, peak_mib(), before)


def measure(path: Path, runs: int) -> tuple[list[Row], dict[str, float]]:
    """Return the rows, and the peak memory of the sums; medians of several runs."""
    rows, peaks = [], {}
    for name, bars in CASES.items():
        others = [other for other in bars if other != "bgzip -b" or shutil.which("bgzip")]
        seconds: dict[str, list[float]] = {job: [] for job in ["ours", *others]}
        memory: dict[str, list[float]] = {job: [] for job in seconds}
        for _ in range(runs):
            for job in seconds:
                command = [sys.executable, __file__, "--job", f"{name}/{job}", str(path)]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                took, _, peak, _ = map(float, shown.split())
                seconds[job].append(took)
                memory[job].append(peak)
        medians = {job: statistics.median(took) for job, took in seconds.items()}
        pairs = {other: (medians["ours"], medians[other]) for other in others}
        limits = {other: bar for other, bar in bars.items() if bar is not None}
        rows.append(Row(name, pairs, limits))
        if name == "sum by dask":
            peaks = {job: statistics.median(memory[job]) for job in ("ours", "mrcfile")}
    return rows, peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, help="where the files are made")
    parser.add_argument("--mib", type=int, default=192)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--job", help="do one job with the file PATH")
    options = parser.parse_args()
    if options.job:
        run_job(options.job, options.path)
        return
    with tempfile.TemporaryDirectory(dir=options.path) as folder:
        path = make_file(Path(folder), options.mib)
        print(machine())
        rows, peaks = measure(path, options.runs)
        lines = print_rows(f"{options.mib} MiB of int16 counts in one gzip stream, median", rows)
        ours, theirs = peaks["ours"], peaks["mrcfile"]
        memory = f"{ours:.0f} MiB, mrcfile {theirs:.0f} MiB, {ours / theirs:.2f} <= 0.6"
        lines += ["", f"Peak memory of the sum: {memory}."]
        print("\n".join(lines))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
