"""Containers: what comes out of a stream, in which order soever, and what is refused."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import pickle
import random
import struct
import sys
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import PEAK_MEMORY, run_program

from xarray_mrc.errors import MrcChangedError, MrcError, MrcTruncatedError, MrcWarning
from xarray_mrc.storage.compressed import cursor, decoders, stream
from xarray_mrc.storage.compressed import source as compressed
from xarray_mrc.storage.compressed.decoders import container_of
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import MappedSource, split_parts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHECKED = {zstd.CompressionParameter.checksum_flag: 1}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=1),
    "zstd": lambda data: zstd.compress(data, options=CHECKED),
}
CONTAINERS = tuple(PACK)
DATA = np.random.default_rng(7).poisson(1.2, 700_000).astype(np.int8).tobytes()
SMALL = DATA[:500]


@cache
def pack(container: str, data: bytes) -> bytes:
    return PACK[container](data)


@dataclass(frozen=True)
class Box:
    """A container, with one of the libraries that can unpack it."""

    container: str

    def pack(self, *parts: bytes) -> bytes:
        return b"".join(pack(self.container, part) for part in parts)

    def source(self, stored: bytes) -> CompressedSource:
        return CompressedSource(MemorySource(stored), self.container)

    def packed(self, *parts: bytes) -> CompressedSource:
        return self.source(self.pack(*parts))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    decoders.decoder_maker.cache_clear()
    decoders.copyable_maker.cache_clear()
    stream.streams.clear()
    yield
    decoders.decoder_maker.cache_clear()
    decoders.copyable_maker.cache_clear()


@pytest.fixture(params=["gzip by isal", "gzip by zlib_ng", "gzip by zlib", "bzip2", "xz", "zstd"])
def box(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Box:
    container, _, library = request.param.partition(" by ")
    if library in ("isal", "zlib_ng"):
        pytest.importorskip(library)
    for better in {"zlib": ("isal", "zlib_ng"), "zlib_ng": ("isal",)}.get(library, ()):
        monkeypatch.setitem(sys.modules, better, None)
    return Box(container)


class Counting(MemorySource):
    """Bytes that count how many of them were read."""

    read = 0

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        self.read += sum(out.size for _, out in parts)
        super().read_ranges(parts)


def read(source: CompressedSource, start: int, stop: int) -> bytes:
    out = np.empty(stop - start, np.uint8)
    source.read_ranges([(start, out)])
    return out.tobytes()


def read_all(source: CompressedSource, nbytes: int) -> bytes:
    data = read(source, 0, nbytes)
    source.verify_trailer(nbytes)
    return data


def cut(data: bytes, number: int) -> list[bytes]:
    edges = [len(data) * i // number for i in range(number + 1)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def gzip_member(data: bytes, flags: int, long: int = 9) -> bytes:
    """Lay down a member with the optional fields of a header that `flags` asks for."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\xff"
    if flags & 4:
        head += struct.pack("<H", min(long, 65535)) + b"e" * min(long, 65535)
    if flags & 8:
        head += b"n" * long + b"\0"
    if flags & 16:
        head += b"c" * long + b"\0"
    if flags & 2:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    body = zlib.compressobj(wbits=-15)
    size = struct.pack("<II", zlib.crc32(data), len(data))
    return head + body.compress(data) + body.flush() + size


# What comes out


@pytest.mark.parametrize("members", [1, 2, 50])
def test_reads_what_was_packed(box: Box, members: int) -> None:
    source = box.packed(*cut(DATA, members))
    assert read_all(source, len(DATA)) == DATA
    assert source.measure_size() == len(DATA)


def test_reads_forwards_without_starting_again(box: Box) -> None:
    inner = Counting(box.pack(DATA))
    source = CompressedSource(inner, box.container)
    parts = [read(source, start, start + 10_000) for start in range(0, len(DATA), 10_000)]
    source.verify_trailer(len(DATA))
    assert b"".join(parts) == DATA
    assert inner.read == inner.size_if_known


def test_header_alone_costs_little(box: Box) -> None:
    inner = Counting(box.pack(DATA) + box.pack(DATA))
    assert read(CompressedSource(inner, box.container), 0, 1024) == DATA[:1024]
    limit = (
        inner.size_if_known if box.container == "bzip2" else 64 * 2**10
    )  # bzip2: a block of 900 kB
    assert inner.read <= limit


