"""Headers printed as a table of name, value and meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from xarray_mrc.codec.decimals import shortest
from xarray_mrc.codec.header import IMOD_FIELDS, SKEW_FIELDS, Field, Header
from xarray_mrc.codec.html_text import badge, escape
from xarray_mrc.codec.modes import MODES
from xarray_mrc.codec.old_header import old_origin

__all__ = ["as_html", "as_text", "as_values", "plain_value"]

# What the sentences of checks call fields that they do not name.
PHRASES = {
    "machine stamp": ("machst",),
    "byte 208": ("map_id",),
    "cell lengths": ("cella",),
    "cell angles": ("cellb",),
    "NSTART": ("nxstart", "nystart", "nzstart"),
}


def shown_fields(header: Header) -> Iterator[Field[Any]]:
    """Yield the fields that a header has; labels are shown as text."""
    for field in Header.fields():
        skipped = field.name == "label_bytes"
        skipped |= field.name in IMOD_FIELDS and not header.has_imod_stamp
        skipped |= field.name in SKEW_FIELDS and header.lskflg != 1
        if not skipped:
            yield field


def rows(header: Header) -> Iterator[tuple[str, str, str]]:
    """Yield name, value with its unit, and meaning of everything that a header says."""
    endian = "little" if header.byteorder == "<" else "big"
    yield "byte order", f"{endian} endian", "found from the numbers"
    for field in shown_fields(header):
        value = field.__get__(header, Header)
        text = f"{value:.7g}" if isinstance(value, float) else str(value)
        if isinstance(value, tuple):
            text = ", ".join(f"{v:.7g}" for v in value)
        if field.name == "mode" and value in MODES:
            text = f"{value} ({MODES[value].title})"
        if isinstance(value, bytes):
            shown = value if any(value) else b""  # most files have no exttyp
            text = value.hex(" ") if field.name == "machst" else repr(shown)[1:]
        yield field.name, f"{text} {field.unit}".rstrip(), field.doc
    old = old_origin(header)
    if old:
        text = ", ".join(f"{v:.7g}" for v in old)
        yield "old origin", f"{text} angstrom", "xorg, yorg, zorg of a header from before 2000"
    size = header.voxel_size
    known = all(v == v for v in size)
    text = ", ".join(f"{v:.9g}" for v in size) + (" angstrom" if known else "")
    yield "voxel size", text, "cell length over grid intervals, along X, Y, Z"
    for number, label in enumerate(header.labels, 1):
        yield f"label {number}", label, ""


def as_text(header: Header) -> str:
    """Return the table of a header as aligned lines.

    Parameters
    ----------
    header : Header
        The header.

    Returns
    -------
    str

    Examples
    --------
    >>> print(as_text(Header.blank())[:25])
    byte order  little endian
    """
    lines = list(rows(header))
    names, values = (max(len(row[i]) for row in lines if row[2]) for i in (0, 1))
    return "\n".join(
        f"{name:<{names}}  {value:<{values if doc else 0}}  {doc}".rstrip()
        for name, value, doc in lines
    )


def as_values(header: Header) -> dict[str, Any]:
    """Return the fields of a header in plain types, for JSON and scripts.

    Parameters
    ----------
    header : Header
        The header.

    Returns
    -------
    dict
        int, float, str or a list of float by the name of the field, without the labels and without
        fields that the header does not have. A float is the shortest decimal with its float32.

    Examples
    --------
    >>> as_values(Header.blank())["machst"]
    '44 44 00 00'
    """
    return {field.name: plain_value(header, field.name) for field in shown_fields(header)}


def plain_value(header: Header, name: str) -> Any:
    """Return the value of one field as `as_values` does.

    Parameters
    ----------
    header : Header
        The header.
    name : str
        Name of the field.

    Returns
    -------
    int, float, str or list of float

    Examples
    --------
    >>> plain_value(Header.blank().replace(cella=(1.1, 2.2, 3.3)), "cella")
    [1.1, 2.2, 3.3]
    """
    value = getattr(header, name)
    if isinstance(value, bytes):
        return value.hex(" ") if name == "machst" else value.decode("latin-1").rstrip(" \0")
    if isinstance(value, float):
        return shortest(value)
    return [shortest(v) for v in value] if isinstance(value, tuple) else value


def as_html(header: Header, css_class: str = "") -> str:
    """Return the table of a header as HTML, with what is wrong with the header.

    Parameters
    ----------
    header : Header
        The header.
    css_class : str
        Class of the table, for the style sheet of a page.

    Returns
    -------
    str
        The errors and warnings of the checks that need nothing but the header stand above the
        table. The fields that they name are marked.

    Examples
    --------
    >>> as_html(Header.blank())[:7]
    '<table>'
    """
    problems = header_problems(header)
    severity_of: dict[str, str] = {}
    for severity, text in reversed(problems):  # of a field with two problems the first one counts
        severity_of |= dict.fromkeys(named_fields(text), severity)
    body = ""
    for name, *cells in rows(header):
        first = badge(name, severity_of[name]) if name in severity_of else escape(name)
        body += "<tr>" + "".join(
            f"<td style='text-align:left'>{cell}</td>" for cell in (first, *map(escape, cells))
        )
        body += "</tr>"
    found = "".join(
        f"<div style='text-align:left'>{badge(severity, severity)} {escape(text)}</div>"
        for severity, text in problems
    )
    start = f'<table class="{css_class}">' if css_class else "<table>"
    return f"{start}<caption>MRC header{found}</caption><tbody>{body}</tbody></table>"


def header_problems(header: Header) -> list[tuple[str, str]]:
    """Return severity and sentence of each error and warning about a header, errors first."""
    from xarray_mrc.codec.checks import CHECKS, Facts

    facts = Facts(header)
    found = [
        (check.severity, text)
        for severity in ("error", "warning")
        for check in CHECKS
        if check.severity == severity and (text := check.test(facts))
    ]
    return [(str(severity), text) for severity, text in found]


def named_fields(text: str) -> set[str]:
    """Return the fields that a sentence of a check names, by their names or in words."""
    words = set(re.findall(r"[a-z_]+", text.lower()))
    found = {field.name for field in Header.fields() if field.name in words}
    for phrase, names in PHRASES.items():
        if phrase in text:
            found |= set(names)
    return found
