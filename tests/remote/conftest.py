"""Servers on loopback: nginx and moto's S3 once a session, and one with faults for each test."""

from __future__ import annotations

import itertools
import os

import pytest
from fault_server import FaultServer
from nginx import run_nginx
from remote_files import Place, volume
from s3_server import run_s3


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """A running nginx."""
    with run_nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A running S3 server."""
    with run_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server):
    """The S3 server, with its counts at zero and no latency."""
    s3_server.proxy.forget()
    s3_server.proxy.files.clear()
    s3_server.proxy.latency = 0.0
    return s3_server


@pytest.fixture
def server():
    """A new server for faults."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def large():
    """Bytes and pixels of a volume of 256 x 256 x 256."""
    return volume()


@pytest.fixture(scope="session")
def small():
    """Bytes and pixels of a volume of 20 x 30 x 40."""
    return volume((20, 30, 40))


NUMBERS = itertools.count()


@pytest.fixture
def http_place(server):
    """Files on the server for faults."""
    return Place("http", lambda name, raw: server.put(f"/{name}", raw), server)


@pytest.fixture
def nginx_place(nginx):
    """Files on nginx, asked through a server that counts."""
    number = next(NUMBERS)
    port = int(nginx.ranges.rpartition(":")[2])
    with FaultServer(upstream=port) as proxy:

        def put(name, raw):
            path = nginx.files / f"{number}-{name}"
            path.write_bytes(raw)
            # nginx makes ETags of the size and the whole seconds of the time.
            time = 1_700_000_000 + next(NUMBERS)
            os.utime(path, (time, time))
            return proxy.url(f"/{number}-{name}")

        yield Place("nginx", put, proxy)


@pytest.fixture
def s3_place(s3):
    """Objects on the S3 server, read with a key."""
    number = next(NUMBERS)
    return Place("s3", lambda name, raw: s3.put(f"{number}/{name}", raw), s3.proxy, s3.options)


@pytest.fixture(params=["http", pytest.param("nginx", marks=pytest.mark.servers), "s3"])
def place(request):
    """Each of the places in turn."""
    return request.getfixturevalue(f"{request.param}_place")
