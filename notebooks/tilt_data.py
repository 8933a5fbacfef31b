"""Make the tilt series of the notebooks, of the specimens of sample_data.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from sample_data import MEAN_FREE_PATH, cell, on_grid


def dose_symmetric(largest: int, step: int) -> list[int]:
    """Return tilt angles in the order of their exposure: 0, 3, -3, -6, 6, 9, -9, ..."""
    steps = range(step, largest + 1, step)
    pairs = [(s, -s) if i % 2 == 0 else (-s, s) for i, s in enumerate(steps)]
    return [0, *(angle for pair in pairs for angle in pair)]


def tilt_images(
    angles: list[int], shape: tuple[int, int], voxel: float, thickness: float, dose: float,
    random: np.random.Generator, blocked: int | None = None, seed: int = 1,
) -> np.ndarray:  # fmt: skip
    """Return the counts of a tilt series of a piece of a cell, tilted about the y axis.

    Parameters
    ----------
    angles : list of int
        Tilt angles in degrees.
    shape : tuple of int
        Rows and columns.
    voxel : float
        Pixel size in angstrom.
    thickness : float
        Thickness of the ice in angstrom.
    dose : float
        Electrons per square angstrom of an image.
    random : numpy.random.Generator
        Makes the noise.
    blocked : int, optional
        The angle at which a bar of the grid covers most of the picture.
    seed : int
        Seed of the piece of the cell.

    Returns
    -------
    numpy.ndarray
        int16 of shape (angles, rows, columns).
    """
    points, weights = cell((70 * 10.74, shape[0] * voxel, shape[1] * voxel), seed)
    centre = np.array([35 * 10.74, shape[0] / 2 * voxel, shape[1] / 2 * voxel])
    images = []
    for angle in angles:
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        z, y, x = (points - centre).T
        seen = np.stack((y, x * cosine + z * sine), axis=1) + centre[1:]
        passed = np.exp(-thickness / cosine / MEAN_FREE_PATH)
        passed = passed * np.exp(-on_grid(seen, weights, shape, voxel) / 2000)
        if angle == blocked:
            passed[:, : 2 * shape[1] // 3] *= 0.05
        images.append(random.poisson(dose * voxel**2 * passed))
    return np.array(images, "i2")


def write_tilt_series(folder: str | Path = ".") -> float:
    """Write tilts.st and tilts.st.mdoc as SerialEM does, 41 images in the order of their exposure.

    The tilt axis is along y. At one high tilt a bar of the grid covers most of the picture.

    Parameters
    ----------
    folder : str or Path
        Where to write.

    Returns
    -------
    float
        Thickness of the ice in angstrom.
    """
    shape, voxel, thickness, dose = (240, 256), 10.74, 1900.0, 3.0
    angles = dose_symmetric(60, 3)
    random = np.random.default_rng(5)
    images = tilt_images(angles, shape, voxel, thickness, dose, random, blocked=57)
    stack = xr.DataArray(images, dims=("image", "y", "x"))
    path = Path(folder, "tilts.st")
    sidecar = path.with_name("tilts.st.mdoc")
    sidecar.unlink(missing_ok=True)  # of an earlier call
    stack.mrc.to_mrc(path, voxel_size=voxel, overwrite=True)
    lines = [f"PixelSpacing = {voxel}", f"ImageFile = {path.name}"]
    lines += [
        f"ImageSize = {shape[1]} {shape[0]}",
        "DataMode = 1",
        "",
        "[T = Tilt axis angle = 0.0]",
    ]
    for number, angle in enumerate(angles):
        lines += [
            "",
            f"[ZValue = {number}]",
            f"TiltAngle = {angle + random.normal(0, 0.02):.4f}",
            f"StagePosition = {312.4 + random.normal(0, 0.01):.3f} -87.12",
            f"StageZ = {51.2 + random.normal(0, 0.02):.3f}",
            "Magnification = 33000",
            f"ExposureDose = {dose}",
            "ExposureTime = 0.6",
            f"PixelSpacing = {voxel}",
            f"Defocus = {-4 + random.normal(0, 0.1):.3f}",
            f"DateTime = 27-Nov-26  14:{number // 2:02}:{number % 2 * 30:02}",
        ]
    sidecar.write_text("\n".join(lines) + "\n", "ascii")
    return thickness


def write_tilt_folder(folder: str | Path = "session") -> dict[str, list[int]]:
    """Write four small tilt series with their .mdoc, each in a folder of its own: TS_1 to TS_4.

    TS_3 was recorded from one end to the other, the others from 0 on, side by side. In two of them
    a bar of the grid covers most of an image.

    Parameters
    ----------
    folder : str or Path
        Where to write; made if it does not exist.

    Returns
    -------
    dict of str to list of int
        Angles in degrees of the covered images, by the name of the series.
    """
    shape, voxel = (120, 128), 21.48
    blocked = {"TS_1": [], "TS_2": [48], "TS_3": [], "TS_4": [-54]}
    for number, (name, bad) in enumerate(blocked.items(), 1):
        dose = 2.5 + number / 4
        angles = dose_symmetric(60, 6) if name != "TS_3" else [*range(-60, 61, 6)]
        random = np.random.default_rng(number)
        images = tilt_images(
            angles, shape, voxel, 1200.0 + 200 * number, dose, random, *bad, seed=number
        )
        path = Path(folder, name, "tilts.st")
        path.parent.mkdir(parents=True, exist_ok=True)
        sidecar = path.with_name("tilts.st.mdoc")
        sidecar.unlink(missing_ok=True)  # of an earlier call
        stack = xr.DataArray(images, dims=("image", "y", "x"))
        stack.mrc.to_mrc(path, voxel_size=voxel, overwrite=True)
        lines = ["Voltage = 300", "ImageFile = tilts.st", "", "[T = Tilt axis angle = 0.0]"]
        for i, angle in enumerate(angles):
            lines += [
                "",
                f"[ZValue = {i}]",
                f"TiltAngle = {angle + random.normal(0, 0.02):.4f}",
                f"StagePosition = {100.0 * number} -87.12",
                "StageZ = 51.2",
                f"ExposureDose = {dose}",
                f"PriorRecordDose = {dose * i}",
                f"Defocus = {-3 - number / 4 + random.normal(0, 0.1):.3f}",
                f"TargetDefocus = {-3 - number / 4}",
                f"SubFramePath = X:\\frames\\{name}_{i:03}_{angle}.tif",
                "NumSubFrames = 8",
                f"DateTime = 27-Nov-26  1{number}:{i:02}:00",
            ]
        sidecar.write_text("\n".join(lines) + "\n", "ascii")
    return blocked
