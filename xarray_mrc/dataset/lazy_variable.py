"""The only module that uses private parts of xarray, guarded by a test of its own."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = [
    "ReadableArray",
    "bare_dataset",
    "find_array",
    "find_lazy",
    "find_selection",
    "find_undivided",
    "find_zarr_url",
    "lazy_variable",
    "normalized_slice",
    "take_images",
    "with_data",
]

SCATTERED = 8
# The modules with the function `getter` that reads a block: of dask, and of its array expressions.
GETTERS = ("dask.array.core", "dask_array._core_utils")
SUPPORT = indexing.IndexingSupport.OUTER
WRAPPERS = (
    indexing.MemoryCachedArray,
    indexing.CopyOnWriteArray,
    indexing.ImplicitToExplicitIndexingAdapter,
)


class ReadableArray(Protocol):
    """A lazy array with outer indexing: a file, or images of many files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of what is read."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the local files that are read."""

    def read(self, key: Any, *, transient: bool = False) -> NDArray[Any]:
        """Read a selection."""

    def points(self, indices: Sequence[Any]) -> NDArray[Any]:
        """Read single pixels."""

    async def read_async(self, key: Any) -> NDArray[Any]:
        """Read a selection without blocking the event loop."""

    def transpose(self, order: Sequence[int]) -> ReadableArray:
        """Return the array with its axes in another order."""

    def __dask_tokenize__(self) -> tuple[object, ...]: ...


class MrcBackendArray(BackendArray):
    """A lazy array that is indexed by xarray's indexer objects."""

    __slots__ = ("_array", "dtype", "shape")

    def __init__(self, array: ReadableArray) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    # Outer keys bypass xarray's adapter, which fails on empty slices with a negative step.
    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._array.read(key.tuple, transient=is_dask_block())
        if is_scattered(key):
            return self._array.points(key.tuple)
        found: NDArray[Any]
        read = self._array.read
        found = indexing.explicit_indexing_adapter(key, self.shape, SUPPORT, read)
        return found

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read without blocking the event loop."""
        if not isinstance(key, indexing.VectorizedIndexer):
            return await self._array.read_async(key.tuple)
        if is_scattered(key):
            return await asyncio.to_thread(self._array.points, key.tuple)
        found: NDArray[Any]
        read = self._array.read_async
        found = await indexing.async_explicit_indexing_adapter(key, self.shape, SUPPORT, read)
        return found

    def transpose(self, order: Sequence[int]) -> MrcBackendArray:
        """Return the same array with its axes in another order."""
        return MrcBackendArray(self._array.transpose(order))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return self._array.__dask_tokenize__()


def is_dask_block() -> bool:
    """Return True if dask reads a block of its own, which is mostly dropped after one reduction.

    xarray has no word for it, so the callers are looked at. Maps of such blocks save 35 to 40 % of
    the time of a sum or mean of a cached file, and 60 % of that of a maximum (docs/speed.md).
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "getter" and frame.f_globals.get("__name__") in GETTERS:
            return True
    return False


def is_scattered(key: indexing.VectorizedIndexer) -> bool:
    """Return True if pointwise indexing needs few of all combinations of its positions.

    xarray would read all combinations.
    """
    if any(isinstance(entry, slice) for entry in key.tuple):
        return False
    wanted = math.prod(np.broadcast_shapes(*(np.shape(entry) for entry in key.tuple)))
    together = math.prod(np.unique(entry).size for entry in key.tuple)
    return together > SCATTERED * wanted


class LazyArray(indexing.LazilyIndexedArray):
    """xarray's lazy indexing, corrected for negative slices and transposes.

    xarray reads data for an empty slice with a negative step. It turns a transpose into pointwise
    indexing of every voxel, and can then not select a single one.
    """

    __slots__ = ()

    def _updated_key(self, new_key: indexing.ExplicitIndexer) -> Any:
        lengths = iter(self.shape)
        entries = [normalized_slice(entry, next(lengths)) for entry in new_key.tuple]
        return super()._updated_key(type(new_key)(tuple(entries)))

    def transpose(self, order: Sequence[int]) -> LazyArray:
        """Return the same selection with its axes in another order; nothing is read."""
        key = self.key.tuple
        shown = [axis for axis, entry in enumerate(key) if not isinstance(entry, int | np.integer)]
        hidden = [axis for axis in range(len(key)) if axis not in shown]
        axes = [shown[axis] for axis in order] + hidden
        turned = indexing.OuterIndexer(tuple(key[axis] for axis in axes))
        return LazyArray(self.array.transpose(axes), turned)


def normalized_slice(entry: Any, length: int) -> Any:
    """Return an equal slice that xarray handles correctly; return other keys unchanged."""
    if not isinstance(entry, slice):
        return entry
    steps = range(*entry.indices(length))
    if not steps:
        return slice(0, 0, 1)
    stop = steps[-1] + steps.step
    return slice(steps[0], stop if stop >= 0 else None, steps.step)


