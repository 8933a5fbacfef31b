"""RELION's STAR files as references: particles, micrographs, and the images of tilt series.

Sources: RELION's conventions (relion.readthedocs.io, Conventions) for version 3.0, which has one
table, for 3.1 and newer, which have the table of optics groups, and for tilt series of version 5.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcError
from xarray_mrc.multifile.references import ImageReferences, parse_references, resolve_paths

__all__ = [
    "IMAGE_NAMES",
    "OPTICS",
    "PIXEL_SIZES",
    "are_stacks",
    "as_tables",
    "find_image_table",
    "format_blocks",
    "pixel_sizes",
    "read_blocks",
    "read_star",
    "read_tables",
]

# Columns that name images, the first that a table has.
IMAGE_NAMES = ("rlnImageName", "rlnMicrographName")
SERIES = "rlnTomoTiltSeriesStarFile"
# Names stay texts, also those of digits: 01 is another tomogram than 1.
NAMES = (
    *IMAGE_NAMES, SERIES, "rlnTomoName", "rlnTomoParticleName", "rlnGroupName",
    "rlnOpticsGroupName",
)  # fmt: skip
OPTICS = "optics"
GENERAL, STACKS = "general", "rlnTomoSubTomosAre2DStacks"
# Pixel sizes in angstrom, by the column that names the images.
PIXEL_SIZES = {
    "rlnImageName": ("rlnImagePixelSize",),
    "rlnMicrographName": (
        "rlnMicrographPixelSize", "rlnTomoTiltSeriesPixelSize", "rlnMicrographOriginalPixelSize",
    ),
}  # fmt: skip
MICROMETRE = 1e4  # in angstrom
FORBIDDEN_MARKS = "\"'\n\r\t"
# Without quotation marks these begin a name, a block or a table.
SPECIAL_STARTS = ("_", "data_", "loop_")


def read_blocks(path: str) -> dict[str, Any]:
    """Read all data blocks of a STAR file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    dict of pandas.DataFrame or dict
        By the name of the block: a table, or the single values of a block without a loop.

    Raises
    ------
    ImportError
        The package starfile is not installed.
    MrcError
        It is not a STAR file.
    """
    starfile = import_starfile(path)
    os.stat(path)  # starfile's own error for a missing file has no reason
    # starfile reads by this cache and clears it only after success: after an error it would see the
    # file as it was then, also another one of the same relative path.
    linecache.clearcache()
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=list(NAMES))
    except OSError:
        raise
    except Exception as error:
        raise MrcError(f"{path}: the STAR file cannot be read ({error})") from None
    if not blocks:
        raise MrcError(f"{path}: no table was found, expected a STAR file of RELION")
    return {str(name): block for name, block in blocks.items()}


def import_starfile(path: str) -> Any:
    """Return the package starfile; ImportError that names the file if it is not installed."""
    try:
        import starfile
    except ImportError:
        raise ImportError(
            f"{path}: STAR files need the package starfile, pip install 'xarray-mrc[star]'"
        ) from None
    return starfile


def read_tables(path: str) -> dict[str, Any]:
    """Read all tables of a STAR file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    dict of pandas.DataFrame
        By the name of the data block; one with a single row of values is a table, too.

    Raises
    ------
    ImportError
        The package starfile is not installed.
    MrcError
        It is not a STAR file.
    """
    return as_tables(read_blocks(path))


def as_tables(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Return blocks as tables: one with single values becomes a table with one row."""
    import pandas as pd

    return {
        name: pd.DataFrame([block]) if isinstance(block, dict) else block
        for name, block in blocks.items()
    }


def format_blocks(blocks: Mapping[str, Any], path: str) -> str:
    """Return the text of a STAR file, with every number exact.

    Parameters
    ----------
    blocks : mapping of pandas.DataFrame or dict
        As `read_blocks` returns them.
    path : str
        The file, for errors.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A text cannot be written: it has a quotation mark, a tab or a line break.
    """
    starfile = import_starfile(path)
    import pandas as pd

    texts: dict[str, Any] = {}
    for name, block in blocks.items():
        if isinstance(block, dict):
            texts[name] = {key: format_value(value, key) for key, value in block.items()}
        else:
            columns = {key: format_column(values, key) for key, values in block.items()}
            texts[name] = pd.DataFrame(columns, dtype=object)
    found: str = starfile.to_string(texts)
    return found


def format_column(values: Any, name: Any) -> list[str]:
    """Return the texts of a column: numbers as the shortest decimals that are read as them."""
    array = np.asarray(values)
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.dtype.kind in "iuf":
        texts: list[str] = array.astype(str).tolist()
        return texts
    return [format_value(value, name) for value in array.tolist()]


