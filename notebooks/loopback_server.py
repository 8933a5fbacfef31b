"""A small web server on this computer that sends parts of files and counts what it sent.

Python's own http.server sends whole files only. Servers of archives send parts, as this one does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self

__all__ = ["LoopbackServer", "Sent"]


@dataclass
class Sent:
    """What a server has sent: the number of answers, and of the bytes in them."""

    requests: int = 0
    nbytes: int = 0


class LoopbackServer:
    """Serve the files of a folder under ``server.url``, until ``close`` or the end of a with block.

    Parameters
    ----------
    folder : str or Path
        The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self._lock = Lock()
        self._sent = Sent()
        handler = partial(Handler, directory=str(folder), count=self._count)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def sent(self) -> Sent:
        """Return what was sent since the last call."""
        with self._lock:
            sent, self._sent = self._sent, Sent()
        return sent

    def _count(self, requests: int, nbytes: int) -> None:
        with self._lock:
            self._sent.requests += requests
            self._sent.nbytes += nbytes

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Handler(SimpleHTTPRequestHandler):
    """Answer one connection: a whole file, or the range of bytes that was asked for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, count: Callable[[int, int], None], **options: Any) -> None:
        self.count = count
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Send a file, or a part of it, if it is still the version that was asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        facts = path.stat()
        version = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
        if self.headers.get("If-Match", version) != version:
            self.send_error(412)
            return
        start, stop = 0, facts.st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, stop)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{facts.st_size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", version)
        self.end_headers()
        self.count(1, 0)
        with path.open("rb") as file:
            file.seek(start)
            while start < stop:
                block = file.read(min(stop - start, 64 * 1024))
                self.count(0, len(block))  # before the client has it, and may ask for the count
                try:
                    self.wfile.write(block)
                except ConnectionError:  # the client has what it needs
                    self.close_connection = True
                    return
                start += len(block)

    def log_message(self, *_: object) -> None:
        """Write nothing to the standard error stream."""
