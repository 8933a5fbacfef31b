"""Zarr groups: written region by region from a lazy dataset, so that memory is bounded."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.conversion.grid import Grid, Region, Shards, grid_for, grow
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.errors import warn
from xarray_mrc.storage.compressed.encoders import cores
from xarray_mrc.storage.folder import check_visible, new_folder

if TYPE_CHECKING:
    import zarr

__all__ = ["ZarrFormat", "is_group", "open_group", "write_group"]

ZarrFormat = Literal[2, 3]

OUR_WAIT = "xarray_mrc waits for other tasks"
# Each task holds a region and what it is packed to, and Zarr packs its chunks on threads anyhow.
MAX_TASKS = 8
# Bitshuffle brings out what densities have in common at twice the speed of the bytes' shuffle.
# Blocks of this size, not Blosc's own smaller ones, let level 1 pack as small as level 3 does, in
# half the time.
ZSTD_LEVEL, BLOCK_NBYTES = 1, 2**18


def is_group(path: str) -> bool:
    """Whether there is a Zarr group at a local path."""
    if os.path.isfile(os.path.join(path, ".zgroup")):
        return True
    try:
        with open(os.path.join(path, "zarr.json"), "rb") as file:
            return bool(json.load(file)["node_type"] == "group")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def open_group(path: str) -> xr.DataArray:
    """Open the data of a Zarr group in dask chunks, of bounded size and good to write from.

    Parameters
    ----------
    path : str
        Path of the group.

    Returns
    -------
    xarray.DataArray
        Its chunks are shards, or chunks of the group, along each row.

    Raises
    ------
    ValueError
        It is no dataset of xarray, or it is not known which of its variables is meant.
    """
    try:  # each array's own metadata, which are there whether or not they were gathered
        dataset = xr.open_zarr(path, chunks=None, consolidated=False)
    except (LookupError, TypeError, ValueError) as error:  # zarr and xarray have many
        raise ValueError(
            f"{path}: a Zarr group was found that is no dataset of xarray ({error}): make an "
            f"xarray.DataArray with named dimensions of the array that is meant, and call to_mrc"
        ) from None
    array = data_variable(dataset)
    warn_of_missing_values(array, path)
    stored = array.encoding.get("shards") or array.encoding["chunks"]
    steps = grow(stored, array.shape, array.dtype.itemsize)
    return array.chunk(dict(zip(array.dims, steps, strict=True)))


def warn_of_missing_values(array: xr.DataArray, path: str) -> None:
    """Say which number is read as nan: in format 2 any fill value is, which is 0 by default."""
    fill = array.encoding.get("_FillValue")
    if fill is not None and array.dtype.kind in "fc" and not np.isnan(fill):
        warn(
            f"{path}: the fill value {fill} of {array.name!r} means that a value is missing, and "
            f"is written as nan: where it is a number, use "
            f"xarray.open_zarr(..., mask_and_scale=False) and to_mrc instead"
        )


def write_group(
    dataset: xr.Dataset,
    path: str,
    *,
    overwrite: bool = False,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    compression: Any = "infer",
    zarr_format: ZarrFormat = 3,
    in_order: bool = False,
) -> None:
    """Write a dataset with one data variable, which is lazy, as a Zarr group.

    Parameters
    ----------
    dataset : xarray.Dataset
        As the engine opens it.
    path : str
        Where the group will be.
    overwrite : bool
        Whether a Zarr group that is there may be replaced.
    chunks, shards
        As in `grid_for`. There are no shards in Zarr format 2.
    compression : "infer", None or codec
        "infer" is zstd behind a bitshuffle; a codec is one that Zarr takes as a compressor.
    zarr_format : {2, 3}
        Version of the format.
    in_order : bool
        Whether the data are best read once, from the first section to the last.

    Raises
    ------
    OSError
        There is something, and it may not be replaced, or it can't be written.
    ValueError
        An argument is not one of those above.
    """
    if zarr_format not in (2, 3):
        raise ValueError(f"zarr_format={zarr_format!r}, expected 2 or 3")
    if zarr_format == 2:
        if shards not in ("auto", None):
            raise ValueError("shards were asked for, but Zarr format 2 has none: zarr_format=3 has")
        shards = None
    if overwrite and os.path.isdir(path) and not is_group(path):
        raise FileExistsError(
            f"{path} is a folder, but not a Zarr group: it is not replaced; give another path"
        )
    array = data_variable(dataset)
    variable = array.variable
    if "/" in str(array.name):
        raise ValueError(
            f"the data can't be named {array.name!r} in a Zarr group, where that is an array of "
            f"another group: give another default_name"
        )
    grid = grid_for(
        tuple(map(str, variable.dims)),
        variable.shape,
        variable.dtype.itemsize,
        chunks=chunks,
        shards=shards,
        in_order=in_order,
    )
    encoding = {
        "chunks": grid.chunks,
        "shards": grid.shards,
        "compressors": compressors_of(compression, zarr_format, variable.dtype.itemsize),
        "_FillValue": None,  # no number stands for a missing one, so none has to be looked for
    }
    with new_folder(path, overwrite=overwrite) as part:
        try:
            target = lay_out(dataset, str(array.name), grid, part, encoding, zarr_format)
            with ThreadPoolExecutor(min(cores(), MAX_TASKS)) as pool:
                if in_order:
                    write_slabs(variable, target, grid, pool)
                else:
                    write_regions(variable, target, part, grid, pool)
            consolidate(part, zarr_format)
        except BaseException:
            wait_for_zarr()
            raise


def compressors_of(compression: Any, zarr_format: ZarrFormat, itemsize: int) -> Any:
    """Give what packs a chunk."""
    if compression is None:
        return None
    if zarr_format == 2:
        from numcodecs import Blosc
        from numcodecs.abc import Codec

        usual = Blosc("zstd", ZSTD_LEVEL, Blosc.BITSHUFFLE, BLOCK_NBYTES)
    else:
        from zarr.abc.codec import BytesBytesCodec as Codec
        from zarr.codecs import BloscCodec

        usual = BloscCodec(
            typesize=itemsize,
            cname="zstd",
            clevel=ZSTD_LEVEL,
            shuffle="bitshuffle",
            blocksize=BLOCK_NBYTES,
        )
    if isinstance(compression, str) and compression == "infer":
        return usual
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
    grid: Grid,
    part: str,
    encoding: dict[str, Any],
    zarr_format: ZarrFormat,
) -> zarr.Array[Any]:
    """Write all but the data, in xarray's own way; give the array where these belong."""
    import dask.array
    import zarr

    variable = dataset[name].variable
    # Never computed: it stands for data that are there in blocks of the size of the regions.
    empty = dask.array.empty(grid.shape, dtype=variable.dtype, chunks=grid.steps)
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
    keep_zeros = variable.dtype.kind in "fc"
    with zarr.config.set({"array.write_empty_chunks": keep_zeros}):
        return zarr.open_array(os.path.join(part, name), mode="r+")


