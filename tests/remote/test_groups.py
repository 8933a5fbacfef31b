"""Zarr groups at URLs: written and read on threads and by workers that share no file system."""

import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from mrcbytes import lay
from relay import run_relay
from s3_server import BUCKET, SECRET
from waiting import wait_for
from xarray.testing import assert_identical

from xarray_mrc import MrcError, convert, open_mrc, to_ome_zarr
from xarray_mrc.conversion import group_target, schedule
from xarray_mrc.conversion.url_group import UrlGroupSink
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.remote_folder import RemoteFolder

pytestmark = pytest.mark.servers

LAID = lay("int16", lengths=(70, 66, 65), labels=(b"made by hand",), nstart=(3, -2, 5))
CHUNKS = {"z": 16, "y": 32, "x": 32}
SLABS = {"z": 16, "y": 66, "x": 65}
URL = f"s3://{BUCKET}/maps/a.zarr"


def direct(s3):
    """Return options for the server itself: the proxy that counts does not take uploads."""
    return s3.options | {"endpoint_url": s3.client.meta.endpoint_url}


def names(s3, prefix=""):
    found = s3.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [item["Key"] for item in found]


@pytest.fixture
def bucket(s3):
    """The server with an empty bucket; no upload may be left over."""
    for name in names(s3):
        s3.client.delete_object(Bucket=BUCKET, Key=name)
    yield s3
    assert s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.fixture
def path(tmp_path):
    """An MRC file on this computer."""
    (tmp_path / "a.mrc").write_bytes(LAID.raw)
    return tmp_path / "a.mrc"


def stored(s3, prefix="maps/a.zarr/"):
    """Return all objects of a group by key."""
    return {
        name.removeprefix(prefix): s3.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        for name in names(s3, prefix)
    }


def files(group):
    return {str(p.relative_to(group)): p.read_bytes() for p in group.rglob("*") if p.is_file()}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_the_same_files_as_in_a_folder(bucket, path, tmp_path, name, zarr_format):
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(LAID.raw))
    options = {"chunks": CHUNKS, "zarr_format": zarr_format}
    convert(tmp_path / name, tmp_path / "a.zarr", **options)
    convert(tmp_path / name, URL, storage_options=direct(bucket), **options)
    assert stored(bucket) == files(tmp_path / "a.zarr")
    assert_identical(
        xr.open_zarr(URL, storage_options=direct(bucket)).load(),
        xr.open_dataset(path, engine="mrc").load(),
    )


def test_a_pyramid(bucket, path, tmp_path):
    options, target = direct(bucket), f"s3://{BUCKET}/maps/a.ome.zarr"
    convert(path, tmp_path / "a.ome.zarr")
    convert(path, target, storage_options=options)
    assert stored(bucket, "maps/a.ome.zarr/") == files(tmp_path / "a.ome.zarr")
    to_ome_zarr(open_mrc(path), target, overwrite=True, storage_options=options)
    assert stored(bucket, "maps/a.ome.zarr/") == files(tmp_path / "a.ome.zarr")


def test_from_a_url_to_a_url_and_back(bucket, path, tmp_path):
    options = direct(bucket)
    source = bucket.put("b.mrc", LAID.raw)
    both = {"storage_options": options, "source_storage_options": options}
    convert(source, URL, **both)
    convert(URL, f"s3://{BUCKET}/c.mrc", **both)
    convert(URL + "/", tmp_path / "c.mrc", source_storage_options=options)
    found = bucket.client.get_object(Bucket=BUCKET, Key="c.mrc")["Body"].read()
    assert found == (tmp_path / "c.mrc").read_bytes()
    assert found[1024:] == LAID.raw[1024:]
    convert(path, f"s3://{BUCKET}/d.mrc.gz", storage_options=options)
    packed = bucket.client.get_object(Bucket=BUCKET, Key="d.mrc.gz")["Body"].read()
    assert gzip.decompress(packed) == LAID.raw
    with pytest.raises(ValueError, match="would be lost with it"):
        convert(f"{URL}/a.mrc", URL, overwrite=True, **both)


