"""A group in parts: each is written by a program of its own, as in an array job of SLURM.

Part k of n are the tasks from k/n to (k + 1)/n of all. Its note names these tasks and the files
that they wrote, so that parts of different n may be mixed. What counts is that all tasks are done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from xarray_mrc.conversion.group_draft import PLAN, GroupDraft, draft_of
from xarray_mrc.conversion.group_target import ROOT_KEYS, GroupFiles, GroupSink
from xarray_mrc.conversion.group_writer import GroupWriter
from xarray_mrc.conversion.job import GroupJob
from xarray_mrc.conversion.schedule import run_tasks
from xarray_mrc.storage.protocol import Source
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import is_remote, public_url
from xarray_mrc.storage.target import NO_OPTIONS

__all__ = ["Partition", "check_partition", "run_partition"]

Partition = Literal["prepare", "finish"] | tuple[int, int]
MAX_NAMED_PARTS = 20


@dataclass(frozen=True, slots=True)
class Done:
    """The note of a part that is done.

    Attributes
    ----------
    part : tuple of (int, int)
        Number of the part, and of all parts.
    start, stop : int
        Its tasks.
    keys : tuple of str
        The files that they wrote.
    results : tuple of object
        What they returned.
    """

    part: tuple[int, int]
    start: int
    stop: int
    keys: tuple[str, ...]
    results: tuple[Any, ...]

    @property
    def key(self) -> str:
        """Key of the note."""
        return f"done/{self.part[0]}-of-{self.part[1]}.json"

    def encode(self) -> bytes:
        """Return the note as JSON."""
        return json.dumps(
            {
                "part": self.part,
                "tasks": [self.start, self.stop],
                "keys": self.keys,
                "results": self.results,
            }
        ).encode()

    @staticmethod
    def decode(note: bytes) -> Done:
        """Return the note that was read."""
        found = json.loads(note)
        (k, n), (start, stop) = found["part"], found["tasks"]
        return Done((k, n), start, stop, tuple(found["keys"]), tuple(found["results"]))


@dataclass(frozen=True, slots=True)
class RecordingSink:
    """A sink that notes the keys of the files that are written, in this process."""

    sink: GroupSink
    keys: set[str] = field(default_factory=set)

    @property
    def path(self) -> str:
        """The name of the group."""
        return self.sink.path

    @contextmanager
    def writing(self) -> Iterator[GroupFiles]:
        """Write files as the sink does."""
        with self.sink.writing() as files:

            def put(key: str, data: Any) -> None:
                files.put(key, data)
                self.keys.add(key)

            @contextmanager
            def create(key: str) -> Iterator[Callable[[Any], object]]:
                with files.create(key) as write:
                    yield write
                self.keys.add(key)

            yield GroupFiles(put, create)


def check_partition(partition: Any) -> Partition:
    """Return a partition; raise ValueError if it is none.

    Examples
    --------
    >>> check_partition([0, 8])
    (0, 8)
    """
    if isinstance(partition, str) and partition in ("prepare", "finish"):
        return "prepare" if partition == "prepare" else "finish"
    if isinstance(partition, tuple | list) and len(partition) == 2:
        k, n = partition
        whole = all(isinstance(i, int) and not isinstance(i, bool) for i in (k, n))
        if whole and 0 <= k < n:
            return k, n
    raise ValueError(
        f"partition={partition!r}, expected 'prepare', (k, n) for part k of n, with k from 0 to "
        f"n - 1, or 'finish'"
    )


def run_partition(
    job: GroupJob,
    path: str,
    partition: Partition,
    source: Source,
    *,
    overwrite: bool = False,
    options: StorageOptions = NO_OPTIONS,
) -> None:
    """Prepare a group, write a part of it, or complete it.

    Parameters
    ----------
    job : GroupJob
        The group. Results of its tasks must be None, or numbers, texts and lists of them.
    path : str
        Local path or URL of the group.
    partition : {"prepare", "finish"} or tuple of (int, int)
        What is done.
    source : Source
        What the job reads.
    overwrite : bool
        Whether an existing group, or one that was prepared with other options, may be replaced.
    options : StorageOptions
        How the storage of a URL is reached.

    Raises
    ------
    FileExistsError
        The target exists and may not be replaced.
    FileNotFoundError
        The group was not prepared.
    ValueError
        It was prepared from another state of the source or with other options, or parts of it are
        not done.
    """
    plan = plan_of(job, source.fingerprint)
    draft = draft_of(path, blake2b(plan, digest_size=8).hexdigest(), options)
    name = public_url(path) if is_remote(path) else path
    if partition == "prepare":
        if draft.notes.get(PLAN) is None:
            others = [] if overwrite else draft.others()
            if others:
                raise another_plan(name, plan, others)
            begin(draft, plan, overwrite=overwrite)
        return
    draft.refresh()
    if draft.notes.get(PLAN) is None or draft.is_published():
        others = draft.others()
        if others:
            raise another_plan(name, plan, others)
        check_complete(name, job, draft, source.local_path if overwrite else None)
        draft.remove()
    elif partition == "finish":
        finish(name, job, draft, overwrite=overwrite)
    else:
        write_part(job, draft, partition)


def plan_of(job: GroupJob, fingerprint: Sequence[int | str]) -> bytes:
    """Return all that the parts must agree on: the same for the same source and options."""
    plan = {
        "source": [str(value) for value in fingerprint],
        "tasks": hash_of(repr([repr(task) for task in job.tasks]).encode()),
        "files": {key: hash_of(data) for key, data in sorted(job.layout.documents.items())},
    }
    return json.dumps(plan, indent=1).encode()


def hash_of(data: bytes) -> str:
    """Return a hash of the content of a file."""
    return blake2b(data, digest_size=16).hexdigest()


def another_plan(name: str, plan: bytes, others: Sequence[bytes]) -> ValueError:
    """Return the error for a group that was prepared differently, with what differs."""
    ours, theirs = json.loads(plan), json.loads(others[0])
    if ours["source"] != theirs["source"]:
        what = "another source, or this one has changed"
    else:
        keys = sorted({*ours["files"], *theirs["files"]})
        changed = [key for key in keys if ours["files"].get(key) != theirs["files"].get(key)]
        what = f"other options or versions of the packages ({', '.join(changed) or 'other tasks'})"
    return ValueError(
        f"{name}: this group was prepared from {what}: pass the same to all calls, or begin anew "
        f"with partition='prepare' and overwrite=True"
    )


def begin(draft: GroupDraft, plan: bytes, *, overwrite: bool) -> None:
    """Make a draft, unless another program with the same plan is faster."""
    try:
        draft.begin(overwrite=overwrite)
    except FileExistsError:
        if draft.notes.get(PLAN) is None:
            raise
    else:
        draft.notes.put(PLAN, plan)


def check_complete(name: str, job: GroupJob, draft: GroupDraft, source: str | None) -> None:
    """Raise FileNotFoundError unless the group is complete already, as after a second 'finish'.

    Where an old group may be replaced, it may also be that 'prepare' has failed, and that the old
    one is there still: it is then older than the path `source`. Files that depend on results of
    tasks are not compared.
    """
    target, documents = draft.target(), job.layout.documents
    keys = [key for key in documents if job.complete is None or key not in ROOT_KEYS]
    same = bool(keys) and all(target.get(key) == documents[key] for key in keys)
    written = draft.written_at()
    if not same or (source and written is not None and written < os.path.getmtime(source)):
        raise FileNotFoundError(
            f"{name}: this group was not prepared: call convert with partition='prepare' first, "
            f"and once. If it was, this computer sees another file system than that call"
        )


def write_part(job: GroupJob, draft: GroupDraft, part: tuple[int, int]) -> None:
    """Write a part, unless it is done."""
    k, n = part
    start, stop = (i * len(job.tasks) // n for i in (k, k + 1))
    note = draft.notes.get(Done(part, start, stop, (), ()).key)
    if note is not None and not draft.missing(Done.decode(note).keys):
        return
    sink = RecordingSink(draft.sink)
    results = run_tasks(
        job.tasks[start:stop],
        job.reader,
        GroupWriter(sink, job.layout.arrays),
        slabs=job.slabs,
        in_process=True,
    )
    draft.seal(sink.keys)
    done = Done(part, start, stop, tuple(sorted(sink.keys)), tuple(results))
    draft.notes.put(done.key, done.encode())


def finish(name: str, job: GroupJob, draft: GroupDraft, *, overwrite: bool) -> None:
    """Check that all tasks are done, and complete the group."""
    notes = draft.notes
    keys = [key for key in notes.list_keys() if key.startswith("done/") and key.endswith(".json")]
    found = [Done.decode(note) for key in keys if (note := notes.get(key)) is not None]
    lost = draft.missing(key for done in found for key in done.keys)
    valid = [done for done in found if not lost.intersection(done.keys)]
    results: dict[int, Any] = {}
    for done in valid:
        results.update(zip(range(done.start, done.stop), done.results, strict=True))
    if len(results) < len(job.tasks):
        raise ValueError(f"{name}: {missing_parts(len(job.tasks), results.keys(), found)}")
    written = {key for done in valid for key in done.keys}
    ordered = [results[number] for number in range(len(job.tasks))]
    draft.publish(job.documents(ordered), written, overwrite=overwrite)


def missing_parts(count: int, done: Any, found: Sequence[Done]) -> str:
    """Return a sentence that names the parts that are to be done."""
    if not found:
        return "no part is done: call convert with partition=(k, n) for each k from 0 to n - 1"
    n = max(note.part[1] for note in found)
    missing = [
        k for k in range(n) if not set(range(k * count // n, (k + 1) * count // n)) <= set(done)
    ]
    named = ", ".join(map(str, missing[:MAX_NAMED_PARTS]))
    more = f" and {len(missing) - MAX_NAMED_PARTS} more" if len(missing) > MAX_NAMED_PARTS else ""
    return (
        f"of {n} parts (from 0), {named}{more} are not done: call convert with "
        f"partition=({missing[0]}, {n}) and so on, and then 'finish' again"
    )
