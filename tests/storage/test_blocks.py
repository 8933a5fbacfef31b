"""Files of blocks: any access gives the bytes of the stream, and damage is found in any order."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import run_program

from xarray_mrc.errors import MrcError, MrcTruncatedError, MrcWarning
from xarray_mrc.storage.compressed import (
    block_files,
    blocks,
    bzip2_blocks,
    gzip_blocks,
    scanning,
    stream,
)
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import Head, split_parts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHECKED = {zstd.CompressionParameter.checksum_flag: 1}
# Far beyond the content that is read as a stream, at the start of a file.
DATA = np.random.default_rng(7).poisson(1.2, 1_500_000).astype(np.int8).tobytes()
SIZE = len(DATA)


def bgzf_block(data: bytes) -> bytes:
    """Lay down a BGZF block, as the SAM specification describes it."""
    maker = zlib.compressobj(6, wbits=-15)
    body = maker.compress(data) + maker.flush()
    head = struct.pack("<4BIBBH2sHH", 31, 139, 8, 4, 0, 0, 255, 6, b"BC", 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def bgzf(data: bytes, nbytes: int = 65280) -> bytes:
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    return b"".join(map(bgzf_block, [*parts, b""]))


def members(data: bytes, nbytes: int = 100_000) -> bytes:
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    return b"".join(gzip.compress(part, 6, mtime=0) for part in parts)


def bz2_streams(data: bytes) -> bytes:
    """Streams of one block and of several, with empty streams and zeros between."""
    edges = [0, 90_000, 500_000, 590_000, len(data)]
    streams = [bz2.compress(data[a:b], 1) for a, b in pairwise(edges)]
    return streams[0] + bz2.compress(b"") + streams[1] + bytes(30) + streams[2] + streams[3]


def zstd_frames(data: bytes, nbytes: int = 100_000) -> bytes:
    """Frames that state their sizes, and checksums, with skippable frames between."""
    skippable = b"\x53\x2a\x4d\x18" + struct.pack("<I", 3) + b"any"
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    return skippable.join(zstd.compress(part, options=CHECKED) for part in parts)


def unsized_frame(data: bytes, checked: bool = True) -> bytes:
    maker = zstd.ZstdCompressor(options=CHECKED if checked else {})
    half = len(data) // 2
    frame = maker.compress(data[:half]) + maker.compress(data[half:]) + maker.flush()
    assert zstd.get_frame_info(frame).decompressed_size is None
    return frame


def unsized_frames(data: bytes, nbytes: int = 100_000) -> bytes:
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    return b"".join(map(unsized_frame, parts))


def seekable(data: bytes, nbytes: int = 100_000) -> bytes:
    """Frames without sizes and checksums, and a table with both, of the seekable format."""
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    frames = [unsized_frame(part, checked=False) for part in parts]
    # The checksum of the content that a frame may have is that of the table.
    sums = [unsized_frame(part)[-4:] for part in parts]
    table = b"".join(
        struct.pack("<II", len(frame), len(part)) + checksum
        for frame, part, checksum in zip(frames, parts, sums, strict=True)
    )
    table += struct.pack("<IBI", len(parts), 0x80, 0x8F92EAB1)
    return b"".join(frames) + b"\x5e\x2a\x4d\x18" + struct.pack("<I", len(table)) + table


def xz_number(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + xz_number(value >> 7) if value > 0x7F else bytes([value])


def xz_blocks(data: bytes, nbytes: int = 100_000) -> bytes:
    """One stream of several blocks, which are taken from streams of one block."""
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    blocks, index = b"", b"\0" + xz_number(len(parts))
    for part in parts:
        made = lzma.compress(part, preset=0)
        (backward,) = struct.unpack("<I", made[-8:-4])
        start = len(made) - 12 - 4 * (backward + 1)
        # Its index has one record: the size of the block without padding, and of the content.
        size = made[start + 2] & 0x7F | (made[start + 3] & 0x7F) << 7 | made[start + 4] << 14
        blocks += made[12:start]
        index += xz_number(size) + xz_number(len(part))
    index += bytes(-len(index) % 4)
    index += struct.pack("<I", zlib.crc32(index))
    end = struct.pack("<I", len(index) // 4 - 1) + made[6:8]
    return made[:12] + blocks + index + struct.pack("<I", zlib.crc32(end)) + end + b"YZ"


def xz_streams(data: bytes, nbytes: int = 100_000) -> bytes:
    parts = [data[i : i + nbytes] for i in range(0, len(data), nbytes)]
    return bytes(8).join(lzma.compress(part, preset=0) for part in parts)


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "BGZF": ("gzip", bgzf),
    "gzip members": ("gzip", members),
    "bzip2": ("bzip2", partial(bz2.compress, compresslevel=1)),
    "bzip2 streams": ("bzip2", bz2_streams),
    "zstd frames": ("zstd", zstd_frames),
    "zstd frames without sizes": ("zstd", unsized_frames),
    "seekable zstd": ("zstd", seekable),
    "xz blocks": ("xz", xz_blocks),
    "xz streams": ("xz", xz_streams),
}


@cache
def stored_as(kind: str) -> bytes:
    return PACK[kind][1](DATA)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small files are files of blocks, too, and jobs are small enough for several threads."""
    monkeypatch.setattr(block_files, "MIN_STORED_NBYTES", 0)
    monkeypatch.setattr(blocks, "JOB_NBYTES", 100_000)
    monkeypatch.setattr(blocks, "MAX_AHEAD_NBYTES", 400_000)
    forget()
    yield
    forget()