def test_what_is_there(bucket, path, tmp_path):
    options = direct(bucket)
    beside = [bucket.put(name, b"mine") for name in ("maps/a.zarr2/b", "maps/a.zar")]
    convert(path, URL, storage_options=options, shards=None, chunks=CHUNKS)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert(path, URL, storage_options=options)
    convert(path, URL, storage_options=options, overwrite=True, zarr_format=2)
    convert(path, tmp_path / "a.zarr", zarr_format=2)
    assert stored(bucket) == files(tmp_path / "a.zarr")  # no chunk of the old one is left
    thesis = bucket.put("maps/b.zarr/thesis.tex", b"all I have")
    with pytest.raises(FileExistsError, match="not a Zarr group"):
        convert(path, f"s3://{BUCKET}/maps/b.zarr", storage_options=options, overwrite=True)
    left = names(bucket)
    assert all(url.removeprefix(f"s3://{BUCKET}/") in left for url in [*beside, thesis])


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
@pytest.mark.parametrize("pipeline", ["BatchedCodecPipeline", "FusedCodecPipeline"])
def test_a_failure_leaves_no_object(bucket, path, tmp_path, name, pipeline, monkeypatch):
    if not hasattr(zarr.core.codec_pipeline, pipeline):
        pytest.skip("zarr before 3.3 has no such pipeline")
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(LAID.raw))
    put, seen = RemoteFolder.put, []

    def fail(self, key, data):
        if key.endswith("c/3/1/1"):
            raise OSError("the connection is lost")
        time.sleep(0.02)
        put(self, key, data)
        seen.append(key)
        if key.startswith("data/c"):  # what is not complete is no group
            assert not group_target.is_group(URL, self.options)

    monkeypatch.setattr(RemoteFolder, "put", fail)
    with (
        zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{pipeline}"}),
        pytest.raises(OSError, match="connection is lost"),
    ):
        convert(tmp_path / name, URL, storage_options=direct(bucket), shards=None, chunks=CHUNKS)
    assert len(seen) > 3
    time.sleep(0.3)
    assert names(bucket) == []


def test_a_connection_that_breaks(bucket, path, monkeypatch):
    """On real sockets, each time that one shard is sent: all attempts fail."""
    port = int(bucket.client.meta.endpoint_url.rpartition(":")[2])
    with run_relay(port) as relay:
        relay.breaks_at = b"PUT /maps/maps/a.zarr/data/c/3/0/0 "
        options = bucket.options | {"endpoint_url": f"http://127.0.0.1:{relay.port}"}
        options["config_kwargs"] = {"retries": {"max_attempts": 1}}
        monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)
        with pytest.raises(OSError, match=r"a\.zarr/data/c/3/0/0: the storage refused") as caught:
            convert(path, URL, storage_options=options, shards=SLABS, chunks=SLABS)
    assert relay.broken > 1
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(UrlGroupSink(RemoteFolder(URL, StorageOptions(options)), "mark"))
    assert names(bucket) == []


def test_a_server_that_is_lost_at_the_end(bucket, path, monkeypatch):
    put = RemoteFolder.put

    def fail(self, key, data):
        put(self, key, data)
        if key == "zarr.json":
            raise OSError("no answer came")

    monkeypatch.setattr(RemoteFolder, "put", fail)
    with pytest.raises(OSError, match="no answer"):
        convert(path, URL, storage_options=direct(bucket))
    assert names(bucket) == []


