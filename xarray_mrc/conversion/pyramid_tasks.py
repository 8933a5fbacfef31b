"""Tasks of a pyramid: one reads its part of the data once, and writes all levels of it."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.block_means import Method, reduce_levels
from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.pyramid import Pyramid
from xarray_mrc.conversion.schedule import advance, within
from xarray_mrc.conversion.tasks import Steps

__all__ = ["LevelSample", "Pieces", "PyramidTask", "merge_samples", "pyramid_tasks"]

# Values of the coarsest level, in all tasks together, from which contrast limits are found.
SAMPLE_VALUES = 2**18

# The values of a region of the data in each coarse level.
Pieces = list[NDArray[Any]]


class LevelSample(NamedTuple):
    """Statistics of one channel of the coarsest level, or of a part of it, in types of JSON.

    Attributes
    ----------
    values : list of float
        Some of the values, evenly spread.
    least, greatest : float
        Of all finite values; infinite, with the opposite sign, if there are none.
    """

    values: list[float]
    least: float = math.inf
    greatest: float = -math.inf


@dataclass(frozen=True, slots=True)
class PyramidTask:
    """Writes all levels of a part of the data.

    Attributes
    ----------
    pyramid : Pyramid
        The levels.
    method : {"mean", "nearest", "mode"}
        How the coarse levels are made.
    region : tuple of slice
        The part of the data. No file of a level has values of two parts.
    stride : int
        One of so many values of the coarsest level is in the sample.
    """

    pyramid: Pyramid
    method: Method
    region: Region
    stride: int = 1

    def steps(self, writer: GroupWriter) -> Steps:
        """Ask for one region of the first level after the other, and write all levels.

        In memory are one region of the first level, and one region of each coarser level.

        Returns
        -------
        list of LevelSample
            Statistics of the coarsest level, for each channel.
        """
        samples: list[list[LevelSample]] = []
        work = self.coarse_levels(writer, samples)
        part, _ = advance(work, None)
        while part is not None:
            values = yield part
            pieces = self.write_first(writer, part, values, samples)
            del values  # the next region is read while this generator waits
            part, _ = advance(work, pieces)
        return merge_samples(samples)

    def parts(self) -> list[Region]:
        """Return the regions of the first level in the order of `steps`."""
        return list(self.parts_in(self.region, len(self.pyramid.levels) - 1))

    def parts_in(self, region: Region, level: int) -> Iterator[Region]:
        """Yield the regions of the first level in a region of a level."""
        if not level:
            yield region
            return
        for inner in self.pyramid.parts(region, level - 1):
            yield from self.parts_in(inner, level - 1)

    def write_first(
        self,
        writer: GroupWriter,
        part: Region,
        values: NDArray[Any],
        samples: list[list[LevelSample]],
    ) -> Pieces:
        """Write a region of the first level, and return its values in the coarser levels."""
        self.write(writer, 0, part, values, samples)
        factors = [level.factors for level in self.pyramid.levels[1:]]
        return reduce_levels(values, factors, self.method)

    def coarse_levels(
        self, writer: GroupWriter, samples: list[list[LevelSample]]
    ) -> Generator[Region, Pieces, None]:
        """Yield the regions of the first level, be sent their coarse values, and write these."""
        yield from self.level_of(writer, self.region, len(self.pyramid.levels) - 1, samples)

    def level_of(
        self, writer: GroupWriter, part: Region, number: int, samples: list[list[LevelSample]]
    ) -> Generator[Region, Pieces, Pieces]:
        """Write one region of a level from those of finer levels; return its coarser values."""
        if not number:
            pieces = yield part
            return pieces
        levels = self.pyramid.levels[number:]
        whole: Pieces = []
        for inner in self.pyramid.parts(part, number - 1):
            pieces = yield from self.level_of(writer, inner, number - 1, samples)
            if not whole:
                shapes = [[s.stop - s.start for s in level.region(part)] for level in levels]
                whole = [np.empty(n, v.dtype) for n, v in zip(shapes, pieces, strict=True)]
            for level, target, values in zip(levels, whole, pieces, strict=True):
                target[within(level.region(inner), level.region(part))] = values
        self.write(writer, number, part, whole[0], samples)
        return whole[1:]

    def write(
        self,
        writer: GroupWriter,
        number: int,
        part: Region,
        values: NDArray[Any],
        samples: list[list[LevelSample]],
    ) -> None:
        """Write the values of a level in a region of the data; of the last one keep statistics."""
        levels = self.pyramid.levels
        writer.write(str(number), levels[number].region(part), values)
        if number == len(levels) - 1:
            samples.append([self.sample_of(v) for v in self.channels_of(values)])

    def channels_of(self, values: NDArray[Any]) -> Iterable[NDArray[Any]]:
        """Return the values of each channel: colours are along the first axis."""
        return values if "rgb" in self.pyramid.dims else [values]

    def sample_of(self, values: NDArray[Any]) -> LevelSample:
        """Return statistics of values of one channel; complex numbers have none."""
        if values.dtype.kind == "c":
            return LevelSample([])
        flat = values.reshape(-1)
        finite = flat[np.isfinite(flat)] if values.dtype.kind == "f" else flat
        if not finite.size:
            return LevelSample([])
        sample = flat[:: self.stride].tolist()
        return LevelSample(sample, float(finite.min()), float(finite.max()))


def merge_samples(parts: Iterable[Sequence[Sequence[Any]]]) -> list[LevelSample]:
    """Return the statistics of all parts together, for each channel.

    Parameters
    ----------
    parts : iterable of sequence of LevelSample
        For each part, the statistics of its channels; also as they come back from JSON.

    Returns
    -------
    list of LevelSample

    Examples
    --------
    >>> merge_samples([[LevelSample([2.0], 2.0, 2.0)], [[[9.0], 8.0, 9.0]]])
    [LevelSample(values=[2.0, 9.0], least=2.0, greatest=9.0)]
    """
    return [
        LevelSample(
            [value for values, _, _ in channel for value in values],
            min(least for _, least, _ in channel),
            max(greatest for _, _, greatest in channel),
        )
        for channel in zip(*parts, strict=True)
    ]


def pyramid_tasks(pyramid: Pyramid, method: Method) -> list[PyramidTask]:
    """Return the tasks that write a pyramid, in file order.

    Parameters
    ----------
    pyramid : Pyramid
        The levels.
    method : {"mean", "nearest", "mode"}
        How the coarse levels are made.

    Returns
    -------
    list of PyramidTask
    """
    stride = -(-math.prod(pyramid.levels[-1].shape) // SAMPLE_VALUES)
    stride |= stride > 1  # odd, so that it does not follow the rows, which are often even
    return [PyramidTask(pyramid, method, region, stride) for region in pyramid.tasks()]
