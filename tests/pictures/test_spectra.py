"""Power spectra against waves of known period, sums of squares and Fourier sums written out."""

from __future__ import annotations

import io

import dask
import numpy as np
import pytest
import xarray as xr
from engine import UNTIMED, open_mrc
from hypothesis import given
from hypothesis import strategies as st
from mrcbytes import lay

from xarray_mrc.pictures.spectra import power_spectrum


def grid(voxel, shape, dims="zyx"):
    """Return coordinates along the last axes of a shape, with these voxel sizes."""
    return {
        dim: xr.Variable(dim, step * np.arange(n), {"units": "angstrom"})
        for dim, step, n in zip(dims[-len(shape) :], voxel, shape, strict=True)
    }


def fourier_sum(values):
    """Return the Fourier transform as a sum that is written out, zero frequency in the middle."""
    found = np.asarray(values, complex)
    for axis, n in enumerate(values.shape):
        k = np.arange(n) - n // 2
        wave = np.exp(-2j * np.pi * np.outer(k, np.arange(n)) / n)
        found = np.moveaxis(np.tensordot(wave, found, (1, axis)), 0, axis)
    return found


@pytest.mark.parametrize(("kx", "ky"), [(3, 0), (0, 5), (3, 5), (-4, 2)])
def test_a_wave_is_at_its_frequency(kx, ky):
    coords = grid((2.5, 1.25), (20, 32))
    y, x = np.ogrid[:20, :32]
    wave = xr.DataArray(np.cos(2 * np.pi * (kx * x / 32 + ky * y / 20)), coords, ("y", "x"))
    found = power_spectrum(wave)
    fx, fy = kx / (32 * 1.25), ky / (20 * 2.5)
    peak = found.sel(frequency_x=[fx, -fx], frequency_y=[fy, -fy], method="nearest")
    np.testing.assert_allclose(np.diagonal(peak), 20 * 32 / 4)
    assert float(found.sum()) == pytest.approx(20 * 32 / 2)
    assert peak.frequency_x.values == pytest.approx([fx, -fx])
    ring = power_spectrum(wave, rotational=True)
    assert float(ring.frequency[ring.values.argmax()]) == pytest.approx(
        np.hypot(fx, fy), abs=1 / 40
    )


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
TYPES = st.sampled_from(["i1", "u2", "f2", "f4", "f8", "c8"])


def random_values(shape, dtype, seed=1):
    random = np.random.default_rng(seed)
    values = random.normal(size=shape) * 9
    if dtype == "c8":
        values = values + 1j * random.normal(size=shape)
    return np.abs(values).astype(dtype) if dtype in ("i1", "u2") else values.astype(dtype)


