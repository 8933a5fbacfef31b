"""Servers on loopback: nginx and moto's S3 once a session, and one with faults for each test."""

from __future__ import annotations

import pytest
from fault_server import FaultServer
from nginx import run_nginx
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
