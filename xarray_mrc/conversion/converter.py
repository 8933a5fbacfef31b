"""`convert`: one MRC file or Zarr group to another file or group."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.conversion.grid import Shards
from xarray_mrc.conversion.group_layout import ZarrFormat
from xarray_mrc.conversion.group_target import is_group
from xarray_mrc.conversion.recompress import recompress
from xarray_mrc.conversion.zarr import open_group, write_group
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import open_head, open_source
from xarray_mrc.storage.protocol import is_sequential
from xarray_mrc.storage.remote.urls import is_remote
from xarray_mrc.storage.source import Openable, local_path
from xarray_mrc.writing.target import check_suffix
from xarray_mrc.writing.writer import to_mrc

__all__ = ["convert"]

Format = Literal["mrc", "zarr"]
ZARR_SUFFIX = ".zarr"
WRITTEN_SIDECARS = get_args(WrittenSidecar)


def convert(
    src: Openable,
    dst: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    format: Format | None = None,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    compression: Any = "infer",
    compression_level: int | None = None,
    zarr_format: ZarrFormat = 3,
    source_storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Write an MRC file as a Zarr group or as another MRC file, or a Zarr group as an MRC file.

    Memory is bounded at any size, and the target appears atomically.

    Parameters
    ----------
    src : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        An MRC file in any container, or the path of a Zarr group.
    dst : str or os.PathLike
        The target: a Zarr group if its name ends in ``.zarr``, otherwise an MRC file, which is
        compressed if its name ends in ``.gz``, ``.bz2`` or ``.zst``.
    overwrite : bool
        Whether an existing target may be replaced: a group by a group, a file by a file.
    format : {"mrc", "zarr"}, optional
        The format of the target, whatever its name.
    dtype : dtype, optional
        Data type of the target; a value that does not fit is an error.
    mode : {0, 1, 2, 3, 4, 6, 12, 16, 101}, optional
        Data mode of an MRC target; by default that of the data type.
    chunks : mapping of str to int, optional
        Chunk lengths of a Zarr group by dimension. Other lengths are chosen: near to cubes in
        volumes, tiles in images.
    shards : mapping of str to int, "auto" or None
        Shard lengths of a Zarr group by dimension, multiples of the chunk lengths. "auto" makes
        shards of about 64 MiB; None makes one file for each chunk, as Zarr format 2 does.
    compression : "infer", None, str or codec
        For a Zarr group "infer" is zstd after a bitshuffle; a codec is any compressor of Zarr. For
        an MRC file "infer" follows the suffix; otherwise "gzip", "bzip2" or "zstd". None does not
        compress.
    compression_level : int, optional
        Level of an MRC file that is compressed, as in `to_mrc`; a codec of Zarr has its own.
    zarr_format : {2, 3}
        Version of the Zarr format.
    source_storage_options : mapping, optional
        How the URL of `src` is reached, as ``storage_options`` of `open_mrc`.
    **options
        How an MRC file is read: the parameters of `open_mrc`, starting at `truncated`. For an MRC
        target also ``sidecar="mdoc"`` or ``sidecar="rawtlt"``, as in `to_mrc`.

    Raises
    ------
    OSError
        A file cannot be read or written, or the target exists and may not be replaced.
    MrcError
        `src` is not an MRC file, or its data cannot be read faithfully.
    ValueError
        An argument or a value does not fit the target. The target is not touched.

    Notes
    -----
    ``xr.open_zarr(dst)`` returns the same as ``xr.open_dataset(src, engine="mrc")``: values,
    coordinates, attributes and names. One task writes one shard, so the workers of a distributed
    client never write into the same file. An MRC file is copied to an MRC file byte by byte, with
    header and extended header; with `dtype`, `mode` or options it is read and written anew, with
    the extended header and labels of `src`.

    Examples
    --------
    >>> import tempfile
    >>> array = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("y", "x")).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_mrc(array, folder + "/a.mrc", voxel_size=1.5)
    ...     convert(folder + "/a.mrc", folder + "/a.zarr", chunks={"y": 1})
    ...     convert(folder + "/a.zarr", folder + "/b.mrc.gz", dtype="int16")
    ...     xr.open_dataset(folder + "/b.mrc.gz", engine="mrc").data.dtype
    dtype('int16')
    """
    path = local_path(dst)
    target = format or ("zarr" if path.lower().endswith(ZARR_SUFFIX) else "mrc")
    if target not in ("mrc", "zarr"):
        raise ValueError(f"format={format!r}, expected 'mrc' or 'zarr'")
    written: dict[str, Any] = {"dtype": dtype, "mode": mode}
    if target == "mrc" and options.get("sidecar") in WRITTEN_SIDECARS:
        written["sidecar"] = options.pop("sidecar")
    if "storage_options" in options:
        raise TypeError(
            f"storage_options= is for the target, and {path} is local: pass the options of the "
            f"source as source_storage_options="
        )
    local_copy = options.pop("local_copy", None)
    if is_remote(src):  # opened once for all that follows
        head = open_head(src, storage_options=source_storage_options, local_copy=local_copy)
        src = head.source.local_path or head
    elif source_storage_options:
        raise ValueError(f"source_storage_options= was passed, but {src!s} is not remote")
    source = local_path(src) if isinstance(src, str | os.PathLike) else None
    from_group = source is not None and holds_group(source)
    if target == "mrc" and (chunks is not None or shards != "auto" or zarr_format != 3):
        raise ValueError(
            f"chunks=, shards= or zarr_format= was passed, but {path} will be an MRC file; name "
            f"it .zarr, or pass format='zarr'"
        )
    if target == "mrc":
        check_suffix(path, "mrc" if format else None)
    if target == "zarr":
        check_group_options(path, mode, compression_level)
    if from_group and (target == "zarr" or options):
        raise ValueError(
            f"{src!s} is a Zarr group, which can only be converted to an MRC file, without options "
            f"of reading ({', '.join(options) or 'none were passed'}); use xarray.open_zarr for "
            f"anything else"
        )
    if target == "zarr" and source is not None and is_within(source, path):
        raise ValueError(
            f"{src!s} lies in {path}, and would be lost with it; pass another path for the group"
        )
    if target == "zarr":
        write_group(
            open_dataset(src, options),
            path,
            overwrite=overwrite,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            compression=compression,
            zarr_format=zarr_format,
            in_order=is_sequential(open_source(src)),
        )
        return
    packing: dict[str, Any] = {"compression": compression, "compression_level": compression_level}
    written |= {"overwrite": overwrite, "format": format, **packing}
    if source is not None and from_group:
        to_mrc(open_group(source), path, **written)
    elif options or "sidecar" in written or dtype is not None or mode is not None:
        truncated = options.get("truncated", "raise")
        like = open_file(src, ReadingOptions(truncated=truncated, extended_header="raw"))
        to_mrc(open_dataset(src, options), path, like=like, **written)
    else:
        recompress(src, path, overwrite=overwrite, **packing)


