"""(Header, Layout, array) to Dataset: names, coordinates, attributes and encoding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.codec.decimals import shortest
from xarray_mrc.codec.extended import Extended
from xarray_mrc.codec.geometry import RIGHT_ANGLES, Geometry, has_top_origin
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import PREFERRED_NBYTES, Layout
from xarray_mrc.codec.old_header import old_origin
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.dataset.lazy_variable import bare_dataset, find_array, lazy_variable
from xarray_mrc.dataset.section_coords import section_coords
from xarray_mrc.dataset.section_metadata import HEAD_ATTRIBUTE
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.open_file import OpenedFile
from xarray_mrc.reading.options import Coords, ReadingOptions
from xarray_mrc.storage import Head
from xarray_mrc.storage.protocol import StreamSource, address_of
from xarray_mrc.storage.remote.urls import is_url

__all__ = ["build_dataset", "file_of"]

CELL_AXES = "abc"


def build_dataset(opened: OpenedFile, options: ReadingOptions) -> xr.Dataset:
    """Build the dataset of an opened file.

    Parameters
    ----------
    opened : OpenedFile
        The opened file.
    options : ReadingOptions
        The options that it was opened with.

    Returns
    -------
    xarray.Dataset
        One data variable; everything else is a coordinate or an attribute.

    Raises
    ------
    ValueError
        The name is that of a dimension or coordinate.

    Examples
    --------
    >>> from xarray_mrc.reading.open_file import open_file
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> build_dataset(open_file(header.raw + bytes(2)), ReadingOptions()).sizes
    Frozen({'y': 1, 'x': 2})
    """
    header, layout = opened.header, opened.array.layout
    geometry = Geometry.from_header(header, options.origin)
    attrs = describe(header, layout, geometry, opened.extended)
    if options.extended_header == "all" and opened.sidecar.head:
        attrs[HEAD_ATTRIBUTE] = opened.sidecar.head
    source = opened.array.source
    nbytes = source.chunk_nbytes if isinstance(source, StreamSource) else None
    chunks = layout.preferred_chunks(nbytes or PREFERRED_NBYTES)
    preferred = options.preferred_chunks or {}
    encoding: dict[str, Any] = {
        "preferred_chunks": {dim: preferred.get(dim, chunks[dim]) for dim in chunks},
        "mrc_mode": header.mode,
        "mrc_byteorder": header.byteorder,
    }
    address = address_of(source)
    if address is not None:  # it alone finds the file again
        encoding["source"] = address
    variable = lazy_variable(opened.array, layout.dims, attrs, encoding)
    found = positions_along(geometry, layout, options.coords)
    found |= section_coords(opened, options.extended_header)
    name = options.default_name
    if name in (*layout.dims, *found):
        raise ValueError(
            f"default_name={name!r} is the name of a dimension or coordinate of the data: pass "
            f"another default_name"
        )
    dataset = bare_dataset({name: variable}, found)
    if address is not None or is_url(source.uri):
        # xarray would store a URL with its secrets.
        dataset.encoding["source"] = address or source.uri
    return dataset


def file_of(obj: xr.Dataset | xr.DataArray) -> str | Head:
    """Return the file that an object was opened from; ValueError if it does not know it.

    Data that are not loaded and not in dask chunks also know a file that needs storage options.
    """
    # The source of a Dataset may come from xarray, for a file object whose path is not a local one.
    arrays = list(obj.data_vars.values()) if isinstance(obj, xr.Dataset) else [obj]
    for array in arrays:
        if "source" in array.encoding:
            return str(array.encoding["source"])
    found = (find_array(array.variable) for array in arrays)
    source = next((array.source for array in found if isinstance(array, MrcArray)), None)
    if source is None or not is_url(source.uri):
        raise ValueError(
            "the object does not know its file: it is the result of a computation, was opened "
            "from memory, or needs storage options; use xarray_mrc.read_header(path) or "
            "xarray_mrc.validate(path)"
        )
    return Head(source)


def positions_along(geometry: Geometry, layout: Layout, coords: Coords) -> dict[str, xr.Variable]:
    """Make the coordinates along z, y and x.

    An axis without a voxel size gets none: xarray would join its pixel numbers with the angstroms
    of other files. ``coords="index"`` asks for labels that count the pixels.
    """
    if coords == "none":
        return {}
    lengths = dict(zip(layout.dims, layout.shape, strict=True))
    along = {dim: length for dim, length in lengths.items() if dim in AXES}
    if coords == "index":
        return {
            dim: xr.Variable(
                dim,
                np.arange(length, dtype=np.int64),
                {"long_name": f"{dim} index", "axis": dim.upper()},
            )
            for dim, length in along.items()
        }
    found = {}
    for dim, length in along.items():
        values = geometry.positions(AXES[dim], length)
        if values is not None:
            distance = f"distance along the cell axis {CELL_AXES[AXES[dim]]}"
            name = distance if geometry.is_skewed else f"{dim} position"
            found[dim] = xr.Variable(dim, values, {"units": "angstrom", "long_name": name})
    if len(found) == len(along):  # to_file can then name an axis that lost its positions
        for dim, variable in found.items():
            variable.attrs["axis"] = dim.upper()
    return found


def describe(
    header: Header, layout: Layout, geometry: Geometry, extended: Extended
) -> dict[str, Any]:
    """Return the attributes: facts that cannot be derived, without those that are not set.

    Only str, int, float and lists of them, so that zarr, netCDF4 and h5netcdf take them as they
    are; nothing that arithmetic on the data would make stale.
    """
    origin = old_origin(header) or header.origin
    has_origin = any(origin) and all(map(math.isfinite, origin))
    facts = {
        "mrc_kind": layout.kind,
        "mrc_kind_source": layout.kind_source,
        "mrc_space_group": header.ispg,
        "mrc_labels": "\n".join(header.labels),
        "mrc_exttyp": printable(header.exttyp),
        "mrc_symmetry": "\n".join(extended.symmetry),
        "mrc_nversion": header.nversion if header.is_standard_version else 0,
        "mrc_origin": [shortest(v) for v in origin] if has_origin else [],
        "mrc_nstart": list(header.nstart) if any(header.nstart) else [],
        "mrc_origin_source": geometry.origin_source,
        "mrc_axes": list(header.mapcrs) if header.mapcrs != (1, 2, 3) else [],
        "mrc_cell_angles": list(geometry.angles) if geometry.angles != RIGHT_ANGLES else [],
        "mrc_y_origin": "top" if has_top_origin(header) else "",
    }
    always = ("mrc_kind", "mrc_space_group", "mrc_origin_source")
    attrs = {name: value for name, value in facts.items() if value or name in always}
    if header.has_imod_stamp:
        attrs["mrc_imod_flags"] = header.imod_flags
    return attrs


def printable(text: bytes) -> str:
    """Decode a field of four characters; "" if it holds anything but characters."""
    stripped = text.strip(b" \0")
    return stripped.decode("ascii") if stripped.isascii() and stripped.isalnum() else ""
