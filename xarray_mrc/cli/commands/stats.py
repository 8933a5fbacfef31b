"""``xarray-mrc stats``: minimum, maximum, mean and standard deviation of the data of files."""

from __future__ import annotations

from typing import Any

import click

from xarray_mrc.cli.files import Outcome, expand, files_argument, shown_name
from xarray_mrc.cli.output import json_option, print_json
from xarray_mrc.cli.progress import shown_progress
from xarray_mrc.cli.storage import options_of, storage_option

EPILOG = """\b
Examples:
  xarray-mrc stats tomo.mrc
  xarray-mrc stats --json *.mrc | jq -r '.[] | [.path, .mean, .rms] | @tsv'

All data are read once, in bounded memory. rms is the standard deviation; values that are nan or
infinite are counted, and are left out of the others.
"""


@click.command(epilog=EPILOG)
@files_argument
@storage_option
@json_option
def stats(files: tuple[str, ...], storage: Any, as_json: bool) -> int:
    """Measure the data of files: minimum, maximum, mean, rms."""
    outcome = Outcome()

    def measure(path: str) -> dict[str, Any]:
        from xarray_mrc.checking.array_statistics import statistics

        with shown_progress(path):
            found = statistics(path, storage_options=options_of(path, storage))
        if not as_json:
            click.echo(f"{shown_name(path)}: {found}")
        return {
            "path": shown_name(path),
            "count": found.count,
            "minimum": found.minimum,
            "maximum": found.maximum,
            "mean": found.mean,
            "rms": found.rms,
            "nans": found.nans,
            "infinities": found.infinities,
        }

    outcome.run(expand(files), measure)
    if as_json:
        print_json(outcome.results)
    return outcome.status
