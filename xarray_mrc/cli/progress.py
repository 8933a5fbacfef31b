"""Progress of long work, on the standard error stream, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xarray_mrc.cli.files import shown_name

__all__ = ["shown_progress"]

# Shorter work shows no bar, which would only flicker.
DELAY_SECONDS = 0.5


class Bar:
    """A bar that appears once the work takes a while, and disappears at the end.

    Parameters
    ----------
    name : str
        What is worked on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.start = time.monotonic()
        self.shown: Any = None

    def update(self, part: float | None) -> None:
        """Show the part that is done, from 0 to 1; None if it is not known."""
        if self.shown is None:
            if time.monotonic() - self.start < DELAY_SECONDS:
                return
            from rich.console import Console
            from rich.progress import Progress

            self.shown = Progress(console=Console(stderr=True), transient=True)
            self.shown.add_task(self.name, total=None if part is None else 1.0)
            self.shown.start()
        if part is not None:
            self.shown.update(self.shown.task_ids[0], completed=part)

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self.shown is not None:
            self.shown.stop()


@contextmanager
def shown_progress(
    path: str, *, is_wanted: bool = True, counts_tasks: bool = False
) -> Iterator[Bar | None]:
    """Show the progress of the block, if the standard error stream is a terminal.

    Parameters
    ----------
    path : str
        The file that is worked on.
    is_wanted : bool
        Whether the work can be long.
    counts_tasks : bool
        Whether it is done by tasks of dask, in this process.

    Yields
    ------
    Bar or None
        None if no bar is shown.
    """
    if not (is_wanted and sys.stderr.isatty()):
        yield None
        return
    from xarray_mrc.storage.progress import watch_progress

    bar = Bar(shown_name(path))
    try:
        with watch_progress(bar.update):
            if counts_tasks:
                with task_counter(bar):
                    yield bar
            else:
                yield bar
    finally:
        bar.close()


def task_counter(bar: Bar) -> Any:
    """Return a context in which the tasks of dask move a bar."""
    from dask.callbacks import Callback

    def count(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        done = len(state["finished"])
        left = sum(len(state[name]) for name in ("waiting", "ready", "running"))
        bar.update(done / max(1, done + left))

    return Callback(posttask=count)
