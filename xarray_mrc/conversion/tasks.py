"""Tasks of a conversion: what is read from the source, and what is written from it.

A task asks for one region of the source after the other, and does not know where the values come
from: `schedule.run_tasks` reads regions in any order, or hands out the parts of a stream.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_mrc.codec.modes import Sample
from xarray_mrc.conversion.grid import Region, cut_region
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.dataset.lazy_variable import find_array
from xarray_mrc.storage.fileobject import FileObjectSource
from xarray_mrc.storage.memory import MemorySource

__all__ = ["CopyTask", "Reader", "Steps", "Task", "fit"]

# Yields regions of the source, is sent their values, and returns a result for the client.
Steps = Generator[Region, NDArray[Any], Any]


class Task(Protocol):
    """A share of a conversion: a small picklable value.

    Two tasks never write to the same shard. A task may run twice, and then writes the same.
    """

    @property
    def region(self) -> Region:
        """The part of the source that it reads."""

    def steps(self, writer: GroupWriter) -> Steps:
        """Return a generator that does the work.

        Parameters
        ----------
        writer : GroupWriter
            Writes to any array of the group.

        Yields
        ------
        tuple of slice
            The region of the source that is needed next. Where the source is a stream, each lies in
            one of its slabs, and later ones never in an earlier slab.

        Returns
        -------
        object
            A small picklable result.
        """


@dataclass(frozen=True, slots=True)
class CopyTask:
    """Copies one region of the source to an array of the same shape.

    Attributes
    ----------
    name : str
        Path of the array in the group.
    region : tuple of slice
        The region: a shard, or several chunks.
    part : tuple of int, optional
        Lengths of the part of the region that is in memory at a time, of whole chunks; by default
        all of it.
    """

    name: str
    region: Region
    part: tuple[int, ...] | None = None

    def steps(self, writer: GroupWriter) -> Steps:
        """Read the region part by part, and write it."""
        if self.part is None:
            writer.write(self.name, self.region, (yield self.region))
            return
        with writer.open(self.name) as target:
            for part in cut_region(self.region, self.part):
                target.add(part, (yield part))


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads regions of lazy data as values of a data type: a small picklable value.

    Attributes
    ----------
    variable : xarray.Variable
        The lazy data.
    dtype : dtype
        Data type of the values.
    """

    variable: xr.Variable
    dtype: np.dtype[Any]

    @property
    def travels(self) -> bool:
        """True if workers of a cluster can read the data, which are not in this process alone."""
        array = find_array(self.variable)
        source = getattr(array, "source", None)
        stored = getattr(source, "inner", source)  # of a compressed file
        return array is not None and not isinstance(stored, FileObjectSource | MemorySource)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region into memory; ValueError if a value does not fit the data type."""
        return fit(self.variable[region].to_numpy(), self.dtype)


def fit(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in a data type; ValueError if one does not fit.

    Parameters
    ----------
    values : ndarray
        Numbers.
    dtype : dtype
        The data type.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> fit(np.array([1.0, 2.0]), np.dtype("int8"))
    array([1, 2], dtype=int8)
    """
    code = dtype.str[1:]
    return Sample(code, code).fit(values)
