"""A file that appears whole or not at all."""

import multiprocessing
import os
import pickle
import signal
import stat
import time

import numpy as np
import pytest
from waiting import wait_for
from windows import needs_simulation, windows_rules

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.compressed.members import write_piece
from xarray_mrc.storage.sink import NONCE_SIZE, new_file

CONTENT = bytes(range(256)) * 8


def fill(sink):
    sink.write(NONCE_SIZE, CONTENT[NONCE_SIZE:])
    sink.write(0, CONTENT[:NONCE_SIZE])


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "a.mrc"
    with new_file(str(path), nbytes=len(CONTENT)) as sink:
        pickle.loads(pickle.dumps(sink)).write(100, np.frombuffer(CONTENT, np.uint8)[100:])
        sink.write(NONCE_SIZE, CONTENT[NONCE_SIZE:100])
        assert not path.exists()
        sink.write(0, CONTENT[:NONCE_SIZE])
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.mrc"]


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
    path.chmod(0o640)
    with new_file(str(path), overwrite=True) as sink:
        fill(sink)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_what_is_private_stays_so_while_it_grows(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with new_file(str(path), overwrite=True) as sink:
        write_piece(sink, 0, [CONTENT])
        found = [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()]
        assert len(found) == 3
        assert not any(mode & 0o077 for mode in found)
        (tmp_path / f"{os.path.basename(sink.part)}.0").unlink()
        fill(sink)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_file_that_came_in_between_is_not_replaced(tmp_path):
    path = tmp_path / "a.mrc"
    with pytest.raises(FileExistsError), new_file(str(path)) as sink:  # noqa: PT012
        fill(sink)
        path.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.mrc"]


def test_what_is_no_file(tmp_path):
    with pytest.raises(OSError, match="folder"), new_file(str(tmp_path), overwrite=True):
        pass
    with pytest.raises(FileNotFoundError), new_file(str(tmp_path / "none" / "a.mrc")):
        pass


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
