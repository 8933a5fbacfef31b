"""Programs that tests run in other processes, under limits or until they are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import xarray as xr
from programs import PEAK_MEMORY

import xarray_mrc

DIMS = ("z", "y", "x")
seen = []


def ramp(shape, chunks, number=0):
    """Return a lazy array whose values are the first section of their block, plus a number."""

    def block(block_info=None):
        place = block_info[None]["array-location"]
        lengths = [stop - start for start, stop in place]
        return np.full(lengths, place[0][0] + number, "f4")

    return xr.DataArray(
        da.map_blocks(
            block,
            chunks=da.core.normalize_chunks(chunks, shape),
            dtype="f4",
            meta=np.empty((0, 0, 0), "f4"),
        ),
        dims=DIMS,
    )


def start(*arguments):
    """Start one of the functions below in a new process, by its name and arguments."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def limited(path, sections, limit):
    """Write sections of 4 MiB each under a limit on the memory of the process."""
    import resource  # not on Windows, where this module is imported too

    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with dask.config.set(num_workers=2):
        xarray_mrc.to_mrc(ramp((sections, 1024, 1024), (16, 1024, 1024)), path)
    scope = {}
    exec(PEAK_MEMORY, scope)
    print(scope["peak_nbytes"]())


def overwrite(path):
    """Overwrite a file again and again; the values tell the number of the file."""
    for number in range(1, 10**6):
        xarray_mrc.to_mrc(ramp((24, 256, 256), (4, 100, 256), number), path, overwrite=True)


def overwrite_alone(path):
    """Overwrite a file again and again on one thread."""
    with dask.config.set(scheduler="synchronous"):
        overwrite(path)


def pack_slowly(path):
    """Write a compressed file, and pause half way."""
    array = ramp((24, 256, 256), (4, 256, 256))
    with dask.config.set(scheduler="synchronous"):
        xarray_mrc.to_mrc(array.copy(data=array.data.map_blocks(rest)), path, compression="gzip")


def rest(block):
    seen.append(block.size)
    time.sleep(600 if sum(seen) > 3 * block.size > 0 else 0)
    return block


def grow(path, count):
    """Append images to a stack, one by one; the values tell the number of the image."""
    for number in range(count):
        image = xr.DataArray(np.full((64, 64), number, "f4"), dims=("y", "x"))
        xarray_mrc.append(image, path, voxel_size=1.5)
        time.sleep(0.02)  # so that readers get to see most of them


def grow_slowly(path):
    """Append images to a stack, and pause before the last of them."""
    array = ramp((24, 256, 256), (4, 256, 256), 100).rename(z="image")
    with dask.config.set(scheduler="synchronous"):
        xarray_mrc.append(array.copy(data=array.data.map_blocks(rest)), path)


def select_slowly(path):
    """Write images and the table a.star beside them, four images a file, and pause half way."""
    array = ramp((24, 256, 256), (4, 256, 256)).rename(z="image")
    with dask.config.set(scheduler="synchronous"):
        lazy = array.copy(data=array.data.map_blocks(rest))
        xarray_mrc.write_stack(
            lazy,
            path,
            star=Path(path).parent / "a.star",
            per_file=4,
            voxel_size=1.5,
            overwrite=True,
        )


def die_once(block, marker=None):
    """Kill the first worker that gets to a late block, when it has written some others."""
    if block[0, 0, 0] >= 12 and not Path(marker).exists():
        Path(marker).write_text("died")
        time.sleep(0.2)
        os._exit(1)
    return block


def forks(path):
    """Fork a child for each function named on standard input, and print its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # dead children are reaped at once
    # A public name loads on first use, which in each child would take longer than it has to live.
    _ = xarray_mrc.to_mrc
    for line in sys.stdin:
        child = os.fork()
        if not child:
            globals()[line.strip()](path)
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    name, path, *numbers = sys.argv[1:]
    globals()[name](path, *map(int, numbers))
