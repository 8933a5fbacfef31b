"""A file that appears whole or not at all."""

import multiprocessing
import os
import pickle
import signal
import stat
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from waiting import wait_for
from windows import needs_simulation, windows_rules

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.sink import NONCE_NBYTES, new_file

CONTENT = bytes(range(256)) * 8
ON_WINDOWS = sys.platform == "win32"
CAN_KILL = pytest.mark.skipif(ON_WINDOWS, reason="no SIGKILL, and no locks")


def fill(sink):
    sink.write(NONCE_NBYTES, CONTENT[NONCE_NBYTES:])
    sink.write(0, CONTENT[:NONCE_NBYTES])


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "a.mrc"
    with new_file(str(path), nbytes=len(CONTENT)) as sink:
        pickle.loads(pickle.dumps(sink)).write(100, np.frombuffer(CONTENT, np.uint8)[100:])
        sink.write(NONCE_NBYTES, CONTENT[NONCE_NBYTES:100])
        assert not path.exists()
        sink.write(0, CONTENT[:NONCE_NBYTES])
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


@pytest.mark.skipif(ON_WINDOWS, reason="a path has at most 260 characters there")
@pytest.mark.parametrize("name", ["a" * 255, "\u00e9" * 127, "\u4e2d" * 85], ids=len)
def test_a_name_of_the_greatest_length(tmp_path, name):
    with new_file(str(tmp_path / name)) as sink:
        fill(sink)
    assert os.listdir(tmp_path) == [name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), new_file(str(path), overwrite=True) as sink:  # noqa: PT012
        fill(sink)
        raise KeyError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_an_existing_file(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"), new_file(str(path)):
        pass
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert path.read_bytes() == CONTENT


@pytest.mark.skipif(ON_WINDOWS, reason="no mode 0o640 there")
def test_permissions_are_kept(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has other permissions")
def test_what_is_private_stays_so_while_it_grows(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with new_file(str(path), overwrite=True, has_pieces=True) as sink:
        write_piece(sink, 0, [CONTENT])
        found = [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*")]
        assert len(found) == 4
        assert not any(mode & 0o077 for mode in found)
        fill(sink)
    assert os.listdir(tmp_path) == ["a.mrc"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_file_that_came_in_between_is_not_replaced(tmp_path):
    path = tmp_path / "a.mrc"
    with pytest.raises(FileExistsError), new_file(str(path)) as sink:  # noqa: PT012
        fill(sink)
        path.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_what_is_no_file(tmp_path):
    with pytest.raises(OSError, match="directory"), new_file(str(tmp_path), overwrite=True):
        pass
    with pytest.raises(FileNotFoundError), new_file(str(tmp_path / "none" / "a.mrc")):
        pass


@pytest.mark.skipif(ON_WINDOWS, reason="symbolic links need a privilege there")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.mrc").write_bytes(b"old")
    (tmp_path / "b.mrc").symlink_to(tmp_path / "to" / "a.mrc")
    with new_file(str(tmp_path / "b.mrc"), overwrite=True) as sink:
        fill(sink)
    assert (tmp_path / "b.mrc").is_symlink()
    assert (tmp_path / "to" / "a.mrc").read_bytes() == CONTENT


def test_a_worker_on_another_file_system(tmp_path):
    with new_file(str(tmp_path / "a.mrc")) as sink:
        os.rename(sink.part, tmp_path / "elsewhere")
        with pytest.raises(MrcError, match="is not there"):
            sink.write(50, b"a")
        (tmp_path / sink.part).write_bytes(bytes(100))
        with pytest.raises(MrcError, match="another file"):
            sink.write(50, b"a")
        os.rename(tmp_path / "elsewhere", sink.part)
        fill(sink)


def hang(path):
    with new_file(path, overwrite=True) as sink:
        sink.write(100, b"half")
        time.sleep(600)


@CAN_KILL
def test_what_a_dead_process_left_is_cleared_and_what_a_live_one_has_is_not(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(str(path),))
    process.start()
    wait_for(lambda: list(tmp_path.glob(".*part")))
    time.sleep(0.1)
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert len(os.listdir(tmp_path)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert os.listdir(tmp_path) == ["a.mrc"]


@needs_simulation
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_file_in_use_is_renamed_or_removed(tmp_path, overwrite):
    path = tmp_path / "a.mrc"
    if overwrite:
        path.write_bytes(b"old")
    with windows_rules() as calls:
        with new_file(str(path), overwrite=overwrite) as sink:
            fill(sink)
        with pytest.raises(KeyError), new_file(str(path), overwrite=True) as sink:  # noqa: PT012
            fill(sink)
            raise KeyError
    assert calls == ["replace" if overwrite else "unlink", "unlink"]
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


def start_writer(path):
    """Start a process that writes to a path and hangs; return it when its file is there."""
    before = len(list(path.parent.glob(".*part")))
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(str(path),))
    process.start()
    wait_for(lambda: len(list(path.parent.glob(".*part"))) > before)
    time.sleep(0.1)
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


@CAN_KILL
def test_two_writers_do_not_touch_each_other(tmp_path):
    path = tmp_path / "a.mrc"
    with new_file(str(path), overwrite=True) as first:
        first.write(NONCE_NBYTES, CONTENT[NONCE_NBYTES:])
        with new_file(str(path), overwrite=True) as second:
            assert second.part != first.part
            second.write(0, b"second".ljust(NONCE_NBYTES, b"2"))
        assert path.read_bytes() == b"second".ljust(NONCE_NBYTES, b"2")
        # The name is free again, and the first writer still has its own.
        with pytest.raises(KeyError), new_file(str(path), overwrite=True):
            raise KeyError
        first.write(0, CONTENT[:NONCE_NBYTES])
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


@CAN_KILL
def test_all_that_simultaneous_writers_left_is_cleared(tmp_path):
    path = tmp_path / "a.mrc"
    writers = [start_writer(path) for _ in range(3)]
    kill(writers[2])
    kill(writers[0])
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
        assert len(os.listdir(tmp_path)) == 2  # of the one that lives, and this
    kill(writers[1])
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert os.listdir(tmp_path) == ["a.mrc"]


@CAN_KILL
def test_a_dead_writer_s_file_is_not_used_again(tmp_path):
    """Its workers may live on, with the file open."""
    path = tmp_path / "a.mrc"
    writer = start_writer(path)
    (part,) = tmp_path.glob(".*part")
    with part.open("rb+") as worker:
        kill(writer)
        with new_file(str(path)) as sink:
            assert sink.part == str(part)
            fill(sink)
            worker.write(b"of the old one")
            worker.flush()
    assert path.read_bytes() == CONTENT


def fill_and_lose(sink):
    fill(sink)
    os.unlink(sink.part)
    with open(sink.part, "wb") as other:
        other.write(b"of somebody else")


def test_a_temporary_file_that_was_replaced_is_not_published(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with (
        pytest.raises(MrcError, match="is another file"),
        new_file(str(path), overwrite=True) as sink,
    ):
        fill_and_lose(sink)
    assert path.read_bytes() == b"old"
    assert (tmp_path / sink.part).read_bytes() == b"of somebody else"


@pytest.mark.parametrize("has_pieces", [False, True])
def test_the_directory_is_not_listed(tmp_path, monkeypatch, has_pieces):
    """That took 27 ms beside 40,000 files."""
    listed, path = [], str(tmp_path / "a.mrc")
    for name in ("listdir", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path=".", real=real: (listed.append(path), real(path))[1]
        )
    for overwrite in (False, True):
        with new_file(path, overwrite=overwrite, has_pieces=has_pieces) as sink:
            fill(sink)
        with suppress(KeyError), new_file(path, overwrite=True, has_pieces=has_pieces) as sink:
            fill(sink)
            raise KeyError
    assert str(tmp_path) not in map(str, listed)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.mrc"]


@needs_simulation
def test_what_a_dead_writer_left_is_removed_without_locks(tmp_path):
    path = tmp_path / "a.mrc"
    with windows_rules(), new_file(str(path)) as living:
        left = tmp_path / os.path.basename(living.part).replace(".0.", ".1.")
        left.write_bytes(b"left")
        with new_file(str(path)) as sink:
            assert sink.part == str(left)
            fill(sink)
        assert path.read_bytes() == CONTENT
        path.unlink()
        fill(living)
    assert os.listdir(tmp_path) == ["a.mrc"]