def forget() -> None:
    stream.streams.clear()
    block_files.block_files.clear()
    blocks.recent_blocks.clear()


@pytest.fixture(params=[*PACK])
def packed(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return PACK[request.param][0], stored_as(request.param)


class Counting(MemorySource):
    """Bytes that count how many of them were read through `read_ranges`."""

    nread = 0

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        self.nread += sum(out.size for _, out in parts)
        super().read_ranges(parts)


def read(source: CompressedSource, start: int, stop: int) -> bytes:
    out = np.empty(stop - start, np.uint8)
    source.read_ranges([(start, out)])
    return out.tobytes()


def no_stream(*_: object) -> None:
    raise AssertionError("the file was read as a stream")


# What comes out


def test_a_late_read_takes_its_blocks_only(
    packed: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    container, stored = packed
    inner = Counting(stored)
    source = CompressedSource(inner, container)
    monkeypatch.setattr(stream.Cursor, "read", no_stream)
    is_growing = container == "bzip2" or stored == stored_as("zstd frames without sizes")
    if is_growing:  # where blocks are is known after one pass
        assert read(source, SIZE - 1000, SIZE) == DATA[-1000:]
        assert inner.nread <= len(stored) + 70_000
        inner.nread = 0
        blocks.recent_blocks.clear()
    assert read(source, SIZE - 5000, SIZE - 4000) == DATA[-5000:-4000]
    assert inner.nread < 150_000


def test_neighbouring_reads_decompress_a_block_once(
    packed: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    container, stored = packed
    source = CompressedSource(MemorySource(stored), container)
    made: list[int] = []
    decode = gzip_blocks.decode_member

    def count(data: memoryview, number: int, nbytes: int) -> bytes:
        made.append(number)
        return decode(data, number, nbytes)

    monkeypatch.setattr(gzip_blocks, "decode_member", count)
    for start in range(200_000, 900_000, 1000):
        assert read(source, start, start + 1000) == DATA[start : start + 1000]
    assert len(made) <= len({*made}) + 1  # the one before may be checked for its size, too


ORDERS = st.lists(
    st.tuples(st.integers(0, SIZE), st.sampled_from([0, 1, 700, 65280, 200_000, SIZE])), max_size=6
)


@given(kind=st.sampled_from([*PACK]), wanted=ORDERS, one_by_one=st.booleans())
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_ranges_in_any_order(
    kind: str, wanted: list[tuple[int, int]], one_by_one: bool
) -> None:
    source = CompressedSource(MemorySource(stored_as(kind)), PACK[kind][0])
    ranges = [(start, min(nbytes, SIZE - start)) for start, nbytes in wanted]
    if one_by_one:
        for start, nbytes in ranges:
            assert read(source, start, start + nbytes) == DATA[start : start + nbytes]
    found, parts = split_parts(ranges)
    source.read_ranges(parts)
    assert found.tobytes() == b"".join(DATA[start : start + nbytes] for start, nbytes in ranges)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, 70_000, 65280, 100_000]), min_size=1, max_size=12),
    with_bsize=st.booleans(),
    start=st.floats(0, 1),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_members_of_any_sizes(sizes: list[int], with_bsize: bool, start: float) -> None:
    edges = np.cumsum([0, *sizes]).tolist()
    whole = bytes(edges[-1]) if edges[-1] > SIZE else DATA
    parts = [whole[a:b] for a, b in pairwise(edges)]
    data = b"".join(parts)
    pack = (
        bgzf_block if with_bsize and max(sizes) < 2**16 else partial(gzip.compress, compresslevel=1)
    )
    source = CompressedSource(MemorySource(b"".join(map(pack, parts))), "gzip")
    first = int(start * len(data))
    assert read(source, first, len(data)) == data[first:]
    source.verify_trailer(len(data))
    assert source.measure_size() == len(data)
    assert read(source, 0, len(data)) == data


