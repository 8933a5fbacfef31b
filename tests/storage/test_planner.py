"""The planner of requests: pure, so that all of this needs no server."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc.storage.remote.planner import MAX_GAP_NBYTES, MAX_PART_NBYTES, plan_requests

FILE = np.random.default_rng(7).integers(0, 256, 5000, np.uint8)
ranges = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 900)), max_size=12)


def parts_of(wanted):
    return [(offset, np.empty(nbytes, np.uint8)) for offset, nbytes in wanted]


def spans(requests):
    return [(request.offset, request.nbytes) for request in requests]


@given(ranges, st.integers(0, 500), st.integers(1, 700), st.integers(1, 300))
@settings(max_examples=300, deadline=None)
def test_every_byte_arrives(wanted, max_gap, max_part, step):
    """Whatever is wanted arrives, in blocks of any length and requests of any order."""
    parts = parts_of(wanted)
    requests = plan_requests(parts, max_gap=max_gap, max_part=max_part)
    for request in reversed(requests):
        for start in range(request.offset, request.offset + request.nbytes, step):
            end = min(start + step, request.offset + request.nbytes)
            request.take(start, FILE[start:end].tobytes())
    for offset, out in parts:
        assert np.array_equal(out, FILE[offset : offset + out.size])


@given(ranges, st.integers(0, 500), st.integers(1, 700))
@settings(max_examples=300, deadline=None)
def test_requests_are_sorted_bounded_and_apart(wanted, max_gap, max_part):
    requests = plan_requests(parts_of(wanted), max_gap=max_gap, max_part=max_part)
    position = 0
    for offset, nbytes in spans(requests):
        assert offset >= position
        assert 0 < nbytes <= max_part
        position = offset + nbytes
    needed = {i for offset, nbytes in wanted for i in range(offset, offset + nbytes)}
    asked = {i for offset, nbytes in spans(requests) for i in range(offset, offset + nbytes)}
    assert needed <= asked
    unused = sorted(asked - needed)
    # Every unused byte lies between two wanted ones that are no further apart than the limit.
    for i in unused:
        before = max(j for j in needed if j < i)
        after = min(j for j in needed if j > i)
        assert after - before - 1 <= max_gap


@given(st.lists(st.tuples(st.integers(0, 2**24), st.integers(1, 2**18)), min_size=1, max_size=50))
@settings(deadline=None)
def test_long_gaps_are_at_most_half(wanted):
    requests = plan_requests(parts_of(wanted))
    kinds = [(o, 1) for o, _ in wanted] + [(o + n, -1) for o, n in wanted]
    useful, depth, last = 0, 0, 0
    for at, change in sorted(kinds):
        useful += (at - last) if depth else 0
        depth, last = depth + change, at
    short = 8 * 2**10 * len(wanted)
    assert sum(n for _, n in spans(requests)) <= 2 * useful + short
    assert len(requests) <= len(wanted) + sum(n for _, n in wanted) // MAX_PART_NBYTES


def test_one_range_is_one_exact_request():
    assert spans(plan_requests(parts_of([(1024, 262144)]))) == [(1024, 262144)]
    assert plan_requests([]) == plan_requests(parts_of([(5, 0)])) == []


def test_rows_of_a_section_are_asked_for_together():
    rows = [(1024 + i * 4096, 1024) for i in range(64)]  # with gaps of 3 KiB
    assert spans(plan_requests(parts_of(rows))) == [(1024, 63 * 4096 + 1024)]


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_a_brick_is_not_amplified(itemsize):
    """64 rows of 256 pixels in each of 64 sections of 256 rows."""
    row = 256 * itemsize
    bands = [(1024 + z * 256 * row, 64 * row) for z in range(64)]
    requests = plan_requests(parts_of(bands))
    assert len(requests) <= 64
    assert sum(n for _, n in spans(requests)) <= 2 * 64 * 64 * row


def test_a_gap_that_is_longer_than_the_limit_stays():
    far = [(0, 2**20), (2**20 + MAX_GAP_NBYTES + 1, 2**20)]
    near = [(0, 2**20), (2**20 + MAX_GAP_NBYTES, 2**20)]
    assert len(plan_requests(parts_of(far))) == 2
    assert len(plan_requests(parts_of(near))) == 1


def test_long_ranges_are_split_evenly():
    nbytes = 3 * MAX_PART_NBYTES + 3
    sizes = [n for _, n in spans(plan_requests([(10, np.empty(nbytes, np.uint8))]))]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1
