"""The conformance suite, run on every source that needs no server."""

import bz2
import gzip
import io
import lzma
import os
import sys

import pytest

from xarray_mrc.storage import open_source
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.testing import MappedSourceTests, SourceTests, StreamSourceTests

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# As the command zstd writes them; compress() alone leaves the checksum out.
CHECKED = {zstd.CompressionParameter.checksum_flag: 1}
CONTAINERS = {
    "gzip": gzip.compress,
    "gzip members": lambda data: b"".join(
        gzip.compress(data[start : start + 30_000]) for start in range(0, len(data), 30_000)
    ) or gzip.compress(b""),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstd.compress(data, options=CHECKED),
}  # fmt: skip


class Folder:
    """A directory of files with numbers as names."""

    def __init__(self, path):
        self.path = path

    def write(self, content):
        path = self.path / f"{len(os.listdir(self.path))}.mrc"
        path.write_bytes(content)
        return path


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


class TestLocalSource(MappedSourceTests):
    @pytest.fixture
    def store(self, folder):
        return lambda content: open_source(folder.write(content))

    @pytest.fixture
    def change(self):
        def change(source, content):
            with open(source.path, "wb") as file:
                file.write(content)

        return change


class TestMemorySource(MappedSourceTests):
    max_pickle_nbytes = 250_000  # the content itself

    @pytest.fixture
    def store(self):
        return open_source


class TestFileObjectSource(SourceTests):
    is_portable = False

    @pytest.fixture
    def store(self):
        return lambda content: open_source(io.BytesIO(content))


@pytest.mark.parametrize("container", CONTAINERS)
class TestCompressedSource(StreamSourceTests):
    @pytest.fixture
    def store(self, container, folder):
        return lambda content: open_source(folder.write(CONTAINERS[container](content)))

    @pytest.fixture
    def store_damaged(self, container, folder):
        def store(content, damage):
            return open_source(folder.write(damage(CONTAINERS[container](content))))

        return store

    @pytest.fixture
    def change(self, container):
        def change(source, content):
            with open(source.local_path, "wb") as file:
                file.write(CONTAINERS[container](content))

        return change


class TestCompressedMemory(StreamSourceTests):
    max_pickle_nbytes = 250_000

    @pytest.fixture
    def store(self):
        return lambda content: open_source(MemorySource(gzip.compress(content)))

    @pytest.fixture
    def store_damaged(self):
        return lambda content, damage: open_source(damage(gzip.compress(content)))