def test_sizes(packed: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    container, stored = packed
    source = CompressedSource(MemorySource(stored), container)
    for limit in (100_000, SIZE - 1, SIZE, SIZE + 1, 2**60):
        assert source.bounded_size(limit) == min(SIZE, limit + 1)
    monkeypatch.setattr(stream.Cursor, "read", no_stream)
    assert source.measure_size() == SIZE
    with pytest.raises(MrcTruncatedError, match="10 bytes were wanted from byte 1499995, but o"):
        read(source, SIZE - 5, SIZE + 5)


def test_a_whole_read_verifies_all(packed: tuple[str, bytes]) -> None:
    container, stored = packed
    inner = Counting(stored)
    source = CompressedSource(inner, container)
    assert read(source, 0, SIZE) == DATA
    source.verify_trailer(SIZE)
    before = inner.nread
    assert source.measure_size() == SIZE
    assert inner.nread == before <= len(stored) + 2 * 65536


@pytest.mark.parametrize("copied", [False, True])
def test_scanning_by_windows(copied: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scanning, "MAP_NBYTES", 300_000)
    monkeypatch.setattr(scanning, "COPY_NBYTES", 70_000)
    path = tmp_path / "a.mrc.gz"
    for stored in (stored_as("BGZF"), stored_as("gzip members")):
        path.write_bytes(stored)
        source = CompressedSource(LocalSource.open(str(path), memmap=not copied)[0], "gzip")
        assert read(source, SIZE - 70_000, SIZE) == DATA[-70_000:]
        assert source.measure_size() == SIZE


# What is refused


@given(
    kind=st.sampled_from([*PACK]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 8),
    order=st.sampled_from(["in order", "reversed", "random", "whole"]),
    seed=st.integers(0, 9),
)
@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_found_in_every_order(
    kind: str, where: float, bit: int, order: str, seed: int
) -> None:
    """Bit 8 cuts the file off. What is not found may only be what says nothing about the data."""
    container, stored = PACK[kind][0], bytearray(stored_as(kind))
    at = int(where * len(stored))
    if bit == 8:
        del stored[at:]
    else:
        stored[at] ^= 1 << bit
    source = CompressedSource(MemorySource(bytes(stored)), container)
    starts = [*range(0, SIZE, 150_000)] if order != "whole" else [0]
    step = SIZE if order == "whole" else 150_000
    if order == "random":
        random.Random(seed).shuffle(starts)
    elif order == "reversed":
        starts.reverse()
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MrcWarning)
        try:
            for start in starts:
                found[start] = read(source, start, start + step)
            source.verify_trailer(SIZE)
        except MrcError as error:
            assert str(error).startswith("<bytes>: ")  # noqa: PT017
            if bit == 8:
                assert isinstance(error, MrcTruncatedError)  # noqa: PT017
            assert all(found[start] == DATA[start : start + step] for start in found)
            return
    assert b"".join(found[start] for start in sorted(found)) == DATA
    # Without the empty last block or the table at the end, the data are complete, too.
    assert bit != 8 or kind in ("BGZF", "seekable zstd")


