"""gzip out of order: the work that it takes, threads that share a pass, damage that is found."""

from __future__ import annotations

import gzip
import os
import pickle
import random
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import PEAK_MEMORY, run_program

from xarray_mrc.errors import MrcError, MrcTruncatedError
from xarray_mrc.storage.compressed import cursor, decoders, points, stream
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.protocol import split_parts

SPACING = 20_000
DATA = np.random.default_rng(5).poisson(3, 1_000_000).astype(np.uint8).tobytes()
STORED = gzip.compress(DATA, 1, mtime=0)
BLOCK = 50_000
STARTS = range(0, len(DATA), BLOCK)


@pytest.fixture(params=["isal, zlib_ng", "isal, zlib", "zlib"], autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make points, skips and blocks small, so that a small file has many."""
    for library in ("isal", "zlib_ng"):
        if library in request.param:
            pytest.importorskip(library)
        else:
            monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(points, "MIN_SPACING_NBYTES", SPACING)
    monkeypatch.setattr(stream, "MIN_SPACING_NBYTES", SPACING)
    monkeypatch.setattr(stream, "MAX_SKIP_NBYTES", 2 * SPACING)
    monkeypatch.setattr(stream, "BLOCK_NBYTES", 5_000)
    monkeypatch.setattr(cursor, "BLOCK_NBYTES", 5_000)
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    decoders.decoder_maker.cache_clear()
    decoders.copyable_maker.cache_clear()
    stream.streams.clear()


class Counting(MemorySource):
    """Bytes that count how many of them were read."""

    read = 0
    read_ahead_nbytes = 8_000

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        self.read += sum(out.size for _, out in parts)
        super().read_ranges(parts)


def gz(stored: bytes = STORED) -> CompressedSource:
    return CompressedSource(Counting(stored), "gzip")


def read(source: CompressedSource, start: int, nbytes: int) -> bytes:
    out = np.empty(nbytes, np.uint8)
    source.read_ranges([(start, out)])
    return out.tobytes()


def point_count() -> int:
    return stream.streams._points._count


# The work that it takes


def test_blocks_backwards_take_two_passes() -> None:
    source = gz()
    for start in reversed(STARTS):
        assert read(source, start, BLOCK) == DATA[start : start + BLOCK]
    source.verify_trailer(len(DATA))
    # One pass, and each block from the point before it, which is 20 kB away at most.
    assert source.inner.read < 2.9 * len(STORED)


@pytest.mark.parametrize("threads", [2, 6])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_in_any_order_on_threads(threads: int, seed: int) -> None:
    source, order = gz(), [*STARTS]
    random.Random(seed).shuffle(order)
    with ThreadPoolExecutor(threads) as pool:
        found = [*pool.map(lambda start: read(source, start, BLOCK), order)]
    assert found == [DATA[start : start + BLOCK] for start in order]
    assert source.inner.read < 2.9 * len(STORED)
    source.verify_trailer(len(DATA))
    assert source.measure_size() == len(DATA)


def test_a_slice_after_the_pass_takes_one_spacing() -> None:
    source = gz()
    read(source, 900_000, 10)
    source.inner.read = 0
    for start in range(850_000, 0, -70_000):
        assert read(source, start, 10) == DATA[start : start + 10]
    taken = source.inner.read
    # 12 slices: at most one spacing and what is read ahead, each.
    assert taken < 12 * (1.2 * SPACING * len(STORED) / len(DATA) + 16_000) < 12 * len(STORED) / 5


def test_a_slice_after_the_pass_takes_one_request() -> None:
    class Remote(Counting):
        requests = 0
        read_ahead_nbytes = 2**20

        def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
            self.requests += 1
            super().read_ranges(parts)

    source = CompressedSource(Remote(STORED), "gzip")
    read(source, 900_000, 10)
    for start in (300_000, 100_000):
        source.inner.requests = source.inner.read = 0
        assert read(source, start, 4 * BLOCK) == DATA[start : start + 4 * BLOCK]
        assert source.inner.requests == 1
        assert source.inner.read < (4 * BLOCK + 2.5 * SPACING) * len(STORED) / len(DATA)


def test_in_order_leaves_no_points_if_isal_reads(request: pytest.FixtureRequest) -> None:
    source = gz()
    for start in STARTS:
        assert read(source, start, BLOCK) == DATA[start : start + BLOCK]
    source.verify_trailer(len(DATA))
    # Once, and the first bytes of the file to see whether it is cut into blocks.
    assert source.inner.read <= len(STORED) + 64
    # Between members, and so at the end of the only one, every decoder can be copied.
    assert (point_count() <= 1) == ("isal" in request.node.callspec.params["small"])


def test_strided_reads_take_one_pass() -> None:
    """Each skip is too far for the fast decoder, so the second read starts again, but no third."""
    source = gz()
    for start in range(1000, len(DATA), 3 * BLOCK):
        assert read(source, start, 100) == DATA[start : start + 100]
    assert source.inner.read < 1.2 * len(STORED)


def test_sparse_ranges_jump_over_what_is_known() -> None:
    source = gz()
    read(source, len(DATA) - 10, 10)
    source.inner.read = 0
    data, parts = split_parts([(50_000, 10), (960_000, 10)])
    source.read_ranges(parts)
    assert data.tobytes() == DATA[50_000:50_010] + DATA[960_000:960_010]
    assert source.inner.read < len(STORED) / 5


def test_points_leave_between_copies_all_that_was_fed_comes_out() -> None:
    """Data that compress 1000 times would fill megabytes between points."""
    data = bytes(3_000_000)
    source = gz(gzip.compress(data))
    assert read(source, 2_990_000, 10) == bytes(10)
    cursors = next(iter(stream.streams._points._files.values())).cursors
    gaps = np.diff([point.position for point in cursors])
    assert gaps.max() < 1_100_000 + SPACING  # 1 KiB of stored bytes


def test_members_are_points_for_every_decoder() -> None:
    parts = [DATA[start : start + BLOCK] for start in STARTS]
    source = gz(b"".join(gzip.compress(part, 1) for part in parts))
    for start in [*reversed(STARTS)][::3]:
        assert read(source, start, BLOCK) == DATA[start : start + BLOCK]
    assert source.measure_size() == len(DATA)


# Bounds


def test_points_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MAX_FILE_POINTS", 8)
    source = gz()
    read(source, len(DATA) - 10, 10)
    assert 4 <= point_count() <= 8
    cursors = next(iter(stream.streams._points._files.values())).cursors
    gaps = np.diff([0, *(point.position for point in cursors)])
    assert gaps.max() <= 2.1 * gaps.min()
    for start in reversed(STARTS):
        assert read(source, start, 10) == DATA[start : start + 10]


def test_points_of_the_process_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MAX_POINTS", 100)
    sources = [gz() for _ in range(5)]
    for source in sources:
        read(source, len(DATA) - 10, 10)
        assert point_count() <= 100
        assert point_count() == sum(
            len(file.cursors) for file in stream.streams._points._files.values()
        )
    for source, is_kept in zip(sources[::-1], [True, True, False, False, False], strict=True):
        source.inner.read = 0
        assert read(source, 500_000, 10) == DATA[500_000:500_010]
        assert (source.inner.read < len(STORED) / 5) == is_kept


# Threads


class Gate(Counting):
    """Bytes whose reading stops at an offset until it is let through, or fails there."""

    at: int
    error: BaseException | None = None

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data)
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "reached", threading.Event())
        object.__setattr__(self, "opened", threading.Event())

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        if any(offset + out.size > self.at for offset, out in parts) and not self.opened.is_set():
            self.reached.set()
            assert self.opened.wait(20)
            if self.error is not None:
                error, self.error = self.error, None
                raise error
        super().read_ranges(parts)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen in 10 seconds")


def waiting() -> int:
    return sum(len(item.waiting) for item in stream.streams._passes)


def test_a_pass_serves_all_who_wait() -> None:
    """The furthest first, as dask asks; later ranges are read by one of those who wait."""
    inner = Gate(STORED, len(STORED) // 4)
    source = CompressedSource(inner, "gzip")
    starts = [600_000, 550_000, 900_000, 560_000, 700_000]
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(read, source, starts[0], BLOCK)
        assert inner.reached.wait(20)
        rest = [pool.submit(read, source, start, BLOCK) for start in starts[1:]]
        wait_for(lambda: waiting() == 4)
        inner.opened.set()
        found = [future.result(20) for future in [first, *rest]]
    assert found == [DATA[start : start + BLOCK] for start in starts]
    assert inner.read <= len(STORED)  # one pass
    assert not stream.streams._passes


def test_a_pass_waits_for_who_wants_what_it_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that asks for the block before a moment later is served, too."""
    monkeypatch.setattr(stream, "MAX_JOIN_SECONDS", 20)
    monkeypatch.setattr(stream, "SKIPPED_NBYTES_PER_SECOND", 1)
    source = gz()
    with ThreadPoolExecutor(2) as pool:
        later = pool.submit(read, source, 150_000, BLOCK)
        wait_for(lambda: len(stream.streams._passes) == 1)
        earlier = pool.submit(read, source, 100_000, BLOCK)
        assert later.result(10) == DATA[150_000:200_000]
        assert earlier.result(10) == DATA[100_000:150_000]
    assert source.inner.read < 0.25 * len(STORED)


def test_large_blocks_skip_by_the_faster_decoder() -> None:
    source = gz()
    assert read(source, 190_000, BLOCK) == DATA[190_000:240_000]
    assert (point_count() > 5) == (sys.modules["isal"] is None)
    assert read(source, 900_000, 10) == DATA[900_000:900_010]
    assert point_count() > 30


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_those_who_wait_do_not_need_the_thread_that_failed(error: BaseException) -> None:
    """The error is its own; the next thread starts at the last point, and gets errors itself."""
    inner = Gate(STORED, len(STORED) // 2)
    inner.error = error
    source = CompressedSource(inner, "gzip")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(read, source, 900_000, BLOCK)
        assert inner.reached.wait(20)
        rest = [pool.submit(read, source, start, BLOCK) for start in (800_000, 950_000)]
        wait_for(lambda: waiting() == 2)
        inner.opened.set()
        with pytest.raises(type(error)):
            first.result(20)
        assert [f.result(20) for f in rest] == [DATA[800_000:850_000], DATA[950_000:]]
    assert inner.read < 1.2 * len(STORED)
    assert not stream.streams._passes


def test_damage_raises_in_each_thread() -> None:
    body = zlib.compressobj(1, wbits=31)
    damaged = body.compress(DATA[:500_000]) + body.flush(zlib.Z_FULL_FLUSH)
    damaged += b"\xff" * 200_000  # the start of a deflate block of the type that is not used
    inner = Gate(damaged, len(STORED) // 4)
    source = CompressedSource(inner, "gzip")
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(read, source, 900_000, BLOCK)
        assert inner.reached.wait(20)
        rest = [pool.submit(read, source, start, BLOCK) for start in (800_000, 700_000, 950_000)]
        wait_for(lambda: waiting() == 3)
        inner.opened.set()
        for future in [first, *rest]:
            with pytest.raises(MrcError, match=r"gzip data before byte .* are damaged"):
                future.result(20)
    assert not stream.streams._passes


def test_a_thread_that_stops_waiting_gets_nothing_written() -> None:
    inner = Gate(STORED, len(STORED) // 4)
    source = CompressedSource(inner, "gzip")
    out = np.zeros(BLOCK, np.uint8)

    class Stop(Exception):
        pass

    def interrupted_wait(self: threading.Condition, timeout: float | None = None) -> bool:
        raise Stop

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read, source, 900_000, BLOCK)
        assert inner.reached.wait(20)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Condition, "wait", interrupted_wait)
            with pytest.raises(Stop):
                source.read_ranges([(800_000, out)])
        assert waiting() == 0
        inner.opened.set()
        assert first.result(20) == DATA[900_000:950_000]
    assert not out.any()


@pytest.mark.parametrize("is_copy", [False, True])
def test_random_slices_on_threads(tmp_path: Path, is_copy: bool) -> None:
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(STORED)
    source = CompressedSource(LocalSource.open(str(path))[0], "gzip")
    copy = pickle.loads(pickle.dumps(source)) if is_copy else source
    chance = random.Random(2)
    starts = [chance.randrange(len(DATA) - 9000) for _ in range(300)]
    with ThreadPoolExecutor(6) as pool:
        sources = [source, copy] * 150
        found = pool.map(lambda s, start: read(s, start, 9000), sources, starts)
        assert [*found] == [DATA[start : start + 9000] for start in starts]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_during_a_pass() -> None:
    inner = Gate(STORED, len(STORED) // 2)
    source = CompressedSource(inner, "gzip")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(read, source, 900_000, BLOCK)
        assert inner.reached.wait(20)
        child = os.fork()
        if child == 0:
            inner.opened.set()
            right = read(source, 800_000, BLOCK) == DATA[800_000:850_000]
            right = right and read(source, 300_000, BLOCK) == DATA[300_000:350_000]
            os._exit(0 if right else 1)
        assert os.waitpid(child, 0)[1] == 0
        inner.opened.set()
        assert first.result(20) == DATA[900_000:950_000]


# Damage


ORDERS = {
    "forwards": [*STARTS],
    "backwards": [*reversed(STARTS)],
    "random": random.Random(9).sample([*STARTS], len(STARTS)),
    "as dask": [*STARTS[7::-1], *STARTS[:7:-1]],
}


def read_whole(source: CompressedSource, order: list[int], threads: int = 1) -> bytes:
    """Read all blocks; whoever reads the last of the file verifies the trailer, as arrays do."""

    def block(start: int) -> bytes:
        data = read(source, start, BLOCK)
        if start + BLOCK == len(DATA):
            source.verify_trailer(len(DATA))
        return data

    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(order, pool.map(block, order), strict=True))
    return b"".join(found[start] for start in STARTS)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_whole_reads_are_verified_in_any_order(order: str, threads: int) -> None:
    assert read_whole(gz(), ORDERS[order], threads) == DATA
    for length in (len(STORED) - 1, len(STORED) - 8, len(STORED) * 2 // 3, 30):
        with pytest.raises(MrcTruncatedError):
            read_whole(gz(STORED[:length]), ORDERS[order], threads)
    for at in (len(STORED) - 3, len(STORED) - 7, len(STORED) // 3, len(STORED) * 3 // 4):
        damaged = bytearray(STORED)
        damaged[at] ^= 4
        with pytest.raises(MrcError):
            read_whole(gz(bytes(damaged)), ORDERS[order], threads)


def test_a_flip_that_only_the_checksum_shows_is_found_each_time() -> None:
    """Stored blocks have no codes that could be wrong."""
    body = zlib.compressobj(0, wbits=31)
    stored = bytearray(body.compress(DATA) + body.flush())
    stored[len(stored) // 3] ^= 1
    source = gz(bytes(stored))
    for _ in range(2):
        with pytest.raises(MrcError, match="damaged"):
            read_whole(source, ORDERS["backwards"])


@settings(max_examples=60, deadline=None)
@given(
    reads=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 120_000)), min_size=1, max_size=12),
    members=st.integers(1, 4),
)
def test_any_reads(reads: list[tuple[float, int]], members: int) -> None:
    data = DATA[:400_000]
    size = len(data) // members
    stored = b"".join(gzip.compress(data[i * size : (i + 1) * size], 1) for i in range(members))
    source, size = gz(stored), size * members
    for fraction, nbytes in reads:
        start = int(fraction * size)
        stop = min(size, start + nbytes)
        assert read(source, start, stop - start) == data[start:stop]
    ranges = [(int(f * size), min(n, size - int(f * size))) for f, n in reads]
    found, parts = split_parts(ranges)
    source.read_ranges(parts)
    assert found.tobytes() == b"".join(data[a : a + n] for a, n in ranges)
    source.verify_trailer(size)


# Sources of unknown size


class Unsized(Counting):
    """A source that learns where it ends only by reading, as a remote object may be."""

    @property
    def size_if_known(self) -> None:
        return None

    def read_ranges(self, parts: list[tuple[int, np.ndarray]]) -> None:
        for offset, out in parts:
            if offset + out.size > len(STORED):
                raise MrcTruncatedError("short")
        super().read_ranges(parts)


def test_a_source_of_unknown_size() -> None:
    source = CompressedSource(Unsized(STORED), "gzip")
    for start in (950_000, 100_000):
        assert read(source, start, BLOCK) == DATA[start : start + BLOCK]
    source.verify_trailer(len(DATA))
    assert source.measure_size() == len(DATA)
    assert source.trailing_nbytes() == 0


# Memory

LONG = """
import sys, zlib
import numpy as np
from xarray_mrc.storage.compressed import points
from xarray_mrc.storage.compressed.source import CompressedSource

points.MAX_FILE_POINTS = 64
MEMBERS, NBYTES = int(sys.argv[1]), 2**26
stream = zlib.compressobj(1, wbits=-15)
noise = np.random.default_rng(0).integers(0, 4, 2**12, np.uint8).tobytes()
block = stream.compress(noise * (NBYTES // len(noise))) + stream.flush(zlib.Z_FULL_FLUSH)
head = bytes.fromhex("1f8b08000000000000ff")

class Long:
    '''One member: a deflate block over and over, made while it is read.'''
    uri, local_path, read_ahead_nbytes, fingerprint = "long", None, 2**20, (1,)
    size_if_known = len(head) + MEMBERS * len(block)

    def read_ranges(self, parts):
        for offset, out in parts:
            done = 0
            while done < out.size:
                at = offset + done
                data = head[at:] if at < len(head) else block[(at - len(head)) % len(block):]
                data = np.frombuffer(data, np.uint8)[:out.size - done]
                out[done:done + data.size] = data
                done += data.size

source = CompressedSource(Long(), "gzip")
size = MEMBERS * NBYTES
def check(start):
    out = np.empty(1000, np.uint8)
    source.read_ranges([(start, out)])
    at = start % len(noise)
    assert out.tobytes() == (noise + noise)[at:at + 1000], start
check(0)
before = peak_nbytes()
check(size - 5000)
for start in np.random.default_rng(1).integers(0, size - 1000, 10).tolist():
    check(start)
print(peak_nbytes() - before)
"""


@pytest.mark.serial
@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
@pytest.mark.parametrize("small", ["isal, zlib_ng"], indirect=True)
def test_memory_of_a_long_stream(small: None) -> None:
    """4 GiB in 64 points at most, which take 2.5 MiB, and a few blocks."""
    grown = int(run_program(PEAK_MEMORY + LONG, 64))
    assert grown < 20 * 2**20
