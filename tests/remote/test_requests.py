"""How many requests and bytes reading takes, counted by the servers and by a tracing adapter."""

import asyncio
import gzip

import numpy as np
import pytest
import xarray as xr
from remote_files import trace, volume

import xarray_mrc

KIB = 2**10
HEADER = 1024
SECTION = 256 * 256 * 2


def test_opening(place, large):
    """Opening takes at most two requests and 128 KiB."""
    raw, _ = large
    url = place.put("a.mrc", raw)
    place.counts.forget()
    array = place.open(url)
    assert array.shape == (256, 256, 256)
    assert len(place.counts.requests) <= 2
    assert place.counts.nbytes_sent <= 128 * KIB


def test_opening_with_an_extended_header(place):
    raw, pixels = volume((3, 4, 5), extended=bytes(20_000))
    url = place.put("a.mrc", raw)
    place.counts.forget()
    array = place.open(url)
    assert len(place.counts.requests) <= 2
    np.testing.assert_array_equal(array, pixels)


def test_a_section(place, large):
    """A z-slice is one request of its exact bytes."""
    raw, pixels = large
    array = place.open(place.put("a.mrc", raw))
    place.counts.forget()
    np.testing.assert_array_equal(array[100], pixels[100])
    (request,) = place.counts.requests
    assert request.range == (HEADER + 100 * SECTION, SECTION)
    assert place.counts.nbytes_sent == SECTION


def test_a_brick(place, large):
    """A brick of 64 x 64 x 64 takes at most 64 requests, and twice the bytes of its bands."""
    raw, pixels = large
    array = place.open(place.put("a.mrc", raw))
    place.counts.forget()
    np.testing.assert_array_equal(array[96:160, 96:160, 96:160], pixels[96:160, 96:160, 96:160])
    band = (63 * 256 + 64) * 2  # from the first to the last byte of a section that is needed
    assert len(place.counts.requests) <= 64
    assert place.counts.nbytes_sent <= 2 * 64 * band


def test_boxes_share_what_they_read(place, large):
    """Boxes that overlap in two bands of rows: each byte is sent once, in few requests."""
    raw, pixels = large
    array = place.open(place.put("a.mrc", raw))
    place.counts.forget()
    random = np.random.default_rng(2)
    at = np.stack([random.integers(low, high, 40) for low, high in ((40, 60), (40, 56), (8, 240))])
    at[1, ::2] += 160  # the second band
    points = dict(zip("zyx", at * 1.5, strict=True))
    boxes = array.mrc.extract(points, 16)
    assert not place.counts.requests
    expected = [pixels[z - 8 : z + 8, y - 8 : y + 8, x - 8 : x + 8] for z, y, x in at.T]
    np.testing.assert_array_equal(boxes, np.stack(expected))
    sections, rows = 60 - 40 + 15, 2 * (56 - 40 + 15)
    assert place.counts.nbytes_sent <= sections * rows * 256 * 2 * 1.1
    assert len(place.counts.requests) <= 2 * sections


def test_planes_across_sections(place):
    raw, pixels = volume((40, 100, 90))
    array = place.open(place.put("a.mrc", raw))
    np.testing.assert_array_equal(array[:, 7], pixels[:, 7])
    np.testing.assert_array_equal(array[::7, :, 80], pixels[::7, :, 80])
    np.testing.assert_array_equal(array[[30, 3], ::-1, 5:9], pixels[[30, 3], ::-1, 5:9])


def test_the_whole_file(place, large):
    raw, pixels = large
    array = place.open(place.put("a.mrc", raw), chunks={})
    place.counts.forget()
    np.testing.assert_array_equal(array, pixels)
    assert place.counts.nbytes_sent <= len(raw) * 1.01


def test_requests_side_by_side(place, large):
    """64 sections by load_async: eight requests at a time, and no more."""
    raw, pixels = large
    array = place.open(place.put("a.mrc", raw))
    place.counts.forget()
    place.counts.latency = 0.05

    async def load():
        return await asyncio.gather(*(array[z].load_async() for z in range(64)))

    found = asyncio.run(load())
    for z in range(64):
        np.testing.assert_array_equal(found[z], pixels[z])
    assert len(place.counts.requests) == 64
    assert place.counts.max_in_flight == 8


