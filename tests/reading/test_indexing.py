"""Indexing, held against numpy: every mode, layout and source, chained, and pickled in between."""

from __future__ import annotations

import math
import pickle
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest
import xarray as xr
import xarray.testing.strategies as theirs
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mrcbytes import AXES, FORMS, KINDS, ORDERS, Laid, lay

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.reading import array, buffers, selection
from xarray_mrc.reading import open_file as reader
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.reading.selection import plan
from xarray_mrc.storage import local, maps

MANY = settings(deadline=None, max_examples=250)
FEWER = settings(deadline=None, max_examples=100)

KIND_OF = {"y": "image", "image": "image_stack", "z": "volume", "volume": "volume_stack"}

# Sizes of pieces, maps and views, so small that files of a few bytes are cut up as huge ones are.
SMALL = {
    "usual": {},
    "pieces": {(selection, "SPAN_NBYTES"): 40, (selection, "GAP_NBYTES"): 8},
    "rows": {(selection, "SPAN_NBYTES"): 1, (selection, "GAP_NBYTES"): 0},
    "maps": {
        (local, "MIN_MAP_NBYTES"): 1,
        (array, "MIN_VIEW_NBYTES"): 1,
        (buffers, "MIN_NBYTES"): 1,
    },
    "windows": {
        (local, "MIN_MAP_NBYTES"): 1,
        (maps.cached_maps, "max_nbytes"): 0,
        (selection, "GAP_NBYTES"): 0,
    },
}


@st.composite
def layouts(draw, form=None) -> Laid:
    form = form or FORMS[draw(st.sampled_from(sorted(FORMS)))]
    kind, axes = draw(st.sampled_from(KINDS)), draw(st.sampled_from(AXES))
    lengths = [draw(st.integers(1, 6)) for _ in range(3)]
    if kind == "image":
        lengths[2] = 1
    if form.halved:
        columns = axes[0] - 1
        lengths[columns] += lengths[columns] % 2
        assume(kind != "image" or columns != 2)
    order = draw(st.sampled_from(ORDERS))
    # An odd extended header, so that the numbers lie across the machine's own boundaries.
    extended = bytes(draw(st.sampled_from((0, 0, 1, 80))))
    volumes = draw(st.integers(1, 3))
    lengths = (lengths[0], lengths[1], lengths[2])
    return lay(
        form, kind, order, axes, lengths=lengths, volumes=volumes, extended=extended, exttyp=b"MRCO"
    )


def slices(size):
    ends = st.none() | st.integers(-size - 2, size + 2)
    steps = st.none() | st.integers(-size - 1, size + 1).filter(bool)
    return st.builds(slice, ends, ends, steps)


@st.composite
def basic(draw, sizes):
    return {
        dim: draw(st.one_of(slices(size), *([st.integers(-size, size - 1)] if size else [])))
        for dim, size in sizes.items()
        if draw(st.booleans())
    }


def positions(size, shape):
    if not size:
        shape = (0,) * len(shape)
    elements = st.integers(-size, max(size - 1, 0))
    return npst.arrays(np.int64, shape, elements=elements)


@st.composite
def outer(draw, sizes):
    key = draw(basic(sizes))
    for dim, size in sizes.items():
        if draw(st.booleans()):
            length = draw(st.integers(0, 7 if size else 0))
            key[dim] = draw(
                st.one_of(
                    positions(size, (length,)), npst.arrays(bool, size, elements=st.booleans())
                )
            )
    return key


@st.composite
def vectorized(draw, sizes):
    key = {dim: value for dim, value in draw(basic(sizes)).items() if isinstance(value, slice)}
    fresh = {f"p{draw(st.integers(0, 10**6))}": draw(st.integers(0, 4)) for _ in range(3)}
    for dim, size in sizes.items():
        if draw(st.booleans()):
            dims = [new for new in fresh if draw(st.booleans())]
            shape = tuple(fresh[new] for new in dims)
            assume(size or 0 in shape)
            elements = st.integers(-size, max(size - 1, 0))
            key[dim] = xr.DataArray(
                draw(npst.arrays(np.int64, shape, elements=elements)), dims=dims
            )
    return key


def ours_and_theirs(name, own):
    """Add xarray's own strategy of that name, which older releases do not have."""
    strategy = getattr(theirs, name, None)
    if strategy is None:
        return own

    def both(sizes):
        if not sizes or 0 in sizes.values():
            return own(sizes)
        smallest = {"min_dims": 1} if len(sizes) == 1 and "vectorized" in name else {}
        return st.one_of(own(sizes), strategy(sizes=sizes, **smallest))

    return both


def transposed(sizes):
    return st.permutations(sorted(sizes))


STEPS = {
    "basic": ours_and_theirs("basic_indexers", basic),
    "outer": ours_and_theirs("outer_array_indexers", outer),
    "vectorized": ours_and_theirs("vectorized_indexers", vectorized),
    "transposed": transposed,
    "pickled": lambda _: st.none(),
}


