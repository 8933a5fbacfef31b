"""`to_ome_zarr`: a pyramid of OME-Zarr from any array with positions."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.header import Header
from xarray_mrc.conversion.block_means import Method, check_method
from xarray_mrc.conversion.chunk_format import find_format
from xarray_mrc.conversion.grid import Shards
from xarray_mrc.conversion.group_layout import choose_compressors, target_dtype
from xarray_mrc.conversion.group_target import check_outside, new_group
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.job import GroupJob, run_job
from xarray_mrc.conversion.ome_layout import OmeLayout
from xarray_mrc.conversion.ome_metadata import (
    OmeVersion,
    OmeVersionName,
    Profile,
    axes_of,
    ome_version,
    portal_axes,
    source_fields,
)
from xarray_mrc.conversion.pyramid import check_factors, plan_pyramid
from xarray_mrc.conversion.pyramid_graph import run_pyramid_graph
from xarray_mrc.conversion.pyramid_tasks import pyramid_tasks
from xarray_mrc.conversion.tasks import Reader
from xarray_mrc.conversion.zarr import is_plain
from xarray_mrc.dataset.conventions import AXES, data_variable, match_dims
from xarray_mrc.dataset.from_file import file_of
from xarray_mrc.dataset.lazy_variable import find_array, find_undivided, find_zarr_url, with_data
from xarray_mrc.errors import warn
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.header_reading import read_header
from xarray_mrc.storage.protocol import Source, is_sequential
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import is_remote, path_of_url
from xarray_mrc.storage.source import local_path
from xarray_mrc.writing.region import arrays_in_graph

__all__ = ["image_name", "plan_ome_zarr", "to_ome_zarr"]

SUFFIXES = (".zarr", ".ome")
DEFAULT_VERSION: OmeVersionName = "0.5"
PORTAL_VERSION: OmeVersionName = "0.4"
PORTAL_CHUNK = 256


def to_ome_zarr(
    obj: xr.Dataset | xr.DataArray,
    store: str | os.PathLike[str],
    *,
    version: OmeVersionName = "0.5",
    scale_factors: Sequence[int] = (2, 4),
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    method: Method = "mean",
    compression: Any = "infer",
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
) -> None:
    """Write an image, a volume or a stack as OME-Zarr: a pyramid for viewers, in angstrom.

    The data are read once, and all levels are made from the blocks in memory. Memory is bounded at
    any size, and the target appears when it is complete.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The data: of an opened file, computed, in dask chunks or in memory. The dimensions are
        those of `to_mrc`, in any order. Positions along x, y and z are even and increasing.
    store : str, os.PathLike or URL
        The target: a directory, or a folder in an object store.
    version : {"0.5", "0.4", "0.6"}
        Version of OME-Zarr. 0.4 is Zarr format 2, the others are Zarr format 3.
    scale_factors : sequence of int
        The coarse levels: how many voxels along z, y and x one voxel stands for. Images of a
        stack, volumes and colours are never averaged with each other.
    chunks : mapping of str to int, optional
        Chunk lengths of all levels by axis. Other lengths are chosen, as in `convert`.
    shards : mapping of str to int, "auto" or None
        Shard lengths of all levels by axis, multiples of the chunk lengths. "auto" makes shards of
        at most 64 MiB, None one file for each chunk, as in OME-Zarr 0.4.
    method : {"mean", "nearest", "mode"}
        How a block of voxels becomes one. "mean" suits densities and counts. For labels and masks
        use "mode", the most frequent value, or "nearest", the middle voxel.
    compression : "infer", None or codec
        "infer" is zstd after a bitshuffle; a codec is any compressor of Zarr (of numcodecs for
        OME-Zarr 0.4).
    overwrite : bool
        Whether an existing Zarr group may be replaced. At a URL it is removed first, so `obj` must
        not be read from it.
    storage_options : mapping, optional
        How the storage of a URL is reached, as in fsspec.
    profile : {"cryoet-portal"}, optional
        Write what the CryoET Data Portal writes: OME-Zarr 0.4 in float32 and chunks of 256 voxels,
        with axes z, y and x, scales of three decimals, and no translation.

    Raises
    ------
    OSError
        The target exists and may not be replaced, or cannot be written.
    ValueError
        OME-Zarr cannot hold the object, or an argument is not valid. Nothing is written.

    Warns
    -----
    MrcWarning
        One warning names what the metadata do not hold.

    Notes
    -----
    The arrays are named 0, 1 and 2, their axes ``z``, ``y`` and ``x``. The axis of a stack is
    ``image`` or ``volume``, which is not of space; colours are channels ``c`` in front. Scale and
    translation come from the coordinates: a voxel of a coarse level is at the mean position of its
    block, as in ``obj.coarsen(...).mean()``. Where the voxel size is unknown, the scale counts
    voxels and has no unit. The last block along an axis is the mean of the voxels that are there.

    Levels have the data type of the data, so means of integers are rounded, to the nearest and ties
    to the even number; write ``obj.astype("float32")`` to keep fractions. bool becomes int8. Sums
    are exact for integers, and in double precision for floating point numbers. A nan is left out of
    the mean.

    Contrast limits are percentiles of the coarsest level. The header of the source file is kept as
    ``source_mrc_header``, and attributes as ``attributes``, in the metadata of the multiscale.
    Other coordinates, such as tilt angles, are in the group ``coordinates``, which
    ``xr.open_zarr(store, group="coordinates")`` opens.

    One task writes one region of the coarsest level and all that is below it, on threads or the
    workers of a distributed client. Each chunk of a dask array is computed once: the array is
    rechunked to the regions. A file that is one compressed stream is read once, in order.

    References
    ----------
    https://ngff.openmicroscopy.org

    Examples
    --------
    >>> import tempfile, zarr
    >>> x = xr.Variable("x", [0.0, 1.5, 3.0], {"units": "angstrom"})
    >>> image = xr.DataArray(np.ones((3, 3), "int16"), {"x": x}, ("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_ome_zarr(image, folder + "/a.ome.zarr", scale_factors=[2])
    ...     level = zarr.open_array(folder + "/a.ome.zarr/1")
    ...     level.shape, level.dtype.name
    ((2, 2), 'int16')
    """
    storage = StorageOptions(storage_options)
    path = os.fspath(store) if is_remote(store) else local_path(store)
    job = plan_ome_zarr(
        obj,
        image_name(path),
        version=version,
        scale_factors=scale_factors,
        chunks=chunks,
        shards=shards,
        method=method,
        compression=compression,
        profile=profile,
    )
    data = job.reader.variable
    for found in sources_of(obj, data):
        check_outside(found, path)
    if data.chunks is not None:
        with new_group(path, overwrite=overwrite, options=storage) as target:
            writer = GroupWriter(target.sink, job.layout.arrays)
            results = run_pyramid_graph(job.tasks, data.data, job.reader.dtype, writer)
            target.finish(job.documents(results))
        return
    run_job(job, path, overwrite=overwrite, options=storage)


def plan_ome_zarr(
    obj: xr.Dataset | xr.DataArray,
    name: str,
    *,
    version: OmeVersionName = DEFAULT_VERSION,
    scale_factors: Sequence[int] = (2, 4),
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    method: Method = "mean",
    compression: Any = "infer",
    profile: Profile | None = None,
    dtype: DTypeLike | None = None,
) -> GroupJob:
    """Return the job that writes a pyramid; `to_ome_zarr` describes the parameters.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The data.
    name : str
        Name of the image.
    version, scale_factors, chunks, shards, method, compression, profile
        As in `to_ome_zarr`.
    dtype : dtype, optional
        Data type of the arrays; a value that does not fit is an error.

    Returns
    -------
    GroupJob

    Raises
    ------
    ValueError
        OME-Zarr cannot hold the object, or an argument is not valid.
    """
    array = data_variable(obj)
    # Blocks that are only read need no dask, which would read them whole for each region.
    lazy = None if array.chunks is None else find_undivided(array.data, array.dims)
    array = array if lazy is None else with_data(array, lazy)
    form, factors = chosen_version(version, profile), check_factors(scale_factors)
    kind, dims = match_dims(array, None)
    axes, notes = axes_of(array, kind, dims)
    variable = array.variable.transpose(*(axis.dim for axis in axes))
    named = {axis.dim: "rgb" if axis.type == "channel" else axis.name for axis in axes}
    lengths: dict[Any, int] = {**(chunks or {})}
    if profile:
        axes = portal_axes(axes)
        dtype = np.dtype("f4") if dtype is None else dtype
        lengths = dict.fromkeys(named, PORTAL_CHUNK) | lengths
    if dtype is None and variable.dtype == bool:
        dtype = np.dtype("i1")
    dtype = target_dtype(variable.dtype, dtype)
    check_method(method, dtype)
    if form.zarr_format == 2 and shards not in ("auto", None):
        raise ValueError(
            f"shards={shards!r}, but OME-Zarr {form.name} has none; pass version='0.5' or '0.6'"
        )
    source = array_source(variable)
    in_order = variable.chunks is not None or (source is not None and is_sequential(source))
    pyramid = plan_pyramid(
        tuple(named.values()),
        variable.shape,
        dtype.itemsize,
        factors,
        binned=[axis.is_binned for axis in axes],
        chunks=by_axis(lengths, named),
        shards=None if form.zarr_format == 2 else by_axis(shards, named),
        in_order=in_order,
        exact_chunks=profile is not None,
    )
    metadata: dict[str, Any] = {"scale_factors": list(factors)}
    header = header_of(array)
    if header is not None:
        metadata["source_mrc_header"] = source_fields(header)
    if array.attrs:
        metadata["attributes"] = dict(array.attrs)
    layout = OmeLayout(
        version=form,
        axes=axes,
        pyramid=pyramid,
        dtype=dtype,
        name=name,
        label="data" if array.name is None else str(array.name),
        method=method,
        metadata=metadata,
        compressors=choose_compressors(compression, form.zarr_format, dtype.itemsize),
        coordinates=other_coordinates(array, dims),
        has_translation=profile is None,
    )
    if notes:
        warn("; ".join(notes))
    group = layout.lay_out()
    if is_plain(variable) and find_format(group.arrays["0"]) is not None:
        pyramid = pyramid.in_parts(dtype.itemsize)
    return GroupJob(
        group,
        pyramid_tasks(pyramid, method),
        Reader(variable, dtype),
        pyramid.slabs() if in_order and variable.chunks is None else None,
        layout.documents,
    )


def chosen_version(version: str, profile: str | None) -> OmeVersion:
    """Return the version to write, which a profile prescribes."""
    if profile not in (None, *get_args(Profile)):
        raise ValueError(f"profile={profile!r}, expected 'cryoet-portal' or None")
    found = ome_version(version)
    if profile is None:
        return found
    if version not in (DEFAULT_VERSION, PORTAL_VERSION):
        raise ValueError(
            f"version={version!r}, but profile={profile!r} is OME-Zarr {PORTAL_VERSION}: leave one "
            f"of them out"
        )
    return ome_version(PORTAL_VERSION)


def image_name(path: str) -> str:
    """Return the name of an image: that of its group, without suffixes."""
    name = path_of_url(path).rstrip("/").rpartition("/")[2]
    name = os.path.basename(name) if name == path else name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def by_axis(lengths: Any, named: Mapping[Hashable, str]) -> Any:
    """Return lengths by the names of axes in a grid, given by these or by dimensions."""
    if not isinstance(lengths, Mapping):
        return lengths
    names: dict[Hashable, str] = {"c": "rgb", **named}
    return {names.get(name, name): length for name, length in lengths.items()}


def array_source(variable: xr.Variable) -> Source | None:
    """Return the source that lazy data of one file are read from."""
    found = find_array(variable)
    return found.source if isinstance(found, MrcArray) else None


def sources_of(obj: xr.Dataset | xr.DataArray, data: xr.Variable) -> Iterator[str]:
    """Yield paths and URLs that an object, and the data of it, are known to be read from."""
    arrays = [data] if data.chunks is None else [*arrays_in_graph(data.data)]
    named = [found.encoding.get("source") for found in (obj, data_variable(obj))]
    yield from (str(name) for name in [*named, *map(find_zarr_url, arrays)] if name)
    for array in filter(None, map(find_array, arrays)):
        yield from array.paths
        if isinstance(array, MrcArray):
            yield array.source.uri


def header_of(array: xr.DataArray) -> Header | None:
    """Read the header of the file that an array was opened from, if the array still knows it."""
    try:
        return read_header(file_of(array))
    except (OSError, TypeError, ValueError):  # ValueError: it does not know it, or MrcError
        return None


def other_coordinates(array: xr.DataArray, dims: Mapping[str, Hashable]) -> xr.Dataset:
    """Return the coordinates that are no positions along the axes, such as tilt angles."""
    positions = {name for axis in AXES if axis in dims for name in (axis, dims[axis])}
    kept = {name: array.coords[name].variable for name in array.coords if name not in positions}
    return xr.Dataset(coords=kept).drop_encoding()
