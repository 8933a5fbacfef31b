"""The chunks and shards of an array in a Zarr group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

__all__ = [
    "PART_NBYTES",
    "Grid",
    "Region",
    "Shards",
    "cut",
    "cut_region",
    "gather_chunks",
    "grid_for",
]

Shards = Mapping[str, int] | Literal["auto"] | None

# A chunk has 64 sections of 128 x 128 voxels, or a tile of 1024 x 1024 pixels. It is the least that
# a viewer reads, and is compressed in one call. Cubes of 64 voxels took 1.5 times the CPU time.
CHUNK_VOXELS = 2**20
CHUNK_DEPTH = 64
# One task writes a region of this size at most. It is one file if there are shards.
REGION_NBYTES = 64 * 2**20
# A task reads this much of its region at a time from a plain local file.
PART_NBYTES = 16 * 2**20
# A compressed stream is read once and in order. At most this much of it is in memory at a time.
SLAB_NBYTES = 128 * 2**20

PLANE_DIMS = ("y", "x", "rgb")
Region = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The lengths of chunks, shards and tasks along each axis of an array.

    Attributes
    ----------
    dims : tuple of str
        Names of the axes.
    shape : tuple of int
        Lengths of the axes.
    chunks : tuple of int
        Lengths of a chunk.
    shards : tuple of int or None
        Lengths of a shard, which is one file; None if each chunk is a file.
    steps : tuple of int
        Lengths of the region that one task writes: a shard, or several chunks.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    steps: tuple[int, ...]

    def regions(self) -> list[Region]:
        """Return the region of each task. No chunk or shard is in two regions."""
        return cut(self.shape, self.steps)

    def slabs(self) -> list[Region]:
        """Return slabs of whole sections in file order. Each task lies in one of them."""
        whole = [
            length if dim in PLANE_DIMS else step
            for dim, length, step in zip(self.dims, self.shape, self.steps, strict=True)
        ]
        return cut(self.shape, whole)


def cut(shape: tuple[int, ...] | list[int], steps: tuple[int, ...] | list[int]) -> list[Region]:
    """Return the boxes that tile a shape, in C order."""
    axes = [
        [slice(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in zip(shape, steps, strict=True)
    ]
    return list(product(*axes))


def cut_region(region: Region, steps: tuple[int, ...]) -> list[Region]:
    """Return the boxes that tile a region, in C order."""
    return [
        tuple(
            slice(whole.start + part.start, whole.start + part.stop)
            for whole, part in zip(region, box, strict=True)
        )
        for box in cut([part.stop - part.start for part in region], steps)
    ]


def grid_for(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    itemsize: int,
    *,
    chunks: Mapping[str, int] | None = None,
    shards: Shards = "auto",
    in_order: bool = False,
) -> Grid:
    """Compute the chunks, shards and tasks of an array.

    Parameters
    ----------
    dims : tuple of str
        Names of the axes, as in an opened file.
    shape : tuple of int
        Lengths of the axes.
    itemsize : int
        Bytes of a voxel.
    chunks : mapping of str to int, optional
        Lengths of a chunk by dimension; the others are chosen.
    shards : mapping of str to int, "auto" or None
        Lengths of a shard by dimension, multiples of the chunk lengths; None for no shards.
    in_order : bool
        Whether the data are read as a stream. Chunks are then flat enough for slabs of bounded
        size.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        A dimension does not exist, a length is not positive, or a shard length is not a multiple of
        the chunk length.

    Examples
    --------
    >>> grid = grid_for(("z", "y", "x"), (200, 1024, 1024), 2)
    >>> grid.chunks, grid.shards
    ((64, 128, 128), (64, 512, 1024))
    """
    chosen = default_chunks(dims, shape, itemsize, in_order=in_order)
    chunk = replace_lengths(chosen, dims, {} if chunks is None else chunks, "chunks")
    grown = gather_chunks(chunk, shape, itemsize)
    if shards is None or shards == "auto":
        return Grid(dims, shape, chunk, None if shards is None else grown, grown)
    shard = replace_lengths(grown, dims, shards, "shards")
    for dim, length, unit in zip(dims, shard, chunk, strict=True):
        if length % unit:
            raise ValueError(
                f"shards={dict(shards)}: a shard of {length} along {dim} is not a multiple of the "
                f"chunk's {unit}"
            )
    return Grid(dims, shape, chunk, shard, shard)


def default_chunks(
    dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, *, in_order: bool
) -> tuple[int, ...]:
    """Return chunk lengths: near to cubes in a volume, tiles of images, several small images."""
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
    """Return the greatest power of 2 up to a number; 1 for 0."""
    return 1 << max(0, number.bit_length() - 1)


def replace_lengths(
    lengths: tuple[int, ...], dims: tuple[str, ...], asked: Any, option: str
) -> tuple[int, ...]:
    """Return lengths, with those that were asked for instead of the chosen ones."""
    if not isinstance(asked, Mapping) or not all(
        dim in dims and isinstance(length, int | np.integer) and length >= 1
        for dim, length in asked.items()
    ):
        raise ValueError(
            f"{option}={asked!r}, expected a dict of positive lengths along some of "
            f"{', '.join(dims)}"
        )
    return tuple(int(asked.get(dim, length)) for dim, length in zip(dims, lengths, strict=True))


def gather_chunks(
    chunks: tuple[int, ...], shape: tuple[int, ...], itemsize: int, nbytes: int | None = None
) -> tuple[int, ...]:
    """Return the lengths of regions of equal size, of many chunks: first along the last axis."""
    grown = list(chunks)
    room = (REGION_NBYTES if nbytes is None else nbytes) // (math.prod(chunks) * itemsize)
    for axis in reversed(range(len(shape))):
        count = max(1, -(-shape[axis] // chunks[axis]))
        parts = -(-count // max(1, room))
        per_part = -(-count // parts)
        grown[axis] *= per_part
        room //= per_part
    return tuple(grown)
