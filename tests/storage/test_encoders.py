"""Packed pieces: every tool reads them, and each can be found and unpacked alone."""

from __future__ import annotations

import bz2
import gzip
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
import zlib

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.storage.compressed import encoders
from xarray_mrc.storage.compressed.encoders import encoder_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTAINERS = ("gzip", "bzip2", "zstd")
SUFFIX = {"gzip": ".gz", "bzip2": ".bz2", "zstd": ".zst"}
UNPACK = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "zstd": zstd.decompress}
COUNTS = np.random.default_rng(3).poisson(1.2, 3_000_000).astype(np.uint8)
NOISE = np.frombuffer(np.random.default_rng(4).bytes(400_000), np.uint8)


def pack(container, data, unit_nbytes):
    encoder = encoder_for(container)
    return b"".join([*encoder.encode(data, unit_nbytes), encoder.end()])


def hop(packed: bytes) -> list[tuple[int, int]]:
    """Go from block to block of BGZF, as htslib does; where each begins, and how much it holds."""
    blocks, start = [], 0
    while start < len(packed):
        fixed = struct.unpack_from("<4BIBBH", packed, start)
        assert fixed[:4] == (31, 139, 8, 4)
        extra = packed[start + 12 : start + 12 + fixed[-1]]
        name, length, size = struct.unpack("<2sHH", extra)
        assert (name, length) == (b"BC", 2)
        end = start + size + 1
        content = zlib.decompress(packed[start + 12 + fixed[-1] : end - 8], wbits=-15)
        assert struct.unpack_from("<II", packed, end - 8) == (zlib.crc32(content), len(content))
        assert len(content) <= 65280
        blocks.append((start, len(content)))
        start = end
    assert start == len(packed)
    return blocks


@pytest.fixture(params=["isal", "zlib"])
def library(request, monkeypatch):
    if request.param == "isal":
        pytest.importorskip("isal")
        pytest.importorskip("zlib_ng")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
    encoders.compressor.cache_clear()
    yield request.param
    encoders.compressor.cache_clear()


# What comes back


@given(
    container=st.sampled_from(CONTAINERS),
    nbytes=st.integers(0, 300_000),
    unit=st.integers(1, 200_000),
    noise=st.booleans(),
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=40)
def test_what_was_packed_comes_back(container, nbytes, unit, noise, threads):
    data = (NOISE if noise else COUNTS)[:nbytes]
    encoder = encoder_for(container)
    parts = [data[: unit * 2], data[unit * 2 :]]
    packed = b"".join(b"".join(encoder.encode(part, unit)) for part in parts)
    assert UNPACK[container](packed + encoder.end()) == data.tobytes() if nbytes else not packed
    again = (b"".join(encoder.encode_parallel(part, unit, threads=threads)) for part in parts)
    assert b"".join(again) == packed


def test_bytes_as_such(library):
    whole = COUNTS.tobytes()
    for data in (COUNTS, whole, memoryview(whole)):
        assert gzip.decompress(pack("gzip", data, 70_000)) == whole


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_encoder_travels(container):
    encoder = encoder_for(container)
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy == encoder
    assert list(copy.encode(COUNTS, 10**6)) == list(encoder.encode(COUNTS, 10**6))
    assert len(pickle.dumps(encoder)) < 200


# Masks and levels


def balls(dtype: str) -> np.ndarray:
    """Labelled balls in a volume, as a segmentation has them."""
    chance, shape = np.random.default_rng(5), (8, 256, 256)
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    found = np.zeros(shape, dtype)
    for label in range(1, 60):
        z0, y0, x0, radius = chance.uniform(0, (*shape, 20))
        found[(z - z0) ** 2 + (y - y0) ** 2 + (x - x0) ** 2 < radius**2] = label
    return found


def shells() -> np.ndarray:
    """Membranes: shells that are a few voxels thick."""
    y, x = np.ogrid[:256, :256]
    found = np.zeros((8, 256, 256), "i1")
    for section in range(8):
        for y0, x0, radius in np.random.default_rng(6).uniform(0, (256, 256, 90), (12, 3)):
            found[section][abs(np.hypot(y - y0, x - x0) - radius - section) < 2] = 1
    return found


