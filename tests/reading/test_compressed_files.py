"""Compressed files through the engine: whole, cut off, damaged, and lying about their size."""

import bz2
import gzip
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from fuzzing import CONTAINERS
from mrcbytes import header

from xarray_mrc import MrcError, MrcTruncatedError, MrcWarning, open_mrc
from xarray_mrc.storage.compressed import cursor, points, stream

PIXELS = np.random.default_rng(0).integers(0, 120, (40, 256, 256)).astype("i1")
RAW = header(nx=256, ny=256, nz=40, mx=256, my=256, mz=40, mode=0, ispg=1) + PIXELS.tobytes()
STORED = {name: pack(RAW) for name, pack in CONTAINERS.items() if name != "plain"}


@pytest.fixture(params=sorted(STORED))
def container(request):
    return request.param


@pytest.mark.parametrize("chunks", [None, {}, {"z": 7}])
def test_whole(tmp_path, container, chunks):
    path = tmp_path / "named_like_a_plain_file.mrc"
    path.write_bytes(STORED[container])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The specified chunks separate")
        data = open_mrc(path, chunks=chunks)
    np.testing.assert_array_equal(data.values, PIXELS)
    np.testing.assert_array_equal(data[5:30:4, ::-3, [9, 3]].values, PIXELS[5:30:4, ::-3, [9, 3]])


def test_one_section_is_read_without_the_rest(tmp_path, container):
    path = tmp_path / "a.mrc"
    path.write_bytes(STORED[container])
    data = open_mrc(path, chunks=None)
    np.testing.assert_array_equal(data[3].values, PIXELS[3])
    np.testing.assert_array_equal(data[2].values, PIXELS[2])


