"""Text as HTML: escaped, and words on a ground of their own that can be read on any page."""

from __future__ import annotations

import html

__all__ = ["badge", "escape"]

# White on these has a contrast above 5.5, on a light page as on a dark one. The words tell the same
# as the colours.
GROUNDS = {"error": "#b00020", "warning": "#8a5a00", "info": "#4b5563", "valid": "#1b6e3c"}
STYLE = "color:#fff;border-radius:4px;padding:1px 7px;font-size:85%;white-space:nowrap"


def escape(text: str) -> str:
    """Return a text as HTML, with undecodable bytes of a file name written out.

    Examples
    --------
    >>> escape("<b>")
    '&lt;b&gt;'
    """
    return html.escape(text.encode("utf-8", "backslashreplace").decode())


def badge(word: str, severity: str) -> str:
    """Return a word in white on the colour of a severity, or of "valid".

    Examples
    --------
    >>> "#b00020" in badge("error", "error")
    True
    """
    return f'<span style="background:{GROUNDS[severity]};{STYLE}">{escape(word)}</span>'
