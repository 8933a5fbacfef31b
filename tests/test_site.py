"""The tables of the site against the format, and the checks of built pages."""

import runpy
import sys

import pytest
from snippets import DOCS, ROOT

import xarray_mrc
from xarray_mrc.codec.checks import CHECKS

TABLES = runpy.run_path(str(DOCS / "extensions" / "tables.py"))


def rows(name):
    return [tuple(row) for row in TABLES["TABLES"][name]()]


def test_header_fields():
    """Bytes and words are those of the MRC2014 specification."""
    found = {row[2]: row for row in rows("header-fields")[1:]}
    assert found["`nx`"][:2] == ("0", "1")
    assert found["`cella`"] == (
        "40",
        "11",
        "`cella`",
        "3 float32",
        "angstrom",
        "cell lengths a, b, c",
    )
    assert found["`nsymbt`"][:2] == ("92", "24")
    assert found["`exttyp`"][:4] == ("104", "27", "`exttyp`", "4 bytes")
    assert found["`origin`"][:2] == ("196", "50")
    assert found["`map_id`"][:2] == ("208", "53")
    assert found["`nlabl`"][:2] == ("220", "56")
    assert found["`label_bytes`"][:4] == ("224", "57", "`label_bytes`", "800 bytes")
    assert [int(row[0]) for row in rows("header-fields")[1:]] == sorted(
        int(row[0]) for row in found.values()
    )


def test_modes():
    found = {row[0]: row[1:] for row in rows("modes")[1:]}
    assert set(found) == {"0", "1", "2", "3", "4", "6", "12", "16", "101"}
    assert found["0"][1:] == ("int8", "int8, or uint8 if the bytes are unsigned")
    assert found["3"][1:] == ("2 int16", "complex64")
    assert found["16"][1:] == ("3 uint8", "uint8, with a last dimension `rgb`")
    assert found["101"][1] == "two pixels a byte, the first in the low half"


def test_checks():
    found = rows("checks")
    assert found[0] == (
        "id",
        "rule",
        "mrc2014",
        "emdb",
        "cryoet-portal",
        "mrcfile",
        "repair",
        "reading",
    )
    assert [row[0] for row in found[1:]] == [check.id for check in CHECKS]
    (row,) = (row for row in found if row[0] == "H06")
    assert row[2:] == ("warning", "warning", "error", "error", "yes", "")


def test_kinds_are_in_the_order_of_evidence():
    found = rows("kinds")[1:]
    assert [row[0] for row in found] == [str(number) for number in range(len(found))]
    assert found[0][1] == "kind= was passed"
    assert found[-1][2] == "`image_stack`"


@pytest.mark.parametrize("name", TABLES["TABLES"])
def test_markdown(name):
    table = rows(name)
    assert len({len(row) for row in table}) == 1
    lines = TABLES["as_markdown"](iter(table)).splitlines()
    assert len(lines) == 1 + len(table)
    assert set(lines[1]) == {"|", "-", " "}
    assert lines[1].count("---") == len(table[0])


def test_every_table_is_on_a_page():
    pages = "".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    assert all(f"```{{codec-table}} {name}\n" in pages for name in TABLES["TABLES"])


def test_every_public_name_is_documented():
    page = (DOCS / "api" / "index.md").read_text("utf-8").split()
    public = set(xarray_mrc.__all__) - {"__version__"} | set(xarray_mrc.testing.__all__)
    assert public <= set(page)


@pytest.fixture
def site_check(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    import site_check

    yield site_check
    sys.modules.pop("site_check")


PAGE = '<html><body id="top"><img src="a.png"><a href="b.html#there">b</a>{}</body></html>'


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ("", None),
        ('<a href="https://example.org/x?y=1#z">x</a>', None),
        ('<a href="#top">x</a><a href="mailto:a@example.org">x</a>', None),
        ('<link rel="canonical" href="https://example.org/a.html">', None),
        ('<img src="data:image/png;base64,AAAA">', None),
        ('<a href="c.html">x</a>', "a.html: c.html does not exist"),
        ('<a href="b.html#here">x</a>', "a.html: b.html#here has no such anchor"),
        ('<a href="#here">x</a>', "a.html: #here has no such anchor"),
        ('<a href="https://">x</a>', "a.html: https:// has no host name"),
        ('<a href="htps://a.org">x</a>', "a.html: htps://a.org has no scheme of the web"),
        ('<a href="https://exa mple.org/">x</a>', "a.html: https://exa mple.org/ has no host name"),
        ('<img src="b.png">', "a.html: b.png does not exist"),
        ('<script src="https://example.org/a.js"></script>',
         "a.html: https://example.org/a.js is loaded from elsewhere"),
        ('<script src="//example.org/a.js"></script>',
         "a.html: //example.org/a.js is loaded from elsewhere"),
        ('<link rel="stylesheet" href="https://example.org/a.css">',
         "a.html: https://example.org/a.css is loaded from elsewhere"),
        ("<style>@import 'https://example.org/a.css';</style>",
         "a.html: https://example.org/a.css is loaded from elsewhere"),
        ('<p style="background: url(https://example.org/a.png)">x</p>',
         "a.html: https://example.org/a.png is loaded from elsewhere"),
    ],
)  # fmt: skip
def test_faults_of_pages(site_check, tmp_path, extra, fault):
    (tmp_path / "a.html").write_text(PAGE.format(extra), "utf-8")
    (tmp_path / "b.html").write_text('<p id="there">b</p>', "utf-8")
    (tmp_path / "a.png").write_bytes(b"")
    assert site_check.find_faults(tmp_path) == ([fault] if fault else [])


def test_faults_of_style_sheets(site_check, tmp_path):
    (tmp_path / "a.css").write_text(
        "p { src: url('b.woff'), url(https://example.org/c.woff) }", "utf-8"
    )
    assert site_check.find_faults(tmp_path) == [
        "a.css: b.woff does not exist",
        "a.css: https://example.org/c.woff is loaded from elsewhere",
    ]