@pytest.mark.parametrize("nbytes", [99_984, 99_999, 100_001, 100_016])
def test_a_frame_that_became_longer_or_shorter(nbytes: int) -> None:
    """The frames have no checksums, so that a stream would shift all that follows."""
    stored = stored_as("seekable zstd")
    first = len(unsized_frame(DATA[:100_000], checked=False))
    other = unsized_frame(bytes(nbytes), checked=False)
    rest = first - len(other) - 8
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", rest) + bytes(rest)
    source = CompressedSource(MemorySource(other + skippable + stored[first:]), "zstd")
    with pytest.raises(MrcError, match="frame 0 does not have the checksum of the seek table"):
        read(source, 0, SIZE)
    with pytest.raises(MrcError, match="frame 0 does not have the checksum of the seek table"):
        source.measure_size()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("number", range(9))
def test_reads_that_end_where_blocks_do(number: int, order: int) -> None:
    """Each section has a block. The first ones are read as a stream, which does not come to the
    checksum of a block if a flipped bit has made its content longer."""
    starts = range(0, 300_000, 10_000)
    stored = [bgzf_block(DATA[start : start + 10_000]) for start in starts]
    wrong = bgzf_block(DATA[number : number + 10_001])
    stored[number] = wrong[:-4] + struct.pack("<I", 10_000)
    source = CompressedSource(MemorySource(b"".join([*stored, bgzf_block(b"")])), "gzip")

    def read_all() -> None:
        for start in starts[::order]:
            read(source, start, start + 10_000)
            if start == starts[-1]:
                source.verify_trailer(300_000)

    with pytest.raises(MrcError):
        read_all()


def test_a_wrong_size_shifts_nothing() -> None:
    """A bit that flipped in the size of a block that is not read must not move later bytes."""
    stored = bytearray(stored_as("BGZF"))
    first = struct.unpack_from("<H", stored, 16)[0] + 1
    stored[first - 4] ^= 1
    source = CompressedSource(MemorySource(bytes(stored)), "gzip")
    with pytest.raises(MrcError, match="damaged"):
        read(source, SIZE - 70_000, SIZE)


def test_false_members_are_read_as_a_stream() -> None:
    """The header of a member within the stored bytes of another, which a scan takes for one."""
    decoy = gzip.compress(b"x" * 70_000, mtime=0)
    data = [b"a" * 100_000, decoy + os.urandom(1000), b"b" * 100_000]
    stored = b"".join(gzip.compress(part, 0, mtime=0) for part in data)
    whole = b"".join(data)
    for start in (70_000, len(whole) - 10):
        forget()
        source = CompressedSource(MemorySource(stored), "gzip")
        assert read(source, start, len(whole)) == whole[start:]
        assert source.measure_size() == len(whole)