def write_region(source: xr.Variable, target: zarr.Array[Any], part: str, region: Region) -> None:
    """Read one region and write it to its place, in any process that sees the folder."""
    check_visible(part)
    block = source[region].to_numpy()
    try:
        target[region] = block
    except BaseException:
        wait_for_zarr()
        raise
    finally:
        if not is_group(part):  # it was given up and removed meanwhile, and came back by this
            shutil.rmtree(part, ignore_errors=True)


def write_regions(
    source: xr.Variable, target: zarr.Array[Any], part: str, grid: Grid, pool: ThreadPoolExecutor
) -> None:
    """Write the regions by the scheduler that dask was told to use, on threads by default."""
    import dask

    write = dask.delayed(partial(write_region, source, target, part), traverse=False)
    dask.compute(*map(write, grid.regions()), pool=pool)


def write_slabs(
    source: xr.Variable, target: zarr.Array[Any], grid: Grid, pool: ThreadPoolExecutor
) -> None:
    """Read slab after slab here, where the stream is, each while the one before is written."""
    with ThreadPoolExecutor(1) as reader:
        slabs = grid.slabs()
        coming = [reader.submit(load, source, slab) for slab, _ in slabs[:1]]
        for number, (slab, regions) in enumerate(slabs):
            block = coming.pop().result()
            coming += [reader.submit(load, source, later) for later, _ in slabs[number + 1 :][:1]]
            written = [
                pool.submit(target.__setitem__, moved(region, slab), block[region])
                for region in regions
            ]
            for future in written:
                future.result()


def wait_for_zarr() -> None:
    """Wait until Zarr writes no more; after an error in one chunk it still writes the others.

    They would make the folder again that was removed.
    """
    from zarr.core.sync import sync

    async def others() -> None:
        current = asyncio.current_task()
        if current is not None:
            current.set_name(OUR_WAIT)  # two that wait do not wait for each other
        if tasks := {task for task in asyncio.all_tasks() if task.get_name() != OUR_WAIT}:
            await asyncio.wait(tasks)

    sync(others())


def load(source: xr.Variable, region: Region) -> NDArray[Any]:
    """Read a region into memory."""
    found: NDArray[Any] = source[region].to_numpy()
    return found


def moved(region: Region, slab: Region) -> Region:
    """Give the place in the whole of a region that is counted from the beginning of a slab."""
    return tuple(
        slice(within.start + whole.start, within.stop + whole.start)
        for within, whole in zip(region, slab, strict=True)
    )


def consolidate(part: str, zarr_format: ZarrFormat) -> None:
    """Gather the metadata in one file, which xarray asks for; format 3 does not know it yet."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(part, zarr_format=zarr_format)
