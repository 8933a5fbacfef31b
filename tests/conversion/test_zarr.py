"""MRC files to Zarr groups: the group gives what the file gives, and appears whole."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import itertools
import json
import os
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from mrcbytes import FORMS, KINDS, lay
from xarray.testing import assert_identical

import xarray_mrc
from xarray_mrc import MrcError, convert
from xarray_mrc.conversion import grid as grids
from xarray_mrc.conversion import group_target as targets
from xarray_mrc.conversion import schedule
from xarray_mrc.conversion import zarr as groups
from xarray_mrc.conversion.group_target import LocalGroupSink
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.tasks import CopyTask, Reader
from xarray_mrc.storage import folder as folders

LAID = lay("int16", lengths=(70, 66, 65), labels=(b"made by hand",), nstart=(3, -2, 5))
CHUNKS = {"z": 16, "y": 32, "x": 32}


def save(folder, laid=LAID, name="a.mrc"):
    packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(os.path.splitext(name)[1], bytes)
    (folder / name).write_bytes(packed(laid.raw))
    return folder / name


def assert_same(group, path, **options):
    """Assert that a group gives what the file gives, to the last bit."""
    found = xr.open_zarr(group)
    expected = xr.open_dataset(path, engine="mrc", **options)
    assert {*found.data_vars} == {*expected.data_vars}
    assert {*found.coords} == {*expected.coords}
    assert_identical(found.load(), expected.load())
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype, name
    assert found["data"].values.tobytes() == expected["data"].values.tobytes()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_every_form(tmp_path, form, kind, zarr_format):
    path = save(tmp_path, lay(form, kind, order=">"))
    convert(path, tmp_path / "a.zarr", zarr_format=zarr_format, chunks={"x": 2, "y": 2})
    assert_same(tmp_path / "a.zarr", path)


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz", "a.mrc.bz2"])
@pytest.mark.parametrize("shards", ["auto", None, {"z": 32, "y": 64, "x": 64}])
def test_uneven_tails(tmp_path, name, shards, monkeypatch):
    monkeypatch.setattr(grids, "REGION_NBYTES", 100_000)
    path = save(tmp_path, name=name)
    convert(path, tmp_path / "a.zarr", chunks=CHUNKS, shards=shards)
    assert_same(tmp_path / "a.zarr", path)
    array = zarr.open_array(tmp_path / "a.zarr" / "data")
    wanted = {"auto": (16, 32, 96), None: None}
    assert array.chunks == (16, 32, 32)
    assert array.shards == (wanted[shards] if shards in ("auto", None) else (32, 64, 64))
    assert array.metadata.dimension_names == ("z", "y", "x")


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_axes_in_any_order(tmp_path, axes):
    for name in ("a.mrc", "a.mrc.gz"):
        path = save(tmp_path, lay(axes=axes, lengths=(9, 7, 5)), name)
        convert(path, tmp_path / "a.zarr", chunks={"z": 2, "y": 3, "x": 4}, overwrite=True)
        assert_same(tmp_path / "a.zarr", path)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", [0.0, -0.0, np.nan, np.inf])
@pytest.mark.parametrize("form", ["float32", "complex64"])
def test_chunks_that_say_nothing(tmp_path, form, fill, zarr_format):
    # Zarr leaves out chunks that hold the fill value only.
    path, head = tmp_path / "a.mrc", lay(form, lengths=(4, 4, 4)).raw[:1024]
    path.write_bytes(head + np.full(128 if form == "complex64" else 64, fill, "<f4").tobytes())
    convert(path, tmp_path / "a.zarr", zarr_format=zarr_format, chunks={"x": 2})
    assert_same(tmp_path / "a.zarr", path)


def fei_records(count):
    records = bytearray(768 * count)
    for i in range(count):
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 << 7 | 1 << 22)
        struct.pack_into("<16s", records, 768 * i + 36, f"Microscope {i}".encode())
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
        struct.pack_into("<d", records, 768 * i + 220, -4e-6)
    return bytes(records)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("sections", [1, 3])
@pytest.mark.parametrize("which", ["common", "all", "raw"])
def test_what_belongs_to_sections(tmp_path, which, sections, zarr_format):
    laid = lay(
        kind="image_stack", lengths=(5, 4, sections), extended=fei_records(sections), exttyp=b"FEI1"
    )
    path = save(tmp_path, laid)
    options = {"extended_header": which, "kind": "image_stack"}
    convert(path, tmp_path / "a.zarr", zarr_format=zarr_format, **options)
    assert_same(tmp_path / "a.zarr", path, **options)
    found = xr.open_zarr(tmp_path / "a.zarr")
    assert found["data"].dims == ("image", "y", "x")
    if which != "raw":
        assert found["tilt_angle"].values.tolist() == [-3, 0, 3][:sections]


def test_options_of_reading(tmp_path):
    path = save(tmp_path, lay("int8"))
    options = {"signed": False, "coords": "index", "kind": "image_stack", "default_name": "counts"}
    convert(path, tmp_path / "a.zarr", **options)
    found = xr.open_zarr(tmp_path / "a.zarr")
    assert_identical(found.load(), xr.open_dataset(path, engine="mrc", **options).load())
    assert found["counts"].dtype == np.uint8


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_another_data_type(tmp_path, name):
    laid = lay("int16", lengths=(7, 6, 5))
    path = save(tmp_path, laid, name)
    for dtype in ("float32", "f8", np.complex64, ">i4"):
        convert(path, tmp_path / "a.zarr", dtype=dtype, overwrite=True, chunks={"z": 2})
        found = xr.open_zarr(tmp_path / "a.zarr")["data"]
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, laid.pixels.astype(dtype))
    with pytest.raises(ValueError, match=r"whole numbers from -128 to 127"):
        convert(path, tmp_path / "b.zarr", dtype="int8")
    with pytest.raises(ValueError, match=r"dtype=<U1, but the data are int16"):
        convert(path, tmp_path / "b.zarr", dtype="U1")
    with pytest.raises(ValueError, match="mode=1 was passed"):
        convert(path, tmp_path / "b.zarr", mode=1)
    path = save(tmp_path, lay("complex64"), name)
    with pytest.raises(ValueError, match="expected a complex type"):
        convert(path, tmp_path / "b.zarr", dtype="float32")
    assert sorted(os.listdir(tmp_path)) == sorted({"a.zarr", name})


def test_bytes_and_file_objects(tmp_path):
    expected = xr.open_dataset(save(tmp_path), engine="mrc")
    convert(LAID.raw, tmp_path / "a.zarr")
    assert_identical(xr.open_zarr(tmp_path / "a.zarr").load(), expected.load())
    with (tmp_path / "a.mrc").open("rb") as file:
        convert(file, tmp_path / "b.zarr")
    assert_identical(xr.open_zarr(tmp_path / "b.zarr").load(), expected.load())


# What is in the folder


def test_format_3(tmp_path):
    convert(save(tmp_path), tmp_path / "a.zarr")
    written = json.loads((tmp_path / "a.zarr" / "data" / "zarr.json").read_text())
    assert written["dimension_names"] == ["z", "y", "x"]
    (sharding,) = written["codecs"]
    assert sharding["name"] == "sharding_indexed"
    (packer,) = (c for c in sharding["configuration"]["codecs"] if c["name"] == "blosc")
    assert packer["configuration"]["cname"] == "zstd"
    assert packer["configuration"]["shuffle"] == "bitshuffle"
    assert packer["configuration"]["typesize"] == 2
    assert packer["configuration"]["blocksize"] == 2**18
    assert json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["consolidated_metadata"]


def test_format_2(tmp_path):
    convert(save(tmp_path), tmp_path / "a.zarr", zarr_format=2)
    written = json.loads((tmp_path / "a.zarr" / "data" / ".zarray").read_text())
    assert written["compressor"]["id"] == "blosc"
    assert (written["compressor"]["cname"], written["compressor"]["shuffle"]) == ("zstd", 2)
    assert written["compressor"]["blocksize"] == 2**18
    attrs = json.loads((tmp_path / "a.zarr" / "data" / ".zattrs").read_text())
    assert attrs["_ARRAY_DIMENSIONS"] == ["z", "y", "x"]
    assert (tmp_path / "a.zarr" / ".zmetadata").is_file()


def test_compression(tmp_path):
    path = save(tmp_path)
    convert(path, tmp_path / "a.zarr", compression=None)
    assert zarr.open_array(tmp_path / "a.zarr" / "data").compressors == ()
    codec = zarr.codecs.GzipCodec(level=1)
    convert(path, tmp_path / "b.zarr", compression=codec, chunks={"z": np.int64(4)})
    assert zarr.open_array(tmp_path / "b.zarr" / "data").compressors == (codec,)
    for name in ("a.zarr", "b.zarr"):
        assert_same(tmp_path / name, path)


# Whole, or not at all


def test_what_is_there(tmp_path):
    path = save(tmp_path)
    convert(path, tmp_path / "a.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert(path, tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "thesis.tex").write_text("all I have")
    (tmp_path / "c.zarr").write_text("a file")
    for name in ("b.zarr", "c.zarr"):
        with pytest.raises(OSError, match=r"not a Zarr group|expected a (folder|directory)"):
            convert(path, tmp_path / name, overwrite=True)
    assert (tmp_path / "b.zarr" / "thesis.tex").read_text() == "all I have"
    other = save(tmp_path, lay(lengths=(4, 4, 4)), "b.mrc")
    convert(other, tmp_path / "a.zarr", overwrite=True)
    assert_same(tmp_path / "a.zarr", other)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_a_file_in_the_group_that_it_would_replace(tmp_path):
    group = tmp_path / "a.zarr"
    convert(save(tmp_path), group)
    (tmp_path / "link").symlink_to(group)
    path = save(group)
    for dst in (group, tmp_path / "link"):
        with pytest.raises(ValueError, match="would be lost"):
            convert(path, dst, overwrite=True, format="zarr")
    assert path.read_bytes() == LAID.raw
    (tmp_path / "a.zarr.mrc").write_bytes(LAID.raw)
    convert(tmp_path / "a.zarr.mrc", group, overwrite=True)


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_an_error_leaves_what_was_there(tmp_path, name, monkeypatch):
    monkeypatch.setattr(grids, "REGION_NBYTES", 100_000)
    convert(save(tmp_path), tmp_path / "a.zarr")
    path = save(tmp_path, LAID, name)
    if name == "a.mrc":
        write = schedule.write_region

        def fail(task, reader, writer):
            if task.region[0].start > 32:
                raise KeyError("no more")
            write(task, reader, writer)

        monkeypatch.setattr(schedule, "write_region", fail)
        wanted: type[Exception] = KeyError
    else:
        path.write_bytes(path.read_bytes()[:-3000])
        wanted = MrcError
    with pytest.raises(wanted):
        convert(path, tmp_path / "a.zarr", overwrite=True, chunks=CHUNKS)
    monkeypatch.undo()
    assert_same(tmp_path / "a.zarr", save(tmp_path))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def slow_disk(monkeypatch, fails):
    """Let chunks take a while, and some fail; return the keys of those on their way."""
    put, on_their_way = targets.write_file, []

    def write(folder, key, data):
        if fails(key):
            raise OSError("full")
        on_their_way.append(key)
        try:
            time.sleep(0.05 if key[-1].isdigit() else 0)
            put(folder, key, data)
        finally:
            on_their_way.remove(key)

    monkeypatch.setattr(targets, "write_file", write)
    return on_their_way


# Checksums of chunks are left to Zarr; usual codecs are applied by this package.
CODECS = {2: "infer", 3: "infer", "3 by Zarr": zarr.codecs.Crc32cCodec()}


@pytest.mark.parametrize("pipeline", ["BatchedCodecPipeline", "FusedCodecPipeline"])
@pytest.mark.parametrize("codec", CODECS)
def test_nothing_is_written_when_the_folder_is_removed(tmp_path, codec, pipeline, monkeypatch):
    # As on a full disk, where the first chunk fails while others are on their way.
    if not hasattr(zarr.core.codec_pipeline, pipeline):
        pytest.skip("zarr before 3.3 has no such pipeline")
    on_their_way = slow_disk(monkeypatch, lambda key: key.endswith(("c/0/0/0", "0.0.0")))
    path = save(tmp_path)
    options = {"zarr_format": 2 if codec == 2 else 3, "compression": CODECS[codec]}
    with (
        zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{pipeline}"}),
        pytest.raises(OSError, match="full"),
    ):
        convert(path, tmp_path / "a.zarr", chunks=CHUNKS, shards=None, **options)
    assert on_their_way == []
    time.sleep(0.5)
    assert os.listdir(tmp_path) == ["a.mrc"]


def writer_of(group, part=None):
    metadata = zarr.open_array(group / "data").metadata
    return GroupWriter(LocalGroupSink(str(group), str(part or group)), {"data": metadata})


def test_a_task_that_comes_too_late_leaves_nothing(tmp_path):
    # As on a cluster whose client was interrupted: its folder is removed while a worker reads.
    part = tmp_path / "a.zarr"
    convert(save(tmp_path), part, chunks=CHUNKS, shards=CHUNKS)
    writer = writer_of(part)

    class Late:
        def read(self, region):
            folders.remove(str(part), str(tmp_path / "other"))
            return np.ones((16, 32, 32), "i2")

    region = (slice(0, 16), slice(0, 32), slice(0, 32))
    with pytest.raises(MrcError, match="removed or replaced"):
        schedule.write_region(CopyTask("data", region), Late(), writer)
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_a_task_that_fails_waits_for_what_it_began(tmp_path, monkeypatch):
    codec = zarr.codecs.Crc32cCodec()
    convert(save(tmp_path), tmp_path / "a.zarr", chunks=CHUNKS, shards=None, compression=codec)
    on_their_way = slow_disk(monkeypatch, lambda key: key.endswith("0/0/0"))
    source = xr.open_dataset(tmp_path / "a.mrc", engine="mrc")["data"].variable
    whole = tuple(slice(0, length) for length in source.shape)
    with pytest.raises(OSError, match="full"):
        schedule.write_region(
            CopyTask("data", whole), Reader(source, source.dtype), writer_of(tmp_path / "a.zarr")
        )
    assert on_their_way == []


def test_an_error_does_not_wait_for_the_tasks_of_others(tmp_path, monkeypatch):
    # A program of the user's own may read or write with Zarr for hours on another thread.
    started, stop = threading.Event(), threading.Event()

    async def endless():
        started.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(zarr.core.sync.sync, endless())
        assert started.wait(10)
        path = save(tmp_path)
        slow_disk(monkeypatch, lambda key: "c/" in key)
        failed = pool.submit(convert, path, tmp_path / "a.zarr", chunks=CHUNKS)
        try:
            with pytest.raises(OSError, match="full"):
                failed.result(timeout=30)
        finally:
            stop.set()
    assert os.listdir(tmp_path) == ["a.mrc"]


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_in_a_notebook(tmp_path, name):
    # Where an event loop runs on the thread that calls.
    path = save(tmp_path, LAID, name)

    async def cell():
        with dask.config.set(scheduler="synchronous"):
            convert(path, tmp_path / "a.zarr", chunks=CHUNKS)

    asyncio.run(cell())
    assert_same(tmp_path / "a.zarr", path)


def test_a_worker_on_another_file_system(tmp_path):
    convert(save(tmp_path), tmp_path / "a.zarr")
    source = xr.open_dataset(tmp_path / "a.mrc", engine="mrc")["data"].variable
    task = CopyTask("data", tuple(slice(0, length) for length in source.shape))
    writer = writer_of(tmp_path / "a.zarr", tmp_path / "none")
    with pytest.raises(MrcError, match="not shared"):
        schedule.write_region(task, Reader(source, source.dtype), writer)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_schedulers(tmp_path, scheduler):
    path = save(tmp_path)
    with dask.config.set(scheduler=scheduler):
        convert(path, tmp_path / "a.zarr", chunks=CHUNKS, shards=CHUNKS)
    assert_same(tmp_path / "a.zarr", path)


@pytest.mark.serial
def test_a_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    path = save(tmp_path)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        convert(path, tmp_path / "a.zarr", chunks=CHUNKS, shards=CHUNKS)
        done = cluster.scheduler.task_prefixes["write_region"].state_counts
    assert done["memory"] == 5 * 3 * 3  # a task for each shard
    assert_same(tmp_path / "a.zarr", path)


# What does not fit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zarr_format": 4}, "expected 2 or 3"),
        ({"zarr_format": 2, "shards": {"z": 64}}, "format 2 has none"),
        ({"compression": "gzip"}, "expected 'infer', None or a compressor"),
        ({"compression": 7}, "expected 'infer', None or a compressor"),
        ({"compression": {"name": "none"}}, "expected 'infer', None or a compressor"),
        ({"compression": zarr.codecs.GzipCodec(), "zarr_format": 2}, "of numcodecs"),
        ({"chunks": {"volume": 3}}, "some of z, y, x"),
        ({"chunks": {"z": 0}}, "positive lengths"),
        ({"chunks": {"z": 2.5}}, "positive lengths"),
        ({"chunks": {"z": "auto"}}, "positive lengths"),
        ({"chunks": (4, 4, 4)}, "expected a dict"),
        ({"shards": True}, "expected a dict"),
        ({"default_name": "maps/a"}, "another default_name"),
        ({"chunks": {"z": 3}, "shards": {"z": 4}}, "multiple of the chunk's 3"),
        ({"format": "tiff"}, "expected 'mrc', 'zarr' or 'ome-zarr'"),
        ({"drop_variables": "data"}, "write one of them"),
    ],
)
def test_what_does_not_fit(tmp_path, arguments, message):
    path = save(tmp_path)
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / "a.zarr", **arguments)
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_an_array_is_no_group(tmp_path):
    convert(save(tmp_path), tmp_path / "a.zarr")
    with pytest.raises(FileExistsError, match="not a Zarr group"):
        convert(tmp_path / "a.mrc", tmp_path / "a.zarr" / "data", format="zarr", overwrite=True)
    with pytest.raises(IsADirectoryError, match=r"Make an xarray\.DataArray .* single Zarr array"):
        convert(tmp_path / "a.zarr" / "data", tmp_path / "b.mrc")
    assert_same(tmp_path / "a.zarr", tmp_path / "a.mrc")


def test_a_group_is_converted_to_a_file_only(tmp_path):
    convert(save(tmp_path), tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"use xarray\.open_zarr"):
        convert(tmp_path / "a.zarr", tmp_path / "b.zarr")
    with pytest.raises(OSError, match="cannot be written by HTTP"):
        convert(tmp_path / "a.mrc", "https://127.0.0.1:1/a.zarr")
    with pytest.raises(MrcError, match="nowhere:// is not supported"):
        convert(tmp_path / "a.mrc", "nowhere://bucket/a.zarr")


def test_modules_can_be_imported_beside_the_function_of_their_package():
    import xarray_mrc.conversion.zarr as module

    assert module is groups
    assert xarray_mrc.convert is convert
