"""Look at an MRC file, compute over all of it, save it as Zarr, draw it, and validate it.

The demo uses the public API and the command line only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import dask.array
import numpy as np
import xarray as xr
from dask.diagnostics import ProgressBar

import xarray_mrc

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
PICTURE, PAGE = "picture.png", "report.html"


def make_tomogram(path: Path, sections: int) -> None:
    """Write float32 noise, 4 MiB a section, block by block."""
    random = dask.array.random.default_rng(0)
    noise = random.normal(100, 15, (sections, 1024, 1024), chunks=(8, -1, -1)).astype(np.float32)
    label = "Noise, made by the demo of xarray_mrc"
    xr.DataArray(noise, dims=("z", "y", "x")).mrc.to_mrc(path, voxel_size=7.84, labels=label)


@contextmanager
def timed(title: str, nbytes: int) -> Iterator[None]:
    """Print a title, then the seconds that the block took, and its speed for any bytes."""
    print(f"\n{title}", flush=True)
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    speed = f", {nbytes / MIB / seconds:.0f} MiB/s" if nbytes else ""
    print(f"{seconds:.1f} s{speed}", flush=True)


def do_main_job(path: Path, zarr: Path) -> bool:
    """Run the demo on a file; return True if the saved middle section is that of the file."""
    print(xarray_mrc.read_header(path), end="\n\n")

    with xr.open_dataset(path, engine="mrc", chunks={}) as ds:
        print(ds)
        data = ds["data"]

        # In one call, each block is read once for all four. Sums of float32 would lose digits.
        amplitudes = abs(data) if data.dtype.kind == "c" else data
        with timed("Statistics, out of core and on all cores", data.nbytes), ProgressBar():
            minimum, maximum, mean, std = dask.compute(
                amplitudes.min(skipna=False),
                amplitudes.max(skipna=False),
                amplitudes.mean(skipna=False, dtype=np.float64),
                amplitudes.std(skipna=False, dtype=np.float64),
            )
        print(f"min {minimum:.6g}, max {maximum:.6g}, mean {mean:.6g}, std {std:.6g}")

        with timed(f"Saving to {zarr}", data.nbytes), ProgressBar():
            # Consolidated metadata would warn, because they are not in the standard of Zarr 3 yet.
            ds.to_zarr(zarr, mode="w-", consolidated=False)

        middle = {data.dims[0]: data.sizes[data.dims[0]] // 2} if data.ndim > 2 else {}
        with xr.open_zarr(zarr, consolidated=False) as saved:
            same = np.array_equal(data[middle], saved["data"][middle], equal_nan=True)

    print(f"\nThe middle section is {'the same' if same else 'NOT THE SAME'} in the Zarr store.")
    zarr_size = sum(part.stat().st_size for part in zarr.rglob("*") if part.is_file())
    print(f"{path.name}: {path.stat().st_size / MIB:.1f} MiB; as Zarr: {zarr_size / MIB:.1f} MiB")
    return same


def draw(path: Path, pictures: Path) -> None:
    """Save a picture of the file, and the page of a validation."""
    pictures.mkdir(parents=True, exist_ok=True)
    with timed("Drawing three sections, the histogram and the power spectrum", 0):
        xarray_mrc.open_mrc(path).mrc.show().savefig(pictures / PICTURE)
    print("\nValidating", flush=True)
    command = [sys.executable, "-m", "xarray_mrc", "validate", "--overwrite", str(path)]
    command += ["--html", str(pictures / PAGE)]
    subprocess.run(command, check=False)  # its status only says whether the file is valid


def peak_memory() -> str:
    """Return the peak resident memory of this process."""
    if sys.platform == "win32":
        return "not known on Windows"
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB:.0f} MiB"


def main() -> int:
    """Run the demo; return 0, 1 for a wrong result, or 2 for a file that cannot be used."""
    parser = argparse.ArgumentParser(prog="ci/demo", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="an MRC file; by default one is made")
    parser.add_argument("--zarr", type=Path, metavar="OUT", help="keep the Zarr store here")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        default=Path(tempfile.gettempdir(), "xarray_mrc-demo"),
        help="where the picture and the page are saved (%(default)s)",
    )
    parser.add_argument(
        "--sections",
        type=int,
        default=128,
        help="sections of the file that is made, 4 MiB each (%(default)s)",
    )
    options = parser.parse_args()
    if options.sections < 1:
        parser.error("--sections must be at least 1")
    if options.zarr is not None and options.zarr.exists():
        parser.error(f"{options.zarr} exists; the demo overwrites nothing")

    try:
        with tempfile.TemporaryDirectory(prefix="xarray_mrc-demo-") as folder:
            path = options.file
            if path is None:
                path = Path(folder, "tomogram.mrc")
                with timed(f"Making {path}", 4 * MIB * options.sections):
                    make_tomogram(path, options.sections)
                print()
            same = do_main_job(path, options.zarr or Path(folder, "demo.zarr"))
            print(f"Peak memory: {peak_memory()}")
            draw(path, options.pictures)
            print(f"\n{folder} is removed now; --zarr OUT keeps the Zarr store.")
            print(f"The picture is {options.pictures / PICTURE}")
            print(f"The page is {options.pictures / PAGE}")
    except (xarray_mrc.MrcError, OSError) as error:
        print(f"ci/demo: {error}", file=sys.stderr)
        return 2
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
