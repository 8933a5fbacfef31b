"""``xarray-mrc header``: the headers of files, as a table, as single values or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from xarray_mrc.cli.files import Outcome, expand, files_argument, shown_name
from xarray_mrc.cli.output import fitted, json_option, print_json, printable
from xarray_mrc.cli.storage import options_of, storage_option

if TYPE_CHECKING:
    from xarray_mrc.codec.extended import Extended, SectionField
    from xarray_mrc.codec.header import Header
    from xarray_mrc.storage import Head

EPILOG = """\b
Examples:
  xarray-mrc header tomo.mrc
  xarray-mrc tomo.mrc                                    the same
  xarray-mrc header --ext tilts.mrc                      tilt angles, stage positions, ...
  xarray-mrc header --field voxel_size tomo.mrc          prints: 10.74 10.74 10.74
  xarray-mrc header --field nx --field ny *.mrc          a table: file, nx, ny
  xarray-mrc header --field tilt_angle tilts.mrc > tilts.rawtlt
  xarray-mrc header --json *.mrc | jq '.[].fields.rms'

\b
A NAME of --field is a field of the header (nx, mode, cella, dmean, ...), or one of
  voxel_size   along x, y and z, in angstrom
  labels       the labels that contain text
  byteorder    "<" for little endian, ">" for big endian
  a name that --ext shows, such as tilt_angle
"""

# Names of --field besides those of the fields.
DERIVED = ("voxel_size", "labels", "byteorder")


@click.command(epilog=EPILOG)
@files_argument
@click.option("--ext", is_flag=True, help="Show the extended header, too.")
@click.option(
    "--field",
    "names",
    metavar="NAME",
    multiple=True,
    help="Print only the value of a field, for scripts; repeat it for several.",
)
@click.option(
    "--profile",
    type=click.Choice(["mrcfile"]),
    help="Print the text of the program mrcfile-header.",
)
@storage_option
@json_option
def header(
    files: tuple[str, ...],
    ext: bool,
    names: tuple[str, ...],
    profile: str | None,
    storage: Any,
    as_json: bool,
) -> int:
    """Show the headers of files; the data are not read."""
    if names and (as_json or ext or profile):
        raise click.UsageError("--field prints single values, without --json, --ext and --profile")
    if profile and (as_json or ext):
        raise click.UsageError(f"--profile {profile} prints text, without --json and --ext")
    outcome, paths = Outcome(), expand(files)
    is_alone = len(paths) == len(names) == 1

    def show(path: str) -> dict[str, Any]:
        from xarray_mrc.reading.header_reading import read_header
        from xarray_mrc.storage import open_head

        if profile:
            from xarray_mrc.mrcfile.command_line import print_headers

            print_headers([path])
            return {}
        head = open_head(path, storage_options=options_of(path, storage))
        found = read_header(head)
        if names:
            values = [value_text(head, found, name, is_alone=is_alone) for name in names]
            click.echo("\t".join([shown_name(path), *values] if len(paths) > 1 else values))
            return {}
        extended = read_extended(head) if ext else None
        if not as_json:
            print_tables(path, found, extended, is_titled=len(paths) > 1)
        return as_object(path, found, extended)

    outcome.run(paths, show)
    if as_json:
        print_json(outcome.results)
    return outcome.status


def read_extended(head: Head) -> Extended:
    """Read the extended header of a file; the modules for it are loaded only here."""
    from xarray_mrc.reading.extended_header import read_extended_header

    return read_extended_header(head)


def columns(extended: Extended) -> dict[str, SectionField]:
    """Return the columns of an extended header by name, those under common names first."""
    common = {column.name: column for column in extended.common}
    return common | {c.name: c for c in extended.all if c.name not in common}


def value_text(head: Head, found: Header, name: str, *, is_alone: bool) -> str:
    """Return the bare value of a field; several values one a line if nothing else is printed."""
    from xarray_mrc.codec.header import Header
    from xarray_mrc.codec.header_table import plain_value

    if name == "labels":
        return ("\n" if is_alone else "; ").join(found.labels)
    if name == "voxel_size":
        return bare(list(found.voxel_size))
    if name == "byteorder":
        return found.byteorder
    if name in {field.name for field in Header.fields()}:
        return bare(plain_value(found, name))
    found_columns = columns(read_extended(head))
    if name not in found_columns:
        raise ValueError(no_such_field(name, found_columns))
    texts = map(bare, found_columns[name].values.tolist())
    return ("\n" if is_alone else " ").join(texts)


def bare(value: Any) -> str:
    """Return a value without names and brackets."""
    if isinstance(value, list):
        return " ".join(map(bare, value))
    return printable(str(value))


def no_such_field(name: str, others: Iterable[str]) -> str:
    """Return the error for a field that neither header has."""
    import difflib

    from xarray_mrc.codec.header import Header

    known = [*(field.name for field in Header.fields()), *DERIVED, *others]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(known)}"
    return f"--field {name} is not a field of its header or extended header; {hint}"


def print_tables(path: str, found: Header, extended: Extended | None, *, is_titled: bool) -> None:
    """Print the header as a table, and below it the extended header."""
    if is_titled:
        click.echo(f"{shown_name(path)}:")
    click.echo(fitted(printable(str(found))))
    if extended is not None:
        click.echo(f"\n{fitted(extended_text(found, extended))}")
    if is_titled:
        click.echo()


def extended_text(found: Header, extended: Extended) -> str:
    """Return what an extended header holds, one column a line."""
    lines = [f"extended header  {extended.kind}, {max(0, found.nsymbt)} bytes"]
    if extended.problem:
        lines.append(f"problem          {extended.problem}")
    lines += [f"symmetry         {operator}" for operator in extended.symmetry]
    rows = [(c.name, span_text(c.values), c.units, c.long_name) for c in columns(extended).values()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join([*cells, row[3]]).rstrip())
    return printable("\n".join(lines))


def span_text(values: Any) -> str:
    """Return the values of a column in short: one for all sections, or the first and the last."""
    texts = [bare(value) for value in values.tolist()]
    if len(set(texts)) < 2:
        return "".join(texts[:1])
    return f"{texts[0]} ... {texts[-1]}"


def as_object(path: str, found: Header, extended: Extended | None) -> dict[str, Any]:
    """Return the headers as an object for JSON."""
    from xarray_mrc.codec.header_table import as_values

    result = {
        "path": shown_name(path),
        "byteorder": found.byteorder,
        "voxel_size": found.voxel_size,
        "labels": found.labels,
        "fields": as_values(found),
    }
    if extended is not None:
        result["extended_header"] = {
            "kind": extended.kind,
            "problem": extended.problem,
            "symmetry": extended.symmetry,
            "sections": {
                column.name: {
                    "units": column.units,
                    "long_name": column.long_name,
                    "values": column.values,
                }
                for column in columns(extended).values()
            },
        }
    return result
