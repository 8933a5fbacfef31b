"""`ImageBlocks`: images of files as a dask array whose selections read only what they need.

This module imports dask, so it is imported by the functions that need it.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.core import Array
from dask.base import tokenize
from numpy.typing import NDArray

from xarray_mrc.dataset.lazy_variable import find_selection, find_undivided, normalized_slice
from xarray_mrc.multifile.stack_array import StackArray

__all__ = ["ImageBlocks", "lazy_images", "plan_blocks"]

# A file of at least this size is a block of its own.
MIN_BLOCK_NBYTES = 16 * 2**20


class SameAsArray(type):
    """Type that equals the type of dask's arrays: xarray refuses to compute those of several."""

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is Array

    def __hash__(cls) -> int:
        return hash(Array)


class ImageBlocks(Array, metaclass=SameAsArray):
    """A dask array of images that are still in their files.

    To select images by a list, dask reads every block that holds one of them, and cuts them out of
    it. Here a selection is a lazy array with blocks of its own. The mean of a class of 6,700 of
    20,000 images took 0.57 s of processor time by dask's way and takes 0.1 s, where a loop by hand
    takes 0.05 s (tests/benchmarks/particles.py). Everything else is dask's, and so are the results
    of arithmetic.
    """

    __slots__ = ()
    _lazy: tuple[str, xr.Variable]

    @classmethod
    def of(cls, images: xr.Variable, chunks: Any) -> Any:
        """Return lazy images in chunks, in any form that xarray takes; nothing is read."""
        # dask would pickle the images for a name of its own, a tenth of a second for 1,000 files.
        lengths: Any = images.chunk(chunks, name="unnamed").chunks
        token = tokenize(*find_selection(images), lengths)
        named = dict(zip(images.dims, lengths, strict=True))
        plain = images.chunk(named, name=f"images-{token}").data
        if type(plain) is not Array:  # of another package, or dask's array expressions
            return plain
        self = cls(plain.dask, plain.name, plain.chunks, meta=plain._meta)
        if isinstance(self, cls):  # a plugin of dask may have replaced it
            self._lazy = (plain.name, images)
        return self

    @property
    def images(self) -> xr.Variable | None:
        """The images without dask; None if values were assigned to some, which changes the name."""
        name, images = self.__dict__.get("_lazy", ("", None))
        return images if name == self.name else None

    def __getitem__(self, index: Any) -> Any:
        images, key = self.images, as_outer_key(index, self.shape)
        if images is None or key is None:
            return super().__getitem__(index)
        lists = [axis for axis, entry in enumerate(key) if isinstance(entry, np.ndarray)]
        # The rest of the key has the chunks that dask gives it.
        rest = super().__getitem__(
            tuple(slice(None) if axis in lists else entry for axis, entry in enumerate(key))
        )
        if rest is self and not lists:
            return self
        selected, chunks = images[key], list(rest.chunks)
        for axis in lists:
            shown = sum(not isinstance(entry, int) for entry in key[:axis])
            chunks[shown] = (selected.shape[shown],)
            file_of = file_numbers(selected, shown)
            if file_of is not None:
                nbytes = selected.nbytes // max(1, len(file_of))
                chunks[shown] = plan_blocks(file_of, nbytes, largest_block(self))
        return ImageBlocks.of(selected, tuple(chunks))

    def transpose(self, *axes: Any) -> Any:
        """Return the array with its axes in another order."""
        plain, images = super().transpose(*axes), self.images
        if images is None or plain is self:
            return plain
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
        order = [axis % self.ndim for axis in order or reversed(range(self.ndim))]
        return ImageBlocks.of(
            images.transpose(*(images.dims[axis] for axis in order)), plain.chunks
        )

    def rechunk(self, *args: Any, **kwargs: Any) -> Any:
        """Return the array in other chunks, which are read as such."""
        plain, images = super().rechunk(*args, **kwargs), self.images
        return plain if images is None or plain is self else ImageBlocks.of(images, plain.chunks)

    def copy(self) -> Any:
        """Return an array that assignments to this one do not change."""
        return super().copy() if self.images is None else ImageBlocks.of(self.images, self.chunks)

    def __reduce__(self) -> Any:
        if self.images is None:
            return super().__reduce__()
        return ImageBlocks.of, (self.images, self.chunks)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        is_mean = func is np.nanmean and len(args) == 1 and self.dtype.kind in "fc"
        if is_mean and kwargs.get("dtype") is None and self.images is not None:
            return mean_of_numbers(self, kwargs.get("axis"), bool(kwargs.get("keepdims", False)))
        return super().__array_function__(func, types, args, kwargs)


def lazy_images(array: Any) -> xr.Variable | None:
    """Return the images that an array only reads, without dask; None if it does more than that."""
    if isinstance(array, ImageBlocks):
        return array.images
    return find_undivided(array, range(array.ndim))


