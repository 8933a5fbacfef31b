"""Values of coarse levels, against sums in Python's whole numbers, xarray and brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_mrc.conversion import block_means
from xarray_mrc.conversion.block_means import check_method, reduce_levels

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4")
FLOATS = ("f2", "f4", "f8", "c8", "c16")


def blocks(values, factors):
    """Yield the index of each block in a level, and its voxels in C order."""
    starts = [range(0, n, f) for n, f in zip(values.shape, factors, strict=True)]
    for first in product(*starts):
        index = tuple(i // f for i, f in zip(first, factors, strict=True))
        yield index, values[tuple(slice(i, i + f) for i, f in zip(first, factors, strict=True))]


levels_of_volumes = st.sampled_from(
    [[(2, 2, 2), (4, 4, 4)], [(1, 2, 2), (1, 3, 3)], [(1, 3, 2)], [(2, 2, 2), (6, 6, 6)]]
)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(INTEGERS), levels=levels_of_volumes, shape=shapes)
def test_means_of_integers_are_exact(data, dtype, levels, shape):
    values = data.draw(hnp.arrays(dtype, shape))
    for factors, found in zip(levels, reduce_levels(values, levels), strict=True):
        assert found.dtype == values.dtype
        for index, block in blocks(values, factors):
            exact = Fraction(sum(map(int, block.ravel())), block.size)
            assert int(found[index]) == round(exact)  # ties to the even number


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sums_do_not_overflow(dtype):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        values = np.full((64, 64, 64), value, dtype)
        (found,) = reduce_levels(values, [(64, 64, 64)])
        assert found.item() == value


@pytest.mark.parametrize("strip", [64, 2**17])
@pytest.mark.parametrize("dtype", FLOATS)
def test_means_of_floats(dtype, strip, monkeypatch):
    monkeypatch.setattr(block_means, "STRIP_VOXELS", strip)
    random = np.random.default_rng(3)
    values = random.normal(1000, 300, (9, 7, 13)) + 1j * random.normal(size=(9, 7, 13))
    values = (values if dtype.startswith("c") else values.real).astype(dtype)
    levels = [(2, 2, 2), (4, 4, 4), (5, 4, 4)]
    for factors, found in zip(levels, reduce_levels(values, levels), strict=True):
        assert found.dtype == values.dtype
        wide = "c16" if dtype.startswith("c") else "f8"
        for index, block in blocks(values.astype(wide), factors):
            # One rounding to the data type; numbers of 64 bits are added as they are.
            units = 20 if wide == dtype else 1
            away = abs(found[index] - block.mean())
            assert away <= units * np.finfo(dtype).eps * abs(block.mean())


def test_sums_of_the_greatest_floats():
    for dtype in ("f2", "f4"):
        values = np.full((4, 4, 4), np.finfo(dtype).max, dtype)
        assert (reduce_levels(values, [(2, 2, 2)])[0] == np.finfo(dtype).max).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_nan_and_infinity_as_in_coarsen(dtype):
    random = np.random.default_rng(5)
    values = random.integers(-9, 9, (6, 8, 10)).astype(dtype)
    values[random.random(values.shape) < 0.3] = np.nan
    values[2:4, 4:8, :4] = np.nan
    values[0, 0, 0], values[5, 7, 9] = np.inf, -np.inf
    array = xr.DataArray(values, dims=("z", "y", "x"))
    levels = [(2, 2, 2), (2, 4, 2)]
    for factors, found in zip(levels, reduce_levels(values, levels), strict=True):
        expected = array.coarsen(dict(zip("zyx", factors, strict=True)), boundary="pad").mean()
        np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "f2" else 1e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(("i1", "u2", "i8")), shape=shapes)
def test_labels(data, dtype, shape):
    values = data.draw(hnp.arrays(dtype, shape, elements=st.integers(0, 3)))
    levels = [(1, 2, 2), (3, 4, 2)]
    for factors, found in zip(levels, reduce_levels(values, levels, "mode"), strict=True):
        for index, block in blocks(values, factors):
            numbers, counts = np.unique(block, return_counts=True)
            assert found[index] == numbers[counts.argmax()]
    for factors, found in zip(levels, reduce_levels(values, levels, "nearest"), strict=True):
        for index, block in blocks(values, factors):
            assert found[index] == block[tuple((n - 1) // 2 for n in block.shape)]


def test_methods_that_do_not_fit():
    with pytest.raises(ValueError, match=r"method='median', expected 'mean', 'nearest', 'mode'"):
        check_method("median", np.dtype("i2"))
    with pytest.raises(ValueError, match="but the data are float32"):
        check_method("mode", np.dtype("f4"))
    with pytest.raises(ValueError, match="not exact for uint64"):
        check_method("mean", np.dtype("u8"))
    check_method("nearest", np.dtype("c8"))