def format_value(value: Any, name: Any) -> str:
    """Return the text of one value; starfile puts those with spaces in quotation marks."""
    text = str(value)
    if any(mark in text for mark in FORBIDDEN_MARKS):
        raise ValueError(
            f"{name}={value!r} has a quotation mark, a tab or a line break, which a STAR file "
            f"cannot hold: change it with obj.assign_coords, or leave the column out with "
            f"obj.drop_vars({name!r})"
        )
    is_special = "#" in text or text.startswith(SPECIAL_STARTS)
    return f'"{text}"' if is_special and " " not in text else text


def find_image_table(tables: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name of the table that lists images, and its column of their names.

    Parameters
    ----------
    tables : mapping of pandas.DataFrame
        All tables of a STAR file.

    Returns
    -------
    tuple of str or None
        None if there is no such table.
    """
    for name, table in tables.items():
        column = next((column for column in IMAGE_NAMES if column in table), None)
        if name != OPTICS and column is not None:
            return name, column
    return None


def read_star(path: str, root: str | os.PathLike[str] | None = None) -> ImageReferences:
    """Read the references to images in a STAR file.

    Parameters
    ----------
    path : str
        The file: of particles, of micrographs, of the images of one tilt series, or of several tilt
        series with a file each.
    root : str or os.PathLike, optional
        Directory that paths are relative to.

    Returns
    -------
    ImageReferences

    Raises
    ------
    MrcError
        No table has names of images.
    """
    tables = read_tables(path)
    optics = tables.pop(OPTICS, None)
    for table in tables.values():
        if SERIES in table:
            return read_series(path, table, root)
    place = find_image_table(tables)
    if place is not None:
        table, column = tables[place[0]], place[1]
        columns, has_stacks = as_columns(table), are_stacks(tables)
        found = replace(parse_references(columns[column].tolist()), table=path)
        sizes = pixel_sizes(table, optics, column)
        return replace(found, columns=columns, voxel_size=sizes, has_stacks=has_stacks)
    raise MrcError(
        f"{path}: none of the tables {', '.join(map(repr, tables)) or '(there are none)'} has a "
        f"column {' or '.join(IMAGE_NAMES)}, expected a table of particles or micrographs"
    )


def are_stacks(tables: Mapping[str, Any]) -> bool:
    """Return True if each particle of RELION 5 is a stack of its images in a tilt series."""
    general = tables.get(GENERAL)
    return general is not None and STACKS in general and str(general[STACKS].iloc[0]) == "1"


def read_series(path: str, table: Any, root: str | os.PathLike[str] | None) -> ImageReferences:
    """Read the images of all tilt series that a table lists, one after the other."""
    import pandas as pd

    own = table.drop(columns=SERIES)
    parts = []
    for number, star in enumerate(resolve_paths(table[SERIES].tolist(), path, root)):
        images = next(
            (found for found in read_tables(star).values() if IMAGE_NAMES[1] in found), None
        )
        if images is None:
            raise MrcError(f"{star}: no table has a column {IMAGE_NAMES[1]}")
        series = {name: own[name].iloc[number] for name in own if name not in images}
        parts.append(images.assign(**series))
    joined = pd.concat(parts, ignore_index=True)
    found = replace(parse_references(joined[IMAGE_NAMES[1]].to_numpy(object)), table=path)
    sizes = pixel_sizes(joined, None, IMAGE_NAMES[1])
    return replace(found, columns=as_columns(joined), voxel_size=sizes)


def as_columns(table: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a table; texts as objects, which Zarr takes."""
    return {
        str(name): values.to_numpy(None if values.dtype.kind in "iufb" else object)
        for name, values in table.items()
    }


def pixel_sizes(table: Any, optics: Any, column: str) -> NDArray[np.float64] | None:
    """Return the pixel size of each image, from its table or from its optics group."""
    for name in PIXEL_SIZES[column]:
        if name in table:
            return np.asarray(table[name], np.float64)
        if optics is not None and name in optics:
            groups = table.get("rlnOpticsGroup")
            if groups is None and len(optics) == 1:
                return np.full(len(table), float(optics[name].iloc[0]))
            if groups is not None:
                by_group = dict(zip(optics["rlnOpticsGroup"], optics[name], strict=True))
                return np.asarray(groups.map(by_group), np.float64)
    if "rlnDetectorPixelSize" in table and "rlnMagnification" in table:
        pixel = np.asarray(table["rlnDetectorPixelSize"], np.float64)
        return pixel * MICROMETRE / np.asarray(table["rlnMagnification"], np.float64)
    return None
