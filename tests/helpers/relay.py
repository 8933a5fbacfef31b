"""A relay on loopback that passes bytes on to a server, and breaks connections."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Relay", "run_relay"]


@dataclass
class Relay:
    """A running relay.

    Attributes
    ----------
    port : int
        Where it listens.
    upstream : int
        Port of the server.
    breaks_at : bytes
        A connection on which a client sends this is broken at once.
    broken : int
        Number of connections that were broken.
    """

    port: int
    upstream: int
    breaks_at: bytes = b"\0never\0"
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, client: socket.socket) -> None:
        """Pass on what a client sends, and what the server answers."""
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            answers = threading.Thread(target=pass_on, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError):
                while data := client.recv(65536):
                    if self.breaks_at in data:
                        with self.lock:
                            self.broken += 1
                        # The system sends a reset, as when a cable is pulled and a router notices.
                        reset = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                        break
                    server.sendall(data)
            for end in (server, client):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            answers.join(5)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until either end is closed."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextmanager
def run_relay(upstream: int) -> Iterator[Relay]:
    """Run a relay to a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener.getsockname()[1], upstream)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=relay.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
