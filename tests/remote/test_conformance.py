"""The conformance suites for sources and sinks, run on remote ones."""

import gzip

import pytest
from remote_files import Place
from s3_server import BUCKET

from xarray_mrc.storage import open_source
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.target import open_target
from xarray_mrc.testing import AsyncSourceTests, SinkTests, StreamSourceTests


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


class TestUpload(SinkTests):
    """A multipart upload to S3."""

    @pytest.fixture
    def url(self, s3):
        s3.client.delete_object(Bucket=BUCKET, Key="sink.mrc")
        yield f"s3://{BUCKET}/sink.mrc"
        assert not s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")

    @pytest.fixture
    def begin(self, s3, url):
        options = StorageOptions(s3.options)
        return lambda **others: open_target(url, options=options, **others)

    @pytest.fixture
    def find(self, s3, url):
        def find():
            try:
                return s3.client.get_object(Bucket=BUCKET, Key="sink.mrc")["Body"].read()
            except s3.client.exceptions.NoSuchKey:
                return None

        return find
