"""``xarray-mrc validate``: check files against the rules of the format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xarray_mrc.cli.files import Outcome, check_output, expand, files_argument, shown_name
from xarray_mrc.cli.output import as_command, json_option, print_json, printable, styled
from xarray_mrc.cli.progress import shown_progress
from xarray_mrc.cli.storage import options_of, storage_option

if TYPE_CHECKING:
    from xarray_mrc.checking.report import Report

EPILOG = """\b
Examples:
  xarray-mrc validate tomo.mrc
  xarray-mrc validate --no-data *.mrc                    headers only, of files of any size
  xarray-mrc validate --profile emdb --html report.html *.map.gz
  xarray-mrc validate --json *.mrc | jq '.[] | select(.valid | not).path'

\b
Profiles:
  mrc2014        the standard
  emdb           and the rules for maps in EMDB
  cryoet-portal  and the rules of the CryoET Data Portal
  mrcfile        the verdict and the text of the program mrcfile-validate

The exit status is 1 if a file is not valid. A finding names the command that mends it, if one does.
"""
# As in `xarray_mrc.checking.profiles`, which takes too long to load for a text of help.
PROFILES = ("mrc2014", "emdb", "cryoet-portal", "mrcfile")
VALID_FOR_MRCFILE = "File appears to be valid."


@click.command(epilog=EPILOG)
@files_argument
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="mrc2014",
    show_default=True,
    help="The rules to check.",
)
@click.option("--no-data", is_flag=True, help="Read only the headers.")
@click.option(
    "--html", metavar="FILE", type=click.Path(dir_okay=False), help="Write a page for a browser."
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --html if it exists.")
@storage_option
@json_option
def validate(
    files: tuple[str, ...],
    profile: str,
    no_data: bool,
    html: str | None,
    overwrite: bool,
    storage: Any,
    as_json: bool,
) -> int:
    """Check files; print what is wrong, and whether they are valid."""
    if html is not None:
        check_output(html, overwrite=overwrite)
    outcome, reports, paths = Outcome(), list[Any](), expand(files)

    def check(path: str) -> dict[str, Any]:
        from xarray_mrc.checking.validation import validate

        with shown_progress(path, is_wanted=not no_data):
            options = options_of(path, storage)
            report = validate(path, profile, not no_data, storage_options=options)
        report = replace(report, path=shown_name(path))
        reports.append(report)
        if not report:
            outcome.add_finding()
        if not as_json:
            print_report(path, report)
        return as_object(report)

    outcome.run(paths, check)
    if html is not None:
        from xarray_mrc.checking.report_page import report_page
        from xarray_mrc.pictures.thumbnails import report_thumbnails

        Path(html).write_text(report_page(reports, report_thumbnails(reports)), "utf-8")
    if as_json:
        print_json(outcome.results)
    return outcome.status


def print_report(path: str, report: Report) -> None:
    """Print the findings and the verdict; for mrcfile's profile in mrcfile's words."""
    if report.profile == "mrcfile":
        click.echo(f"Checking if {shown_name(path)} is a valid MRC2014 file...")
        for text in [finding.text for finding in report.findings] or [VALID_FOR_MRCFILE]:
            click.echo(printable(text))
        return
    for finding in report.findings:
        click.echo(styled(as_command(printable(str(finding))), finding.severity))
    click.echo(styled(printable(report.summary), "valid" if report else "error"))


def as_object(report: Report) -> dict[str, Any]:
    """Return a report as an object for JSON."""
    import json

    found: dict[str, Any] = json.loads(report.to_json())
    return found
