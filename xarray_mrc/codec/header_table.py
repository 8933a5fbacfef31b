"""Headers printed as a table of name, value and meaning."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from xarray_mrc.codec.decimals import shortest
from xarray_mrc.codec.header import IMOD_FIELDS, SKEW_FIELDS, Field, Header
from xarray_mrc.codec.modes import MODES
from xarray_mrc.codec.old_header import old_origin

__all__ = ["as_html", "as_text", "as_values", "plain_value"]


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
            text = value.hex(" ") if field.name == "machst" else repr(value)[1:]
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


def as_html(header: Header) -> str:
    """Return the table of a header as HTML.

    Parameters
    ----------
    header : Header
        The header.

    Returns
    -------
    str

    Examples
    --------
    >>> as_html(Header.blank())[:7]
    '<table>'
    """
    cells = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in row)
        + "</tr>"
        for row in rows(header)
    )
    return f"<table><caption>MRC header</caption><tbody>{cells}</tbody></table>"
