"""Conformance suite for sources that have to be read in order: compressed files."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from xarray_mrc.errors import MrcChangedError, MrcError, MrcTruncatedError
from xarray_mrc.storage.protocol import Source
from xarray_mrc.testing.sources import CONTENT, SIZE, SourceTests, expected, read, same

__all__ = ["StreamSourceTests"]

BLOCK_NBYTES = 20_000
BLOCKS = [(offset, min(BLOCK_NBYTES, SIZE - offset)) for offset in range(0, SIZE, BLOCK_NBYTES)]
ORDERS: dict[str, list[tuple[int, int]]] = {
    "at once": [(0, SIZE)],
    "forward": BLOCKS,
    "backward": BLOCKS[::-1],
    "last first": [BLOCKS[-1], *BLOCKS[:-1]],
    "shuffled": random.Random(3).sample(BLOCKS, len(BLOCKS)),  # noqa: S311
}


def read_all(source: Any, order: str) -> bytes:
    """Return all bytes, read in an order, with the trailer verified as the reader of data does."""
    found = {}
    for offset, nbytes in ORDERS[order]:
        (found[offset],) = read(source, [(offset, nbytes)])
        if offset + nbytes == SIZE:
            source.verify_trailer(SIZE)
    return b"".join(found[offset] for offset in sorted(found))


class StreamSourceTests(SourceTests):
    """Tests that every source of a stream passes, besides those of `SourceTests`.

    Subclass it with the fixtures `store` and `store_damaged`.
    """

    @pytest.fixture
    def store_damaged(self) -> Callable[[bytes, Callable[[bytes], bytes]], Source]:
        """Return a function that stores bytes, changed by a function where they are stored."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `store_damaged`")

    def test_changed_content(
        self, source: Source, change: Callable[[Source, bytes], None] | None
    ) -> None:
        """Check that a change raises, except for bytes of before that are in memory."""
        if change is None:
            return
        assert same(read(source, [(0, 1000)]), expected([(0, 1000)]))
        change(source, CONTENT[::-1])
        for ranges in ([(SIZE - 100, 100)], [(1000, 100)], [(0, 100)]):
            try:
                found = read(source, ranges)
            except MrcChangedError:
                continue
            assert same(found, expected(ranges))

    def test_shortened_content(
        self, source: Source, change: Callable[[Source, bytes], None] | None
    ) -> None:
        """Check that a file that became shorter raises, except for bytes that are in memory."""
        if change is None:
            return
        change(source, CONTENT[:5000])
        with pytest.raises(MrcChangedError):
            read(source, [(0, SIZE)])

    @pytest.mark.parametrize("limit", [0, 1, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE])
    def test_bounded_size(self, store: Callable[[bytes], Source], limit: int) -> None:
        """Check that a size above the limit is only known to be above it."""
        source: Any = store(CONTENT)
        found = source.bounded_size(limit)
        assert found == SIZE if limit >= SIZE else found > limit
        assert source.measure_size() == SIZE
        assert source.trailing_nbytes() == 0
        assert 0 < source.stored_size() < SIZE

    @pytest.mark.parametrize("order", ORDERS)
    def test_orders(self, store: Callable[[bytes], Source], order: str) -> None:
        """Check that the bytes are the same in each order, on a first and a second pass."""
        source = store(CONTENT)
        assert same(read_all(source, order), CONTENT)
        assert same(read_all(source, order), CONTENT)

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("lost", [1, 5, 40, 0.25, 0.9])
    def test_truncated(self, store_damaged: Any, order: str, lost: float) -> None:
        """Check that a stream that is cut off raises in each order, each time."""

        def cut(stored: bytes) -> bytes:
            return stored[: -int(lost * len(stored)) if lost < 1 else -int(lost)]

        source = store_damaged(CONTENT, cut)
        for _ in range(2):
            with pytest.raises(MrcTruncatedError):
                read_all(source, order)

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("place", [0.2, 0.5, 0.8, 0.95])
    def test_flipped_bits(self, store_damaged: Any, order: str, place: float) -> None:
        """Check that a flipped bit raises in each order, each time, or changes no byte."""
        for bit in range(8):

            def flip(stored: bytes, bit: int = bit) -> bytes:
                position = int(place * len(stored)) + 5 * bit
                changed = stored[position] ^ (1 << bit)
                return stored[:position] + bytes([changed]) + stored[position + 1 :]

            source = store_damaged(CONTENT, flip)
            for _ in range(2):
                try:
                    found = read_all(source, order)
                except MrcError:
                    continue
                assert same(found, CONTENT), "other bytes without an error"

    def test_allow_truncated(self, store_damaged: Any) -> None:
        """Check that the bytes before a cut can be read if that is asked for."""
        source = store_damaged(CONTENT, lambda stored: stored[: len(stored) // 2]).allow_truncated()
        size = source.measure_size()
        assert 0 <= size < SIZE
        assert same(read(source, [(0, size)]), expected([(0, size)]))
        with pytest.raises(MrcTruncatedError):
            read(source, [(0, SIZE)])

    def test_trailing_bytes(self, store_damaged: Any) -> None:
        """Check that bytes after the stream are counted, and are not taken for content."""
        source = store_damaged(CONTENT, lambda stored: stored + b"\x01no stream")
        with pytest.warns(match="10 stored bytes"):
            assert same(read_all(source, "at once"), CONTENT)
        assert source.trailing_nbytes() == 10
        with pytest.raises(MrcTruncatedError):
            read(source, [(SIZE, 5)])

    def test_surplus_bytes(self, store: Callable[[bytes], Source]) -> None:
        """Check that content after the expected end gives a warning."""
        source: Any = store(CONTENT + bytes(1000))
        read(source, [(0, SIZE)])
        with pytest.warns(match="1000 bytes more"):
            source.verify_trailer(SIZE)
