"""Files for the benchmarks, and other ways to read them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from mrcbytes import header
from numpy.typing import NDArray
from xarray.backends import BackendEntrypoint

SIDE = 1024
SLAB = 16  # sections that a thread sums at a time


def make_file(path: Path, sections: int, code: str = "<f4", mode: int = 2) -> None:
    """Write noise, 1024 x 1024 pixels a section; no two sections are equal."""
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=(SIDE, SIDE)) * 1000).astype(code)
    raw = header(
        code[0], nx=SIDE, ny=SIDE, nz=sections, mx=SIDE, my=SIDE, mz=sections, mode=mode, ispg=1,
        cella=(SIDE * 1.35, SIDE * 1.35, sections * 1.35),
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(raw)
        for number in range(sections):
            file.write(np.roll(noise, number).tobytes())


def floor_engine(template: xr.Dataset, data: NDArray[Any]) -> type[BackendEntrypoint]:
    """Return an engine that does nothing but return the same dataset, with data from memory.

    The time of `xarray.open_dataset` with it is that of xarray itself: no engine can be faster.
    """
    variables = {str(name): coord.variable for name, coord in template.coords.items()}
    dims, attrs, encoding = template.data.dims, template.data.attrs, template.data.encoding

    class Floor(BackendEntrypoint):
        open_dataset_parameters = ("filename_or_obj", "drop_variables")

        def open_dataset(self, filename_or_obj, *, drop_variables=None):
            variable = xr.Variable(dims, data, attrs, encoding)
            return xr.Dataset({"data": variable}, xr.Coordinates(variables, indexes={}))

    return Floor


def memmap(path: Path, code: str = "<f4") -> NDArray[Any]:
    """Return a map of the data of a file made by `make_file`."""
    shape = ((path.stat().st_size - 1024) // (SIDE * SIDE * np.dtype(code).itemsize), SIDE, SIDE)
    return np.memmap(path, code, "r", offset=1024, shape=shape)


def sum_by_hand(data: NDArray[Any], pool: ThreadPoolExecutor) -> float:
    """Sum in threads."""
    slabs = range(0, len(data), SLAB)
    return float(sum(pool.map(lambda z: data[z : z + SLAB].sum(dtype="f8"), slabs)))


def sum_of_file(path: str, start: int, stop: int) -> float:
    """Map a file and sum some sections: a task for another process."""
    data = memmap(Path(path))
    return float(data[start:stop].sum(dtype="f8"))


def plane_of_file(path: str, start: int, stop: int, x: int) -> NDArray[Any]:
    """Map a file and copy a plane across some sections: a task for another process."""
    return np.array(memmap(Path(path))[start:stop, :, x])
