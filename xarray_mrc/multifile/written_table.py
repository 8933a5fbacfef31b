"""The STAR file of images that are written: their columns and names, and its other tables."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.dataset.section_metadata import is_count
from xarray_mrc.multifile.optics_groups import (
    DETECTOR,
    DIMENSIONS,
    GROUP,
    IMAGE_SIZE,
    MAGNIFICATION,
    NEEDED_OPTICS,
    check_size,
    put,
    used_groups,
    with_group,
    with_optics,
    with_pixel_size,
)
from xarray_mrc.multifile.star import (
    IMAGE_NAMES,
    OPTICS,
    are_stacks,
    as_tables,
    find_image_table,
    pixel_sizes,
    read_blocks,
)

__all__ = ["SourceTable", "columns_of", "plan_blocks", "read_source", "stated_pixel_sizes"]

PARTICLES = "particles"
# Coordinates of boxes that were cut from micrographs, and where RELION notes them, in pixels.
BOX_CENTRES = {"center_x": "rlnCoordinateX", "center_y": "rlnCoordinateY"}
STAR_NAME = re.compile(r"[^\s#\"']+")
# Columns of cryoSPARC that describe the files of the images.
CRYOSPARC_FILES = "blob_"
CENTRE_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The table that images were opened from.

    Attributes
    ----------
    path : str
        The file; empty if there is none.
    blocks : dict of pandas.DataFrame or dict
        Its data blocks; none of a .cs file.
    name : str
        Name of the block that lists the images.
    column : str
        Its column with the names of the images.
    is_cut : bool
        Whether the images that are written are boxes, cut from those of the table.
    """

    path: str = ""
    blocks: Mapping[str, Any] = field(default_factory=dict)
    name: str = PARTICLES
    column: str = IMAGE_NAMES[0]
    is_cut: bool = False

    @property
    def written_name(self) -> str:
        """Name of the block that lists the images that are written."""
        return PARTICLES if self.is_cut else self.name

    @property
    def written_column(self) -> str:
        """Its column with their names."""
        return IMAGE_NAMES[0] if self.is_cut else self.column

    @property
    def optics(self) -> Any:
        """The table of optics groups, or None."""
        return self.blocks.get(OPTICS)

    @property
    def images(self) -> Any:
        """The table of images, or None."""
        return self.blocks.get(self.name)


def read_source(array: xr.DataArray, table: str | os.PathLike[str] | None) -> SourceTable:
    """Read the table that images were opened from.

    Parameters
    ----------
    array : xarray.DataArray
        The images; their attribute ``mrc_table`` has its path.
    table : str or os.PathLike, optional
        Its path, instead of that attribute.

    Returns
    -------
    SourceTable

    Raises
    ------
    FileNotFoundError
        It is not there.
    ValueError
        It cannot be the source of a table of images, or it does not list all images.
    MrcError
        It cannot be read.
    """
    noted = array.attrs.get("mrc_table", "")
    path = os.path.expanduser(os.fsdecode(table)) if table is not None else str(noted)
    if not path or (table is None and path.lower().endswith(".cs")):
        check_optics_known(array, path)
        return SourceTable(path)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{path}, the table that the images were opened from, is not there: pass table=PATH"
        )
    blocks = read_blocks(path)
    tables = as_tables(blocks)
    blocks = {name: tables[name] if name == OPTICS else block for name, block in blocks.items()}
    place = find_image_table(tables)
    if place is None:
        raise ValueError(
            f"{path} has no table of images, as of several tilt series with a file each: open and "
            f"write each of them by itself"
        )
    names = tables[place[0]][place[1]]
    if are_stacks(tables) and not names.str.contains("@").all():
        raise ValueError(
            f"{path} lists particles of tilt series, each a stack of images, which a table of "
            f"single images cannot describe: select rows of that table, or write the images "
            f"without star="
        )
    is_cut = place[1] != IMAGE_NAMES[0] and set(BOX_CENTRES) <= set(array.coords)
    found = SourceTable(path, blocks | {place[0]: tables[place[0]]}, *place, is_cut)
    if table is None:
        check_same_table(array, found)
    return found


def check_optics_known(array: xr.DataArray, path: str) -> None:
    """Raise ValueError if images have optics groups of a table that is not known any more."""
    if not path and GROUP in array.coords and any(name in array.coords for name in IMAGE_NAMES):
        raise ValueError(
            "the images have optics groups, but the table with them is not known, because the "
            "attribute mrc_table was dropped: pass table=PATH"
        )


def check_same_table(array: xr.DataArray, source: SourceTable) -> None:
    """Raise ValueError if images come from another table, whose optics groups may be others."""
    if source.column not in array.coords:
        return
    names = set(source.images[source.column])
    strange = [name for name in np.ravel(array.coords[source.column].values) if name not in names]
    if strange:
        raise ValueError(
            f"{len(strange)} images, the first {strange[0]}, are not in {source.path}, so that "
            f"their optics groups may be others: write the images of each table by themselves, or "
            f"pass table=PATH with the table whose optics groups are right for all"
        )


