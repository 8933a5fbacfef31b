"""Chunks, shards and tasks: every voxel in one region, all of bounded size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.conversion import grid as grids


@given(
    kind=st.sampled_from([("y", "x"), ("image", "y", "x"), ("z", "y", "x"),
                          ("volume", "z", "y", "x"), ("z", "y", "x", "rgb")]),
    lengths=st.lists(st.integers(1, 2000), min_size=5, max_size=5),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    in_order=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_grids_are_bounded(kind, lengths, itemsize, in_order):
    sizes = dict(zip(("y", "x", "z", "image", "volume"), lengths, strict=True)) | {"rgb": 3}
    shape = tuple(sizes[dim] for dim in kind)
    grid = grids.grid_for(kind, shape, itemsize, in_order=in_order)
    nbytes = np.prod([min(s, n) for s, n in zip(grid.steps, shape, strict=True)]) * itemsize
    assert nbytes <= grids.REGION_NBYTES
    assert np.prod(grid.chunks) <= 3 * grids.CHUNK_VOXELS
    assert all(1 <= chunk <= length for chunk, length in zip(grid.chunks, shape, strict=True))
    assert all(s % c == 0 for s, c in zip(grid.shards, grid.chunks, strict=True))
    if in_order:
        slab = np.prod([s.stop - s.start for s in grid.slabs()[0]]) * itemsize
        plane = sizes["y"] * sizes["x"] * (3 if "rgb" in kind else 1) * itemsize
        assert slab <= max(grids.SLAB_NBYTES, plane)


@given(
    shape=st.lists(st.integers(1, 30), min_size=3, max_size=3),
    chunks=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    room=st.integers(1, 2000),
)
@settings(deadline=None)
def test_every_voxel_is_in_one_region(shape, chunks, room):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "REGION_NBYTES", room)
        grid = grids.grid_for(
            ("z", "y", "x"), tuple(shape), 1, chunks=dict(zip("zyx", chunks, strict=True))
        )
    times = np.zeros(shape, int)
    for region in grid.regions():
        times[region] += 1
    again = np.zeros(shape, int)
    firsts = []
    for slab in grid.slabs():
        firsts.append(slab[0].start)
        for region in grid.regions():
            if all(
                s.start <= r.start and r.stop <= s.stop for r, s in zip(region, slab, strict=True)
            ):
                again[region] += 1
    assert (times == 1).all()
    assert (again == 1).all()
    assert firsts == sorted(firsts)
