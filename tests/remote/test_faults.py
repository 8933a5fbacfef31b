"""Servers and connections with faults: each costs a few requests, or raises a clear error."""

import asyncio
import time
from email.utils import formatdate

import fault_server
import numpy as np
import pytest
import xarray as xr
from programs import PEAK_MEMORY, run_program
from remote_files import volume
from waiting import wait_for

import xarray_mrc
from xarray_mrc import MrcChangedError, MrcError

RAW, PIXELS = volume((20, 30, 40))
SECTION = 30 * 40 * 2
OFFSET = 1024 + 5 * SECTION
ANY_ERROR = (OSError, MrcError)


@pytest.fixture
def no_pauses(monkeypatch):
    """Let attempts follow each other at once."""
    from xarray_mrc.storage.remote import retry

    monkeypatch.setattr(retry, "PAUSES", (0.0,) * len(retry.PAUSES))
    monkeypatch.setattr(retry, "MIN_BUSY_PAUSE", 0.0)


@pytest.fixture
def opened(server):
    """Return a function that opens a file, whose later requests have faults."""

    def opened(faults=(), *, always=None, timeout=5.0, raw=RAW, **details):
        url = server.put("/a.mrc", raw, **details)
        options = {"timeout": timeout}
        array = xr.open_dataset(url, engine="mrc", storage_options=options).data
        server.put("/a.mrc", raw, faults=faults, always=always, **details)
        server.forget()
        return array

    return opened


# Faults that pass