def noisy() -> np.ndarray:
    """Smooth noise above a threshold: a mask with ragged edges and many specks."""
    counts = COUNTS[: 2**19].reshape(8, 256, 256).astype("f4")
    smooth = sum(np.roll(counts, (y, x), (1, 2)) for y in range(4) for x in range(4))
    return (smooth > 16 * 1.5).astype("i1")


MASKS = {
    "labels": balls("<i2"),
    "labels as floats": balls("<f4"),
    "binary": (balls("i1") > 0).astype("i1"),
    "membranes": shells(),
    "noisy": noisy(),
}


@pytest.mark.parametrize("name", [*MASKS])
def test_masks_are_as_small_as_by_gzip(name, library):
    mask = MASKS[name]
    packed = pack("gzip", mask.reshape(-1).view("u1"), mask[0].nbytes)
    assert gzip.decompress(packed) == mask.tobytes()
    assert len(packed) <= 1.25 * len(gzip.compress(mask.tobytes(), 6))


def test_densities_are_compressed_once(library, monkeypatch):
    def refuse(level):
        return lambda data: pytest.fail("they do not compress better by more work")

    monkeypatch.setattr(encoders, "deflater", refuse)
    for data in (COUNTS, NOISE):
        pack("gzip", data, 65280)


@pytest.mark.parametrize("container", CONTAINERS)
def test_levels(container, library):
    labels = MASKS["labels"].reshape(-1).view("u1")
    levels = encoders.LEVELS[container]
    sizes = {}
    for level in (levels[0], levels[-1]):
        encoder = encoder_for(container, level)
        assert encoder == pickle.loads(pickle.dumps(encoder))
        packed = b"".join([*encoder.encode(labels, 2**17), encoder.end()])
        assert UNPACK[container](packed) == labels.tobytes()
        sizes[level] = len(packed)
    assert sizes[levels[-1]] < sizes[levels[0]] or container == "bzip2"
    for level in (0, levels[-1] + 1, 1.5, "6", True, -1):
        text = f"compression_level={level!r}, expected None or an integer from 1 to {levels[-1]} f"
        with pytest.raises(ValueError, match=text):
            encoder_for(container, level)


# Where pieces begin


@given(st.integers(0, 5_000_000), st.integers(0, 3_000_000), st.sampled_from(CONTAINERS))
def test_pieces_are_bounded_and_end_with_units(nbytes, unit, container):
    least, most = encoders.MEMBER_NBYTES[container]
    if unit < least:
        nbytes = min(nbytes, 10 * least)
    found = list(encoders.member_ranges(nbytes, unit, container))
    ends = [stop for _, stop in found]
    assert [start for start, _ in found] == [0, *ends][: len(found)]
    assert (ends or [0])[-1] == nbytes
    assert all(0 < stop - start <= most for start, stop in found)
    if unit >= least:
        assert {*range(unit, nbytes, unit)} <= {*ends}
    elif unit:  # small units lie within one piece
        assert all(stop % unit == 0 for stop in ends[:-1])
        assert all(stop - start >= least for start, stop in found[:-1])


@pytest.mark.parametrize("unit", [1, 5000, 65280, 65281, 300_000, 10**9])
@pytest.mark.parametrize("data", [COUNTS[:1_000_000], NOISE], ids=["counts", "noise"])
def test_blocks_of_bgzf(unit, data, library):
    packed = pack("gzip", data, unit)
    blocks = hop(packed)
    *starts, end = np.cumsum([0, *(nbytes for _, nbytes in blocks)]).tolist()
    assert end == data.size
    assert {*range(0, data.size, unit)} <= {*starts} or unit < encoders.MEMBER_NBYTES["gzip"][0]
    # The last block is the one that the specification gives for the end.
    assert packed[blocks[-1][0] :].hex() == (
        "1f8b08040000000000ff0600424302001b0003000000000000000000"
    )
    assert [nbytes for _, nbytes in blocks].count(0) == 1
    if data is NOISE:
        assert len(packed) - data.size <= 60 * len(blocks)


def test_noise_that_a_library_makes_longer_is_stored():
    piece = memoryview(NOISE[:65280].tobytes())
    for surplus in (13, 14, 300):
        block = encoders.bgzf_block(piece, bytes(len(piece) + surplus))
        if surplus > 13:
            assert hop(block) == [(0, 65280)]
            assert gzip.decompress(block) == piece
        assert len(block) <= 65280 + 31


