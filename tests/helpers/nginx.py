"""nginx on loopback, with and without ranges, with TLS and with a password."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_process import find_program, free_port, serving

__all__ = ["PASSWORD", "USER", "Nginx", "run_nginx"]

USER, PASSWORD = "reader", "pass-4711-word"

CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
    log_format requests '$request_method $uri "$http_range" $status $body_bytes_sent $connection';
    access_log {folder}/access.log requests;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream; root {folder}/files; gzip off; etag on; sendfile on;
    server {{ listen 127.0.0.1:{ranges}; }}
    server {{ listen 127.0.0.1:{whole}; max_ranges 0; }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    }}
    server {{
        listen 127.0.0.1:{password};
        auth_basic maps; auth_basic_user_file {folder}/passwords;
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx, whose servers show the same directory.

    Attributes
    ----------
    ranges : str
        URL of the server that answers ranges.
    whole : str
        URL of the one that ignores them.
    tls : str
        URL of the one with a certificate that `certificate` alone vouches for.
    password : str
        URL of the one that asks for USER and PASSWORD.
    """

    folder: Path
    ranges: str
    whole: str
    tls: str
    password: str

    @property
    def files(self) -> Path:
        """Directory of the files."""
        return self.folder / "files"

    @property
    def certificate(self) -> str:
        """Path of the certificate."""
        return str(self.folder / "certificate.pem")

    def requests(self, name: str) -> list[tuple[str, str, int, int]]:
        """Return method, range, status and bytes of the body of the requests for a file."""
        found = []
        for line in (self.folder / "access.log").read_text("utf-8").splitlines():
            method, uri, asked, status, nbytes, _ = line.split(" ")
            if uri == f"/{name}":
                found.append((method, asked.strip('"'), int(status), int(nbytes)))
        return found


@contextmanager
def run_nginx(folder: Path) -> Iterator[Nginx]:
    """Run nginx with everything that it needs in a directory."""
    program = find_program("nginx")
    ports = {name: free_port() for name in ("ranges", "whole", "tls", "password")}
    (folder / "files").mkdir()
    (folder / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", "utf-8")
    make_certificate(folder)
    # The workers of a nginx that root starts are others, who may not read root's directories.
    user = "user root;" if os.name == "posix" and os.getuid() == 0 else ""
    config = CONFIG.format(folder=folder, user=user, **ports)
    (folder / "nginx.conf").write_text(config, "utf-8")
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with serving(command, ports["ranges"], folder / "output.log"):
        urls = {
            name: f"{'https' if name == 'tls' else 'http'}://127.0.0.1:{port}"
            for name, port in ports.items()
        }
        yield Nginx(folder, **urls)


def make_certificate(folder: Path) -> None:
    """Make a certificate for loopback that it alone vouches for."""
    subprocess.run(
        [
            find_program("openssl"), "req", "-x509", "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"),
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
