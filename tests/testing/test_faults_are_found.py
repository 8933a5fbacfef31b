"""The conformance suite fails for sources that are wrong, each in one way."""

import io
import threading
import time

import pytest

from xarray_mrc.errors import MrcTruncatedError
from xarray_mrc.storage import open_source
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.testing import AsyncSourceTests, SourceTests
from xarray_mrc.testing.sources import CONTENT


class Sorted(MemorySource):
    """Mixes up the ranges that are not in the order of the file."""

    def read_ranges(self, parts):
        offsets = sorted(offset for offset, _ in parts)
        super().read_ranges([(offsets[i], out) for i, (_, out) in enumerate(parts)])


class Padded(MemorySource):
    """Fills what is beyond the end with zeros."""

    def read_ranges(self, parts):
        for offset, out in parts:
            found = self._data[offset : offset + out.size]
            out[:] = 0
            out[: found.size] = found


class Greedy(MemorySource):
    """Raises for an empty range."""

    def read_ranges(self, parts):
        if any(not out.size for _, out in parts):
            raise MrcTruncatedError("no bytes")
        super().read_ranges(parts)


class Shared(MemorySource):
    """Gives whatever another thread asked for last."""

    where = 0

    def read_ranges(self, parts):
        for offset, out in parts:
            Shared.where = offset
            time.sleep(0.0001)
            super().read_ranges([(Shared.where, out)])


class Overflowing(MemorySource):
    """Writes beyond the arrays of the caller."""

    def read_ranges(self, parts):
        super().read_ranges(parts)
        for _, out in parts:
            if out.base is not None and out.base.size > out.size:
                out.base[0] = 1


class Locked(MemorySource):
    """Has a lock, which can't be pickled."""

    def __init__(self, data):
        super().__init__(data)
        self.lock = threading.Lock()

    def __reduce__(self):
        return Locked, (self._data.tobytes(), self.lock)


class Different(MemorySource):
    """Is not equal to its copies."""

    __hash__ = None

    def __eq__(self, other):
        return self is other


class Leaking(MemorySource):
    """Leaves a file open at each read."""

    files: list = []  # noqa: RUF012

    def read_ranges(self, parts):
        self.files.append(open(__file__, "rb"))  # noqa: SIM115
        super().read_ranges(parts)


class Nameless(MemorySource):
    """Has the same fingerprint for any content."""

    fingerprint = (1,)


FAULTS = [
    (Sorted, "test_any_ranges"),
    (Padded, "test_ranges_beyond_the_end"),
    (Greedy, "test_no_ranges"),
    (Greedy, "test_any_ranges"),
    (Shared, "test_threads"),
    (Overflowing, "test_only_the_arrays_change"),
    (Locked, "test_pickle"),
    (MemorySource, "test_pickle"),  # longer than the suite allows
    (Different, "test_pickle"),
    (Different, "test_hash"),
    (Leaking, "test_nothing_stays_open"),
    (Nameless, "test_fingerprints_differ"),
    (MemorySource, "test_capabilities_have_their_suites"),
]
WHAT_TESTS_TAKE = {
    "test_fingerprints_differ": lambda kind: (kind,),
    "test_nothing_stays_open": lambda kind: (kind,),
    "test_ranges_beyond_the_end": lambda kind: (kind(CONTENT), len(CONTENT) - 10),
}


@pytest.mark.parametrize(("kind", "test"), FAULTS)
def test_a_wrong_source(kind, test):
    arguments = WHAT_TESTS_TAKE.get(test, lambda kind: (kind(CONTENT),))(kind)
    with pytest.raises((AssertionError, MrcTruncatedError, TypeError, pytest.fail.Exception)):
        getattr(SourceTests(), test)(*arguments)
    while Leaking.files:
        Leaking.files.pop().close()


@pytest.mark.parametrize("test", ["test_changed_content", "test_shortened_content"])
def test_a_source_that_does_not_notice_a_change(test):
    file = io.BytesIO(CONTENT)
    source = FileObjectSource(file)

    def change(source, content):
        file.seek(0)
        file.truncate(0)
        file.write(content)

    source.read_ranges([])
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(SourceTests(), test)(source, lambda source, content: None)
    if test == "test_changed_content":
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            SourceTests().test_changed_content(source, change)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_source_that_cannot_be_read_after_fork():
    with pytest.raises(AssertionError):
        SourceTests().test_fork(open_source(io.BytesIO(CONTENT)))


def test_an_event_loop_that_is_kept():
    """A source whose loop is the first one that it saw works once."""
    import asyncio

    class Kept(MemorySource):
        loop = None

        async def aread_ranges(self, parts):
            Kept.loop = Kept.loop or asyncio.get_running_loop()
            Kept.loop.call_soon_threadsafe(lambda: None)
            self.read_ranges(parts)

    with pytest.raises(RuntimeError):
        AsyncSourceTests().test_async_equals_sync(Kept(CONTENT))
