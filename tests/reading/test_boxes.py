"""Boxes at many places, held against numpy's slices: every mode, axes, source and edge."""

from __future__ import annotations

import gzip
import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import AXES, FORMS, KINDS, ORDERS, lay

from xarray_mrc.reading import boxes
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.boxes import read_boxes
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import local, maps


def expected(pixels, corners, size, limits, fill):
    """Return the boxes, from an array that is padded on all sides."""
    inside = np.full_like(pixels, fill)
    part = tuple(slice(r.start, r.stop) for r in limits)
    inside[part] = pixels[part]
    padded = np.pad(inside, 20, constant_values=fill)
    return np.stack(
        [
            padded[tuple(slice(c + 20, c + 20 + n) for c, n in zip(corner, size, strict=True))]
            for corner in corners.tolist()
        ]
    )


@st.composite
def files_with_boxes(draw):
    form, kind = FORMS[draw(st.sampled_from(sorted(FORMS)))], draw(st.sampled_from(KINDS))
    lengths = [2 * draw(st.integers(1, 4)) for _ in range(3)]
    if kind == "image":
        lengths[2] = 1
    axes = (1, 2, 3) if form.halved else draw(st.sampled_from(AXES))
    laid = lay(form, kind, draw(st.sampled_from(ORDERS)), axes, lengths=tuple(lengths))
    shape = laid.pixels.shape
    size = [draw(st.integers(1, n + 2)) for n in shape]
    limits = []
    for length in shape:
        start = draw(st.integers(0, length - 1))
        limits.append(range(start, draw(st.integers(start + 1, length))))
    corners = [
        [draw(st.integers(-n - 1, length)) for n, length in zip(size, shape, strict=True)]
        for _ in range(draw(st.integers(1, 6)))
    ]
    return laid, np.array(corners), tuple(size), limits


@settings(deadline=None, max_examples=100)
@given(
    files_with_boxes(),
    st.sampled_from(["map", "file", "box by box", "object", "gzip"]),
    st.integers(1, 200),
)
def test_boxes_are_slices(tmp_path_factory, found, storage, nbytes):
    laid, corners, size, limits = found
    path = tmp_path_factory.getbasetemp() / "boxes.mrc"
    path.write_bytes(gzip.compress(laid.raw) if storage == "gzip" else laid.raw)
    kind = {2: "image", 3: "volume", 4: "volume_stack"}[len(laid.dims) - ("rgb" in laid.dims)]
    kind = "image_stack" if "image" in laid.dims else kind
    opened = io.BytesIO(laid.raw) if storage == "object" else path
    array = open_file(opened, ReadingOptions(kind=kind), notes=[]).array
    out = np.full((len(corners), *size), 9, array.dtype)
    with (
        mock.patch.object(boxes, "SWEEP_NBYTES", nbytes),
        mock.patch.object(boxes, "is_dense", return_value=storage != "box by box"),
        mock.patch.object(local, "MIN_MAP_NBYTES", 1 if storage == "map" else 2**30),
    ):
        read_boxes(array, corners, limits, out)
    np.testing.assert_array_equal(out, expected(laid.pixels, corners, size, limits, 9))
    maps.cached_maps.clear()


class Recorder:
    """Bytes that are neither mapped nor a file; it notes what is read of them."""

    local_path, uri, fingerprint, read_ahead_nbytes = None, "recorder", (), 1

    def __init__(self, raw):
        self.raw, self.size_if_known = np.frombuffer(raw, np.uint8), len(raw)
        self.ranges = []

    def read_ranges(self, parts):
        for offset, out in parts:
            self.ranges.append((offset, out.size))
            out[:] = self.raw[offset : offset + out.size]


@pytest.mark.parametrize("count", [1, 40])
def test_only_bands_with_boxes_are_read_and_once(count):
    nz, ny, nx, n = 24, 600, 500, 6
    volume = np.arange(nz * ny * nx, dtype="f4").reshape(nz, ny, nx)
    laid = lay(lengths=(2, 2, 2))
    head = laid.with_fields(nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz)[:1024]
    layout = open_file(head + volume.tobytes()).array.layout
    source = Recorder(head + volume.tobytes())
    random = np.random.default_rng(3)
    # All in two bands of rows, 400 rows apart: more than a gap that is read to save a request.
    rows = random.choice([[30, 60], [480, 560]], count)
    corners = np.stack(
        [
            random.integers(4, 12, count),
            random.integers(rows[:, 0], rows[:, 1] - n),
            random.integers(0, nx - n, count),
        ],
        axis=1,
    )
    out = np.empty((count, n, n, n), "f4")
    with mock.patch.object(boxes, "SWEEP_NBYTES", 2**20):
        read_boxes(MrcArray(source, layout), corners, [range(nz), range(ny), range(nx)], out)
    limits = [range(n) for n in volume.shape]
    np.testing.assert_array_equal(out, expected(volume, corners, (n, n, n), limits, 0))
    # Sections and rows that hold a box, by plain arithmetic.
    wanted = np.zeros((nz, ny), bool)
    for z, y, _ in corners.tolist():
        wanted[z : z + n, y : y + n] = True
    starts, sizes = np.array(source.ranges).T
    assert (starts[1:] >= starts[:-1] + sizes[:-1]).all(), "in order, and no byte twice"
    inside = 80 + 6 if count > 1 else n
    assert sizes.sum() <= wanted.any(1).sum() * inside * (nx + 40) * 4 * 1.3
    assert sizes.sum() >= wanted.sum() * n * 4


def test_a_box_of_a_file_that_is_larger_than_may_be_mapped(tmp_path):
    size = 64
    path = tmp_path / "large.mrc"
    nx, nz = 4096, 40
    with path.open("wb") as file:
        file.write(
            lay(lengths=(2, 2, 2)).with_fields(nx=nx, ny=nx, nz=nz, mx=nx, my=nx, mz=nz)[:1024]
        )
        file.truncate(1024 + 4 * nx * nx * nz)  # without blocks on the disk
        at = 1024 + 4 * ((20 * nx + 3000) * nx + 2000)
        file.seek(at)
        file.write(np.float32(7).tobytes())
    array = open_file(path).array
    out = np.empty((1, 32, size, size), "f4")
    read_boxes(array, np.array([[4, 2980, 1990]]), [range(nz), range(nx), range(nx)], out)
    assert out[0, 16, 20, 10] == 7
    assert out.sum() == 7
