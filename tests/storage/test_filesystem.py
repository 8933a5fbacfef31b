"""Files of other file systems of fsspec than those for HTTP and S3."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from xarray_mrc.errors import MrcChangedError, MrcError, MrcTruncatedError
from xarray_mrc.storage import open_head

RAW = np.random.default_rng(6).integers(0, 256, 300_000, np.uint8).tobytes()
SECRET = "s3cr3t"


class Shelf(MemoryFileSystem):
    """A file system in memory that counts, and fails if it is told to."""

    protocol = "shelf"
    calls: ClassVar[list[list[tuple[int, int]]]] = []
    error: ClassVar[Exception | None] = None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("shelf://", "memory://"))

    def __init__(self, password=""):
        super().__init__()
        self.password = password

    def cat_ranges(self, paths, starts, ends, **options):
        Shelf.calls.append(list(zip(starts, ends, strict=True)))
        if Shelf.error is not None:
            raise Shelf.error
        return super().cat_ranges(paths, starts, ends, **options)


@pytest.fixture(autouse=True)
def shelf():
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    Shelf.calls, Shelf.error = [], None
    MemoryFileSystem.store.clear()
    fs = fsspec.filesystem("shelf", password=SECRET)
    fs.pipe("/a/b.mrc", RAW)
    yield fs
    MemoryFileSystem.store.clear()


def open_remote(path, **options):
    return open_head(path, storage_options=options or None).source


def read(source, *ranges):
    parts = [(offset, np.empty(nbytes, np.uint8)) for offset, nbytes in ranges]
    source.read_ranges(parts)
    return [out.tobytes() for _, out in parts]


def test_ranges(shelf):
    head = open_head("shelf://a/b.mrc", storage_options={"password": SECRET})
    assert head.data == RAW[:65536]
    source = head.source
    assert (source.uri, source.size_if_known, source.local_path) == (
        "shelf://a/b.mrc",
        300_000,
        None,
    )
    wanted = [(200_000, 1000), (0, 10), (299_999, 1)]
    assert read(source, *wanted) == [RAW[o : o + n] for o, n in wanted]
    assert Shelf.calls == [[(0, 10), (200_000, 201_000), (299_999, 300_000)]]
    with pytest.raises(MrcTruncatedError):
        read(source, (299_999, 2))


def test_no_more_than_the_limit_at_a_time(shelf):
    source = open_remote("shelf://a/b.mrc", max_requests=2)
    read(source, *((offset, 10) for offset in range(0, 300_000, 60_000)))
    assert [len(call) for call in Shelf.calls] == [2, 2, 1]


def test_a_changed_file(shelf):
    source = open_remote("shelf://a/b.mrc")
    shelf.pipe("/a/b.mrc", RAW[::-1])
    with pytest.raises(MrcChangedError, match=r"shelf://a/b\.mrc: the file was changed"):
        read(source, (100_000, 10))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (FileNotFoundError(SECRET), FileNotFoundError, "there is no such file"),
        (PermissionError(SECRET), PermissionError, "storage_options"),
        (TimeoutError(SECRET), OSError, "TimeoutError"),
        (ValueError(SECRET), OSError, "ValueError"),
        (RuntimeError(SECRET), OSError, "RuntimeError"),
    ],
)
def test_errors_come_without_their_text(shelf, error, kind, words):
    source = open_remote("shelf://a/b.mrc", password=SECRET)
    Shelf.error = error
    with pytest.raises(kind, match=rf"^shelf://a/b\.mrc: .*{words}") as found:
        read(source, (100_000, 10))
    assert found.value.__cause__ is None
    assert found.value.__context__ is None
    assert SECRET not in f"{found.value}{source!r}{source.fingerprint}"


def test_pickle_and_other_processes(shelf):
    source = open_remote("shelf://a/b.mrc", password=SECRET)
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert hash(copy) == hash(source)
    assert copy.adapter.fs.password == SECRET
    # A forked child makes a file system of its own.
    object.__setattr__(source.adapter, "pid", os.getpid() + 1)
    assert read(source, (100_000, 10)) == [RAW[100_000:100_010]]


def test_a_chain_of_urls(shelf):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner/a.mrcs", RAW)
    shelf.pipe("/files.zip", packed.getvalue())
    source = open_remote("zip://inner/a.mrcs::shelf://files.zip", shelf={"password": SECRET})
    assert read(source, (100_000, 10)) == [RAW[100_000:100_010]]
    assert source.uri == "zip://inner/a.mrcs::shelf://files.zip"
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_remote("zip://inner/a.mrcs::shelf://none.zip")


def test_what_cannot_be_opened(shelf):
    with pytest.raises(FileNotFoundError, match=r"^shelf://none\.mrc: there is no such file"):
        open_remote("shelf://none.mrc")
    with pytest.raises(IsADirectoryError, match=r"^shelf://a: this is a directory"):
        open_remote("shelf://a")
    with pytest.raises(TypeError, match=r"does not take these storage_options \(port\)") as found:
        open_remote("shelf://a/b.mrc", port=SECRET)
    assert SECRET not in str(found.value)
    with pytest.raises(MrcError, match="fsspec does not know it"):
        open_remote("gopher://a/b.mrc")
    with pytest.raises(ImportError, match=r"gs://a/b\.mrc: a package for gs:// is missing"):
        open_remote("gs://a/b.mrc")


def test_an_empty_file(shelf):
    shelf.pipe("/empty.mrc", b"")
    head = open_head("shelf://empty.mrc")
    assert (head.data, head.source.size_if_known) == (b"", 0)