def check_group_options(path: str, mode: int | None, compression_level: int | None) -> None:
    """Raise ValueError for options that only an MRC file has."""
    if mode is not None:
        raise ValueError(
            f"mode={mode!r} was passed, but {path} will be a Zarr group, which has no modes; pass "
            f"dtype= instead"
        )
    if compression_level is not None:
        raise ValueError(
            f"compression_level={compression_level!r} was passed, but {path} will be a Zarr group: "
            f"pass a codec with its level as compression=, as in zarr.codecs.ZstdCodec(level=9)"
        )


def holds_group(path: str) -> bool:
    """Return True if a path is that of a Zarr group; IsADirectoryError if of another directory."""
    if is_group(path):
        return True
    if os.path.isdir(path):
        raise IsADirectoryError(
            errno.EISDIR,
            "it is a directory, but not a Zarr group; expected a group or an MRC file. Make an "
            "xarray.DataArray with named dimensions from a single Zarr array, and call to_mrc",
            path,
        )
    return False


def is_within(path: str, folder: str) -> bool:
    """Return True if a file is in a directory, at any depth."""
    whole, parent = os.path.realpath(path), os.path.realpath(folder)
    return whole.startswith(os.path.join(parent, ""))


def open_dataset(src: Openable, options: dict[str, Any]) -> xr.Dataset:
    """Open an MRC file through xarray, which finds the engine by its name, without dask."""
    found: Any = src  # xarray's types do not include BinaryIO
    return xr.open_dataset(found, engine="mrc", **options)
