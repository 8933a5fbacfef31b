"""The one room that touches parts of xarray which are not public; a test of its own guards it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_mrc.array import MrcArray

__all__ = ["lazy_variable"]

SUPPORT = indexing.IndexingSupport.OUTER


class MrcBackendArray(BackendArray):
    """A `MrcArray` as xarray wants it: indexed by xarray's indexer objects."""

    __slots__ = ("_array", "dtype", "shape")

    def __init__(self, array: MrcArray) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    # Outer keys go past xarray's adapter: it fails on empty slices with a negative step.
    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._array[key.tuple]
        outer = as_outer(key)
        if outer is not None:
            return self._array[outer[0]].transpose(outer[1])
        read = self._array.__getitem__
        found: NDArray[Any]
        found = indexing.explicit_indexing_adapter(key, self.shape, SUPPORT, read)
        return found

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read without holding up the event loop."""
        if not isinstance(key, indexing.VectorizedIndexer):
            return await self._array.read_async(key.tuple)
        outer = as_outer(key)
        if outer is not None:
            return (await self._array.read_async(outer[0])).transpose(outer[1])
        read = self._array.read_async
        found: NDArray[Any]
        found = await indexing.async_explicit_indexing_adapter(key, self.shape, SUPPORT, read)
        return found

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return self._array.__dask_tokenize__()


def as_outer(
    key: indexing.VectorizedIndexer,
) -> tuple[tuple[NDArray[np.intp], ...], tuple[int, ...]] | None:
    """Recognise a lazy transpose, which xarray turns into pointwise indexing of every voxel.

    Such an index has as many axes as the data, and the positions of each data axis vary along one
    axis of their own. Gives the outer index and the permutation of its result, or None.
    """
    axes: list[int] = []
    lists: list[NDArray[np.intp]] = []
    for entry in key.tuple:
        if isinstance(entry, slice):
            return None
        entry = np.asarray(entry)
        varying = [axis for axis, length in enumerate(entry.shape) if length != 1]
        if entry.ndim != len(key.tuple) or len(varying) > 1:
            return None
        axes.append(varying[0] if varying else -1)
        lists.append(entry.reshape(-1))
    free = [axis for axis in range(len(axes)) if axis not in axes]
    axes = [axis if axis >= 0 else free.pop(0) for axis in axes]
    if sorted(axes) != list(range(len(axes))):
        return None
    return tuple(lists), tuple(int(i) for i in np.argsort(axes))


def lazy_variable(array: MrcArray, attrs: dict[str, Any], encoding: dict[str, Any]) -> xr.Variable:
    """Give a variable whose data are read when they are needed."""
    data = indexing.LazilyIndexedArray(MrcBackendArray(array))
    return xr.Variable(array.layout.dims, data, attrs, encoding)
