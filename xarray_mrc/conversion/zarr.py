"""Zarr groups, written from a lazy dataset region by region in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.conversion.chunk_format import find_format
from xarray_mrc.conversion.grid import PART_NBYTES, Shards, gather_chunks, grid_for
from xarray_mrc.conversion.group_layout import (
    ZarrFormat,
    choose_compressors,
    lay_out,
    target_dtype,
)
from xarray_mrc.conversion.job import GroupJob
from xarray_mrc.conversion.tasks import CopyTask, Reader
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.lazy_variable import find_array
from xarray_mrc.errors import warn
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import HTTP, is_remote, public_url
from xarray_mrc.storage.target import NO_OPTIONS

__all__ = ["is_plain", "open_group", "plan_group"]


def open_group(path: str, options: StorageOptions = NO_OPTIONS) -> xr.Dataset:
    """Return the data of a Zarr group in dask chunks of bounded size, with all coordinates.

    Parameters
    ----------
    path : str
        Path or URL of the group.
    options : StorageOptions
        How the storage of a URL is reached.

    Returns
    -------
    xarray.Dataset
        One data variable, whose chunks are rows of shards, or of chunks where the group has no
        shards.

    Raises
    ------
    ValueError
        The group is not an xarray dataset, or it has several variables and none is ``data``.
    OSError
        The storage cannot be read.
    """
    shown = public_url(path) if is_remote(path) else path
    # Not consolidated: each array has its own metadata, whether or not there is a copy. A web
    # server cannot list the arrays, so there the copy is needed.
    reached: dict[str, Any] = {"consolidated": None if path.lower().startswith(HTTP) else False}
    if is_remote(path):
        reached["storage_options"] = options.others()
    try:
        dataset = xr.open_zarr(path, chunks=None, **reached)
    except (LookupError, TypeError, ValueError) as error:  # zarr and xarray raise all of these
        raise ValueError(
            f"{shown} is a Zarr group, but not an xarray dataset ({error}); make an "
            f"xarray.DataArray with named dimensions from one of its arrays, and call to_mrc"
        ) from None
    array = data_variable(dataset)
    warn_of_missing_values(array, shown)
    stored = array.encoding.get("shards") or array.encoding["chunks"]
    steps = gather_chunks(stored, array.shape, array.dtype.itemsize)
    others = [name for name in dataset.data_vars if name != array.name]
    chunked = array.variable.chunk(dict(zip(array.dims, steps, strict=True)))
    found: xr.Dataset = dataset.drop_vars(others).assign({array.name: chunked})
    return found


def warn_of_missing_values(array: xr.DataArray, path: str) -> None:
    """Warn of a number that xarray reads as nan: in format 2 the fill value, by default 0."""
    fill = array.encoding.get("_FillValue")
    if fill is not None and array.dtype.kind in "fc" and not np.isnan(fill):
        warn(
            f"{path}: the fill value {fill} of {array.name!r} marks missing values, and is written "
            f"as nan; if it is a number like others, use "
            f"xarray.open_zarr(..., mask_and_scale=False) and to_mrc instead"
        )


def plan_group(
    dataset: xr.Dataset,
    *,
    dtype: DTypeLike | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    compression: Any = "infer",
    zarr_format: ZarrFormat = 3,
    in_order: bool = False,
) -> GroupJob:
    """Return the job that writes a dataset with one lazy data variable as a Zarr group.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset that the engine opened.
    dtype : dtype, optional
        Data type of the group; a value that does not fit is an error.
    chunks, shards
        As in `grid_for`. Zarr format 2 has no shards.
    compression : "infer", None or codec
        "infer" is zstd after a bitshuffle; a codec is any compressor of Zarr.
    zarr_format : {2, 3}
        Version of the format.
    in_order : bool
        Whether the data are best read once, from the first section to the last.

    Returns
    -------
    GroupJob

    Raises
    ------
    ValueError
        An argument is not valid.
    """
    if zarr_format not in (2, 3):
        raise ValueError(f"zarr_format={zarr_format!r}, expected 2 or 3")
    if zarr_format == 2:
        if shards not in ("auto", None):
            raise ValueError(f"shards={shards!r}, but Zarr format 2 has none; pass zarr_format=3")
        shards = None
    array = data_variable(dataset)
    variable = array.variable
    if "/" in str(array.name):
        raise ValueError(
            f"default_name={array.name!r} contains '/', which separates groups in Zarr; pass "
            f"another default_name"
        )
    dtype = target_dtype(variable.dtype, dtype)
    grid = grid_for(
        tuple(map(str, variable.dims)),
        variable.shape,
        dtype.itemsize,
        chunks=chunks,
        shards=shards,
        in_order=in_order,
    )
    encoding = {
        "chunks": grid.chunks,
        "shards": grid.shards,
        "compressors": choose_compressors(compression, zarr_format, dtype.itemsize),
        "_FillValue": None,  # no number marks missing values, so readers need not search for it
    }
    name = str(array.name)
    layout = lay_out(dataset, name, dtype, grid, encoding, zarr_format)
    part = None
    if is_plain(variable) and find_format(layout.arrays[name]) is not None:
        lengths = tuple(map(min, grid.steps, grid.shape))
        part = gather_chunks(grid.chunks, lengths, dtype.itemsize, PART_NBYTES)
    return GroupJob(
        layout,
        [CopyTask(name, region, part) for region in grid.regions()],
        Reader(variable, dtype),
        grid.slabs() if in_order else None,
    )


def is_plain(variable: xr.Variable) -> bool:
    """Return True if data are read from an uncompressed local file, of which any part is cheap.

    A part costs requests of a remote file, and blocks of a compressed one are decompressed for
    each part that they have bytes of.
    """
    return isinstance(getattr(find_array(variable), "source", None), LocalSource)