@pytest.mark.parametrize("garbage", [b"x", b"\0\0garbage", bytes(600_000) + b"BZ", bytes(9)])
def test_garbage_is_named_as_by_a_stream(packed: tuple[str, bytes], garbage: bytes) -> None:
    container, stored = packed
    source = CompressedSource(MemorySource(stored + garbage), container)
    assert read(source, SIZE - 10, SIZE) == DATA[-10:]
    number = len(garbage.lstrip(b"\0"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source.verify_trailer(SIZE)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == bool(number)
    assert not number or f"its last {number} stored bytes are not {container} data" in texts[0]
    assert source.measure_size() == SIZE
    assert source.trailing_nbytes() == number


def test_surplus_is_named(packed: tuple[str, bytes]) -> None:
    container, stored = packed
    source = CompressedSource(MemorySource(stored), container)
    with pytest.warns(MrcWarning, match=f"has {SIZE - 70_000} bytes more than the header"):
        source.verify_trailer(70_000)


def test_claims_of_very_high_ratios_are_checked() -> None:
    """Sizes in the trailers that are lies make the size of the whole a lie."""
    block = bytearray(bgzf_block(b"a" * 20))
    block[-4:] = struct.pack("<I", 28_000)
    source = CompressedSource(MemorySource(bytes(block) * 3000), "gzip")
    with pytest.raises(MrcError):
        assert source.bounded_size(2**40)


# Processes and threads


def test_threads_and_a_pickled_copy(packed: tuple[str, bytes], tmp_path: Path) -> None:
    container, stored = packed
    path = tmp_path / "a.mrc"
    path.write_bytes(stored)
    source = CompressedSource(LocalSource.open(str(path))[0], container)
    other = pickle.loads(pickle.dumps(source))
    chance = random.Random(3)
    starts = [chance.randrange(SIZE - 90_000) for _ in range(120)]
    with ThreadPoolExecutor(6) as threads:
        jobs = [
            (start, threads.submit(read, chance.choice([source, other]), start, start + 90_000))
            for start in starts
        ]
        for start, job in jobs:
            assert job.result() == DATA[start : start + 90_000]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_on(packed: tuple[str, bytes]) -> None:
    container, stored = packed
    source = CompressedSource(MemorySource(stored), container)
    assert read(source, 200_000, 900_000) == DATA[200_000:900_000]
    with block_files.block_files._lock, blocks.recent_blocks._lock, blocks.decoder_pool._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if read(source, 100_000, SIZE) == DATA[100_000:] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read(source, 100_000, SIZE) == DATA[100_000:]


class FailingOnce(MemorySource):
    """Bytes of which one read, of a number that is set later, fails as a network may."""

    read_ahead_nbytes = 2**10
    reads_left = 0

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        self.reads_left -= 1
        if self.reads_left == 0:
            raise ConnectionResetError
        super().read_ranges(parts)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 9])
def test_a_read_that_failed_shifts_nothing(
    packed: tuple[str, bytes], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bzip2_blocks, "READ_NBYTES", 40_000)
    monkeypatch.setattr(bzip2_blocks, "MAX_STORED_NBYTES", 40_000)
    monkeypatch.setattr(blocks, "MAX_READ_NBYTES", 40_000)
    inner = FailingOnce(packed[1])
    source = CompressedSource(inner, packed[0])
    assert read(source, 100_000, 100_100) == DATA[100_000:100_100]
    inner.reads_left = number
    with suppress(ConnectionResetError):
        assert read(source, 300_000, 1_400_000) == DATA[300_000:1_400_000]
    for start in (250_000, 420_000, 800_000, 1_300_000):
        assert read(source, start, start + 1000) == DATA[start : start + 1000]
    assert read(source, 0, SIZE) == DATA