def test_reads_in_any_order(box: Box) -> None:
    source = box.packed(*cut(DATA, 3))
    chance = random.Random(1)
    for _ in range(20):
        start = chance.randrange(len(DATA))
        stop = min(len(DATA), start + chance.choice([1, 1000, 300_000]))
        assert read(source, start, stop) == DATA[start:stop]


@given(
    container=st.sampled_from(CONTAINERS),
    parts=st.lists(st.binary(max_size=60), max_size=4),
    padding=st.integers(0, 12),
    fractions=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6),
)
def test_reads_any_ranges(
    container: str, parts: list[bytes], padding: int, fractions: list[tuple[float, float]]
) -> None:
    data, pack = b"".join(parts), PACK[container]
    stored = bytes(padding).join(pack(part) for part in [b"", *parts])
    source = CompressedSource(MemorySource(stored), container)
    edges = [sorted((int(a * len(data)), int(b * len(data)))) for a, b in fractions]
    for start, stop in edges:
        assert read(source, start, stop) == data[start:stop]
    found, targets = split_parts([(start, stop - start) for start, stop in edges])
    source.read_ranges(targets)
    assert found.tobytes() == b"".join(data[a:b] for a, b in edges)
    assert read_all(source, len(data)) == data


def test_bands_take_one_pass(box: Box) -> None:
    inner = Counting(box.pack(DATA))
    source = CompressedSource(inner, box.container)
    byte_ranges = [(600_000, 100_000), (5, 10), (650_000, 10), (0, 100), (50, 100), (200_000, 0)]
    found, parts = split_parts(byte_ranges)
    source.read_ranges(parts)
    assert found.tobytes() == b"".join(DATA[a : a + n] for a, n in byte_ranges)
    assert inner.read <= inner.size_if_known


