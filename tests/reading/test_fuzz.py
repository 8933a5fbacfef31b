"""Files that lie: each is read right, or refused with a message that says what and where."""

import random

import pytest
from fuzzing import CONTAINERS, check, make_file, mutate, open_and_load, plain_read
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc import validate
from xarray_mrc.checking.profiles import PROFILES


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**32), st.sampled_from(sorted(CONTAINERS)), st.booleans())
def test_mutated_files(seed, container, before):
    rng = random.Random(seed)
    data = make_file(rng)
    pack = CONTAINERS[container]
    check(pack(mutate(data, rng)) if before else mutate(pack(data), rng), container)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2200))
def test_random_bytes(data):
    check(data, "plain")


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from(sorted(CONTAINERS)))
def test_sound_files_open(seed, container):
    data = make_file(random.Random(seed))
    dataset, said = open_and_load(CONTAINERS[container](data))
    assert dataset is not None, said


@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_some_sound_files_are_compared(container):
    rng = random.Random(7)
    files = [make_file(rng) for _ in range(50)]
    assert sum(plain_read(data) is not None for data in files) > 15
    assert all(check(CONTAINERS[container](data), container) for data in files)


# What keeps a file from being read.
UNREADABLE = {"H43", "H01", "H05", "H07", "H24", "H44", "S01", "C02"}


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.sampled_from(sorted(CONTAINERS)), st.sampled_from(PROFILES))
def test_any_file_has_a_report(seed, container, profile):
    rng = random.Random(seed)
    pack = CONTAINERS[container]
    data = make_file(rng)
    data = pack(mutate(data, rng)) if rng.random() < 0.5 else mutate(pack(data), rng)
    report = validate(data, profile)
    assert bool(report) == all(finding.severity != "error" for finding in report.findings)
    if profile != "mrcfile":  # which knows fewer modes and containers
        is_open = open_and_load(data)[0] is not None
        assert is_open != bool({finding.id for finding in report.findings} & UNREADABLE)
