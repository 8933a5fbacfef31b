"""Writing, side by side with os.pwrite of the same blocks and mrcfile, synced to the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array as da
import mrcfile
import numpy as np
import xarray as xr
from harness import Case

import xarray_mrc

SIDE, DEPTH = 1024, 16


def cases(folder: Path, mib: int) -> Iterator[Case]:
    """Yield the cases, which write blocks of 64 MiB."""
    block = np.random.default_rng(0).normal(size=(DEPTH, SIDE, SIDE)).astype("f4")
    count = mib // 64
    made = [
        da.from_delayed(dask.delayed(lambda _: block)(i), block.shape, block.dtype)
        for i in range(count)
    ]
    lazy = xr.DataArray(da.concatenate(made), dims=("z", "y", "x"))

    def plain() -> int:
        return pwrite(fresh(folder, "plain.mrc"), block, count)

    def ours() -> int:
        return size(lazy, fresh(folder, "ours.mrc"))

    def by_mrcfile() -> int:
        path = fresh(folder, "mrcfile.mrc")
        mrcfile.write(path, lazy.values)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return path.stat().st_size

    yield Case(
        "write dask blocks with statistics",
        ours,
        {"os.pwrite": plain, "mrcfile.write": by_mrcfile},
        {"os.pwrite": 1.6, "mrcfile.write": 0.5},
        runs=4,
    )
    held = lazy.compute()
    yield Case(
        "write an array in memory",
        lambda: size(held, fresh(folder, "ours.mrc")),
        {"os.pwrite": plain},
        runs=4,
    )
    path = fresh(folder, "ours.mrc")
    xarray_mrc.to_mrc(held, path)
    numbers = iter(range(10**6))
    yield Case(
        "edit_header against copying the file",
        lambda: len(xarray_mrc.edit_header(path, nxstart=next(numbers) + 1)),
        {"copy": lambda: bool(shutil.copyfile(path, fresh(folder, "plain.mrc")))},
        runs=3,
    )


def fresh(folder: Path, name: str) -> Path:
    """Remove the files of earlier jobs, and return the path of a new one."""
    for old in ("plain.mrc", "mrcfile.mrc") + (("ours.mrc",) if name == "ours.mrc" else ()):
        (folder / old).unlink(missing_ok=True)
    return folder / name


def size(array: xr.DataArray, path: Path) -> int:
    xarray_mrc.to_mrc(array, path)
    return path.stat().st_size


def pwrite(path: Path, block: np.ndarray, count: int) -> int:
    """Write the blocks in order, and wait for the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for i in range(count):
            os.pwrite(descriptor, block, 1024 + i * block.nbytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path.stat().st_size