@pytest.mark.parametrize("long", [9, 100_000])
@pytest.mark.parametrize("flags", range(0, 32, 2))
@pytest.mark.parametrize("library", ["isal", "zlib"])
def test_gzip_headers_of_any_size_and_place(
    library: str, flags: int, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that reaches over the end of what was read at first, too."""
    if library == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
    for before in range(cursor.MIN_READ_NBYTES - 40, cursor.MIN_READ_NBYTES, 3):
        filler = gzip_member(b"", 8, before - len(gzip_member(b"", 8, 0)))
        assert len(filler) == before
        stored = filler + gzip_member(SMALL, flags, long) + gzip_member(DATA[:9], flags, long)
        source = CompressedSource(MemorySource(stored), "gzip")
        assert read_all(source, 509) == SMALL + DATA[:9]


def test_zstd_frames_without_content() -> None:
    skippable = b"\x5f\x2a\x4d\x18" + struct.pack("<I", 5) + b"index"
    stored = skippable + zstd.compress(SMALL) + skippable + zstd.compress(DATA) + skippable
    assert container_of(stored[:1024]) == "zstd"
    source = CompressedSource(MemorySource(stored), "zstd")
    assert read_all(source, 500 + len(DATA)) == SMALL + DATA


def test_has_no_maps(box: Box) -> None:
    assert not isinstance(box.packed(SMALL), MappedSource)


# Sizes


def test_sizes(box: Box) -> None:
    stored = box.pack(*cut(DATA, 3))
    for limit in (0, 1, 1000, len(DATA) - 1, len(DATA), len(DATA) + 1, 2**60):
        assert box.source(stored).bounded_size(limit) == min(len(DATA), limit + 1)
    source = box.source(stored)
    assert source.size_if_known is None
    assert source.stored_size() == len(stored)
    assert [source.bounded_size(5), source.measure_size(), source.bounded_size(5)] == [
        6,
        len(DATA),
        6,
    ]


def test_size_takes_one_pass(box: Box) -> None:
    inner = Counting(box.pack(DATA))
    source = CompressedSource(inner, box.container)
    assert source.measure_size() == source.measure_size() == len(DATA)
    with pytest.raises(MrcTruncatedError, match="only 700000 are there"):
        read(source, 0, len(DATA) + 1)
    assert inner.read == inner.size_if_known


def test_empty_streams(box: Box) -> None:
    source = box.packed(b"", b"")
    assert source.measure_size() == 0
    source.verify_trailer(0)
    with pytest.raises(
        MrcTruncatedError, match=r"^<bytes>: 1 bytes were wanted from byte 0, but o"
    ):
        read(source, 0, 1)


@pytest.mark.parametrize("known", [False, True])
def test_reading_beyond_the_end(box: Box, known: bool) -> None:
    source = box.packed(SMALL)
    if known:
        assert source.measure_size() == 500
    with pytest.raises(MrcTruncatedError, match="20 bytes were wanted from byte 490, but only 10"):
        read(source, 490, 510)
    with pytest.raises(MrcTruncatedError, match="20 bytes were wanted from byte 900, but only 0"):
        read(source, 900, 920)
    with pytest.raises(MrcTruncatedError, match="501 bytes were wanted from byte 0, but only 500"):
        source.verify_trailer(501)


# What is refused


@pytest.mark.parametrize("members", [1, 2])
def test_truncated_anywhere(box: Box, members: int) -> None:
    stored = box.pack(*cut(SMALL, members))
    for length in range(len(stored)):
        source = box.source(stored[:length])
        with pytest.raises(MrcTruncatedError, match=r"^<bytes>: "):
            read_all(source, len(SMALL))


def test_truncated_says_where(box: Box) -> None:
    stored = box.pack(DATA)
    source = box.source(stored[: len(stored) - 3])
    text = rf"the {box.container} data end after {len(stored) - 3} bytes, which gave \d+ bytes"
    with pytest.raises(MrcTruncatedError, match=text):
        assert source.measure_size()
    with pytest.raises(MrcTruncatedError, match="cut off, copy or download it again"):
        read_all(source, len(DATA))
    assert read(source, 0, 1024) == DATA[:1024]


@pytest.mark.parametrize("members", [1, 2])
def test_flipped_bits_are_found(box: Box, members: int) -> None:
    """A bit that is not found may only be one that says nothing about the data."""
    stored = box.pack(*cut(SMALL, members))
    texts: list[str] = []
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MrcWarning)
            try:
                assert read_all(box.source(bytes(damaged)), len(SMALL)) == SMALL
            except MrcError as error:
                texts.append(str(error))
    assert all(text.startswith("<bytes>: ") for text in texts)
    assert len(texts) > 0.9 * 8 * len(stored) - 100 * members


def test_damage_is_named(box: Box) -> None:
    damaged = bytearray(box.pack(DATA))
    damaged[len(damaged) // 2] ^= 0x55
    with pytest.raises(MrcError, match=rf"^<bytes>: the {box.container} data before byte \d+, aft"):
        read_all(box.source(bytes(damaged)), len(DATA))


@given(
    container=st.sampled_from(CONTAINERS),
    noise=st.binary(max_size=300),
    head=st.booleans(),
)
def test_noise_is_refused(container: str, noise: bytes, head: bool) -> None:
    begin = PACK[container](SMALL)[: 12 if head else 0]
    with pytest.raises(MrcError, match=r"^<bytes>: "):
        assert CompressedSource(MemorySource(begin + noise), container).measure_size() < 0


def test_first_error_is_not_the_last(box: Box) -> None:
    """A cursor that failed is not used again: each read fails in the same way."""
    stored = box.pack(DATA)
    source = box.source(stored[: len(stored) // 2])
    texts = set()
    for _ in range(3):
        with pytest.raises(MrcTruncatedError) as error:
            read(source, 0, len(DATA))
        texts.add(str(error.value))
    assert len(texts) == 1


def test_large_windows_are_refused() -> None:
    window = {zstd.CompressionParameter.window_log: 28}
    maker = zstd.ZstdCompressor(options=window)
    stored = maker.compress(SMALL) + maker.flush()
    with pytest.raises(MrcError, match=r"zstd data before .* can't be decompressed within 128 MiB"):
        read(CompressedSource(MemorySource(stored), "zstd"), 0, 1)
    stored = lzma.compress(SMALL)
    end = 12 + 4 * stored[12] + 4
    block = stored[12:16] + bytes([34]) + stored[17 : end - 4]  # a dictionary of 512 MiB
    stored = stored[:12] + block + struct.pack("<I", zlib.crc32(block)) + stored[end:]
    with pytest.raises(MrcError, match=r"xz data before .* can't be decompressed within 128 MiB"):
        read(CompressedSource(MemorySource(stored), "xz"), 0, 1)


def test_endless_headers_are_refused() -> None:
    inner = Counting(gzip_member(SMALL, 8, 10 * 2**20))
    with pytest.raises(MrcError, match="a header without end"):
        read(CompressedSource(inner, "gzip"), 0, 1)
    assert inner.read < 2 * 2**20


def test_members_without_content_are_not_waited_for(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor, "MAX_EMPTY_MEMBERS", 100)
    assert box.packed(SMALL, *[b""] * 90, SMALL, *[b""] * 90).measure_size() == 1000
    with pytest.raises(MrcError, match="more than 100 empty members"):
        assert box.packed(SMALL, *[b""] * 101).measure_size()


def test_missing_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lzma", None)
    source = CompressedSource(MemorySource(PACK["xz"](SMALL)), "xz")
    with pytest.raises(MrcError, match=r"xz data can't be read, .* no module lzma"):
        read(source, 0, 1)


def test_replaced_file_is_noticed(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(box.pack(DATA))
    source = CompressedSource(LocalSource.open(str(path))[0], box.container)
    read(source, 0, 10)
    path.write_bytes(box.pack(DATA, DATA))
    stream.streams.clear()  # what they have in hand is of the file as it was
    with pytest.raises(MrcChangedError):
        read(source, 600_000, 700_000)


# What lies behind the data


@pytest.mark.parametrize("between", [4, 512, 600_000])
def test_zeros_are_padding(box: Box, between: int) -> None:
    zeros = bytes(between)
    source = box.source(box.pack(SMALL) + zeros + box.pack(SMALL) + zeros)
    assert read_all(source, 1000) == SMALL + SMALL


@pytest.mark.parametrize("garbage", [b"x", b"\0\0garbage", bytes(600_000) + b"BZ"])
def test_garbage_is_told_once(box: Box, garbage: bytes) -> None:
    source = box.source(box.pack(SMALL) + garbage)
    number = len(garbage.lstrip(b"\0"))
    text = rf"^<bytes>: its last {number} stored bytes are not {box.container} data"
    with pytest.warns(MrcWarning, match=text):
        assert read_all(source, 500) == SMALL
    assert read_all(source, 500) == SMALL
    assert source.measure_size() == 500
    with pytest.raises(MrcTruncatedError, match=f"last {number} stored bytes are not"):
        read(source, 0, 501)


def test_garbage_that_replaced_data_is_an_error(box: Box) -> None:
    source = box.source(box.pack(SMALL) + b"?" + box.pack(SMALL)[1:])
    with pytest.raises(MrcTruncatedError, match=r"give only 500: the last .* the file is damaged"):
        read(source, 0, 1000)


@pytest.mark.parametrize("members", [1, 5])
def test_surplus_is_told_once(box: Box, members: int) -> None:
    source = box.packed(*cut(DATA, members))
    with pytest.warns(MrcWarning, match="has 699500 bytes more than the header describes"):
        assert read_all(source, 500) == SMALL
    assert read(source, 100, 500) == SMALL[100:]
    source.verify_trailer(500)


def test_damage_in_the_surplus_is_an_error(box: Box) -> None:
    stored = box.pack(SMALL, DATA)
    with pytest.raises(MrcTruncatedError):
        read_all(box.source(stored[:-1]), 500)


def test_endless_surplus_is_given_up(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MIN_SURPLUS_NBYTES", 1000)
    monkeypatch.setattr(stream, "BLOCK_NBYTES", 1000)
    source = box.packed(DATA)
    with pytest.warns(MrcWarning, match="has more than 999 bytes more"):
        assert read_all(source, 500) == SMALL


def test_verify_trailer_does_not_read_again(box: Box) -> None:
    inner = Counting(box.pack(DATA))
    source = CompressedSource(inner, box.container)
    read(source, len(DATA) - 10, len(DATA))
    source.verify_trailer(len(DATA))
    source.verify_trailer(len(DATA))
    assert inner.read == inner.size_if_known


# Values that hold nothing open


def test_pickles_and_compares(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(box.pack(DATA))
    inner = LocalSource.open(str(path))[0]
    source = CompressedSource(inner, box.container)
    read(source, 0, 100)
    text = pickle.dumps(source)
    assert len(text) < 1000
    again = pickle.loads(text)
    assert again == source
    assert hash(again) == hash(source)
    assert source.uri == str(path)
    assert source.fingerprint == again.fingerprint == (*inner.fingerprint, box.container)
    assert CompressedSource(inner, "other") != source
    assert read(again, 0, len(DATA)) == DATA


def test_copies_of_a_source_share_cursors(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(box.pack(DATA))
    source = CompressedSource(LocalSource.open(str(path))[0], box.container)
    read(source, 0, 100_000)
    (kept,) = stream.streams._cursors
    assert read(pickle.loads(pickle.dumps(source)), 200_000, 200_010) == DATA[200_000:200_010]
    assert stream.streams._cursors == [kept]


def test_cursors_are_few_and_hold_no_file(box: Box) -> None:
    watch = []
    for size in range(1000, 1030):
        inner = Counting(box.pack(DATA[:size]))
        watch.append(weakref.ref(inner))
        read(CompressedSource(inner, box.container), 0, 100)
    del inner
    gc.collect()
    assert not any(inner() for inner in watch)
    heavy = box.container in stream.HEAVY_CONTAINERS
    assert len(stream.streams._cursors) == (
        stream.MAX_HEAVY_CURSORS if heavy else stream.MAX_CURSORS
    )


def test_file_objects_are_never_taken_for_one(box: Box) -> None:
    """Objects that follow each other often have one `id`."""
    ones, twos = bytes([1]) * 5000, bytes([2]) * 5000
    for data in [ones, twos] * 10:
        source = CompressedSource(FileObjectSource(io.BytesIO(box.pack(data))), box.container)
        assert read(source, 0, 10) == data[:10]
        assert read(source, 4000, 4010) == data[:10]
        assert pickle.loads(pickle.dumps(box.source(b""))).container == box.container
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(source)


def test_threads(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(box.pack(*cut(DATA, 4)))
    source = CompressedSource(LocalSource.open(str(path))[0], box.container)
    chance = random.Random(3)
    starts = [chance.randrange(len(DATA) - 5000) for _ in range(64)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda start: read(source, start, start + 5000), starts))
    assert found == [DATA[start : start + 5000] for start in starts]
    assert len(stream.streams._cursors) <= stream.MAX_CURSORS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_takes_a_cursor(box: Box) -> None:
    source = box.packed(DATA)
    read(source, 0, 100_000)
    with stream.streams._lock:
        child = os.fork()
        if child == 0:
            right = not stream.streams._cursors
            right = right and read(source, 200_000, 300_000) == DATA[200_000:300_000]
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read(source, 200_000, 300_000) == DATA[200_000:300_000]


# Memory and time

BOMB = """
import sys
import numpy as np
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import LocalSource

path, container, library, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if library == "zlib":
    sys.modules["isal"] = sys.modules["zlib_ng"] = None
source = CompressedSource(LocalSource.open(path)[0], container)
source.read_ranges([(0, np.empty(1024, np.uint8))])
before = peak_nbytes()
assert source.bounded_size(10**6) == 10**6 + 1
source.read_ranges([(size - 10, np.empty(10, np.uint8))])
source.verify_trailer(size)
assert source.measure_size() == size
print(peak_nbytes() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
@pytest.mark.parametrize("case", ["gzip isal", "gzip zlib", "bzip2 -", "xz -", "zstd -"])
def test_memory_does_not_grow_with_the_content(case: str, tmp_path: Path) -> None:
    container, library = case.split()
    size = 256 * 2**20
    path = tmp_path / "bomb"
    path.write_bytes(PACK[container](bytes(2**24)) * 16)
    grown = int(run_program(PEAK_MEMORY + BOMB, path, container, library, size))
    assert grown < 24 * 2**20


# Recognition


def test_containers_are_known_by_their_first_bytes() -> None:
    for container, pack in PACK.items():
        for data in (b"", SMALL, DATA):
            assert container_of(pack(data)[:1024]) == container
        assert container_of(pack(SMALL)[:2]) is None
    assert container_of(b"") is None
    for first in range(0x50, 0x60):
        assert container_of(bytes([first]) + b"\x2a\x4d\x18\0\0\0\0") == "zstd"


def test_decoys_are_plain() -> None:
    for pack in PACK.values():
        head = bytearray(1024)
        head[:10] = pack(SMALL)[:10]
        head[208:212] = b"MAP "
        assert container_of(bytes(head)) is None
    assert container_of(b"BZh0" + decoders.BZIP2_BLOCKS[0]) is None
    assert container_of(b"BZh9" + bytes(100)) is None
    assert container_of(b"\x1f\x8b\x07" + bytes(100)) is None
    assert container_of(b"\x4f\x2a\x4d\x18" + bytes(100)) is None


def test_compression_libraries_are_imported_when_needed() -> None:
    program = (
        "import sys, xarray_mrc.storage.compressed.source; "
        "print({name.split('.')[0] for name in sys.modules} & {'isal', 'backports', 'compression'})"
    )
    assert run_program(program).strip() == "set()"
