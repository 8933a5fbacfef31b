"""Helpers that open files with the engine and assert on the datasets."""

from __future__ import annotations

import gzip
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import settings

from xarray_mrc import MrcWarning
from xarray_mrc.backend import MrcBackendEntrypoint

UNTIMED = settings(deadline=None)
NAN, INF = math.nan, math.inf
FILE_AXES = ("x", "y", "z")


def open_mrc(path: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine=MrcBackendEntrypoint, **options)


def open_warned(path: Any, **options: Any) -> tuple[xr.Dataset, str]:
    """Open a file that raises exactly one warning; return the dataset and its message."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = open_mrc(path, **options)
    assert [warning.category for warning in caught] == [MrcWarning]
    assert caught[0].filename == __file__
    return dataset, str(caught[0].message)


def save(path: Path, raw: bytes) -> Path:
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)
    return path


def assert_pixels(found: xr.DataArray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.dtype.isnative
    assert found.shape == expected.shape
    values = found.values
    assert values.dtype == expected.dtype
    # As bytes, so that nan, the sign of zero and every last bit count.
    assert values.tobytes() == np.ascontiguousarray(expected).tobytes()


def assert_index(coord: xr.DataArray, count: int) -> None:
    """Assert that a coordinate holds the labels 0, 1, 2, ... without units."""
    assert coord.dtype.kind == "i"
    assert coord.values.tolist() == list(range(count))
    assert "units" not in coord.attrs


def start_of(dataset: xr.Dataset) -> tuple[float, float, float]:
    return tuple(float(dataset[dim][0]) for dim in FILE_AXES)


def kind_of(path: Any, **options: Any) -> str:
    dataset = open_mrc(path, **options)
    kind: str = dataset.data.attrs["mrc_kind"]
    dims = {
        "image": ("y", "x"),
        "image_stack": ("image", "y", "x"),
        "volume": ("z", "y", "x"),
        "volume_stack": ("volume", "z", "y", "x"),
    }
    assert dataset.data.dims == dims[kind]
    return kind


def named(value: Any) -> str:
    """Return a name for a test, made of the header fields that it sets."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(f"{k}={v}".replace(" ", "")[:24] for k, v in value.items()) or "usual"
