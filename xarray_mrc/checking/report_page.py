"""`report_page`: the reports of one or many files as one web page without scripts."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xarray_mrc.checking.report import SEVERITIES, WORDS, Report
from xarray_mrc.codec.checks import Severity
from xarray_mrc.codec.header_table import as_html
from xarray_mrc.codec.html_text import badge, escape

__all__ = ["Thumbnail", "page_of", "picture", "report_page"]

# Nothing is loaded, and no script runs, whatever a file name or a label contains.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
HEIGHT_PX = 180
STYLE = """
:root { color-scheme: light dark; --text: #1f2933; --muted: #52606d; --line: #cbd2d9;
  --ground: #ffffff; --card: #f5f7fa }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --muted: #9aa5b1; --line: #3e4c59;
  --ground: #12181f; --card: #1b232c } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 70rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem; margin: 0.5rem 0; overflow-wrap: anywhere }
a { color: inherit }
code { font-size: 0.9em; background: var(--line); border-radius: 4px; padding: 0 4px }
.controls, .control { color: var(--muted) }
.control { margin: 0 0.25rem 0 0.75rem; accent-color: #2563eb }
.files, .overview, .files ul { display: flex; flex-direction: column }
.overview { list-style: none; padding: 0; margin: 1rem 0; border-top: 1px solid var(--line) }
.overview li { display: flex; gap: 0.75rem; align-items: baseline; flex-wrap: wrap;
  padding: 0.35rem 0; border-bottom: 1px solid var(--line) }
.overview a { flex: 1 1 14rem; overflow-wrap: anywhere }
.overview span { min-width: 4.5rem; text-align: center }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 0.5rem 1rem 1rem; margin: 0.75rem 0; min-width: 0; scroll-margin-top: 1rem }
.pictures { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0.75rem 0 }
figure { margin: 0; max-width: 100% }
figcaption { color: var(--muted); font-size: 0.8rem; max-width: 22rem }
img { display: block; max-width: 100%; border-radius: 4px; image-rendering: pixelated }
.wide img { width: 100%; image-rendering: auto }
details { margin-top: 0.5rem }
summary { cursor: pointer }
details table { border-collapse: collapse; width: 100%; font-size: 0.85rem }
caption { text-align: left; padding: 0.5rem 0; color: var(--muted) }
td { padding: 2px 10px 2px 0; vertical-align: top; border-top: 1px solid var(--line);
  overflow-wrap: anywhere }
#by-name:checked ~ .overview li, #by-name:checked ~ .files article,
#by-name:checked ~ .files li { order: var(--by-name) }
#show-error:not(:checked) ~ .files li.error, #show-warning:not(:checked) ~ .files li.warning,
#show-info:not(:checked) ~ .files li.info { display: none }
@media (max-width: 40rem) {
  main { padding: 0.5rem }
  details tr { display: block; border-top: 1px solid var(--line); padding: 4px 0 }
  details td { display: block; border: 0; padding: 0 }
  details td:first-child { font-weight: bold }
}
"""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture of a file, for a page.

    Attributes
    ----------
    title : str
        What it shows.
    png : bytes
        A PNG file.
    aspect : float
        Width over height as it is to be shown: pixels need not be square.
    height : float
        Height as a part of that of the highest picture beside it: all have one scale.
    """

    title: str
    png: bytes
    aspect: float = 1.0
    height: float = 1.0


def report_page(
    reports: Sequence[Report], thumbnails: Mapping[str, Sequence[Thumbnail]] | None = None
) -> str:
    """Return reports as a web page: one file that needs no other, and runs no script.

    Parameters
    ----------
    reports : sequence of Report
        The reports of any number of files.
    thumbnails : mapping of str to sequence of Thumbnail, optional
        Pictures of the files by the path of the report, as `report_thumbnails` of
        ``xarray_mrc.pictures.thumbnails`` draws them.

    Returns
    -------
    str
        Files with errors come first, then those with warnings. The reader of the page can sort
        files by name and findings by check, and leave out findings by severity.

    Examples
    --------
    >>> page = report_page([Report("a.mrc", "mrc2014", (), True)])
    >>> page[:15], "<script" in page
    ('<!DOCTYPE html>', False)
    """
    pictures = {} if thumbnails is None else thumbnails
    ordered = sorted(reports, key=lambda report: (*severity_key(report), report.path))
    names = {path: place for place, path in enumerate(sorted(report.path for report in reports))}
    invalid = sum(not report for report in reports)
    counts = Counter(finding.severity for report in reports for finding in report.findings)
    title = escape(reports[0].path) if len(reports) == 1 else f"Validation of {len(reports)} files"
    body = f"<h1>{'Validation' if len(reports) == 1 else title}</h1>\n"
    if len(reports) > 1:
        body += f"<p>{invalid} invalid, {len(reports) - invalid} valid</p>\n"
    body += controls(len(reports), counts)
    if len(reports) > 1:
        rows = (
            overview_row(number, report, names[report.path])
            for number, report in enumerate(ordered)
        )
        body += f'<ol class="overview">\n{"".join(rows)}</ol>\n'
    articles = (
        article(number, report, names[report.path], pictures.get(report.path, ()))
        for number, report in enumerate(ordered)
    )
    body += f'<div class="files">\n{"".join(articles)}</div>\n'
    if any("edit_header(" in finding.text for report in reports for finding in report.findings):
        body += (
            "<p><code>edit_header</code> is a function of the Python package xarray_mrc; in a "
            "terminal, <code>xarray-mrc edit</code> takes the options <code>--fix</code> and "
            "<code>--kind</code>.</p>\n"
        )
    return page_of(title, body)


def page_of(title: str, body: str) -> str:
    """Return a whole page; title and body are HTML already."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def severity_key(report: Report) -> tuple[int, ...]:
    """Return a key that sorts reports by their numbers of errors, warnings and notes."""
    counts = Counter(finding.severity for finding in report.findings)
    return tuple(-counts[severity] for severity in SEVERITIES)


def controls(files: int, counts: Counter[Severity]) -> str:
    """Return the buttons that sort and select; the style sheet does what they say."""
    if not counts and files < 2:
        return ""
    names = "name" if files > 1 else "check"
    found = (
        f'<span class="controls">sort by</span>'
        f'<input type="radio" class="control" name="sort" id="by-severity" checked="" />'
        f'<label for="by-severity">severity</label>'
        f'<input type="radio" class="control" name="sort" id="by-name" />'
        f'<label for="by-name">{names}</label>\n'
    )
    for severity in SEVERITIES:
        if counts[severity]:
            found += (
                f'<input type="checkbox" class="control" id="show-{severity}" checked="" />'
                f'<label for="show-{severity}">{counts[severity]} '
                f"{WORDS[severity][counts[severity] > 1]}</label>\n"
            )
    return found


def overview_row(number: int, report: Report, place: int) -> str:
    """Return the line of a file in the overview."""
    counts = Counter(finding.severity for finding in report.findings)
    found = "".join(
        badge(f"{counts[severity]} {WORDS[severity][counts[severity] > 1]}", severity)
        for severity in SEVERITIES
        if counts[severity]
    )
    verdict = badge("valid", "valid") if report else badge("invalid", "error")
    return (
        f'<li style="--by-name:{place}">{verdict}<a href="#file-{number}">{escape(report.path)}</a>'
        f"{found}</li>\n"
    )


def article(number: int, report: Report, place: int, pictures: Sequence[Thumbnail]) -> str:
    """Return everything about one file."""
    found = f'<article id="file-{number}" style="--by-name:{place}">\n{report._repr_html_()}\n'
    if pictures:
        found += f'<div class="pictures">\n{"".join(map(picture, pictures))}</div>\n'
    if report.header is not None:
        table = as_html(report.header, "header")
        found += f"<details><summary>Header</summary>\n{table}\n</details>\n"
    return f"{found}</article>\n"


def picture(thumbnail: Thumbnail) -> str:
    """Return a picture with its title; its bytes are in the page."""
    data = base64.b64encode(thumbnail.png).decode()
    title = escape(thumbnail.title)
    width = round(HEIGHT_PX * thumbnail.height * thumbnail.aspect)
    return (
        f'<figure><img alt="{title}" width="{width}" style="aspect-ratio:{thumbnail.aspect:.4f}" '
        f'src="data:image/png;base64,{data}" /><figcaption>{title}</figcaption></figure>\n'
    )