def test_frames_of_zstd():
    packed, start, sizes = pack("zstd", COUNTS, 1_300_000), 0, []
    while start < len(packed):
        size = zstd.get_frame_size(packed[start:])
        assert packed[start + 4] & 4  # a checksum follows
        sizes.append(zstd.get_frame_info(packed[start:]).decompressed_size)
        start += size
    assert sizes == [650_000] * 4 + [400_000]


def test_streams_of_bzip2():
    streams = list(encoder_for("bzip2").encode(COUNTS, 1_300_000))
    assert [len(bz2.decompress(s)) for s in streams] == [650_000] * 4 + [400_000]
    assert all(stream.startswith(b"BZh91AY&SY") for stream in streams)


# Other readers


@pytest.mark.parametrize("container", CONTAINERS)
def test_command_line_tools(container, tmp_path):
    tool = shutil.which(container)
    if tool is None:
        pytest.skip(f"there is no {container} here")
    path = tmp_path / ("a" + SUFFIX[container])
    path.write_bytes(pack(container, COUNTS, 300_000))
    subprocess.run([tool, "-t", path], check=True, capture_output=True)
    done = subprocess.run([tool, "-dc", path], check=True, capture_output=True)
    assert done.stdout == COUNTS.tobytes()


@pytest.mark.parametrize("container", CONTAINERS)
def test_readers_of_mrc(container, tmp_path):
    laid = lay(lengths=(70, 60, 20), order="<")
    path = tmp_path / ("a.mrc" + SUFFIX[container])
    encoder = encoder_for(container)
    head, data = laid.raw[:1024], laid.raw[1024:]
    parts = [*encoder.encode(head, 1024), *encoder.encode_parallel(data, 70 * 60 * 4)]
    path.write_bytes(b"".join([*parts, encoder.end()]))
    found = xarray_mrc.open_mrc(path)
    assert found[13].values.tobytes() == laid.pixels[13].tobytes()
    assert found.values.tobytes() == laid.pixels.tobytes()
    if container != "zstd":
        assert mrcfile.read(path).tobytes() == laid.pixels.tobytes()


# Threads


def test_only_a_few_jobs_are_ahead(monkeypatch):
    packed = []

    def slow(piece):
        packed.append(len(piece))
        return bytes(piece)

    monkeypatch.setattr(encoders, "compressor", lambda container, level: slow)
    data = np.zeros(64 * encoders.MIN_JOB_NBYTES, np.uint8)
    threads = {*threading.enumerate()}
    parts = encoders.Encoder("zstd").encode_parallel(data, encoders.MIN_JOB_NBYTES, threads=2)
    next(parts)
    assert sum(packed) <= (2 * encoders.MAX_QUEUED_JOBS + 1) * encoders.MIN_JOB_NBYTES
    parts.close()
    assert sum(packed) <= (2 * encoders.MAX_QUEUED_JOBS + 1) * encoders.MIN_JOB_NBYTES
    assert {*threading.enumerate()} <= threads


def test_an_error_in_a_thread_is_that_of_the_caller(monkeypatch):
    def fail(piece):
        raise MemoryError

    monkeypatch.setattr(encoders, "compressor", lambda container, level: fail)
    with pytest.raises(MemoryError):
        list(encoders.Encoder("gzip").encode_parallel(COUNTS, 10**6))


def test_cores():
    assert 1 <= encoders.cores() <= (os.cpu_count() or 1)


# What can't be written


@pytest.mark.parametrize("container", ["xz", "", "lz4", 9, ["gzip"]])
def test_unknown_containers(container):
    with pytest.raises(ValueError, match=r"expected one of 'gzip' \(.gz\)"):
        encoder_for(container)


def test_a_missing_library(monkeypatch):
    def missing():
        raise ModuleNotFoundError("gone", name="a_library")

    monkeypatch.setattr(encoders, "zstd_library", missing)
    encoders.compressor.cache_clear()
    with pytest.raises(ImportError, match=r"no module a_library.*write a \.gz"):
        encoder_for("zstd")
    encoders.compressor.cache_clear()
