"""Encodes the chunks of a region as their values come, and assembles the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.conversion.chunk_format import ChunkFormat
from xarray_mrc.conversion.grid import Region
from xarray_mrc.conversion.group_target import GroupFiles

__all__ = ["RegionWriter"]

Position = tuple[int, ...]
# Offset and size of a chunk that is not stored, in the index of a shard.
ABSENT = 2**64 - 1


class RegionWriter:
    """Writes the chunks of a region: a context manager that leaves no unfinished file.

    In memory is one chunk at a time. Shards follow the specification of Zarr: the encoded chunks,
    then offset and size of each, then the CRC-32C of this index.

    Parameters
    ----------
    files : GroupFiles
        Takes the files.
    path : str
        Path of the array in the group.
    key_of : callable
        Returns the key of the file at a position in the grid of files.
    chunk_format : ChunkFormat
        How the chunks are stored.
    """

    def __init__(
        self,
        files: GroupFiles,
        path: str,
        key_of: Callable[[Position], str],
        chunk_format: ChunkFormat,
    ) -> None:
        self._files, self._path, self._key_of = files, path, key_of
        self._format = chunk_format
        self._chunk = np.empty(chunk_format.chunks, chunk_format.dtype)
        self._shards: dict[Position, Shard] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        unfinished, self._shards = self._shards, {}
        incomplete = None
        if unfinished and error is None:
            incomplete = RuntimeError(f"{self._path}: values of shards {[*unfinished]} are missing")
        for shard in unfinished.values():
            shard.stack.__exit__(kind or RuntimeError, error or incomplete, traceback)
        if incomplete is not None:
            raise incomplete

    def add(self, part: Region, values: NDArray[Any]) -> None:
        """Write the chunks of a part of the region.

        Parameters
        ----------
        part : tuple of slice
            Whole chunks, or chunks up to the end of the array. All parts together are whole files.
        values : ndarray
            Their values.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        for position, chunk, inside in self._chunks_of(part):
            data = self._encode(values[inside])
            if self._format.shards is not None:
                self._add_to_shard(position, chunk, data)
            elif data is not None:
                self._files.put(self._name(position), data)

    def _chunks_of(self, part: Region) -> Iterator[tuple[Position, Position, Region]]:
        """Yield chunks in the order of files.

        Yields the position of the file, that of the chunk in it, and where the part has its values.
        """
        chunks, files = self._format.chunks, self._format.files
        axes = [
            [divmod(start, length) for start in range(s.start, s.stop, chunk)]
            for s, chunk, length in zip(part, chunks, files, strict=True)
        ]
        for steps in sorted(product(*axes), key=lambda steps: [number for number, _ in steps]):
            starts = [number * n + offset for (number, offset), n in zip(steps, files, strict=True)]
            yield (
                tuple(number for number, _ in steps),
                tuple(offset // n for (_, offset), n in zip(steps, chunks, strict=True)),
                tuple(
                    slice(start - s.start, min(start + n, s.stop) - s.start)
                    for start, n, s in zip(starts, chunks, part, strict=True)
                ),
            )

    def _encode(self, values: NDArray[Any]) -> Any:
        """Return the stored bytes of a chunk, which is filled up with zeros; None if it is zero."""
        if values.shape != self._chunk.shape:
            self._chunk[...] = 0
        self._chunk[tuple(map(slice, values.shape))] = values
        return self._format.encode(self._chunk)

    def _add_to_shard(self, position: Position, chunk: Position, data: Any) -> None:
        """Append a chunk to its shard, which is finished with its last one."""
        shard = self._shards.get(position)
        if shard is None:
            lengths = zip(self._format.files, self._format.chunks, strict=True)
            shard = Shard(tuple(n // m for n, m in lengths), self._format.chunks_in(position))
            self._shards[position] = shard
        if data is not None:
            shard.add(chunk, data, lambda: self._files.create(self._name(position)))
        shard.awaited -= 1
        if not shard.awaited:
            del self._shards[position]
            shard.finish()

    def _name(self, position: Position) -> str:
        """Return the key of a file in the group."""
        return f"{self._path}/{self._key_of(position)}"


class Shard:
    """A shard that is being written, with the index of what it has."""

    def __init__(self, counts: Position, awaited: int) -> None:
        self.awaited = awaited
        self.stack = ExitStack()
        self._index = np.full((*counts, 2), ABSENT, "<u8")
        self._nbytes = 0
        self._write: Callable[[Any], None] | None = None

    def add(self, chunk: Position, data: Any, create: Callable[[], Any]) -> None:
        """Append the bytes of a chunk. The first one creates the file."""
        if self._write is None:
            self._write = self.stack.enter_context(create())
        self._write(data)
        nbytes = memoryview(data).nbytes
        self._index[chunk] = self._nbytes, nbytes
        self._nbytes += nbytes

    def finish(self) -> None:
        """Append the index, and close the file; there is none if no chunk is stored."""
        from numcodecs.checksum32 import CRC32C

        with self.stack:
            if self._write is not None:
                self._write(CRC32C(location="end").encode(self._index.reshape(-1)))