def test_no_pixels_cost_no_pass(container):
    """The end of the file, which is not there, is not looked for."""
    data = open_mrc(STORED[container][: len(STORED[container]) // 2], chunks=None)
    assert data[:, :, :0].values.shape == (40, 256, 0)
    assert data[:, 9:9].values.shape == (40, 0, 256)


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_cut_off(container, part):
    stored = STORED[container][: int(len(STORED[container]) * part)]
    with pytest.raises(MrcTruncatedError, match=f"the {container} data end after"):
        open_mrc(stored).load()
    with pytest.warns(MrcWarning, match=r"the file is cut off: \d+ of 40 sections were read"):
        data = open_mrc(stored, truncated="sections")
    with pytest.warns(MrcWarning, match="their checksum is not known"):
        found = data.values
    assert 0.8 * part < len(found) / 40 < part + 0.1
    np.testing.assert_array_equal(found, PIXELS[: len(found)])


def test_cut_off_behind_the_data(container):
    stored = STORED[container][:-3]
    with pytest.raises(MrcTruncatedError):
        open_mrc(stored).load()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = open_mrc(stored, truncated="sections").values
    np.testing.assert_array_equal(found, PIXELS[: len(found)])
    assert said


def test_a_part_of_a_section_is_not_called_surplus(tmp_path):
    path = tmp_path / "a.mrc.bz2"
    path.write_bytes(bz2.compress(header(nx=4, ny=3, nz=5, mode=0) + bytes(4 * 12 + 7)))
    with pytest.warns(MrcWarning, match="4 of 5 sections were read"):
        data = open_mrc(path, chunks=None, truncated="sections")
    with pytest.warns(MrcWarning, match="has 7 bytes more than were read"):
        assert data.shape == data.values.shape == (4, 3, 4)


def test_damaged(container):
    stored = bytearray(STORED[container])
    stored[len(stored) // 2] ^= 16
    if container == "zstd":  # packed without a checksum, whose flips can go unnoticed
        from fuzzing import zstd

        options = {zstd.CompressionParameter.checksum_flag: 1}
        stored = bytearray(zstd.compress(RAW, options=options))
        stored[len(stored) // 2] ^= 16
    with pytest.raises(MrcError, match=container):
        open_mrc(bytes(stored)).load()


def test_claims_are_held_against_the_stream():
    claim = bytearray(RAW[:1024])
    claim[:12] = np.array([2**20, 2**20, 2**20], "<i4").tobytes()
    for name, pack in CONTAINERS.items():
        with pytest.raises(MrcTruncatedError, match="1048576 x 1048576 x 1048576 pixels"):
            open_mrc(pack(bytes(claim) + bytes(5000)))
        assert name


def test_what_compresses_very_well_is_no_lie(tmp_path):
    sections = 100
    raw = header(nx=1024, ny=1024, nz=sections, mx=1024, my=1024, mz=sections, mode=0, ispg=1)
    path = tmp_path / "mask.mrc"
    path.write_bytes(bz2.compress(raw + bytes(sections * 2**20)))
    assert path.stat().st_size < 2**12
    assert not open_mrc(path, chunks=None)[sections - 1].values.any()


def test_chunks_are_large(container):
    assert open_mrc(STORED[container]).chunks == ((40,), (256,), (256,))


# gzip as other programs write it: one deflate stream, read in any order


STREAM = gzip.compress(RAW, 1)
DAMAGED = bytearray(STREAM)
DAMAGED[len(STREAM) // 3] ^= 2


@pytest.fixture
def small_points(monkeypatch):
    """Make points and skips small, so that a small file needs them."""
    monkeypatch.setattr(points, "MIN_SPACING_NBYTES", 100_000)
    monkeypatch.setattr(stream, "MAX_SKIP_NBYTES", 100_000)
    monkeypatch.setattr(stream, "MAX_SKIP_RATIO", 1)
    stream.streams.clear()
    yield
    stream.streams.clear()


@pytest.mark.parametrize("pickled", [False, True])
def test_slices_on_threads(tmp_path, pickled, small_points):
    path = tmp_path / "a.map.gz"
    path.write_bytes(STREAM)
    dataset = xr.open_dataset(path, engine="mrc", cache=False)
    copy = pickle.loads(pickle.dumps(dataset)) if pickled else dataset
    chance = random.Random(4)
    wanted = [(chance.choice([dataset, copy]), chance.randrange(40)) for _ in range(200)]
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda item: item[0].data[item[1], 3:].values, wanted)
        for (_, z), plane in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(plane, PIXELS[z, 3:])


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("job", ["sum", "load", "reversed", "one by one"])
def test_damage_raises_in_every_order(tmp_path, job, scheduler, small_points):
    for name, stored in {"right": STREAM, "cut": STREAM[:-5], "flipped": bytes(DAMAGED)}.items():
        path = tmp_path / f"{name}.map.gz"
        path.write_bytes(stored)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The specified chunks separate")
            data = open_mrc(path, chunks={"z": 4})
        blocks = [data[start : start + 4] for start in range(0, 40, 4)]
        jobs = {
            "sum": lambda data=data: data.sum(dtype="i8").compute(scheduler=scheduler),
            "load": lambda data=data: data.compute(scheduler=scheduler).sum(dtype="i8"),
            "reversed": lambda data=data: data[::-1].max("x").compute(scheduler=scheduler).sum(),
            "one by one": lambda blocks=blocks: sum(
                int(block.sum(dtype="i8").compute(scheduler=scheduler)) for block in blocks[::-1]
            ),
        }
        if name == "right":
            expected = PIXELS.max(2).sum() if job == "reversed" else PIXELS.sum(dtype="i8")
            assert int(jobs[job]()) == expected
        else:
            with pytest.raises(MrcError, match="gzip"):
                jobs[job]()


def test_a_dask_sum_takes_two_passes(tmp_path, small_points):
    path = tmp_path / "a.map.gz"
    path.write_bytes(STREAM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The specified chunks separate")
        data = open_mrc(path, chunks={"z": 2})
    taken = 0
    read = cursor.Cursor.read

    def counted(self, inner, max_nbytes):
        nonlocal taken
        block = read(self, inner, max_nbytes)
        taken += len(block)
        return block

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cursor.Cursor, "read", counted)
        assert int(data.sum(dtype="i8").compute(num_workers=2)) == PIXELS.sum(dtype="i8")
    assert taken < 2.8 * len(RAW)  # 20 chunks; 10 passes without points
