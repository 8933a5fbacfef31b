"""Make the files of the notebooks: a computed specimen, seen by a computed microscope.

The specimen is made of points that scatter. Protein complexes are chains of atoms in an asymmetric
envelope, a vesicle has two leaflets of lipid, and beads of gold are heavy. A tomogram, a tilt
series, a movie and half maps are pictures of such points, with the noise of counted electrons.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr

import xarray_mrc

WAVELENGTH = 0.0197  # angstrom, of electrons at 300 kV
SPHERICAL_ABERRATION = 2.7e7  # angstrom
AMPLITUDE_CONTRAST = 0.07

MEAN_FREE_PATH = 3100.0
"""Angstrom of ice at 300 kV after which 1/e of the electrons have not been scattered."""


def complex_atoms(count: int = 4000, seed: int = 3) -> np.ndarray:
    """Return atoms of a protein complex of about 250 angstrom: a body, a head and an arm.

    Parameters
    ----------
    count : int
        Number of atoms.
    seed : int
        Seed of the random chain.

    Returns
    -------
    numpy.ndarray
        Positions in angstrom around the centre, in the order z, y, x; float64, `count` rows.
    """
    random = np.random.default_rng(seed)
    centres = np.array([(-20.0, -25.0, 0.0), (15.0, 60.0, -20.0), (0.0, 20.0, 75.0)])
    radii = np.array([(60.0, 75.0, 65.0), (40.0, 35.0, 45.0), (22.0, 18.0, 45.0)])
    lobes = random.choice(3, size=count, p=(0.72, 0.2, 0.08))
    directions = random.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Domains: a part of the atoms sits close to others, so that there is detail of all sizes.
    positions = centres[lobes] + radii[lobes] * directions * random.random((count, 1)) ** (1 / 3)
    domains = positions[random.integers(0, 90, count)] + random.normal(0, 9, (count, 3))
    atoms = np.where(random.random((count, 1)) < 0.7, domains, positions)
    return np.asarray(atoms - atoms.mean(axis=0))


def rotation(random: np.random.Generator) -> np.ndarray:
    """Return a random rotation matrix, float64 of shape (3, 3)."""
    matrix, triangle = np.linalg.qr(random.normal(size=(3, 3)))
    matrix *= np.sign(np.diag(triangle))
    return np.asarray(matrix * np.sign(np.linalg.det(matrix)))


def cell(extent: tuple[float, float, float], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a piece of a cell, and how strongly each scatters.

    Parameters
    ----------
    extent : tuple of float
        Size along z, y, x in angstrom.
    seed : int
        Seed of the places.

    Returns
    -------
    points : numpy.ndarray
        Positions in angstrom, in the order z, y, x.
    weights : numpy.ndarray
        Their strengths; an atom of a complex has 4.
    """
    random = np.random.default_rng(seed)
    size = np.array(extent)
    atoms = complex_atoms()
    parts, weights = [], []
    for _ in range(70):
        parts.append(atoms @ rotation(random) + size * random.uniform(0.08, 0.92, 3))
        weights.append(np.full(len(atoms), 4.0))
    for centre, radius in (((0.5, 0.6, 0.38), 0.4), ((0.47, 0.27, 0.75), 0.26)):
        directions = random.normal(size=(120_000, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        leaflets = radius * size[0] + random.choice((-18, 18), (120_000, 1))
        parts.append(size * centre + leaflets * directions)
        weights.append(np.full(120_000, 2.0 * (radius / 0.4) ** 2))
    for _ in range(6):  # beads of gold, 100 angstrom wide
        directions = random.normal(size=(3000, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        bead = directions * 50 * random.random((3000, 1)) ** (1 / 3)
        parts.append(bead + size * random.uniform(0.1, 0.9, 3))
        weights.append(np.full(3000, 7.0))
    return np.concatenate(parts), np.concatenate(weights)


def on_grid(points: np.ndarray, weights: np.ndarray | None, shape: tuple[int, ...],
            voxel: float) -> np.ndarray:  # fmt: skip
    """Return the sum of the weights in each voxel of a grid that starts at 0.

    Parameters
    ----------
    points : numpy.ndarray
        Positions in angstrom; as many columns as the grid has dimensions.
    weights : numpy.ndarray or None
        Weight of each point; None is 1.
    shape : tuple of int
        Shape of the grid.
    voxel : float
        Voxel size in angstrom.

    Returns
    -------
    numpy.ndarray
        float64; points outside the grid do not count.
    """
    index = np.rint(points / voxel).astype(int)
    inside = ((index >= 0) & (index < shape)).all(axis=1)
    flat = np.ravel_multi_index(tuple(index[inside].T), shape)
    kept = None if weights is None else weights[inside]
    return np.bincount(flat, kept, int(np.prod(shape))).reshape(shape)


def frequencies(shape: tuple[int, ...], voxel: float) -> list[np.ndarray]:
    """Return the spatial frequencies of ``numpy.fft.rfftn`` in 1/angstrom, ready to broadcast."""
    axes = [np.fft.fftfreq(n, voxel) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1], voxel)]
    return np.meshgrid(*axes, indexing="ij", sparse=True)


def filtered(image: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """Return an image or volume after its Fourier transform was multiplied by a function."""
    return np.fft.irfftn(np.fft.rfftn(image) * transfer, image.shape, range(image.ndim))


def write_tomogram(path: str | Path = "tomogram.mrc") -> None:
    """Write a tomogram of a cell: int16, 72 x 240 x 256 voxels of 10.74 angstrom.

    Dense matter is dark. The directions that tilts of up to 60 degrees do not measure are missing.
    """
    shape, voxel = (72, 240, 256), 10.74
    random = np.random.default_rng(2)
    points, weights = cell((shape[0] * voxel, shape[1] * voxel, shape[2] * voxel))
    density = -on_grid(points, weights, shape, voxel) + random.normal(0, 8, shape)
    kz, ky, kx = frequencies(shape, voxel)
    measured = np.abs(kz) <= np.abs(kx) * np.tan(np.radians(60))
    smooth = np.exp(-(kz**2 + ky**2 + kx**2) * 24**2)
    grey = filtered(density, measured * smooth)
    grey = np.rint(grey * 60).astype("i2")
    label = "A computed cell, made by the notebooks of xarray_mrc"
    tomogram = xr.DataArray(grey, dims=("z", "y", "x"))
    xarray_mrc.to_mrc(tomogram, path, voxel_size=voxel, labels=label, overwrite=True)


def write_large_tomogram(path: str | Path = "large.mrc", factor: int = 3) -> None:
    """Write the tomogram on a finer grid, with more noise, in parts: 9 MB * factor ** 3 of int16.

    Parameters
    ----------
    path : str or Path
        The file.
    factor : int
        Fine voxels in one of 10.74 angstrom, along each axis.
    """
    with tempfile.TemporaryDirectory() as folder:
        coarse = Path(folder, "tomogram.mrc")
        write_tomogram(coarse)
        small = xarray_mrc.open_mrc(coarse, chunks=None).values

    def fine(block_info: Any = None) -> np.ndarray:
        (start, stop), *_ = block_info[None]["array-location"]
        grey = small[start // factor : stop // factor]
        for axis in range(3):
            grey = grey.repeat(factor, axis)
        noise = np.random.default_rng(start).standard_normal(grey.shape, dtype="f4")
        noise *= 190 * factor**1.5  # so that binning leaves the same noise
        return (grey + noise).astype("i2")

    depth, rows, columns = (n * factor for n in small.shape)
    chunks = ((8 * factor,) * (depth // (8 * factor)), rows, columns)
    data = dask.array.map_blocks(fine, chunks=chunks, dtype="i2")
    tomogram = xr.DataArray(data, dims=("z", "y", "x"))
    tomogram.mrc.to_mrc(path, voxel_size=10.74 / factor, overwrite=True)


def contrast_transfer(frequency_squared: np.ndarray, defocus: float) -> np.ndarray:
    """Return the contrast transfer function of a microscope at 300 kV with Cs 2.7 mm.

    Parameters
    ----------
    frequency_squared : numpy.ndarray
        Squared spatial frequency in 1/angstrom^2.
    defocus : float
        Underfocus in angstrom.

    Returns
    -------
    numpy.ndarray
        ``-sin(chi + asin(A))`` with
        ``chi = pi * lambda * defocus * s^2 - pi / 2 * Cs * lambda^3 * s^4``.
    """
    chi = np.pi * WAVELENGTH * defocus * frequency_squared
    chi -= np.pi / 2 * SPHERICAL_ABERRATION * WAVELENGTH**3 * frequency_squared**2
    return -np.sin(chi + np.arcsin(AMPLITUDE_CONTRAST))


def exposure(shape: tuple[int, int], voxel: float, defocus: float, seed: int) -> np.ndarray:
    """Return how many electrons arrive at each pixel of a micrograph, as multiples of the mean.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    voxel : float
        Pixel size in angstrom.
    defocus : float
        Underfocus in angstrom.
    seed : int
        Seed of the places and directions of the complexes.

    Returns
    -------
    numpy.ndarray
        float64, without the noise of counting.
    """
    random = np.random.default_rng(seed)
    extent = np.array(shape) * voxel
    projected = np.zeros(shape)
    for _ in range(round(float(extent.prod()) / 90_000)):
        atoms = complex_atoms(20_000) @ rotation(random)
        place = extent * random.uniform(0.12, 0.88, 2)
        projected += on_grid(atoms[:, 1:] + place, None, shape, voxel)
    ky, kx = frequencies(shape, voxel)
    squared = ky**2 + kx**2
    # The support film scatters at all frequencies: its spectrum shows the rings of the transfer.
    phase = filtered(projected / voxel**2, 0.17 * np.exp(-squared * 60))
    phase += random.normal(0, 0.19 / voxel, shape)
    contrast = filtered(phase, contrast_transfer(squared, defocus) * np.exp(-squared * 12))
    return np.clip(1 + 2 * contrast, 0, None)


def write_movie(folder: str | Path = ".") -> None:
    """Write movie.mrc, 24 frames of counted electrons in bytes, and its gain.mrc.

    The pixel size is 1.2 angstrom, and 1 electron a pixel and frame arrives. The gain reference is
    upside down against the movie, and its header has a pixel size of 1 angstrom.
    """
    shape, voxel, frames = (720, 768), 1.2, 24
    random = np.random.default_rng(4)
    gain = 1 + random.normal(0, 0.05, shape)
    gain *= 1 + 0.12 * np.repeat(random.uniform(-1, 1, 12), shape[1] // 12)  # strips of columns
    gain[: shape[0] // 3] *= 1.15  # a block of rows with another amplifier
    gain /= gain.mean()
    counts = random.poisson(exposure(shape, voxel, 15_000, 4) / gain, (frames, *shape))
    movie = xr.DataArray(counts.astype("u1"), dims=("image", "y", "x"))
    reference = xr.DataArray(gain[::-1].astype("f4"), dims=("y", "x"))
    folder = Path(folder)
    movie.mrc.to_mrc(folder / "movie.mrc", voxel_size=voxel, dtype="uint8", overwrite=True)
    reference.mrc.to_mrc(folder / "gain.mrc", voxel_size=1, overwrite=True)


def complex_density(size: int, voxel: float, b_factor: float) -> np.ndarray:
    """Return the density of a complex in the middle of a cube.

    Parameters
    ----------
    size : int
        Voxels along each axis.
    voxel : float
        Voxel size in angstrom.
    b_factor : float
        Fall of the amplitudes in angstrom^2: they are multiplied by ``exp(-B / 4 * s^2)``.

    Returns
    -------
    numpy.ndarray
        float64 of shape (size, size, size), in atoms a voxel.
    """
    shape = (size, size, size)
    atoms = on_grid(complex_atoms(12_000) + size * voxel / 2, None, shape, voxel)
    return filtered(atoms, np.exp(-b_factor / 4 * sum(k**2 for k in frequencies(shape, voxel))))


def write_half_maps(folder: str | Path = ".", size: int = 120, voxel: float = 2.4) -> float:
    """Write half1.mrc and half2.mrc: the same complex, with noise of their own.

    Parameters
    ----------
    folder : str or Path
        Where to write.
    size : int
        Voxels along each axis.
    voxel : float
        Voxel size in angstrom.

    Returns
    -------
    float
        Resolution in angstrom: beyond it, signal / (signal + noise) is below 0.143.
    """
    density, noise = complex_density(size, voxel, b_factor=250), 0.05
    for number in (1, 2):
        half = density + np.random.default_rng(number).normal(0, noise, density.shape)
        array = xr.DataArray(half.astype("f4"), dims=("z", "y", "x"))
        path = Path(folder, f"half{number}.mrc")
        array.mrc.to_mrc(path, voxel_size=voxel, overwrite=True)
    frequency = np.sqrt(sum(k**2 for k in frequencies(density.shape, voxel)))
    shell = np.rint(frequency * size * voxel).astype(int).ravel()
    signal = np.bincount(shell, np.abs(np.fft.rfftn(density)).ravel() ** 2) / np.bincount(shell)
    expected = signal / (signal + noise**2 * density.size)
    return float(size * voxel / np.argmax(expected < 0.143))


def write_map(path: str | Path = "map.mrc", voxel: float = 2.4) -> None:
    """Write a map of the complex: float32, 96 x 96 x 96 voxels, centred on the origin."""
    density = complex_density(96, voxel * 1.25, b_factor=400)
    density += np.random.default_rng(6).normal(0, 0.02, density.shape)
    positions = (np.arange(96) - 48) * voxel
    coords = {axis: (axis, positions, {"units": "angstrom"}) for axis in "zyx"}
    xr.DataArray(density.astype("f4"), coords, ("z", "y", "x")).mrc.to_mrc(path, overwrite=True)


def write_session(folder: str | Path = "session", voxel: float = 1.7) -> None:
    """Write twelve micrographs, of which programs have spoiled most headers.

    Parameters
    ----------
    folder : str or Path
        Where to write micrograph_01.mrc to micrograph_12.mrc; made if it does not exist.
    voxel : float
        Pixel size in angstrom. Four headers have 1 instead.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    # Offset, format and values of the fields of each fault.
    no_version = [(108, "<i", (0,))]
    no_statistics = [(76, "<4f", (0, 0, 0, 0)), (216, "<f", (0,))]
    wrong_stamp = [(212, "4B", (17, 17, 0, 0))]
    wrong_count = [(220, "<i", (7,))]
    unit_pixels = [(40, "<3f", (256, 256, 1))]
    faults = {
        2: no_version, 3: no_version + wrong_count, 4: no_statistics, 5: no_statistics,
        6: unit_pixels, 7: unit_pixels, 8: unit_pixels + no_version, 9: unit_pixels,
        10: wrong_stamp, 11: wrong_count,
    }  # fmt: skip
    for number in range(1, 13):
        random = np.random.default_rng(number)
        arriving = exposure((256, 256), voxel, 9000 + 1500 * number, number)
        counts = random.poisson(20 * arriving).astype("i2")
        path = folder / f"micrograph_{number:02}.mrc"
        xr.DataArray(counts, dims=("y", "x")).mrc.to_mrc(path, voxel_size=voxel, overwrite=True)
        content = bytearray(path.read_bytes())
        for offset, form, values in faults.get(number, ()):
            struct.pack_into(form, content, offset, *values)
        path.write_bytes(content[:100_000] if number == 12 else content)  # 12 was cut off
