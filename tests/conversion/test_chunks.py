"""Chunks and shards that this package encodes itself, read back by Zarr."""

from __future__ import annotations

import itertools
import struct

import dask
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_mrc import convert, to_mrc
from xarray_mrc.conversion.chunk_format import find_format
from xarray_mrc.conversion.grid import cut
from xarray_mrc.conversion.group_target import LocalGroupSink
from xarray_mrc.conversion.group_writer import GroupWriter

FORMATS = {
    3: [None, zarr.codecs.BloscCodec(typesize=2, cname="zstd", shuffle="bitshuffle"),
        zarr.codecs.BloscCodec(cname="lz4", clevel=3), zarr.codecs.ZstdCodec(level=1),
        zarr.codecs.GzipCodec(level=1)],
    2: [None, numcodecs.Blosc("zstd", 1, numcodecs.Blosc.BITSHUFFLE), numcodecs.BZ2(1)],
}  # fmt: skip


@st.composite
def arrays(draw):
    """Values with chunks of zeros, and how they are stored."""
    zarr_format = draw(st.sampled_from([*FORMATS]))
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim)))
    chunks = tuple(draw(st.integers(1, length)) for length in shape)
    shards = None
    if zarr_format == 3 and draw(st.booleans()):
        shards = tuple(draw(st.integers(1, 3)) * length for length in chunks)
    dtype = np.dtype(draw(st.sampled_from(["u1", "i2", "f2", "f4", "c8"])))
    fill = draw(st.sampled_from([0, 0, 1])) if dtype.kind in "iu" else 0
    numbers = np.random.default_rng(draw(st.integers(0, 9)))
    values = numbers.integers(0, 9, shape).astype(dtype)
    for number, box in enumerate(cut(shape, chunks)):
        if number % 3 == 1:
            values[box] = 0 if number % 2 or dtype.kind in "iu" else -dtype.type(0)
    codec = draw(st.sampled_from(FORMATS[zarr_format]))
    return values, {"chunks": chunks, "shards": shards, "dtype": dtype, "compressors": codec,
                    "fill_value": fill, "zarr_format": zarr_format}  # fmt: skip


def writer_of(folder, shape, options):
    """Make an empty array in a folder, and return what writes its chunks."""
    metadata = zarr.create_array(folder / "data", shape=shape, **options).metadata
    return GroupWriter(LocalGroupSink(str(folder), str(folder)), {"data": metadata})


