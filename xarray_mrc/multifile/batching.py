"""`Batches`: images in memory, a few at a time, with the next ones read meanwhile."""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.dataset.conventions import AXES, axis_name, data_variable
from xarray_mrc.dataset.lazy_variable import take_images, with_data

__all__ = ["Batches"]

# Batches that are read while another one is used, each by a thread of its own. Two threads read
# 1.8 times as fast as one from the page cache.
MAX_AHEAD = 2

Seed = int | Sequence[int] | np.random.Generator | None


class Batches:
    """Batches of images in memory; each iteration is a pass over all images.

    Two threads read ahead, at most two batches. They end with the iteration, also if it is left
    early. Errors of reading reach the caller where the batch is due. A `Batches` can be pickled,
    and an iteration goes on in a process that was forked meanwhile.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        Images: lazy, in dask chunks or in memory, with dimensions in any order. All dimensions but
        one are named ``z``, ``y``, ``x`` or ``rgb``. Images that `open_stack` opened and that were
        only selected or transposed since are read by themselves, not in chunks of dask.
    size : int
        Number of images of a batch; the last one may have fewer.
    shuffle : bool
        Whether the images come in random order.
    seed : int, sequence of int, numpy.random.Generator or None
        What `numpy.random.default_rng` takes. With a seed the order of each pass differs from that
        of the one before, and a new `Batches` repeats them all. None makes every pass differ.
    drop_last : bool
        Whether a last batch of fewer images is left out.

    Raises
    ------
    ValueError
        The size is not positive, or not one dimension is that of the images.

    Examples
    --------
    >>> images = xr.DataArray(np.zeros((10, 4, 4)), dims=("image", "y", "x"))
    >>> batches = Batches(images, 4, shuffle=False)
    >>> len(batches), [len(batch) for batch in batches]
    (3, [4, 4, 2])
    """

    def __init__(
        self,
        obj: xr.Dataset | xr.DataArray,
        size: int,
        shuffle: bool = True,
        seed: Seed = None,
        drop_last: bool = False,
    ) -> None:
        array = data_variable(obj)
        self.dim = image_dimension(array)
        self.size = operator.index(size)
        if self.size < 1:
            raise ValueError(f"size={size}, expected a number of images from 1")
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._random = None if seed is None else np.random.default_rng(seed)
        self._images = without_dask(array)

    def __len__(self) -> int:
        """Return the number of batches of a pass."""
        count = self._images.sizes[self.dim]
        return count // self.size if self.drop_last else -(-count // self.size)

    def __iter__(self) -> Iterator[xr.DataArray]:
        """Yield each batch of a pass, as `isel` and `compute` would give it."""
        count = self._images.sizes[self.dim]
        random = np.random.default_rng() if self._random is None else self._random
        order = random.permutation(count) if self.shuffle else np.arange(count)
        parts = [order[number * self.size :][: self.size] for number in range(len(self))]
        return read_ahead(self._read, parts)

    def __repr__(self) -> str:
        order = "in random order" if self.shuffle else "in order"
        count = self._images.sizes[self.dim]
        return (
            f"<xarray_mrc.Batches: {len(self)} batches of {self.size}, {count} along "
            f"{self.dim!r} {order}>"
        )

    def _read(self, part: NDArray[np.intp]) -> xr.DataArray:
        """Read images of these numbers."""
        batch = take_images(self._images, self.dim, part)
        # Coordinates are in memory; DataArray.load looks at each, for a twentieth of the time.
        batch.variable.load()
        # PyTorch refuses negative strides, which images in falling order have.
        batch.variable.data = np.ascontiguousarray(batch.variable.data)
        return batch


def image_dimension(array: xr.DataArray) -> Hashable:
    """Return the dimension that counts images; ValueError if there is not one."""
    others = [dim for dim in array.dims if axis_name(dim) not in (*AXES, "rgb")]
    if len(others) != 1:
        raise ValueError(
            f"the dimensions are {tuple(array.dims)}, expected one beside z, y and x, along which "
            f"the images lie: open a stack with kind='image_stack', or rename the dimension"
        )
    return others[0]


def without_dask(array: xr.DataArray) -> xr.DataArray:
    """Return images that are read by themselves if dask would only read them; labels in memory."""
    labels = {name: c.variable.compute() for name, c in array.coords.items() if c.chunks}
    if labels:
        array = array.assign_coords(labels)
    if array.chunks is None:
        return array
    from xarray_mrc.multifile.image_blocks import lazy_images

    images = lazy_images(array.data)
    return array if images is None else with_data(array, images)


def read_ahead(
    read: Callable[[NDArray[np.intp]], xr.DataArray], parts: Sequence[NDArray[np.intp]]
) -> Iterator[xr.DataArray]:
    """Yield what is read of each part, with the next two read meanwhile."""
    rest = iter(parts)
    pool, process = ThreadPoolExecutor(MAX_AHEAD, "xarray_mrc-batches"), os.getpid()
    waiting: deque[tuple[NDArray[np.intp], Future[xr.DataArray]]] = deque()

    def submit(some: Any) -> None:
        waiting.extend([(part, pool.submit(read, part)) for part in some])

    try:
        submit(islice(rest, MAX_AHEAD))
        while waiting:
            if os.getpid() != process:  # a fork has none of the threads
                pool, process = ThreadPoolExecutor(MAX_AHEAD, "xarray_mrc-batches"), os.getpid()
                parts = [part for part, _ in waiting]
                waiting.clear()
                submit(parts)
            _, batch = waiting.popleft()
            submit(islice(rest, 1))
            yield batch.result()
            del batch
    finally:
        if os.getpid() == process:
            pool.shutdown(wait=False, cancel_futures=True)
