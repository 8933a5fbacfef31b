"""Read the headers of many files: ci/bench headers [--files 5000] [--folder FOLDER].

Against a loop over mrcfile, against the package scigantic-headers if it is installed (it is not
declared), and against a loop that only opens, looks at and reads each file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import mrcfile
import numpy as np
from harness import Case, machine, measure, print_rows
from mrcbytes import lay, put

import xarray_mrc


def make_files(folder: Path, count: int) -> list[str]:
    """Write micrographs as a camera would: they differ in their statistics and data."""
    random = np.random.default_rng(1)
    raw = lay("float32", "image", lengths=(64, 64, 1), voxel=("1.35",) * 3, labels=(b"made",)).raw
    paths = [str(folder / f"micrograph_{number:05}.mrc") for number in range(count)]
    for path in paths:
        low, high, mean = np.sort(random.normal(size=3)).tolist()
        Path(path).write_bytes(put(raw, "<", dmin=low, dmax=high, dmean=mean, rms=1.0))
    return paths


def cases(folder: Path, count: int) -> list[Case]:
    """Return the cases: paths, and a folder."""
    paths = make_files(folder, count)

    def by_mrcfile() -> int:
        total = 0
        for path in paths:
            with mrcfile.open(path, header_only=True) as mrc:
                total += int(mrc.header.nx)
        return total

    def by_hand() -> int:
        total = 0
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            os.fstat(descriptor)
            total += int.from_bytes(os.read(descriptor, 1024)[:4], "little")
            os.close(descriptor)
        return total

    others: dict[str, Callable[[], int]] = {"mrcfile": by_mrcfile, "by hand": by_hand}
    bars = {"mrcfile": 0.2}
    if find_spec("scigantic_headers"):
        import scigantic_headers

        def by_scigantic() -> int:
            found = scigantic_headers.decode_paths(paths, workers=1)
            return sum(header.fields["nx"] for header in found.values())

        others["scigantic-headers"], bars["scigantic-headers"] = by_scigantic, 0.6
    return [
        Case(f"{name}, {count} files", ours, others, bars)
        for name, ours in (
            ("a list", lambda: int(xarray_mrc.index(paths).nx.sum())),
            ("a folder", lambda: int(xarray_mrc.index(folder).nx.sum())),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where the files are made")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        print_rows("Headers, page cache warm", map(measure, cases(Path(name), options.files)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
