"""Make micrographs and a table of particles for a notebook, of the complex of sample_data.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from sample_data import complex_atoms, filtered, frequencies, on_grid

VIEWS = 3
BOX = 72
VOXEL = 4.5


def views() -> np.ndarray:
    """Return the complex seen from three sides: float64 of shape (3, 72, 72), without noise."""
    atoms = complex_atoms(20_000)
    shape = (BOX, BOX)
    sides = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        image = on_grid(atoms[:, axes] + BOX // 2 * VOXEL, None, shape, VOXEL)
        squared = sum(k**2 for k in frequencies(shape, VOXEL))
        sides.append(filtered(image, np.exp(-squared * 100)))
    found = np.stack(sides)
    return found / found.std(axis=(1, 2), keepdims=True)


def write_project(folder: str | Path = "project", count: int = 16, noise: float = 8) -> None:
    """Write micrographs of particles, and what a program for picking says about them.

    Parameters
    ----------
    folder : str or Path
        Where to write micrograph_01.mrc and so on, micrographs.star and picked.star.
    count : int
        Number of micrographs of 512 x 512 pixels of 4.5 angstrom, with 25 particles each.
    noise : float
        Standard deviation of the noise, as a multiple of that of a particle.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(11)
    sides, half = views(), BOX // 2
    names, rows = [], []
    for number in range(1, count + 1):
        micrograph = random.normal(0, noise, (512, 512))
        names.append(f"micrograph_{number:02}.mrc")
        for place in np.ndindex(5, 5):
            y, x = 56 + 100 * np.array(place) + random.integers(-12, 13, 2)
            view = int(random.integers(VIEWS))
            micrograph[y - half : y + half, x - half : x + half] -= sides[view]  # black, as in ice
            rows.append(f"{names[-1]} {x} {y} {view + 1} {random.normal(3, 0.5):.3f}")
        array = xr.DataArray(micrograph.astype("f4"), dims=("y", "x"))
        array.mrc.to_mrc(folder / names[-1], voxel_size=VOXEL, overwrite=True)
    columns = ("Image", "CoordinateX", "CoordinateY", "ClassNumber", "AutopickFigureOfMerit")
    head = "".join(f"_rln{name}\n" for name in columns).replace("Image", "MicrographName")
    optics = f"data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnMicrographPixelSize\n1 {VOXEL}\n\n"
    table = "".join(f"{name} 1\n" for name in names)
    micrographs = f"data_micrographs\n\nloop_\n_rlnMicrographName\n_rlnOpticsGroup\n{table}"
    (folder / "micrographs.star").write_text(optics + micrographs)
    (folder / "picked.star").write_text(f"data_particles\n\nloop_\n{head}" + "\n".join(rows) + "\n")
