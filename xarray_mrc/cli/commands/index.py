"""``xarray-mrc index``: the headers of many files as a table."""

from __future__ import annotations

import sys
from typing import Any

import click

from xarray_mrc.cli.files import Outcome, shown_name
from xarray_mrc.cli.output import json_option, one_line, print_json
from xarray_mrc.cli.storage import storage_option

# The columns that a terminal has room for.
SHORT = ("nx", "ny", "nz", "dtype", "kind", "voxel_size_x")

EPILOG = """\b
Examples:
  xarray-mrc index data/                      all MRC files in a folder and below
  xarray-mrc index "tilts/**/*.st" --csv > tilts.csv
  xarray-mrc index --problems particles/*.mrcs
  xarray-mrc index --json maps/ | jq -r '.[] | select(.voxel_size_x > 2) | .file'

Only the headers are read. The exit status is 1 if a file of the table has a problem: it cannot be
read, or is cut off. It is 2 if a folder or a pattern has no files.
"""


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--csv", "as_csv", is_flag=True, help="Print all columns as comma-separated values.")
@click.option("--problems", is_flag=True, help="Leave out files without a problem.")
@storage_option
@json_option
def index(paths: tuple[str, ...], as_csv: bool, problems: bool, storage: Any, as_json: bool) -> int:
    """Show the headers of many files as a table; a PATH is a file, folder, pattern or URL."""
    from xarray_mrc.multifile.indexing import read_table
    from xarray_mrc.multifile.paths import find_files

    if as_csv and as_json:
        raise click.UsageError("--csv and --json were passed, expected one of them")
    outcome, files, options = Outcome(), set[str](), dict(storage) or None
    outcome.run(paths, lambda path: files.update(find_files(path, options)))
    found = read_table(sorted(files), progress=sys.stderr.isatty(), storage_options=options)
    table = found.to_dataframe().rename(index=shown_name)
    if table["problem"].any():
        outcome.add_finding()
    if problems:
        table = table[table["problem"] != ""]
    if as_json:
        times = [time.isoformat() if time == time else None for time in table["mtime"]]
        rows = table.assign(mtime=times).reset_index().to_dict("records")
        print_json([*rows, *outcome.results])
    elif as_csv:
        click.echo(table.to_csv(), nl=False)
    else:
        print_table(table)
    return outcome.status


def print_table(table: Any) -> None:
    """Print the columns that most people look for, aligned, one file a line."""
    if not len(table):
        return
    short = table[list(SHORT)].rename(columns={"voxel_size_x": "voxel size"})
    lines = short.to_string(index=False, float_format="{:.6g}".format).splitlines()
    names = ["file", *table.index]
    problems = ["", *map(one_line, table["problem"])]
    for line, name, problem in zip(lines, names, problems, strict=True):
        click.echo(f"{line}  {name}" + (f": {problem}" if problem else ""))
