"""Remote datasets in threads, forked children, copies by pickle, and the processes of a cluster."""

import asyncio
import os
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
import xarray as xr
from programs import run_program
from remote_files import volume
from waiting import wait_for_exit

import xarray_mrc

RAW, PIXELS = volume((64, 60, 50))


@pytest.fixture
def opened(place):
    """A dataset without dask, and one in blocks."""
    url = place.put("a.mrc", RAW)
    array = place.open(url)
    blocks = xarray_mrc.open_mrc(url, chunks={"z": 8}, storage_options=place.options or None)
    return array, blocks


def some_key(seed):
    chosen = random.Random(seed)

    def some_slice(length):
        start = chosen.randrange(length)
        return slice(start, chosen.randrange(start, length) + 1)

    return tuple(some_slice(length) for length in PIXELS.shape)


def reads_right(array, seed):
    return all(
        np.array_equal(array[some_key(seed + n)].values, PIXELS[some_key(seed + n)])
        for n in range(4)
    )


def test_six_threads_on_a_dataset_and_on_its_copy(opened):
    array, _ = opened
    copy = pickle.loads(pickle.dumps(array))
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda n: reads_right((array, copy)[n % 2], 10 * n), range(24))
        assert all(found)


def test_a_pickle_is_small(opened):
    array, _ = opened
    array[3].load()
    assert len(pickle.dumps(array)) < 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_fork(opened):
    """Children of a process that has read already, while it goes on reading."""
    array, _ = opened
    assert reads_right(array, 0)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if reads_right(array, 10 * number) else 2
            finally:
                os._exit(code)
        children.append(child)
    assert reads_right(array, 100)
    assert [wait_for_exit(child) for child in children] == [0, 0, 0]
    assert reads_right(array, 200)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_threads_read(opened):
    array, _ = opened
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(reads_right, array, 10 * n) for n in range(20)]
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if reads_right(array, 0) else 2
            finally:
                os._exit(code)
        assert wait_for_exit(child) == 0
        assert all(future.result() for future in reading)


SPAWNED = """
import pickle, sys
array = pickle.loads(open(sys.argv[1], "rb").read())
print(int(array.astype("i8").sum()), "xarray" in sys.modules)
"""


def test_a_new_process_reads_a_copy(opened, tmp_path):
    for number, array in enumerate(opened):
        path = tmp_path / f"{number}.pickle"
        path.write_bytes(pickle.dumps(array))
        total, _ = run_program(SPAWNED, path).split()
        assert int(total) == int(PIXELS.astype("i8").sum())


@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_schedulers(http_place, scheduler):
    blocks = xarray_mrc.open_mrc(http_place.put("a.mrc", RAW), chunks={"z": 8})
    with dask.config.set(scheduler=scheduler, num_workers=2):
        assert int(blocks.astype("i8").sum()) == int(PIXELS.astype("i8").sum())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["http", "s3"])
def test_a_cluster_of_processes(request, name):
    """Workers open connections of their own; secrets reach them and the results come back."""
    place = request.getfixturevalue(f"{name}_place")
    from distributed import Client, LocalCluster

    url = place.put("a.mrc", RAW)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        array = xarray_mrc.open_mrc(url, chunks={"z": 4}, storage_options=place.options or None)
        place.counts.forget()
        means = array.mean(("y", "x"), dtype="f8").compute()
        np.testing.assert_allclose(means, PIXELS.mean((1, 2), dtype="f8"), rtol=1e-12)
        assert place.counts.nbytes_sent == PIXELS.nbytes
        workers = client.scheduler_info()["workers"]
        assert len(workers) == 2
        assert len({request.connection for request in place.counts.requests}) >= 2


def test_many_event_loops(opened):
    """asyncio.run makes a new loop each time, as does each cell of some notebooks."""
    array, _ = opened
    for z in range(5):
        found = asyncio.run(array[z].load_async())
        np.testing.assert_array_equal(found, PIXELS[z])


def test_loading_in_a_running_loop(opened):
    """As a user of Jupyter does, where a loop runs in the thread of the cells."""
    array, blocks = opened

    async def cell():
        return array[3].values, blocks[4].values

    for z, found in enumerate(asyncio.run(cell()), 3):
        np.testing.assert_array_equal(found, PIXELS[z])


def test_the_loop_runs_on_while_loading(opened, place):
    array, _ = opened
    place.counts.latency = 0.3

    async def load():
        task = asyncio.ensure_future(array[3].load_async())
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, task.result()

    ticks, found = asyncio.run(load())
    np.testing.assert_array_equal(found, PIXELS[3])
    assert ticks >= 5


AT_THE_END = """
import sys
import xarray_mrc
array = xarray_mrc.open_mrc(sys.argv[1], chunks=None)
array[3].load()
import atexit
atexit.register(lambda: print("read", array[4].values.shape))
"""


@pytest.mark.parametrize("flags", [(), ("-X", "dev")])
def test_the_end_of_a_process(http_place, flags):
    """Nothing hangs, and nothing is said about connections that are still open."""
    import subprocess

    url = http_place.put("a.mrc", RAW)
    program = AT_THE_END.rpartition("import atexit")[0]
    done = subprocess.run(
        [sys.executable, *flags, "-P", "-c", program, url],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "Unclosed" not in done.stderr
    assert "never awaited" not in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_loads_no_client():
    program = """
import sys
import xarray_mrc
for name in xarray_mrc.__all__: getattr(xarray_mrc, name)
print(sorted({"aiohttp", "s3fs", "botocore", "fsspec.asyn"} & sys.modules.keys()))
"""
    assert run_program(program).strip() == "[]"


def test_open_mfdataset(place):
    raws = [volume((4, 5, 6), seed=n) for n in range(3)]
    urls = [place.put(f"{n}.mrc", raw) for n, (raw, _) in enumerate(raws)]
    dataset = xr.open_mfdataset(
        urls, engine="mrc", combine="nested", concat_dim="file", join="override",
        storage_options=place.options or None,
    )  # fmt: skip
    np.testing.assert_array_equal(dataset.data, np.stack([pixels for _, pixels in raws]))