def take(data: xr.DataArray, step: str, key) -> xr.DataArray:
    if step == "pickled":
        return pickle.loads(pickle.dumps(data))
    return data.transpose(*key) if step == "transposed" else data.isel(key)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    # To the bit: the sign of zero and what a nan holds.
    assert found.tobytes() == wanted.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indexing")


def source_of(draw, folder, laid: Laid):
    """Give what to open, in one of three ways, and the options to open it with."""
    options = {"kind": KIND_OF[laid.dims[0]]}
    way = draw(st.sampled_from(("memory", "map", "read")))
    if way == "memory":
        return laid.raw, options
    path = folder / "file.mrc"
    path.unlink(missing_ok=True)
    path.write_bytes(laid.raw)
    return path, options | {"memmap": way == "map"}


def small(draw) -> ExitStack:
    stack = ExitStack()
    for (module, name), value in SMALL[draw(st.sampled_from(sorted(SMALL)))].items():
        stack.enter_context(mock.patch.object(module, name, value))
    return stack


def check_chain(folder, data, steps) -> None:
    laid = data.draw(layouts())
    source, options = source_of(data.draw, folder, laid)
    with small(data.draw):
        found = xr.open_dataset(source, engine="mrc", coords="none", **options)["data"]
        wanted = xr.DataArray(laid.pixels, dims=laid.dims)
        assert (found.dims, found.dtype) == (wanted.dims, wanted.dtype)
        for step in steps:
            key = data.draw(STEPS[step](dict(wanted.sizes)), step)
            try:
                wanted = take(wanted, step, key)
            except IndexError:  # a new dimension has the name of one that is there
                reject()
            found = take(found, step, key)
            assert found.sizes == wanted.sizes
            assert not found.variable._in_memory
        assert_same(found.copy().values, wanted.values)
        # What was loaded is the caller's own: a second read does not see what is done to it.
        loaded = found.copy().load()
        loaded.values[...] = 0
        assert_same(found.values, wanted.values)


@pytest.mark.parametrize("step", sorted(STEPS))
@FEWER
@given(data=st.data())
def test_one_step(folder, step, data):
    check_chain(folder, data, [step])


@pytest.mark.skipif(
    not hasattr(theirs, "basic_indexers"),
    reason="older releases of xarray themselves chain some indices wrongly",
)
@MANY
@given(data=st.data())
def test_chains(folder, data):
    names = st.sampled_from(sorted(STEPS))
    check_chain(folder, data, data.draw(st.lists(names, min_size=2, max_size=4), "steps"))


def outer_index(pixels: np.ndarray, key: tuple) -> np.ndarray:
    """Index each axis on its own, the last first, as numpy does with one index at a time."""
    for axis in reversed(range(pixels.ndim)):
        pixels = pixels[(slice(None),) * axis + (key[axis],)]
    return pixels


@MANY
@given(data=st.data())
def test_arrays_without_xarray(folder, data):
    laid = data.draw(layouts())
    source, options = source_of(data.draw, folder, laid)
    named = data.draw(outer(dict(zip(laid.dims, laid.pixels.shape, strict=True))), "key")
    key = tuple(named.get(dim, slice(None)) for dim in laid.dims)
    with small(data.draw):
        lazy = pickle.loads(pickle.dumps(reader.open_file(source, ReadingOptions(**options)).array))
        wanted = outer_index(laid.pixels, key)
        found = lazy[key]
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert found.tobytes() == wanted.tobytes()
        if found.size and found.ndim:
            assert found.flags.writeable
        assert lazy[...].tobytes() == lazy[()].tobytes() == laid.pixels.tobytes()


@given(laid=layouts(), data=st.data())
@FEWER
def test_bad_indices_are_refused(laid, data):
    lazy = reader.open_file(laid.raw, ReadingOptions(kind=KIND_OF[laid.dims[0]])).array
    axis = data.draw(st.integers(0, lazy.ndim - 1))
    length = lazy.shape[axis]
    bad = data.draw(
        st.sampled_from(
            (length, -length - 1, [0, length], [-length - 1], 0.5, "x", [0.0], None, [[0]],
             np.ones(length + 1, bool), 2**70)
        )
    )  # fmt: skip
    key = [slice(None)] * lazy.ndim
    key[axis] = bad
    with pytest.raises(IndexError):
        lazy[tuple(key)]
    with pytest.raises(IndexError):
        lazy[(0,) * (lazy.ndim + 1)]
    with pytest.raises(IndexError):
        lazy[..., 0, ...]


# Plans: the bytes that are read


