"""`to_mrc`: write an xarray object to a file, in parallel, in bounded memory, atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.layout import Kind
from xarray_mrc.codec.statistics import Statistics
from xarray_mrc.dataset.axis_positions import VoxelSize
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.from_file import file_of
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.dataset.to_file import FilePlan, plan_file
from xarray_mrc.errors import warn
from xarray_mrc.reading.open_file import OpenedFile, open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.compressed.encoders import Encoder
from xarray_mrc.storage.compressed.members import join_pieces, plain_file
from xarray_mrc.storage.local_sink import existing_file, new_file
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import FsspecFile, is_remote, path_of_url, public_url
from xarray_mrc.storage.source import local_path, open_source
from xarray_mrc.storage.target import NO_OPTIONS, check_free, open_target
from xarray_mrc.writing.block_writing import (
    is_small,
    nonfinite_notes,
    write_blocks,
    write_blocks_later,
)
from xarray_mrc.writing.blocks import Destination, split_into_blocks
from xarray_mrc.writing.copy_file import copy_file
from xarray_mrc.writing.region import write_region
from xarray_mrc.writing.target import (
    Compression,
    MrcFormat,
    check_suffix,
    choose_encoder,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["to_mrc"]

Like = str | os.PathLike[str] | FsspecFile | xr.Dataset | xr.DataArray | OpenedFile


def to_mrc(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    voxel_size: VoxelSize | None = None,
    like: Like | None = None,
    kind: Kind | None = None,
    compression: Compression = "infer",
    compression_level: int | None = None,
    labels: str | Sequence[str] | None = None,
    sidecar: WrittenSidecar | None = None,
    stats: bool = True,
    compute: bool = True,
    region: Mapping[str, slice | int] | None = None,
    format: MrcFormat = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write an object as an MRC file, block by block and in parallel.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object; of a Dataset the variable ``data``, or the only one. Dimensions are matched by
        name, in any order; unnamed ones by position.
    path : str or os.PathLike
        Path or URL of the file. In S3 each block is uploaded by the worker that has it; for other
        storages, and for compressed files, a local file is written first.
    overwrite : bool
        Whether an existing file may be replaced, even one from which the data are computed.
    dtype : dtype, optional
        Data type to cast to. A value that does not fit is an error. By default float64 becomes
        float32, complex128 complex64 and bool int8.
    mode : {0, 1, 2, 3, 4, 6, 12, 16, 101}, optional
        The data mode; by default that of the data type. Unsigned bytes are widened to mode 6,
        unless ``dtype="uint8"`` or ``mode=0`` keeps them with the flags of IMOD.
    voxel_size : float, sequence of 3 floats or dict, optional
        Voxel size in angstrom along x, y and z, instead of that of the coordinates. An axis of
        length 1 has that of x by default.
    like : str, os.PathLike, URL, fsspec.OpenFile, Dataset or DataArray, optional
        A file, or an object opened from one; ``fsspec.open(url, **options)`` for a URL that needs
        storage options. The extended header, labels, fields of IMOD and the
        unit cell of a crystal are copied from it.
    kind : {"image", "image_stack", "volume", "volume_stack"}, optional
        Kind of the data; by default the dimensions tell it.
    compression : {"infer", "gzip", "bzip2", "zstd"} or None
        "infer" goes by the suffix .gz, .bz2 or .zst.
    compression_level : int, optional
        From 1, the fastest, to 9, for zstd to 22. By default 3 for zstd and 9 for bzip2; gzip
        compresses densities fast, and masks as well as level 6.
    labels : str or sequence of str, optional
        Labels (a str has one a line) instead of those of the attribute ``mrc_labels``. One that
        names this package is added if there is room.
    sidecar : {"mdoc", "rawtlt"}, optional
        Also write the metadata of the images of a stack exactly: tilt angles, stage positions,
        doses, times, paths of movies and, if they were read with ``extended_header="all"``, all
        other keys into ``PATH.mdoc``, or the tilt angles into ``PATH.rawtlt``. The extended header
        holds some of them, rounded.
    stats : bool
        Whether the data are measured, and the header states their statistics.
    compute : bool
        False: write only the headers and reserve the size, and return a delayed object that writes
        the data.
    region : mapping of str to slice or int, optional
        Write into this part of an existing file, in place: positions by dimension. The data need
        not have a dimension along which the part has length 1, as in ``region={"image": 3}``. Only
        the statistics of the header change; coordinates and `overwrite` are ignored.
    format : {"mrc"}, optional
        Write an MRC file even if the suffix of `path` names another format.
    storage_options : mapping, optional
        How the storage of a URL is reached, as fsspec's file system for it takes them.

    Returns
    -------
    dask.delayed.Delayed or None
        With ``compute=False`` the object that writes the data when it is computed.

    Raises
    ------
    ValueError
        MRC cannot hold the object, or not in this mode. The file is not touched; but of a region,
        parts whose values fit may be written.
    FileExistsError
        The file exists.
    OSError
        The file cannot be written. An existing file is unchanged.

    Warns
    -----
    MrcWarning
        Once, if the file does not hold all positions or metadata of the object, or if values are
        nan or infinite.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray_mrc
    >>> array = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("z", "y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_mrc(array, folder + "/a.mrc", voxel_size=1.35)
    ...     xarray_mrc.read_header(folder + "/a.mrc").voxel_size
    (1.35, 1.35, 1.35)
    """
    storage = StorageOptions(storage_options)
    target = target_of(path, storage)
    if region is not None:
        options = {
            "voxel_size": voxel_size, "like": like, "labels": labels, "sidecar": sidecar,
            "compression": None if compression == "infer" else compression,
            "compression_level": compression_level,
        }  # fmt: skip
        check_region_options(options)
        if is_remote(target):
            raise ValueError(
                f"region= was passed, but {public_url(target)} is remote, where no part of a file "
                f"can be replaced: write the whole file"
            )
        return write_region(obj, target, region, dtype, mode, kind, stats=stats, compute=compute)
    name = path_of_url(target)
    check_suffix(name, format)
    check_free(target, storage, overwrite=overwrite)
    beside = f"{target}.{sidecar}"
    if sidecar is not None:
        check_free(beside, storage, overwrite=overwrite)
    encoder = choose_encoder(compression, name, compression_level)
    if not compute:
        check_delayed(target, encoder)
    like_notes: list[str] = []
    planned = plan_file(
        obj,
        target=public_url(target) if is_remote(target) else target,
        dtype=dtype,
        mode=mode,
        voxel_size=voxel_size,
        like=open_like(like, like_notes),
        kind=kind,
        labels=labels,
        sidecar=sidecar,
    )
    planned = replace(planned, notes=(*planned.notes, *like_notes))
    if not compute:
        with (
            sidecar_of(planned, beside, overwrite=overwrite),
            new_file(target, nbytes=planned.layout.end) as new,
        ):
            warn_of_losses(target, planned.notes)
            new.finish(planned.header.raw + planned.extended)
        sink = existing_file(target)
        destination = Destination(sink, planned.layout, stats=stats)
        return write_blocks_later(planned.data, destination, sink, planned.header)
    write_new(planned, target, encoder, beside, storage, stats=stats, overwrite=overwrite)
    return None


