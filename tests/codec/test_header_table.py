"""The header as HTML: what is wrong with it stands above the table and is marked in it."""

from __future__ import annotations

import re

from files import sound

from xarray_mrc import Header
from xarray_mrc.codec.html_text import GROUNDS


def marked(table: str) -> dict[str, str]:
    """Return the colour of each marked field."""
    rows = re.findall(r"<tr><td[^>]*><span style=\"background:(#\w+)[^>]*>([^<]*)</span>", table)
    return {name: colour for colour, name in rows}


def test_a_sound_header_has_no_mark() -> None:
    table = Header.decode(sound())._repr_html_()
    assert "<span" not in table
    assert table.startswith("<table><caption>MRC header</caption>")


def test_errors_and_warnings_are_marked() -> None:
    raw = sound(nversion=0, machst=b"\x11\x11\0\0", map_id=b"MAPX", cella=(0.0, 4.5, 3.0))
    table = Header.decode(raw)._repr_html_()
    assert marked(table) == {
        "machst": GROUNDS["error"],
        "map_id": GROUNDS["warning"],
        "nversion": GROUNDS["warning"],
        "cella": GROUNDS["warning"],
    }
    caption = table[: table.index("</caption>")]
    assert "nversion is 0, expected 20140 or 20141" in caption
    assert caption.index("machine stamp") < caption.index("nversion is 0")  # errors first


def test_texts_of_a_file_are_escaped() -> None:
    raw = sound(labels=(b"<script>alert(1)</script>",), exttyp=b"<b>&", nsymbt=0)
    table = Header.decode(raw)._repr_html_()
    assert "<script" not in table
    assert "<b>" not in table
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in table


def test_white_on_the_colours_can_be_read() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ground in GROUNDS.values():
        assert 1.05 / (luminance(ground) + 0.05) > 5.5  # WCAG 2.2 asks for 4.5


def test_a_type_of_extended_header_that_is_not_set_is_empty() -> None:
    unset, seri = str(Header.decode(sound())), str(Header.decode(sound(exttyp=b"SERI")))
    assert re.search(r"^exttyp +'' +type", unset, re.MULTILINE)
    assert re.search(r"^exttyp +'SERI' +type", seri, re.MULTILINE)