def as_outer_key(index: Any, shape: Sequence[int]) -> tuple[int | slice | NDArray[Any], ...] | None:
    """Return an index with an entry for each axis; None if it is left to dask.

    It is left to dask if an entry is not an integer, a slice or a one-dimensional array of
    integers, if two are arrays, if one is out of bounds, or if a single pixel is wanted.
    """
    if not isinstance(index, tuple) or len(index) != len(shape):
        return None
    key: list[int | slice | NDArray[Any]] = []
    for entry, length in zip(index, shape, strict=True):
        if isinstance(entry, slice):
            # dask finds other images than numpy where a slice with a negative step starts outside.
            is_full = entry == slice(None)
            key.append(entry if is_full else normalized_slice(entry, length))
            continue
        if isinstance(entry, bool) or not isinstance(entry, int | np.integer | np.ndarray):
            return None
        found = np.asarray(entry)
        if found.ndim > 1 or found.dtype.kind not in "iu" or not found.size:
            return None
        if found.min() < -length or found.max() >= length:
            return None
        key.append(np.where(found < 0, found + length, found) if found.ndim else int(found))
    arrays = sum(isinstance(entry, np.ndarray) for entry in key)
    numbers = sum(isinstance(entry, int) for entry in key)
    return tuple(key) if arrays <= 1 and numbers < len(key) else None


def file_numbers(images: xr.Variable, axis: int) -> NDArray[np.int64] | None:
    """Return the number of the file of each image along an axis; None along other axes."""
    array, key = find_selection(images)
    if not isinstance(array, StackArray):
        return None
    shown = [number for number, entry in enumerate(key) if not isinstance(entry, int | np.integer)]
    if array.axes[shown[axis]] != 0:
        return None
    found: NDArray[np.int64] = array.file_of[key[shown[axis]]]
    return found


def largest_block(array: Any) -> int:
    """Return the number of bytes of the largest block."""
    lengths = [max(lengths, default=0) for lengths in array.chunks]
    return math.prod(lengths) * int(array.dtype.itemsize)


def plan_blocks(file_of: NDArray[np.int64], nbytes: int, max_nbytes: int) -> tuple[int, ...]:
    """Return numbers of images for blocks that end where files do.

    Parameters
    ----------
    file_of : ndarray of int
        Number of the file of each image.
    nbytes : int
        Bytes of an image.
    max_nbytes : int
        Bytes of the largest block; a single image may be larger.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> plan_blocks(np.repeat([0, 1, 2], [4, 2, 1]), 2**20, 3 * 2**20)
    (2, 2, 3)
    """
    most = max(1, max_nbytes // max(1, nbytes))
    changes = np.flatnonzero(np.diff(file_of)) + 1
    lengths: list[int] = []
    for length in np.diff([0, *changes, len(file_of)]).tolist():
        is_small = lengths and min(lengths[-1], length) * nbytes < MIN_BLOCK_NBYTES
        if is_small and lengths[-1] + length <= most:
            lengths[-1] += length
            continue
        parts = -(-length // most)
        lengths += [length // parts + (number < length % parts) for number in range(parts)]
    return tuple(lengths)


def mean_of_numbers(array: Any, axis: Any, keepdims: bool) -> Any:
    """Compute the mean without the values that are not numbers.

    numpy copies the values and makes two masks to leave out values that images hardly ever have.
    Their plain sum is a number exactly if there is none, or infinities cancel out. That makes the
    mean of 20,000 images 2.8 times as fast. The sums of blocks are added in double precision, and
    values of half precision in single precision, in which dask's own mean is infinite early.
    """
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis) % array.ndim
    left = array.ndim if keepdims else array.ndim - len(axes)
    wide = np.result_type(array.dtype, np.float64)
    mean = da.reduction(
        array,
        chunk=sum_and_count,
        combine=add_pairs,
        aggregate=divide_pairs,
        axis=tuple(int(axis) for axis in axes),
        keepdims=keepdims,
        dtype=wide,
        meta=np.empty((0,) * left, wide),
    )
    return mean.astype(array.dtype)


def sum_and_count(values: NDArray[Any], axis: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
    """Return the sum of the values that are numbers and, after it, how many they are."""
    dtype = np.result_type(values.dtype, np.float32)
    with np.errstate(invalid="ignore"):
        total = np.sum(values, axis=axis, keepdims=True, dtype=dtype)
    if np.isnan(total).any():
        total = np.nansum(values, axis=axis, keepdims=True, dtype=dtype)
        count = np.sum(~np.isnan(values), axis=axis, keepdims=True)
    else:
        count = np.full(total.shape, values.size // max(1, total.size))
    return np.concatenate([total, count.astype(np.float64)], axis[0])


def add_pairs(pairs: NDArray[Any], axis: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
    """Return the sum of every second value, from the first on, and then that of the others."""
    every: list[slice] = [slice(None)] * pairs.ndim
    parts = []
    for first in (0, 1):
        every[axis[0]] = slice(first, None, 2)
        parts.append(np.sum(pairs[tuple(every)], axis=axis, keepdims=True))
    return np.concatenate(parts, axis[0])


def divide_pairs(pairs: NDArray[Any], axis: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
    """Return the means; nan where there is no number."""
    total, count = np.split(add_pairs(pairs, axis, keepdims), 2, axis[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[Any] = total / count
    return found if keepdims else found.squeeze(axis)
