"""Reading of local files from a warm page cache."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mrcfile
import numpy as np
import xarray as xr
from harness import Case
from peers import floor_engine, make_file, memmap, sum_by_hand
from rsciio.mrc import file_reader

import xarray_mrc

BRICK = {"z": slice(100, 164), "y": slice(300, 364), "x": slice(500, 564)}


def cases(folder: Path, mib: int) -> Iterator[Case]:
    """Write files into a folder, and yield the cases that read them."""
    path, swapped = folder / "floats.mrc", folder / "swapped.mrc"
    make_file(path, mib // 4)
    make_file(swapped, mib // 2, ">i2", 1)
    mapped, mapped_ints = memmap(path), memmap(swapped, ">i2")
    held = np.array(mapped)  # also fills the page cache
    int(mapped_ints.max())
    # Without xarray's cache, because repeated reads would cost nothing.
    ds = xr.open_dataset(path, engine="mrc", cache=False)
    floor = floor_engine(ds, held)
    floor_ds = xr.open_dataset(path, engine=floor, cache=False)
    lazy = xr.open_dataset(path, engine="mrc", chunks={}).data.data
    peer = file_reader(str(path), lazy=True)[0]["data"]
    ints = xr.open_dataset(swapped, engine="mrc", cache=False).data
    pool = ThreadPoolExecutor(2)
    x = 500
    brick = tuple(BRICK.values())

    yield Case(
        "open",
        lambda: xr.open_dataset(path, engine="mrc").sizes["x"],
        {
            "xarray's floor": lambda: xr.open_dataset(path, engine=floor).sizes["x"],
            "rosettasciio": lambda: file_reader(str(path), lazy=True)[0]["data"].shape[2],
        },
        {"xarray's floor": 1.25, "rosettasciio": 0.8},
        runs=100,
    )
    yield Case(
        "z-slices in turn, summed by xarray",
        in_turn(len(mapped), lambda z: float(ds.data.isel(z=z).sum())),
        {
            "xarray's floor": in_turn(len(mapped), lambda z: float(floor_ds.data.isel(z=z).sum())),
            "rosettasciio": in_turn(len(mapped), lambda z: float(peer[z].sum(dtype="f8"))),
        },
        {"xarray's floor": 1.35, "rosettasciio": 0.5},
        runs=100,
    )
    yield Case(
        "z-slices in turn, summed by numpy",
        in_turn(len(mapped), lambda z: ds.data.isel(z=z).values.sum()),
        {
            "xarray's floor": in_turn(len(mapped), lambda z: floor_ds.data.isel(z=z).values.sum()),
            "rosettasciio": in_turn(len(mapped), lambda z: float(peer[z].sum(dtype="f8"))),
        },
        {"xarray's floor": 1.35, "rosettasciio": 0.5},
        runs=100,
    )
    yield Case(
        "yz-plane",
        lambda: ds.data.isel(x=x).values.sum(dtype="f8"),
        {
            "np.memmap": lambda: np.array(mapped[:, :, x]).sum(dtype="f8"),
            "rosettasciio": lambda: float(peer[:, :, x].sum(dtype="f8")),
        },
        {"np.memmap": 1.5, "rosettasciio": 0.5},
        runs=30,
    )
    yield Case(
        "brick of 64^3",
        lambda: ds.data.isel(BRICK).values.sum(dtype="f8"),
        {
            "xarray's floor": lambda: floor_ds.data.isel(BRICK).values.sum(dtype="f8"),
            "np.memmap": lambda: np.array(mapped[brick]).sum(dtype="f8"),
        },
        {"xarray's floor": 1.8},
        runs=100,
    )
    yield Case(
        "sum on dask's threads",
        lambda: float(lazy.sum(dtype="f8")),
        {
            "two threads by hand": lambda: sum_by_hand(mapped, pool),
            "numpy": lambda: float(mapped.sum(dtype="f8")),
            "rosettasciio": lambda: float(peer.sum(dtype="f8")),
        },
        {"two threads by hand": 1.25, "numpy": 0.7, "rosettasciio": 0.9},
        runs=15,
    )
    yield Case(
        "load of big-endian int16",
        lambda: ints.values[-1, -1],
        {"astype": lambda: mapped_ints.astype("i2")[-1, -1]},
        {"astype": 1.2},
    )
    yield Case(
        "lazy transpose, loaded",
        lambda: ds.data.transpose("x", "y", "z").values[-1, -1],
        {"numpy's": lambda: np.array(mapped.transpose(2, 1, 0))[-1, -1]},
        {"numpy's": 1.2},
    )
    paths = [folder / f"{number}.mrc" for number in range(2000)]
    head = path.read_bytes()[:1024]
    for name in paths:
        name.write_bytes(head)
    yield Case(
        "2,000 headers",
        lambda: sum(xarray_mrc.read_header(name).nx for name in paths),
        {"mrcfile": lambda: sum(header_of(name) for name in paths)},
        {"mrcfile": 0.4},
    )
    for name in paths:
        name.unlink()


def in_turn(count: int, job: Callable[[int], float]) -> Callable[[], float]:
    """Return a job that takes the next section at each call, so that the CPU caches are cold."""
    numbers = itertools.cycle(range(count))
    return lambda: job(next(numbers))


def header_of(path: Path) -> int:
    with mrcfile.open(path, header_only=True) as file:
        return int(file.header.nx)