def test_a_table_that_another_thread_replaced_is_not_relied_on() -> None:
    """The blocks of an index are wrong for two threads at once; one of them finds them anew."""
    inner = MemorySource(bgzf(DATA))
    right = gzip_blocks.find_gzip_blocks(inner, bgzf_block(b""))
    assert right is not None

    class Replaced(block_files.BlockFile):
        def _give_up(self, error: blocks.BlockError) -> None:
            super()._give_up(error)
            self.table, self.needs_pass = right, False

    def fail(data: memoryview, number: int, nbytes: int) -> bytes:
        raise ValueError("not the block of the table")

    file, out = Replaced("gzip"), np.zeros(200_000, np.uint8)
    assert file.find(inner, b"")
    file.table = replace(right, decode=fail, is_beside=True)
    assert file.read_ranges(inner, [(100_000, out)])
    assert out.tobytes() == DATA[100_000:300_000]


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_files, "MAX_FILES", 3)
    for _ in range(10):
        source = CompressedSource(MemorySource(bgzf(DATA[:200_000])), "gzip")
        assert read(source, 100_000, 200_000) == DATA[100_000:200_000]
    assert len(block_files.block_files._files) == 3
    assert blocks.recent_blocks._nbytes <= blocks.MAX_RECENT_NBYTES


def test_small_files_are_streams() -> None:
    program = """
import gzip, numpy as np
from xarray_mrc.storage.compressed import block_files
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.memory import MemorySource
source = CompressedSource(MemorySource(gzip.compress(bytes(10**6)) * 2), "gzip")
source.read_ranges([(10**6, np.empty(10**6, np.uint8))])
print(len(block_files.block_files._files))
"""
    assert run_program(program).strip() == "0"


# Indexes beside a file


def gzi(stored: bytes) -> bytes:
    """Lay down the index that `bgzip -r` writes, without the empty block at the end."""
    pairs, start, offset = [], 0, 0
    while start < len(stored):
        pairs.append((start, offset))
        start += struct.unpack_from("<H", stored, start + 16)[0] + 1
        offset += struct.unpack_from("<I", stored, start - 4)[0]
    pairs = pairs[1:-1]
    return struct.pack("<Q", len(pairs)) + b"".join(struct.pack("<QQ", *pair) for pair in pairs)


@dataclass(frozen=True)
class Elsewhere:
    """A file that is not on this computer, with another beside it; reads are counted."""

    stored: bytes
    beside: bytes | None
    reads: list[int]
    local_path = None
    uri = "https://example.org/a.mrc.gz"
    read_ahead_nbytes = 2**20

    @property
    def size_if_known(self) -> int:
        return len(self.stored)

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        return len(self.stored), hash(self.stored)

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        self.reads.append(sum(out.size for _, out in parts))
        MemorySource(self.stored).read_ranges(parts)

    def open_beside(self, suffix: str) -> Head | None:
        assert suffix == ".gzi"
        return None if self.beside is None else Head(MemorySource(self.beside))


def test_an_index_beside_a_remote_file() -> None:
    stored = stored_as("BGZF")
    inner = Elsewhere(stored, gzi(stored), [])
    source = CompressedSource(inner, "gzip", start=stored[:64])
    assert read(source, SIZE - 70_000, SIZE - 60_000) == DATA[-70_000:-60_000]
    assert len(inner.reads) <= 4
    assert sum(inner.reads) < 200_000
    assert read(source, 0, SIZE) == DATA
    assert source.measure_size() == SIZE


def test_a_remote_file_without_an_index_is_a_stream() -> None:
    stored = stored_as("BGZF")
    source = CompressedSource(Elsewhere(stored, None, []), "gzip", start=stored[:64])
    assert read(source, SIZE - 70_000, SIZE) == DATA[-70_000:]


def test_a_remote_file_of_many_streams_is_a_stream() -> None:
    """To find the streams of xz from the last to the first takes requests for each."""
    inner = Elsewhere(xz_streams(DATA[:800_000], 10_000), None, [])
    source = CompressedSource(inner, "xz")
    assert read(source, 100_000, 200_000) == DATA[100_000:200_000]
    assert len(inner.reads) < 40


