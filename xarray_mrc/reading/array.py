"""`MrcArray`: the data of a file as a lazy array with numpy's indexing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout
from xarray_mrc.reading import buffers
from xarray_mrc.reading.selection import Plan, plan
from xarray_mrc.storage.protocol import (
    AsyncSource,
    MappedSource,
    Parts,
    Source,
    StreamSource,
    split_parts,
)

__all__ = ["MrcArray"]

# Smaller results are read even if the source offers maps: making a map costs more.
MIN_VIEW_NBYTES = 16 * 2**20
# Single pixels that are read at a time: bounds the memory for their offsets.
MAX_POINTS = 2**14


@dataclass(frozen=True, slots=True)
class MrcArray:
    """The data of an MRC file, read when they are indexed.

    A small picklable value that holds nothing open. Indexing is outer: a list selects along its own
    axis. Results are in native byte order.

    Parameters
    ----------
    source : Source
        The bytes of the file.
    layout : Layout
        How the pixels lie in them.

    Notes
    -----
    Indexing returns new memory that later changes to the file do not affect. Only `read` may return
    a map, to a caller that uses the result at once and drops it.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> from xarray_mrc.storage import open_source
    >>> header = Header.blank().replace(nx=3, ny=2, nz=1, ispg=0)
    >>> array = MrcArray(open_source(header.raw + bytes(range(6))), Layout.from_header(header))
    >>> array[::-1, [2, 0]].tolist()
    [[5, 3], [2, 0]]
    """

    source: Source
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.layout.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self.layout.dtype

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of the local file that is read; none of other sources."""
        path = self.source.local_path
        return () if path is None else (path,)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self.read(key)

    def read(self, key: Any, *, transient: bool = False) -> NDArray[Any]:
        """Read a selection.

        Parameters
        ----------
        key : index
            Integers, slices, lists of integers and an ellipsis, as for indexing.
        transient : bool
            Whether the result is used at once and dropped. Then a byte range of 16 MiB or more that
            is not the whole data is a private copy-on-write map of the file.

        Returns
        -------
        ndarray
            In native byte order.

        Examples
        --------
        >>> from xarray_mrc.codec.header import Header
        >>> from xarray_mrc.storage import open_source
        >>> header = Header.blank().replace(nx=3, ny=2, nz=1, ispg=0)
        >>> array = MrcArray(open_source(header.raw + bytes(range(6))), Layout.from_header(header))
        >>> array.read((1, slice(None))).tolist()
        [3, 4, 5]
        """
        chosen = plan(self.layout, key)
        pixels = self._map(chosen, transient=transient)
        if pixels is None:
            pixels = buffers.empty(chosen.shape, self.dtype)
            for parts in self._steps(chosen, pixels):
                self.source.read_ranges(parts)
        if isinstance(self.source, StreamSource) and chosen.reaches_end:
            self.source.verify_trailer(self.layout.end)
        return chosen.to_result(pixels)

    async def read_async(self, key: Any) -> NDArray[Any]:
        """Read a selection while the event loop runs on, on another thread if need be."""
        if not isinstance(self.source, AsyncSource) or isinstance(self.source, StreamSource):
            import asyncio  # a tenth of the start of the command line

            return await asyncio.to_thread(self.read, key)
        chosen = plan(self.layout, key)
        pixels = buffers.empty(chosen.shape, self.dtype)
        for parts in self._steps(chosen, pixels):
            await self.source.aread_ranges(parts)
        return chosen.to_result(pixels)

    def points(self, indices: Sequence[Any]) -> NDArray[Any]:
        """Read single pixels, as numpy's pointwise indexing does.

        Parameters
        ----------
        indices : sequence of array_like of int
            Positions along each axis, broadcast against each other.

        Returns
        -------
        ndarray
            One pixel for each position.

        Raises
        ------
        IndexError
            A position is out of bounds.

        Examples
        --------
        >>> from xarray_mrc.codec.header import Header
        >>> from xarray_mrc.storage import open_source
        >>> header = Header.blank().replace(nx=3, ny=2, nz=1, ispg=0)
        >>> array = MrcArray(open_source(header.raw + bytes(range(6))), Layout.from_header(header))
        >>> array.points([[0, 1], [2, 0]]).tolist()
        [2, 3]
        """
        positions = np.broadcast_arrays(*(np.asarray(index, np.int64) for index in indices))
        flat = []
        for axis, (index, length) in enumerate(zip(positions, self.shape, strict=True)):
            if index.size and not -length <= index.min() <= index.max() < length:
                raise IndexError(f"an index is out of bounds for axis {axis} of length {length}")
            flat.append(np.where(index < 0, index + length, index).reshape(-1))
        layout, found = self.layout, np.empty(flat[0].size, self.dtype)
        nbytes = layout.sample.row_nbytes(1)
        offsets = layout.pixel_offsets(flat)
        # In the order of the file, because a compressed one is decompressed in one pass.
        order = np.argsort(offsets)
        for start in range(0, found.size, MAX_POINTS):
            part = order[start : start + MAX_POINTS]
            ranges = [(offset, nbytes) for offset in offsets[part].tolist()]
            data, parts = split_parts(ranges)
            self.source.read_ranges(parts)
            pixels = layout.sample.decode(data.reshape(len(ranges), nbytes), layout.byteorder)
            by_axis = {axis: index[part] for axis, index in zip(layout.axes, flat, strict=True)}
            # One byte of a packed mode holds two pixels, and one RGB pixel three numbers.
            which = np.zeros(len(ranges), np.int64)
            if layout.sample.packed:
                which = by_axis.get(3, which) % 2
            elif layout.sample.trailing:
                pixels, which = pixels[:, 0], by_axis[4]
            found[part] = pixels[np.arange(len(ranges)), which]
        return found.reshape(positions[0].shape)

    def transpose(self, order: Sequence[int]) -> MrcArray:
        """Return the array with its axes in another order; nothing is read.

        Parameters
        ----------
        order : sequence of int
            Axes of this array in the order of the new one.

        Returns
        -------
        MrcArray
        """
        return MrcArray(self.source, self.layout.transpose(order))

    def _map(self, chosen: Plan, *, transient: bool) -> NDArray[Any] | None:
        """Return the pixels by a map of the file, or None if they have to be read.

        They are the map itself if that is wanted and one byte range holds them. Else numpy picks
        slices out of a cached map of the whole file faster than pieces could be put together. The
        ranges are computed only if the file is not in the page cache.
        """
        source, layout = self.source, self.layout
        if not isinstance(source, MappedSource) or 0 in chosen.shape:
            return None
        run = chosen.run if layout.is_plain else None
        if run:
            is_worth_it = transient and MIN_VIEW_NBYTES <= run[1] < layout.nbytes
            data = source.view(*run) if is_worth_it and not run[0] % self.dtype.itemsize else None
            return None if data is None else data.view(self.dtype).reshape(chosen.shape)
        if layout.stored_dtype is None or chosen.slices is None:
            return None
        every = (piece.byte_ranges for piece in chosen.pieces())
        with source.whole(chosen.probes, every) as whole:
            if whole is None:
                return None
            shape = layout.stored + layout.sample.trailing
            found = np.ndarray(shape, layout.stored_dtype, whole.data, layout.offset)
            pixels = buffers.empty(chosen.shape, self.dtype)
            pixels[...] = found[chosen.slices]
            return pixels

    def _steps(self, chosen: Plan, pixels: NDArray[Any]) -> Iterator[Parts]:
        """Yield the byte ranges to read next; when resumed, put their pixels where they belong."""
        if 0 in chosen.shape:
            return
        if self.layout.is_plain and (run := chosen.run):
            yield [(run[0], pixels.reshape(-1).view(np.uint8))]
            return
        for piece in chosen.pieces():
            ranges = piece.byte_ranges
            if isinstance(self.source, MappedSource):
                with self.source.window(*piece.span, ranges) as span:
                    if span is not None:
                        pixels[piece.target] = piece.from_span(span)
                        continue
            data, parts = split_parts(ranges)
            yield parts
            pixels[piece.target] = piece.from_ranges(data)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        source = self.source
        return ("xarray_mrc.MrcArray", source.uri, source.fingerprint, repr(self.layout))
