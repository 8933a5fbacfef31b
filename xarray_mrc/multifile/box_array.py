"""`BoxArray`: boxes around points of a lazy array, as one lazy array."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.dataset.lazy_variable import ReadableArray
from xarray_mrc.multifile.stack_array import StackArray
from xarray_mrc.reading import buffers
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.boxes import Corners, read_boxes, sweep_boxes
from xarray_mrc.reading.selection import Pick

__all__ = ["BoxArray", "SelectedArray"]

Pixels = NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class SelectedArray:
    """A selection of a lazy array from which boxes are cut.

    Attributes
    ----------
    array : ReadableArray
        The array.
    positions : tuple of int or ndarray of int
        Positions along each axis of it; an axis with an integer is dropped.
    """

    array: ReadableArray
    positions: tuple[int | NDArray[np.int64], ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self.array.dtype

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that are read."""
        return self.array.paths

    def read(self, key: Any, *, transient: bool = False) -> Pixels:
        """Read a selection of the selection."""
        entries = iter(key)
        chosen = [each if isinstance(each, int) else each[next(entries)] for each in self.positions]
        return self.array.read(tuple(chosen), transient=transient)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        positions = [p if isinstance(p, int) else p.tolist() for p in self.positions]
        return ("xarray_mrc.SelectedArray", self.array.__dask_tokenize__(), repr(positions))


@dataclass(frozen=True, eq=False, slots=True)
class BoxArray:
    """Boxes of one size in an array, read when they are indexed.

    A picklable value that holds nothing open. Indexing is outer: a list selects along its own axis.

    Attributes
    ----------
    array : ReadableArray or SelectedArray
        The array that they are cut from.
    corners : ndarray of int
        First position of each box along each axis of it, of shape (boxes, axes).
    size : tuple of int
        Length of a box along each axis of it.
    limits : tuple of range
        Positions along each axis of it that boxes show.
    kept : tuple of int
        Its axes that the boxes have, in rising order; along the others their length is 1.
    fill : float
        Value beyond the limits.
    axes : tuple of int
        Axes in the order of this array: 0 boxes, 1 the first one that is kept, and so on.
    """

    array: ReadableArray | SelectedArray
    corners: Corners
    size: tuple[int, ...]
    limits: tuple[range, ...]
    kept: tuple[int, ...]
    fill: float
    axes: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self.array.dtype

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of boxes, and their lengths."""
        return (len(self.corners), *(self.size[axis] for axis in self.kept))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.lengths[axis] for axis in self.axes)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that are read."""
        return self.array.paths

    def __getitem__(self, key: Any) -> Pixels:
        return self.read(key)

    def read(self, key: Any, *, transient: bool = False) -> Pixels:
        """Read a selection.

        Parameters
        ----------
        key : tuple
            An integer, slice or list of integers for each axis.
        transient : bool
            Not used: the result is always memory of its own.

        Returns
        -------
        ndarray
            In native byte order.
        """
        entries = dict(zip(self.axes, key, strict=True))
        picks = [
            Pick.parse(entries[axis], length, self.axes.index(axis))
            for axis, length in enumerate(self.lengths)
        ]
        if any(pick.count == 0 for pick in picks):
            pixels = np.empty([pick.count for pick in picks], self.dtype)
        else:
            pixels = self._read_spans(picks)
        index = tuple(
            0 if pick.dropped else slice(None, None, -1 if pick.reversed else None)
            for pick in picks
        )
        left = [axis for axis, pick in enumerate(picks) if not pick.dropped]
        return pixels[index].transpose([left.index(axis) for axis in self.axes if axis in left])

    async def read_async(self, key: Any) -> Pixels:
        """Read a selection on another thread, so that the event loop runs on."""
        return await asyncio.to_thread(self.read, key)

    def points(self, indices: Sequence[Any]) -> Pixels:
        """Read single pixels; the boxes that hold them are read as a whole."""
        places = np.broadcast_arrays(*(np.asarray(index, np.int64) for index in indices))
        by_axis = dict(zip(self.axes, places, strict=True))
        boxes, which = np.unique(by_axis[0], return_inverse=True)
        order = tuple(range(len(self.lengths)))
        whole = replace(self, axes=order).read((boxes, *[slice(None)] * len(self.kept)))
        others = (by_axis[axis] for axis in order[1:])
        found: Pixels = whole[(which.reshape(by_axis[0].shape), *others)]
        return found

    def transpose(self, order: Sequence[int]) -> BoxArray:
        """Return the array with its axes in another order; nothing is read."""
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        digest = blake2b(np.ascontiguousarray(self.corners).tobytes()).hexdigest()
        own = (digest, self.size, self.limits, self.kept, self.fill, self.axes)
        return ("xarray_mrc.BoxArray", self.array.__dask_tokenize__(), repr(own))

    def _read_spans(self, picks: Sequence[Pick]) -> Pixels:
        """Read the boxes from the first to the last wanted position, and select from these."""
        corners, size = self.corners[picks[0].positions].copy(), list(self.size)
        for axis, pick in zip(self.kept, picks[1:], strict=True):
            first, end = pick.bounds
            corners[:, axis] += first
            size[axis] = end - first
        found = buffers.empty((len(corners), *size), self.dtype)
        starts = np.array([limit.start for limit in self.limits])
        stops = np.array([limit.stop for limit in self.limits])
        if ((corners < starts) | (corners + np.array(size) > stops)).any():
            found[...] = self.fill
        read_array(self.array, corners, self.limits, found)
        pixels = found.reshape([len(corners), *(size[axis] for axis in self.kept)])
        for axis, pick in enumerate(picks[1:], 1):
            if not pick.is_run:
                pixels = pixels[(slice(None),) * axis + (pick.shifted(pick.bounds[0]),)]
        return pixels


def read_array(
    array: ReadableArray | SelectedArray, corners: Corners, limits: Sequence[range], out: Any
) -> None:
    """Read boxes from an array, from each of its files in turn."""
    if isinstance(array, MrcArray):
        read_boxes(array, corners, limits, out)
        return
    if is_in_single_images(array, out):
        order = [array.axes.index(axis) for axis in range(3)]
        corners, limits = corners[:, order], [limits[axis] for axis in order]
        turned = out.transpose([0, *(axis + 1 for axis in order)])
        for file, sections, numbers in by_file(array, corners[:, 0]):
            own = corners[numbers]
            own[:, 0] = sections
            bounds = [range(file.shape[0]), *limits[1:]]
            if numbers[-1] - numbers[0] == len(numbers) - 1:
                read_boxes(file, own, bounds, turned[numbers[0] : numbers[-1] + 1])
                continue
            found = turned[numbers]
            read_boxes(file, own, bounds, found)
            turned[numbers] = found
        return
    sweep_boxes(array, corners, limits, out)


def is_in_single_images(array: ReadableArray | SelectedArray, out: Any) -> TypeGuard[StackArray]:
    """Return True if each box lies in one image of many files, which is read as it is."""
    if not isinstance(array, StackArray) or array.resize:
        return False
    length: int = out.shape[1 + array.axes.index(0)]
    return length == 1


def by_file(
    stack: StackArray, images: NDArray[np.int64]
) -> Iterator[tuple[MrcArray, NDArray[np.int64], NDArray[np.intp]]]:
    """Yield each file of some images, with their sections in it and their numbers among them."""
    files = stack.file_of[images]
    for file in np.unique(files).tolist():
        numbers = np.flatnonzero(files == file)
        sections = stack.section_of[images[numbers]]
        yield stack.open_images(stack.files[file], int(sections.max())), sections, numbers
