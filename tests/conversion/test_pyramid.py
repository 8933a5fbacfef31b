"""The plan of a pyramid: every voxel of every level is written once, and no file by two tasks."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.conversion import grid, pyramid
from xarray_mrc.conversion.pyramid import check_factors, plan_pyramid
from xarray_mrc.conversion.pyramid_tasks import pyramid_tasks

DIMS = (("z", "y", "x"), ("image", "y", "x"), ("y", "x"), ("volume", "z", "y", "x"))


def slab_of(part, slabs):
    """Return the slab that a region lies in."""
    (found,) = [
        slab
        for slab in slabs
        if all(o.start <= i.start and i.stop <= o.stop for i, o in zip(part, slab, strict=True))
    ]
    return found


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_each_voxel_is_written_once(data):
    dims = data.draw(st.sampled_from(DIMS))
    shape = tuple(data.draw(st.integers(1, 23)) for _ in dims)
    factors = data.draw(st.sampled_from([(), (2,), (2, 4), (3,), (2, 3), (2, 6)]))
    chunks = (
        {dim: data.draw(st.integers(1, 6)) for dim in dims} if data.draw(st.booleans()) else None
    )
    shards = data.draw(st.sampled_from(["auto", None]))
    if chunks and data.draw(st.booleans()):
        shards = {dim: n * data.draw(st.integers(1, 3)) for dim, n in chunks.items()}
    region_nbytes, task_nbytes = data.draw(st.sampled_from([(200, 800), (3000, 9000)]))
    in_order = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "REGION_NBYTES", region_nbytes)
        patch.setattr(pyramid, "REGION_NBYTES", region_nbytes)
        patch.setattr(pyramid, "TASK_NBYTES", task_nbytes)
        patch.setattr(grid, "SLAB_NBYTES", 4 * region_nbytes)
        patch.setattr(grid, "CHUNK_VOXELS", 64)
        binned = [dim in "zyx" for dim in dims]
        plan = plan_pyramid(
            dims, shape, 2, factors, binned=binned, chunks=chunks, shards=shards, in_order=in_order
        )
        tasks = pyramid_tasks(plan, "mean")
    slabs = plan.slabs()
    for task in tasks if in_order else ():  # none goes back to an earlier slab of a stream
        places = [slabs.index(slab_of(part, slabs)) for part in task.parts()]
        assert places == sorted(places)
    for number, level in enumerate(plan.levels):
        f = (1, *factors)[number]
        assert level.factors == tuple(f if b else 1 for b in binned)
        assert level.shape == tuple(-(-n // k) for n, k in zip(shape, level.factors, strict=True))
        written = np.zeros(level.shape, int)
        owners: dict[tuple[int, ...], int] = {}
        files = level.shards or level.chunks
        for owner, task in enumerate(tasks):
            parts = task.parts() if not number else plan.parts(task.region, number)
            for part in parts:
                region = level.region(part)
                written[region] += 1
                touched = [
                    range(s.start // length, -(-s.stop // length))
                    for s, length in zip(region, files, strict=True)
                ]
                for file in product(*touched):
                    assert owners.setdefault(file, owner) == owner
                for s, length, n in zip(region, files, level.shape, strict=True):
                    assert s.start % length == 0
                    assert s.stop % length == 0 or s.stop == n
        assert (written == 1).all()
        if level.shards:
            assert all(s % c == 0 for s, c in zip(level.shards, level.chunks, strict=True))
        if shards not in ("auto", None):
            assert all(
                s == min(shards[d], -(-n // c) * c)
                for s, d, n, c in zip(level.shards, dims, level.shape, level.chunks, strict=True)
            )


def test_regions_of_a_large_volume_are_of_bounded_size():
    for in_order, itemsize in product((False, True), (1, 2, 4)):
        plan = plan_pyramid(
            ("z", "y", "x"), (1000, 4096, 4096), itemsize, (2, 4), binned=(True,) * 3,
            in_order=in_order,
        )  # fmt: skip
        for level in plan.levels:
            region = level.region(plan.parts(plan.tasks()[0], plan.levels.index(level))[0])
            nbytes = math.prod(s.stop - s.start for s in region) * itemsize
            assert 2**20 <= nbytes <= 64 * 2**20
        assert len(plan.tasks()) >= 64  # work for many workers
        if in_order:
            slab = math.prod(s.stop - s.start for s in plan.slabs()[0]) * itemsize
            assert slab <= 256 * 2**20


def test_factors_that_are_none():
    assert check_factors(np.array([2, 4])) == (2, 4)
    for wrong in (2, "24", (1, 2), (4, 2), (2, 2), (2.0,), None):
        with pytest.raises(ValueError, match="expected whole numbers above 1 that increase"):
            check_factors(wrong)
