"""Conformance suite for sinks and targets (`xarray_mrc.storage.sink`)."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import reduce
from typing import ClassVar

import pytest

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.sink import Receipt, Sink, Target
from xarray_mrc.testing.sources import MAX_PICKLE_NBYTES, run_in_child, same

__all__ = ["SinkTests"]

Begin = Callable[..., AbstractContextManager[Target]]
Find = Callable[[], bytes | None]
Blocks = Sequence[tuple[int, bytes]]

HEAD_NBYTES = 1024
NUMBER = 5
BLOCK_NBYTES = 50_000


def blocks_of(sink: Sink) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return a head, and the blocks after it with their offsets; the last one is short."""
    nbytes = max(BLOCK_NBYTES, sink.min_block_nbytes)
    chosen = random.Random(5)  # noqa: S311
    lengths = [nbytes] * (NUMBER - 1) + [1234]
    starts = [HEAD_NBYTES + nbytes * number for number in range(NUMBER)]
    blocks = [
        (start, chosen.randbytes(1000) + bytes([number]) * (length - 1000))
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True), 1)
    ]
    return b"head" * (HEAD_NBYTES // 4), blocks


def whole(head: bytes, blocks: Blocks) -> bytes:
    """Return the file that a head and blocks make."""
    return head + b"".join(data for _, data in sorted(blocks))


class SinkTests:
    """Tests that every sink passes with its target.

    Subclass it with the fixtures `begin` and `find`, which are about one name of a file.

    Attributes
    ----------
    max_pickle_nbytes : int
        Bytes that a pickle of the sink may have.

    Examples
    --------
    >>> import pytest
    >>> from xarray_mrc.storage.target import open_target
    >>> from xarray_mrc.testing import SinkTests
    >>> class TestLocalSink(SinkTests):
    ...     @pytest.fixture
    ...     def begin(self, tmp_path):
    ...         return lambda **options: open_target(str(tmp_path / "a.mrc"), **options)
    ...
    ...     @pytest.fixture
    ...     def find(self, tmp_path):
    ...         path = tmp_path / "a.mrc"
    ...         return lambda: path.read_bytes() if path.exists() else None
    """

    max_pickle_nbytes: ClassVar[int] = MAX_PICKLE_NBYTES

    @pytest.fixture
    def begin(self) -> Begin:
        """Return a function that begins a file; it takes `nbytes=` and `overwrite=`."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `begin`")

    @pytest.fixture
    def find(self) -> Find:
        """Return a function that returns the bytes of the file, or None if there is none."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `find`")

    def write(self, begin: Begin, mark: bytes = b"", *, overwrite: bool = False) -> bytes:
        """Write a file whose head starts with a mark, and return its bytes."""
        with begin(overwrite=overwrite) as target:
            head, blocks = blocks_of(target.sink)
            head = mark + head[len(mark) :]
            receipts = [target.sink.write_ranges([block]) for block in blocks]
            target.finish(head, receipts)
        return whole(head, blocks)

    # What it states

    def test_attributes(self, begin: Begin) -> None:
        """Check the types of the attributes."""
        with begin() as target:
            assert isinstance(target.sink.path, str)
            assert target.sink.held_nbytes >= 0
            assert target.sink.min_block_nbytes >= 0

    # Writing

    @pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
    def test_blocks_in_any_order(self, begin: Begin, find: Find, order: str) -> None:
        """Check that blocks, and their receipts, may come in any order."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            chosen = {
                "forward": blocks,
                "backward": blocks[::-1],
                "shuffled": random.Random(2).sample(blocks, len(blocks)),  # noqa: S311
            }[order]
            receipts = [target.sink.write_ranges([block]) for block in chosen]
            target.finish(head, reversed(receipts))
        assert same(find(), whole(head, blocks))

    def test_a_size_that_is_known(self, begin: Begin, find: Find) -> None:
        """Check a file whose size is stated at the start."""
        with begin() as target:
            size = len(whole(*blocks_of(target.sink)))
        with begin(nbytes=size) as target:
            head, blocks = blocks_of(target.sink)
            target.finish(head, [target.sink.write_ranges([block]) for block in blocks])
        assert same(find(), whole(head, blocks))

    def test_several_ranges_at_once(self, begin: Begin, find: Find) -> None:
        """Check one call that brings all blocks, the head among them."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipt = target.sink.write_ranges([(0, head), *blocks])
            target.finish(receipts=[receipt])
        assert same(find(), whole(head, blocks))

    def test_merged_receipts(self, begin: Begin, find: Find) -> None:
        """Check that receipts can be merged where the blocks were written."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipts = [target.sink.write_ranges([block]) for block in blocks]
            target.finish(head, [reduce(Receipt.merge, receipts)])
        assert same(find(), whole(head, blocks))

    def test_a_block_that_is_written_twice(self, begin: Begin, find: Find) -> None:
        """Check that a task that ran twice, on a worker that died, leaves the same file."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipts = [target.sink.write_ranges([block]) for block in (*blocks, *blocks[:2])]
            target.finish(head, receipts)
        assert same(find(), whole(head, blocks))

    def test_a_small_file(self, begin: Begin, find: Find) -> None:
        """Check files that are shorter than the bytes that are held back."""
        for data in (b"a", b"short", b"x" * 100):
            with begin(overwrite=True) as target:
                target.finish(data)
            found = find()
            # A target without a stated size may have reserved more, but not lost any.
            assert found is not None
            assert same(found, data)

    def test_missing_first_bytes(self, begin: Begin, find: Find) -> None:
        """Check that a file whose first bytes were never written does not appear."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipts = [target.sink.write_ranges([block]) for block in blocks]
            if not any(receipt.held for receipt in receipts):
                receipts = [target.sink.write_ranges([(4, head[4:])])]
            with pytest.raises(ValueError, match="never written"):
                target.finish(b"", receipts)
        assert find() is None

    # Complete or not at all

    def test_nothing_is_there_before_the_end(self, begin: Begin, find: Find) -> None:
        """Check that the file appears when it is finished, not before."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipts = [target.sink.write_ranges([block]) for block in blocks]
            assert find() is None
            target.finish(head, receipts)
            assert same(find(), whole(head, blocks))
        assert same(find(), whole(head, blocks))

    def test_abort(self, begin: Begin, find: Find) -> None:
        """Check that a file that was given up does not appear, and takes no more blocks."""
        with begin() as target:
            sink = target.sink
            _, blocks = blocks_of(sink)
            sink.write_ranges(blocks[:1])
            target.abort()
            with pytest.raises((MrcError, OSError)):
                sink.write_ranges(blocks[1:2])
        assert find() is None

    def test_an_error_while_writing(self, begin: Begin, find: Find) -> None:
        """Check that an error in the context gives the file up."""

        def fail() -> None:
            with begin() as target:
                target.sink.write_ranges(blocks_of(target.sink)[1][:1])
                raise KeyError("of the caller")

        with pytest.raises(KeyError, match="of the caller"):
            fail()
        assert find() is None

    def test_an_existing_file_stays(self, begin: Begin, find: Find) -> None:
        """Check that a file is neither replaced without leave, nor by one that was given up."""
        before = self.write(begin, b"before")
        with pytest.raises(FileExistsError), begin() as target:
            raise AssertionError("a file may not be replaced, but another one was begun")
        with begin(overwrite=True) as target:
            target.sink.write_ranges(blocks_of(target.sink)[1][:1])
        assert same(find(), before)

    def test_overwrite(self, begin: Begin, find: Find) -> None:
        """Check that a file is replaced if that is asked for."""
        self.write(begin, b"before")
        after = self.write(begin, b"after", overwrite=True)
        assert same(find(), after)

    def test_a_file_that_came_in_between(self, begin: Begin, find: Find) -> None:
        """Check that of two writers the second one to finish is refused."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            receipts = [target.sink.write_ranges([block]) for block in blocks]
            other = self.write(begin, b"other")
            with pytest.raises(FileExistsError):
                target.finish(head, receipts)
        assert same(find(), other)

    # Threads and processes

    def test_pickle(self, begin: Begin) -> None:
        """Check that a sink travels: small, equal, hashable, with a receipt that travels back."""
        with begin() as target:
            sink = target.sink
            pickled = pickle.dumps(sink)
            assert len(pickled) <= self.max_pickle_nbytes
            copy: Sink = pickle.loads(pickled)  # noqa: S301
            assert copy == sink
            assert hash(copy) == hash(sink)
            _, blocks = blocks_of(sink)
            receipt = copy.write_ranges(blocks[:1])
            assert pickle.loads(pickle.dumps(receipt)) == receipt  # noqa: S301

    def test_threads(self, begin: Begin, find: Find) -> None:
        """Check that threads write blocks at the same time."""
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            with ThreadPoolExecutor(4) as pool:
                receipts = list(pool.map(lambda b: target.sink.write_ranges([b]), blocks))
            target.finish(head, receipts)
        assert same(find(), whole(head, blocks))

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_other_processes(self, begin: Begin, find: Find) -> None:
        """Check that forked children write blocks by copies, and send their receipts."""
        if not hasattr(os, "fork"):
            return
        with begin() as target:
            head, blocks = blocks_of(target.sink)
            pickled = pickle.dumps(target.sink)
            receipts = [target.sink.write_ranges(blocks[:1])]
            for block in blocks[1:]:
                out, into = os.pipe()

                def write(block: tuple[int, bytes] = block, into: int = into) -> bool:
                    receipt = pickle.loads(pickled).write_ranges([block])  # noqa: S301
                    sent = pickle.dumps(receipt)
                    return os.write(into, sent) == len(sent)

                assert run_in_child(write) == 0
                os.close(into)
                with open(out, "rb") as file:
                    receipts.append(pickle.load(file))  # noqa: S301
            target.finish(head, receipts)
        assert same(find(), whole(head, blocks))
