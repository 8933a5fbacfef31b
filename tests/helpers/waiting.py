"""Waiting for something in another thread or process, never without a limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

__all__ = ["wait_for", "wait_for_exit"]


def wait_for(condition: Callable[[], Any], seconds: float = 60, pause: float = 0.005) -> None:
    """Wait until a condition holds; AssertionError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened for {seconds} s"
        time.sleep(pause)


def wait_for_exit(child: int, seconds: float = 60) -> int:
    """Return the exit code of a forked child; a child that hangs is killed."""
    status: list[int] = []

    def has_ended() -> bool:
        found, code = os.waitpid(child, os.WNOHANG)
        status.append(code)
        return found == child

    try:
        wait_for(has_ended, seconds)
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(status[-1])
