"""Compressing a file, side by side with mrcfile and gzip, in one run.

    python tests/benchmarks/compress.py [--mib 1024] [--runs 1] [--form int16] [FOLDER]

Densities, counts, and segmentations: labels, membranes and masks. Prints the seconds, and the
ratios of time and size to mrcfile and gzip. This is not a test;
docs/compression.md has the ratios of one machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mrcfile
from samples import MODES, SIDE, make_file

import xarray_mrc


def by_mrcfile(source: Path, target: Path, compression: str) -> None:
    """Compress with mrcfile, from an array in memory."""
    data = mrcfile.read(source)
    mrcfile.new(target, data, compression=compression, overwrite=True).close()


def by_tool(source: Path, target: Path, *command: str) -> None:
    """Compress with a program of the command line."""
    with target.open("wb") as file:
        subprocess.run([*command, "-c", str(source)], stdout=file, check=True)


def unpack(path: Path, *command: str) -> None:
    """Check a file with a program of the command line, if it is installed."""
    if shutil.which(command[0]):
        subprocess.run([*command, str(path)], check=True)


def jobs_for(source: Path, folder: Path, slow: bool) -> dict[str, Callable[[], Path]]:
    """Return the jobs by name; each returns the path of the file that it wrote."""

    def job(name: str, write: Callable[[Path], None]) -> Callable[[], Path]:
        def run() -> Path:
            target = folder / name
            target.unlink(missing_ok=True)
            write(target)
            return target

        return run

    found = {
        "ours .gz": job("a.mrc.gz", lambda p: xarray_mrc.convert(source, p)),
        "ours .gz, level 6": job(
            "e.mrc.gz", lambda p: xarray_mrc.convert(source, p, compression_level=6)
        ),
        "ours .zst": job("a.mrc.zst", lambda p: xarray_mrc.convert(source, p)),
        "gzip -1": job("b.gz", lambda p: by_tool(source, p, "gzip", "-1")),
    }
    if slow:
        found |= {
            "gzip -6": job("c.gz", lambda p: by_tool(source, p, "gzip", "-6")),
            "mrcfile gzip": job("d.mrc.gz", lambda p: by_mrcfile(source, p, "gzip")),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test files are made")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--form", action="append", choices=[*MODES])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for form in options.form or MODES:
            source = make_file(folder / "source.mrc", form, options.mib)
            print(f"{options.mib} MiB of {form}, sections of {SIDE} x {SIDE}", flush=True)
            seconds: dict[str, list[float]] = {}
            sizes: dict[str, int] = {}
            for number in range(options.runs):
                # The slow jobs run once: they take minutes, and the ratios are far from 1.
                for title, job in jobs_for(source, folder, slow=number == 0).items():
                    start = time.perf_counter()
                    target = job()
                    seconds.setdefault(title, []).append(time.perf_counter() - start)
                    sizes[title] = os.path.getsize(target)
            unpack(folder / "a.mrc.gz", "gzip", "-t")
            unpack(folder / "a.mrc.zst", "zstd", "-qt")
            medians = {title: statistics.median(values) for title, values in seconds.items()}
            for title, median in medians.items():
                print(
                    f"  {title:17} {median:8.2f} s | time / mrcfile "
                    f"{median / medians['mrcfile gzip']:6.3f} | time / gzip -1 "
                    f"{median / medians['gzip -1']:6.3f} | size / gzip -6 "
                    f"{sizes[title] / sizes['gzip -6']:6.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
