"""Particles that a STAR file lists: opening, means, random batches; against loops by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import starfile
from harness import Case
from mrcbytes import header
from numpy.typing import NDArray

import xarray_mrc

STACKS, PER_STACK, SIZE = 200, 500, 128
# Only so many have pixels: 1.3 GB. Of the others the headers are read.
FILLED = 40
BATCH = 256
CLASS, CLASSES = 3, 3
IMAGE_NBYTES = SIZE * SIZE * 4
COLUMNS = (
    "rlnImageName", "rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnDefocusU",
    "rlnDefocusV", "rlnDefocusAngle", "rlnClassNumber", "rlnOpticsGroup",
    "rlnLogLikeliContribution",
)  # fmt: skip


def cases(folder: Path) -> Iterator[Case]:
    """Write the files, and yield the cases that read them from a warm page cache."""
    paths = write_stacks(folder)
    every, filled = folder / "every.star", folder / "filled.star"
    write_table(every, paths)
    write_table(filled, paths[:FILLED])
    particles = xarray_mrc.open_stack(filled)
    classes = particles.rlnClassNumber.values.reshape(FILLED, PER_STACK)
    sections = [np.flatnonzero(row == CLASS) for row in classes]
    stacks = [str(path) for path in paths[:FILLED]]

    yield Case(
        f"open {STACKS * PER_STACK:,} references",
        lambda: len(xarray_mrc.open_stack(every)),
        {"starfile.read": lambda: len(starfile.read(every)["particles"])},
        {"starfile.read": 1.6},
        runs=5,
    )
    yield Case(
        "mean over all",
        lambda: particles.mean("image").values,
        {"np.fromfile": lambda: mean_of(map(read_stack, stacks))},
        {"np.fromfile": 1.3},
    )
    yield Case(
        "class mean of a third",
        lambda: particles[particles.rlnClassNumber == CLASS].mean("image").values,
        {"np.memmap": lambda: mean_of(map(select_mapped, stacks, sections))},
        {"np.memmap": 1.3},
        runs=15,
    )
    yield batches_case(FILLED, particles, sum_of, stacks, filled)
    # Their zeros cost what pixels would: they are read once, and then copied from the page cache.
    every_stack = [str(path) for path in paths]
    for name in every_stack:
        read_stack(name)
    yield batches_case(STACKS, xarray_mrc.open_stack(every), count_of, every_stack, every)


def batches_case(
    count: int, particles: Any, use: Callable[[Any], float], stacks: list[str], table: Path
) -> Case:
    """Return the case of random batches; vitrio is compared if it is installed."""
    others = {"preadv": lambda: use(read_batches(stacks))}
    bars = {"preadv": 1.2}
    if find_spec("vitrio"):
        loader = vitrio_loader(table)
        others["vitrio"] = lambda: use(batch["image"] for batch in loader)
        bars["vitrio"] = 1.3
    return Case(
        f"random batches of {BATCH}, {count} stacks",
        lambda: use(batch.values for batch in particles.mrc.batches(BATCH)),
        others,
        bars,
        runs=9 if count == FILLED else 5,
    )


def write_stacks(folder: Path) -> list[Path]:
    """Write stacks of noise; those without pixels are sparse."""
    head = header(
        "<", nx=SIZE, ny=SIZE, nz=PER_STACK, mx=SIZE, my=SIZE, mz=PER_STACK, mode=2, ispg=0,
        cella=(float(SIZE), float(SIZE), float(PER_STACK)),
    )  # fmt: skip
    noise = np.random.default_rng(1).standard_normal((PER_STACK, SIZE, SIZE), np.float32)
    paths = [folder / f"{number:03d}.mrcs" for number in range(STACKS)]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            file.write(head)
            if number < FILLED:
                file.write((noise + np.float32(number)).tobytes())
            else:
                file.truncate(len(head) + PER_STACK * IMAGE_NBYTES)
    return paths


def write_table(path: Path, stacks: list[Path]) -> None:
    """Write a STAR file with an optics group and ten columns."""
    random = np.random.default_rng(2)
    lines = ["data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 1.0\n\n"]
    lines.append("data_particles\n\nloop_\n")
    lines += [f"_{name} #{number}\n" for number, name in enumerate(COLUMNS, 1)]
    for stack in stacks:
        numbers = random.uniform(0, 20000, (PER_STACK, 6)).tolist()
        classes = random.integers(1, CLASSES + 1, PER_STACK).tolist()
        for section, (x, y, u, v, angle, likeli) in enumerate(numbers):
            lines.append(
                f"{section + 1:06d}@{stack.name} MotionCorr/{stack.stem}.mrc {x:.3f} {y:.3f} "
                f"{u:.2f} {v:.2f} {angle:.2f} {classes[section]} 1 {likeli:.1f}\n"
            )
    path.write_text("".join(lines))


def read_stack(path: str) -> NDArray[Any]:
    """Read all images of a stack."""
    return np.fromfile(path, np.float32, offset=1024).reshape(-1, SIZE, SIZE)


def select_mapped(path: str, sections: NDArray[Any]) -> NDArray[Any]:
    """Read some images of a stack through a map."""
    mapped = np.memmap(path, np.float32, "r", 1024, (PER_STACK, SIZE, SIZE))
    found: NDArray[Any] = mapped[sections]
    return found


def mean_of(stacks: Any) -> NDArray[Any]:
    """Return the mean of images in several arrays."""
    total, count = np.zeros((SIZE, SIZE)), 0
    for images in stacks:
        total += images.sum(0)
        count += len(images)
    return total / count


def sum_of(batches: Any) -> float:
    """Return the sum of one pixel of each image, which no order changes."""
    return sum(float(batch[:, 5, 7].sum(dtype=float)) for batch in batches)


def count_of(batches: Any) -> int:
    """Return the number of images in as many batches as 40 stacks have; sum one pixel of each."""
    found = 0
    for batch in islice(batches, FILLED * PER_STACK // BATCH):
        assert np.isfinite(batch[:, 5, 7].sum())
        found += len(batch)
    return found


def read_batches(stacks: list[str]) -> Iterator[NDArray[Any]]:
    """Read random batches, sorted by file and section, each file opened once."""
    order = np.random.default_rng().permutation(len(stacks) * PER_STACK)
    for first in range(0, len(order), BATCH):
        wanted = order[first : first + BATCH]
        batch = np.empty((len(wanted), SIZE, SIZE), np.float32)
        places = np.argsort(wanted)
        files = wanted[places] // PER_STACK
        for group in np.split(places, np.flatnonzero(np.diff(files)) + 1):
            descriptor = os.open(stacks[wanted[group[0]] // PER_STACK], os.O_RDONLY)
            sections = (wanted[group] % PER_STACK).tolist()
            for place, section in zip(group.tolist(), sections, strict=True):
                os.preadv(descriptor, [batch[place]], 1024 + section * IMAGE_NBYTES)
            os.close(descriptor)
        yield batch


def vitrio_loader(table: Path) -> Any:
    """Return vitrio's loader of the images of a table, with its other columns, by default."""
    import vitrio

    rows = starfile.read(table)["particles"]
    names = [name.replace("@", f"@{table.parent}/") for name in rows["rlnImageName"]]
    images = vitrio.data.ImageSource(vitrio.data.parse_locations(names))
    others = {name: rows[name].to_numpy() for name in COLUMNS[2:]}
    return vitrio.data.DataLoader(vitrio.data.Dataset({"image": images, **others}), BATCH, True)
