"""`Report`: the findings of a check, as text, as JSON and as a page."""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import asdict, dataclass

from xarray_mrc.codec.checks import Severity

__all__ = ["Finding", "Report"]

# The words for one and for several findings of each severity, worst first.
WORDS: dict[Severity, tuple[str, str]] = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
}
SEVERITIES = tuple(WORDS)
STYLE = """
.mrc-report { font: 14px/1.5 sans-serif; text-align: left }
.mrc-report table { border-collapse: collapse }
.mrc-report td, .mrc-report th { padding: 2px 12px 2px 0; text-align: left; vertical-align: top }
.mrc-report .error { color: #b00020 }
.mrc-report .warning { color: #8a5a00 }
.mrc-report .info { color: #555 }
"""


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

        Examples
        --------
        >>> "a&lt;b.mrc" in Report("a<b.mrc", "mrc2014", (), True).to_html()
        True
        """
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{html.escape(self._printable_path)}</title>\n</head>\n<body>\n{self._repr_html_()}\n"
            f"</body>\n</html>\n"
        )

    def _repr_html_(self) -> str:
        rows = "\n".join(
            f'<tr class="{finding.severity}">'
            + "".join(
                f"<td>{html.escape(cell)}</td>"
                for cell in (finding.severity, finding.id, finding.title, finding.text)
            )
            + "</tr>"
            for finding in self.findings
        )
        heads = "<tr><th>severity</th><th>check</th><th>rule</th><th>found</th></tr>"
        table = f"<table>\n<thead>{heads}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"
        return (
            f'<div class="mrc-report">\n<style>{STYLE}</style>\n'
            f"<p><strong>{html.escape(self.summary)}</strong></p>\n"
            f"{table if self.findings else ''}</div>"
        )
