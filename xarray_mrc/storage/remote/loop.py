"""The one event loop of a process for requests, which is fsspec's and runs on its own thread.

Threads and other event loops hand their requests to it, so that all of them together keep to the
limit of requests for a host. A forked child starts a loop of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["get_loop", "limit", "run", "run_async", "side_by_side"]

T = TypeVar("T")
S = TypeVar("S")

# Every loop is of one process, so a forked child never sees a semaphore of its parent.
_limits: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], asyncio.Semaphore]] = (
    WeakKeyDictionary()
)


def get_loop() -> asyncio.AbstractEventLoop:
    """Return fsspec's event loop."""
    from fsspec.asyn import get_loop as get_fsspec_loop

    found: asyncio.AbstractEventLoop = get_fsspec_loop()
    return found


def leave_loop() -> None:
    """Forget the loop of the parent in a forked child: its thread exists only there.

    Newer versions of fsspec do so themselves.
    """
    if "fsspec.asyn" in sys.modules:
        sys.modules["fsspec.asyn"].reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_loop)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop and wait for its result; may be called by many threads."""
    loop = get_loop()
    try:
        is_own_thread = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_own_thread = False
    if is_own_thread:
        coroutine.close()
        raise RuntimeError(
            "a remote file was read on the thread of fsspec's event loop, which "
            "would wait for itself: read it with load_async, or on another thread"
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    finally:
        future.cancel()  # after KeyboardInterrupt; of a future that is done this does nothing


async def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop while the event loop of the caller runs on."""
    loop = get_loop()
    if asyncio.get_running_loop() is loop:
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


def limit(host: str, max_requests: int) -> asyncio.Semaphore:
    """Return the semaphore of a host, shared by all files that have the same limit."""
    by_host = _limits.setdefault(asyncio.get_running_loop(), {})
    key = host, max_requests
    if key not in by_host:
        by_host[key] = asyncio.Semaphore(max_requests)
    return by_host[key]


async def side_by_side(
    work: Callable[[S], Awaitable[None]], items: Iterable[S], max_workers: int
) -> None:
    """Do work on all items, some at a time; the first error cancels the rest."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(max_workers)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
