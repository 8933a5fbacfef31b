"""Files behind HTTP: requests, checks, faults, limits. The server is a small one on loopback."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import socket
import threading
import time

import fault_server as faults
import numpy as np
import pytest
from fault_server import FaultServer
from programs import run_program

from xarray_mrc.errors import MrcChangedError, MrcError, MrcTruncatedError
from xarray_mrc.storage import open_head
from xarray_mrc.storage.remote.retry import retry_after

RAW = np.random.default_rng(5).integers(0, 256, 400_000, np.uint8).tobytes()


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


def open_remote(url, **options):
    return open_head(url, storage_options=options or None).source


def read(source, *ranges):
    parts = [(offset, np.empty(nbytes, np.uint8)) for offset, nbytes in ranges]
    source.read_ranges(parts)
    return [out.tobytes() for _, out in parts]


def check(source):
    """Check that ranges of all kinds are read right."""
    wanted = [(300_000, 1000), (0, 70_000), (5, 5), (399_999, 1), (299_000, 2000)]
    assert read(source, *wanted) == [RAW[o : o + n] for o, n in wanted]


def test_open_is_one_request_of_the_head(server):
    url = server.put("/a.mrc", RAW)
    head = open_head(url)
    assert server.ranges == [(0, 65536)]
    assert server.nbytes_sent == len(head.data) == 65536
    assert head.source.size_if_known == len(RAW)
    assert head.source.local_path is None
    assert head.read(100, 60_000) == RAW[100:60_100]  # from the head
    assert len(server.requests) == 1
    check(head.source)


def test_requests_are_conditional_and_identity(server):
    source = open_remote(server.put("/a.mrc", RAW))
    read(source, (0, 10))
    first, second = server.requests
    tag = server.files["/a.mrc"].headers["ETag"]
    assert second.headers["if-match"] == tag
    assert "if-match" not in first.headers
    assert {r.headers["accept-encoding"] for r in server.requests} == {"identity"}


def test_one_range_is_one_exact_request(server):
    source = open_remote(server.put("/a.mrc", RAW))
    server.forget()
    read(source, (70_000, 262_144))
    assert server.ranges == [(70_000, 262_144)]


@pytest.mark.parametrize("tag", ['"strong"', 'W/"weak"', None])
@pytest.mark.parametrize("modified", [1_700_000_000.0, None])
def test_every_kind_of_version(server, tag, modified):
    source = open_remote(server.put("/a.mrc", RAW, tag=tag, modified=modified))
    check(source)
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize(
    ("tag", "modified", "cut"),
    [('"other"', 1.7e9, 0), ('W/"other"', 1.7e9, 0), (None, 1.8e9, 0), (None, None, 1)],
)
def test_a_changed_file_is_noticed(server, tag, modified, cut):
    weak = tag is not None and tag.startswith("W/")
    first = {None: None, True: 'W/"first"', False: '"first"'}[None if tag is None else weak]
    url = server.put("/a.mrc", RAW, tag=first, modified=1.7e9 if modified else None)
    source = open_remote(url)
    server.put("/a.mrc", RAW[cut:], tag=tag, modified=modified)
    server.forget()
    with pytest.raises(MrcChangedError, match=r"a\.mrc: the file was changed after it was opened"):
        read(source, (70_000, 1000))
    assert len(server.requests) == 1  # not tried again


def test_a_server_that_ignores_if_match(server):
    """Only the ETag of the answer shows that the content is another one."""
    source = open_remote(
        server.put("/a.mrc", RAW, always=faults.etag('"other"'), faults=[faults.etag('"first"')])
    )
    server.files["/a.mrc"].headers["ETag"] = '"first"'
    with pytest.raises(MrcChangedError, match='ETag was "first" and is "other" now'):
        read(source, (70_000, 1000))


def test_beyond_the_end(server):
    source = open_remote(server.put("/a.mrc", RAW))
    server.forget()
    with pytest.raises(MrcTruncatedError, match="only 5 are there"):
        read(source, (len(RAW) - 5, 10))
    assert not server.requests


@pytest.mark.parametrize("size", [0, 1, 1024, 65_535, 65_536, 65_537])
def test_sizes_around_the_head(server, size):
    head = open_head(server.put("/a.mrc", RAW[:size]))
    assert head.source.size_if_known == size
    assert head.data == RAW[:65_536][:size]
    assert read(head.source, (0, size)) == [RAW[:size]]


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncate(1000), faults.truncate(0), faults.reset(1000), faults.reset(0),
        faults.hang_up, faults.status(500), faults.status(502),
        faults.status(503, Retry_After="0"), faults.status(429, Retry_After="0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_passing_faults(server, fault, first):
    """A fault costs one more request, and only for the bytes that did not come."""
    url = server.put("/a.mrc", RAW, faults=[fault] if first else [])
    source = open_remote(url)
    if not first:
        server.files["/a.mrc"].faults.append(fault)
    assert read(source, (70_000, 100_000)) == [RAW[70_000:170_000]]
    assert len(server.requests) == 3
    assert server.nbytes_sent <= 65_536 + 100_000 + 1000 + 65_536 * first


def test_a_retry_takes_a_fresh_connection(server):
    source = open_remote(server.put("/a.mrc", RAW))
    server.files["/a.mrc"].faults.append(faults.reset(0))
    read(source, (70_000, 10))
    first, second, third = (request.connection for request in server.requests)
    assert first == second  # kept alive
    assert third != second


def test_retry_after_is_honoured(server):
    source = open_remote(server.put("/a.mrc", RAW))
    server.files["/a.mrc"].faults.append(faults.status(503, Retry_After="1"))
    server.forget()
    read(source, (70_000, 10))
    first, second = server.requests
    assert second.start - first.end >= 0.95
    server.files["/a.mrc"].faults.append(faults.status(429, Retry_After="3600"))
    with pytest.raises(OSError, match=r"busy.*asks to wait 3600 s.*max_requests"):
        read(source, (70_000, 10))


def test_seconds_of_retry_after():
    assert (
        retry_after(None)
        == retry_after("soon")
        == retry_after("\N{SUPERSCRIPT TWO}")
        == retry_after("Wed, 21 Oct 2015 07:28:00 GMT")
        == 0
    )
    assert retry_after(" 7 ") == 7
    assert retry_after("Wed, 21 Oct 2515 07:28:00 GMT") > 1e9


@pytest.mark.parametrize("fault", [faults.stall(1000), faults.stall(0), faults.silence])
def test_a_stall_costs_the_timeout_once(server, fault):
    source = open_remote(server.put("/a.mrc", RAW), timeout=0.5)
    server.files["/a.mrc"].faults.append(fault)
    start = time.monotonic()
    assert read(source, (70_000, 100_000)) == [RAW[70_000:170_000]]
    assert 0.45 <= time.monotonic() - start < 3
    server.files["/a.mrc"].always = fault
    start = time.monotonic()
    with pytest.raises(
        OSError, match=r"nothing came from the server for 0\.5 s, also at attempt 2"
    ):
        read(source, (70_000, 100_000))
    assert 0.9 <= time.monotonic() - start < 4


def test_a_fault_that_stays_is_an_error(server, monkeypatch):
    monkeypatch.setattr("xarray_mrc.storage.remote.retry.PAUSES", (0.0, 0.01, 0.01))
    source = open_remote(server.put("/a.mrc", RAW))
    server.files["/a.mrc"].always = faults.reset(0)
    server.forget()
    with pytest.raises(OSError, match=r"connection was closed.*attempt 4.*local_copy"):
        read(source, (70_000, 10))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faults.status(404), FileNotFoundError, "no such file"),
        (faults.status(410), FileNotFoundError, "no such file"),
        (faults.status(401), PermissionError, "storage_options"),
        (faults.status(403), PermissionError, "storage_options"),
        (faults.status(418), OSError, "HTTP 418"),
        (faults.content_range("bytes 7-65542/400000"), MrcError, "bytes 7-65542"),
        (faults.content_range("bytes 0-65535/*"), MrcError, "local_copy"),
        (faults.content_range("nonsense"), MrcError, "local_copy"),
        (faults.content_range(None), MrcError, "local_copy"),
        (faults.encoded, MrcError, "Content-Encoding 'gzip'"),
    ],
)
def test_refusals_at_open(server, fault, error, words):
    url = server.put("/a.mrc", RAW, always=fault)
    with pytest.raises(error, match=f"^{re.escape(url)}: .*{words}"):
        open_remote(url)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            faults.shifted_range(1),
            "70000 to 70999 were wanted, but the server sent 'bytes 70001",
        ),
        (faults.content_range(None), "the server sent None"),
        (faults.encoded, "Content-Encoding 'gzip'"),
        (faults.ignore_ranges, "HTTP 200, expected 206"),
    ],
)
def test_refusals_of_a_body(server, fault, words):
    source = open_remote(server.put("/a.mrc", RAW))
    server.files["/a.mrc"].always = fault
    with pytest.raises(MrcError, match=words):
        read(source, (70_000, 1000))


def test_a_server_without_ranges_moves_the_head_only(server):
    big = bytes(64 * 2**20)
    url = server.put("/a.mrc", big, always=faults.ignore_ranges)
    head = open_head(url)
    assert (len(head.data), head.source.size_if_known) == (65_536, len(big))
    with pytest.raises(MrcError, match=r"cannot send parts of a file.*local_copy=FOLDER"):
        read(head.source, (70_000, 1000))
    assert len(server.requests) == 1
    wait_for(lambda: server.requests[0].was_closed)
    assert server.nbytes_sent < 16 * 2**20  # what fits into the buffers of the two sockets


@pytest.mark.parametrize(
    ("data", "words"), [(RAW, "nor tell its size"), (b"\n<!DOCTYPE html>", "web page")]
)
def test_an_endless_answer(server, data, words):
    url = server.put("/a.mrc", data, always=faults.endless)
    with pytest.raises(MrcError, match=words):
        open_remote(url)
    wait_for(lambda: server.requests[0].was_closed)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_stored_gzip_may_be_called_an_encoding(server):
    """Apache names the format of .gz files so; the bytes are those of the file."""
    headers = {"Content-Encoding": "x-gzip"}
    check(open_remote(server.put("/a.map.gz", RAW, **headers)))
    with pytest.raises(MrcError, match="Content-Encoding"):
        open_remote(server.put("/a.map", RAW, **headers))


def test_requests_of_all_threads_keep_to_the_limit(server):
    server.latency = 0.02
    urls = [server.put(f"/{i}.mrc", RAW) for i in range(3)]
    sources = [open_remote(url) for url in urls]
    far = [(offset, 10) for offset in range(0, 390_000, 20_000)]
    server.forget()
    threads = [threading.Thread(target=read, args=(source, *far)) for source in sources * 3]
    for thread in threads:
        thread.start()

    async def load():
        parts = [(offset, np.empty(n, np.uint8)) for offset, n in far]
        await asyncio.gather(*(source.aread_ranges(parts) for source in sources))

    asyncio.run(load())
    for thread in threads:
        thread.join()
    assert len(server.requests) == 12 * len(far)
    assert 4 <= server.max_in_flight <= 8


def test_the_limit_is_an_option(server):
    server.latency = 0.01
    source = open_remote(server.put("/a.mrc", RAW), max_requests=2)
    read(source, *((offset, 10) for offset in range(0, 390_000, 20_000)))
    assert server.max_in_flight == 2


def test_requests_side_by_side_save_latency(server):
    server.latency = 0.02
    source = open_remote(server.put("/a.mrc", RAW))
    ranges = [(offset, 10) for offset in range(0, 390_000, 12_000)]
    start = time.monotonic()
    for one in ranges:
        read(source, one)
    middle = time.monotonic()
    read(source, *ranges)
    assert time.monotonic() - middle < 0.4 * (middle - start)


@pytest.mark.parametrize("name", ["User-Agent", "user-agent"])
def test_the_user_names_the_program(server, name):
    check(open_remote(server.put("/a.mrc", RAW)))
    assert {r.headers["user-agent"] for r in server.requests} == {"xarray-mrc"}
    server.forget()
    own = {name: "lab/1.0", "accept-encoding": "gzip", "range": "bytes=0-1"}
    check(open_remote(server.put("/a.mrc", RAW), headers=own))
    assert {r.headers["user-agent"] for r in server.requests} == {"lab/1.0"}
    assert {r.headers["accept-encoding"] for r in server.requests} == {"identity"}


def test_credentials_go_to_their_own_server_only(server):
    with FaultServer(host="localhost") as other:  # the same address, another name
        target = other.put("/b.mrc", RAW)
        url = server.put("/a.mrc", RAW, always=faults.redirect(target))
        options = {
            "headers": {"X-Key": "s3cr3t"},
            "cookies": {"session": "c00kie"},
            "auth": ("me", "pw"),
        }
        source = open_remote(url, **options)
        check(source)
        assert {r.headers["x-key"] for r in server.requests} == {"s3cr3t"}
        assert {r.headers["cookie"] for r in server.requests} == {"session=c00kie"}
        assert {r.headers["authorization"] for r in server.requests} == {"Basic bWU6cHc="}
        assert other.requests
        for request in other.requests:
            assert not {"x-key", "cookie", "authorization"} & request.headers.keys()
        # Later requests know the way.
        server.forget()
        check(source)
        assert not server.requests


def test_an_expired_redirect_is_asked_for_again(server):
    url = server.put("/a.mrc", RAW, always=faults.redirect("/b.mrc?ticket=1"))
    server.put("/b.mrc", RAW)
    source = open_remote(url)
    server.put("/b.mrc", RAW, faults=[faults.status(403)])
    server.forget()
    read(source, (70_000, 10))
    assert [request.path for request in server.requests] == [
        "/b.mrc?ticket=1",
        "/a.mrc",
        "/b.mrc?ticket=1",
    ]


def test_redirects_without_end(server):
    url = server.put("/a.mrc", RAW, always=faults.redirect("/a.mrc"))
    with pytest.raises(MrcError, match="more than 8 redirects"):
        open_remote(url)
    url = server.put("/b.mrc", RAW, always=faults.redirect("ftp://example.org/b.mrc"))
    with pytest.raises(MrcError, match=r"redirects to ftp://example\.org/b\.mrc, expected https"):
        open_remote(url)


def test_a_user_in_the_url(server):
    url = server.put("/a.mrc", RAW).replace("//", "//me:p%40w@")
    source = open_remote(url)
    check(source)
    assert {r.headers["authorization"] for r in server.requests} == {"Basic bWU6cEB3"}
    assert source.uri == url.replace("me:p%40w@", "")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"header": {"X": "s3cr3t"}}, TypeError, "'header', expected headers"),
        ({"client_kwargs": {"secret": "s3cr3t"}}, TypeError, "'secret', expected headers"),
        ({"max_requests": 0}, ValueError, "max_requests=0"),
        ({"timeout": "s3cr3t"}, ValueError, "timeout='s3cr3t'"),
        ({"ssl": False}, TypeError, "always verified"),
    ],
)
def test_options_that_are_none(server, options, error, words):
    with pytest.raises(error, match=words):
        open_remote(server.put("/a.mrc", RAW), **options)


@pytest.mark.parametrize(
    "url", ["http://", "http://[broken/a.mrc", "http://host:99999/a.mrc", "https:///a.mrc"]
)
def test_urls_that_are_none(url):
    with pytest.raises(MrcError, match="not a valid URL"):
        open_remote(url)


def test_nobody_listens(monkeypatch):
    with pytest.raises(OSError, match=r"127\.0\.0\.1 could not be reached .*refused.*check the"):
        open_remote("http://127.0.0.1:9/a.mrc")
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    with pytest.raises(OSError, match=r"no\.invalid could not be reached \(Name or") as found:
        open_remote("https://no.invalid/a.mrc?token=s3cr3t")
    assert "s3cr3t" not in str(found.value)


def test_a_server_may_send_a_short_file_as_a_whole(server):
    def whole(exchange):
        exchange.status, exchange.body = 200, exchange.whole
        exchange.headers.pop("Content-Range", None)

    source = open_remote(server.put("/a.mrc", RAW[:5000], faults=[whole]))
    assert read(source, (100, 10)) == [RAW[100:110]]


def test_a_redirect_is_remembered_for_one_user(server):
    """What one user was sent to is not shown to another."""

    def by_user(exchange):
        ticket = exchange.request.headers.get("x-user", "nobody")
        faults.redirect(f"/b.mrc?ticket={ticket}")(exchange)

    url = server.put("/a.mrc", RAW, always=by_user)
    server.put("/b.mrc", RAW)
    sources = [open_remote(url, headers={"X-User": name}) for name in ("one", "two")]
    server.forget()
    for source in sources:
        read(source, (70_000, 10))
    assert [r.path for r in server.requests] == ["/b.mrc?ticket=one", "/b.mrc?ticket=two"]


FORK = """
import os, sys
import numpy as np
from xarray_mrc.storage import open_head

