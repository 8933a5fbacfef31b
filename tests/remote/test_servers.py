"""The servers themselves, asked by a plain client: they answer as the tests of readers assume."""

import gzip
import http.client
import socket
import ssl
import time

import fault_server
import pytest
from nginx import PASSWORD, USER
from s3_server import BUCKET
from server_process import get
from waiting import wait_for

DATA = bytes(range(256)) * 300
RANGE = {"Range": "bytes=1000-1999"}


def port_of(url):
    return int(url.rpartition(":")[2])


# nginx


@pytest.fixture
def file(nginx):
    (nginx.files / "a.mrc").write_bytes(DATA)
    return "/a.mrc"


@pytest.mark.servers
def test_nginx_with_ranges(nginx, file):
    status, headers, body = get(port_of(nginx.ranges), file, RANGE)
    assert (status, body) == (206, DATA[1000:2000])
    assert headers["content-range"] == f"bytes 1000-1999/{len(DATA)}"
    assert headers["etag"].startswith('"')
    assert "content-encoding" not in headers
    status, _, _ = get(port_of(nginx.ranges), file, RANGE | {"If-Match": '"other"'})
    assert status == 412
    wait_for(lambda: len(nginx.requests("a.mrc")) >= 2, 10)
    assert nginx.requests("a.mrc")[0] == ("GET", "bytes=1000-1999", 206, 1000)


@pytest.mark.servers
def test_nginx_that_ignores_ranges(nginx, file):
    status, headers, body = get(port_of(nginx.whole), file, RANGE)
    assert (status, body) == (200, DATA)
    assert "content-range" not in headers


@pytest.mark.servers
def test_nginx_with_a_certificate(nginx, file):
    port = port_of(nginx.tls)

    def read(context):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        try:
            connection.request("GET", file)
            return connection.getresponse().read()
        finally:
            connection.close()

    with pytest.raises(ssl.SSLCertVerificationError):
        read(ssl.create_default_context())
    assert read(ssl.create_default_context(cafile=nginx.certificate)) == DATA


@pytest.mark.servers
def test_nginx_with_a_password(nginx, file):
    from base64 import b64encode

    port = port_of(nginx.password)
    assert get(port, file)[0] == 401
    basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert get(port, file, {"Authorization": f"Basic {basic}"})[2] == DATA


# S3


def test_s3(s3):
    assert s3.put("a.mrc", DATA, public=True) == f"s3://{BUCKET}/a.mrc"
    status, headers, body = get(s3.proxy.port, f"/{BUCKET}/a.mrc", RANGE)
    assert (status, body) == (206, DATA[1000:2000])
    assert headers["content-range"] == f"bytes 1000-1999/{len(DATA)}"
    assert get(s3.proxy.port, f"/{BUCKET}/a.mrc", {"If-Match": '"other"'})[0] == 412
    s3.put("private.mrc", DATA)
    assert get(s3.proxy.port, f"/{BUCKET}/private.mrc")[0] == 403
    assert [request.status for request in s3.proxy.requests] == [206, 412, 403]
    assert s3.proxy.ranges == [(1000, 1000), None, None]
    assert s3.proxy.requests[0].nbytes == 1000


# Faults


def ask(server, path="/a.mrc", headers=RANGE):
    return get(server.port, path, headers)


def test_a_file_without_faults(server):
    server.put("/a.mrc", DATA, tag='"1"')
    status, headers, body = ask(server)
    assert (status, body, headers["etag"]) == (206, DATA[1000:2000], '"1"')
    assert headers["content-range"] == f"bytes 1000-1999/{len(DATA)}"
    assert ask(server, headers={})[::2] == (200, DATA)
    assert ask(server, headers={"Range": "bytes=-10"})[::2] == (206, DATA[-10:])
    assert ask(server, headers={"Range": f"bytes={len(DATA)}-"})[0] == 416
    assert ask(server, headers={"If-Match": '"1"'})[0] == 200
    assert ask(server, headers={"If-Match": '"2"'})[0] == 412
    assert ask(server, "/b.mrc")[0] == 404
    server.put("/a.mrc", DATA, tag='W/"1"')
    assert ask(server, headers={"If-Match": 'W/"1"'})[0] == 412
    assert [request.range for request in server.requests[:2]] == [(1000, 1000), None]
    assert server.requests[0].nbytes == 1000


@pytest.mark.parametrize("ending", ["truncate", "reset", "stall"])
def test_an_answer_that_breaks_off(server, ending):
    server.put("/a.mrc", DATA, faults=[getattr(fault_server, ending)(100)])
    with socket.create_connection(("127.0.0.1", server.port), 1) as client:
        client.sendall(b"GET /a.mrc HTTP/1.1\r\nHost: a\r\nRange: bytes=1000-1999\r\n\r\n")
        found = b""
        expected = {"truncate": type(None), "reset": ConnectionResetError, "stall": TimeoutError}
        error = None
        try:
            while block := client.recv(10_000):
                found += block
        except OSError as caught:
            error = caught
        assert isinstance(error, expected[ending])
    if ending != "reset":  # a reset may discard what has not been read
        assert found.partition(b"\r\n\r\n")[2] == DATA[1000:1100]
    wait_for(lambda: server.in_flight == 0, 10)
    assert ask(server)[2] == DATA[1000:2000]  # one fault, for one request


def test_an_endless_body_ends_when_the_client_closes(server):
    server.put("/a.mrc", DATA, always=fault_server.endless)
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET /a.mrc HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(100)
    wait_for(lambda: server.in_flight == 0, 10)
    assert server.requests[0].was_closed


def test_other_faults(server):
    other = server.put("/b.mrc", b"other")
    faults = [
        fault_server.status(503, Retry_After="2"),
        fault_server.redirect(other),
        fault_server.shifted_range(5),
        fault_server.ignore_ranges,
        fault_server.encoded,
        fault_server.etag('"changed"'),
        fault_server.no_etag,
    ]
    server.put("/a.mrc", DATA, faults=faults)
    status, headers, _ = ask(server)
    assert (status, headers["retry-after"]) == (503, "2")
    status, headers, _ = ask(server)
    assert (status, headers["location"]) == (302, other)
    status, headers, body = ask(server)
    assert (status, body) == (206, DATA[1005:2005])
    assert headers["content-range"].startswith("bytes 1005-2004/")
    assert ask(server)[::2] == (200, DATA)
    _, headers, body = ask(server)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == DATA[1000:2000]
    assert ask(server)[1]["etag"] == '"changed"'
    assert "etag" not in ask(server)[1]


def test_latency_and_concurrency_are_counted(server):
    from concurrent.futures import ThreadPoolExecutor

    server.latency = 0.1
    server.put("/a.mrc", DATA)
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(server), range(4)))
    assert time.monotonic() - start >= 0.1
    assert server.max_in_flight == 4
    wait_for(lambda: all(request.end is not None for request in server.requests))
    assert all(request.end - request.start >= 0.1 for request in server.requests)
