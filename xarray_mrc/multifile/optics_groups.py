"""Optics groups, pixel size and image size in the tables of a STAR file that is written.

Sources: RELION's conventions (relion.readthedocs.io, Conventions) and its extraction of particles,
which multiplies the detector's pixel size of a table of version 3.0 when it makes images smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcError
from xarray_mrc.multifile.star import PIXEL_SIZES

__all__ = [
    "DETECTOR",
    "DIMENSIONS",
    "GROUP",
    "IMAGE_SIZE",
    "MAGNIFICATION",
    "NEEDED_OPTICS",
    "check_size",
    "put",
    "used_groups",
    "with_group",
    "with_optics",
    "with_pixel_size",
]

# Positions along y and x, and pixel sizes in a table, have six decimals.
PIXEL_RTOL = 1e-6
GROUP, IMAGE_SIZE, MAIN_PIXEL_SIZE = "rlnOpticsGroup", "rlnImageSize", "rlnImagePixelSize"
DIMENSIONS = "rlnImageDimensionality"
DETECTOR, MAGNIFICATION = "rlnDetectorPixelSize", "rlnMagnification"
# Lengths in pixels of the images; in newer versions they are in angstrom, under other names.
PIXEL_LENGTHS = (
    "rlnOriginX", "rlnOriginY", "rlnOriginZ", "rlnOriginXPrior", "rlnOriginYPrior",
    "rlnOriginZPrior",
)  # fmt: skip
# Columns of optics groups that RELION needs, and others that are constant for a microscope.
NEEDED_OPTICS = ("rlnVoltage", "rlnSphericalAberration")
OPTICS_COLUMNS = (*NEEDED_OPTICS, "rlnAmplitudeContrast")


def with_optics(table: Any, constants: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a table of images with optics groups, as of version 3.1 and newer, and theirs."""
    import pandas as pd

    if GROUP not in table:
        table = table.assign(**{GROUP: 1})
    groups = pd.unique(table[GROUP])
    optics = pd.DataFrame(
        {
            "rlnOpticsGroupName": [f"opticsGroup{group}" for group in groups],
            GROUP: groups,
            IMAGE_SIZE: 0,  # set with the others
            DIMENSIONS: 2,
        }
    )
    for name in OPTICS_COLUMNS:
        if name in constants:
            optics[name] = constants[name]
        elif name in table and (table.groupby(GROUP)[name].nunique() == 1).all():
            optics[name] = optics[GROUP].map(table.groupby(GROUP)[name].first())
    return table, optics


def with_group(table: Any, optics: Any, path: str, constants: Mapping[str, Any]) -> Any:
    """Return a table of images with their optics group, which a mean over images drops."""
    if GROUP in table:
        return table
    group = constants.get(GROUP, optics[GROUP].iloc[0] if len(optics) == 1 else None)
    if group is None:
        raise ValueError(
            f"the images have no {GROUP}, as after a mean over images, but {path} has "
            f"{len(optics)} optics groups: set it with obj.assign_coords({GROUP}=1), or another one"
        )
    return table.assign(**{GROUP: group})


def used_groups(table: Any, optics: Any) -> Any:
    """Return which rows of the optics groups images belong to, or all that are alike anyway.

    Programs ask whether all groups have one pixel size and image size, also those without images.
    """
    if optics is None or GROUP not in table or GROUP not in optics:
        return slice(None)
    sizes = [name for name in (MAIN_PIXEL_SIZE, IMAGE_SIZE) if name in optics]
    if len(optics[sizes].drop_duplicates()) <= 1:
        return slice(None)
    return np.asarray(optics[GROUP].isin(table[GROUP].unique()))


def check_size(table: Any, optics: Any, used: Any, width: int) -> None:
    """Raise MrcError if images have another size than their table says.

    Without positions it is not known whether they were binned.
    """
    stated = [
        each[IMAGE_SIZE][rows]
        for each, rows in ((table, slice(None)), (optics, used))
        if each is not None and IMAGE_SIZE in each
    ]
    odd = sorted({int(n) for values in stated for n in values if n != width})
    if odd:
        raise MrcError(
            f"the images have {width} columns, but {odd[0]} in their table, and no positions "
            f"along y and x tell whether they were binned or cut: pass voxel_size= with the pixel "
            f"size that they have now, in angstrom"
        )


def with_pixel_size(
    table: Any,
    optics: Any,
    used: Any,
    column: str,
    pixel: float,
    before: NDArray[np.float64] | None,
) -> Any:
    """Put a pixel size where a table has it, and return the optics groups.

    The first place counts that `pixel_sizes` reads.
    """
    ratio = 1.0 if before is None else pixel / before
    if before is not None and np.abs(ratio - 1).max() <= PIXEL_RTOL:
        return optics
    for name in PIXEL_LENGTHS:
        if name in table and before is not None:
            table[name] = np.asarray(table[name], np.float64) / ratio
    for name in PIXEL_SIZES[column]:
        if name in table:
            table[name] = pixel
            return optics
    if optics is not None:
        known = [name for name in PIXEL_SIZES[column] if name in optics]
        if known:
            put(optics, known[0], used, pixel)
        else:
            put(optics, PIXEL_SIZES[column][0], slice(None), pixel)
    elif {DETECTOR, MAGNIFICATION} <= set(table):
        table[DETECTOR] = np.asarray(table[DETECTOR], np.float64) * ratio
    else:
        table[PIXEL_SIZES[column][0]] = pixel
    return optics


def put(table: Any, name: str, rows: Any, value: float) -> None:
    """Set values of a column, whose type may change with them."""
    values = np.array(table[name]) if name in table else np.zeros(len(table))
    values = values.astype(np.result_type(values.dtype, type(value)))
    values[rows] = value
    table[name] = values
