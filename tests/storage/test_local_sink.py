"""A file that appears whole or not at all."""

import multiprocessing
import os
import pickle
import signal
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_for
from windows import needs_simulation, windows_rules

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.local_sink import NONCE_NBYTES, new_file
from xarray_mrc.storage.sink import in_order

CONTENT = bytes(range(256)) * 8
ON_WINDOWS = sys.platform == "win32"
CAN_KILL = pytest.mark.skipif(ON_WINDOWS, reason="no SIGKILL, and no locks")


def write(new):
    return new.sink.write_ranges([(100, CONTENT[100:]), (10, CONTENT[10:100])])


def fill(new):
    new.finish(CONTENT[:10], [write(new)])


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "a.mrc"
    with new_file(str(path), nbytes=len(CONTENT)) as new:
        sink = pickle.loads(pickle.dumps(new.sink))
        receipts = [sink.write_ranges([(100, np.frombuffer(CONTENT, np.uint8)[100:])])]
        receipts += [new.sink.write_ranges([(20, CONTENT[20:100])])]
        assert not path.exists()
        assert Path(sink.part).read_bytes()[:NONCE_NBYTES] == sink.nonce
        new.finish(CONTENT[:20], pickle.loads(pickle.dumps(receipts)))
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


@pytest.mark.skipif(ON_WINDOWS, reason="a path has at most 260 characters there")
@pytest.mark.parametrize("name", ["a" * 255, "\u00e9" * 127, "\u4e2d" * 85], ids=len)
def test_a_name_of_the_greatest_length(tmp_path, name):
    with new_file(str(tmp_path / name)) as new:
        fill(new)
    assert os.listdir(tmp_path) == [name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), new_file(str(path), overwrite=True) as new:  # noqa: PT012
        write(new)
        raise KeyError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_an_existing_file(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"), new_file(str(path)):
        pass
    with new_file(str(path), overwrite=True) as new:
        fill(new)
    assert path.read_bytes() == CONTENT


@pytest.mark.skipif(ON_WINDOWS, reason="no mode 0o640 there")
def test_permissions_are_kept(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with new_file(str(path), overwrite=True) as new:
        fill(new)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has other permissions")
def test_what_is_private_stays_so_while_it_grows(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with new_file(str(path), overwrite=True, has_pieces=True) as new:
        write_piece(new.sink, 0, [CONTENT])
        found = [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*")]
        assert len(found) == 4
        assert not any(mode & 0o077 for mode in found)
        fill(new)
    assert os.listdir(tmp_path) == ["a.mrc"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_file_that_came_in_between_is_not_replaced(tmp_path):
    path = tmp_path / "a.mrc"
    with pytest.raises(FileExistsError), new_file(str(path)) as new:  # noqa: PT012
        receipt = write(new)
        path.write_bytes(b"new")
        new.finish(CONTENT[:10], [receipt])
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
    with new_file(str(tmp_path / "b.mrc"), overwrite=True) as new:
        fill(new)
    assert (tmp_path / "b.mrc").is_symlink()
    assert (tmp_path / "to" / "a.mrc").read_bytes() == CONTENT


def test_a_worker_on_another_file_system(tmp_path):
    with new_file(str(tmp_path / "a.mrc")) as new:
        sink = new.sink
        os.rename(sink.part, tmp_path / "elsewhere")
        with pytest.raises(MrcError, match="is not there"):
            sink.write_ranges([(50, b"a")])
        Path(sink.part).write_bytes(bytes(100))
        with pytest.raises(MrcError, match="another file"):
            sink.write_ranges([(50, b"a")])
        os.rename(tmp_path / "elsewhere", sink.part)
        fill(new)


def hang(path):
    with new_file(path, overwrite=True) as new:
        new.sink.write_ranges([(100, b"half")])
        time.sleep(600)


@CAN_KILL
def test_what_a_dead_process_left_is_cleared_and_what_a_live_one_has_is_not(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(str(path),))
    process.start()
    wait_for(lambda: list(tmp_path.glob(".*part")))
    time.sleep(0.1)
    with new_file(str(path), overwrite=True) as new:
        fill(new)
    assert len(os.listdir(tmp_path)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with new_file(str(path), overwrite=True) as new:
        fill(new)
    assert os.listdir(tmp_path) == ["a.mrc"]


@needs_simulation
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_file_in_use_is_renamed_or_removed(tmp_path, overwrite):
    path = tmp_path / "a.mrc"
    if overwrite:
        path.write_bytes(b"old")
    with windows_rules() as calls:
        with new_file(str(path), overwrite=overwrite) as new:
            fill(new)
        with pytest.raises(KeyError), new_file(str(path), overwrite=True) as new:  # noqa: PT012
            write(new)
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
        receipt = write(first)
        with new_file(str(path), overwrite=True) as second:
            assert second.sink.part != first.sink.part
            second.finish(b"second".ljust(NONCE_NBYTES, b"2"))
        assert path.read_bytes() == b"second".ljust(NONCE_NBYTES, b"2")
        # The name is free again, and the first writer still has its own.
        with pytest.raises(KeyError), new_file(str(path), overwrite=True):
            raise KeyError
        first.finish(CONTENT[:10], [receipt])
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


@CAN_KILL
def test_all_that_simultaneous_writers_left_is_cleared(tmp_path):
    path = tmp_path / "a.mrc"
    writers = [start_writer(path) for _ in range(3)]
    kill(writers[2])
    kill(writers[0])
    with new_file(str(path), overwrite=True) as new:
        fill(new)
        assert len(os.listdir(tmp_path)) == 2  # of the one that lives, and this
    kill(writers[1])
    with new_file(str(path), overwrite=True) as new:
        fill(new)
    assert os.listdir(tmp_path) == ["a.mrc"]


@CAN_KILL
def test_a_dead_writer_s_file_is_not_used_again(tmp_path):
    """Its workers may live on, with the file open."""
    path = tmp_path / "a.mrc"
    writer = start_writer(path)
    (part,) = tmp_path.glob(".*part")
    with part.open("rb+") as worker:
        kill(writer)
        with new_file(str(path)) as new:
            assert new.sink.part == str(part)
            worker.write(b"of the old one")
            worker.flush()
            fill(new)
    assert path.read_bytes() == CONTENT


def fill_and_lose(new):
    receipt = write(new)
    os.unlink(new.sink.part)
    with open(new.sink.part, "wb") as other:
        other.write(b"of somebody else")
    new.finish(CONTENT[:10], [receipt])


def test_a_temporary_file_that_was_replaced_is_not_published(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    with (
        pytest.raises(MrcError, match="is another file"),
        new_file(str(path), overwrite=True) as new,
    ):
        fill_and_lose(new)
    assert path.read_bytes() == b"old"
    assert (tmp_path / new.sink.part).read_bytes() == b"of somebody else"


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
        with new_file(path, overwrite=overwrite, has_pieces=has_pieces) as new:
            fill(new)
        with suppress(KeyError), new_file(path, overwrite=True, has_pieces=has_pieces) as new:
            write(new)
            raise KeyError
    assert str(tmp_path) not in map(str, listed)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.mrc"]


@needs_simulation
def test_what_a_dead_writer_left_is_removed_without_locks(tmp_path):
    path = tmp_path / "a.mrc"
    with windows_rules(), new_file(str(path)) as living:
        left = tmp_path / os.path.basename(living.sink.part).replace(".0.", ".1.")
        left.write_bytes(b"left")
        with new_file(str(path)) as new:
            assert new.sink.part == str(left)
            fill(new)
        assert path.read_bytes() == CONTENT
        path.unlink()
        fill(living)
    assert os.listdir(tmp_path) == ["a.mrc"]


@pytest.mark.parametrize(
    "lengths",
    [[200], [1] * 200, [31, 1, 168], [10, 22, 168], [0, 33, 0, 167], [5], [31], [32], [0]],
)
def test_blocks_of_any_length_in_order(tmp_path, lengths):
    data = np.random.default_rng(0).bytes(sum(lengths))
    ends = np.cumsum(lengths).tolist()
    blocks = [data[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    with new_file(str(tmp_path / "a")) as new:
        new.finish(receipts=[new.sink.write_ranges(in_order(blocks))])
    assert (tmp_path / "a").read_bytes() == data


def test_first_bytes_that_were_never_written(tmp_path):
    with new_file(str(tmp_path / "a")) as new:
        receipt = write(new)
        with pytest.raises(ValueError, match="bytes 9 to 10 of the file were never written"):
            new.finish(CONTENT[:9], [receipt])
    assert os.listdir(tmp_path) == []


def test_a_file_without_its_first_bytes_is_not_published(tmp_path):
    with (
        new_file(str(tmp_path / "a")) as new,
        pytest.raises(ValueError, match="bytes 0 to 32 of the file were never written"),
    ):
        new.finish(receipts=[new.sink.write_ranges([(40, CONTENT)])])
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_given_up_refuses_its_workers(tmp_path):
    with new_file(str(tmp_path / "a")) as new:
        new.abort()
        assert os.listdir(tmp_path) == []
        with pytest.raises(MrcError, match="is not there"):
            write(new)