def lazy_variable(
    array: ReadableArray, dims: Sequence[str], attrs: dict[str, Any], encoding: dict[str, Any]
) -> xr.Variable:
    """Return a variable whose data are read when they are needed, or when some are assigned."""
    lazy: Any = LazyArray(MrcBackendArray(array))
    return xr.Variable(dims, indexing.CopyOnWriteArray(lazy), attrs, encoding)


def find_array(data: Any) -> ReadableArray | None:
    """Return the array that lazy data are read from; None if they are not read from MRC files.

    Parameters
    ----------
    data : Any
        A variable, or one of the array objects that xarray and dask wrap around each other.

    Returns
    -------
    ReadableArray or None
    """
    if isinstance(data, xr.Variable):
        data = data._data
    while data is not None and not isinstance(data, MrcBackendArray):
        data = getattr(data, "array", None)
    return None if data is None else data._array


def find_zarr_url(data: Any) -> str | None:
    """Return the URL of the Zarr group that lazy data are read from; None if they are not.

    Parameters
    ----------
    data : Any
        As in `find_array`.
    """
    if isinstance(data, xr.Variable):
        data = data._data
    while hasattr(data, "array"):
        data = data.array
    store: Any = getattr(getattr(data, "_array", None), "store", None)
    return str(store.fs.unstrip_protocol(store.path)) if hasattr(store, "fs") else None


def find_lazy(data: Any, dims: Sequence[Hashable]) -> xr.Variable | None:
    """Return the lazy variable that dask reads its blocks from; None if it is not one of MRC files.

    Parameters
    ----------
    data : Any
        The object from which the blocks are cut.
    dims : sequence of hashable
        Names of its dimensions.
    """
    while isinstance(data, WRAPPERS):
        data = data.array
    return xr.Variable(dims, data) if isinstance(data, LazyArray) else None


def find_undivided(array: Any, dims: Sequence[Hashable]) -> xr.Variable | None:
    """Return the lazy variable that a dask array only cuts into blocks; None if it does more.

    Parameters
    ----------
    array : dask.array.Array
        An array.
    dims : sequence of hashable
        Names of its dimensions.
    """
    if hasattr(array, "expr"):  # of the package dask-array
        node = array.expr
        is_read = {"array", "_region"} <= set(getattr(node, "_parameters", ()))
        if not is_read or node.operand("_region") is not None:
            return None
        return find_lazy(node.operand("array"), dims)
    graph = getattr(array, "dask", None)
    layers = getattr(graph, "layers", {})
    # What dask.array.from_array makes: the object that is read, and the blocks cut out of it.
    original = f"original-{getattr(array, 'name', '')}"
    if set(layers) != {array.name, original}:
        return None
    node = layers[original][original]
    return find_lazy(getattr(node, "value", node), dims)


def with_data(array: xr.DataArray, lazy: xr.Variable) -> xr.DataArray:
    """Return an array with the data of a lazy variable, which stay lazy."""
    return array.copy(deep=False, data=lazy._data)


def take_images(array: xr.DataArray, dim: Hashable, part: NDArray[np.intp]) -> xr.DataArray:
    """Return lazy images of these numbers as `isel` does, for a fourth of its time.

    For 256 images of 64 KiB with ten coordinates, `isel` takes a tenth of the time of reading.
    """
    if dim in array.coords or any(dim in index.dims for index in array.xindexes.variables.values()):
        return array.isel({dim: part})
    coords = {
        name: xr.Variable(c.dims, c.values.take(part, c.dims.index(dim)), c.attrs, fastpath=True)
        if dim in c.dims
        else c
        for name, c in array.coords.variables.items()
    }
    return array._replace(array.variable[{dim: part}], coords)


def find_selection(data: Any) -> tuple[ReadableArray | None, tuple[Any, ...]]:
    """Return the array that lazy data are a selection of, and the selection.

    Parameters
    ----------
    data : Any
        A variable, or one of the array objects that xarray wraps around each other.

    Returns
    -------
    array : ReadableArray or None
        None if the data are in memory, or are lazy in another way.
    key : tuple
        An integer, slice or array of integers for each axis of the array.
    """
    if isinstance(data, xr.Variable):
        data = data._data
    # These change no values, as others do that decode numbers.
    while isinstance(data, WRAPPERS):
        data = data.array
    if not isinstance(data, LazyArray) or not isinstance(data.array, MrcBackendArray):
        return None, ()
    return data.array._array, data.key.tuple


def bare_dataset(data: Mapping[str, xr.Variable], coords: Mapping[str, xr.Variable]) -> xr.Dataset:
    """Return a dataset without indexes; xarray makes the default ones unless the user wants none.

    The public constructor would check that the variables fit each other, which is known here. The
    checks take an eighth of the time of opening a file.
    """
    return xr.Dataset._construct_direct({**data, **coords}, set(coords), indexes={})
