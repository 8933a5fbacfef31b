"""Files on this computer: which changes of a file are noticed, and hints that never fail."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mrcbytes import lay

from xarray_mrc.errors import MrcChangedError
from xarray_mrc.storage import local
from xarray_mrc.storage.local import LocalSource, is_on_network

LAID = lay(lengths=(7, 6, 20))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    return path


@pytest.fixture
def mounts(monkeypatch):
    """Return a function that sets the content of /proc/self/mountinfo."""
    read = Path.read_bytes

    def set_mounts(content):
        def read_bytes(path):
            return content if str(path) == "/proc/self/mountinfo" else read(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        is_on_network.cache_clear()

    yield set_mounts
    is_on_network.cache_clear()


def mount(device, kind, name=b"/mnt"):
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    return b"36 35 " + number + b" / " + name + b" rw shared:1 - " + kind + b" server:/ rw\n"


def read_all(source):
    data = np.empty(source.size_if_known, np.uint8)
    source.read_ranges([(0, data)])
    return data.tobytes()


# The hint


@pytest.mark.parametrize("kind", [b"nfs4", b"fuse.sshfs", b"ext4"])
def test_a_mount_point_whose_name_is_not_text(path, mounts, kind):
    device = path.stat().st_dev
    mounts(mount(0, b"ext4", b"/mnt/\xff\xe9") + mount(device, kind, b"/\xff"))
    source, head = LocalSource.open(str(path))
    assert source.is_mapped == (kind == b"ext4")
    assert head == LAID.raw[:1024]


@pytest.mark.parametrize("content", [b"", b"\n", b"36 35 - ext4\n", b"1 2 0:0 /\n", b"\xff - \n"])
def test_a_list_of_mounts_that_is_damaged(path, mounts, content):
    mounts(content + mount(path.stat().st_dev, b"") + content)
    assert LocalSource.open(str(path))[0].is_mapped


# Changes


def renumber(monkeypatch, generations=(0, 0)):
    """Give the inode another number at each look, as FUSE does after it forgot a file."""
    look, numbers = local.fingerprint, iter(range(10, 10**6))

    def fingerprint(descriptor, status):
        number = next(numbers)
        _, _, size, time = look(descriptor, status)
        return number, generations[number > 10], size, time

    monkeypatch.setattr(local, "fingerprint", fingerprint)


@pytest.mark.parametrize("generations", [(0, 0), (0, 7), (7, 0), (7, 7)])
def test_a_new_number_for_the_same_file(path, monkeypatch, generations):
    renumber(monkeypatch, generations)
    source = LocalSource.open(str(path))[0]
    assert read_all(source) == read_all(source) == LAID.raw


def replace(path, raw, **times):
    other = path.with_suffix(".new")
    other.write_bytes(raw)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns + times.get("later", 0)))
    os.replace(other, path)


def test_a_replaced_file_without_generations(path, monkeypatch):
    renumber(monkeypatch)
    sources = [LocalSource.open(str(path))[0] for _ in range(4)]
    shutil.copy2(path, path.with_suffix(".old"))
    edited = LAID.raw[:300] + b"other" + LAID.raw[305:]
    for source, (raw, later) in zip(
        sources, [(LAID.raw, 1), (LAID.raw + b"\0", 0), (edited, 0), (edited, 1)], strict=True
    ):
        replace(path, raw, later=later)
        with pytest.raises(MrcChangedError, match="was replaced by another file"):
            read_all(source)
        shutil.copy2(path.with_suffix(".old"), path)


def test_a_replaced_file_with_another_generation(path, monkeypatch):
    renumber(monkeypatch, (7, 8))
    source = LocalSource.open(str(path))[0]
    with pytest.raises(MrcChangedError, match="was replaced by another file"):
        read_all(source)
