"""Groups in parts: each part in a process of its own, in any order, repeated, killed and redone."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay
from programs import run_program
from waiting import wait_for
from xarray.testing import assert_identical

from xarray_mrc import convert
from xarray_mrc.conversion import group_draft, partition
from xarray_mrc.storage import folder
from xarray_mrc.storage.local_sink import PART_SUFFIX

LAID = lay("int16", lengths=(70, 66, 65), labels=(b"made by hand",), nstart=(3, -2, 5))
CHUNKS = {"z": 4, "y": 32, "x": 32}
SHARDS = {"z": 4, "y": 64, "x": 96}  # 17 times 2 times 1 of them
OPTIONS = {"chunks": CHUNKS, "shards": SHARDS}


def files(group):
    return {str(p.relative_to(group)): p.read_bytes() for p in group.rglob("*") if p.is_file()}


def save(folder, name="a.mrc", raw=LAID.raw):
    (folder / name).write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
    return folder / name


def draft_in(folder):
    (found,) = folder.glob(".a.zarr.*.draft")
    return found


PART = """
import sys, json, xarray_mrc
src, dst, which = sys.argv[1:4]
which = tuple(map(int, which.split("/")))
xarray_mrc.convert(src, dst, partition=which, **json.loads(sys.argv[4]))
"""


def test_eight_processes_write_what_one_does(tmp_path):
    path = save(tmp_path)
    convert(path, tmp_path / "one.zarr", **OPTIONS)

    def start(which):
        program = [sys.executable, "-c", PART, str(path), str(tmp_path / "a.zarr"), which]
        return subprocess.Popen([*program, json.dumps(OPTIONS)])

    convert(path, tmp_path / "a.zarr", partition="prepare", **OPTIONS)
    assert [part.wait(120) for part in [start(f"{k}/8") for k in range(8)]] == [0] * 8
    assert not (tmp_path / "a.zarr").exists()
    convert(path, tmp_path / "a.zarr", partition="finish", **OPTIONS)
    assert files(tmp_path / "a.zarr") == files(tmp_path / "one.zarr")
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.zarr", "one.zarr"]


def test_parts_of_a_stream(tmp_path):
    path, target = save(tmp_path, "a.mrc.gz"), tmp_path / "a.zarr"
    convert(path, tmp_path / "one.zarr", **OPTIONS)
    for call in ("prepare", (2, 3), (0, 3), (1, 3), "finish"):
        convert(path, target, partition=call, **OPTIONS)
    assert files(target) == files(tmp_path / "one.zarr")


@pytest.mark.parametrize("ome_version", ["0.4", "0.5"])
def test_parts_of_a_pyramid(tmp_path, ome_version, monkeypatch):
    monkeypatch.setattr("xarray_mrc.conversion.pyramid.TASK_NBYTES", 20_000)  # 12 tasks
    path, target = save(tmp_path), tmp_path / "a.ome.zarr"
    options = {"chunks": {"z": 8, "y": 16, "x": 16}, "ome_version": ome_version}
    (tmp_path / "one").mkdir()
    convert(path, tmp_path / "one" / "a.ome.zarr", **options)
    for call in ("prepare", (1, 3), (0, 3)):
        convert(path, target, partition=call, **options)
    with pytest.raises(ValueError, match=r"of 3 parts \(from 0\), 2 are not done"):
        convert(path, target, partition="finish", **options)
    for call in ((2, 3), (1, 3), "finish", "finish", (1, 3)):
        convert(path, target, partition=call, **options)
    assert files(target) == files(tmp_path / "one" / "a.ome.zarr")
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.ome.zarr", "one"]


@given(
    data=st.data(),
    parts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    zarr_format=st.sampled_from([2, 3]),
)
@settings(deadline=None, max_examples=4)
def test_in_any_order_and_number(tmp_path_factory, data, parts, zarr_format):
    """Some parts of several partitions, repeated, and then what is missing of the finest one."""
    folder = tmp_path_factory.mktemp("parts")
    path, target = save(folder, raw=lay("int16", lengths=(9, 8, 7)).raw), folder / "a.zarr"
    options = {"chunks": {"z": 2, "y": 4, "x": 4}, "shards": None, "zarr_format": zarr_format}
    options["chunks"]["z"] = data.draw(st.integers(1, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xarray_mrc.conversion.grid.REGION_NBYTES", 100)
        convert(path, folder / "one.zarr", **options)
        convert(path, target, partition="prepare", **options)
        n = max(parts)
        every = [(k, m) for m in parts for k in range(m)]
        chosen = data.draw(st.lists(st.sampled_from(every), max_size=12))
        for part in chosen:
            convert(path, target, partition=part, **options)
        done = data.draw(st.permutations([(k, n) for k in range(n)]))
        for part in done:
            convert(path, target, partition=part, **options)
        convert(path, target, partition="finish", **options)
    assert files(target) == files(folder / "one.zarr")


def test_each_call_may_be_repeated(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, tmp_path / "one.zarr", **OPTIONS)
    for call in ("prepare", (0, 2), "prepare", (0, 2), (1, 2)):
        convert(path, target, partition=call, **OPTIONS)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in draft_in(tmp_path).rglob("*")}
    convert(path, target, partition=(1, 2), **OPTIONS)
    after = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in before if p.is_file()}
    assert all(
        before[p] == found for p, found in after.items()
    )  # a part that is done is not redone
    for call in ("finish", "finish", (0, 2)):  # an array job that comes late has nothing to do
        convert(path, target, partition=call, **OPTIONS)
    assert files(target) == files(tmp_path / "one.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert(path, target, partition="prepare", **OPTIONS)
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.zarr", "one.zarr"]


def test_missing_parts_are_named(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    with pytest.raises(FileNotFoundError, match="partition='prepare' first"):
        convert(path, target, partition=(0, 4), **OPTIONS)
    convert(path, target, partition="prepare", **OPTIONS)
    with pytest.raises(ValueError, match="no part is done"):
        convert(path, target, partition="finish", **OPTIONS)
    for k in (0, 3, 4):
        convert(path, target, partition=(k, 6), **OPTIONS)
    with pytest.raises(ValueError, match=r"of 6 parts \(from 0\), 1, 2, 5 are not done.*\(1, 6\)"):
        convert(path, target, partition="finish", **OPTIONS)
    # The middle third, by another partition, does part 2 and only half of part 1.
    convert(path, target, partition=(1, 3), **OPTIONS)
    convert(path, target, partition=(1, 6), **OPTIONS)
    shard = next(draft_in(tmp_path).glob("group/data/c/0/*/0"))
    shard.unlink()
    with pytest.raises(ValueError, match=r"of 6 parts \(from 0\), 0, 5 are not done"):
        convert(path, target, partition="finish", **OPTIONS)
    for part in ((0, 6), (5, 6), "finish"):
        convert(path, target, partition=part, **OPTIONS)
    assert_identical(xr.open_zarr(target).load(), xr.open_dataset(path, engine="mrc").load())


def test_other_options_or_another_source(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, target, partition="prepare", **OPTIONS)
    convert(path, target, partition=(0, 2), **OPTIONS)
    for call in ("prepare", (1, 2), "finish"):
        for other in (
            {"dtype": "f4"},
            {"compression": None},
            {"shards": None},
            {"chunks": {"z": 2}, "shards": None},
        ):
            with pytest.raises(ValueError, match=r"other options .*data/zarr\.json"):
                convert(path, target, partition=call, **{**OPTIONS, **other})
    os.utime(path, (1, 1))
    for call in ("prepare", (1, 2), "finish"):
        with pytest.raises(ValueError, match="another source, or this one has changed"):
            convert(path, target, partition=call, **OPTIONS)
    convert(path, target, partition="prepare", overwrite=True, **OPTIONS)
    with pytest.raises(ValueError, match="no part is done"):  # those of the old source are gone
        convert(path, target, partition="finish", **OPTIONS)
    assert len(list(tmp_path.glob(".a.zarr.*"))) == 1


def test_an_old_group_stays_until_the_end(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, target, **OPTIONS)
    old = files(target)
    raw = bytearray(LAID.raw)
    raw[-1] ^= 1
    time.sleep(0.01)
    save(tmp_path, raw=bytes(raw))
    again = {"overwrite": True, **OPTIONS}
    for call in ((0, 1), "finish"):  # the old group is not taken for the new one
        with pytest.raises(FileNotFoundError, match="was not prepared"):
            convert(path, target, partition=call, **again)
    convert(path, target, partition="prepare", **again)
    convert(path, target, partition=(0, 1), **again)
    with pytest.raises(FileExistsError):
        convert(path, target, partition="finish", **OPTIONS)
    assert files(target) == old
    for call in ("finish", "finish", (0, 1)):
        convert(path, target, partition=call, **again)
    assert_identical(xr.open_zarr(target).load(), xr.open_dataset(path, engine="mrc").load())
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.zarr"]


def test_who_died_between_the_name_and_the_end(tmp_path, monkeypatch):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    for call in ("prepare", (0, 1)):
        convert(path, target, partition=call, **OPTIONS)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(group_draft.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            convert(path, target, partition="finish", **OPTIONS)
    assert draft_in(tmp_path)
    convert(path, target, partition="finish", **OPTIONS)
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.zarr"]


SLOW = """
import sys, time, xarray_mrc
from xarray_mrc.storage import folder
rename = folder.rename
def slow(*names):
    rename(*names)
    time.sleep(0.3)