def files_of(folder):
    """Return the content of all files in a folder by their paths."""
    return {path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(arrays(), st.data())
def test_zarr_reads_what_is_written(tmp_path_factory, array, data):
    values, options = array
    folder = tmp_path_factory.mktemp("a")
    writer = writer_of(folder, values.shape, options)
    files = options["shards"] or options["chunks"]
    steps = tuple(data.draw(st.integers(1, 2)) * length for length in files)
    for region in cut(values.shape, steps):
        writer.write("data", region, values[region])
    found = zarr.open_array(folder / "data", mode="r")[...]
    assert np.asarray(found).tobytes() == values.tobytes()
    # Chunks of zeros are left out where that gives the same bits.
    stored = [box for box in cut(values.shape, options["chunks"])
              if options["fill_value"] or values[box].tobytes().strip(b"\0")]  # fmt: skip
    shards = {tuple(s.start // n for s, n in zip(box, files, strict=True)) for box in stored}
    metadata = {"zarr.json", ".zarray", ".zattrs"}
    assert len([path for path in files_of(folder) if path.name not in metadata]) == len(shards)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_files_are_those_of_zarr(tmp_path, zarr_format):
    # Without shards, and with whole chunks: what lies beyond the end of an array may be anything.
    values = np.random.default_rng(1).integers(0, 900, (8, 64, 64)).astype("<i2")
    for number, codec in enumerate(FORMATS[zarr_format]):
        options = {"chunks": (4, 32, 64), "dtype": "i2", "compressors": codec, "fill_value": 0,
                   "zarr_format": zarr_format}  # fmt: skip
        ours, theirs = tmp_path / f"ours{number}", tmp_path / f"theirs{number}"
        (whole,) = cut(values.shape, values.shape)
        writer_of(ours, values.shape, options).write("data", whole, values)
        writer_of(theirs, values.shape, options)
        zarr.open_array(theirs / "data", mode="r+")[...] = values
        found, expected = files_of(ours), files_of(theirs)
        if isinstance(codec, zarr.codecs.GzipCodec):  # Zarr writes the time into each chunk
            expected = {name: data if data[:2] != b"\x1f\x8b" else data[:4] + bytes(4) + data[8:]
                        for name, data in expected.items()}  # fmt: skip
        assert found == expected
        assert len(found) > 4


def test_shards_follow_the_specification(tmp_path):
    """The index is looked at byte by byte: offsets and sizes in C order, then its CRC-32C."""
    options = {"chunks": (2, 3), "shards": (4, 6), "dtype": "i2", "compressors": None,
               "fill_value": 0, "zarr_format": 3}  # fmt: skip
    values = np.arange(1, 25, dtype="<i2").reshape(4, 6)
    values[:2, 3:] = 0
    writer_of(tmp_path, values.shape, options).write("data", (slice(0, 4), slice(0, 6)), values)
    raw = (tmp_path / "data" / "c" / "0" / "0").read_bytes()
    *index, checksum = struct.unpack("<8QI", raw[-68:])
    assert index[2:4] == [2**64 - 1, 2**64 - 1]
    assert checksum == crc32c(raw[-68:-4])
    chunks = itertools.product((slice(0, 2), slice(2, 4)), (slice(0, 3), slice(3, 6)))
    for number, box in enumerate(chunks):
        offset, nbytes = index[2 * number : 2 * number + 2]
        if number != 1:
            assert raw[offset : offset + nbytes] == values[box].tobytes()
    assert sum(nbytes for nbytes in index[1::2] if nbytes < 2**64 - 1) + 68 == len(raw)


def crc32c(data):
    """Compute CRC-32C bit by bit (RFC 3720, appendix B.4)."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def test_crc32c():
    assert crc32c(b"123456789") == 0xE3069283


def test_a_shard_without_all_its_chunks_is_refused(tmp_path):
    options = {"chunks": (2, 3), "shards": (4, 6), "dtype": "i2", "compressors": None,
               "fill_value": 0, "zarr_format": 3}  # fmt: skip
    writer = writer_of(tmp_path, (4, 6), options)
    before = files_of(tmp_path)
    missing = r"shards \[\(0, 0\)\] are missing"
    with pytest.raises(RuntimeError, match=missing), writer.open("data") as target:
        target.add((slice(0, 2), slice(0, 6)), np.ones((2, 6), "i2"))
    assert files_of(tmp_path) == before


def test_codecs_of_others_are_left_to_zarr(tmp_path):
    codec = zarr.codecs.Crc32cCodec()
    options = {"chunks": (2, 3), "dtype": "i2", "compressors": codec, "fill_value": 0}
    writer = writer_of(tmp_path, (4, 6), {**options, "shards": None, "zarr_format": 3})
    assert find_format(writer.arrays["data"]) is None
    values = np.ones((4, 6), "i2")
    writer.write("data", (slice(0, 4), slice(0, 6)), values)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "data")[...], values)
    with pytest.raises(ValueError, match="whole regions"), writer.open("data"):
        pass


def test_the_same_bytes_each_time_and_in_parts(tmp_path, monkeypatch):
    """Also on the main thread, where Blosc has threads whose order would show in the bytes."""
    values = np.random.default_rng(2).normal(1200, 300, (64, 200, 256)).astype("i2")
    to_mrc(xr.DataArray(values, dims=("z", "y", "x")), tmp_path / "a.mrc", voxel_size=1.0)
    threads = numcodecs.blosc.set_nthreads(8)
    try:
        for number, scheduler in enumerate(["synchronous", "synchronous", "threads"]):
            with dask.config.set(scheduler=scheduler):
                convert(tmp_path / "a.mrc", tmp_path / f"{number}.zarr")
    finally:
        numcodecs.blosc.set_nthreads(threads)
    monkeypatch.setattr("xarray_mrc.conversion.zarr.PART_NBYTES", 1)
    convert(tmp_path / "a.mrc", tmp_path / "3.zarr")
    found = [files_of(tmp_path / f"{number}.zarr") for number in range(4)]
    assert found[0] == found[1] == found[2] == found[3]