@pytest.mark.parametrize("where", ["local", "remote"])
@pytest.mark.parametrize("wrong", ["stored", "content", "count", "empty", "noise", "of another"])
def test_a_wrong_index_is_left_out(where: str, wrong: str, tmp_path: Path) -> None:
    stored = stored_as("BGZF")
    index = bytearray(gzi(stored))
    if wrong == "count":
        index[0] ^= 1
    elif wrong == "stored":
        index[8 + 16 * 10] ^= 1
    elif wrong == "content":
        index[16 + 16 * 10] ^= 1
    elif wrong == "of another":
        index = bytearray(gzi(bgzf(DATA, 60_000)))
    else:
        index = bytearray(os.urandom(800) if wrong == "noise" else b"")
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(stored)
    (tmp_path / "a.mrc.gz.gzi").write_bytes(index)
    inner = LocalSource.open(str(path))[0] if where == "local" else Elsewhere(stored, index, [])
    source = CompressedSource(inner, "gzip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for start in (SIZE - 70_000, 500_000, 0):
            assert read(source, start, SIZE) == DATA[start:]
    assert len(caught) <= 1
    assert where == "remote" or "so that it was left out; make it again" in str(caught[0].message)


def test_an_old_index_is_left_out(tmp_path: Path) -> None:
    path, index = tmp_path / "a.mrc.gz", tmp_path / "a.mrc.gz.gzi"
    index.write_bytes(gzi(bgzf(bytes(SIZE))))
    path.write_bytes(stored_as("BGZF"))
    os.utime(index, (1e9, 1e9))
    source = CompressedSource(LocalSource.open(str(path))[0], "gzip")
    with pytest.warns(MrcWarning, match=r"a\.mrc\.gz\.gzi: it is older than the file, so that it"):
        assert read(source, SIZE - 70_000, SIZE) == DATA[-70_000:]


# Files of other programs


TOOLS = {
    "bgzip": ("gzip", ["bgzip", "-c"], True),
    "bgzip -i": ("gzip", ["bgzip", "-c"], True),
    "gzip": ("gzip", ["gzip", "-c"], False),
    "pigz": ("gzip", ["pigz", "-c", "-p", "2"], False),
    "pigz -i": ("gzip", ["pigz", "-c", "-i", "-b", "128"], False),
    "bzip2": ("bzip2", ["bzip2", "-c"], True),
    "bzip2 -1": ("bzip2", ["bzip2", "-c", "-1"], True),
    "pbzip2": ("bzip2", ["pbzip2", "-c", "-b1"], True),
    "lbzip2": ("bzip2", ["lbzip2", "-c", "-n", "2"], True),
    "zstd": ("zstd", ["zstd", "-q", "-c"], False),
    "pzstd": ("zstd", ["pzstd", "-q", "-c", "-p", "2", "-1"], False),
    "xz": ("xz", ["xz", "-c", "-0", "-T1"], False),
    "xz -T2": ("xz", ["xz", "-c", "-0", "-T2", "--block-size=200000", "--check=sha256"], True),
    "xz --block-size": (
        "xz",
        ["xz", "-c", "-0", "-T1", "--block-size=200000", "-C", "crc32"],
        True,
    ),
}


@pytest.mark.compressors
@pytest.mark.parametrize("name", [*TOOLS])
def test_files_of_tools(name: str, tmp_path: Path) -> None:
    container, command, has_blocks = TOOLS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (tmp_path / "a").write_bytes(DATA)
    stored = subprocess.run([*command, str(tmp_path / "a")], check=True, capture_output=True).stdout
    path = tmp_path / "a.packed"
    path.write_bytes(stored)
    if name == "bgzip -i":
        subprocess.run(["bgzip", "-r", str(path)], check=True)
        assert path.with_name("a.packed.gzi").stat().st_size > 300
    source = CompressedSource(LocalSource.open(str(path))[0], container)
    for start in (1_400_000, 70_000, 0, 700_000):
        assert read(source, start, start + 100_000) == DATA[start : start + 100_000]
    assert source.measure_size() == SIZE
    file = block_files.block_files.find(source._key, container, source.inner, stored[:64])
    assert (file is not None) == has_blocks
