"""One MRC file as another: the same bytes, in another container."""

from __future__ import annotations

import bz2
import gzip
import os
import sys

import pytest
from mrcbytes import FORMS, KINDS, lay

import xarray_mrc
from xarray_mrc import MrcError, MrcWarning, convert
from xarray_mrc.writing import copy_file as packing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACK = {
    "": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".zst": zstd.decompress,
}  # fmt: skip
LAID = lay("int16", lengths=(70, 66, 30), extended=b"what it says".ljust(160))


@pytest.mark.parametrize("into", UNPACK)
@pytest.mark.parametrize("out_of", UNPACK)
def test_any_container_into_any(tmp_path, out_of, into):
    plain = tmp_path / "a.mrc"
    first, second = tmp_path / f"b.mrc{out_of}", tmp_path / f"c.mrc{into}"
    plain.write_bytes(LAID.raw)
    convert(plain, first)
    convert(first, second)
    assert UNPACK[out_of](first.read_bytes()) == LAID.raw
    assert UNPACK[into](second.read_bytes()) == LAID.raw


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS.values(), ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_form(tmp_path, form, kind, order):
    raw = lay(form, kind, order=order).raw
    convert(raw, tmp_path / "a.mrc.gz")
    assert gzip.decompress((tmp_path / "a.mrc.gz").read_bytes()) == raw


@pytest.mark.parametrize("block", [1, 100, 9240, 9241, 20_000, 10**9])
def test_blocks_of_any_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr(packing, "MAX_READ_NBYTES", block)
    raw = LAID.raw if block > 100 else lay("int16", lengths=(7, 6, 3)).raw
    for suffix in ("", ".zst"):
        path = tmp_path / f"a.mrc{suffix}"
        convert(raw, path)
        assert UNPACK[suffix](path.read_bytes()) == raw


def test_levels(tmp_path):
    (tmp_path / "a.mrc").write_bytes(LAID.raw)
    sizes = []
    for level in (1, 22):
        convert(tmp_path / "a.mrc", tmp_path / f"{level}.zst", compression_level=level)
        convert(
            tmp_path / "a.mrc", tmp_path / "b.zst", compression_level=level, overwrite=True, mode=2
        )
        sizes.append((tmp_path / f"{level}.zst").stat().st_size)
        assert zstd.decompress((tmp_path / f"{level}.zst").read_bytes()) == LAID.raw
    assert sizes[1] < sizes[0]
    with pytest.raises(ValueError, match="compression_level=10, expected None or an integer from"):
        convert(tmp_path / "a.mrc", tmp_path / "c.mrc.gz", compression_level=10)
    with pytest.raises(ValueError, match=r"compression_level=3 .* is not compressed: name it \.gz"):
        convert(tmp_path / "a.mrc", tmp_path / "c.mrc", compression_level=3)
    with pytest.raises(ValueError, match=r"compression_level=3 .* Zarr group: pass a codec"):
        convert(tmp_path / "a.mrc", tmp_path / "c.zarr", compression_level=3)
    assert not list(tmp_path.glob("c.*"))


def test_compression(tmp_path):
    (tmp_path / "a.mrc").write_bytes(LAID.raw)
    convert(tmp_path / "a.mrc", tmp_path / "b.map", compression="zstd")
    assert zstd.decompress((tmp_path / "b.map").read_bytes()) == LAID.raw
    convert(tmp_path / "b.map", tmp_path / "c.mrc.gz", compression=None)
    assert (tmp_path / "c.mrc.gz").read_bytes() == LAID.raw
    for name in ("d.mrc.xz", "d.mrc"):
        with pytest.raises(ValueError, match="expected one of 'gzip'"):
            convert(tmp_path / "a.mrc", tmp_path / name, compression="xz")
    assert not (tmp_path / "d.mrc").exists()


@pytest.mark.parametrize("src", ["a.mrc", "a.zarr"])
def test_the_name_of_another_format(tmp_path, src):
    (tmp_path / "a.mrc").write_bytes(LAID.raw)
    convert(tmp_path / "a.mrc", tmp_path / "a.zarr")
    for name in ("b.tif", "b.nii.gz"):
        with pytest.raises(ValueError, match="names another format"):
            convert(tmp_path / src, tmp_path / name)
        convert(tmp_path / src, tmp_path / name, format="mrc")
        assert xarray_mrc.validate(tmp_path / name)


def test_onto_itself(tmp_path):
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(gzip.compress(LAID.raw))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert(path, path)
    convert(path, path, overwrite=True)
    assert gzip.decompress(path.read_bytes()) == LAID.raw
    assert path.read_bytes()[12:14] == b"BC"
    assert os.listdir(tmp_path) == ["a.mrc.gz"]


@pytest.mark.parametrize("damage", ["cut off", "wrong checksum", "no MRC file"])
def test_what_is_damaged_is_not_repacked(tmp_path, damage):
    raw = gzip.compress(LAID.raw if damage != "no MRC file" else b"a letter" * 1000)
    if damage == "cut off":
        raw = raw[:-1000]
    elif damage == "wrong checksum":
        raw = raw[:-8] + bytes(4) + raw[-4:]
    (tmp_path / "a.mrc.gz").write_bytes(raw)
    (tmp_path / "b.mrc").write_bytes(b"old")
    with pytest.raises(MrcError):
        convert(tmp_path / "a.mrc.gz", tmp_path / "b.mrc", overwrite=True)
    assert (tmp_path / "b.mrc").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.mrc.gz", "b.mrc"]


def test_what_lies_behind_the_data_is_said(tmp_path):
    with pytest.warns(MrcWarning, match="12 bytes more"):
        convert(LAID.raw + b"and the rest", tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == LAID.raw


@pytest.mark.parametrize("argument", [{"chunks": {"z": 2}}, {"shards": None}, {"zarr_format": 2}])
def test_what_is_for_groups(tmp_path, argument):
    with pytest.raises(ValueError, match="will be an MRC file; name it"):
        convert(LAID.raw, tmp_path / "a.mrc", **argument)