def test_a_task_that_comes_too_late_removes_what_it_wrote(bucket, path, monkeypatch):
    # As a worker that goes on while the client has failed and cleared up.
    put, write = RemoteFolder.put, schedule.write_region
    cleared, late = threading.Event(), []

    def slow(self, key, data):
        if key.startswith("data/c/0"):
            assert cleared.wait(20)
        put(self, key, data)

    def leave(task, reader, writer):
        def work():
            with contextlib.suppress(MrcError):
                write(task, reader, writer)

        late.append(threading.Thread(target=work))
        late[-1].start()
        time.sleep(0.5)
        raise KeyError("the client fails")

    monkeypatch.setattr(RemoteFolder, "put", slow)
    monkeypatch.setattr(schedule, "write_region", leave)
    with pytest.raises(KeyError):
        convert(path, URL, storage_options=direct(bucket))
    cleared.set()
    for thread in late:
        thread.join(20)
    assert late
    assert names(bucket) == []


def test_what_a_killed_conversion_left(bucket, path):
    options = direct(bucket)
    bucket.put("maps/a.zarr/data/c/0/0/0", b"half")
    bucket.put("maps/a.zarr/.xarray_mrc-draft/0123", b"")
    with pytest.raises(FileExistsError, match="not complete"):
        convert(path, URL, storage_options=options)
    convert(path, URL, storage_options=options, overwrite=True)
    assert ".xarray_mrc-draft/0123" not in stored(bucket)
    assert_identical(
        xr.open_zarr(URL, storage_options=options).load(),
        xr.open_dataset(path, engine="mrc").load(),
    )


def test_two_at_a_time_are_refused(bucket, path, monkeypatch):
    options, put, errors = direct(bucket), RemoteFolder.put, []

    def meanwhile(self, key, data):
        put(self, key, data)
        if key.startswith(".xarray_mrc-draft") and not errors:
            errors.append(None)
            with pytest.raises(FileExistsError):
                convert(path, URL, storage_options=options)

    monkeypatch.setattr(RemoteFolder, "put", meanwhile)
    convert(path, URL, storage_options=options)
    assert errors
    assert_identical(
        xr.open_zarr(URL, storage_options=options).load(),
        xr.open_dataset(path, engine="mrc").load(),
    )


def test_errors_hold_no_secrets(bucket, path):
    options = direct(bucket)
    for wrong in (options | {"secret": SECRET + "x", "key": "x"}, options):
        with pytest.raises(OSError, match=r"s3://nowhere/a\.zarr") as caught:
            convert(path, "s3://nowhere/a.zarr", storage_options=wrong)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(TypeError, match="is for the target"):
        convert(path, path.with_suffix(".zarr"), storage_options=options)


def test_a_group_on_a_web_server(nginx, path, tmp_path):
    convert(path, nginx.files / "g.zarr")
    convert(f"{nginx.ranges}/g.zarr", tmp_path / "b.mrc")
    assert (tmp_path / "b.mrc").read_bytes()[1024:] == LAID.raw[1024:]
    with pytest.raises(FileNotFoundError, match="no such file"):
        convert(f"{nginx.ranges}/none.zarr", tmp_path / "c.mrc")
    with pytest.raises(ValueError, match="has a query"):
        convert(f"{nginx.ranges}/g.zarr?token=secret", tmp_path / "c.mrc")


def test_in_memory(path):
    convert(path, "memory://maps/a.zarr", chunks=CHUNKS)
    found = fsspec.filesystem("memory")
    try:
        local = path.with_suffix(".zarr")
        convert(path, local, chunks=CHUNKS)
        start = "/maps/a.zarr/"
        assert {n.removeprefix(start): found.cat_file(n) for n in found.find("/maps/a.zarr")} == (
            files(local)
        )
        with pytest.raises(FileExistsError):
            convert(path, "memory://maps/a.zarr")
        convert(path, "memory://maps/a.zarr", chunks=CHUNKS, overwrite=True)
    finally:
        found.rm("/maps", recursive=True)


@pytest.fixture
def memory():
    """The file system of fsspec in memory, which is empty."""
    found = fsspec.filesystem("memory")
    yield found
    for name in found.find("/"):
        found.rm_file(name)