folder.rename = slow
""" + PART.replace("import sys, json", "import json")


@pytest.mark.skipif(sys.platform == "win32", reason="no process is killed so there")
def test_a_killed_part_is_redone(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, tmp_path / "one.zarr", **OPTIONS)
    convert(path, target, partition="prepare", **OPTIONS)
    program = [sys.executable, "-c", SLOW, str(path), str(target), "0/2", json.dumps(OPTIONS)]
    process = subprocess.Popen(program)
    chunks = draft_in(tmp_path) / "group/data/c"
    wait_for(lambda: list(chunks.glob("*/*/*")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What the disk holds of a shard that was being written then.
    shard = next(chunks.glob("*/*/*"))
    shard.with_name(f"0.0123456789abcdef{PART_SUFFIX}").write_bytes(b"half")
    convert(path, target, partition=(1, 2), **OPTIONS)
    with pytest.raises(ValueError, match=r"of 2 parts \(from 0\), 0 are not done"):
        convert(path, target, partition="finish", **OPTIONS)
    convert(path, target, partition=(0, 2), **OPTIONS)
    convert(path, target, partition="finish", **OPTIONS)
    assert files(target) == files(tmp_path / "one.zarr")


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, target, partition="prepare", **OPTIONS)
    convert(path, target, partition=(0, 2), **OPTIONS)

    def fail(descriptor, offset, data):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_at", fail)
        with pytest.raises(OSError, match="full"):
            convert(path, target, partition=(1, 2), **OPTIONS)
    with pytest.raises(ValueError, match=r"of 2 parts \(from 0\), 1 are not done"):
        convert(path, target, partition="finish", **OPTIONS)
    convert(path, target, partition=(1, 2), **OPTIONS)
    convert(path, target, partition="finish", **OPTIONS)
    assert_identical(xr.open_zarr(target).load(), xr.open_dataset(path, engine="mrc").load())


@pytest.mark.parametrize("wrong", ["begin", (2, 2), (-1, 2), (0, 0), (0.0, 2), (True, 2), 3, (1,)])
def test_what_is_no_partition(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected 'prepare'"):
        convert(save(tmp_path), tmp_path / "a.zarr", partition=wrong)
    with pytest.raises(ValueError, match="written by one call"):
        convert(tmp_path / "a.mrc", tmp_path / "b.mrc", partition=(0, 2))


def test_a_draft_that_is_given_up_is_removed_by_hand(tmp_path):
    path, target = save(tmp_path), tmp_path / "a.zarr"
    convert(path, target, partition="prepare", **OPTIONS)
    shutil.rmtree(draft_in(tmp_path))
    convert(path, target, **OPTIONS)
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.zarr"]


def test_without_dask(tmp_path):
    """A part is read by this process, whatever scheduler dask is configured to use."""
    program = """
import sys, dask, xarray_mrc
dask.config.set(scheduler=lambda *args, **kwargs: 1 / 0)
for call in ("prepare", (0, 1), "finish"):
    xarray_mrc.convert(sys.argv[1], sys.argv[2], partition=call)
print("done")
"""
    assert run_program(program, save(tmp_path), tmp_path / "a.zarr").strip() == "done"
    assert partition.check_partition([0, 2]) == (0, 2)
