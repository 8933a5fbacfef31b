"""All that is needed to write a group, and the functions that do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_layout import GroupLayout
from xarray_mrc.conversion.group_target import new_group
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.schedule import run_tasks
from xarray_mrc.conversion.tasks import Reader, Task
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.target import NO_OPTIONS

__all__ = ["GroupJob", "run_job"]

Documents = Mapping[str, bytes]


@dataclass(frozen=True)
class GroupJob:
    """A group that is to be written.

    Attributes
    ----------
    layout : GroupLayout
        All of it but the chunks.
    tasks : sequence of Task
        Write the chunks.
    reader : Reader
        Reads the source.
    slabs : sequence of tuple of slice, optional
        As in `run_tasks`, if the source is best read in order.
    complete : callable, optional
        Returns the documents of the layout, completed from the results of all tasks, if they depend
        on these.
    """

    layout: GroupLayout
    tasks: Sequence[Task]
    reader: Reader
    slabs: Sequence[Region] | None = None
    complete: Callable[[list[Any]], Documents] | None = None

    def documents(self, results: list[Any]) -> Documents:
        """Return the documents for the results of all tasks."""
        return self.layout.documents if self.complete is None else self.complete(results)


def run_job(
    job: GroupJob, path: str, *, overwrite: bool = False, options: StorageOptions = NO_OPTIONS
) -> None:
    """Write a group that appears when it is complete.

    Parameters
    ----------
    job : GroupJob
        The group.
    path : str
        Local path or URL of the group.
    overwrite : bool
        Whether an existing group may be replaced.
    options : StorageOptions
        How the storage of a URL is reached.

    Raises
    ------
    OSError
        The target exists and may not be replaced, or cannot be written.
    MrcError, ValueError
        A task failed. Nothing that was written is left.
    """
    with new_group(path, overwrite=overwrite, options=options) as target:
        writer = GroupWriter(target.sink, job.layout.arrays)
        results = run_tasks(job.tasks, job.reader, writer, slabs=job.slabs)
        target.finish(job.documents(results))
