"""The conformance suite for sources, run on remote ones."""

import gzip

import pytest
from remote_files import Place

from xarray_mrc.storage import open_source
from xarray_mrc.testing import AsyncSourceTests, StreamSourceTests


class RemoteTests(AsyncSourceTests):
    @pytest.fixture
    def store(self, place):
        numbers = iter(range(10**6))

        def store(content):
            name = f"{next(numbers)}.mrc"
            source = open_source(place.put(name, content), storage_options=place.options or None)
            names[source] = name
            return source

        names = self.names = {}
        return store

    @pytest.fixture
    def change(self, place):
        return lambda source, content: place.put(self.names[source], content)


class TestHttp(RemoteTests):
    @pytest.fixture
    def place(self, http_place):
        return http_place


@pytest.mark.servers
class TestNginx(RemoteTests):
    @pytest.fixture
    def place(self, nginx_place):
        return nginx_place


class TestS3(RemoteTests):
    @pytest.fixture
    def place(self, s3_place):
        return s3_place


class TestFsspec(RemoteTests):
    """A file system of fsspec that has neither ETags nor servers."""

    @pytest.fixture
    def place(self):
        import fsspec

        files = fsspec.filesystem("memory")

        def put(name, raw):
            files.pipe_file(f"/maps/{name}", raw)
            return f"memory://maps/{name}"

        yield Place("memory", put, None)
        files.store.clear()


class TestCompressedHttp(StreamSourceTests):
    @pytest.fixture
    def store(self, http_place):
        numbers = iter(range(10**6))

        def store(content):
            url = http_place.put(f"{next(numbers)}.map.gz", gzip.compress(content, 1))
            return open_source(url)

        return store

    @pytest.fixture
    def store_damaged(self, http_place):
        def store(content, damage):
            return open_source(http_place.put("a.map.gz", damage(gzip.compress(content, 1))))

        return store

    @pytest.fixture
    def change(self, http_place):
        def change(source, content):
            http_place.put(source.uri.rpartition("/")[2], gzip.compress(content, 1))

        return change
