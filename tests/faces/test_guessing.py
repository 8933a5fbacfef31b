"""Which files and objects the engine takes for its own."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from opened import LAID, expected, open_file, save
from xarray.testing import assert_equal

from xarray_mrc import MrcError, MrcFormatError
from xarray_mrc.backend import MrcBackendEntrypoint


def guess(what) -> bool:
    return MrcBackendEntrypoint().guess_can_open(what)


SUFFIXES = ("mrc", "mrcs", "map", "ccp4", "st", "ali", "preali", "rec")


@pytest.mark.parametrize("suffix", [*SUFFIXES, "MRC", "Map"])
@pytest.mark.parametrize("shape", [str, Path])
def test_guess_by_name(tmp_path, suffix, shape):
    named = tmp_path / f"a.b.{suffix}"
    assert guess(shape(named))  # a missing file: the error is better by our hand
    save(named)
    assert guess(shape(named))
    # By their names alone, .mrcs, .st, .ali and .preali are stacks.
    assert_equal(xr.open_dataset(shape(named), kind="volume"), expected())
    save(named, b'{"version": 3, "sources": [], "mappings": "AAAA"}'.ljust(2000))
    assert not guess(shape(named))
    with pytest.raises(MrcFormatError, match="not an MRC file"):
        open_file(named)
    with pytest.raises(ValueError, match="did not find a match"):
        xr.open_dataset(shape(named))


@pytest.mark.parametrize("suffix", ["nc", "h5", "txt", "tif", "", "mrc.txt", "mrc~"])
def test_guess_leaves_other_names_alone(tmp_path, suffix):
    assert not guess(str(save(tmp_path / f"a.{suffix}")))


@pytest.mark.parametrize("content", [b"", b"MAP ", bytes(1023), bytes(4096), b"\x89HDF" * 500])
def test_guess_refuses_other_content(tmp_path, content):
    named = save(tmp_path / "other.mrc", content)
    for what in (named, content, memoryview(content), bytearray(content), io.BytesIO(content)):
        assert not guess(what)
        with pytest.raises(MrcError):
            open_file(what)


def test_guess_content_without_a_name(path):
    with path.open("rb") as file:
        for what in (LAID.raw, memoryview(LAID.raw), io.BytesIO(LAID.raw), file):
            assert guess(what)
            assert_equal(xr.open_dataset(what), expected())


@pytest.mark.parametrize(
    ("url", "claimed"),
    [
        ("https://example.org/a.mrc", True),
        ("https://example.org/a.map.gz", True),
        ("s3://bucket/deep/a.mrcs.bz2", True),
        ("https://example.org/a.nc", False),
        ("https://example.org/mrc", False),
        ("gs://bucket/a.mrc.zip", False),
    ],
)
def test_guess_url_by_suffix_alone(url, claimed, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    assert guess(url) is claimed


def test_url_of_another_kind_is_a_clear_error():
    with pytest.raises(MrcError, match=r"^gopher://x/a\.mrc: gopher:// is not supported"):
        open_file("gopher://me:pw@x/a.mrc?token=abc")


class NamedInBytes:
    def __fspath__(self):
        return b"name.mrc"


@pytest.mark.parametrize(
    "what",
    [
        None, 3, 2.5, object(), [], {}, b"", "", ".", "/", "nul\0.mrc", "\udcff.txt",
        "~nobody-of-that-name/a.mrc/b", "://", "file://[broken/a.mrc", "http://[broken/a.txt",
        NamedInBytes(), io.StringIO("text"), np.zeros(3), xr.Dataset(), "/dev/null/a.mrc",
        "a" * 5000 + ".mrc",
    ],
)  # fmt: skip
def test_guess_never_raises(what):
    assert not guess(what)


def test_guess_never_raises_for_what_is_no_file(tmp_path):
    folder = tmp_path / "folder.mrc"
    folder.mkdir()
    assert not guess(folder)
    closed = io.BytesIO(LAID.raw)
    closed.close()
    assert not guess(closed)
    reading, writing = os.pipe()
    with open(writing, "wb") as into, open(reading, "rb") as out:
        into.write(bytes(2000))
        into.flush()
        assert not guess(out)


@pytest.mark.parametrize("position", [0, 1, 1030])
def test_guess_never_moves_a_file(path, position):
    class Duck:  # no io.IOBase
        def __init__(self, file):
            self.read, self.readinto = file.read, file.readinto
            self.seek, self.tell = file.seek, file.tell

    with path.open("rb") as file, tempfile.NamedTemporaryFile() as wrapped:
        wrapped.write(LAID.raw)
        wrong = io.BytesIO(bytes(3000))
        for what in (file, wrapped, io.BytesIO(LAID.raw), wrong, Duck(file)):
            what.seek(position)
            assert guess(what) == (what is not wrong)
            assert what.tell() == position
