"""`MrcArray`: the data of a file as a lazy array, indexed like numpy's. No xarray, no dask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout
from xarray_mrc.reading import buffers
from xarray_mrc.reading.selection import Plan, plan
from xarray_mrc.storage import Source

__all__ = ["MrcArray"]

# From this size on a run of bytes is mapped rather than read.
MIN_VIEW_NBYTES = 16 * 2**20
# Single pixels that are read in one go.
MAX_POINTS = 2**14


@dataclass(frozen=True, slots=True)
class MrcArray:
    """The data of an MRC file, read when they are indexed.

    A small picklable value that holds nothing open. Indexing is outer: a list works on its own
    axis. What comes out is the caller's alone and in native byte order.

    Parameters
    ----------
    source : Source
        Where the bytes come from.
    layout : Layout
        How they lie.

    Notes
    -----
    What indexing gives is memory of its own, which outlives whatever is done to the file. Only a
    part that the caller says is transient, in one run of 16 MiB or more, is given as a private,
    copy-on-write map of just that run, where the bytes are the numbers: a block that is looked at
    and dropped is then never copied.

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

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self.read(key)

    def read(self, key: Any, *, transient: bool = False) -> NDArray[Any]:
        """Read a selection.

        Parameters
        ----------
        key : index
            Integers, slices, lists of integers and an ellipsis, as for indexing.
        transient : bool
            Whether the result will be looked at and dropped, so that it may be a map of the file.

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
        if 0 in chosen.shape:
            return chosen.finish(np.empty(chosen.shape, self.dtype))
        run = chosen.run if self.layout.is_plain else None
        pixels = self._view(chosen, run) if run and transient else None
        if pixels is None:
            pixels = buffers.empty(chosen.shape, self.dtype)
            if run:
                self.source.readinto(run[0], pixels.reshape(-1).view(np.uint8))
            else:
                self._read_scattered(chosen, pixels)
        if chosen.reaches_end:
            self.source.finish(self.layout.end)
        return chosen.finish(pixels)

    def points(self, indices: Sequence[Any]) -> NDArray[Any]:
        """Read single pixels, as pointwise indexing of numpy does.

        Parameters
        ----------
        indices : sequence of array_like of int
            For each axis the positions along it; they are broadcast against each other.

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
        places = np.broadcast_arrays(*(np.asarray(index, np.int64) for index in indices))
        flat = []
        for axis, (place, length) in enumerate(zip(places, self.shape, strict=True)):
            if place.size and not -length <= place.min() <= place.max() < length:
                raise IndexError(f"an index is out of bounds for axis {axis} of length {length}")
            flat.append(np.where(place < 0, place + length, place).reshape(-1))
        layout, found = self.layout, np.empty(flat[0].size, self.dtype)
        nbytes = layout.sample.row_nbytes(1)
        offsets = layout.pixel_offsets(flat)
        order = np.argsort(offsets)  # a stream is read in one pass
        for start in range(0, found.size, MAX_POINTS):
            part = order[start : start + MAX_POINTS]
            some = [index[part] for index in flat]
            bands = [(offset, nbytes) for offset in offsets[part].tolist()]
            data = self.source.read_ranges(bands).reshape(len(bands), nbytes)
            pixels = layout.sample.decode(data, layout.byteorder)
            by_axis = dict(zip(layout.axes, some, strict=True))
            which = np.zeros(len(bands), np.int64)
            if layout.sample.packed:
                which = by_axis.get(3, which) % 2
            elif layout.sample.trailing:
                pixels, which = pixels[:, 0], by_axis[4]
            found[part] = pixels[np.arange(len(bands)), which]
        return found.reshape(places[0].shape)

    async def read_async(self, key: Any) -> NDArray[Any]:
        """Read without holding up the event loop; as indexing with `key`."""
        return await asyncio.to_thread(self.__getitem__, key)

    def transpose(self, order: Sequence[int]) -> MrcArray:
        """Give the same data with their axes in another order; nothing is read.

        Parameters
        ----------
        order : sequence of int
            Axes of this array, in the order in which the new one has them.

        Returns
        -------
        MrcArray
        """
        return MrcArray(self.source, self.layout.transpose(order))

    def _view(self, chosen: Plan, run: tuple[int, int]) -> NDArray[Any] | None:
        """Give a run of bytes without a copy, where that is possible and right."""
        if run[0] % self.dtype.itemsize or not MIN_VIEW_NBYTES <= run[1] < self.layout.nbytes:
            return None
        data = self.source.view(*run)
        return None if data is None else data.view(self.dtype).reshape(chosen.shape)

    def _read_scattered(self, chosen: Plan, pixels: NDArray[Any]) -> None:
        """Read a selection of many runs, or one that has to be decoded."""
        stored = self.layout.stored_dtype
        if stored is not None and chosen.slices is not None:
            every = (piece.byte_ranges for piece in chosen.pieces())
            with self.source.whole(chosen.probes, every) as whole:
                if whole is not None:
                    shape = self.layout.stored + self.layout.sample.trailing
                    found = np.ndarray(shape, stored, whole.data, self.layout.offset)
                    pixels[...] = found[chosen.slices]
                    return
        for piece in chosen.pieces():
            bands = piece.byte_ranges
            with self.source.window(*piece.span, bands) as span:
                if span is not None:
                    pixels[piece.target] = piece.from_span(span)
                    continue
            pixels[piece.target] = piece.from_ranges(self.source.read_ranges(bands))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        source = self.source
        return ("xarray_mrc.MrcArray", source.uri, source.fingerprint, repr(self.layout))
