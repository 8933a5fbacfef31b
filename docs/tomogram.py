"""Make the tomogram and the tilt series of the documentation, and the picture of the README.

    python docs/tomogram.py                        writes tomo.mrc and tilts.mrc here
    python docs/tomogram.py --picture FILE.png     also draws the picture (needs matplotlib)

The specimen is computed: two vesicles, particles of 250 angstrom, beads of gold, and noise. The
tomogram lacks the directions that a tilt series from -60 to 60 degrees does not measure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

import xarray_mrc

VOXEL_SIZE = 10.74
SHAPE = (96, 256, 256)
TILTS = np.arange(-60, 61, 3.0)


def specimen(random: np.random.Generator) -> np.ndarray:
    """Return the density of the specimen: protein, lipid and gold scatter, so they are dark."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    density = np.zeros(SHAPE, "f4")
    for centre, radius in (((50, 150, 95), 46), ((44, 70, 190), 31)):
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
        for leaflet in (-2, 2):
            density -= 1.2 * np.exp(-(((distance - radius - leaflet) / 1.1) ** 2))
    particles = [(*random.integers((20, 10, 10), (76, 246, 246)), 4.5, 4) for _ in range(7)]
    particles += [(*random.integers((14, 12, 12), (82, 244, 244)), 9, 1.1) for _ in range(90)]
    for *centre, size, weight in particles:
        box = tuple(
            slice(max(0, int(c) - 16), min(int(c) + 17, n))
            for c, n in zip(centre, SHAPE, strict=True)
        )
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(np.ogrid[box], centre, strict=True)))
        density[box] -= weight / (1 + np.exp((distance - size) * 1.5))
    return density


def reconstructed(density: np.ndarray) -> np.ndarray:
    """Return a density without the directions that were not measured and without fine noise."""
    kz, ky, kx = np.meshgrid(
        *(np.fft.fftfreq(n) for n in SHAPE[:2]), np.fft.rfftfreq(SHAPE[2]), indexing="ij"
    )
    spectrum = np.fft.rfftn(density)
    spectrum[np.abs(kz) > np.abs(kx) * np.tan(np.radians(TILTS.max()))] = 0
    spectrum *= np.exp(-(kz**2 + ky**2 + kx**2) / (2 * 0.15**2))
    return np.fft.irfftn(spectrum, SHAPE, axes=(0, 1, 2))


def project(density: np.ndarray, degrees: float) -> np.ndarray:
    """Return the projection of a density that was tilted about the y axis."""
    depth, _, width = density.shape
    z, x = np.mgrid[:depth, :width]
    z, x = z - depth / 2, x - width / 2
    angle = np.radians(degrees)
    rows = np.rint(x * np.cos(angle) - z * np.sin(angle) + width / 2).astype(int)
    inside = (rows >= 0) & (rows < width)
    image = np.zeros((density.shape[1], width))
    for row, values in zip(rows[inside], density.transpose(0, 2, 1)[inside], strict=True):
        image[:, row] += values
    return image


def write_files(folder: Path) -> None:
    """Write tomo.mrc (int16) and tilts.mrc (float32, with its tilt angles) into a directory."""
    random = np.random.default_rng(1)
    density = specimen(random)
    noise = random.normal(0, 1.6, SHAPE).astype("f4")
    grey = np.rint(reconstructed(density + noise) * 2000).astype("i2")
    tomogram = xr.DataArray(grey, dims=("z", "y", "x"))
    xarray_mrc.to_mrc(tomogram, folder / "tomo.mrc", voxel_size=VOXEL_SIZE)

    coarse = density.reshape(48, 2, 128, 2, 128, 2).mean((1, 3, 5))
    images = np.array([project(coarse, tilt) for tilt in TILTS], "f4")
    images += random.normal(0, 1.5, images.shape).astype("f4")
    angle = ("image", TILTS, {"units": "degree"})
    series = xr.DataArray(images, {"tilt_angle": angle}, ("image", "y", "x"))
    xarray_mrc.to_mrc(series, folder / "tilts.mrc", voxel_size=2 * VOXEL_SIZE)


def draw(folder: Path, picture: Path) -> None:
    """Draw a section and a cross section of the tomogram, and the tilt series."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    ds = xr.open_dataset(folder / "tomo.mrc", engine="mrc")
    series = xarray_mrc.open_mrc(folder / "tilts.mrc")
    figure, axes = plt.subplots(
        1, 3, figsize=(10, 3.3), dpi=84, width_ratios=(1, 1.3, 1), layout="constrained"
    )
    grey = {"cmap": "gray", "robust": True, "add_colorbar": False}
    ds.data.sel(z=540, method="nearest").plot.imshow(ax=axes[0], **grey)
    ds.data.sel(y=1611, method="nearest").plot.imshow(ax=axes[1], **grey)
    series.sel(image=20).plot.imshow(ax=axes[2], **grey)
    for ax in axes:
        ax.set_aspect("equal")
    axes[2].set_title(f"tilt_angle = {float(series.tilt_angle[20]):g} degree")
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    pixels.quantize(48).save(picture, optimize=True)  # greys only: a third of the size


def main() -> None:
    """Write the files, and draw the picture if the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to write")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw this PNG file, too")
    options = parser.parse_args()
    try:
        write_files(options.folder)
    except FileExistsError as error:
        parser.error(f"{error.filename} exists; it is not replaced")
    print(f"wrote {options.folder / 'tomo.mrc'} and {options.folder / 'tilts.mrc'}")
    if options.picture:
        draw(options.folder, options.picture)


if __name__ == "__main__":
    main()
