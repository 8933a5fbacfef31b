"""The chunks of a file in terms of Zarr: their bytes, taken from the file, are the pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mrcbytes import AXES, FORMS, KINDS, ORDERS, header, lay

from xarray_mrc import Header, MrcError
from xarray_mrc.codec.layout import Layout
from xarray_mrc.conversion.virtual_chunks import virtual_chunks

STORED_AS_THEY_ARE = [form for form in FORMS.values() if not form.packed and form.mode != 3]


def layout_of(**fields):
    counts = {"mx": fields["nx"], "my": fields["ny"], "mz": fields["nz"]}
    return Layout.from_header(Header.decode(header(**counts | fields)))


def pixels_in(raw, found):
    """Return the array that a reader of Zarr puts together from the bytes of a file."""
    offsets = found.offsets()
    assert offsets.shape == found.grid
    pixels = np.empty(found.shape, found.dtype)
    for index in np.ndindex(found.grid):
        stored = np.frombuffer(raw, found.dtype, found.nbytes // pixels.itemsize, offsets[index])
        # The codec `transpose` of Zarr stores axis order[i] of a chunk as axis i.
        turned = stored.reshape([found.chunks[axis] for axis in found.order])
        box = tuple(slice(i * n, i * n + n) for i, n in zip(index, found.chunks, strict=True))
        pixels[box] = turned.transpose(np.argsort(found.order))
    return pixels


@given(st.data())
def test_the_bytes_of_chunks_are_the_pixels(data):
    form = data.draw(st.sampled_from(STORED_AS_THEY_ARE))
    kind = data.draw(st.sampled_from(KINDS))
    axes = data.draw(st.sampled_from(AXES if kind in ("volume", "image_stack") else AXES[:1]))
    lengths = data.draw(st.tuples(*[st.integers(1, 8)] * 3))
    if kind == "image":
        lengths = (*lengths[:2], 1)
    extended = bytes(data.draw(st.sampled_from([0, 80, 1024])))
    order = data.draw(st.sampled_from(ORDERS))
    volumes = data.draw(st.integers(1, 4))
    laid = lay(form, kind, order, axes, lengths=lengths, volumes=volumes, extended=extended)
    layout = Layout.from_header(Header.decode(laid.raw), len(laid.raw), kind=kind)
    chunks = None
    if data.draw(st.booleans()):  # along one axis, so that a chunk is one run of bytes
        dim = data.draw(st.sampled_from([d for d in layout.dims if d != "rgb"]))
        whole = layout.shape[layout.dims.index(dim)]
        chunks = {dim: data.draw(st.sampled_from([n for n in range(1, 9) if whole % n == 0]))}
        if dim == "zyx"[3 - axes[0]] or (dim == "image" and axes[0] == 3):
            chunks = {dim: whole}  # rows run along it
    found = virtual_chunks(layout, chunks)
    for dim, length in (chunks or {}).items():
        assert found.chunks[found.dims.index(dim)] == length
    assert math.prod(found.grid) * found.nbytes == len(laid.raw) - 1024 - len(extended)
    np.testing.assert_array_equal(pixels_in(laid.raw, found), laid.pixels)


@pytest.mark.parametrize(
    ("fields", "chunks"),
    [
        # As many sections as divide 500 and take up to 16 MiB: 4 of 4 MiB.
        ({"nx": 1024, "ny": 1024, "nz": 500, "mode": 2}, (4, 1024, 1024)),
        # No divisor of a prime number of sections.
        ({"nx": 1024, "ny": 1024, "nz": 499, "mode": 2}, (1, 1024, 1024)),
        # One section of 64 MiB is whole, one of 128 MiB is cut into runs of 16 MiB.
        ({"nx": 4096, "ny": 4096, "nz": 8, "mode": 2}, (1, 4096, 4096)),
        ({"nx": 8192, "ny": 8192, "nz": 8, "mode": 1}, (1, 1024, 8192)),
        # The rows of 8191 sections can't be shared out, and a run of one would be too small.
        ({"nx": 8192, "ny": 8191, "nz": 8, "mode": 1}, (1, 8191, 8192)),
        ({"nx": 64, "ny": 64, "nz": 8, "mode": 2}, (8, 64, 64)),
        # Whole volumes of 64 KiB, 250 of 1000 of them.
        (
            {"nx": 64, "ny": 64, "nz": 4000, "mz": 4, "mode": 2, "ispg": 401},
            (250, 4, 64, 64),
        ),
        # Sections along y: one a chunk.
        ({"nx": 64, "ny": 32, "nz": 8, "mode": 2, "mapr": 3, "maps": 2}, (32, 1, 64)),
    ],
)
def test_chunks_that_are_chosen(fields, chunks):
    assert virtual_chunks(layout_of(**fields)).chunks == chunks


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ({"z": 10}, "10 does not divide the length 64 of z, .* pass 8 or 16"),
        ({"z": 100}, "pass 64"),
        ({"y": 16, "z": 2}, "one run of bytes; pass 1 for z, or no length for y"),
        ({"x": 16}, "whole rows, which run along x; pass 32"),
        ({"t": 1}, "chunks={'t': 1}, expected a dict of positive lengths along some of z, y, x"),
        ({"z": 0}, "positive lengths"),
        (16, "chunks=16, expected a dict"),
    ],
)
def test_chunks_that_cannot_be(chunks, message):
    layout = layout_of(nx=32, ny=48, nz=64, mode=1)
    with pytest.raises(ValueError, match=message):
        virtual_chunks(layout, chunks)


@pytest.mark.parametrize(
    ("form", "mode"), [("complex_int16", 4), ("four_bit", 0), ("half_width", 0)]
)
def test_modes_without_a_data_type(form, mode):
    raw = lay(form).raw
    layout = Layout.from_header(Header.decode(raw), len(raw))
    with pytest.raises(MrcError, match=rf"no such data type.* mode={mode}\)"):
        virtual_chunks(layout)


def test_a_terabyte_of_offsets():
    found = virtual_chunks(layout_of(nx=1024, ny=1024, nz=2**18, mode=2))
    offsets = found.offsets()
    assert offsets.shape == found.grid == (65536, 1, 1)
    assert offsets[-1, 0, 0] == 1024 + 2**40 - found.nbytes
    assert found.nbytes == 16 * 2**20