def read(source, offset):
    out = np.empty(1000, np.uint8)
    source.read_ranges([(offset, out)])
    return int(out.sum())

source = open_head(sys.argv[1]).source
found = [read(source, 70_000)]
child = os.fork()
if child == 0:
    ok = read(source, 70_000) == found[0]
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert read(source, 70_000) == found[0]
print(found[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_reading_goes_on_after_fork(server):
    url = server.put("/a.mrc", RAW)
    assert int(run_program(FORK, url)) == sum(RAW[70_000:71_000])


def test_the_proxy_of_the_environment(server, monkeypatch):
    server.put("http://archive.example/a.mrc", RAW)  # what a proxy is asked for
    monkeypatch.setenv("http_proxy", server.url("").replace("//", "//me:pw@"))
    monkeypatch.setenv("no_proxy", "other.example")
    check(open_remote("http://archive.example/a.mrc", headers={"X-Key": "s3cr3t"}))
    assert {r.headers["proxy-authorization"] for r in server.requests} == {"Basic bWU6cHc="}
    assert {r.headers["host"] for r in server.requests} == {"archive.example"}
    server.forget()
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    with pytest.raises(OSError, match=r"other\.example could not be reached"):
        open_remote("http://other.example/a.mrc")
    assert not server.requests


def no_address(*_args, **_options):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