def test_a_late_task_makes_no_hole_in_another_group(memory, path, monkeypatch):
    """The first conversion fails; one of its tasks ends while the second one writes."""
    url, put, write = "memory://maps/a.zarr", RemoteFolder.put, schedule.write_region
    begun, ended, late = threading.Event(), threading.Event(), []

    def slow(self, key, data):
        if threading.current_thread() in late:
            assert begun.wait(20)
            put(self, key, data)
            return
        put(self, key, data)
        if key == "data/c/0/0/0":
            begun.set()
            late[0].join(20)
            ended.set()

    def leave(task, reader, writer):
        def work():
            with pytest.raises(MrcError, match="too late"):
                write(task, reader, writer)

        if not late:
            late.append(threading.Thread(target=work))
            late[0].start()
            time.sleep(0.5)
        raise KeyError("the client fails")

    monkeypatch.setattr(RemoteFolder, "put", slow)
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "write_region", leave)
        with pytest.raises(KeyError):
            convert(path, url)
    with pytest.raises(MrcError, match="given up"):
        convert(path, url)
    assert ended.is_set()
    assert memory.find("/maps") == []
    convert(path, url)
    np.testing.assert_array_equal(xr.open_zarr(url)["data"], LAID.pixels)


def test_brackets_in_a_name_are_no_pattern(memory, path):
    memory.pipe("/maps/run1.zarr/thesis.tex", b"all I have")
    with pytest.raises(ValueError, match="whole numbers"):
        convert(path, "memory://maps/run[1].zarr", dtype="uint8")
    assert memory.find("/maps") == ["/maps/run1.zarr/thesis.tex"]
    assert not memory.isdir("/maps/run[1].zarr")


def test_a_pyramid_does_not_replace_what_it_reads(memory, path, tmp_path):
    convert(path, "memory://maps/a.zarr")
    convert(path, tmp_path / "b.zarr")
    inside = tmp_path / "b.zarr" / "b.mrc"
    inside.write_bytes(LAID.raw)
    for source, target in (
        (xr.open_zarr("memory://maps/a.zarr"), "memory://maps/a.zarr/"),
        (open_mrc(inside), inside.parent),
        (open_mrc(inside, chunks={"z": 9}) * 2.0, inside.parent),
    ):
        with pytest.raises(ValueError, match="would be lost with it"):
            to_ome_zarr(source, target, overwrite=True)
    assert inside.read_bytes() == LAID.raw
    np.testing.assert_array_equal(xr.open_zarr("memory://maps/a.zarr")["data"], LAID.pixels)


def test_nor_a_group_that_an_expression_reads(bucket, path):
    options = {"storage_options": direct(bucket)}
    convert(path, URL, chunks=CHUNKS, shards=CHUNKS, **options)
    before = stored(bucket)
    for chunks in ({}, None):
        array = xr.open_zarr(URL, chunks=chunks, **options)["data"]
        with pytest.raises(ValueError, match="would be lost with it"):
            to_ome_zarr(
                array[1:] * 2 if chunks is not None else array, URL, overwrite=True, **options
            )
    assert stored(bucket) == before


PART = """
import sys, json, xarray_mrc
src, dst, which, options = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
xarray_mrc.convert(src, dst, partition=which, **options)
"""


