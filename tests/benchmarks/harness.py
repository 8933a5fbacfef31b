"""What every benchmark is made of: cases whose jobs run in turns, and the table of their ratios.

Nothing here is a test: machines are noisy. A ratio is that of two times from one run, side by side.
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
    """One row: `ours` against others, each with the ratio that ours should stay below, or None.

    Jobs return what they found, which has to be the same for all.
    """

    name: str
    ours: Callable[[], Any]
    others: Mapping[str, Callable[[], Any]]
    bars: Mapping[str, float] = field(default_factory=dict)
    runs: int = 9


@dataclass(frozen=True)
class Row:
    """One case as measured: for each other job the seconds of ours and of it, and the bars."""

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
    """Run ours and each other job in turns, after a round that is not counted; the best of each."""
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
    """Give the seconds that a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def print_rows(title: str, rows: Iterable[Row]) -> list[str]:
    """Print rows as they come; give them as a table of Markdown."""
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
    """Describe what the figures were measured on."""
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
