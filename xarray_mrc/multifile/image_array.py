"""`ImageArray`: what the lazy arrays of images have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.reading.selection import Pick

__all__ = ["ImageArray", "Pixels"]

Pixels = NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class ImageArray(ABC):
    """Images of one size, read when they are indexed.

    A picklable value that holds nothing open. Indexing is outer: a list selects along its own axis.

    Attributes
    ----------
    axes : tuple of int
        Axes in the order of the array: 0 images, and then those of an image.
    """

    axes: tuple[int, ...] = field(kw_only=True)

    @property
    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Number of images, and the lengths of an image along its axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.lengths[axis] for axis in self.axes)

    @abstractmethod
    def read_picks(self, picks: Sequence[Pick], *, transient: bool) -> Pixels:
        """Read a selection along each axis, images first; reversed ones are read forwards."""

    def __getitem__(self, key: Any) -> Pixels:
        return self.read(key)

    def read(self, key: Any, *, transient: bool = False) -> Pixels:
        """Read a selection.

        Parameters
        ----------
        key : tuple
            An integer, slice or list of integers for each axis.
        transient : bool
            Whether the result is used at once and dropped: it may then be a private map of a file.

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
        pixels = self.read_picks(picks, transient=transient)
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
        """Read single pixels; the images that hold them are read as a whole."""
        places = np.broadcast_arrays(*(np.asarray(index, np.int64) for index in indices))
        first, *others = (places[self.axes.index(axis)] for axis in range(len(places)))
        images, which = np.unique(first, return_inverse=True)
        forwards = replace(self, axes=tuple(range(len(places))))
        whole = forwards.read((images, *[slice(None)] * len(others)))
        found: Pixels = whole[(which.reshape(first.shape), *others)]
        return found

    def transpose(self, order: Sequence[int]) -> Self:
        """Return the array with its axes in another order; nothing is read."""
        return replace(self, axes=tuple(self.axes[axis] for axis in order))