PASSING = {
    "truncated": fault_server.truncate(100),
    "reset": fault_server.reset(100),
    "reset at once": fault_server.reset(),
    "closed without an answer": fault_server.hang_up,
    "stalled after the headers": fault_server.stall(),
    "stalled in the body": fault_server.stall(100),
    "silent": fault_server.silence,
    "429": fault_server.status(429),
    "503": fault_server.status(503, Retry_After="1"),
    "500": fault_server.status(500),
    "502": fault_server.status(502),
    "504": fault_server.status(504),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes(opened, server, name):
    array = opened([PASSING[name]], timeout=0.5)
    np.testing.assert_array_equal(array[5], PIXELS[5])
    assert len(server.requests) == 2
    first, second = server.requests
    assert first.connection != second.connection
    assert second.range[0] + second.range[1] == OFFSET + SECTION
    # What has come is not asked for again. A reset may discard it.
    resumed = name in ("truncated", "stalled in the body")
    assert second.range[0] == OFFSET + (100 if resumed else 0) or name == "reset"


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_of_the_first_request(server, name):
    url = server.put("/a.mrc", RAW, faults=[PASSING[name]])
    array = xr.open_dataset(url, engine="mrc", storage_options={"timeout": 0.5}).data
    assert len(server.requests) == 2
    np.testing.assert_array_equal(array, PIXELS)


def test_a_stalled_connection_costs_the_timeout_and_one_request(opened, server):
    array = opened([fault_server.stall(1000)], timeout=1.0)
    start = time.monotonic()
    np.testing.assert_array_equal(array[5], PIXELS[5])
    elapsed = time.monotonic() - start
    assert [request.range for request in server.requests] == [
        (OFFSET, SECTION),
        (OFFSET + 1000, SECTION - 1000),
    ]
    assert 1.0 <= elapsed < 5.0  # the default would be 15 s


def test_other_reads_go_on_while_one_stalls(opened, server):
    array = opened([fault_server.stall(1000)], timeout=2.0)

    async def load():
        return await asyncio.gather(*(array[z].load_async() for z in range(20)))

    for z, found in enumerate(asyncio.run(load())):
        np.testing.assert_array_equal(found, PIXELS[z])
    late = [request for request in server.requests if request.start - server.requests[0].start > 1]
    assert len(late) == 1
    assert len(server.requests) == 21


def test_the_pause_that_a_server_asks_for(opened, server):
    array = opened([fault_server.status(503, Retry_After="2")] * 2)
    np.testing.assert_array_equal(array[5], PIXELS[5])
    first, second, third = (request.start for request in server.requests)
    assert second - first >= 2
    assert third - second >= 2


def test_a_pause_until_a_date(opened, server):
    date = formatdate(time.time() + 2.5, usegmt=True)
    array = opened([fault_server.status(429, Retry_After=date)])
    np.testing.assert_array_equal(array[5], PIXELS[5])
    first, second = (request.start for request in server.requests)
    assert second - first >= 1


def test_a_busy_server_without_a_date_is_not_asked_at_once(opened, server):
    array = opened([fault_server.status(503)])
    np.testing.assert_array_equal(array[5], PIXELS[5])
    first, second = (request.start for request in server.requests)
    assert second - first >= 1


# Faults that stay


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_stays(opened, server, name):
    fault = PASSING[name] if name != "503" else fault_server.status(503, Retry_After="0")
    array = opened(always=fault, timeout=0.2)
    if name in ("truncated", "stalled in the body", "reset"):
        return  # each attempt brings 100 bytes more, so this is no fault that stays
    with pytest.raises(OSError, match=r"^http://127\.0\.0\.1:\d+/a\.mrc: ") as caught:
        array[5].load()
    assert type(caught.value) is OSError
    assert 2 <= len(server.requests) <= 10  # aiohttp asks twice if a connection is closed


@pytest.mark.parametrize("pause", ["100000", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_pause_that_nobody_waits_for(opened, server, pause):
    array = opened(always=fault_server.status(503, Retry_After=pause))
    with pytest.raises(OSError, match="asks to wait"):
        array[5].load()
    assert len(server.requests) == 1


@pytest.mark.parametrize("header", ["soon", "-5", "", "1e9", "\u00b2", "Fri, 99 Abc 2026"])
def test_an_odd_pause(opened, header):
    array = opened([fault_server.status(503, Retry_After=header)])
    np.testing.assert_array_equal(array[5], PIXELS[5])


def test_no_server(server):
    url = server.url("/a.mrc").replace(str(server.port), "9")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/a\.mrc: .*could not be reached"):
        xr.open_dataset(url, engine="mrc")


def test_no_such_host():
    with pytest.raises(OSError, match=r"http://host\.invalid/a\.mrc: .*could not be reached"):
        xr.open_dataset("http://host.invalid/a.mrc", engine="mrc")


STATUSES = {
    400: OSError, 401: PermissionError, 403: PermissionError, 404: FileNotFoundError,
    410: FileNotFoundError, 418: OSError, 451: OSError,
}  # fmt: skip


@pytest.mark.parametrize("code", STATUSES)
def test_a_status(opened, server, code):
    array = opened(always=fault_server.status(code, b"<html>body</html>"))
    with pytest.raises(STATUSES[code], match=rf"^http://\S+/a\.mrc: .*HTTP {code}"):
        array[5].load()
    assert len(server.requests) == 1
    with pytest.raises(STATUSES[code], match=rf"^http://\S+/a\.mrc: .*HTTP {code}"):
        xr.open_dataset(server.url("/a.mrc"), engine="mrc")


def test_a_web_page_instead_of_a_file(server):
    """Many servers answer 200 with a page to log in."""
    url = server.put("/a.mrc", b"<!DOCTYPE html><html>log in</html>" * 50)
    with pytest.raises(ANY_ERROR, match=r"a web page|an HTML page"):
        xr.open_dataset(url, engine="mrc")


# Answers that are wrong


ODD_RANGES = [
    "bytes 0-99/49024", "bytes */49024", "sections 1-2/3", "", None,
    "bytes 13024-15422/49024", "bytes 15423-13024/49024",
]  # fmt: skip


@pytest.mark.parametrize("shift", [1, -1, SECTION])
def test_another_range_than_was_asked_for(opened, server, shift):
    array = opened(always=fault_server.shifted_range(shift))
    with pytest.raises(ANY_ERROR, match=r"a\.mrc: .*bytes"):
        array[5].load()
    assert len(server.requests) == 1


@pytest.mark.parametrize("text", ODD_RANGES)
def test_an_odd_content_range(opened, text):
    array = opened(always=fault_server.content_range(text))
    with pytest.raises(ANY_ERROR, match=r"^http://\S+/a\.mrc: "):
        array[5].load()


def test_a_content_range_without_the_size(opened):
    """RFC 9110 allows it; the ETag tells whether the file is the same."""
    array = opened(always=fault_server.content_range(f"bytes {OFFSET}-{OFFSET + SECTION - 1}/*"))
    np.testing.assert_array_equal(array[5], PIXELS[5])


def test_more_bytes_than_announced(opened):
    def more(exchange):
        exchange.headers["Content-Length"] = str(len(exchange.body) + 10)
        exchange.body = bytes(exchange.body) + bytes(10)

    array = opened(always=more)
    with pytest.raises(ANY_ERROR, match=r"^http://\S+/a\.mrc: "):
        array[5].load()


def test_fewer_bytes_than_the_range(opened, server):
    """A Content-Length that is shorter than Content-Range says: the rest is asked for."""

    def fewer(exchange):
        exchange.body = exchange.body[:100]

    array = opened([fewer])
    np.testing.assert_array_equal(array[5], PIXELS[5])
    assert [request.range[0] for request in server.requests] == [OFFSET, OFFSET + 100]


@pytest.mark.usefixtures("no_pauses")
def test_bytes_that_are_not_http(server):
    def chatter(exchange):
        exchange.handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        exchange.handler.close_connection = True
        raise OSError

    url = server.put("/a.mrc", RAW, always=chatter)
    with pytest.raises(OSError, match=r"^http://\S+/a\.mrc: "):
        xr.open_dataset(url, engine="mrc")


def test_an_encoding_that_nobody_asked_for(opened, server):
    array = opened(always=fault_server.encoded)
    with pytest.raises(MrcError, match=r"a\.mrc: .*Content-Encoding 'gzip'"):
        array[5].load()
    with pytest.raises(MrcError, match=r"a\.mrc: .*Content-Encoding 'gzip'"):
        xr.open_dataset(server.url("/a.mrc"), engine="mrc")
    assert all("identity" in request.headers["accept-encoding"] for request in server.requests)


# Servers that ignore ranges


def test_a_server_that_stops_answering_ranges(opened, server):
    """The body is not taken in: a huge one would fill memory, or come in for each section."""
    raw, _ = volume((200, 256, 256))
    array = opened(always=fault_server.ignore_ranges, raw=raw)
    with pytest.raises(MrcError, match=r"a\.mrc: .*206.*local_copy="):
        array[5].load()
    wait_for(lambda: server.in_flight == 0, 10)
    assert len(server.requests) == 1
    assert server.nbytes_sent < len(raw) // 2
    assert server.requests[0].was_closed


def test_an_endless_body(opened, server):
    array = opened(always=fault_server.endless)
    with pytest.raises(MrcError, match=r"^http://\S+/a\.mrc: "):
        array[5].load()
    wait_for(lambda: server.in_flight == 0, 10)
    assert server.requests[0].was_closed
    assert server.nbytes_sent < 2**24


def test_an_endless_body_of_the_first_request(server):
    url = server.put("/a.mrc", RAW, always=fault_server.endless)
    with pytest.raises(ANY_ERROR, match=r"^http://\S+/a\.mrc: "):
        xr.open_dataset(url, engine="mrc").data[5].load()
    wait_for(lambda: server.in_flight == 0, 10)
    assert server.requests[0].was_closed
    assert server.nbytes_sent < 2**24


@pytest.mark.servers
def test_nginx_that_ignores_ranges_does_not_fill_memory(nginx):
    """A file of 2 GiB, of which a small process sees header, errors, and no more."""
    with (nginx.files / "huge.mrc").open("wb") as file:
        raw, _ = volume((2, 2, 2))
        from mrcbytes import put

        file.write(put(raw[:1024], "<", nx=1024, ny=1024, nz=1024, mx=1024, my=1024, mz=1024))
        file.truncate(1024 + 2**31)
    program = (
        PEAK_MEMORY
        + """
import sys
import xarray_mrc
assert xarray_mrc.read_header(sys.argv[1]).n == (1024, 1024, 1024)
array = xarray_mrc.open_mrc(sys.argv[1], chunks=None)
before = peak_nbytes()
for _ in range(3):
    try:
        array[5].load()
    except xarray_mrc.MrcError as error:
        assert "local_copy" in str(error), error
    else:
        raise AssertionError("read without ranges")
print(peak_nbytes() - before)
"""
    )
    grown = int(run_program(program, f"{nginx.whole}/huge.mrc"))
    assert grown < 32 * 2**20
    (nginx.files / "huge.mrc").unlink()
    wait_for(lambda: len(nginx.requests("huge.mrc")) >= 2, 10)
    assert all(nbytes < 2**26 for *_, nbytes in nginx.requests("huge.mrc"))


# Changes


OTHER, OTHER_PIXELS = volume((20, 30, 40), seed=2)


def test_a_changed_object(place):
    url = place.put("a.mrc", RAW)
    array = place.open(url)
    np.testing.assert_array_equal(array[3], PIXELS[3])
    place.put("a.mrc", OTHER)
    with pytest.raises(MrcChangedError, match=r"a\.mrc: the file was changed after it was opened"):
        array[4].load()
    np.testing.assert_array_equal(place.open(url)[4], OTHER_PIXELS[4])


def test_an_object_of_another_size(place):
    url = place.put("a.mrc", RAW)
    array = place.open(url)
    place.put("a.mrc", RAW + bytes(100))
    with pytest.raises(MrcChangedError):
        array[4].load()


def test_a_removed_object(http_place, server):
    array = http_place.open(http_place.put("a.mrc", RAW))
    server.files.clear()
    with pytest.raises(FileNotFoundError, match=r"a\.mrc: "):
        array[4].load()


@pytest.mark.parametrize("first", ['"1"', 'W/"1"'])
@pytest.mark.parametrize("second", ['"2"', 'W/"2"'])
def test_another_tag(opened, server, first, second):
    """A server that ignores If-Match, and one that has weak tags, which are never sent to it."""
    array = opened(tag=first)
    np.testing.assert_array_equal(array[3], PIXELS[3])
    assert ("if-match" in server.requests[0].headers) == (first == '"1"')
    server.put("/a.mrc", OTHER, tag=first, always=fault_server.etag(second))
    with pytest.raises(MrcChangedError, match="ETag"):
        array[4].load()


def test_no_tag_but_another_time(opened, server):
    array = opened(tag=None)
    np.testing.assert_array_equal(array[3], PIXELS[3])
    server.put("/a.mrc", OTHER, tag=None, modified=1_800_000_000.0)
    with pytest.raises(MrcChangedError, match="was changed at"):
        array[4].load()


def test_neither_tag_nor_time_but_another_size(opened, server):
    array = opened(tag=None, modified=None)
    np.testing.assert_array_equal(array[3], PIXELS[3])
    server.put("/a.mrc", RAW + bytes(10), tag=None, modified=None)
    with pytest.raises(MrcChangedError, match="size"):
        array[4].load()


def test_a_change_between_the_parts_of_one_read(opened, server):
    """Some requests find the old content: nothing of a mixture comes out."""
    array = opened()
    faults = [fault_server.etag('"1"')] * 3
    server.put("/a.mrc", OTHER, faults=faults, tag='"2"')
    with pytest.raises(MrcChangedError):
        array[::4, 5:9, 5:9].load()


def test_a_change_after_an_interruption(opened, server):
    """The rest of a range that broke off is not taken from another version."""

    def replaced(exchange):
        server.put("/a.mrc", OTHER)
        fault_server.truncate(100)(exchange)

    array = opened([replaced])
    with pytest.raises(MrcChangedError):
        array[5].load()


# Redirects


@pytest.fixture
def other():
    with fault_server.FaultServer(host="localhost") as other:
        yield other


SECRETS = {
    "auth": ("reader", "pass-1"),
    "headers": {"Authorization": "Bearer pass-2", "X-Key": "pass-3"},
    "cookies": {"session": "pass-4"},
}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server(server, code):
    target = server.put("/b.mrc", RAW)
    url = server.put("/a.mrc", b"", always=fault_server.redirect("/b.mrc", code))
    options = {"headers": {"Authorization": "Bearer pass-2"}}
    array = xr.open_dataset(url, engine="mrc", storage_options=options).data
    np.testing.assert_array_equal(array, PIXELS)
    assert target.endswith("/b.mrc")
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer pass-2"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_redirect_to_another_server_gets_no_credentials(server, other, name, host):
    """Another name, or another port of the same name, is another server."""
    other.host = host
    target = other.put("/b.mrc", RAW)
    url = server.put("/a.mrc", b"", always=fault_server.redirect(target))
    options = {name: SECRETS[name]}
    array = xr.open_dataset(url, engine="mrc", storage_options=options).data
    np.testing.assert_array_equal(array[3], PIXELS[3])
    np.testing.assert_array_equal(array[4], PIXELS[4])
    assert other.requests
    sent = {name for request in other.requests for name in request.headers}
    assert not sent & {"authorization", "cookie", "x-key", "proxy-authorization"}
    values = [value for request in other.requests for value in request.headers.values()]
    assert not any("pass-" in value for value in values)
    first = [request for request in server.requests if request.path == "/a.mrc"]
    assert {"authorization", "cookie", "x-key"} & first[0].headers.keys()


def test_a_password_in_the_url_goes_to_its_own_server_only(server, other):
    target = other.put("/b.mrc", RAW)
    url = server.put("/a.mrc", b"", always=fault_server.redirect(target))
    url = url.replace("http://", "http://reader:pass-5@")
    np.testing.assert_array_equal(xr.open_dataset(url, engine="mrc").data, PIXELS)
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert not any("authorization" in request.headers for request in other.requests)


def test_a_redirect_back_gets_them_again(server, other):
    server.put("/c.mrc", RAW)
    target = other.put("/b.mrc", b"", always=fault_server.redirect(server.url("/c.mrc")))
    url = server.put("/a.mrc", b"", always=fault_server.redirect(target))
    options = {"headers": {"Authorization": "Bearer pass-2"}}
    xr.open_dataset(url, engine="mrc", storage_options=options).data.load()
    assert not any("authorization" in request.headers for request in other.requests)


def test_redirects_in_a_circle(server):
    url = server.put("/a.mrc", b"", always=fault_server.redirect("/a.mrc"))
    with pytest.raises(ANY_ERROR, match=r"^http://\S+/a\.mrc: .*redirects"):
        xr.open_dataset(url, engine="mrc")
    assert len(server.requests) < 30


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://a/b", "gopher://a", "//", "http://"]
)
def test_a_redirect_to_something_else(server, target):
    url = server.put("/a.mrc", b"", always=fault_server.redirect(target))
    with pytest.raises(ANY_ERROR):
        xr.open_dataset(url, engine="mrc")


def test_a_redirect_target_that_expires(server):
    """Links that expire: the way to the file is asked for again."""
    server.put("/first.mrc", RAW)
    url = server.put("/a.mrc", b"", always=fault_server.redirect("/first.mrc"))
    array = xr.open_dataset(url, engine="mrc").data
    np.testing.assert_array_equal(array[3], PIXELS[3])
    server.put("/second.mrc", RAW)
    server.put("/first.mrc", b"", always=fault_server.status(403))
    server.put("/a.mrc", b"", always=fault_server.redirect("/second.mrc"))
    np.testing.assert_array_equal(array[4], PIXELS[4])


# Encryption and passwords


@pytest.mark.servers
def test_a_certificate_that_nobody_knows_is_refused(nginx):
    (nginx.files / "tls.mrc").write_bytes(RAW)
    url = f"{nginx.tls}/tls.mrc"
    with pytest.raises(OSError, match=r"^https://\S+/tls\.mrc: the certificate .*'ssl'"):
        xr.open_dataset(url, engine="mrc")
    options = {"ssl": nginx.certificate}
    array = xr.open_dataset(url, engine="mrc", storage_options=options).data
    np.testing.assert_array_equal(array, PIXELS)


@pytest.mark.servers
@pytest.mark.parametrize("value", [False, 0, None])
def test_verification_cannot_be_turned_off(nginx, value):
    (nginx.files / "tls.mrc").write_bytes(RAW)
    with pytest.raises((OSError, TypeError, ValueError)):
        xr.open_dataset(f"{nginx.tls}/tls.mrc", engine="mrc", storage_options={"ssl": value})


@pytest.mark.servers
def test_encryption_is_not_left(nginx, server):
    """A redirect from https:// to http:// is refused."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(nginx.certificate, str(nginx.folder / "key.pem"))
    plain = server.put("/a.mrc", RAW)
    with fault_server.FaultServer(tls=context) as secure:
        url = secure.put("/a.mrc", b"", always=fault_server.redirect(plain))
        options = {"ssl": nginx.certificate}
        with pytest.raises(MrcError, match="redirects to http://"):
            xr.open_dataset(url, engine="mrc", storage_options=options)
        url = secure.put("/b.mrc", RAW)
        array = xr.open_dataset(url, engine="mrc", storage_options=options).data
        np.testing.assert_array_equal(array, PIXELS)
    assert not server.requests


@pytest.mark.servers
def test_a_password(nginx):
    from nginx import PASSWORD, USER

    (nginx.files / "locked.mrc").write_bytes(RAW)
    url = f"{nginx.password}/locked.mrc"
    with pytest.raises(PermissionError, match="401"):
        xarray_mrc.open_mrc(url)
    with pytest.raises(PermissionError, match="401"):
        xarray_mrc.open_mrc(url, storage_options={"auth": (USER, "other")})
    for options in ({"auth": (USER, PASSWORD)}, {"client_kwargs": {"auth": (USER, PASSWORD)}}):
        np.testing.assert_array_equal(xarray_mrc.open_mrc(url, storage_options=options), PIXELS)
    in_url = url.replace("http://", f"http://{USER}:{PASSWORD}@")
    np.testing.assert_array_equal(xarray_mrc.open_mrc(in_url), PIXELS)
