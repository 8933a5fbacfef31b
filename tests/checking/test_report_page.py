"""The page of reports: what it contains and in which order."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from files import sound

from xarray_mrc import Report, read_header, validate
from xarray_mrc.checking.report import Finding
from xarray_mrc.checking.report_page import Thumbnail, report_page
from xarray_mrc.pictures.png import encode_png

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>&<b>'


class Page(HTMLParser):
    """Collects tags, attributes and texts by the kind of element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def report(path, *severities):
    found = (Finding(f"H{i:02}", s, f"rule {i}", "found") for i, s in enumerate(severities))
    return Report(path, "mrc2014", tuple(found), True)


def test_worst_files_come_first():
    page = report_page(
        [
            report("a.mrc"),
            report("b.mrc", "warning", "info"),
            report("c.mrc", "error"),
            report("d.mrc", "error", "error"),
            report("e.mrc", "warning", "warning"),
        ]
    )
    order = ["d.mrc", "c.mrc", "e.mrc", "b.mrc", "a.mrc"]
    assert re.findall(r">(\w\.mrc)</a>", page) == order
    assert re.findall(r"<strong>(\w\.mrc): ", page) == order
    assert "2 invalid, 3 valid" in page
    assert "3 errors" in page
    assert "3 warnings" in page
    assert "1 note<" in page
    assert "Validation of 5 files</title>" in page


def test_one_file_needs_no_overview():
    page = report_page([report("a.mrc")])
    assert "<ol" not in page
    assert "<input" not in page  # nothing to sort
    assert "<title>a.mrc</title>" in page


def test_no_file():
    assert "Validation of 0 files" in report_page([])


def test_nothing_is_loaded_and_nothing_runs():
    raw = sound(labels=(EVIL.encode(), b"javascript:alert(1)"), nlabl=5)
    evil = validate(raw)
    finding = Finding("H00", "error", EVIL, EVIL)
    named = Report(f"{EVIL}\udcff.mrc", EVIL, (finding, *evil.findings), True, evil.header)
    shot = Thumbnail(EVIL, encode_png(np.arange(6, dtype="u1").reshape(2, 3)))
    text = report_page([named, report("b.mrc")], {named.path: [shot]})
    page = Page(text)
    assert not {"script", "b", "link", "iframe", "object", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for tag, name, value in page.attributes:
        if name == "src":
            assert (tag, value[:22]) == ("img", "data:image/png;base64,")
        if name == "href":
            assert re.fullmatch(r"#file-\d+", value)
    assert "url(" not in text
    assert "@import" not in text
    assert EVIL in page.texts
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in (
        page.attributes
    )


def test_the_header_and_the_call_that_mends_it(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(sound(nversion=0))
    found = validate(path)
    assert found.header == read_header(path)
    page = report_page([found])
    assert "<code>edit_header(path, fix=True)</code> corrects it" in page
    assert "<details><summary>Header</summary>" in page
    assert ">nversion</span>" in page  # marked as wrong
    assert "<td style='text-align:left'>nx</td>" in page
    assert "xarray-mrc edit" in page
    assert "xarray-mrc edit" not in report_page([validate(sound())])


@pytest.mark.parametrize("profile", ["mrc2014", "mrcfile"])
def test_what_is_no_mrc_file_has_no_header(profile):
    assert validate(b"no MRC file", profile).header is None
    assert validate(b"\x89PNG\r\n\x1a\n".ljust(2000, b"\1")).header is None
    assert validate(sound(), profile).header is not None


def test_headers_do_not_change_what_reports_say():
    assert "header" not in validate(sound()).to_json()
    assert report("a.mrc") == Report("a.mrc", "mrc2014", (), True, None)
