"""The accessors ``ds.mrc`` and ``da.mrc``: each method is one call to a public function."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import xarray as xr

from xarray_mrc.checking.report import Report
from xarray_mrc.checking.validation import validate
from xarray_mrc.codec.header import Header
from xarray_mrc.dataset.conventions import kind_of
from xarray_mrc.dataset.positions import voxel_size_of
from xarray_mrc.reading.open_file import read_header
from xarray_mrc.writing.writer import to_mrc

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["MrcAccessor"]


@xr.register_dataset_accessor("mrc")  # type: ignore[no-untyped-call]
@xr.register_dataarray_accessor("mrc")  # type: ignore[no-untyped-call]
class MrcAccessor:
    """What a Dataset or DataArray knows of MRC files.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object; nothing else is kept.

    Examples
    --------
    >>> x = xr.Variable("x", [2.0, 3.5], {"units": "angstrom"})
    >>> xr.DataArray([0.0, 1.0], {"x": x}, "x").mrc.voxel_size
    {'x': 1.5}
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray) -> None:
        self._obj = obj

    @property
    def header(self) -> Header:
        """Header of the file that the object was opened from, read anew.

        A ValueError if the object knows of no file, an OSError if that is gone.
        """
        return read_header(self._source())

    def _source(self) -> str:
        """Path of the file that the object was opened from; a ValueError if it knows of none."""
        # That of a Dataset may come from xarray, for a file object whose path is not a local one.
        obj = self._obj
        arrays = obj.data_vars.values() if isinstance(obj, xr.Dataset) else [obj]
        source = next((a.encoding["source"] for a in arrays if "source" in a.encoding), None)
        if source is None:
            raise ValueError(
                "the object does not know its file: it is the result of a computation, or was "
                "opened from memory; use xarray_mrc.read_header(path) or xarray_mrc.validate(path)"
            )
        return str(source)

    def validate(self, profile: str = "mrc2014", data: bool = True) -> Report:
        """Check the file that the object was opened from, as `xarray_mrc.validate` does."""
        return validate(self._source(), profile, data)

    @property
    def voxel_size(self) -> dict[str, float]:
        """Distance between neighbours along x, y and z in angstrom, from the coordinates.

        A ValueError if a coordinate is not evenly spaced.
        """
        return voxel_size_of(self._obj)

    @property
    def kind(self) -> str:
        """One of image, image_stack, volume and volume_stack, from the dimensions.

        A ValueError if the dimensions are none that an MRC file can have.
        """
        return kind_of(self._obj)

    def to_mrc(self, path: str | os.PathLike[str], **options: Any) -> Delayed | None:
        """Write the object as an MRC file; `xarray_mrc.to_mrc` describes the parameters."""
        return to_mrc(self._obj, path, **options)
