"""Conformance suites for sources (`xarray_mrc.storage.protocol`)."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings

from xarray_mrc.errors import MrcChangedError, MrcTruncatedError
from xarray_mrc.storage.protocol import (
    AsyncSource,
    MappedSource,
    Source,
    StreamSource,
    full_size,
    split_parts,
)
from xarray_mrc.testing.strategies import byte_ranges

__all__ = ["AsyncSourceTests", "MappedSourceTests", "SourceTests"]

SIZE = 200_000
# Compressible for the most part, and different at each offset.
CONTENT = b"".join(
    random.Random(7).randbytes(500) + number.to_bytes(4, "big") * 125  # noqa: S311
    for number in range(SIZE // 1000)
)
UNTIMED = settings(max_examples=25, deadline=None, report_multiple_bugs=False)
MAX_PICKLE_NBYTES = 4096
MAX_CHILD_SECONDS = 60.0


def read(source: Source, byte_ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the bytes of each range."""
    _, parts = split_parts(byte_ranges)
    source.read_ranges(parts)
    return [out.tobytes() for _, out in parts]


def expected(byte_ranges: Sequence[tuple[int, int]], content: bytes = CONTENT) -> list[bytes]:
    """Return the bytes that each range has in the content."""
    return [content[offset : offset + nbytes] for offset, nbytes in byte_ranges]


def same(found: object, expected: object) -> bool:
    """Return True if bytes are those that are expected.

    pytest would look for the difference of long bytes, which takes minutes.
    """
    return found == expected


def some_ranges(seed: int, number: int = 10) -> list[tuple[int, int]]:
    """Return ranges in any order, which may overlap."""
    chosen = random.Random(seed)  # noqa: S311
    offsets = [chosen.randrange(SIZE) for _ in range(number)]
    return [(offset, chosen.randrange(min(5000, SIZE - offset) + 1)) for offset in offsets]


