"""What a report looks like; the page of the documentation."""

from __future__ import annotations

import io
import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xarray as xr
from files import sound

import xarray_mrc
from xarray_mrc import Report, validate
from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.checking.report import Finding

ROOT = Path(__file__).resolve().parents[2]


def test_text():
    report = validate(sound(machst=b"\x11\x11\0\0", nversion=0, nlabl=2, rms=-1.0))
    stamp, *others = str(report).splitlines()
    assert stamp.startswith("E H04 the machine stamp 11 11 00 00 says big endian, but the numbers")
    assert others == [
        "W H06 nversion is 0, expected 20140 or 20141",
        "W L02 nlabl is 2, but 1 label contains text",
        "I D05 the header does not state rms",
        "<bytes>: invalid (mrc2014): 1 error, 2 warnings, 1 note",
    ]
    assert not report
    assert report.exit_status == 1
    assert str(validate(sound())) == "<bytes>: valid (mrc2014): nothing found"
    assert validate(sound()).exit_status == 0


def test_headers_only_is_said():
    report = validate(sound(), "emdb", data=False)
    assert report.summary == "<bytes>: valid (emdb, headers only): nothing found"


def test_json(tmp_path):
    path = tmp_path / 'a "quoted" ü.mrc'
    path.write_bytes(sound(nversion=0))
    found = json.loads(validate(path).to_json())
    assert found == {
        "path": str(path),
        "profile": "mrc2014",
        "valid": True,
        "data_checked": True,
        "findings": [
            {
                "id": "H06",
                "severity": "warning",
                "title": "NVERSION is that of MRC2014",
                "text": "nversion is 0, expected 20140 or 20141; "
                "edit_header(path, fix=True) corrects it",
            }
        ],
    }


class Page(HTMLParser):
    """Collects tags, attributes and texts; fails where tags don't match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.skipif(sys.platform == "win32", reason="all names are text there")
def test_a_name_that_is_no_text():
    report = Report(os.fsdecode(b"a\xff.mrc"), "mrc2014", (), True)
    for text in (str(report), report.to_html(), report.to_json()):
        assert b"a\\udcff.mrc" in text.encode()


def test_html():
    evil = '<script>alert("x")</script>&<b>'
    finding = Finding("H04", "error", evil, evil)
    report = Report(f"{evil}.mrc", "mrc2014", (finding,), True)
    page = Page(report.to_html())
    assert page.tags[0] == "html"
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert page.texts.count(evil) == 2  # title and text, as they are
    assert any(f"{evil}.mrc: invalid" in text for text in page.texts)
    assert not {name for name, _ in page.attributes} & {"src", "href", "onclick"}
    assert report._repr_html_() in report.to_html()
    assert "<table>" not in validate(sound()).to_html()


def test_of_an_opened_file(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(sound(nversion=0, dmin=-7.0))
    ds = xr.open_dataset(path, engine=MrcBackendEntrypoint)
    assert [f.id for f in ds.mrc.validate().findings] == ["H06", "D01"]
    assert [f.id for f in ds["data"].mrc.validate(data=False).findings] == ["H06"]
    assert not ds.mrc.validate("mrcfile")
    with pytest.raises(ValueError, match=r"xarray_mrc\.validate"):
        (ds + 1).mrc.validate()


def test_all_that_can_be_opened(tmp_path):
    raw = sound(nversion=0)
    path = tmp_path / "a.mrc"
    path.write_bytes(raw)
    for source in (path, str(path), path.as_uri(), raw, bytearray(raw), memoryview(raw)):
        assert [f.id for f in validate(source).findings] == ["H06"]
    assert [f.id for f in validate(io.BytesIO(raw)).findings] == ["H06"]
    with pytest.raises(xarray_mrc.MrcError, match="gopher:// is not supported"):
        validate("gopher://example.org/a.mrc")
    assert path.read_bytes() == raw
