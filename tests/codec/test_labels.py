"""Labels are written in ASCII, whatever the characters are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_mrc import edit_header, read_header, to_mrc, validate
from xarray_mrc.codec.labels import decode_labels, encode_labels

# ruff: noqa: RUF001
PAIRS = {
    "1.35 Å per pixel": "1.35 A per pixel",
    "1.35 \N{ANGSTROM SIGN}": "1.35 A",
    "defocus 2 µm": "defocus 2 um",
    "2 \N{GREEK SMALL LETTER MU}m": "2 um",
    "Müller, Béla, Ørsted, Łódź, Gauß": "Muller, Bela, Orsted, Lodz, Gauss",
    "tilt ±60°": "tilt +-60deg",
    "α-helix “one” – two…": 'alpha-helix "one" - two...',
    "¤": "?",
}


@pytest.mark.parametrize("text", PAIRS)
def test_characters_are_transliterated(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    array = xr.DataArray(np.zeros((3, 4), "i2"), dims=("y", "x"), attrs={"mrc_labels": text})
    to_mrc(array, path)
    assert read_header(path).labels[0] == PAIRS[text]
    assert "L03" not in [finding.id for finding in validate(path).findings]
    edit_header(path, labels=[text])
    assert read_header(path).labels[0] == PAIRS[text]


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), min_size=1, max_size=20))
def test_every_label_that_can_be_read_can_be_written(text: str) -> None:
    for label in decode_labels(text.encode("latin-1").ljust(80)):
        assert encode_labels([label]).isascii()


@pytest.mark.parametrize("label", ["", " a", "a\n", "中", "x" * 81, "ß" * 41])
def test_labels_that_can_not_be(label: str) -> None:
    with pytest.raises(ValueError, match="the label"):
        encode_labels([label])
