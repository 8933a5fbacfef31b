"""Datasets over files of blocks: our own and those of others, in threads, processes and dask."""

import gzip
import lzma
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
from mrcbytes import header

import xarray_mrc
from xarray_mrc import MrcError, MrcWarning, open_mrc, statistics, validate
from xarray_mrc.storage.compressed import block_files, stream

PIXELS = np.random.default_rng(0).poisson(30, (40, 128, 256)).astype("<i2")
RAW = header(nx=256, ny=128, nz=40, mx=256, my=128, mz=40, mode=1, ispg=1) + PIXELS.tobytes()
SECTION = PIXELS[0].nbytes


def in_parts(pack):
    starts = [0, *range(1024, len(RAW), SECTION)]
    return b"".join(map(pack, np.split(np.frombuffer(RAW, "u1"), starts[1:])))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The same file as our own in three containers, and as one member or stream a section."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "a.mrc").write_bytes(RAW)
    for suffix in (".gz", ".bz2", ".zst"):
        xarray_mrc.convert(folder / "a.mrc", folder / f"a.mrc{suffix}")
    found = {suffix: (folder / f"a.mrc{suffix}").read_bytes() for suffix in (".gz", ".bz2", ".zst")}
    found["members.gz"] = in_parts(lambda part: gzip.compress(part, 1, mtime=0))
    found[".xz"] = in_parts(lambda part: lzma.compress(part, preset=0))
    return found


@pytest.fixture(params=[".gz", ".bz2", ".zst", "members.gz", ".xz"])
def path(request, stored, tmp_path):
    found = tmp_path / f"b.mrc{request.param}"
    found.write_bytes(stored[request.param])
    assert found.stat().st_size > block_files.MIN_STORED_NBYTES
    return found


@pytest.fixture
def no_stream(monkeypatch):
    """Content beyond the first 64 KiB is not read as a stream."""

    def refuse(*_):
        raise AssertionError("the file was read as a stream")

    monkeypatch.setattr(block_files.BlockFile, "_give_up", refuse)
    found = block_files.BlockFiles.find

    def find(self, key, container, inner, start):
        file = found(self, key, container, inner, start)
        assert file is not None
        return file

    monkeypatch.setattr(block_files.BlockFiles, "find", find)


def test_slices(path, no_stream):
    data = open_mrc(path, chunks=None)
    for section in (33, 2, 20, 39, 0):
        np.testing.assert_array_equal(data[section].values, PIXELS[section])
    np.testing.assert_array_equal(data[:, 7, ::3].values, PIXELS[:, 7, ::3])
    np.testing.assert_array_equal(data.values, PIXELS)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("depth", [3, 40])
def test_dask(path, no_stream, scheduler, depth):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The specified chunks separate")
        data = open_mrc(path, chunks={"z": depth})
    with dask.config.set(scheduler=scheduler):
        assert int(data.astype("i8").sum()) == PIXELS.sum(dtype="i8")
        np.testing.assert_array_equal(data[::-1].values, PIXELS[::-1])


def test_six_threads_and_a_pickled_copy(path):
    data = open_mrc(path, chunks=None)
    copy = pickle.loads(pickle.dumps(data))
    sections = np.random.default_rng(1).integers(0, 40, 90).tolist()

    def read(number):
        section = sections[number]
        found = (copy if number % 2 else data)[section].values
        return np.array_equal(found, PIXELS[section])

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(read, range(len(sections))))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_fork(path):
    data = open_mrc(path, chunks=None)
    assert np.array_equal(data[20].values, PIXELS[20])
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(data[30].values, PIXELS[30]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(data[10].values, PIXELS[10])


def test_statistics_validator_and_surplus(path, no_stream):
    found = statistics(path)
    assert (found.minimum, found.maximum) == (PIXELS.min(), PIXELS.max())
    assert found.mean == pytest.approx(PIXELS.mean(), abs=1e-9)
    assert not [finding for finding in validate(path).findings if finding.id == "C02"]


def test_garbage_after_the_blocks(path):
    path.write_bytes(path.read_bytes() + b"garbage")
    with pytest.warns(MrcWarning, match="its last 7 stored bytes are not"):
        assert np.array_equal(open_mrc(path, chunks=None).values, PIXELS)


@pytest.mark.parametrize("damage", ["flipped", "cut"])
@pytest.mark.parametrize("order", ["whole", "reversed", "dask"])
def test_damage(path, damage, order):
    stored = bytearray(path.read_bytes())
    half = len(stored) // 2
    if damage == "cut":
        del stored[half:]
    else:
        stored[half] ^= 4
    path.write_bytes(stored)

    def read(data):
        for section in range(39, -1, -1) if order == "reversed" else [slice(None)]:
            data[section].load()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = open_mrc(path, chunks={"z": 6} if order == "dask" else None)
        for _ in range(2):  # a second attempt fails, too
            with pytest.raises(MrcError, match=str(path)):
                read(data)


def test_sections_of_a_file_that_is_cut_off(path):
    stored = path.read_bytes()
    path.write_bytes(stored[: len(stored) // 2])
    stream.streams.clear()
    with pytest.warns(MrcWarning, match=r"the file is cut off: \d+ of 40 sections were read"):
        data = open_mrc(path, chunks=None, truncated="sections")
    with pytest.warns(MrcWarning, match="their checksum is not known"):
        found = data.values
    np.testing.assert_array_equal(found, PIXELS[: len(found)])
    assert 10 < len(found) < 25


def test_the_drop_in_and_edit_header(path, no_stream, tmp_path):
    if path.suffix in (".gz", ".bz2"):
        from xarray_mrc import mrcfile

        with mrcfile.open(path) as mrc:
            np.testing.assert_array_equal(mrc.data, PIXELS)
        assert mrcfile.validate(path) in (True, False)
    if path.suffix != ".xz":
        xarray_mrc.edit_header(path, voxel_size=2.0, rewrite=True)
        found = open_mrc(path, chunks=None)
        np.testing.assert_array_equal(found.values, PIXELS)
        assert found.x.values[1] == 2.0
