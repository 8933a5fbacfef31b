"""Benchmark cases, whose jobs run in turns, and the table of their ratios.

These are not tests, because machines are noisy. The two times of a ratio are from the same run.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("numpy", "xarray", "dask", "mrcfile", "rosettasciio")


@dataclass(frozen=True)
class Case:
    """One row: our job and other jobs, with upper limits for the ratios of their times.

    All jobs must return the same result.
    """

    name: str
    ours: Callable[[], Any]
    others: Mapping[str, Callable[[], Any]]
    bars: Mapping[str, float] = field(default_factory=dict)
    runs: int = 9


@dataclass(frozen=True)
class Row:
    """A measured case: seconds of ours and of each other job, and the limits of their ratios."""

    name: str
    seconds: Mapping[str, tuple[float, float]]
    bars: Mapping[str, float]

    def ratio(self, other: str) -> float:
        ours, theirs = self.seconds[other]
        return ours / theirs

    @property
    def holds(self) -> bool:
        return all(self.ratio(other) <= bar for other, bar in self.bars.items())


def measure(case: Case) -> Row:
    """Run our job and each other in turns, after a round that does not count; return the best."""
    answers = {name: job() for name, job in {"ours": case.ours, **case.others}.items()}
    for name, answer in answers.items():
        if not np.allclose(answers["ours"], answer, rtol=1e-5, equal_nan=True):
            raise AssertionError(f"{case.name}: ours gave {answers['ours']}, {name} {answer}")
    seconds = {}
    for name, job in case.others.items():
        pairs = [(timed(case.ours), timed(job)) for _ in range(case.runs)]
        seconds[name] = (min(ours for ours, _ in pairs), min(other for _, other in pairs))
    return Row(case.name, seconds, case.bars)


def timed(job: Callable[[], Any]) -> float:
    """Return the seconds that a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def print_rows(title: str, rows: Iterable[Row]) -> list[str]:
    """Print rows as they are measured; return them as a Markdown table."""
    lines = [f"## {title}", "", "| what | ours | against | ratio |", "|---|---|---|---|"]
    print(f"\n{title}", flush=True)
    for row in rows:
        ours = milliseconds(min(ours for ours, _ in row.seconds.values()))
        against, ratios = [], []
        for name, (_, theirs) in row.seconds.items():
            bar = row.bars.get(name)
            missed = bar is not None and row.ratio(name) > bar
            against.append(f"{name} {milliseconds(theirs)}")
            ratios.append(f"{row.ratio(name):.2f}{'' if bar is None else f' <= {bar}'}")
            ratios[-1] += " (missed)" if missed else ""
        lines.append(f"| {row.name} | {ours} | {', '.join(against)} | {', '.join(ratios)} |")
        print(f"  {row.name:34} {ours:>9} | {', '.join(against)} | {', '.join(ratios)}", flush=True)
    return lines


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.{0 if seconds > 0.1 else 2 if seconds > 1e-3 else 3}f} ms"


def machine() -> str:
    """Return a description of the machine and the versions of packages."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {packages}"
    )