def columns_of(
    array: xr.DataArray, slow: Hashable, source: SourceTable
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the columns of a table of images, from the coordinates along them.

    Parameters
    ----------
    array : xarray.DataArray
        The images.
    slow : hashable
        The dimension along which they lie.
    source : SourceTable
        The table that they were opened from.

    Returns
    -------
    columns : dict of ndarray
        One value an image, in the order of the source, with new ones at the end; without the names
        of the images.
    notes : list of str
        Sentences that name coordinates that a table cannot hold.
    """
    found: dict[str, NDArray[Any]] = {}
    lost: list[str] = []
    foreign: list[str] = []
    for key, coord in array.coords.items():
        name = str(key)
        if slow not in coord.dims:
            continue
        if key == slow and name == "image":  # the name of a dimension is no column
            lost += [] if is_count(coord) else [name]
            continue
        values = np.ravel(coord.values)
        if values.dtype.kind == "M":
            values = np.datetime_as_string(values)
        if coord.ndim > 1 or values.dtype.kind not in "biufOUT" or not STAR_NAME.fullmatch(name):
            lost.append(name)
        elif source.path.endswith(".cs") and name.startswith(CRYOSPARC_FILES):
            continue
        else:
            foreign += [name] if source.path.endswith(".cs") and not name.startswith("rln") else []
            found[name] = values
    found.pop(source.written_column, None)
    if source.is_cut:
        found |= box_centres(array, found, source)
    first = [name for name in (source.images if source.images is not None else ()) if name in found]
    notes = []
    if lost:
        notes.append(f"the coordinates {', '.join(lost)} are not written into the table")
    if foreign and not any(name.startswith("rlnDefocus") for name in found):
        notes.append(
            f"{len(foreign)} columns of cryoSPARC keep their names, by which RELION does not know "
            f"them: set rlnDefocusU and others with obj.assign_coords"
        )
    return {name: found[name] for name in dict.fromkeys([*first, *found])}, notes


def box_centres(
    array: xr.DataArray, columns: Mapping[str, NDArray[Any]], source: SourceTable
) -> dict[str, NDArray[np.float64]]:
    """Return the centres of boxes in pixels of their micrographs, if the table has none yet."""
    sizes = stated_pixel_sizes(columns, source, array.coords["center_x"].size)
    return {
        name: np.round(columns[key] / sizes, CENTRE_DECIMALS)
        for key, name in BOX_CENTRES.items()
        if sizes is not None
        and name not in columns
        and array.coords[key].attrs.get("units") == "angstrom"
    }


def stated_pixel_sizes(
    columns: Mapping[str, NDArray[Any]], source: SourceTable, count: int
) -> NDArray[np.float64] | None:
    """Return the pixel size of each of `count` images by its columns and optics group, or None."""
    import pandas as pd

    table = pd.DataFrame(dict(columns), index=range(count))
    found = pixel_sizes(table, source.optics, source.column)
    return found if found is not None and np.isfinite(found).all() else None


def plan_blocks(
    names: Sequence[str],
    columns: Mapping[str, NDArray[Any]],
    source: SourceTable,
    size: tuple[int, int],
    pixel: float | None,
    constants: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Return the data blocks of the STAR file of images.

    Parameters
    ----------
    names : sequence of str
        Their names, as ``000001@selected.mrcs``.
    columns : mapping of ndarray
        Their other columns.
    source : SourceTable
        The table that they were opened from. Its other blocks are kept.
    size : tuple of int
        Rows and columns of an image.
    pixel : float, optional
        The pixel size that they have now, in angstrom; None keeps that of the table.
    constants : mapping
        Values that all images share, for a new table of optics groups.

    Returns
    -------
    blocks : dict of pandas.DataFrame or dict
    notes : list of str
        Sentences that name what RELION would miss.

    Raises
    ------
    MrcError
        The images have another size than the table says, and no pixel size is known.
    ValueError
        It is not known which optics group they belong to.
    """
    import pandas as pd

    column = source.written_column
    table = pd.DataFrame({column: list(names)} | dict(columns))
    if source.images is not None and column in source.images:  # the names keep their place
        order = [name for name in source.images if name in table]
        table = table[[*order, *(name for name in table if name not in order)]]
    optics = None if source.optics is None else source.optics.copy()
    if optics is None and source.images is None and not {DETECTOR, MAGNIFICATION} <= set(table):
        table, optics = with_optics(table, constants)
    elif optics is not None:
        if GROUP in source.images:
            table = with_group(table, optics, source.path, constants)
        optics = optics.assign(**{IMAGE_SIZE: 0, DIMENSIONS: 2}) if source.is_cut else optics
    before = pixel_sizes(table, optics, column)
    used = used_groups(table, optics)
    if pixel is None and before is not None:
        check_size(table, optics, used, size[1])
    if pixel is not None:
        optics = with_pixel_size(table, optics, used, column, pixel, before)
    for each, rows in ((table, slice(None)), (optics, used)):
        if each is not None and IMAGE_SIZE in each:
            put(each, IMAGE_SIZE, rows, size[1])
    blocks = dict(source.blocks) or ({OPTICS: None} if optics is not None else {})
    if source.is_cut:
        del blocks[source.name]
    blocks[source.written_name] = table
    notes = []
    if optics is not None:
        blocks[OPTICS] = optics
        absent = [name for name in NEEDED_OPTICS if name not in optics]
        if absent and source.optics is None:
            notes.append(
                f"RELION will ask for {' and '.join(absent)} of the optics groups: set them with "
                f"obj.assign_coords, as in rlnVoltage=300.0"
            )
    return blocks, notes
