"""cryoSPARC's .cs files as references: arrays of numpy with one record an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcError
from xarray_mrc.multifile.references import ImageReferences

__all__ = ["read_cs"]

PATH, SECTION, PIXEL_SIZE = "blob/path", "blob/idx", "blob/psize_A"


def read_cs(path: str) -> ImageReferences:
    """Read the references to images in a .cs file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    ImageReferences
        Sections are counted from 0. A slash in the name of a column becomes an underscore, because
        Zarr, netCDF and DataTree take it for a path. A column with several values an image becomes
        one a value, ``alignments3D_pose_0`` and so on.

    Raises
    ------
    MrcError
        It is not a .cs file, or names no images.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise MrcError(f"{path}: this is not a .cs file of cryoSPARC ({error})") from None
    names = table.dtype.names or ()
    for name in (PATH, SECTION):
        if name not in names:
            raise MrcError(
                f"{path}: there is no column {name}, expected a .cs file of particles; its columns "
                f"are {', '.join(names) or 'none'}"
            )
    # cryoSPARC marks paths of its own folder by a leading ">".
    paths = [text.lstrip(">") for text in as_texts(table[PATH])]
    number_of: dict[str, int] = {}
    file_of = [number_of.setdefault(name, len(number_of)) for name in paths]
    columns: dict[str, NDArray[Any]] = {}
    long_names: dict[str, str] = {}
    for name in names:
        own = name.replace("/", "_")
        if own in columns:
            raise MrcError(
                f"{path}: the columns {long_names.get(own, own)} and {name} are one here"
            )
        values = table[name]
        if values.dtype.kind in "SU":
            values = np.array(as_texts(values), object)
        # A coordinate of a DataArray cannot have a dimension that the array does not have.
        for place in np.ndindex(values.shape[1:]):
            part = "_".join([own, *map(str, place)])
            columns[part] = values[(slice(None), *place)]
            if part != name:
                long_names[part] = f"{name}{list(place) if place else ''}"
    sizes = table[PIXEL_SIZE].astype(np.float64) if PIXEL_SIZE in names else None
    return ImageReferences(
        list(number_of),
        np.array(file_of, np.int64),
        table[SECTION].astype(np.int64),
        columns,
        long_names,
        sizes,
        path,
    )


def as_texts(values: NDArray[Any]) -> list[str]:
    """Return bytes or texts as a list of texts."""
    found: list[str] = (
        np.char.decode(values, "utf-8").tolist() if values.dtype.kind == "S" else values.tolist()
    )
    return found
