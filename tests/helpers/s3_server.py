"""moto's S3 server on loopback, in its own process, behind a proxy that counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_server import FaultServer
from server_process import free_port, serving

__all__ = ["BUCKET", "KEY", "SECRET", "S3Server", "run_s3"]

BUCKET = "maps"
KEY, SECRET = "key-of-a-reader", "secret-7319-of-a-reader"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server.

    Attributes
    ----------
    proxy : FaultServer
        What clients talk to: it counts their requests, and can have faults and latency.
    client : botocore.client.S3
        A client of the server itself, which is not counted.
    """

    proxy: FaultServer
    client: Any

    @property
    def options(self) -> dict[str, Any]:
        """`storage_options` for a reader with a key."""
        return {"key": KEY, "secret": SECRET, "endpoint_url": self.proxy.url("")}

    @property
    def anonymous(self) -> dict[str, Any]:
        """`storage_options` for a reader without a key."""
        return {"anon": True, "endpoint_url": self.proxy.url("")}

    def put(self, name: str, data: bytes, *, public: bool = False) -> str:
        """Store an object, which a reader without a key sees if it is public; return its URL."""
        access = "public-read" if public else "private"
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data, ACL=access)
        return f"s3://{BUCKET}/{name}"


@contextmanager
def run_s3(folder: Path) -> Iterator[S3Server]:
    """Run the server with one empty bucket."""
    import boto3
    from botocore.config import Config

    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port, folder / "moto.log"), FaultServer(upstream=port) as proxy:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(proxies={}),
        )
        client.create_bucket(Bucket=BUCKET)
        yield S3Server(proxy, client)
        client.close()
