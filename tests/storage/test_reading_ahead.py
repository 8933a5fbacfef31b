"""What is announced to the system before a scattered read: just the bytes that are needed."""

import os

import numpy as np
import pytest
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.storage import local, maps

LAID = lay("float32", lengths=(256, 40, 20))
ROW, SECTION = 256 * 4, 40 * 256 * 4

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs posix_fadvise")


@pytest.fixture
def announced(tmp_path, monkeypatch):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    found = []
    monkeypatch.setattr(local.os, "posix_fadvise", lambda _, *band: found.append(band[:2]))
    return xarray_mrc.open_mrc(path, chunks=None), found, monkeypatch


@pytest.mark.parametrize("kept", [2**31, 0])
def test_a_plane_across_the_sections(announced, kept):
    data, found, monkeypatch = announced
    monkeypatch.setattr(local, "is_cached", lambda *_: False)
    monkeypatch.setattr(maps.cached_maps, "max_nbytes", kept)
    plane = data[:, 7, 50:60].values
    assert np.array_equal(plane, LAID.pixels[:, 7, 50:60])
    first = 1024 + 7 * ROW + 50 * 4
    assert found == [(first + z * SECTION, 40) for z in range(20)]


def test_nothing_is_announced_of_what_is_at_hand(announced):
    data, found, monkeypatch = announced
    monkeypatch.setattr(local, "is_cached", lambda *_: True)
    assert np.array_equal(data[:, 7].values, LAID.pixels[:, 7])
    assert found == []


def test_nothing_is_announced_of_a_run(announced):
    data, found, monkeypatch = announced
    monkeypatch.setattr(local, "is_cached", lambda *_: False)
    assert np.array_equal(data[3:9].values, LAID.pixels[3:9])
    assert found == []


@pytest.mark.parametrize(
    ("kind", "lengths", "index"),
    [
        ("image", (20000, 20, 1), np.s_[::2, 50]),
        ("volume_stack", (100, 50, 50), np.s_[:, :, 7, 50:60]),
    ],
)
def test_bytes_are_looked_for_far_behind_the_first(tmp_path, monkeypatch, kind, lengths, index):
    laid = lay("float32", kind, lengths=lengths)
    path = tmp_path / "a.mrc"
    path.write_bytes(laid.raw)
    found = []
    monkeypatch.setattr(local.os, "posix_fadvise", lambda _, *band: found.append(band[:2]))
    # Opening a file brings its beginning into the page cache; so does reading the first volume.
    half = len(laid.raw) // 2
    monkeypatch.setattr(local, "is_cached", lambda _, offset: offset < half)
    read = xarray_mrc.open_mrc(path, chunks=None)[index].values
    assert np.array_equal(read, laid.pixels[index])
    assert any(offset > half for offset, _ in found)
