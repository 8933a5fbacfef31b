"""`to_mrc`: an object of xarray to a file, in parallel, in bounded memory, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.containers import named_container
from xarray_mrc.codec.header import IMOD_STAMP, Header
from xarray_mrc.codec.layout import Kind
from xarray_mrc.codec.samples import find_sample
from xarray_mrc.codec.statistics import UNKNOWN, Statistics
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.positions import VoxelSize
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.dataset.to_file import FilePlan, choose_sample, plan_file
from xarray_mrc.errors import warn
from xarray_mrc.reading.open_file import OpenedFile, open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.compressed.encoders import Encoder, encoder_for
from xarray_mrc.storage.compressed.members import join_pieces, plain_file
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.sink import Sink, already_exists, existing_file, new_file
from xarray_mrc.storage.source import local_path, open_source
from xarray_mrc.writing.blocks import Destination, blocks_of, write_block
from xarray_mrc.writing.copy_file import copy_file

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["to_mrc"]

Compression = Literal["infer", "gzip", "bzip2", "zstd"] | None
# The bytes of the header that state the statistics.
STATISTICS_RANGES = ((76, 88), (216, 220))
# Data in memory of at most this size are written without dask.
SMALL_NBYTES = 64 * 2**20


def to_mrc(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    voxel_size: VoxelSize | None = None,
    like: str | os.PathLike[str] | xr.Dataset | xr.DataArray | OpenedFile | None = None,
    kind: Kind | None = None,
    compression: Compression = "infer",
    labels: str | Sequence[str] | None = None,
    sidecar: WrittenSidecar | None = None,
    stats: bool = True,
    compute: bool = True,
    region: Mapping[str, slice] | None = None,
) -> Delayed | None:
    """Write an object as an MRC file, block by block and in parallel.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        What is written; of a Dataset the variable ``data``, or the only one. Dimensions are matched
        by name, in any order; unnamed ones by position.
    path : str, os.PathLike or file URL
        Where the file will be.
    overwrite : bool
        Whether a file that is there may be replaced, even one that the data are computed from.
    dtype : dtype, optional
        Cast to this data type first; what does not fit is an error.
    mode : {0, 1, 2, 3, 4, 6, 12, 16, 101}, optional
        The data mode; by default that of the data type. Unsigned bytes are widened to mode 6,
        unless ``mode=0`` keeps them with the flags of IMOD.
    voxel_size : float, sequence of 3 floats or dict, optional
        Voxel size in angstrom (of x, y, z), instead of what the coordinates say. An axis of length
        1 has that of x by default.
    like : str, os.PathLike, Dataset or DataArray, optional
        A file, or an object opened from one, to copy from what coordinates and attributes do not
        carry: extended header, labels, fields of IMOD, the unit cell of a crystal.
    kind : {"image", "image_stack", "volume", "volume_stack"}, optional
        What the data are; by default the dimensions say it.
    compression : {"infer", "gzip", "bzip2", "zstd"} or None
        "infer" goes by the suffix .gz, .bz2 or .zst.
    labels : str or sequence of str, optional
        Labels (a str has one a line) instead of those of the attribute ``mrc_labels``. One that
        names this package is added where there is room.
    sidecar : {"mdoc", "rawtlt"}, optional
        Also write the metadata of the images of a stack exactly: tilt angles, stage positions,
        doses, times and others into ``PATH.mdoc``, or the tilt angles into ``PATH.rawtlt``. The
        extended header holds some of them, rounded.
    stats : bool
        Whether the header states the statistics.
    compute : bool
        False: lay down the header and the size only, and return the rest for later.
    region : mapping of str to slice, optional
        Write into this part of a file that is there, in place. Of its header only the statistics
        change; coordinates are not looked at, nor `overwrite`.

    Returns
    -------
    dask.delayed.Delayed or None
        With ``compute=False`` what writes the data when it is computed.

    Raises
    ------
    ValueError
        MRC can't hold the object, or not in this mode. Nothing was touched; but of a region those
        parts may be written whose values fit.
    FileExistsError
        The file is there.
    OSError
        It can't be written. A file that was there is as it was.

    Examples
    --------
    >>> import tempfile, xarray_mrc
    >>> array = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("z", "y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_mrc(array, folder + "/a.mrc", voxel_size=1.35)
    ...     xarray_mrc.read_header(folder + "/a.mrc").voxel_size
    (1.35, 1.35, 1.35)
    """
    target = os.path.realpath(local_path(path))
    if region is not None:
        if any(option is not None for option in (voxel_size, like, labels, sidecar)):
            raise ValueError(
                "voxel_size=, like=, labels= or sidecar= was passed, but region= leaves the header "
                "as it is: change it with xarray_mrc.edit_header"
            )
        if compression not in ("infer", None):
            raise ValueError(
                f"compression={compression!r} was passed, but region= writes into a plain file"
            )
        return write_region(obj, target, region, dtype, mode, kind, stats=stats, compute=compute)
    if os.path.exists(target) and not overwrite:
        raise already_exists(target)
    if os.path.exists(target) and not compute:
        raise FileExistsError(
            f"{target} exists, and the data may have to be read from it, when compute=False writes "
            f"them later: remove it first, or write to another path"
        )
    encoder = encoder_of(compression, target)
    if encoder and not compute:
        raise ValueError(
            f"compute=False can't lay down a compressed file ({encoder.container}), whose size is "
            f"not known before: write a plain file, or delay the call itself"
        )
    beside = f"{target}.{sidecar}"
    if sidecar is not None and os.path.exists(beside) and not overwrite:
        raise already_exists(beside)
    planned = plan_file(
        obj,
        target=target,
        dtype=dtype,
        mode=mode,
        voxel_size=voxel_size,
        like=open_like(like),
        kind=kind,
        labels=labels,
        sidecar=sidecar,
    )
    layout, raw = planned.layout, planned.header.raw + planned.extended
    if not compute:
        with new_file(target, nbytes=layout.end) as sink:
            sink.write(0, raw)
            finish_beside(planned, target, beside, overwrite=overwrite)
        place = Destination(existing_file(target), layout, stats=stats)
        return write_later(planned.data, place, planned.header, whole=stats)
    size = 0 if encoder else layout.end
    with new_file(target, nbytes=size, overwrite=overwrite, has_pieces=encoder is not None) as sink:
        if encoder and cuts_sections(planned):
            with plain_file(sink, layout.end) as plain:
                write(planned, Destination(plain, layout, stats=stats))
                copy_file(open_source(plain.part, memmap=False), layout, sink, encoder)
        else:
            write(planned, Destination(sink, layout, stats=stats, encoder=encoder))
        finish_beside(planned, target, beside, overwrite=overwrite)
    return None


def finish_beside(planned: FilePlan, target: str, beside: str, *, overwrite: bool) -> None:
    """Issue the one warning and write the sidecar, before the file takes its place."""
    if planned.notes:
        warn(f"{target}: " + "; ".join(planned.notes))
    if planned.sidecar:
        with new_file(beside, overwrite=overwrite) as sink:
            sink.write_in_order([planned.sidecar.encode()])


def cuts_sections(planned: FilePlan) -> bool:
    """Whether there are chunks of less than a section, which can't be packed each for itself.

    To bring them together would take the memory of all sections that a chunk is deep.
    """
    rows = planned.data.ndim - len(planned.layout.sample.trailing) - 2
    chunks = planned.data.chunks
    return chunks is not None and any(len(lengths) > 1 for lengths in chunks[rows : rows + 2])


def write(planned: FilePlan, place: Destination) -> None:
    """Write a whole file, its headers last."""
    finish(planned, place, write_data(planned.data, place))


def encoder_of(compression: Compression, target: str) -> Encoder | None:
    """Give what packs the file, or None if it is plain."""
    container = named_container(target) if compression == "infer" else compression
    return encoder_for(container) if container else None


def open_like(
    like: str | os.PathLike[str] | xr.Dataset | xr.DataArray | OpenedFile | None,
) -> OpenedFile | None:
    """Open the file to copy from, if it is not open yet."""
    if like is None or isinstance(like, OpenedFile):
        return like
    path: Any = like
    if isinstance(like, xr.Dataset | xr.DataArray):
        path = data_variable(like).encoding.get("source")
        if path is None:
            raise ValueError(
                "like= is an object that does not know its file, expected one opened from a local "
                "path and not computed with: pass the path"
            )
    return open_file(path, ReadingOptions(extended_header="raw"))


def write_data(data: xr.Variable, place: Destination) -> Statistics:
    """Write all blocks, and give the statistics of all."""
    if data.chunks is None and data.nbytes <= SMALL_NBYTES:
        starts = place.starts(tuple((length,) for length in data.shape))
        block = data.to_numpy()
        return merged(write_block(block, place=place, starts=starts, block_id=(0,) * data.ndim))
    import dask

    # What is in this process is not sent to others to be written.
    options = {"scheduler": "threads"} if data.chunks is None else {}
    (found,) = dask.compute(tasks(data, place), **options)
    return merged(found)


def tasks(data: xr.Variable, place: Destination) -> Any:
    """Make one task a block, each of which gives statistics: a dask array of them."""
    import dask.array as da

    blocks = blocks_of(data, place)
    return da.map_blocks(
        write_block,
        blocks,
        place=place,
        starts=place.starts(blocks.chunks),
        chunks=tuple((1,) * len(lengths) for lengths in blocks.chunks),
        dtype=object,
        meta=np.empty((0,) * blocks.ndim, object),
    )


def merged(found: Any) -> Statistics:
    """Merge the statistics of all blocks."""
    return reduce(Statistics.merge, found.reshape(-1), Statistics())


def finish(planned: FilePlan, place: Destination, found: Statistics) -> None:
    """Write the headers, with the statistics, when all data are written."""
    header = planned.header.replace(**(found.fields() if place.stats else UNKNOWN))
    raw = header.raw + planned.extended
    if place.encoder is None:
        place.sink.write(0, raw)
        return
    if planned.data.chunks is None and planned.data.nbytes <= SMALL_NBYTES:
        numbers = [planned.layout.offset]
    else:
        chunks = blocks_of(planned.data, place).chunks
        starts = product(*place.starts(chunks))
        numbers = [place.offset_of(begin) for begin in starts]
    head = place.encoder.encode(raw, len(raw))
    join_pieces(place.sink, head, numbers, place.encoder.end())


def write_region(
    obj: xr.Dataset | xr.DataArray,
    target: str,
    region: Mapping[str, slice],
    dtype: DTypeLike | None,
    mode: int | None,
    kind: Kind | None,
    *,
    stats: bool,
    compute: bool,
) -> Delayed | None:
    """Write into a part of a file that is there; the parameters are those of `to_mrc`."""
    opened = open_file(target, ReadingOptions(kind=kind or "auto", extended_header="none"))
    header, layout = opened.header, opened.array.layout
    if not isinstance(opened.array.source, LocalSource):
        raise ValueError(  # noqa: TRY004  it is the file that is wrong, not the type
            f"{target} is compressed, so that no part of it can be written in place"
        )
    if mode not in (None, header.mode):
        raise ValueError(f"mode={mode} was asked for, but {target} has mode {header.mode}")
    if find_sample(header.replace(**UNKNOWN)) != layout.sample:
        raise ValueError(
            f"that the bytes of {target} are unsigned is known by its statistics alone, which "
            f"would not be right any more: say so first, with xarray_mrc.edit_header(path, "
            f"imod_stamp={IMOD_STAMP}, imod_flags=4)"
        )
    array = data_variable(obj)
    if (array.dtype if dtype is None else np.dtype(dtype)) != layout.dtype:
        raise ValueError(
            f"the data type is {array.dtype}, but {target} holds {layout.dtype}: cast it with "
            f".astype({str(layout.dtype)!r}), or pass dtype={str(layout.dtype)!r}"
        )
    choose_sample(array, dtype, header.mode)  # refuses what no cast makes numbers of the file
    if set(array.dims) != set(layout.dims) or not set(region) <= set(layout.dims):
        raise ValueError(
            f"the dimensions are {tuple(array.dims)}, and {tuple(region)} in region=, but "
            f"{target} has {layout.dims}: rename them, or pass kind="
        )
    lengths = dict(zip(layout.dims, layout.shape, strict=True))
    ranges = {dim: range_of(dim, region.get(dim), size) for dim, size in lengths.items()}
    wanted = {dim: len(found) for dim, found in ranges.items()}
    if wanted != dict(array.sizes):
        raise ValueError(f"region= is {wanted} long, but the data are {dict(array.sizes)}")
    dims = [dim for _, dim in sorted(zip(layout.axes, layout.dims, strict=True))]
    # The columns of the file.
    columns = ranges[dims[-1 - len(layout.sample.trailing)]]
    odd_end = columns.stop % 2 and columns.stop < layout.stored[3]
    if layout.sample.packed and (columns.start % 2 or odd_end):
        raise ValueError("two pixels share a byte: region= has to begin and end at even columns")
    whole = stats and wanted == lengths
    data = array.variable.transpose(*dims)
    file = existing_file(target)
    place = Destination(file, layout, stats=whole, region=tuple(ranges[dim] for dim in dims))
    # From here on until all is written, nobody knows them.
    state(place.sink, header, UNKNOWN)
    if not compute:
        return write_later(data, place, header, whole=whole)
    found = write_data(data, place)
    state(place.sink, header, found.fields() if whole else UNKNOWN)
    return None


def range_of(dim: str, part: object, length: int) -> range:
    """Give the positions of a part along a dimension."""
    if part is None:
        return range(length)
    if not isinstance(part, slice) or part.step not in (None, 1):
        raise ValueError(f"region= has {part!r} along {dim}, expected a slice without a step")
    found = range(*part.indices(length))
    if not found or (part.stop is not None and part.stop > length):
        raise ValueError(f"region= has {part!r} along {dim}, which is {length} long in the file")
    return found


def write_later(data: xr.Variable, place: Destination, header: Header, *, whole: bool) -> Delayed:
    """Give what writes the data and then their statistics, when it is computed."""
    import dask

    # What takes the array in would not bring its tasks together.
    (found,) = dask.optimize(tasks(data, place))
    later: Delayed = dask.delayed(state_found, pure=False)(found, place.sink, header, whole=whole)
    return later


def state_found(found: Any, sink: Sink, header: Header, *, whole: bool) -> None:
    """Write the statistics of all blocks into the header, if these are all of the file."""
    state(sink, header, merged(found).fields() if whole else UNKNOWN)


def state(sink: Sink, header: Header, fields: dict[str, float]) -> None:
    """Write statistics into the header of a file, and wait until it is on the disk."""
    raw = header.replace(**fields).raw
    sink.write_ranges((start, raw[start:end]) for start, end in STATISTICS_RANGES)
    sink.sync()