def target_of(path: str | os.PathLike[str], storage: StorageOptions) -> str:
    """Return the URL, or the absolute path that a link leads to."""
    if not is_remote(path):
        if storage.others():
            raise ValueError(
                f"storage_options= was passed, but {os.fsdecode(path)} is not remote, expected a "
                f"URL such as s3://...; for a file in like= pass fsspec.open(url, **options)"
            )
        return os.path.realpath(local_path(path))
    if not isinstance(path, str):
        raise TypeError(
            f"a {type(path).__name__} was found, expected a path, or a URL as a str with "
            f"storage_options="
        )
    return path


def check_region_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that a region does not have."""
    for name, value in options.items():
        if value is None:
            continue
        if name in ("compression", "compression_level"):
            raise ValueError(f"{name}={value!r} was passed, but region= writes into a plain file")
        raise ValueError(
            f"{name}= was passed, but region= leaves the header as it is: change it with "
            f"xarray_mrc.edit_header"
        )


def check_delayed(target: str, encoder: Encoder | None) -> None:
    """Raise if a file cannot be laid out before its data are written."""
    if is_remote(target):
        raise ValueError(
            f"compute=False was passed, but {public_url(target)} is remote, where no file can be "
            f"begun and filled later: delay the call itself"
        )
    if os.path.exists(target):
        raise FileExistsError(
            f"{target} exists, and with compute=False the data may have to be read from it later: "
            f"remove it first, or write to another path"
        )
    if encoder:
        raise ValueError(
            f"compute=False needs the file size in advance, which is unknown for a compressed file "
            f"({encoder.container}): write a plain file, or delay the call itself"
        )


def write_new(
    planned: FilePlan,
    target: str,
    encoder: Encoder | None,
    beside: str,
    storage: StorageOptions,
    *,
    stats: bool,
    overwrite: bool,
) -> None:
    """Write a new file and its sidecar; the warning comes before they appear."""
    layout, cuts = planned.layout, cuts_sections(planned)
    with (
        sidecar_of(planned, beside, storage, overwrite=overwrite),
        open_target(
            target,
            nbytes=0 if encoder else layout.end,
            overwrite=overwrite,
            has_pieces=encoder is not None,
            in_any_order=cuts,
            options=storage,
        ) as new,
    ):
        destination = Destination(new.sink, layout, stats=stats, encoder=encoder)
        if encoder and cuts:
            with plain_file(new.sink, layout.end) as plain:
                written = write_blocks(planned.data, replace(destination, sink=plain, encoder=None))
                head = header_bytes(planned, written.statistics, stats=stats)
                source = open_source(plain.part, memmap=False)
                receipt = copy_file(source, layout, new.sink, encoder, header=head)
            head = b""  # copied with the rest
        else:
            written = write_blocks(planned.data, destination)
            head = header_bytes(planned, written.statistics, stats=stats)
            receipt = written.receipt
            if encoder:
                head = b"".join(encoder.encode(head, len(head)))
                join_pieces(new.sink, head, piece_numbers(planned, destination), encoder.end())
        notes = [*planned.notes, *nonfinite_notes(written.statistics)]
        warn_of_losses(target, notes)
        new.finish(head, [receipt])


def cuts_sections(planned: FilePlan) -> bool:
    """Return True if chunks are smaller than a section, so that they cannot be compressed alone.

    Merging them would take the memory of all sections that a chunk is deep.
    """
    rows = planned.data.ndim - len(planned.layout.sample.trailing) - 2
    chunks = planned.data.chunks
    return chunks is not None and any(len(lengths) > 1 for lengths in chunks[rows : rows + 2])


def header_bytes(planned: FilePlan, found: Statistics, *, stats: bool) -> bytes:
    """Return header and extended header, which make the file valid."""
    return planned.header.replace(**(found.fields() if stats else {})).raw + planned.extended


def piece_numbers(planned: FilePlan, destination: Destination) -> Iterator[int]:
    """Yield the numbers of the compressed pieces in order: one piece a block, as `write_block`."""
    if is_small(planned.data):
        yield planned.layout.offset
        return
    chunks = split_into_blocks(planned.data, destination).chunks
    for position in product(*destination.starts(chunks)):
        yield destination.offset_of(position)


@contextmanager
def sidecar_of(
    planned: FilePlan, path: str, storage: StorageOptions = NO_OPTIONS, *, overwrite: bool
) -> Iterator[None]:
    """Write the sidecar, if there is one; it appears at the end of the context.

    The file itself appears just before, inside the context, once it is complete. If it were to fail
    after the sidecar had been replaced, the old file would get metadata that are not its own.
    """
    if not planned.sidecar:
        yield
        return
    with open_target(path, overwrite=overwrite, options=storage) as new:
        yield
        new.finish(planned.sidecar.encode())


def warn_of_losses(target: str, notes: Sequence[str]) -> None:
    """Issue the one warning of a call: what the file does not hold, and non-finite values."""
    if notes:
        warn(f"{public_url(target) if is_remote(target) else target}: " + "; ".join(notes))


def open_like(like: Like | None, notes: list[str]) -> OpenedFile | None:
    """Open the file to copy from, if it is not open yet; `notes` takes what is odd in it."""
    if like is None or isinstance(like, OpenedFile):
        return like
    path: Any = like
    if isinstance(like, xr.Dataset | xr.DataArray):
        try:
            path = file_of(data_variable(like))
        except ValueError:
            raise ValueError(
                "like= is an object that does not know its file, expected one opened from a path "
                "or URL and not computed with: pass the path"
            ) from None
    return open_file(path, ReadingOptions(extended_header="raw"), notes=notes)
