"""Tasks of a pyramid: one reads its part of the data once, and writes all levels of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.block_means import Method, reduce_levels
from xarray_mrc.conversion.grid import Region, cut_region
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.pyramid import Pyramid
from xarray_mrc.conversion.schedule import within
from xarray_mrc.conversion.tasks import Steps

__all__ = ["LevelSample", "Pieces", "PyramidTask", "merge_samples", "pyramid_tasks"]

# Values of the coarsest level, in all tasks together, from which contrast limits are found.
SAMPLE_VALUES = 2**18

# The values of a region of the data in each coarse level.
Pieces = list[NDArray[Any]]
FirstLevel = Callable[[Region], Generator[Region, NDArray[Any], Pieces]]


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

        In memory are one region of the first level, or a part of it, and one region of each
        coarser level.

        Returns
        -------
        list of LevelSample
            Statistics of the coarsest level, for each channel.
        """
        samples: list[list[LevelSample]] = []
        yield from self.coarse_levels(writer, samples, partial(self.first_level, writer, samples))
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

    def first_level(
        self, writer: GroupWriter, samples: list[list[LevelSample]], region: Region
    ) -> Generator[Region, NDArray[Any], Pieces]:
        """Ask for the parts of a region of the first level; write them, return coarser values."""
        if self.pyramid.part is None:
            values = yield region
            return self.write_first(writer, region, values, samples)
        whole: Pieces = []
        with writer.open("0") as target:
            for part in cut_region(region, self.pyramid.part):
                values = yield part
                target.add(part, values)
                self.note(0, values, samples)
                whole = self.collect(1, whole, region, part, self.reduced(values))
                del values  # the next part is read while this generator waits
        return whole

    def write_first(
        self,
        writer: GroupWriter,
        region: Region,
        values: NDArray[Any],
        samples: list[list[LevelSample]],
    ) -> Pieces:
        """Write a region of the first level, and return its values in the coarser levels."""
        writer.write("0", region, values)
        self.note(0, values, samples)
        return self.reduced(values)

    def reduced(self, values: NDArray[Any]) -> Pieces:
        """Return values of the first level in the coarser levels."""
        factors = [level.factors for level in self.pyramid.levels[1:]]
        return reduce_levels(values, factors, self.method)

    def coarse_levels(
        self, writer: GroupWriter, samples: list[list[LevelSample]], first: FirstLevel
    ) -> Generator[Region, NDArray[Any], Pieces]:
        """Write the coarse levels, from what a function returns for regions of the first level."""
        top = len(self.pyramid.levels) - 1
        return self.level_of(top, self.region, writer, samples, first)

    def level_of(
        self,
        number: int,
        region: Region,
        writer: GroupWriter,
        samples: list[list[LevelSample]],
        first: FirstLevel,
    ) -> Generator[Region, NDArray[Any], Pieces]:
        """Write one region of a level from those of finer levels; return its coarser values."""
        if not number:
            return (yield from first(region))
        whole: Pieces = []
        for inner in self.pyramid.parts(region, number - 1):
            pieces = yield from self.level_of(number - 1, inner, writer, samples, first)
            whole = self.collect(number, whole, region, inner, pieces)
        writer.write(str(number), self.pyramid.levels[number].region(region), whole[0])
        self.note(number, whole[0], samples)
        return whole[1:]

    def collect(
        self, number: int, whole: Pieces, region: Region, part: Region, pieces: Pieces
    ) -> Pieces:
        """Put the values of a part, in all levels from one on, into those of a region."""
        levels = self.pyramid.levels[number:]
        if not whole:
            shapes = [[s.stop - s.start for s in level.region(region)] for level in levels]
            whole = [np.empty(n, v.dtype) for n, v in zip(shapes, pieces, strict=True)]
        for level, target, values in zip(levels, whole, pieces, strict=True):
            target[within(level.region(part), level.region(region))] = values
        return whole

    def note(self, number: int, values: NDArray[Any], samples: list[list[LevelSample]]) -> None:
        """Keep statistics of values of the coarsest level."""
        if number == len(self.pyramid.levels) - 1:
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
