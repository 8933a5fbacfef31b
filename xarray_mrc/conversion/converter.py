"""`convert`: one MRC file or Zarr group to another file or group."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.conversion.block_means import Method
from xarray_mrc.conversion.grid import Shards
from xarray_mrc.conversion.group_layout import ZarrFormat
from xarray_mrc.conversion.group_target import check_outside, is_group
from xarray_mrc.conversion.job import run_job
from xarray_mrc.conversion.ome_metadata import OmeVersionName, Profile
from xarray_mrc.conversion.ome_zarr import image_name, plan_ome_zarr
from xarray_mrc.conversion.partition import Partition, check_partition, run_partition
from xarray_mrc.conversion.recompress import recompress
from xarray_mrc.conversion.zarr import open_group, plan_group
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import open_head, open_source
from xarray_mrc.storage.protocol import is_sequential
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import HTTP, is_remote, path_of_url, public_url
from xarray_mrc.storage.source import Openable, local_path
from xarray_mrc.writing.target import check_suffix
from xarray_mrc.writing.writer import to_mrc

__all__ = ["convert"]

Format = Literal["mrc", "zarr", "ome-zarr"]
ZARR_SUFFIX, OME_SUFFIX = ".zarr", ".ome.zarr"
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
    ome_version: OmeVersionName | None = None,
    scale_factors: Sequence[int] | None = None,
    method: Method | None = None,
    profile: Profile | None = None,
    partition: Partition | None = None,
    storage_options: Mapping[str, Any] | None = None,
    source_storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Write an MRC file as Zarr, OME-Zarr or another MRC file, or a Zarr group as an MRC file.

    Memory is bounded at any size, and the target appears atomically.

    Parameters
    ----------
    src : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        An MRC file in any container, or the path or URL of a Zarr group; the URL ends in
        ``.zarr``.
    dst : str, os.PathLike or URL
        The target: OME-Zarr if its name ends in ``.ome.zarr``, a Zarr group if it ends in
        ``.zarr``, otherwise an MRC file, which is compressed if its name ends in ``.gz``, ``.bz2``
        or ``.zst``. A URL is of ``s3://`` or another storage of fsspec.
    overwrite : bool
        Whether an existing target may be replaced: a group by a group, a file by a file.
    format : {"mrc", "zarr", "ome-zarr"}, optional
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
        Version of the Zarr format of a plain group.
    ome_version, scale_factors, method, profile : optional
        Version and levels of OME-Zarr, as ``version`` and the others in `to_ome_zarr`.
    partition : {"prepare", "finish"} or tuple of (int, int), optional
        Shares the work on a Zarr group among programs: "prepare" first, then ``(k, n)`` for each
        part `k` from 0 to ``n - 1``, in any order and at the same time, "finish" last. The group
        appears then. All calls have the same `src`, `dst` and options. Any call may be repeated.
    storage_options, source_storage_options : mapping, optional
        How the URL of `dst` and that of `src` are reached, as ``storage_options`` of `open_mrc`.
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
        An argument or a value does not fit the target, which is not touched; or the source or
        options differ from those of "prepare", or parts are not done.

    Notes
    -----
    ``xr.open_zarr(dst)`` returns the same as ``xr.open_dataset(src, engine="mrc")``: values,
    coordinates, attributes and names. One task writes one shard, so the workers of a distributed
    client never write into the same file. A storage cannot rename: there an existing group is
    removed before the first chunk is written, and the new one appears with its last file.

    An MRC file is copied to an MRC file byte by byte, with header and extended header; with
    `dtype`, `mode` or options it is read and written anew, with the extended header and labels of
    `src`.

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
    storage = StorageOptions(storage_options)
    path = target_path(dst, storage)
    target = format or format_of(path)
    if target not in get_args(Format):
        raise ValueError(f"format={format!r}, expected 'mrc', 'zarr' or 'ome-zarr'")
    if partition is not None:
        partition = check_partition(partition)
        if target == "mrc":
            raise ValueError(
                f"partition={partition!r} was passed, but {public_url(path)} will be an MRC file, "
                f"which is written by one call; name it .zarr, or pass format='zarr'"
            )
    written: dict[str, Any] = {"dtype": dtype, "mode": mode}
    if target == "mrc" and options.get("sidecar") in WRITTEN_SIDECARS:
        written["sidecar"] = options.pop("sidecar")
    layout: dict[str, Any] = {"chunks": chunks, "shards": shards}
    asked = {
        "version": ome_version,
        "scale_factors": scale_factors,
        "method": method,
        "profile": profile,
    }
    image: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if target != "ome-zarr":
        check_image_options(public_url(path), target, image)
    if target == "mrc":
        check_file_options(public_url(path), layout, zarr_format)
        check_suffix(path_of_url(path), "mrc" if format else None)
    else:
        check_group_options(public_url(path), mode, compression_level)
    if target == "ome-zarr" and zarr_format != 3:
        raise ValueError(
            f"zarr_format={zarr_format!r} was passed, but {public_url(path)} will be OME-Zarr, "
            f"whose version prescribes it; pass ome_version='0.4' for Zarr format 2"
        )
    group = find_group(src, source_storage_options)
    if group is not None and (target != "mrc" or options):
        raise ValueError(
            f"{public_url(group)} is a Zarr group, which can only be converted to an MRC file, "
            f"without options of reading ({', '.join(options) or 'none were passed'}); use "
            f"xarray.open_zarr for anything else"
        )
    packing: dict[str, Any] = {"compression": compression, "compression_level": compression_level}
    written |= {"overwrite": overwrite, "format": format, **packing}
    written["storage_options"] = storage_options
    if group is not None:
        to_mrc(open_group(group, StorageOptions(source_storage_options)), path, **written)
        return
    if target != "mrc":
        check_outside(src, path)
    src = open_remote_once(src, source_storage_options, options.pop("local_copy", None))
    if target != "mrc":
        dataset = open_dataset(src, options)
        layout |= {"compression": compression, "dtype": dtype}
        if target == "ome-zarr":
            job = plan_ome_zarr(dataset, image_name(path), **layout, **image)
        else:
            in_order = is_sequential(open_source(src))
            job = plan_group(dataset, **layout, zarr_format=zarr_format, in_order=in_order)
        if partition is None:
            run_job(job, path, overwrite=overwrite, options=storage)
        else:
            source = open_source(src)
            run_partition(job, path, partition, source, overwrite=overwrite, options=storage)
    elif options or "sidecar" in written or dtype is not None or mode is not None:
        truncated = options.get("truncated", "raise")
        like = open_file(src, ReadingOptions(truncated=truncated, extended_header="raw"))
        to_mrc(open_dataset(src, options), path, like=like, **written)
    else:
        recompress(src, path, overwrite=overwrite, options=storage, **packing)


def format_of(path: str) -> Format:
    """Return the format that the name of a target stands for."""
    name = path_of_url(path).lower().rstrip("/")
    if name.endswith(OME_SUFFIX):
        return "ome-zarr"
    return "zarr" if names_group(path) else "mrc"


def check_image_options(path: str, target: Format, image: Mapping[str, Any]) -> None:
    """Raise ValueError for options that only OME-Zarr has."""
    if image:
        names = ", ".join(f"{'ome_' * (name == 'version')}{name}=" for name in image)
        found = "an MRC file" if target == "mrc" else "a plain Zarr group"
        raise ValueError(
            f"{names} was passed, but {path} will be {found}; name it .ome.zarr, or pass "
            f"format='ome-zarr'"
        )


def check_file_options(path: str, layout: Mapping[str, Any], zarr_format: int) -> None:
    """Raise ValueError for options that only a Zarr group has."""
    if layout != {"chunks": None, "shards": "auto"} or zarr_format != 3:
        raise ValueError(
            f"chunks=, shards= or zarr_format= was passed, but {path} will be an MRC file; name it "
            f".zarr, or pass format='zarr'"
        )


def target_path(dst: str | os.PathLike[str], storage: StorageOptions) -> str:
    """Return the URL or absolute path of a target; raise if it cannot be written."""
    if not is_remote(dst):
        path = local_path(dst)
        if storage.others():
            raise TypeError(
                f"storage_options= is for the target, and {path} is local: pass the options of the "
                f"source as source_storage_options="
            )
        return path
    if not isinstance(dst, str):
        raise TypeError(
            f"a {type(dst).__name__} was found, expected a path, or a URL as a str with "
            f"storage_options="
        )
    return dst


def names_group(path: str) -> bool:
    """Return True if a path or URL has the name of a Zarr group."""
    return path_of_url(path).lower().rstrip("/").endswith(ZARR_SUFFIX)


def find_group(src: Openable, storage_options: Mapping[str, Any] | None) -> str | None:
    """Return the path or URL of a source that is a Zarr group; None of a file.

    Raises IsADirectoryError for another directory.
    """
    if not is_remote(src):
        if storage_options:
            raise ValueError(f"source_storage_options= was passed, but {src!s} is not remote")
        path = local_path(src) if isinstance(src, str | os.PathLike) else None
        return path if path is not None and holds_group(path) else None
    # Any other URL is that of a file, which a request for a group would only delay.
    if not isinstance(src, str) or not names_group(src):
        return None
    if src.lower().startswith(HTTP) and "?" in src:
        raise ValueError(
            f"{public_url(src)}: the URL has a query, which the URLs of the files in a Zarr group "
            f"cannot have; pass what the server needs as headers in source_storage_options="
        )
    return src if is_group(src, StorageOptions(storage_options)) else None


def open_remote_once(
    src: Openable, storage_options: Mapping[str, Any] | None, local_copy: Any
) -> Openable:
    """Return a remote file opened, for all that follows; another source as it is."""
    if not is_remote(src):
        return src
    head = open_head(src, storage_options=storage_options, local_copy=local_copy)
    return head.source.local_path or head


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


def open_dataset(src: Openable, options: dict[str, Any]) -> xr.Dataset:
    """Open an MRC file through xarray, which finds the engine by its name, without dask."""
    found: Any = src  # xarray's types do not include BinaryIO
    return xr.open_dataset(found, engine="mrc", **options)
