"""How an array is cut up in a Zarr group: into chunks, and chunks gathered in shards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

__all__ = ["Grid", "Shards", "grid_for"]

Shards = Mapping[str, int] | Literal["auto"] | None

# What one chunk holds: 64 sections of 128 x 128 voxels, tiles of 1024 pixels, or as much of thinner
# things. It is what a viewer reads at least, and what is packed in one go: cubes of 64 voxels cost
# half as much processor time again.
CHUNK_VOXELS = 2**20
CHUNK_DEPTH = 64
# What is written by one task, and is one file where there are shards.
REGION_NBYTES = 64 * 2**20
# Of a stream, which is unpacked once and in order, what is held of it at a time.
SLAB_NBYTES = 128 * 2**20

PLANE_DIMS = ("y", "x", "rgb")
Region = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """How an array is cut up.

    Attributes
    ----------
    dims : tuple of str
        Names of the axes.
    shape : tuple of int
        Their lengths.
    chunks : tuple of int
        What is packed in one go.
    shards : tuple of int or None
        What is one file, if that is more than a chunk.
    steps : tuple of int
        What one task writes: a shard, or some chunks.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    steps: tuple[int, ...]

    def regions(self) -> list[Region]:
        """Give what the tasks write: no chunk or shard is in two of them."""
        return cut(self.shape, self.steps)

    def slabs(self) -> list[tuple[Region, list[Region]]]:
        """Give whole sections in the order in which they lie, and the regions within each.

        The regions are counted from the beginning of their slab.
        """
        whole = [
            length if dim in PLANE_DIMS else step
            for dim, length, step in zip(self.dims, self.shape, self.steps, strict=True)
        ]
        slabs = cut(self.shape, whole)
        return [(slab, cut([s.stop - s.start for s in slab], self.steps)) for slab in slabs]


def cut(shape: tuple[int, ...] | list[int], steps: tuple[int, ...] | list[int]) -> list[Region]:
    """Cut a shape into boxes, in C order."""
    axes = [
        [slice(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in zip(shape, steps, strict=True)
    ]
    return list(product(*axes))


def grid_for(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    itemsize: int,
    *,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    in_order: bool = False,
) -> Grid:
    """Choose how an array is cut up.

    Parameters
    ----------
    dims : tuple of str
        Names of the axes, as an opened file has them.
    shape : tuple of int
        Their lengths.
    itemsize : int
        Bytes of a voxel.
    chunks : mapping, optional
        Lengths of a chunk by dimension; what is left out is chosen.
    shards : mapping, "auto" or None
        Lengths of a shard by dimension, multiples of those of a chunk; None for no shards.
    in_order : bool
        Whether the data come in a stream. Chunks are then flat enough for slabs of bounded size.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        A dimension is not there, a length is not positive, or a shard is no whole number of chunks.

    Examples
    --------
    >>> grid = grid_for(("z", "y", "x"), (200, 1024, 1024), 2)
    >>> grid.chunks, grid.shards
    ((64, 128, 128), (64, 512, 1024))
    """
    chosen = default_chunks(dims, shape, itemsize, in_order=in_order)
    cell = replaced(chosen, dims, {} if chunks is None else chunks, "chunks")
    grown = grow(cell, shape, itemsize)
    if shards is None or shards == "auto":
        return Grid(dims, shape, cell, None if shards is None else grown, grown)
    block = replaced(grown, dims, shards, "shards")
    for dim, length, chunk in zip(dims, block, cell, strict=True):
        if length % chunk:
            raise ValueError(
                f"a shard of {length} along {dim} was asked for, expected a multiple of the "
                f"chunk's {chunk}"
            )
    return Grid(dims, shape, cell, block, block)


def default_chunks(
    dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, *, in_order: bool
) -> tuple[int, ...]:
    """Choose chunks: near to cubes in a volume, tiles in images, of small images several."""
    sizes = dict(zip(dims, shape, strict=True))
    plane = math.prod(sizes.get(dim, 1) for dim in PLANE_DIMS) * itemsize
    most = power_of_2(SLAB_NBYTES // max(1, plane)) if in_order else max(shape)
    depth = min(CHUNK_DEPTH, most, sizes.get("z", 1))
    tile = power_of_2(math.isqrt(CHUNK_VOXELS // max(1, depth)))
    found = {"y": tile, "x": tile, "z": depth, "rgb": 3}
    if "image" in sizes:
        area = min(tile, sizes["y"]) * min(tile, sizes["x"])
        found["image"] = min(most, CHUNK_VOXELS // max(1, area))
    return tuple(max(1, min(found.get(dim, 1), sizes[dim])) for dim in dims)


def power_of_2(number: int) -> int:
    """Give the greatest power of 2 that is not above a number; 1 for 0."""
    return 1 << max(0, number.bit_length() - 1)


def replaced(
    lengths: tuple[int, ...], dims: tuple[str, ...], asked: Any, what: str
) -> tuple[int, ...]:
    """Put the lengths that were asked for in place of others."""
    if not isinstance(asked, Mapping) or not all(
        dim in dims and isinstance(length, int | np.integer) and length >= 1
        for dim, length in asked.items()
    ):
        raise ValueError(
            f"{what}={asked!r} was found, expected a dict of positive lengths along some of "
            f"{', '.join(dims)}"
        )
    return tuple(int(asked.get(dim, length)) for dim, length in zip(dims, lengths, strict=True))


def grow(chunks: tuple[int, ...], shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Gather chunks along the rows, then over the rows and sections, to regions of equal size."""
    grown = list(chunks)
    room = REGION_NBYTES // (math.prod(chunks) * itemsize)
    for axis in reversed(range(len(shape))):
        count = max(1, -(-shape[axis] // chunks[axis]))
        parts = -(-count // max(1, room))
        per_part = -(-count // parts)
        grown[axis] *= per_part
        room //= per_part
    return tuple(grown)