def test_bricks_side_by_side(place):
    """32 bricks, gathered: eight requests at a time, and no more."""
    raw, pixels = volume((16, 256, 256))
    array = place.open(place.put("a.mrc", raw))
    place.counts.forget()
    place.counts.latency = 0.02
    corners = [(z, y, x) for z in (0, 8) for y in (0, 64, 128, 192) for x in (0, 60, 120, 180)]
    keys = [tuple(slice(start, start + 8) for start in corner) for corner in corners]

    async def load():
        return await asyncio.gather(*(array[key].load_async() for key in keys))

    found = asyncio.run(load())
    assert len(found) == 32
    for key, brick in zip(keys, found, strict=True):
        np.testing.assert_array_equal(brick, pixels[key])
    assert place.counts.max_in_flight == 8


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_of_requests(http_place, large, limit):
    raw, pixels = large
    options = {"max_requests": limit}
    array = http_place.open(http_place.put("a.mrc", raw), storage_options=options)
    http_place.counts.forget()
    http_place.counts.latency = 0.02

    async def load():
        return await asyncio.gather(*(array[z, :64, :64].load_async() for z in range(10)))

    for z, found in enumerate(asyncio.run(load())):
        np.testing.assert_array_equal(found, pixels[z, :64, :64])
    assert http_place.counts.max_in_flight == limit


def test_the_limit_holds_for_all_files_and_threads(http_place, large):
    from concurrent.futures import ThreadPoolExecutor

    raw, pixels = large
    arrays = [http_place.open(http_place.put(f"{n}.mrc", raw)) for n in range(4)]
    http_place.counts.forget()
    http_place.counts.latency = 0.02
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: arrays[n % 4][n].values, range(48)))
    for n in range(48):
        np.testing.assert_array_equal(found[n], pixels[n])
    assert http_place.counts.max_in_flight == 8


def test_connections_are_kept(http_place, large):
    """Sections one after the other come over one connection."""
    raw, _ = large
    array = http_place.open(http_place.put("a.mrc", raw))
    http_place.counts.forget()
    for z in range(10):
        array[z].load()
    assert len({request.connection for request in http_place.counts.requests}) == 1


def test_dask_blocks(place, large):
    raw, pixels = large
    url = place.put("a.mrc", raw)
    array = xarray_mrc.open_mrc(url, chunks={"z": 32}, storage_options=place.options or None)
    place.counts.forget()
    assert int(array.astype("i8").sum()) == int(pixels.astype("i8").sum())
    assert place.counts.nbytes_sent == 256 * SECTION
    assert len(place.counts.requests) == 8


def test_the_header_of_a_compressed_map(place, large):
    """The header of a .map.gz moves less than 128 KiB."""
    raw, _ = large
    url = place.put("a.map.gz", gzip.compress(raw[: 2**22], 1))
    place.counts.forget()
    header = xarray_mrc.read_header(url, storage_options=place.options or None)
    assert header.n == (256, 256, 256)
    assert len(place.counts.requests) <= 2
    assert place.counts.nbytes_sent < 128 * KIB


def test_a_compressed_map_stops_when_it_has_what_it_needs(place):
    raw, pixels = volume((64, 256, 256))
    packed = gzip.compress(raw, 1)
    url = place.put("a.map.gz", packed)
    array = place.open(url)
    place.counts.forget()
    np.testing.assert_array_equal(array[0], pixels[0])
    assert place.counts.nbytes_sent < len(packed)
    np.testing.assert_array_equal(array, pixels)


def test_a_tracing_adapter_counts_the_same(http_place, large):
    raw, pixels = large
    head, adapter = trace(http_place.put("a.mrc", raw))
    array = xr.open_dataset(head, engine="mrc").data
    http_place.counts.forget()
    np.testing.assert_array_equal(array[5], pixels[5])
    assert adapter.ranges == [(HEADER + 5 * SECTION, SECTION)] == http_place.counts.ranges
    np.testing.assert_array_equal(array[5:9, 10:20, 10:20], pixels[5:9, 10:20, 10:20])
    asked = http_place.counts.ranges
    assert sorted(adapter.ranges) == sorted(asked)
    assert http_place.counts.nbytes_sent == sum(nbytes for _, nbytes in asked)
    assert adapter.opened == 0
