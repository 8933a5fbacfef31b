"""`convert`: MRC files, packed ones and Zarr groups, from each into each."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any, Literal

import xarray as xr

from xarray_mrc.conversion.grid import Shards
from xarray_mrc.conversion.mrc import repack
from xarray_mrc.conversion.zarr import ZarrFormat, is_group, open_group, write_group
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.storage import open_source
from xarray_mrc.storage.source import Openable, local_path
from xarray_mrc.writing.writer import to_mrc

__all__ = ["convert"]

Format = Literal["mrc", "zarr"]
ZARR_SUFFIX = ".zarr"


def convert(
    src: Openable,
    dst: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    format: Format | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    compression: Any = "infer",
    zarr_format: ZarrFormat = 3,
    **options: Any,
) -> None:
    """Convert an MRC file to a Zarr group, a Zarr group to an MRC file, or repack an MRC file.

    Memory is bounded at any size. What is written appears whole at its place, or not at all.

    Parameters
    ----------
    src : str, os.PathLike, file URL, bytes, memoryview or binary file object
        An MRC file in any container, or the path of a Zarr group.
    dst : str or os.PathLike
        What is written: a Zarr group if it is named ``.zarr``, else an MRC file, which is packed if
        it is named ``.gz``, ``.bz2`` or ``.zst``.
    overwrite : bool
        Whether what is there may be replaced: a Zarr group by a group, a file by a file.
    format : {"mrc", "zarr"}, optional
        What is written, whatever its name.
    chunks : mapping, optional
        Of a Zarr group, the lengths of its chunks by dimension; what is left out is chosen, so
        that a chunk is near to a cube in a volume and a tile in an image.
    shards : mapping, "auto" or None
        Of a Zarr group, the lengths of its shards by dimension, multiples of those of the chunks;
        "auto" for about 64 MiB, None for a file for each chunk, as Zarr format 2 has it.
    compression : "infer", None, str or codec
        Of a Zarr group "infer" is zstd behind a bitshuffle, and a codec is one that Zarr takes as
        a compressor; of an MRC file it is what the suffix says, or "gzip", "bzip2" or "zstd". None
        packs nothing.
    zarr_format : {2, 3}
        Version of the Zarr format.
    **options
        How an MRC file is read: the parameters of `open_mrc` from `truncated` on.

    Raises
    ------
    OSError
        Something can't be read or written, or is there and may not be replaced.
    MrcError
        `src` is no MRC file, or its data can't be read faithfully.
    ValueError
        A parameter does not fit what is converted.

    Notes
    -----
    ``xr.open_zarr(dst)`` gives what ``xr.open_dataset(src, engine="mrc")`` gives: values,
    coordinates, attributes and names. A task writes one shard, so a client of distributed takes
    part without two tasks writing to one file. From one MRC file to another all bytes of header,
    extended header and data stay as they are, unless there are options.

    Examples
    --------
    >>> convert("tomo.mrc.gz", "tomo.zarr", chunks={"z": 32})  # doctest: +SKIP
    >>> convert("tomo.zarr", "tomo.mrc.zst")  # doctest: +SKIP
    """
    path = local_path(dst)
    kind = format or ("zarr" if path.lower().endswith(ZARR_SUFFIX) else "mrc")
    if kind not in ("mrc", "zarr"):
        raise ValueError(f"format={format!r}, expected 'mrc' or 'zarr'")
    source = src if isinstance(src, str | os.PathLike) else None
    from_group = source is not None and holds_group(local_path(source))
    if kind == "mrc" and (chunks is not None or shards != "auto" or zarr_format != 3):
        raise ValueError(
            f"chunks, shards or zarr_format were given for {path}, which will be an MRC file: they "
            f"are for Zarr groups; name it .zarr, or pass format='zarr'"
        )
    if from_group and (kind == "zarr" or options):
        raise ValueError(
            f"{src!s} is a Zarr group: one can be converted to an MRC file, and without options "
            f"({', '.join(options) or 'none were given'}); use xarray.open_zarr for anything else"
        )
    if kind == "zarr" and source is not None and is_within(local_path(source), path):
        raise ValueError(
            f"{src!s} lies in {path}, and would be lost with it: give another path for the group"
        )
    if kind == "zarr":
        write_group(
            open_dataset(src, options),
            path,
            overwrite=overwrite,
            chunks=chunks,
            shards=shards,
            compression=compression,
            zarr_format=zarr_format,
            in_order=open_source(src).size_if_known is None,
        )
    elif source is not None and from_group:
        array = open_group(local_path(source))
        to_mrc(array, path, overwrite=overwrite, compression=compression)
    elif options:
        truncated = options.get("truncated", "raise")
        like = open_file(src, truncated=truncated, extended="raw", sidecar=False)
        dataset = open_dataset(src, options)
        to_mrc(dataset, path, overwrite=overwrite, compression=compression, like=like)
    else:
        repack(src, path, compression=compression, overwrite=overwrite)


def holds_group(path: str) -> bool:
    """Whether what is converted is a Zarr group; IsADirectoryError for any other folder."""
    if is_group(path):
        return True
    if os.path.isdir(path):
        raise IsADirectoryError(
            errno.EISDIR,
            "it is a folder, but not a Zarr group, expected a group or an MRC file; of a single "
            "Zarr array make an xarray.DataArray with named dimensions, and call to_mrc",
            path,
        )
    return False


def is_within(path: str, folder: str) -> bool:
    """Whether a file is in a folder, at any depth."""
    whole, parent = os.path.realpath(path), os.path.realpath(folder)
    return whole.startswith(os.path.join(parent, ""))


def open_dataset(src: Openable, options: dict[str, Any]) -> xr.Dataset:
    """Open an MRC file by the engine, which xarray finds by its name, without dask."""
    found: Any = src  # xarray's own types know no BinaryIO
    return xr.open_dataset(found, engine="mrc", **options)
