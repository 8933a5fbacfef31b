"""`BoxArray`: boxes around points of a lazy array, as one lazy array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.dataset.lazy_variable import ReadableArray
from xarray_mrc.multifile.image_array import ImageArray, Pixels
from xarray_mrc.multifile.stack_array import StackArray
from xarray_mrc.reading import buffers
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.boxes import Corners, read_boxes, sweep_boxes
from xarray_mrc.reading.selection import Pick

__all__ = ["BoxArray", "SelectedArray"]


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
class BoxArray(ImageArray):
    """Boxes of one size in an array, read when they are indexed.

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
    """

    array: ReadableArray | SelectedArray
    corners: Corners
    size: tuple[int, ...]
    limits: tuple[range, ...]
    kept: tuple[int, ...]
    fill: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self.array.dtype

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of boxes, and their lengths."""
        return (len(self.corners), *(self.size[axis] for axis in self.kept))

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that are read."""
        return self.array.paths

    def __dask_tokenize__(self) -> tuple[object, ...]:
        digest = blake2b(np.ascontiguousarray(self.corners).tobytes()).hexdigest()
        own = (digest, self.size, self.limits, self.kept, self.fill, self.axes)
        return ("xarray_mrc.BoxArray", self.array.__dask_tokenize__(), repr(own))

    def read_picks(self, picks: Sequence[Pick], *, transient: bool) -> Pixels:
        """Read the boxes from the first to the last wanted position, and select from these."""
        if any(pick.count == 0 for pick in picks):
            return np.empty([pick.count for pick in picks], self.dtype)
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
