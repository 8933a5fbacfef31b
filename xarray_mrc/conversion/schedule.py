"""Runs the tasks of a conversion: in any order and any process, or beside a pass over a stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from itertools import product
from threading import Lock, Semaphore
from typing import Any

from numpy.typing import NDArray

from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.tasks import CopyTask, Reader, Steps, Task
from xarray_mrc.storage.compressed.encoders import cores

__all__ = ["MAX_TASKS", "run_tasks", "within"]

# Each task holds a region and its compressed chunks, and Zarr compresses the chunks of a region on
# several threads anyhow.
MAX_TASKS = 8
# Measured on a worker of 400 MiB that reads blocks of gzip: its modules, and a task that holds a
# region of 64 MiB, with the memory that numpy and the system keep for the next one.
MODULES_NBYTES, TASK_NBYTES = 200 * 2**20, 150 * 2**20

_lock = Lock()
# By the memory limit of the worker.
_rooms: dict[int, Semaphore] = {}


def run_tasks(
    tasks: Sequence[Task],
    reader: Reader,
    writer: GroupWriter,
    *,
    slabs: Sequence[Region] | None = None,
    in_process: bool = False,
) -> list[Any]:
    """Run tasks, several at a time, and return their results in the order of the tasks.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks.
    reader : Reader
        Reads the source.
    writer : GroupWriter
        Writes the group.
    slabs : sequence of tuple of slice, optional
        Regions of the source in file order, for a stream that is best read once, in order, by this
        process. They tile the source, and all but the last along each axis have the same lengths.
        Otherwise the scheduler that dask is configured to use runs the tasks, by default threads.
    in_process : bool
        Whether to use threads of this process anyhow, as for data that only this process has.

    Returns
    -------
    list

    Raises
    ------
    OSError, MrcError, ValueError
        The first error of a task. Tasks of this process have ended then.
    """
    with ThreadPoolExecutor(min(cores(), MAX_TASKS)) as pool:
        if slabs is not None:
            return run_in_order(tasks, reader, writer, slabs, pool)
        import dask

        write = dask.delayed(partial(write_region, reader=reader, writer=writer), traverse=False)
        options = {"scheduler": "threads"} if in_process or not reader.travels else {}
        return list(dask.compute(*map(write, tasks), pool=pool, **options))


def write_region(task: Task, reader: Reader, writer: GroupWriter) -> Any:
    """Run one task in any process that sees source and group, and return its result."""
    is_small = isinstance(task, CopyTask) and task.part is not None
    # After an error the steps close their files at once.
    with nullcontext() if is_small else room(), closing(task.steps(writer)) as steps:
        wanted, result = advance(steps, None)
        while wanted is not None:
            wanted, result = advance(steps, reader.read(wanted))
        return result


def room() -> AbstractContextManager[Any]:
    """Return a context for a task that holds a whole region: on a worker it waits until one fits.

    A worker that uses too much memory is restarted by its nanny.
    """
    try:
        worker = sys.modules["distributed"].get_worker()
        limit = worker.memory_manager.memory_limit
    except (KeyError, AttributeError, ValueError):  # not loaded, or no worker
        return nullcontext()
    if not limit:
        return nullcontext()
    with _lock:
        return _rooms.setdefault(limit, Semaphore(max(1, (limit - MODULES_NBYTES) // TASK_NBYTES)))


def advance(steps: Steps, values: NDArray[Any] | None) -> tuple[Region | None, Any]:
    """Run a task until it asks for its next region, from the values that it asked for before.

    Returns this region and None. At its start there are no values; after its end the region is
    None, and its result is returned.
    """
    try:
        return (next(steps) if values is None else steps.send(values)), None
    except StopIteration as end:
        return None, end.value


def run_in_order(
    tasks: Sequence[Task],
    reader: Reader,
    writer: GroupWriter,
    slabs: Sequence[Region],
    pool: ThreadPoolExecutor,
) -> list[Any]:
    """Read slab after slab; the tasks take their parts of each while the next one is read."""
    lengths = [part.stop - part.start for part in slabs[0]]
    numbers = {first_slab(slab, lengths): number for number, slab in enumerate(slabs)}
    needed = sorted({numbers[i] for task in tasks for i in slabs_of(task.region, lengths)})
    waiting: dict[int, list[tuple[int, Steps, Region]]] = {number: [] for number in needed}
    results: list[Any] = [None] * len(tasks)

    def note(task: int, steps: Steps, wanted: Region | None, result: Any) -> None:
        """Note the region that a task waits for, or its result."""
        if wanted is None:
            results[task] = result
        else:
            waiting[numbers[first_slab(wanted, lengths)]].append((task, steps, wanted))

    def work(steps: Steps, wanted: Region, slab: Region, block: NDArray[Any]) -> Any:
        """Run a task as far as a slab goes."""
        following, result = advance(steps, block[within(wanted, slab)])
        while following is not None and first_slab(following, lengths) == first_slab(slab, lengths):
            following, result = advance(steps, block[within(following, slab)])
        return following, result

    for number, task in enumerate(tasks):
        steps = task.steps(writer)
        note(number, steps, *advance(steps, None))
    with ThreadPoolExecutor(1) as ahead:
        coming = [ahead.submit(reader.read, slabs[number]) for number in needed[:1]]
        for position, number in enumerate(needed):
            block = coming.pop().result()
            following = needed[position + 1 : position + 2]
            coming.extend(ahead.submit(reader.read, slabs[later]) for later in following)
            served = waiting.pop(number)
            done = [
                pool.submit(work, steps, wanted, slabs[number], block)
                for _, steps, wanted in served
            ]
            del block
            for (task_number, steps, _), future in zip(served, done, strict=True):
                note(task_number, steps, *future.result())
    return results


def slabs_of(region: Region, lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return the positions of the slabs that a region lies in."""
    return product(
        *(
            range(part.start // length, -(-part.stop // length))
            for part, length in zip(region, lengths, strict=True)
        )
    )


def first_slab(region: Region, lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the position of the slab that a region starts in."""
    return tuple(part.start // length for part, length in zip(region, lengths, strict=True))


def within(region: Region, slab: Region) -> Region:
    """Return a region relative to the start of the slab that it lies in."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(region, slab, strict=True)
    )
