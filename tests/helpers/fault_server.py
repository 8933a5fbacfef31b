"""A small HTTP server on loopback, with faults that a test chooses and requests that it counts.

    with FaultServer() as server:
        server.put("/a.mrc", data, faults=[stall(after=100)])
        read(server.url("/a.mrc"))
        assert server.nbytes_sent == ...

Each request takes the first fault of its file's list; after the last one the file is served without
faults. A fault in `always` is used for every request.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from waiting import wait_for

__all__ = [
    "Exchange", "FaultServer", "Request", "content_range", "encoded", "endless", "etag", "hang_up",
    "ignore_ranges", "no_etag", "redirect", "reset", "shifted_range", "silence", "stall", "status",
    "truncate",
]  # fmt: skip

BLOCK_NBYTES = 64 * 2**10
Fault = Callable[["Exchange"], None]


@dataclass
class Request:
    """A request that the server has seen, and what it sent for it."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    connection: int
    start: float
    status: int = 0
    nbytes: int = 0  # of the body, as far as it was sent
    end: float | None = None
    was_closed: bool = False  # the client closed the connection before the body was sent

    @property
    def range(self) -> tuple[int, int] | None:
        """First byte and number of bytes that were asked for, if they were."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2]) + 1 - int(found[1])) if found else None


@dataclass
class File:
    """A file of the server."""

    data: Any
    faults: list[Fault]
    always: Fault | None
    headers: dict[str, str]


class Exchange:
    """A request that is being answered. A fault changes the answer, or sends it by itself."""

    def __init__(self, handler: Handler, file: File, request: Request) -> None:
        self.handler, self.request = handler, request
        size = len(file.data)
        self.status, self.headers = 200, {"Accept-Ranges": "bytes", **file.headers}
        self.body: Any = memoryview(file.data)
        self.delay, self.stop_after, self.ending = 0.0, -1, "close"
        self.asked = request.headers.get("range")
        required = request.headers.get("if-match")
        if required is not None and required != file.headers.get("ETag"):
            # A weak tag never matches (RFC 9110, section 13.1.1).
            self.status, self.body = 412, b""
        elif required is not None and required.startswith("W/"):
            self.status, self.body = 412, b""
        elif found := re.fullmatch(r"bytes=(\d*)-(\d*)", self.asked or ""):
            first, last = found.groups()
            start = int(first) if first else max(0, size - int(last))
            end = min(size, int(last) + 1) if first and last else size
            if start >= size:
                self.status, self.body = 416, b""
                self.headers["Content-Range"] = f"bytes */{size}"
            else:
                self.status, self.body = 206, self.body[start:end]
                self.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.whole = memoryview(file.data)

    def send(self) -> None:
        """Send the answer."""
        handler, request = self.handler, self.request
        nbytes = len(self.body) if hasattr(self.body, "__len__") else None
        request.status = self.status
        handler.send_response(self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in self.headers and nbytes is not None:
            handler.send_header("Content-Length", str(nbytes))
        handler.end_headers()
        if request.method == "HEAD":
            return
        blocks: Iterator[Any] = iter(self.body)
        if nbytes is not None:
            stop = nbytes if self.stop_after < 0 else min(nbytes, self.stop_after)
            blocks = (
                self.body[i : min(stop, i + BLOCK_NBYTES)] for i in range(0, stop, BLOCK_NBYTES)
            )
        try:
            for block in blocks:
                handler.wfile.write(block)
                request.nbytes += len(block)
        except OSError:
            request.was_closed = True
        if self.stop_after >= 0:
            self.break_off()

    def break_off(self) -> None:
        """End in the middle: close, reset, or keep the connection open and send nothing."""
        self.handler.close_connection = True
        if self.ending == "stall":
            self.handler.wait_for_client()
        elif self.ending == "reset":
            linger = struct.pack("ii", 1, 0)
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.handler.connection.close()


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 16 * 2**10  # headers and a small body in one packet
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.owner.connections)

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def do_GET(self) -> None:
        owner = self.server.owner
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.number, time.monotonic())
        file, fault = owner.enter(path, request)
        try:
            time.sleep(owner.latency)
            if file is None and owner.upstream is not None:
                self.forward(owner.upstream, request)
                return
            if file is None:
                request.status = 404
                self.send_error(404)
                return
            exchange = Exchange(self, file, request)
            if fault is not None:
                fault(exchange)
            time.sleep(exchange.delay)
            exchange.send()
            self.wfile.flush()
        except (OSError, ValueError):  # the client has gone, or a fault closed the connection
            self.close_connection = True
        finally:
            owner.leave(request)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def forward(self, port: int, request: Request) -> None:
        """Have another server of loopback answer, and pass its answer on."""
        length = int(self.headers.get("Content-Length") or 0)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(self.rfile.read(length))
            answer = connection.getresponse()
            body = answer.read()
            request.status = answer.status
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            length = int(answer.headers.get("Content-Length") or 0) if is_head else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            request.nbytes = len(body)
        finally:
            connection.close()

    def wait_for_client(self) -> None:
        """Wait, without sending anything, until the client closes the connection."""
        with suppress(OSError):
            self.wfile.flush()
            self.connection.settimeout(0.1)
            while not self.server.owner.is_closing.is_set():
                try:
                    if not self.connection.recv(BLOCK_NBYTES):
                        return
                except TimeoutError:
                    pass

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # the connection was reset
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a connection that the client broke off


@dataclass
class FaultServer:
    """A server on a free port of loopback, which ends with its context.

    Attributes
    ----------
    latency : float
        Seconds before each answer.
    host : str
        The name that URLs have.
    upstream : int, optional
        Port of another server, which answers for all paths that have no file here.
    requests : list of Request
        The requests so far.
    """

    latency: float = 0.0
    host: str = "127.0.0.1"
    upstream: int | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.files: dict[str, File] = {}
        self.lock = threading.Lock()
        self.connections = itertools.count(1)
        self.is_closing = threading.Event()
        self.in_flight = self.max_in_flight = 0
        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.owner = self
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def url(self, path: str) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}{path}"

    def put(
        self,
        path: str,
        data: Any,
        *,
        faults: Sequence[Fault] = (),
        always: Fault | None = None,
        tag: str | None = "",
        modified: float | None = 1_700_000_000.0,
        **headers: str,
    ) -> str:
        """Store a file and return its URL; its ETag is made of the content unless one is passed."""
        if tag == "":
            tag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
        every = {"Content-Type": "application/octet-stream", **headers}
        if tag is not None:
            every["ETag"] = tag
        if modified is not None:
            every["Last-Modified"] = formatdate(modified, usegmt=True)
        with self.lock:
            self.files[path] = File(data, list(faults), always, every)
        return self.url(path)

    def enter(self, path: str, request: Request) -> tuple[File | None, Fault | None]:
        """Count a request; return its file and its fault."""
        with self.lock:
            self.requests.append(request)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            file = self.files.get(path)
            if file is None:
                return None, None
            return file, file.faults.pop(0) if file.faults else file.always

    def leave(self, request: Request) -> None:
        """Note that a request was answered."""
        with self.lock:
            request.end = time.monotonic()
            self.in_flight -= 1

    def forget(self) -> None:
        """Start counting anew."""
        with self.lock:
            self.requests.clear()
            self.max_in_flight = self.in_flight

    @property
    def nbytes_sent(self) -> int:
        """Number of bytes of all bodies, once all requests are answered."""
        wait_for(lambda: self.in_flight == 0, 20)
        return sum(request.nbytes for request in self.requests)

    @property
    def ranges(self) -> list[tuple[int, int] | None]:
        """Ranges that were asked for, in the order of the requests."""
        return [request.range for request in self.requests]


# Faults


def stall(after: int = 0) -> Fault:
    """Send the headers and some bytes, then nothing, with the connection left open."""

    def fault(exchange: Exchange) -> None:
        exchange.stop_after, exchange.ending = after, "stall"

    return fault


def silence(exchange: Exchange) -> None:
    """Send nothing at all, with the connection left open."""
    exchange.handler.wait_for_client()
    exchange.handler.close_connection = True
    raise OSError


def truncate(after: int = 0) -> Fault:
    """Send some of the bytes that the headers announce, then close the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.stop_after, exchange.ending = after, "close"

    return fault


