"""One pass over the data, held against numpy in float64 and against exact fractions."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.statistics import (
    BLOCK,
    UNKNOWN,
    StatedStatistics,
    Statistics,
    measure,
    stated_statistics,
)

RNG = np.random.default_rng(5)
DTYPES = ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<f2", ">f2", "<f4", ">f4", "<f8"]


def sample(dtype, shape=(3, 70, 800)):
    return (RNG.normal(20, 9, shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    values = sample(dtype)
    found, wide = measure(values), values.astype("f8")
    assert (found.count, found.minimum, found.maximum) == (values.size, wide.min(), wide.max())
    assert found.mean == pytest.approx(wide.mean(), rel=1e-13)
    assert found.rms == pytest.approx(wide.std(), rel=1e-13)


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<u8", ">u8", "?"])
def test_extremes_beyond_float64_are_exact(dtype):
    limits = (0, 1) if dtype == "?" else (2**53 + 1, 2**63 - 1)
    found = measure(np.array([limits, limits[::-1]], dtype))
    assert (found.minimum, found.maximum) == limits
    assert found.merge(found).maximum == limits[1]


@pytest.mark.parametrize("dtype", ["O", "U2", "M8[s]", "m8[s]", [("a", "f4")]], ids=str)
def test_what_is_no_number(dtype):
    with pytest.raises(TypeError, match="expected numbers"):
        measure(np.zeros(3, dtype))


@pytest.mark.parametrize("dtype", ["<c8", ">c8"])
def test_complex(dtype):
    values = (sample("f4") + 1j * sample("f4")).astype(dtype)
    found = measure(values)
    assert found.rms == pytest.approx(values.astype("c16").std(), rel=1e-13)
    assert found.mean == pytest.approx(values.astype("c16").mean(), rel=1e-13)
    assert math.isnan(found.minimum)
    assert {k: v for k, v in found.fields().items() if k != "rms"} == {
        k: v for k, v in UNKNOWN.items() if k != "rms"
    }
    values[0, 0, 0] = complex(1, math.nan)
    values[0, 0, 1] = complex(math.inf, 0)
    assert (measure(values).nans, measure(values).infinities) == (1, 1)


CUTS = [
    np.s_[:], np.s_[::-1], np.s_[:, ::2], np.s_[..., 3:67], np.s_[..., ::-3], np.s_[0], np.s_[0, 0],
    np.s_[1:1], np.s_[..., :0], np.s_[0, 0, 2], np.s_[:, 2, None],
]  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_any_strides(cut, order):
    values = sample("f4").transpose(order)[cut]
    found = measure(values)
    assert found.count == values.size
    if values.size:
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert found.rms == pytest.approx(values.std(dtype="f8"), rel=1e-12, abs=1e-12)


def test_wide_rows_and_long_columns():
    for shape in ((2, BLOCK + 7), (BLOCK + 7, 2), (1, 1, 3 * BLOCK)):
        values = np.empty((*shape[:-1], 2 * shape[-1]), "f4")[..., ::2]
        values[...] = RNG.normal(size=shape)
        assert measure(values).count == values.size
        assert measure(values).rms == pytest.approx(values.std(dtype="f8"))


def test_a_large_mean_does_not_swallow_the_spread():
    values = (1e6 + RNG.normal(size=3 * BLOCK)).astype("f4")
    exact = [Fraction(float(v)) for v in values]
    mean = sum(exact) / len(exact)
    spread = math.sqrt(sum((v - mean) ** 2 for v in exact) / len(exact))
    assert measure(values).rms == pytest.approx(spread, rel=1e-12)
    assert measure(values).mean == pytest.approx(float(mean), rel=1e-15)


def test_huge_values_do_not_overflow():
    values = np.array([1e20, -1e20, 3e38], "f4")
    assert measure(values).rms == pytest.approx(values.astype("f8").std())


def test_what_is_not_finite():
    values = sample("f4")
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    finite = values[np.isfinite(values)].astype("f8")
    found = measure(values)
    assert (found.nans, found.infinities, found.nonfinite) == (1, 2, 3)
    assert (found.minimum, found.maximum) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean())
    assert found.fields() == UNKNOWN
    nothing = measure(np.full(5, np.nan, "f4"))
    assert (nothing.count, nothing.nans, nothing.fields()) == (0, 5, UNKNOWN)
    assert measure(np.full(3, np.nan, "f2")).merge(measure(np.ones(2, "f4"))).mean == 1


def test_unknown_is_unknown_to_the_reader():
    header = Header.blank().replace(**Statistics().fields())
    assert stated_statistics(header) == StatedStatistics(None, None, None, None)
    stated = stated_statistics(Header.blank().replace(**measure(np.arange(3.0)).fields()))
    assert (stated.minimum, stated.maximum, stated.mean) == (0, 2, 1)


def test_no_temporary_of_the_size_of_the_data():
    values = np.ones((64, 256, 256), "f4")
    measure(values[0])
    tracemalloc.start()
    measure(values)
    measure(values[:, ::2, 3:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes / 8


finite = st.floats(-1e6, 1e6, width=32)


@given(npst.arrays("f4", st.integers(0, 50), elements=finite), st.integers(0, 50))
def test_parts_make_the_whole(values, cut):
    whole, parts = measure(values), measure(values[:cut]).merge(measure(values[cut:]))
    assert parts.count == whole.count
    if whole.count:
        assert (parts.minimum, parts.maximum) == (whole.minimum, whole.maximum)
        scale = max(abs(whole.minimum), abs(whole.maximum))
        assert parts.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-12 * scale)
        assert parts.rms == pytest.approx(whole.rms, rel=1e-7, abs=1e-7 * scale)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<c8"])
def test_nans_that_signal(dtype):
    # Junk in a file; a conversion of such a nan raises the processor's flag.
    numbers = np.array([1, 2, 3, 4], dtype)
    pattern = {2: 0x7D00, 4: 0x7FA00000, 8: 0x7FA00000}[numbers.itemsize]
    word = np.dtype(dtype[0] + {2: "u2", 4: "u4", 8: "u4"}[numbers.itemsize])
    numbers.view(word)[-numbers.itemsize // word.itemsize :] = pattern
    found = measure(numbers)
    assert (found.count, found.nans) == (3, 1)
