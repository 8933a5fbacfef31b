"""Where the bytes of a region lie, held against a count of every pixel's bytes by itself."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import AXES, FORMS, KINDS, lay

from xarray_mrc.codec.byte_ranges import StoredArray
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.modes import MODES

MANY = settings(deadline=None, max_examples=400)
ITEM = {"b": 1, "B": 1, "h": 2, "H": 2, "e": 2, "f": 4}
KIND_OF = {"y": "image", "image": "image_stack", "z": "volume", "volume": "volume_stack"}


@st.composite
def files(draw):
    """Lay down a file of any form, kind and axis order; give it with its form and layout."""
    form = FORMS[draw(st.sampled_from(sorted(FORMS)))]
    kind, axes = draw(st.sampled_from(KINDS)), draw(st.sampled_from(AXES))
    lengths = [draw(st.integers(1, 5)) for _ in range(3)]
    if kind == "image":
        lengths[2] = 1
        axes = (1, 2, 3)
    if form.halved:
        lengths[axes[0] - 1] += lengths[axes[0] - 1] % 2
    laid = lay(
        form, kind, draw(st.sampled_from("<>")), axes, lengths=tuple(lengths),
        volumes=draw(st.integers(1, 3)), extended=bytes(draw(st.sampled_from((0, 80)))),
        exttyp=b"MRCO",
    )  # fmt: skip
    layout = Layout.from_header(Header.decode(laid.raw[:1024]), len(laid.raw), kind=kind)
    return laid, form, layout


def bytes_of(laid, form, region) -> set[int]:
    """Find the bytes of a region pixel by pixel, by the rules of the format."""
    columns, rows, sections = (laid.lengths[axis - 1] for axis in laid.axes)
    nbytes = ITEM[form.code] * form.parts
    row_nbytes = (columns + 1) // 2 if form.packed else columns * nbytes
    offset = 1024 + (80 if laid.raw[92:96] != bytes(4) else 0)
    found = set()
    for volume in region[0]:
        for section in region[1]:
            for row in region[2]:
                start = offset + ((volume * sections + section) * rows + row) * row_nbytes
                for column in region[3]:
                    if form.packed:
                        found.add(start + column // 2)
                    else:
                        first = start + column * nbytes
                        found.update(range(first, first + nbytes))
    return found


@st.composite
def boxes(draw, stored, even=False):
    ends = [sorted(draw(st.tuples(*[st.integers(0, n)] * 2))) for n in stored]
    if even:
        ends[3][0] -= ends[3][0] % 2
    return tuple(range(*pair) for pair in ends)


@st.composite
def regions(draw, stored):
    """Draw boxes, and products of ranges with a step and of lists."""
    found = list(draw(boxes(stored)))
    for axis in range(3):
        way = draw(st.sampled_from(["box", "step", "list"]))
        if way == "step":
            found[axis] = range(draw(st.integers(0, stored[axis])), stored[axis], 2)
        elif way == "list":
            some = draw(st.sets(st.integers(0, stored[axis] - 1)))
            found[axis] = np.array(sorted(some), np.intp)
    return tuple(found)


@MANY
@given(data=st.data())
def test_byte_ranges(data):
    laid, form, layout = data.draw(files())
    region = data.draw(regions(layout.stored))
    found = list(layout.byte_ranges(region))
    every = [byte for offset, nbytes in found for byte in range(offset, offset + nbytes)]
    assert all(type(number) is int for pair in found for number in pair)
    # In the order of the file, none twice, none too many.
    assert every == sorted(bytes_of(laid, form, region))
    if all(isinstance(positions, range) and positions.step == 1 for positions in region):
        assert len({nbytes for _, nbytes in found}) <= 1
        ends = {offset + nbytes for offset, nbytes in found}
        # Rows, sections and volumes that are whole share a range with what follows them.
        whole = [len(some) == n for some, n in zip(region, layout.stored, strict=True)]
        if all(whole[2:]):
            assert not ends & {offset for offset, _ in found} or not all(whole[1:])
    assert list(layout.byte_ranges(layout.whole)) == [(layout.offset, layout.nbytes)]


@MANY
@given(data=st.data())
def test_slabs(data):
    _, form, layout = data.draw(files())
    even = form.packed
    region = data.draw(st.one_of(st.none(), boxes(layout.stored, even)))
    most = data.draw(st.integers(1, layout.nbytes + 1))
    whole = layout.whole if region is None else region
    wanted = [byte for offset, n in layout.byte_ranges(whole) for byte in range(offset, offset + n)]
    every = []
    pixel = ITEM[form.code] * form.parts
    slabs = list(layout.slabs(most, region))
    for slab in slabs:
        ranges = list(layout.byte_ranges(slab))
        every += [byte for offset, n in ranges for byte in range(offset, offset + n)]
        assert 0 < sum(n for _, n in ranges) <= max(most, pixel)
        assert region is not None or len(ranges) == 1
    # Together they are the region, in the order of the file and nothing twice.
    assert every == wanted
    if wanted and most >= len(wanted):
        assert len(slabs) == 1


@MANY
@given(data=st.data())
def test_the_bytes_of_a_slab_decode_to_its_pixels(data):
    laid, form, layout = data.draw(files())
    # The pixels with their axes as stored: volumes, sections, rows, columns, and 3 for RGB.
    order = sorted(range(len(layout.axes)), key=layout.axes.__getitem__)
    stored = laid.pixels.transpose(order).reshape(layout.stored + form.trailing)
    for slab in layout.slabs(data.draw(st.integers(1, layout.nbytes))):
        ((offset, nbytes),) = layout.byte_ranges(slab)
        raw = np.frombuffer(laid.raw, np.uint8, nbytes, offset)
        lengths = [len(positions) for positions in slab]
        found = layout.sample.decode(raw.reshape(*lengths[:3], -1), layout.byteorder)
        found = found[..., : lengths[3], :] if form.trailing else found[..., : lengths[3]]
        start = tuple(slice(some.start, some.stop) for some in slab)
        assert found.astype(stored.dtype).tobytes() == stored[start].tobytes()


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ((range(1), range(2, 4), range(10), range(100)), [(1024 + 8000, 8000)]),
        ((range(1), range(1, 2), range(3, 5), range(100)), [(1024 + 5200, 800)]),
        ((range(1), range(3), range(9, 10), range(100)),
         [(4624, 400), (8624, 400), (12624, 400)]),
        ((range(1), range(1), np.array([0, 1, 4]), range(100)), [(1024, 800), (2624, 400)]),
        ((range(1), range(2), range(0, 10, 9), range(7, 9)),
         [(1052, 8), (4652, 8), (5052, 8), (8652, 8)]),
        ((range(1), range(0), range(10), range(100)), []),
        ((range(1), range(4), range(10), range(0)), []),
    ],
)  # fmt: skip
def test_by_hand(region, expected):
    header = Header.blank().replace(nx=100, ny=10, nz=4, mz=4, mode=2)
    assert list(Layout.from_header(header).byte_ranges(region)) == expected


def test_a_huge_region_costs_nothing_to_ask():
    """The first ranges of a plane across 2**16 sections, of a file of 2**50 bytes."""
    header = Header.blank().replace(nx=2**16, ny=2**16, nz=2**16, mz=2**16, mode=2)
    layout = Layout.from_header(header)
    ranges = layout.byte_ranges((range(1), range(2**16), range(1), range(2**16)))
    assert next(ranges) == (1024, 2**18)
    assert next(ranges) == (1024 + 2**34, 2**18)
    assert list(layout.byte_ranges(layout.whole)) == [(1024, 2**50)]
    assert MODES[2].sample is layout.sample


def test_slabs_of_what_no_file_has_are_cut_one_by_one():
    """A damaged header of a compressed file may claim this many rows: lists need 100 GB."""
    stored = StoredArray(MODES[1].sample, "<", (1, 2**31 - 1, 2**31 - 1, 2**31 - 1), 1024)
    first, second = islice(stored.slabs(2**21), 2)
    assert [(p.start, p.stop) for p in first[1:]] == [(0, 1), (0, 1), (0, 2**20)]
    assert [(p.start, p.stop) for p in second[1:]] == [(0, 1), (0, 1), (2**20, 2**21)]
