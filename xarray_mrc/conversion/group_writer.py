"""Values to chunks of the arrays of a group that is being written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.chunk_format import find_format
from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_target import GroupSink
from xarray_mrc.conversion.region_writer import RegionWriter

__all__ = ["GroupWriter"]


@dataclass(frozen=True)
class GroupWriter:
    """Writes regions of the arrays of a group: a small picklable value.

    Attributes
    ----------
    sink : GroupSink
        The group.
    arrays : mapping of str to object
        Metadata of its arrays (`zarr.core.metadata`) by path in the group.
    """

    sink: GroupSink
    arrays: Mapping[str, Any]

    def write(self, name: str, region: Region, values: NDArray[Any]) -> None:
        """Write a region that no chunk or shard reaches out of.

        Parameters
        ----------
        name : str
            Path of the array in the group.
        region : tuple of slice
            Where the values belong. It starts and ends where a shard does (where there are none, a
            chunk), or at the end of the array.
        values : ndarray
            Values of the array's data type.

        Raises
        ------
        MrcError
            This computer does not see the group.
        OSError
            A chunk cannot be written. Nothing is being written any more when this is raised.
        """
        chunk_format = find_format(self.arrays[name])
        if chunk_format is None:
            self._write_by_zarr(name, region, values)
            return
        with self.open(name) as target:
            target.add(region, values)

    @contextmanager
    def open(self, name: str) -> Iterator[RegionWriter]:
        """Write a region part by part, so that only a part of it is in memory.

        Parameters
        ----------
        name : str
            Path of an array in the group whose format `find_format` finds.

        Yields
        ------
        RegionWriter
            Takes the parts.

        Raises
        ------
        MrcError
            This computer does not see the group.
        """
        metadata = self.arrays[name]
        chunk_format = find_format(metadata)
        if chunk_format is None:
            raise ValueError(f"{name}: its codecs take whole regions only; call write instead")
        with (
            self.sink.writing() as files,
            RegionWriter(files, name, metadata.encode_chunk_key, chunk_format) as target,
        ):
            yield target

    def _write_by_zarr(self, name: str, region: Region, values: NDArray[Any]) -> None:
        """Write a region whose codecs only Zarr knows: first to memory.

        After an error in one chunk Zarr goes on with the others, in threads or in its event loop.
        """
        from zarr import Array, AsyncArray
        from zarr.storage import MemoryStore, StorePath

        # Zarr leaves out chunks of zeros, and takes -0.0 for 0.0: in floats up to 3.0, in complex
        # numbers still in 3.4. Chunks of integers can be left out.
        config: Any = {"order": "C", "write_empty_chunks": values.dtype.kind in "fc"}
        stored: dict[str, Any] = {}
        with self.sink.writing() as files:
            place = StorePath(MemoryStore(stored), name)
            array: Any = Array(AsyncArray(self.arrays[name], place, config))
            array[region] = np.asarray(values)
            for key, data in stored.items():
                files.put(key, data.as_numpy_array())
