"""`append`: images after those of a stack, in place; the header that counts them comes last."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.containers import named_container
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics, grown_statistics
from xarray_mrc.dataset.axis_positions import VoxelSize
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.raw_records import raw_notes
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.reading.open_file import OpenedFile, open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.local_sink import BINARY, existing_file, is_named, lock
from xarray_mrc.storage.remote.urls import is_remote, public_url
from xarray_mrc.storage.source import local_path
from xarray_mrc.storage.target import NO_OPTIONS
from xarray_mrc.writing.block_writing import nonfinite_notes, write_blocks
from xarray_mrc.writing.blocks import Destination
from xarray_mrc.writing.growing_sidecar import grown_sidecar
from xarray_mrc.writing.growth_plan import Growth, plan_growth, plan_stack
from xarray_mrc.writing.header_edit import write_in_place
from xarray_mrc.writing.region import check_in_place
from xarray_mrc.writing.writer import warn_of_losses, write_new

__all__ = ["append"]


def append(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    voxel_size: VoxelSize | None = None,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    labels: str | Sequence[str] | None = None,
    sidecar: WrittenSidecar | None = None,
    reserve: int = 1024,
    stats: bool = True,
) -> int:
    """Append images to a stack, in place, or begin the stack with them.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        One image ``(y, x)``, or several along another dimension; for a stack of volumes one volume
        or several.
    path : str or os.PathLike
        The file, which must not be compressed. If it is not there, it is created.
    voxel_size : float, sequence of 3 floats or dict, optional
        Voxel size in angstrom, by default that of the coordinates. It must be that of the file.
    dtype : dtype, optional
        Data type to cast to; by default float64 becomes float32, complex128 complex64 and bool
        int8. It must be that of the file.
    mode : {0, 1, 2, 3, 4, 6, 12, 16, 101}, optional
        The data mode. It must be that of the file.
    labels : str or sequence of str, optional
        Labels of a new file.
    sidecar : {"mdoc", "rawtlt"}, optional
        Also write the metadata of the images exactly into ``PATH.mdoc``, or their tilt angles into
        ``PATH.rawtlt``: a new one with a new file, and else the one that describes the images that
        are there.
    reserve : int
        Number of images that a new file leaves room for in its section records, if the first images
        have a tilt angle or other metadata that these hold. The room cannot grow later.
    stats : bool
        Whether the images are measured, and the statistics of the header brought up to date. False
        makes them unknown.

    Returns
    -------
    int
        Number of images, or volumes, that the file has now.

    Raises
    ------
    ValueError
        The images differ from those of the file in size, data type, mode, voxel size or metadata,
        or the file cannot grow: it holds one volume, is compressed, or has no room for records.
    MrcError
        The file cannot be read, or ends before its data do.
    FileNotFoundError
        The file exists, but not the sidecar that was asked for.
    BlockingIOError
        Another program appends to the file at this moment.
    OSError
        The file cannot be written.

    Warns
    -----
    MrcWarning
        Once, if metadata of the images are rounded or lost, if values are not finite, or if bytes
        after the data are overwritten, as an interrupted call leaves them.

    Notes
    -----
    Data and records are on the disk before the header counts them, in one write. Until then, and if
    the call fails or its process is killed, the file is valid and has its old images; there may be
    bytes after them. Programs that have opened the file can go on reading. The old images are not
    read, so that the time does not depend on their number. The statistics of the header, where they
    were known, are merged with those of the new images.

    Examples
    --------
    >>> import tempfile
    >>> frame = xr.DataArray(np.zeros((4, 4), "i2"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [append(frame + n, f"{folder}/movie.mrcs", voxel_size=0.83) for n in range(3)]
    [1, 2, 3]
    """
    if is_remote(path):
        raise ValueError(
            f"{public_url(os.fspath(path))} is remote, where no file can grow: append to a local "
            f"file, and copy it when it is complete"
        )
    target = os.path.realpath(local_path(path))
    if named_container(target):
        raise ValueError(
            f"{target} would be a compressed file, which cannot grow: append to a plain one, and "
            f"compress it at the end with xarray_mrc.convert"
        )
    array = data_variable(obj)
    if not os.path.exists(target):
        options = {"voxel_size": voxel_size, "dtype": dtype, "mode": mode, "labels": labels}
        planned = plan_stack(array, target, reserve, sidecar=sidecar, **options)
        planned = replace(planned, notes=(*planned.notes, *raw_notes(obj)))
        beside = f"{target}.{sidecar}"
        write_new(planned, target, None, beside, NO_OPTIONS, stats=stats, overwrite=False)
        return planned.header.nz // planned.header.mz
    with locked(target) as descriptor:
        notes: list[str] = []
        reading = ReadingOptions(extended_header="common", sidecar=False)
        opened = open_file(target, reading, notes=notes)
        check_in_place(opened, target, mode)
        growth = plan_growth(array, opened, target, voxel_size, dtype, mode, sidecar)
        growth.notes.extend(raw_notes(obj))
        with grown_sidecar(target, sidecar, growth.sidecar, opened.header.nz):
            write_growth(growth, opened, target, descriptor, stats=stats)
    return growth.region[0].stop


@contextmanager
def locked(target: str) -> Iterator[int]:
    """Open a file that nobody else appends to meanwhile; yield its descriptor."""
    descriptor = os.open(target, os.O_RDWR | BINARY)
    try:
        if lock(descriptor) is False:
            raise BlockingIOError(
                errno.EAGAIN, "another program appends to it: try again when that is done", target
            )
        if not is_named(target, descriptor):
            raise MrcChangedError(f"{target} was replaced by another program: try again")
        yield descriptor
    finally:
        os.close(descriptor)


def write_growth(
    growth: Growth, opened: OpenedFile, target: str, descriptor: int, *, stats: bool
) -> None:
    """Write data and records, wait for the disk, and then write the header.

    After an error the file ends with its old data, unless a thread is still writing its block.
    """
    header, layout = opened.header, opened.array.layout
    sink = existing_file(target)
    destination = Destination(sink, growth.layout, stats=stats, region=growth.region)
    try:
        os.truncate(descriptor, layout.end)
        found = write_blocks(growth.data, destination).statistics
        warn_of_losses(target, [*growth.notes, *nonfinite_notes(found)])
        if growth.records:
            place = HEADER_SIZE + header.nz * header.nint
            sink.write_ranges([(place, growth.records)])
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.truncate(descriptor, layout.end)
        raise
    write_in_place(target, header, with_statistics(growth.header, header, layout, found).raw)


def with_statistics(new: Header, old: Header, layout: Layout, found: Statistics) -> Header:
    """Return a header with the statistics of all data: the old ones as the header states them."""
    count = int(np.prod(layout.shape, dtype=np.int64))
    return new.replace(**grown_statistics(old, count, found))
