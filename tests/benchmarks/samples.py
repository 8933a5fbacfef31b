"""Data that compress like those of electron microscopes, the same in each run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mrcbytes import header
from numpy.typing import NDArray

SIDE = 1024
MODES = {"float32": 2, "int16": 1, "int8": 0, "labels": 1, "membranes": 0, "mask": 2}
TYPES = {"labels": "int16", "membranes": "int8", "mask": "float32"}
BAND = 0.35  # cycles a pixel: higher frequencies are removed, as by the optics


def noise(section: int) -> NDArray[np.float32]:
    """Return one section of band-limited noise, with mean 0 and standard deviation 1."""
    squared = np.fft.rfftfreq(SIDE) ** 2 + np.fft.fftfreq(SIDE)[:, None] ** 2
    white = np.random.default_rng([0, section]).standard_normal((SIDE, SIDE), dtype="f4")
    plane = np.fft.irfft2(np.fft.rfft2(white) * (squared < BAND**2), (SIDE, SIDE))
    return (plane / plane.std()).astype("<f4")


def sections(form: str, count: int) -> Iterator[NDArray[Any]]:
    """Yield sections: noise as floats or 16-bit densities, counts in 8 bits, or segmentations.

    Sixteen are computed. The others are copies of these, shifted so that no two chunks are equal.
    """
    made: list[NDArray[Any]] = []
    for number in range(min(count, 16)):
        if form == "float32":
            plane: NDArray[Any] = noise(number)
        elif form in TYPES:
            plane = segment(form, number)
        elif form == "int16":
            plane = np.rint(noise(number) * 300 + 1200).astype("<i2")
        else:
            plane = np.random.default_rng([1, number]).poisson(1.2, (SIDE, SIDE)).astype("i1")
        made.append(plane)
        yield plane
    for number in range(16, count):
        yield np.roll(made[number % 16], (211 * (number // 16), 397 * (number // 16)), (0, 1))


def segment(form: str, number: int) -> NDArray[Any]:
    """Return one section of a segmentation: labelled balls, shells one wall thick, or a mask."""
    if form == "mask":  # the solvent mask of a refinement: 0 or 1, as floats
        smooth = np.fft.rfft2(noise(0)) * (np.hypot(*frequencies()) < 0.01)
        return (np.roll(np.fft.irfft2(smooth), number, 0) > 0).astype("<f4")
    chance = np.random.default_rng(2)
    plane = np.zeros((SIDE, SIDE), "<i2" if form == "labels" else "i1")
    y, x = np.mgrid[:SIDE, :SIDE]
    for label in range(1, 60):
        z0, y0, x0, radius = chance.uniform((-100, 0, 0, 10), (100, SIDE, SIDE, 120)).tolist()
        distance = np.sqrt((number % 16 - z0) ** 2 + (y - y0) ** 2 + (x - x0) ** 2)
        if form == "labels":
            plane[distance < radius / 2] = label
        else:
            plane[abs(distance - radius) < 2] = 1
    return plane


def frequencies() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the frequencies of a section along y and x, in cycles a pixel."""
    return np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]


def make_file(path: Path, form: str, mib: int) -> Path:
    """Write an MRC file of a size."""
    count = mib * 2**20 // (SIDE**2 * np.dtype(TYPES.get(form, form)).itemsize)
    raw = header(
        nx=SIDE, ny=SIDE, nz=count, mx=SIDE, my=SIDE, mz=count, mode=MODES[form], ispg=1,
        cella=(SIDE * 1.35, SIDE * 1.35, count * 1.35), dmin=-128.0, dmax=127.0,
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(raw)
        for plane in sections(form, count):
            file.write(plane.tobytes())
    return path
