"""Zarr groups, written from a lazy dataset region by region in bounded memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import warnings
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xarray_mrc.codec.modes import Sample
from xarray_mrc.conversion.grid import Grid, Region, Shards, gather_chunks, grid_for
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.errors import warn
from xarray_mrc.storage.compressed.encoders import cores
from xarray_mrc.storage.folder import check_visible, new_folder

if TYPE_CHECKING:
    import zarr

    Target = zarr.AsyncArray[Any]

__all__ = ["ZarrFormat", "is_group", "open_group", "write_group"]

ZarrFormat = Literal[2, 3]

# Each task holds a region and its compressed chunks, and Zarr compresses the chunks of a region on
# several threads anyhow.
MAX_TASKS = 8
# Bitshuffle reaches the density of the byte shuffle at twice the speed. Blosc's own blocks are
# smaller; in blocks of this size level 1 compresses as well as level 3, in half the time.
ZSTD_LEVEL, BLOCK_NBYTES = 1, 2**18


def is_group(path: str) -> bool:
    """Return True if there is a Zarr group at a local path."""
    if os.path.isfile(os.path.join(path, ".zgroup")):
        return True
    try:
        with open(os.path.join(path, "zarr.json"), "rb") as file:
            return bool(json.load(file)["node_type"] == "group")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def open_group(path: str) -> xr.DataArray:
    """Return the data of a Zarr group in dask chunks of bounded size.

    Parameters
    ----------
    path : str
        Path of the group.

    Returns
    -------
    xarray.DataArray
        Its chunks are rows of shards, or of chunks where the group has no shards.

    Raises
    ------
    ValueError
        The group is not an xarray dataset, or it has several variables and none is ``data``.
    """
    try:  # not consolidated: each array has its own metadata, whether or not there is a copy
        dataset = xr.open_zarr(path, chunks=None, consolidated=False)
    except (LookupError, TypeError, ValueError) as error:  # zarr and xarray raise all of these
        raise ValueError(
            f"{path} is a Zarr group, but not an xarray dataset ({error}); make an "
            f"xarray.DataArray with named dimensions from one of its arrays, and call to_mrc"
        ) from None
    array = data_variable(dataset)
    warn_of_missing_values(array, path)
    stored = array.encoding.get("shards") or array.encoding["chunks"]
    steps = gather_chunks(stored, array.shape, array.dtype.itemsize)
    return array.chunk(dict(zip(array.dims, steps, strict=True)))


def warn_of_missing_values(array: xr.DataArray, path: str) -> None:
    """Warn of a number that xarray reads as nan: in format 2 the fill value, by default 0."""
    fill = array.encoding.get("_FillValue")
    if fill is not None and array.dtype.kind in "fc" and not np.isnan(fill):
        warn(
            f"{path}: the fill value {fill} of {array.name!r} marks missing values, and is written "
            f"as nan; if it is a number like others, use "
            f"xarray.open_zarr(..., mask_and_scale=False) and to_mrc instead"
        )


def write_group(
    dataset: xr.Dataset,
    path: str,
    *,
    overwrite: bool = False,
    dtype: DTypeLike | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    compression: Any = "infer",
    zarr_format: ZarrFormat = 3,
    in_order: bool = False,
) -> None:
    """Write a dataset with one lazy data variable as a Zarr group.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset that the engine opened.
    path : str
        Path of the group.
    overwrite : bool
        Whether an existing Zarr group may be replaced.
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

    Raises
    ------
    OSError
        The target exists and may not be replaced, or cannot be written.
    ValueError
        An argument or a value is not valid.
    """
    if zarr_format not in (2, 3):
        raise ValueError(f"zarr_format={zarr_format!r}, expected 2 or 3")
    if zarr_format == 2:
        if shards not in ("auto", None):
            raise ValueError(f"shards={shards!r}, but Zarr format 2 has none; pass zarr_format=3")
        shards = None
    if overwrite and os.path.isdir(path) and not is_group(path):
        raise FileExistsError(
            f"{path} is a directory, but not a Zarr group, and is not replaced; pass another path"
        )
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
    with new_folder(path, overwrite=overwrite) as part:
        target = lay_out(dataset, str(array.name), dtype, grid, part, encoding, zarr_format)
        with ThreadPoolExecutor(min(cores(), MAX_TASKS)) as pool:
            if in_order:
                write_slabs(variable, target, grid, pool)
            else:
                write_regions(variable, target, part, grid, pool)
        consolidate(part, zarr_format)


def target_dtype(found: np.dtype[Any], wanted: DTypeLike | None) -> np.dtype[Any]:
    """Return the data type of the group; raise ValueError if data cannot be cast to it."""
    dtype = found if wanted is None else np.dtype(wanted).newbyteorder("=")
    if dtype.kind not in ("c" if found.kind == "c" else "iufc"):
        expected = "complex" if found.kind == "c" else "integer, floating or complex"
        raise ValueError(f"dtype={dtype}, but the data are {found}; expected a {expected} type")
    return dtype


def choose_compressors(compression: Any, zarr_format: ZarrFormat, itemsize: int) -> Any:
    """Return the compressors of a chunk; raise ValueError if they are not of this format."""
    if compression is None:
        return None
    if zarr_format == 2:
        from numcodecs import Blosc
        from numcodecs.abc import Codec

        default = Blosc("zstd", ZSTD_LEVEL, Blosc.BITSHUFFLE, BLOCK_NBYTES)
    else:
        from zarr.abc.codec import BytesBytesCodec as Codec
        from zarr.codecs import BloscCodec

        default = BloscCodec(
            typesize=itemsize,
            cname="zstd",
            clevel=ZSTD_LEVEL,
            shuffle="bitshuffle",
            blocksize=BLOCK_NBYTES,
        )
    if isinstance(compression, str) and compression == "infer":
        return default
    codecs = compression if isinstance(compression, list | tuple) else [compression]
    if not all(isinstance(codec, Codec) for codec in codecs):
        raise ValueError(
            f"compression={compression!r} for a Zarr group, expected 'infer', None or a compressor "
            f"of zarr.codecs (of numcodecs for Zarr format 2)"
        )
    return compression


def lay_out(
    dataset: xr.Dataset,
    name: str,
    dtype: np.dtype[Any],
    grid: Grid,
    part: str,
    encoding: dict[str, Any],
    zarr_format: ZarrFormat,
) -> Target:
    """Write everything but the data through xarray, and return the array for the data."""
    import dask.array
    import zarr

    variable = dataset[name].variable
    # Never computed: it stands for the data, in blocks of the size of the regions.
    empty = dask.array.empty(grid.shape, dtype=dtype, chunks=grid.steps)
    blank = xr.Variable(variable.dims, empty, variable.attrs)
    dataset.assign({name: blank}).to_zarr(
        part,
        mode="a",
        compute=False,
        consolidated=False,
        zarr_format=zarr_format,
        encoding={name: encoding},
    )
    # Zarr leaves out chunks of zeros, and takes -0.0 for 0.0: in floats up to 3.0, in complex
    # numbers still in 3.4. Chunks of integers can be left out.
    with zarr.config.set({"array.write_empty_chunks": dtype.kind in "fc"}):
        path = os.path.join(part, name)
        target: Target = run(zarr.AsyncArray.open(path, zarr_format))
    return target


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine of Zarr to its end, and return its result.

    Zarr goes on with the other chunks after an error in one. Here it has an event loop of its own,
    whose tasks and threads have all ended on return, so nothing writes into a directory that was
    removed. The loop runs on another thread, because notebooks have a loop on this one.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def write_region(source: xr.Variable, target: Target, part: str, region: Region) -> None:
    """Read one region and write it into the group, in any process that sees the directory."""
    check_visible(part)
    try:
        run(target.setitem(region, load(source, region, target.dtype)))
    finally:
        # The client gave up and removed the directory meanwhile, and Zarr made it again.
        if not is_group(part):
            shutil.rmtree(part, ignore_errors=True)


def write_regions(
    source: xr.Variable, target: Target, part: str, grid: Grid, pool: ThreadPoolExecutor
) -> None:
    """Write the regions with the scheduler that dask is configured to use, by default threads."""
    import dask

    write = dask.delayed(partial(write_region, source, target, part), traverse=False)
    dask.compute(*map(write, grid.regions()), pool=pool)


def write_slabs(source: xr.Variable, target: Target, grid: Grid, pool: ThreadPoolExecutor) -> None:
    """Read slab after slab in this process, which has the stream; write each while reading on."""
    with ThreadPoolExecutor(1) as reader:
        slabs = grid.slabs()
        coming = [reader.submit(load, source, slab, target.dtype) for slab, _ in slabs[:1]]
        for number, (slab, regions) in enumerate(slabs):
            block = coming.pop().result()
            for later, _ in slabs[number + 1 :][:1]:
                coming.append(reader.submit(load, source, later, target.dtype))
            written = [
                pool.submit(run, target.setitem(moved(region, slab), block[region]))
                for region in regions
            ]
            for future in written:
                future.result()


def load(source: xr.Variable, region: Region, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a region into memory; raise ValueError if a value does not fit the data type."""
    code = dtype.str[1:]
    return Sample(code, code).fit(source[region].to_numpy())


def moved(region: Region, slab: Region) -> Region:
    """Return a region of the whole array, given one relative to the start of a slab."""
    return tuple(
        slice(within.start + whole.start, within.stop + whole.start)
        for within, whole in zip(region, slab, strict=True)
    )


def consolidate(part: str, zarr_format: ZarrFormat) -> None:
    """Write the metadata of all arrays into one file, which xarray expects.

    It is not part of Zarr format 3 yet, and zarr warns of that.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(part, zarr_format=zarr_format)