def test_in_parts(bucket, path, tmp_path):
    """As by the tasks of an array job on nodes that share no file system."""
    options = direct(bucket)
    source = bucket.put("b.mrc", LAID.raw)
    both = {"storage_options": options, "source_storage_options": options}
    both |= {"chunks": SLABS, "shards": SLABS}
    convert(path, tmp_path / "a.zarr", chunks=SLABS, shards=SLABS)
    with pytest.raises(FileNotFoundError, match="prepare"):
        convert(source, URL, partition=(0, 3), **both)
    for call in ("prepare", (1, 3), "prepare"):
        convert(source, URL, partition=call, **both)
    parts = [
        subprocess.Popen([sys.executable, "-c", PART, source, URL, f"[{k}, 3]", json.dumps(both)])
        for k in (0, 1)
    ]
    assert [part.wait(120) for part in parts] == [0, 0]
    assert not group_target.is_group(URL, StorageOptions(options))
    with pytest.raises(ValueError, match=r"of 3 parts \(from 0\), 2 are not done"):
        convert(source, URL, partition="finish", **both)
    with pytest.raises(ValueError, match="prepared from other options"):
        convert(source, URL, partition="prepare", dtype="f4", **both)
    with pytest.raises(FileExistsError, match="not complete"):
        convert(source, URL, **both)
    for call in ((2, 3), "finish", "finish", (0, 3)):
        convert(source, URL, partition=call, **both)
    assert stored(bucket) == files(tmp_path / "a.zarr")
    # An existing group is removed when a new one is prepared.
    convert(source, URL, partition="prepare", overwrite=True, dtype="f4", **both)
    assert [name.rpartition("/")[2] for name in names(bucket, "maps/")] == ["plan.json"]
    convert(source, URL, partition="prepare", overwrite=True, **both)
    for call in ((0, 1), "finish"):
        convert(source, URL, partition=call, overwrite=True, **both)
    assert stored(bucket) == files(tmp_path / "a.zarr")


# Workers that share no file system


@pytest.fixture(scope="module")
def idle_cluster():
    """Two workers in processes of their own, which no test uses by itself."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def cluster(idle_cluster):
    """The client of two workers, which run what dask computes."""
    with idle_cluster.as_current():
        yield idle_cluster


def test_workers_write_and_read(bucket, path, tmp_path, cluster):
    options = direct(bucket)
    both = {"storage_options": options, "source_storage_options": options}
    source = bucket.put("b.mrc", LAID.raw)
    convert(source, URL, chunks=SLABS, shards=SLABS, **both)
    convert(path, tmp_path / "a.zarr", chunks=SLABS, shards=SLABS)
    assert stored(bucket) == files(tmp_path / "a.zarr")
    convert(URL, f"s3://{BUCKET}/c.mrc", **both)
    found = bucket.client.get_object(Bucket=BUCKET, Key="c.mrc")["Body"].read()
    assert found[1024:] == LAID.raw[1024:]
    pyramid = f"s3://{BUCKET}/maps/a.ome.zarr"
    to_ome_zarr(
        open_mrc(source, chunks=SLABS, storage_options=options), pyramid, storage_options=options
    )
    to_ome_zarr(open_mrc(path), tmp_path / "a.ome.zarr")
    found, expected = stored(bucket, "maps/a.ome.zarr/"), files(tmp_path / "a.ome.zarr")
    assert found == expected
    with pytest.raises(MrcError, match="pass a URL that all workers reach"):
        convert(source, "memory://maps/a.zarr", source_storage_options=options)
    assert fsspec.filesystem("memory").find("/maps") == []


def test_a_killed_worker_and_a_failed_task(bucket, path, cluster):
    options = direct(bucket)
    both = {"storage_options": options, "source_storage_options": options}
    source = bucket.put("b.mrc", LAID.raw)
    victim = next(iter(cluster.run(os.getpid).values()))

    def kill():
        wait_for(lambda: names(bucket, "maps/a.zarr/data/c/"))
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    convert(source, URL, chunks={"z": 7, "y": 66, "x": 65}, shards={"z": 7}, **both)
    killer.join()
    assert_identical(
        xr.open_zarr(URL, storage_options=options).load(),
        xr.open_dataset(path, engine="mrc").load(),
    )
    with pytest.raises(ValueError, match="whole numbers"):
        convert(source, URL, dtype="uint8", overwrite=True, chunks=SLABS, shards=SLABS, **both)
    assert names(bucket, "maps/") == []


def test_a_file_object_with_a_cluster(bucket, path, cluster):
    convert(io.BytesIO(LAID.raw), URL, storage_options=direct(bucket))
    convert(path, path.with_suffix(".zarr"))
    assert stored(bucket) == files(path.with_suffix(".zarr"))
    np.testing.assert_array_equal(
        xr.open_zarr(URL, storage_options=direct(bucket))["data"], LAID.pixels
    )