@UNTIMED
@given(SHAPES, TYPES)
def test_power_is_the_square_of_the_fourier_sum(shape, dtype):
    values = random_values(shape, dtype)
    found = power_spectrum(xr.DataArray(values, grid((1, 2, 3), shape)), rotational=False)
    expected = np.abs(fourier_sum(values.astype("c16"))) ** 2 / values.size
    assert found.dtype == ("f8" if dtype == "f8" else "f4")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())
    squares = (np.abs(values.astype("c16")) ** 2).sum()
    assert float(found.sum(dtype="f8")) == pytest.approx(squares, rel=1e-4)  # Parseval
    for name, n, step in zip("zyx", shape, (1, 2, 3), strict=True):
        expected = (np.arange(n) - n // 2) / (n * step) if n > 1 else [0]
        np.testing.assert_allclose(found[f"frequency_{name}"], expected, atol=1e-15)


@UNTIMED
@given(SHAPES, TYPES)
def test_rings_are_means_over_all_directions(shape, dtype):
    values = xr.DataArray(random_values(shape, dtype).astype("c16"), grid((1, 2, 3), shape))
    if dtype != "c8":
        values = values.real
    whole = power_spectrum(values, rotational=False)
    found = power_spectrum(values, rotational=True)
    assert found.dims == ("frequency",)
    f = np.sqrt(whole.frequency_z**2 + whole.frequency_y**2 + whole.frequency_x**2)
    steps = [1 / (n * d) for n, d in zip(shape, (1, 2, 3), strict=True) if n > 1]
    width = max(steps, default=1)
    np.testing.assert_allclose(found.frequency, np.arange(found.size) * width)
    highest = min((0.5 / d for n, d in zip(shape, (1, 2, 3), strict=True) if n > 1), default=0)
    assert found.frequency[-1] <= highest * (1 + 1e-6) < found.frequency[-1] + width * (1 + 1e-6)
    ring = np.rint(f / width * (1 - 1e-12))
    near = np.abs(f / width % 1 - 0.5) < 1e-6  # halfway between two rings
    for number, value in enumerate(found.values):
        if not (near & (np.abs(f / width - number) < 1)).any():
            assert value == pytest.approx(whole.values[(ring == number).values].mean(), rel=1e-9)


def test_a_wave_in_a_skewed_cell_is_at_its_length_in_space():
    angles, voxel, n = (80.0, 100.0, 120.0), 2.0, 24
    a, b, c = np.radians(angles)
    ax, bx = np.array([1, 0, 0]), np.array([np.cos(c), np.sin(c), 0])
    cy = (np.cos(a) - np.cos(b) * np.cos(c)) / np.sin(c)
    cx = np.array([np.cos(b), cy, np.sqrt(1 - np.cos(b) ** 2 - cy**2)])
    k = np.array([3, 2, 1]) / (n * voxel)  # periods along a, b, c
    in_space = np.linalg.solve(np.array([ax, bx, cx]), k)
    z, y, x = np.ogrid[:n, :n, :n]
    wave = np.cos(2 * np.pi * voxel * (k[0] * x + k[1] * y + k[2] * z))
    data = xr.DataArray(wave, grid((voxel,) * 3, (n,) * 3))
    data.attrs["mrc_cell_angles"] = list(angles)
    found = power_spectrum(data)
    width = float(found.frequency[1])
    assert float(found.frequency[found.values.argmax()]) == pytest.approx(
        np.linalg.norm(in_space), abs=width / 2
    )
    assert abs(np.linalg.norm(in_space) - np.linalg.norm(k)) > width / 2


def test_white_noise_has_the_power_of_its_variance():
    noise = np.random.default_rng(1).normal(5, 3, (4, 64, 64)).astype("f4")
    found = power_spectrum(
        xr.DataArray(noise, grid((1.5, 1.5), (64, 64), "yx"), ("frame", "y", "x"))
    )
    spectrum = found.mean("frame")
    assert spectrum.dims == ("frequency_y", "frequency_x")
    assert float(spectrum.sel(frequency_y=0, frequency_x=0)) == pytest.approx(25 * 4096, rel=0.05)
    rest = spectrum.where((spectrum.frequency_y != 0) | (spectrum.frequency_x != 0))
    assert float(rest.mean()) == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize("kind", ["image", "image_stack", "volume", "volume_stack"])
@pytest.mark.parametrize("rotational", [None, True, False])
def test_dask_is_lazy_and_gives_the_same(kind, rotational):
    lengths = (8, 6, 1 if kind == "image" else 4)
    ds = open_mrc(io.BytesIO(lay("int16", kind, lengths=lengths).raw), chunks={})
    if kind == "image_stack":
        ds = ds.assign_coords(tilt_angle=("image", [1.0, 2.0, 3.0, 4.0]))
    chunked = ds.chunk(x=3, y=2)
    with dask.config.set(scheduler=lambda *args, **options: pytest.fail("computed")):
        lazy = chunked.mrc.power_spectrum(rotational=rotational)
    assert lazy.chunks is not None
    expected = ds.load().mrc.power_spectrum(rotational=rotational)
    xr.testing.assert_identical(lazy.compute(), expected)
    assert expected.name == "power_spectrum"
    is_volume = kind.startswith("volume")
    names = ["frequency_z"] * is_volume + ["frequency_y", "frequency_x"]
    rings = is_volume if rotational is None else rotational
    outer = {"image_stack": ("image",), "volume_stack": ("volume",)}.get(kind, ())
    assert expected.dims == (*outer, *(["frequency"] if rings else names))
    for name in expected.dims[len(outer) :]:
        assert expected[name].attrs["units"] == "1/angstrom"
        assert name in expected.indexes
    assert ("tilt_angle" in expected.coords) == (kind == "image_stack")


def test_without_a_voxel_size_nothing_is_aligned_by_frequency():
    laid = lay("int16", "image", lengths=(8, 6, 1), voxel=None)
    found = open_mrc(laid.raw).mrc.power_spectrum()
    assert found.frequency_x.attrs["units"] == "1/pixel"
    assert found.frequency_x.values.tolist() == (np.arange(-4, 4) / 8).tolist()
    assert not found.indexes
    known = open_mrc(lay("int16", "image", lengths=(8, 6, 1)).raw).mrc.power_spectrum()
    assert (found + known).shape == (6, 8)
    rings = open_mrc(laid.raw).mrc.power_spectrum(rotational=True)
    assert rings.frequency.attrs["units"] == "1/pixel"


def test_colours_are_refused():
    data = open_mrc(lay("rgb", "image", lengths=(6, 4, 1)).raw)
    with pytest.raises(ValueError, match=r"obj\.mean\('rgb'\)"):
        data.mrc.power_spectrum()


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="the dimensions are"):
        power_spectrum(xr.DataArray(np.zeros(3), dims="time"))