def bytes_of_pixels(laid: Laid, form) -> np.ndarray:
    """First byte and the one behind the last of each pixel, counted from the rules of the format.

    The result has a last axis of 2, and the axes of `laid.pixels` before it, less RGB's.
    """
    offset = len(laid.raw) - stored_nbytes(laid, form)
    columns, rows, sections = (laid.lengths[axis - 1] for axis in laid.axes)
    shape = laid.pixels.shape[: len(laid.dims) - len(form.trailing)]
    volumes = shape[0] if "volume" in laid.dims else 1
    item = {"b": 1, "B": 1, "h": 2, "H": 2, "e": 2, "f": 4}[form.code] * form.parts
    row = (columns + 1) // 2 if form.packed else columns * item
    v, s, r, c = np.ogrid[:volumes, :sections, :rows, :columns]
    first = offset + ((v * sections + s) * rows + r) * row + (c // 2 if form.packed else c * item)
    # Axis 3 - a of (volume, section, row, column) is the file's axis a: now to z, y, x.
    stored_axis = {axis: 3 - i for i, axis in enumerate(laid.axes)}
    first = first.transpose(0, *(stored_axis[axis] for axis in (3, 2, 1))).reshape(shape)
    return np.stack([first, first + (1 if form.packed else item)], axis=-1)


def stored_nbytes(laid: Laid, form) -> int:
    columns = laid.lengths[laid.axes[0] - 1]
    others = math.prod(laid.lengths) // columns
    others *= laid.pixels.shape[0] if "volume" in laid.dims else 1
    if form.packed:
        return others * ((columns + 1) // 2)
    return others * columns * laid.pixels.dtype.itemsize * math.prod(form.trailing) // (
        2 if form.name == "complex_int16" else 1
    )  # fmt: skip


def covered(bands, size) -> np.ndarray:
    """Count for each byte of the file how many bands it is in."""
    count = np.zeros(size, int)
    for offset, nbytes in bands:
        assert nbytes > 0
        assert offset >= 0
        assert offset + nbytes <= size
        count[offset : offset + nbytes] += 1
    return count


@MANY
@given(data=st.data())
def test_plans(data):
    form = FORMS[data.draw(st.sampled_from(sorted(FORMS)), "form")]
    laid = data.draw(layouts(form))
    layout = reader.open_file(laid.raw, ReadingOptions(kind=KIND_OF[laid.dims[0]])).array.layout
    spans = bytes_of_pixels(laid, form)
    dims = laid.dims[: spans.ndim - 1]
    named = data.draw(outer(dict(zip(dims, spans.shape, strict=False))), "key")
    key = tuple(named.get(dim, slice(None)) for dim in dims)
    needed = np.zeros(len(laid.raw), bool)
    for first, end in outer_index(spans, (*key, slice(None))).reshape(-1, 2):
        needed[first:end] = True
    begin = len(laid.raw) - stored_nbytes(laid, form)
    assert (layout.offset, layout.nbytes) == (begin, stored_nbytes(laid, form))

    with small(data.draw):
        chosen = plan(layout, key)
        if not needed.any():
            assert 0 in chosen.shape
            return
        if chosen.run is not None:
            # In one piece, to the byte.
            assert (covered([chosen.run], len(laid.raw)) == needed).all()
        target = np.zeros(chosen.shape[:4], int)
        read = np.zeros(len(laid.raw), bool)
        for piece in chosen.pieces():
            target[piece.target] += 1
            bands = piece.byte_ranges
            count = covered(bands, len(laid.raw))
            # In rising order and none twice, so that they can be told to the system as they are.
            assert count.max() == 1
            assert bands == sorted(bands)
            assert count[:begin].max(initial=0) == 0
            within = np.zeros(len(laid.raw), bool)
            start, nbytes = piece.span
            within[start : start + nbytes] = True
            assert (within | (count == 0)).all()
            read |= count > 0
        assert (target == 1).all()
        assert (read | ~needed).all()
        last = outer_index(spans, (*key, slice(None)))[..., 1].max()
        rest = layout.row_nbytes * (1 if layout.sample.packed else 0)
        assert chosen.reaches_end or last <= len(laid.raw) - rest


@pytest.mark.parametrize(
    ("key", "most"),
    [
        # Of rows that lie far apart the columns asked for, and nothing else.
        ((5, slice(None, None, 100), slice(7, 9)), 11 * 2 * 4),
        ((slice(None), 3, 5), 64 * 4),
        (([9, 2], [900, 3, 1], [5, 6]), 2 * 4 * 1024 * 4),
        ((slice(None, None, 16), slice(10, 12)), 4 * 2 * 1024 * 4),
        ((slice(3, 5), slice(10, 12), 8), 2 * 2 * 1024 * 4),
        ((63, 1023, 1023), 4),
        (([1, 2, 3], 1), 3 * 1024 * 4),
    ],
    ids=str,
)
def test_little_is_read_beside(key, most):
    laid = lay(lengths=(4, 4, 4))
    head = laid.with_fields(nx=1024, ny=1024, nz=64, mz=64)[:1024]
    layout = Layout.from_header(Header.decode(head))
    chosen = plan(layout, key)
    nread = sum(nbytes for piece in chosen.pieces() for _, nbytes in piece.byte_ranges)
    assert nread <= most