def run_in_child(function: Callable[[], Any]) -> int:
    """Return the exit code of a forked child that calls a function: 0 if it returned True."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            code = 0 if function() is True else 2
        os._exit(code)
    end = time.monotonic() + MAX_CHILD_SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


class SourceTests:
    """Tests that every source passes.

    Subclass it with a fixture `store`, and with `change` if the content can change.

    Attributes
    ----------
    is_portable : bool
        Whether the source can be pickled and read in another process. If not, both have to raise
        TypeError.
    max_pickle_nbytes : int
        Bytes that a pickle of the source may have.

    Examples
    --------
    >>> import pytest
    >>> from xarray_mrc.storage import open_source
    >>> from xarray_mrc.testing import SourceTests
    >>> class TestLocalSource(SourceTests):
    ...     @pytest.fixture
    ...     def store(self, tmp_path):
    ...         def store(content):
    ...             path = tmp_path / str(len(list(tmp_path.iterdir())))
    ...             path.write_bytes(content)
    ...             return open_source(path)
    ...
    ...         return store
    """

    is_portable: ClassVar[bool] = True
    max_pickle_nbytes: ClassVar[int] = MAX_PICKLE_NBYTES

    @pytest.fixture
    def store(self) -> Callable[[bytes], Source]:
        """Return a function that stores bytes in a new place, and opens a source of them."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `store`")

    @pytest.fixture
    def change(self) -> Callable[[Source, bytes], None] | None:
        """Return a function that replaces the content of a source, or None if nothing can."""
        return None

    @pytest.fixture
    def source(self, store: Callable[[bytes], Source]) -> Source:
        """Return a source of CONTENT."""
        return store(CONTENT)

    # What it states

    def test_attributes(self, source: Source) -> None:
        """Check the types of the attributes, and the size."""
        assert isinstance(source.uri, str)
        assert source.uri
        assert source.local_path is None or os.path.isabs(source.local_path)
        assert isinstance(source.fingerprint, tuple)
        assert all(isinstance(value, int | str) for value in source.fingerprint)
        assert source.read_ahead_nbytes > 0
        if source.size_if_known is None:
            assert isinstance(source, StreamSource)
        assert full_size(source) == SIZE

    def test_capabilities_have_their_suites(self, source: Source) -> None:
        """Check that the suite of each capability is run, so that none goes untested."""
        from xarray_mrc.testing.streams import StreamSourceTests

        suites: dict[type, type] = {
            AsyncSource: AsyncSourceTests,
            MappedSource: MappedSourceTests,
            StreamSource: StreamSourceTests,
        }
        for protocol, suite in suites.items():
            assert isinstance(source, protocol) == isinstance(self, suite), (
                f"a source that is {protocol.__name__} is tested by {suite.__name__}"
            )

    def test_fingerprints_differ(self, store: Callable[[bytes], Source]) -> None:
        """Check that sources of other bytes have another name or fingerprint."""
        one, other = store(CONTENT), store(CONTENT[::-1])
        assert (one.uri, one.fingerprint) != (other.uri, other.fingerprint)
        assert one.fingerprint == one.fingerprint

    # Reading

    def test_any_ranges(self, source: Source) -> None:
        """Check ranges in any order, which overlap or are empty."""

        # A function of its own, because hypothesis does not want one method in several classes.
        @UNTIMED
        @given(byte_ranges(SIZE))
        def check(ranges: list[tuple[int, int]]) -> None:
            assert same(read(source, ranges), expected(ranges))

        check()

    def test_whole(self, source: Source) -> None:
        """Check all bytes at once, twice."""
        assert same(read(source, [(0, SIZE)]), [CONTENT])
        assert same(read(source, [(0, SIZE)]), [CONTENT])

    def test_no_ranges(self, source: Source) -> None:
        """Check that no ranges, and empty ranges anywhere, are read without an error."""
        source.read_ranges([])
        assert read(source, [(0, 0), (SIZE // 2, 0), (SIZE, 0)]) == [b"", b"", b""]

    def test_many_small_ranges(self, source: Source) -> None:
        """Check the rows of a plane: many ranges with gaps of the same length."""
        ranges = [(offset, 64) for offset in range(0, SIZE - 64, 1000)]
        assert same(read(source, ranges), expected(ranges))

    def test_empty_file(self, store: Callable[[bytes], Source]) -> None:
        """Check that a file without bytes has the size 0."""
        source = store(b"")
        assert full_size(source) == 0
        assert read(source, [(0, 0)]) == [b""]

    def test_only_the_arrays_change(self, source: Source) -> None:
        """Check that bytes beside the arrays of the caller stay as they are."""
        memory = np.full(3000, 77, np.uint8)
        source.read_ranges([(10, memory[1000:2000]), (5, memory[2500:2600])])
        assert same(memory[1000:2000].tobytes(), CONTENT[10:1010])
        assert same(memory[2500:2600].tobytes(), CONTENT[5:105])
        memory[1000:2000] = memory[2500:2600] = 77
        assert (memory == 77).all()

    def test_results_are_independent(self, source: Source) -> None:
        """Check that results can be overwritten without changing later ones."""
        data, parts = split_parts([(100, 1000), (100, 1000)])
        source.read_ranges(parts)
        data[:] = 0
        assert same(read(source, [(100, 1000)]), expected([(100, 1000)]))

    @pytest.mark.parametrize("offset", [0, SIZE - 10, SIZE, SIZE + 1000])
    def test_ranges_beyond_the_end(self, source: Source, offset: int) -> None:
        """Check that a range that the file does not have raises, and that others still work."""
        with pytest.raises(MrcTruncatedError):
            read(source, [(5, 10), (offset, SIZE + 1)])
        assert same(read(source, [(5, 10)]), expected([(5, 10)]))

    def test_changed_content(
        self, source: Source, change: Callable[[Source, bytes], None] | None
    ) -> None:
        """Check that bytes of two versions are never mixed, and that a change is named."""
        if change is None:
            return
        assert same(read(source, [(0, 1000)]), expected([(0, 1000)]))
        change(source, CONTENT[::-1])
        for offset in (SIZE - 100, 1000, 0):
            with pytest.raises(MrcChangedError):
                read(source, [(offset, 100)])

    def test_shortened_content(
        self, source: Source, change: Callable[[Source, bytes], None] | None
    ) -> None:
        """Check that a file that became shorter raises wherever it is read."""
        if change is None:
            return
        assert same(read(source, [(0, 1000)]), expected([(0, 1000)]))
        change(source, CONTENT[:5000])
        for offset in (0, 4950, SIZE - 100):
            with pytest.raises((MrcChangedError, MrcTruncatedError)):
                read(source, [(offset, 100)])

    # Threads and processes

    def test_threads(self, source: Source) -> None:
        """Check that six threads that read one source get their own bytes."""

        def read_some(seed: int) -> bool:
            ranges = some_ranges(seed)
            return read(source, ranges) == expected(ranges)

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(read_some, range(60)))

    def test_pickle(self, source: Source) -> None:
        """Check that a copy by pickle is equal and reads the same, whether used before or not."""
        if not self.is_portable:
            with pytest.raises(TypeError):
                pickle.dumps(source)
            return
        fresh = pickle.dumps(source)
        assert same(read(source, [(10, 100)]), expected([(10, 100)]))
        for pickled in (fresh, pickle.dumps(source)):
            assert len(pickled) <= self.max_pickle_nbytes
            copy = pickle.loads(pickled)  # noqa: S301
            assert copy == source
            assert hash(copy) == hash(source)
            assert (copy.uri, copy.fingerprint) == (source.uri, source.fingerprint)
            assert same(read(copy, some_ranges(1)), expected(some_ranges(1)))

    def test_hash(self, source: Source) -> None:
        """Check that a source is a key of dictionaries, before and after it was read."""
        found = {source: 1}
        read(source, [(0, 100)])
        assert found[source] == 1

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_fork(self, source: Source) -> None:
        """Check that a child and its parent read one source at the same time."""
        if not hasattr(os, "fork"):
            return

        def read_some(seed: int) -> bool:
            return all(
                read(source, some_ranges(seed + i)) == expected(some_ranges(seed + i))
                for i in range(5)
            )

        def is_refused() -> bool:
            with pytest.raises(TypeError):
                read_some(0)
            return True

        assert read_some(0)
        with ThreadPoolExecutor(1) as pool:
            here = pool.submit(lambda: all(read_some(seed) for seed in range(10, 15)))
            there = (lambda: read_some(20)) if self.is_portable else is_refused
            assert run_in_child(there) == 0
            assert here.result()
        assert read_some(30)

    def test_nothing_stays_open(self, store: Callable[[bytes], Source]) -> None:
        """Check that the number of descriptors does not grow with sources and reads."""
        directory = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
        if not os.path.isdir(directory):
            return
        sources = [store(CONTENT[:3000]) for _ in range(12)]
        for source in sources[:2]:
            read(source, [(0, 3000), (5, 10)])
        before = len(os.listdir(directory))
        for source in sources:
            for _ in range(3):
                read(source, [(0, 3000), (5, 10)])
        assert len(os.listdir(directory)) <= before


class AsyncSourceTests(SourceTests):
    """Tests that every source with `aread_ranges` passes, besides those of `SourceTests`."""

    def test_async_equals_sync(self, source: Any) -> None:
        """Check that both ways of reading give the same bytes, each in a new event loop."""

        @UNTIMED
        @given(byte_ranges(SIZE))
        def check(ranges: list[tuple[int, int]]) -> None:
            _, parts = split_parts(ranges)
            asyncio.run(source.aread_ranges(parts))
            assert same([out.tobytes() for _, out in parts], expected(ranges))
            assert same(read(source, ranges), expected(ranges))

        check()

    def test_async_side_by_side(self, source: Any) -> None:
        """Check many reads at the same time in one event loop, which may not end before them."""

        async def read_all() -> list[list[bytes]]:
            wanted = [split_parts(some_ranges(seed)) for seed in range(30)]
            await asyncio.gather(*(source.aread_ranges(parts) for _, parts in wanted))
            return [[out.tobytes() for _, out in parts] for _, parts in wanted]

        found = asyncio.run(read_all())
        assert same(found, [expected(some_ranges(seed)) for seed in range(30)])

    def test_async_in_threads(self, source: Any) -> None:
        """Check event loops in several threads at the same time, while others read without one."""

        def read_some(seed: int) -> bool:
            _, parts = split_parts(some_ranges(seed))
            if seed % 3:
                asyncio.run(source.aread_ranges(parts))
            else:
                source.read_ranges(parts)
            return [out.tobytes() for _, out in parts] == expected(some_ranges(seed))

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(read_some, range(30)))

    def test_sync_inside_an_event_loop(self, source: Any) -> None:
        """Check that reading without `await` works in a thread with a running loop: Jupyter."""

        async def read_here() -> list[bytes]:
            return read(source, [(5, 500)])

        assert same(asyncio.run(read_here()), expected([(5, 500)]))

    def test_async_beyond_the_end(self, source: Any) -> None:
        """Check that a range beyond the end raises."""
        _, parts = split_parts([(0, 10), (SIZE - 5, 10)])
        with pytest.raises(MrcTruncatedError):
            asyncio.run(source.aread_ranges(parts))

    def test_async_after_a_cancelled_read(self, source: Any) -> None:
        """Check that a read that was cancelled leaves the source usable."""

        async def read_after_cancelling() -> bytes:
            _, parts = split_parts([(0, SIZE)])
            task = asyncio.ensure_future(source.aread_ranges(parts))
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            data, parts = split_parts([(7, 3000)])
            await source.aread_ranges(parts)
            return data.tobytes()

        assert same(asyncio.run(read_after_cancelling()), CONTENT[7:3007])

    def test_async_changed_content(
        self, source: Any, change: Callable[[Source, bytes], None] | None
    ) -> None:
        """Check that a change raises."""
        if change is None:
            return
        change(source, CONTENT[::-1])
        _, parts = split_parts([(0, 100), (5000, 100)])
        with pytest.raises(MrcChangedError):
            asyncio.run(source.aread_ranges(parts))


class MappedSourceTests(SourceTests):
    """Tests that every source with maps passes, besides those of `SourceTests`.

    A source may always return None instead of a map.
    """

    def test_views_are_private(self, source: Any) -> None:
        """Check that a view shows the bytes, and that writing to it changes nothing else."""
        view = source.view(4096, SIZE - 5000)
        if view is None:
            return
        assert same(view.tobytes(), CONTENT[4096 : SIZE - 904])
        view[:] = 0
        again = source.view(4096, SIZE - 5000)
        assert same(again.tobytes(), CONTENT[4096 : SIZE - 904])
        assert same(read(source, [(0, SIZE)]), [CONTENT])

    def test_whole_maps(self, source: Any) -> None:
        """Check that a map of the file has all its bytes."""
        with source.whole([0, SIZE - 1], [[(0, 10)], [(100, 10)]]) as whole:
            assert whole is None or same(whole.tobytes(), CONTENT)

    def test_windows(self, source: Any) -> None:
        """Check that a map of a range has its bytes."""

        @UNTIMED
        @given(byte_ranges(SIZE, max_ranges=1))
        def check(ranges: list[tuple[int, int]]) -> None:
            for offset, nbytes in ranges:
                with source.window(offset, nbytes, ranges) as window:
                    assert window is None or same([window.tobytes()], expected(ranges))

        check()
