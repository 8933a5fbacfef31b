"""Files larger than the memory that may be used. All run alone."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header, put
from programs import run_program

from xarray_mrc import convert

SHAPE = {"nx": 2048, "ny": 1024, "nz": 192, "mx": 2048, "my": 1024, "mz": 192}  # 768 MiB

PROGRAM = """
import os, resource, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # each thread takes its share
limit = 640 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import xarray as xr, xarray_mrc
plain, group, packed, again, back, tight = (
    sys.argv[1] + name
    for name in ("/a.mrc", "/a.zarr", "/b.mrc.gz", "/b.zarr", "/c.mrc", "/d.mrc.gz"))
steps = {"group": (plain, group), "packed": (plain, packed), "again": (packed, again),
         "back": (group, back), "tight": (group, tight)}
xarray_mrc.convert(*steps[sys.argv[2]])
found = xr.open_zarr(steps[sys.argv[2]][1]) if sys.argv[2] in ("group", "again") else (
    xr.open_dataset(steps[sys.argv[2]][1], engine="mrc"))
print(found["data"].shape, int(found["data"][100, 1000, 2000]))
import numpy as np
try:
    np.empty(limit, "u1")
except MemoryError:
    print("limited")
"""


@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is not kept to")
def test_bounded_memory(tmp_path):
    with (tmp_path / "a.mrc").open("wb") as file:
        file.write(put(header(), "<", mode=1, **SHAPE))
        file.truncate(1024 + 2 * 2048 * 1024 * 192)
        file.seek(1024 + 2 * (2048 * (1024 * 100 + 1000) + 2000))
        file.write(b"\x07\x00")
    for step in ("group", "packed", "again", "back", "tight"):
        # Mapped pages of the file are no memory that is used, so it is not the peak that counts.
        assert run_program(PROGRAM, tmp_path, step).splitlines() == [
            "(192, 1024, 2048) 7", "limited",
        ]  # fmt: skip


@pytest.mark.serial
def test_small_workers_finish(tmp_path):
    """A worker of 400 MiB, of which 200 MiB are modules, converts four shards on two threads."""
    distributed = pytest.importorskip("distributed")
    shape = (64, 1024, 1024)
    fields = dict(zip(("nx", "ny", "nz", "mx", "my", "mz"), shape[::-1] * 2, strict=True))
    with (tmp_path / "a.mrc").open("wb") as file:
        file.write(put(header(), "<", mode=2, **fields))
        for _ in range(shape[0]):
            file.write(os.urandom(2**22))
    convert(tmp_path / "a.mrc", tmp_path / "a.mrc.gz")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, memory_limit="400MiB", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.scheduler_info(n_workers=-1)["workers"])
        convert(tmp_path / "a.mrc", tmp_path / "a.zarr")
        # Whole shards are read of a compressed file: one at a time there.
        convert(tmp_path / "a.mrc.gz", tmp_path / "b.zarr")
        assert set(client.scheduler_info(n_workers=-1)["workers"]) == workers
    source = np.memmap(tmp_path / "a.mrc", "<u4", "r", 1024, shape)
    for name in ("a.zarr", "b.zarr"):
        found = xr.open_zarr(tmp_path / name, chunks=None)["data"]
        for section in (0, 40, 63):
            np.testing.assert_array_equal(found[section].to_numpy().view("u4"), source[section])


PYRAMID = """
import os, resource, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
limit = 1536 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import zarr, xarray_mrc
xarray_mrc.convert(sys.argv[1], sys.argv[2])
levels = [zarr.open_array(sys.argv[2], path=name) for name in "012"]
print(*(level.shape for level in levels))
for factor, level in zip((1, 2, 4), levels):
    print(int(level[tuple(i // factor for i in (1000, 1000, 2000))]))
"""


@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is not kept to")
def test_pyramid_of_4_gib(tmp_path):
    nx, ny, nz = 2048, 1024, 1024
    path = tmp_path / "a.mrc"
    with path.open("wb") as file:
        size = {"nx": nx, "ny": ny, "nz": nz, "mx": nx, "my": ny, "mz": nz}
        file.write(put(header(), "<", mode=1, **size))
        file.truncate(1024 + 2 * nx * ny * nz)
        file.seek(1024 + 2 * (nx * (ny * 1000 + 1000) + 2000))
        file.write((6400).to_bytes(2, "little"))
    assert run_program(PYRAMID, path, tmp_path / "a.ome.zarr").splitlines() == [
        "(1024, 1024, 2048) (512, 512, 1024) (256, 256, 512)", "6400", "800", "100",
    ]  # fmt: skip
