"""The conformance suite for sinks, run on local files and on wrong ones."""

import os
from contextlib import contextmanager

import pytest

from xarray_mrc.storage.target import open_target
from xarray_mrc.testing import SinkTests


class Local(SinkTests):
    @pytest.fixture
    def begin(self, tmp_path):
        return lambda **options: open_target(str(tmp_path / "a.mrc"), **options)

    @pytest.fixture
    def find(self, tmp_path):
        path = tmp_path / "a.mrc"
        return lambda: path.read_bytes() if path.exists() else None


class TestLocalSink(Local):
    pass


class TestFsspecMemory(SinkTests):
    """A file that is sent when it is finished."""

    @pytest.fixture
    def files(self):
        import fsspec

        files = fsspec.filesystem("memory")
        yield files
        files.store.clear()

    @pytest.fixture
    def begin(self, files):
        return lambda **options: open_target("memory://maps/a.mrc", **options)

    @pytest.fixture
    def find(self, files):
        path = "/maps/a.mrc"
        return lambda: files.cat_file(path) if files.exists(path) else None


# Targets with one fault each


class Wrapped:
    def __init__(self, target):
        self.target, self.sink = target, target.sink

    def __getattr__(self, name):
        return getattr(self.target, name)


class Forgetful(Wrapped):
    """Leaves the last receipt out."""

    def finish(self, head=b"", receipts=()):
        self.target.finish(head, [])


class Hasty(Wrapped):
    """Lets the file appear at once."""

    def __init__(self, target):
        super().__init__(target)
        with open(target.sink.path, "wb") as file:
            file.write(b"not complete")


class Ruthless(Wrapped):
    """Replaces a file that came in between."""

    def finish(self, head=b"", receipts=()):
        if os.path.exists(self.sink.path):
            os.unlink(self.sink.path)
        self.target.finish(head, receipts)


class Stubborn(Wrapped):
    """Goes on after it was given up."""

    def abort(self):
        pass


FAULTS = [
    (Forgetful, "test_several_ranges_at_once"),
    (Hasty, "test_nothing_is_there_before_the_end"),
    (Hasty, "test_abort"),
    (Hasty, "test_an_error_while_writing"),
    (Ruthless, "test_a_file_that_came_in_between"),
    (Stubborn, "test_abort"),
]


@pytest.mark.parametrize(("kind", "test"), FAULTS)
def test_a_wrong_target(kind, test, tmp_path):
    path = tmp_path / "a.mrc"

    @contextmanager
    def begin(**options):
        with open_target(str(path), **options) as target:
            yield kind(target)

    def find():
        return path.read_bytes() if path.exists() else None

    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        getattr(SinkTests(), test)(begin, find)
