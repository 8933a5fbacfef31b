"""``xarray-mrc versions``: this computer and the packages, for reports of faults."""

from __future__ import annotations

import click

from xarray_mrc.cli.output import json_option, print_json

EPILOG = """\b
Examples:
  xarray-mrc versions
  xarray-mrc versions --json
"""


@click.command(epilog=EPILOG)
@json_option
def versions(as_json: bool) -> int:
    """Show the versions of this package and of those it uses."""
    from xarray_mrc.installation import find_versions, show_versions

    if as_json:
        print_json(find_versions())
    else:
        show_versions()
    return 0
