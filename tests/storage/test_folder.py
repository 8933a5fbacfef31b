"""A folder that appears whole or not at all."""

import errno
import multiprocessing
import os
import signal
import stat
import sys
import time

import numpy as np
import pytest
from waiting import wait_for

from xarray_mrc.errors import MrcError
from xarray_mrc.storage import folder as folders
from xarray_mrc.storage.folder import check_visible, create_file, new_folder


def fill(part, text="new"):
    os.mkdir(os.path.join(part, "deep"))
    with open(os.path.join(part, "deep", "file"), "w") as file:
        file.write(text)


def content(path):
    return (path / "deep" / "file").read_text()


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "a.zarr"
    with new_folder(str(path)) as part:
        fill(part)
        check_visible(part)
        assert not path.exists()
    assert content(path) == "new"
    assert os.listdir(tmp_path) == ["a.zarr"]
    with pytest.raises(MrcError, match="not shared"):
        check_visible(part)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_leaves_nothing_new(tmp_path, overwrite):
    path = tmp_path / "a.zarr"
    if overwrite:
        path.mkdir()
        fill(path, "old")
    with pytest.raises(KeyError), new_folder(str(path), overwrite=overwrite) as part:  # noqa: PT012
        fill(part)
        raise KeyError
    assert os.listdir(tmp_path) == ["a.zarr"] * overwrite
    assert not overwrite or content(path) == "old"


def test_what_is_removed_loses_its_name_first(tmp_path, monkeypatch):
    # A task that writes to it would keep it from being removed, and would not see that it is gone.
    seen = []
    remove = folders.shutil.rmtree
    with pytest.raises(KeyError), new_folder(str(tmp_path / "a.zarr")) as part:  # noqa: PT012
        fill(part)
        monkeypatch.setattr(
            folders.shutil,
            "rmtree",
            lambda path, **_: (seen.append(os.path.exists(part)), remove(path)),
        )
        raise KeyError
    assert seen == [False]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_what_is_there(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    fill(path, "old")
    with pytest.raises(FileExistsError, match="overwrite=True"), new_folder(str(path)):
        pass
    (tmp_path / "link").symlink_to(path)
    with new_folder(str(tmp_path / "link"), overwrite=True) as part:
        fill(part)
    assert (tmp_path / "link").is_symlink()
    assert content(path) == "new"
    (tmp_path / "file").write_text("")
    file = str(tmp_path / "file")
    with pytest.raises(OSError, match="expected a directory"), new_folder(file, overwrite=True):
        pass
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "file", "link"]


def test_what_came_in_between_is_not_replaced(tmp_path):
    path = tmp_path / "a.zarr"
    with pytest.raises(FileExistsError), new_folder(str(path)) as part:  # noqa: PT012
        fill(part)
        path.mkdir()
        fill(path, "of another")
    assert content(path) == "of another"
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_the_old_one_comes_back_if_the_new_one_can_not_have_its_name(tmp_path, monkeypatch):
    path, rename = tmp_path / "a.zarr", os.rename
    path.mkdir()
    fill(path, "old")

    def fail(source, target):
        if str(source).endswith(".part"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(folders.os, "rename", fail)
    with pytest.raises(OSError, match="no"), new_folder(str(path), overwrite=True) as part:
        fill(part)
    assert content(path) == "old"
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be synced there")
@pytest.mark.parametrize("overwrite", [False, True])
def test_its_name_outlasts_a_power_cut(tmp_path, overwrite, monkeypatch):
    path, fsync, synced = tmp_path / "a.zarr", os.fsync, []
    if overwrite:
        path.mkdir()
        fill(path, "old")

    def note(descriptor):
        if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)):
            synced.append(content(path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with new_folder(str(path), overwrite=overwrite) as part:
        fill(part)
    assert synced[-1:] == ["new"]


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be synced there")
def test_all_files_outlast_a_power_cut(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.zarr", set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    with new_folder(str(path)) as part:
        fill(part)
    assert synced >= {found.stat().st_ino for found in (path, *path.rglob("*"))}

    def fail(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"), new_folder(str(tmp_path / "b.zarr")) as part:
        fill(part)
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_a_file_of_pieces(tmp_path):
    with create_file(str(tmp_path), "deep/er/file") as write:
        for piece in (b"ab", np.array([[1, 2]], "<i2"), memoryview(b"c")):
            write(piece)
            assert not (tmp_path / "deep" / "er" / "file").exists()
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == b"ab\1\0\2\0c"
    with pytest.raises(TypeError), create_file(str(tmp_path), "deep/er/file") as write:
        write([write(b"half")])
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "er", "file"]
    folders.remove(str(tmp_path / "deep"), str(tmp_path / "gone"))
    with pytest.raises(MrcError, match="is not there"), create_file(str(tmp_path / "deep"), "a"):
        pass


def hang(path):
    with new_folder(path, overwrite=True) as part:
        fill(part)
        time.sleep(600)


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked there")
def test_what_a_dead_process_left_is_cleared_and_what_a_live_one_has_is_not(tmp_path):
    path = tmp_path / "a.zarr"
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(str(path),))
    process.start()
    wait_for(lambda: list(tmp_path.glob(".*part/deep/file")))
    with new_folder(str(path)) as part:
        fill(part, "first")
    assert len(os.listdir(tmp_path)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with new_folder(str(path), overwrite=True) as part:
        fill(part)
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked there")
@pytest.mark.parametrize("is_replaced", [False, True])
def test_who_died_between_two_names_loses_nothing(tmp_path, is_replaced):
    path, old = tmp_path / "a.zarr", tmp_path / ".a.zarr.0123456789abcdef.old"
    old.mkdir()
    fill(old, "old")
    if is_replaced:
        path.mkdir()
        fill(path)
    with pytest.raises(FileExistsError, match="overwrite=True"), new_folder(str(path)):
        pytest.fail("what comes back is not seen before anything is written")
    assert content(path) == ("new" if is_replaced else "old")
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("suffix", [folders.OLD_SUFFIX, folders.PART_SUFFIX])
@pytest.mark.parametrize("middle", ["mine", "0123456789abcdef.mine", "0123456789abcdefa"])
def test_a_folder_with_a_name_like_that_is_left_alone(tmp_path, middle, suffix):
    mine = tmp_path / f".a.zarr.{middle}{suffix}"
    mine.mkdir()
    fill(mine, "all I have")
    with new_folder(str(tmp_path / "a.zarr")) as part:
        fill(part)
    assert content(tmp_path / "a.zarr") == "new"
    assert content(mine) == "all I have"
