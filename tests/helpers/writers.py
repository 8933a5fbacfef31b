"""Programs that the tests run, limit and kill; made to be imported by processes of their own."""

import os
import signal
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
    """Make blocks that say where they lie, without memory of their own."""

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


def limited(path, sections, limit):
    """Write 4 MiB a section with a limit on the memory of the process."""
    import resource  # not on Windows, where this module is imported too

    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with dask.config.set(num_workers=2):
        xarray_mrc.to_mrc(ramp((sections, 1024, 1024), (16, 1024, 1024)), path)
    scope = {}
    exec(PEAK_MEMORY, scope)
    print(scope["peak_nbytes"]())


def overwrite(path):
    """Overwrite a file again and again, by files that say which they are."""
    for number in range(1, 10**6):
        xarray_mrc.to_mrc(ramp((24, 256, 256), (4, 100, 256), number), path, overwrite=True)


def overwrite_alone(path):
    """Do it on one thread."""
    with dask.config.set(scheduler="synchronous"):
        overwrite(path)


def pack_slowly(path):
    """Write a compressed file, and stop half way."""
    array = ramp((24, 256, 256), (4, 256, 256))
    with dask.config.set(scheduler="synchronous"):
        xarray_mrc.to_mrc(array.copy(data=array.data.map_blocks(rest)), path, compression="gzip")


def rest(block):
    seen.append(block.size)
    time.sleep(600 if sum(seen) > 3 * block.size > 0 else 0)
    return block


def die_once(block, marker=None):
    """Kill the worker that comes here first, after it has written some of its blocks."""
    if block[0, 0, 0] >= 12 and not Path(marker).exists():
        Path(marker).write_text("died")
        time.sleep(0.2)
        os._exit(1)
    return block


def forks(path):
    """Fork a child for each function that is named on the input, and say which it is."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a dead child is gone
    for line in sys.stdin:
        child = os.fork()
        if not child:
            globals()[line.strip()](path)
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    name, path, *numbers = sys.argv[1:]
    globals()[name](path, *map(int, numbers))
