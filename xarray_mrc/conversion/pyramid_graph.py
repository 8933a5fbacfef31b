"""Pyramids of dask arrays: a graph in which each chunk of the array is computed once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.pyramid_tasks import LevelSample, Pieces, PyramidTask, merge_samples
from xarray_mrc.conversion.schedule import MAX_TASKS
from xarray_mrc.conversion.tasks import fit
from xarray_mrc.storage.compressed.encoders import cores

__all__ = ["run_pyramid_graph"]


def run_pyramid_graph(
    tasks: Sequence[Any], data: Any, dtype: np.dtype[Any], writer: GroupWriter
) -> list[Any]:
    """Compute a dask array, and write its pyramid; return the results of the tasks.

    The chunks are first merged and split into the regions of the first level. Each is written where
    it was computed. Only its coarse values, of an eighth of its size, travel to where the coarse
    levels are written.

    Parameters
    ----------
    tasks : sequence of PyramidTask
        The tasks.
    data : dask.array.Array
        The data, with the axes in the order of the pyramid.
    dtype : dtype
        Data type of the arrays.
    writer : GroupWriter
        Writes the group.

    Returns
    -------
    list of list of LevelSample
    """
    import dask

    if not tasks:
        return []
    span = tasks[0].pyramid.levels[0].span
    shape = tasks[0].pyramid.shape
    lengths = tuple(min(step, max(1, n)) for step, n in zip(span, shape, strict=True))
    blocks = data.rechunk(lengths).to_delayed()
    found = []
    for task in tasks:
        parts = task.parts()
        pieces = []
        for part in parts:
            write = partial(write_block, task=task, part=part, dtype=dtype, writer=writer)
            index = tuple(s.start // step for s, step in zip(part, lengths, strict=True))
            pieces.append(dask.delayed(write, traverse=False)(blocks[index]))
        finish = partial(write_coarse, task=task, parts=parts, writer=writer)
        found.append(dask.delayed(finish, traverse=False)(*pieces))
    with ThreadPoolExecutor(min(cores(), MAX_TASKS)) as pool:
        return list(dask.compute(*found, pool=pool))


def write_block(
    values: Any, *, task: PyramidTask, part: Region, dtype: np.dtype[Any], writer: GroupWriter
) -> tuple[Pieces, list[list[LevelSample]]]:
    """Write a region of the first level; return its coarse values, and statistics of the last."""
    if np.ma.is_masked(values):
        raise ValueError("the data contain masked values, which Zarr cannot store; fill them first")
    block: NDArray[Any] = fit(np.asarray(values), dtype)
    samples: list[list[LevelSample]] = []
    return task.write_first(writer, part, block, samples), samples


def write_coarse(
    *blocks: tuple[Pieces, list[list[LevelSample]]],
    task: PyramidTask,
    parts: Sequence[Region],
    writer: GroupWriter,
) -> list[LevelSample]:
    """Write the coarse levels of a task from the values of all its regions."""
    coarse = dict(zip(map(str, parts), (pieces for pieces, _ in blocks), strict=True))
    samples = [sample for _, inner in blocks for sample in inner]

    def given(region: Region) -> Generator[Region, NDArray[Any], Pieces]:
        """Return what was computed elsewhere, and ask for nothing."""
        yield from ()
        return coarse.pop(str(region))

    for _ in task.coarse_levels(writer, samples, given):
        pass
    return merge_samples(samples)