def reset(after: int = 0) -> Fault:
    """Send some of the bytes that the headers announce, then reset the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.stop_after, exchange.ending = after, "reset"

    return fault


def hang_up(exchange: Exchange) -> None:
    """Close the connection without an answer, as servers do with one that was idle."""
    exchange.handler.close_connection = True
    raise OSError


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with a status; `Retry_After="1"` becomes the header Retry-After."""

    def fault(exchange: Exchange) -> None:
        exchange.status, exchange.body = code, body
        exchange.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return fault


def redirect(url: str, code: int = 302) -> Fault:
    """Send the client to another URL."""
    return status(code, Location=url)


def shifted_range(shift: int = 1) -> Fault:
    """Send another range than was asked for, and say so in Content-Range."""

    def fault(exchange: Exchange) -> None:
        if exchange.request.range is None:
            return
        start, nbytes = exchange.request.range
        size = len(exchange.whole)
        start = min(start + shift, size - 1)
        exchange.body = exchange.whole[start : start + nbytes]
        end = start + len(exchange.body)
        exchange.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"

    return fault


def content_range(text: str | None) -> Fault:
    """Send some other text as Content-Range, or none."""

    def fault(exchange: Exchange) -> None:
        exchange.headers.pop("Content-Range", None)
        if text is not None:
            exchange.headers["Content-Range"] = text

    return fault


def ignore_ranges(exchange: Exchange) -> None:
    """Answer with the whole file."""
    exchange.status, exchange.body = 200, exchange.whole
    exchange.headers.pop("Content-Range", None)
    exchange.headers.pop("Accept-Ranges", None)


def endless(exchange: Exchange) -> None:
    """Answer with a body that does not end; its first bytes are those of the file."""
    ignore_ranges(exchange)
    exchange.headers["Connection"] = "close"
    exchange.body = itertools.chain([exchange.whole], itertools.repeat(bytes(BLOCK_NBYTES)))


def etag(tag: str | None) -> Fault:
    """Answer with another ETag, or none, whatever the client requires."""

    def fault(exchange: Exchange) -> None:
        exchange.headers.pop("ETag", None)
        if tag is not None:
            exchange.headers["ETag"] = tag

    return fault


def no_etag(exchange: Exchange) -> None:
    """Answer without an ETag."""
    etag(None)(exchange)


def encoded(exchange: Exchange) -> None:
    """Answer in gzip, as Content-Encoding says, though nobody asked for it."""
    import gzip

    exchange.body = gzip.compress(bytes(exchange.body))
    exchange.headers["Content-Encoding"] = "gzip"
