"""Records of sections and sidecars as coordinates of the images of a stack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from xarray_mrc.codec.extended import COMMON_UNITS, Extended, SectionField
from xarray_mrc.codec.geometry import axis_order
from xarray_mrc.dataset.raw_records import raw_coords
from xarray_mrc.errors import warn
from xarray_mrc.reading.extended_header import read_extended_header
from xarray_mrc.reading.open_file import OpenedFile
from xarray_mrc.reading.options import ExtendedHeader
from xarray_mrc.storage import Head

__all__ = ["extended_dataset", "own_fields", "section_coords"]


def section_coords(opened: OpenedFile, which: ExtendedHeader) -> dict[str, xr.Variable]:
    """Make coordinates of records and sidecars: one value an image, scalars of a single image.

    Parameters
    ----------
    opened : OpenedFile
        The file.
    which : {"common", "all", "raw", "none"}
        The fields under common names, all fields, the bytes of the records, or none.

    Returns
    -------
    dict of str to xarray.Variable
        A field that has a common name comes only under that.
    """
    layout = opened.array.layout
    is_image = layout.kind == "image"
    is_of_images = is_image or layout.kind == "image_stack"
    sections_are_images = is_of_images and axis_order(opened.header)[2] == 2
    if which == "raw":
        return raw_coords(opened, sections_are_images=sections_are_images)
    if which == "none" or not sections_are_images:
        return {}
    fields = [*opened.extended.common, *opened.sidecar.common]
    if which == "all":
        fields = [*own_fields(opened.extended), *opened.sidecar.all, *fields]
    count = layout.shape[0]
    coords: dict[str, xr.Variable] = {}
    for field in fields:  # of one name the last wins
        values = field.values
        if values.ndim:  # not one value for all images, as of a movie
            values = values[0:1].reshape(()) if is_image else values[:count]
        coords[field.name] = as_variable(field, layout.dims[: values.ndim], values)
    if (is_image and coords) or any(coord.ndim for coord in coords.values()):
        # to_mrc(like=...) finds the record of an image by it, in whatever order the images are.
        numbers = np.int64(0) if is_image else np.arange(count, dtype=np.int64)
        attrs = {"long_name": "number of the section in the file"}
        coords["section"] = xr.Variable(layout.dims[: np.ndim(numbers)], numbers, attrs)
    return coords


def own_fields(extended: Extended) -> Iterator[SectionField]:
    """Yield the fields that have no common name.

    One that is called as a common name, but is in another unit or in an unknown one, gets the name
    of the producer before its own.
    """
    shared = {field.long_name for field in extended.common}
    for field in extended.all:
        if field.long_name in shared:
            continue
        name = field.name
        if name in COMMON_UNITS:
            name = f"{extended.kind.lower()}_{name}"
        yield SectionField(name, field.values, field.units, field.long_name)


def as_variable(field: SectionField, dims: tuple[str, ...], values: np.ndarray) -> xr.Variable:
    """Make a variable of a column."""
    attrs = {"long_name": field.long_name}
    if field.units:
        attrs["units"] = field.units
    # zarr has no stable type for numpy's strings of a fixed length.
    values = values.astype(object) if values.dtype.kind == "U" else values
    return xr.Variable(dims, values, attrs)


def extended_dataset(path: str | Head) -> xr.Dataset:
    """Read the extended header of a file as a dataset of its own.

    Parameters
    ----------
    path : str or Head
        The file.

    Returns
    -------
    xarray.Dataset
        Every valid field of the records of all sections, along ``image``, under the producer's name
        and in the producer's unit. Symmetry operators are the attribute ``mrc_symmetry``, one a
        line; ``mrc_extended_header`` is the type of the bytes: FEI1, FEI2, SERI, AGAR, CCP4, MRCO,
        HDF5, JSON, none or unknown.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file.

    Warns
    -----
    MrcWarning
        The bytes do not fit their type.

    Examples
    --------
    >>> import tempfile, xarray_mrc
    >>> tilts = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("image", "y", "x"))
    >>> tilts = tilts.assign_coords(tilt_angle=("image", [-3.0, 3.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     xarray_mrc.to_mrc(tilts, f"{folder}/tilts.mrc", voxel_size=1.35)
    ...     extended_dataset(f"{folder}/tilts.mrc").tilt_angle.values.tolist()
    [-3.0, 3.0]
    """
    found = read_extended_header(path)
    if found.problem:
        warn(f"{path.source.uri if isinstance(path, Head) else path}: {found.problem}")
    attrs = {"mrc_extended_header": found.kind}
    if found.symmetry:
        attrs["mrc_symmetry"] = "\n".join(found.symmetry)
    columns = {field.name: as_variable(field, ("image",), field.values) for field in found.all}
    return xr.Dataset(columns, attrs=attrs)
