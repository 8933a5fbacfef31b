"""`Report`: the findings of a check, as text, as JSON and as a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass

from xarray_mrc.codec.checks import Severity
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.html_text import badge, escape

__all__ = ["Finding", "Report"]

# The words for one and for several findings of each severity, worst first.
WORDS: dict[Severity, tuple[str, str]] = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
}
SEVERITIES = tuple(WORDS)
CALL = re.compile(r"(edit_header\([^()]*\))")


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a file breaks, or a note about it.

    Attributes
    ----------
    id : str
        Id of the check; the documentation has a table of all.
    severity : {"error", "warning", "info"}
        An error makes the file invalid.
    title : str
        The rule of the check.
    text : str
        What was found and expected, and the call of `edit_header` that mends it, if one does.
    """

    id: str
    severity: Severity
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity[0].upper()} {self.id} {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of checking a file: true if no error was found; prints as text.

    Attributes
    ----------
    path : str
        The file.
    profile : str
        The rules that were checked.
    findings : tuple of Finding
        Errors first.
    data_checked : bool
        Whether the data were read too, and not only the headers.
    header : Header or None
        The header of the file; None if it is not an MRC file.

    Examples
    --------
    >>> found = Finding("H06", "warning", "NVERSION is that of MRC2014", "nversion is 0")
    >>> report = Report("a.mrc", "mrc2014", (found,), True)
    >>> print(report)
    W H06 nversion is 0
    a.mrc: valid (mrc2014): 1 warning
    >>> bool(report)
    True
    """

    path: str
    profile: str
    findings: tuple[Finding, ...]
    data_checked: bool
    header: Header | None = None

    def __bool__(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Exit status of a command: 0 if the file is valid, 1 if it is not.

        A file that can't be read raises an exception instead; 2 is left for that.
        """
        return 0 if self else 1

    @property
    def _printable_path(self) -> str:
        """The path with undecodable bytes escaped, so that any stream can print it."""
        return self.path.encode("utf-8", "backslashreplace").decode()

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        counts = Counter(finding.severity for finding in self.findings)
        found = ", ".join(
            f"{counts[severity]} {words[counts[severity] > 1]}"
            for severity, words in WORDS.items()
            if counts[severity]
        )
        verdict = "valid" if self else "invalid"
        scope = "" if self.data_checked else ", headers only"
        return (
            f"{self._printable_path}: {verdict} ({self.profile}{scope}): {found or 'nothing found'}"
        )

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), self.summary])

    def to_json(self) -> str:
        """Return the report as a JSON object.

        Returns
        -------
        str
            An object with ``path``, ``profile``, ``valid``, ``data_checked`` and ``findings``, a
            list of objects with ``id``, ``severity``, ``title`` and ``text``.

        Examples
        --------
        >>> json.loads(Report("a.mrc", "mrc2014", (), True).to_json())["valid"]
        True
        """
        found = [asdict(finding) for finding in self.findings]
        return json.dumps(
            {
                "path": self.path,
                "profile": self.profile,
                "valid": bool(self),
                "data_checked": self.data_checked,
                "findings": found,
            },
            indent=2,
        )

    def to_html(self) -> str:
        """Return the report as a web page without scripts and other files.

        Returns
        -------
        str
            One HTML page that needs no other file, of this report alone.

        Examples
        --------
        >>> "a&lt;b.mrc" in Report("a<b.mrc", "mrc2014", (), True).to_html()
        True
        """
        from xarray_mrc.checking.report_page import report_page

        return report_page([self])

    def _repr_html_(self) -> str:
        verdict = badge("valid", "valid") if self else badge("invalid", "error")
        by_id = sorted(range(len(self.findings)), key=lambda number: self.findings[number].id)
        places = {number: place for place, number in enumerate(by_id)}
        items = "".join(
            f'<li class="{finding.severity}" style="--by-name:{places[number]};margin:8px 0">'
            f"{badge(WORDS[finding.severity][0], finding.severity)} "
            f"<strong>{escape(finding.id)}</strong> <span>{escape(finding.title)}</span>"
            f"<div>{with_code(finding.text)}</div></li>\n"
            for number, finding in enumerate(self.findings)
        )
        found = f'<ul style="list-style:none;padding:0;margin:0">\n{items}</ul>\n' if items else ""
        return (
            f'<div class="mrc-report" style="text-align:left;overflow-wrap:anywhere">\n'
            f"<p>{verdict} <strong>{escape(self.summary)}</strong></p>\n{found}</div>"
        )


def with_code(text: str) -> str:
    """Return a sentence as HTML, with calls of `edit_header` as code."""
    parts = (escape(part) for part in CALL.split(text))
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
