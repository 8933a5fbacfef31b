"""Whatever dies on the way: the old file or the new one, whole, and nothing that is in the way."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import dask
import mrcfile
import numpy as np
import pytest
import writers
import xarray as xr
from waiting import wait_for
from writers import die_once, ramp, start

from xarray_mrc import open_mrc, read_header, statistics, to_mrc
from xarray_mrc.errors import MrcError

CAN_KILL = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")


def is_alive(process):
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def is_replaced(path, inode, process):
    return path.stat().st_ino != inode or process.poll() is not None


@pytest.fixture
def killer(tmp_path):
    """Give a function that starts a writer, waits for something, and kills it."""
    server = start("forks", tmp_path / "a.mrc")

    def run(name, wait):
        server.stdin.write(f"{name}\n")
        server.stdin.flush()
        child = int(server.stdout.readline())
        wait()
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not is_alive(child), pause=0.001)

    yield run
    server.communicate()


def assert_stated(path):
    found, header = statistics(path), read_header(path)
    fields = {name: np.float32(value) for name, value in found.fields().items()}
    assert {name: getattr(header, name) for name in fields} == fields


def assert_whole(path):
    """Every section is what its writer made, of one and the same turn."""
    data = open_mrc(path, chunks=None).values
    number = data[0, 0, 0]
    expected = np.repeat(np.arange(24, dtype="f4") // 4 * 4 + number, 256 * 256)
    assert data.tobytes() == expected.tobytes()
    assert_stated(path)


@CAN_KILL
@pytest.mark.serial
def test_kill_with_threads(tmp_path):
    path = tmp_path / "a.mrc"
    to_mrc(ramp((24, 256, 256), (4, 100, 256)), path)
    moments = random.Random(1)
    growing = 0
    for _ in range(5):
        process = start("overwrite", path)
        wait_for(partial(is_replaced, path, path.stat().st_ino, process))
        time.sleep(moments.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        growing += len(os.listdir(tmp_path)) > 1
        assert_whole(path)
        to_mrc(ramp((24, 256, 256), (4, 100, 256)), path, overwrite=True)
        assert os.listdir(tmp_path) == ["a.mrc"]
    assert growing


@CAN_KILL
@pytest.mark.serial
def test_kill_at_thirty_moments(tmp_path, killer):
    path = tmp_path / "a.mrc"
    to_mrc(ramp((24, 256, 256), (4, 100, 256)), path)
    moments = random.Random(2)
    growing = 0
    for _ in range(30):
        killer("overwrite_alone", lambda: time.sleep(moments.random() * 0.15))
        growing += len(os.listdir(tmp_path)) > 1
        assert_whole(path)
        to_mrc(ramp((24, 256, 256), (4, 100, 256)), path, overwrite=True)
        assert os.listdir(tmp_path) == ["a.mrc"]
    assert growing >= 5


@CAN_KILL
def test_pieces_of_a_dead_writer_are_cleared(tmp_path, killer):
    def has_pieces():
        return any(".part." in str(path) and path.is_file() for path in tmp_path.rglob("*"))

    killer("pack_slowly", lambda: wait_for(has_pieces))
    assert not (tmp_path / "a.mrc").exists()
    assert len(os.listdir(tmp_path)) >= 2
    to_mrc(ramp((24, 256, 256), (4, 100, 256)), tmp_path / "a.mrc", compression="gzip")
    assert os.listdir(tmp_path) == ["a.mrc"]
    assert_whole(tmp_path / "a.mrc")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_full_disk(tmp_path, suffix):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("tmpfs can't be mounted here")
    try:
        path = folder / f"a.mrc{suffix}"
        path.write_bytes(b"old")
        noise = np.random.default_rng(0).normal(size=(32, 256, 256)).astype("f4")
        array = xr.DataArray(noise, dims=("z", "y", "x")).chunk({"z": 4})
        with dask.config.set(scheduler="synchronous"), pytest.raises(OSError, match="space"):
            to_mrc(array, path, overwrite=True)
        assert path.read_bytes() == b"old"
        assert os.listdir(folder) == [path.name]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("fails", ["a.st", "a.st.mdoc"])
def test_a_file_and_its_sidecar_are_replaced_together(tmp_path, monkeypatch, fails):
    """The old file with the new angles would be read without a word."""

    def stack(value, angles):
        array = xr.DataArray(np.full((3, 8, 8), value, "f4"), dims=("image", "y", "x"))
        return array.assign_coords(tilt_angle=("image", angles))

    path, replace = tmp_path / "a.st", os.replace
    to_mrc(stack(1, [-3.0, 0.0, 3.0]), path, voxel_size=1.0, sidecar="mdoc")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(source, target):
        if os.path.basename(target) == fails:
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        to_mrc(stack(2, [10.0, 20.0, 30.0]), path, voxel_size=1.0, sidecar="mdoc", overwrite=True)
    found = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    if fails == "a.st":
        assert found == before
    else:  # the last step of all
        assert found.keys() == before.keys()
        assert found["a.st"] != before["a.st"]


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "60s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="1GiB", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.upload_file(writers.__file__)
        yield client


@pytest.mark.serial
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_workers_of_a_cluster(tmp_path, client, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    to_mrc(ramp((24, 256, 256), (4, 100, 256)), path)
    assert_whole(path)
    to_mrc(open_mrc(path) + np.float32(1), path, overwrite=True)
    assert_whole(path)
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.serial
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_progress_of_a_cluster(tmp_path, client, capsys):
    import distributed

    later = to_mrc(ramp((24, 256, 256), (4, 100, 256)), tmp_path / "a.mrc", compute=False)
    future = client.compute(later)
    distributed.progress(future, notebook=False)
    future.result()
    assert "Completed" in capsys.readouterr().out
    assert_whole(tmp_path / "a.mrc")


@pytest.mark.serial
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_worker_that_dies(tmp_path, client, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    array = ramp((24, 256, 256), (4, 100, 256))
    to_mrc(array.copy(data=array.data.map_blocks(die_once, marker=str(tmp_path / "died"))), path)
    assert (tmp_path / "died").exists()
    assert_whole(path)


@pytest.mark.serial
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_that_do_not_see_the_file(tmp_path, client):
    array = ramp((24, 256, 256), (4, 100, 256))
    moved = array.copy(data=array.data.map_blocks(hide, folder=str(tmp_path)))
    with pytest.raises(MrcError, match="not shared"):
        to_mrc(moved, tmp_path / "a.mrc")
    assert not (tmp_path / "a.mrc").exists()


def hide(block, folder=None):
    for part in Path(folder).glob(".*.part"):
        part.unlink(missing_ok=True)
    return block


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource there")
@pytest.mark.serial
def test_memory_is_bounded(tmp_path):
    process = start("limited", tmp_path / "a.mrc", 256, 800 * 2**20)
    peak = int(process.communicate()[0])
    assert process.returncode == 0
    assert peak < 700 * 2**20
    assert (tmp_path / "a.mrc").stat().st_size == 1024 + 2**30
    assert read_header(tmp_path / "a.mrc").dmax == 240


@pytest.mark.serial
def test_past_four_gib(tmp_path):
    """A file with holes, of which the last sections are written."""
    path = tmp_path / "a.mrc"
    array = xr.DataArray(
        dask.array.zeros((1100, 1024, 1024), dtype="f4", chunks=(16, -1, -1)), dims=("z", "y", "x")
    )
    later = to_mrc(array, path, compute=False)
    assert later is not None
    part = array[:3].copy(data=dask.array.ones((3, 1024, 1024), dtype="f4", chunks=(1, 500, 500)))
    to_mrc(part, path, region={"z": slice(1097, 1100)})
    assert path.stat().st_size == 1024 + 1100 * 4 * 2**20
    with mrcfile.mmap(path) as found:
        assert (found.data[1097:] == 1).all()
        assert (found.data[1096] == 0).all()
