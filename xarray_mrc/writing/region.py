"""Write into a part of an existing file, in place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.header import IMOD_STAMP, Header
from xarray_mrc.codec.layout import Kind, Layout
from xarray_mrc.codec.samples import find_sample
from xarray_mrc.codec.statistics import UNKNOWN
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.lazy_variable import find_array
from xarray_mrc.dataset.mode_choice import DEFAULT_CASTS, choose_sample
from xarray_mrc.reading.open_file import OpenedFile, open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.local_sink import existing_file, temporary_file
from xarray_mrc.storage.protocol import Source, split_parts
from xarray_mrc.storage.source import open_source
from xarray_mrc.writing.block_writing import (
    is_small,
    warn_nonfinite,
    write_blocks,
    write_blocks_later,
    write_statistics,
)
from xarray_mrc.writing.blocks import Destination

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["Region", "write_region"]

Region = Mapping[Any, "slice | int"]
MAX_COPY_NBYTES = 16 * 2**20  # at a time


def write_region(
    obj: xr.Dataset | xr.DataArray,
    target: str,
    region: Region,
    dtype: DTypeLike | None,
    mode: int | None,
    kind: Kind | None,
    *,
    stats: bool,
    compute: bool,
) -> Delayed | None:
    """Write into a part of an existing file; the parameters are those of `xarray_mrc.to_mrc`."""
    opened = open_file(target, ReadingOptions(kind=kind or "auto", extended_header="none"))
    header, layout = opened.header, opened.array.layout
    check_in_place(opened, target, mode)
    array = data_variable(obj)
    check_dtype(array, dtype, header, layout, target)
    array, parts = match_file(array, region, layout, target)
    ranges = find_ranges(array, parts, layout)
    check_shared_bytes(ranges, layout)
    dims = [dim for _, dim in sorted(zip(layout.axes, layout.dims, strict=True))]
    whole = stats and array.shape == layout.shape
    sink = existing_file(target)
    part = tuple(ranges[dim] for dim in dims)
    destination = Destination(sink, layout, stats=whole, region=part)
    data = array.variable.transpose(*dims)
    if is_read_from(data, target):
        if not compute:
            raise ValueError(
                f"compute=False cannot write data that are read from {target} itself; load them "
                f"first, or drop compute=False"
            )
        with temporary_file(target) as (draft, _):
            found = write_blocks(data, replace(destination, sink=draft)).statistics
            write_statistics(sink, header, None)
            copy_region(open_source(draft.part, memmap=False), destination)
    else:
        # From the first written byte on the header is wrong, also if the writing is interrupted.
        write_statistics(sink, header, None)
        if not compute:
            return write_blocks_later(data, destination, sink, header)
        found = write_blocks(data, destination).statistics
    write_statistics(sink, header, found if whole else None)
    warn_nonfinite(target, found)
    return None


def is_read_from(data: xr.Variable, target: str) -> bool:
    """Return True if blocks of data that are written to a file are known to be read from it.

    Blocks that are written first would change what later ones read, unless each reads only its own
    place, which a dask graph does not show.
    """
    if is_small(data):  # it is loaded before anything is written
        return False
    arrays = [data] if data.chunks is None else arrays_in_graph(data.data)
    read = {path for array in filter(None, map(find_array, arrays)) for path in array.paths}
    return any(os.path.realpath(path) == target for path in read)


def arrays_in_graph(blocks: Any) -> Iterator[Any]:
    """Yield the objects from which the blocks of a dask array may be cut, and other objects.

    An array of the package dask-array is an expression. Its graph is made when it is computed.
    """
    from dask.blockwise import Blockwise
    from dask.highlevelgraph import MaterializedLayer

    if hasattr(blocks, "expr"):
        for expression in blocks.expr.walk():
            for operand in expression.operands:
                yield from whole_nodes(operand) if isinstance(operand, Mapping) else [operand]
        return
    for layer in blocks.__dask_graph__().layers.values():
        if isinstance(layer, MaterializedLayer):
            yield from whole_nodes(layer)
        elif isinstance(layer, Blockwise):  # the array itself with inline_array=True
            yield from (value for value, index in layer.indices if index is None)


def whole_nodes(graph: Mapping[Any, Any]) -> Iterator[Any]:
    """Yield the values in a graph that are not blocks: the keys of blocks are tuples."""
    return (getattr(node, "value", node) for key, node in graph.items() if isinstance(key, str))


def copy_region(source: Source, destination: Destination) -> None:
    """Copy the bytes of a region from another file, where they have the same offsets."""
    starts = [positions.start for positions in destination.ranges]
    box = destination.box_of(starts, [len(positions) for positions in destination.ranges])
    for slab in destination.layout.slabs(MAX_COPY_NBYTES, box):
        ranges = list(destination.layout.byte_ranges(slab))
        _, parts = split_parts(ranges)
        source.read_ranges(parts)
        destination.sink.write_ranges(parts)


def check_in_place(opened: OpenedFile, target: str, mode: int | None) -> None:
    """Raise ValueError if parts of a file cannot be written in place."""
    header, layout = opened.header, opened.array.layout
    if not isinstance(opened.array.source, LocalSource):
        raise ValueError(  # noqa: TRY004  the file is wrong, not the type
            f"{target} is compressed, so that no part of it can be written in place"
        )
    if mode not in (None, header.mode):
        raise ValueError(f"mode={mode} was passed, but {target} has mode {header.mode}")
    if find_sample(header.replace(**UNKNOWN)) != layout.sample:
        raise ValueError(
            f"{target}: only its statistics show that its bytes are unsigned, and they would no "
            f"longer be right; first call xarray_mrc.edit_header(path, imod_stamp={IMOD_STAMP}, "
            f"imod_flags=4)"
        )


def check_dtype(
    array: xr.DataArray, dtype: DTypeLike | None, header: Header, layout: Layout, target: str
) -> None:
    """Raise ValueError if the data type is not that of the file, nor cast to it by default."""
    found = array.dtype if dtype is None else np.dtype(dtype)
    code = found.str[1:]
    if found != layout.dtype and (
        dtype is not None or np.dtype(DEFAULT_CASTS.get(code, code)) != layout.dtype
    ):
        raise ValueError(
            f"the data type is {found}, but {target} holds {layout.dtype}: cast it with "
            f".astype({str(layout.dtype)!r}), or pass dtype={str(layout.dtype)!r}"
        )
    choose_sample(array, dtype, header.mode)  # refuses data that no cast makes numbers of the file


def match_file(
    array: xr.DataArray, region: Region, layout: Layout, target: str
) -> tuple[xr.DataArray, dict[Any, slice | int]]:
    """Return the array and the region with the dimensions of the file.

    The slow dimension of an image stack may have any name but z and volume. A dimension along which
    the region has length 1 may be missing, as that of the one image which is written.
    """
    if not isinstance(region, Mapping):
        raise TypeError(f"region={region!r}, expected a dict such as {{'z': slice(0, 10)}}")
    parts: dict[Any, slice | int] = dict(region)
    extra = [dim for dim in array.dims if dim not in layout.dims]
    if len(extra) == 1 and "image" in layout.dims and "image" not in array.dims:
        (slow,) = extra
        if slow not in ("z", "volume"):
            array = array.rename({slow: "image"}) if "image" not in array.coords else array
            if slow in parts:
                parts["image"] = parts.pop(slow)
    for dim, length in zip(layout.dims, layout.shape, strict=True):
        if dim not in array.dims and dim in parts and len(range_of(dim, parts[dim], length)) == 1:
            array = array.drop_vars(dim, errors="ignore").expand_dims(dim)
    if set(array.dims) != set(layout.dims) or not set(parts) <= set(layout.dims):
        raise ValueError(
            f"the dimensions are {tuple(array.dims)}, and {tuple(region)} in region=, but "
            f"{target} has {layout.dims}: rename them, or pass kind=. A dimension may be missing "
            f"if region= has length 1 along it"
        )
    return array.transpose(*layout.dims), parts


def find_ranges(array: xr.DataArray, region: Region, layout: Layout) -> dict[str, range]:
    """Return the positions along each dimension of the file; ValueError if the data do not fit."""
    ranges = {
        dim: range_of(dim, region.get(dim), length)
        for dim, length in zip(layout.dims, layout.shape, strict=True)
    }
    wanted = {dim: len(positions) for dim, positions in ranges.items()}
    if wanted != dict(array.sizes):
        raise ValueError(f"region= is {wanted} long, but the data are {dict(array.sizes)}")
    return ranges


def range_of(dim: str, part: object, length: int) -> range:
    """Return the positions of a part along a dimension."""
    if part is None:
        return range(length)
    if isinstance(part, int | np.integer) and not isinstance(part, bool):
        if not -length <= part < length:
            raise ValueError(f"region= has {part} along {dim}, which is {length} long in the file")
        start = int(part) % length
        return range(start, start + 1)
    if not isinstance(part, slice) or part.step not in (None, 1):
        raise ValueError(
            f"region= has {part!r} along {dim}, expected an integer or a slice without a step"
        )
    found = range(*part.indices(length))
    if not found or (part.stop is not None and part.stop > length):
        raise ValueError(f"region= has {part!r} along {dim}, which is {length} long in the file")
    return found


def check_shared_bytes(ranges: Mapping[str, range], layout: Layout) -> None:
    """Raise ValueError if a byte holds a pixel of the region and another one."""
    by_axis = dict(zip(layout.axes, layout.dims, strict=True))
    columns = ranges[by_axis[3]]
    ends_within = columns.stop % 2 and columns.stop < layout.stored[3]
    if layout.sample.packed and (columns.start % 2 or ends_within):
        raise ValueError(
            f"region= has columns {columns.start} to {columns.stop}, but two pixels share a byte; "
            f"expected even columns at both ends"
        )
