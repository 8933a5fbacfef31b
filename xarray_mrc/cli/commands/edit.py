"""``xarray-mrc edit``: change fields of the headers of files, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xarray_mrc.cli.files import Outcome, ParamType, expand, files_argument, shown_name
from xarray_mrc.cli.output import json_option, print_json, printable

if TYPE_CHECKING:
    from xarray_mrc.writing.header_edit import HeaderDifference

EPILOG = """\b
Examples:
  xarray-mrc edit --voxel-size 1.35 --dry-run *.mrc      what would change
  xarray-mrc edit --voxel-size 1.35 *.mrc
  xarray-mrc edit --voxel-size 1.35,1.35,5 tomo.mrc      along x, y and z
  xarray-mrc edit --fix *.mrc                            mend what the header alone can mend
  xarray-mrc edit --fix --data tomo.mrc                  and measure the statistics anew
  xarray-mrc edit --tilt-angles tilts.rawtlt --rewrite tilts.mrc
  xarray-mrc edit --set ispg=1 --set nxstart=0 map.mrc
  xarray-mrc edit --label "half map 1" --label "unfiltered" half1.mrc

Only bytes of the headers are written, never the data. An edit that would make a file unreadable,
or less valid than before, is refused. --rewrite writes a file anew that cannot be edited in place:
a compressed one, or one without room for tilt angles.
"""
# As in `xarray_mrc.codec.layout`, which takes too long to load for a text of help.
KINDS = ("image", "image_stack", "volume", "volume_stack")
# Options that change something, besides --label and --set.
CHANGES = ("voxel_size", "origin", "kind", "tilt_angle", "fix")


class NumbersType(ParamType):
    """One number, or three along x, y and z."""

    name = "number or x,y,z"

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.counts = counts

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        """Parse numbers with commas or blanks between them."""
        try:
            numbers = tuple(float(word) for word in value.replace(",", " ").split())
        except ValueError:
            numbers = ()
        if len(numbers) not in self.counts:
            wanted = "one number, or three" if 1 in self.counts else "three numbers"
            self.fail(f"{value!r} was found, expected {wanted}, such as 1.35,1.35,5", param, ctx)
        return numbers[0] if len(numbers) == 1 else numbers


@click.command(epilog=EPILOG)
@files_argument
@click.option(
    "--voxel-size",
    "--angpix",
    metavar="SIZE",
    type=NumbersType((1, 3)),
    help="Voxel size in angstrom, of all axes or X,Y,Z.",
)
@click.option(
    "--origin",
    metavar="X,Y,Z",
    type=NumbersType((3,)),
    help="Position of the first voxel in angstrom.",
)
@click.option(
    "--label",
    "labels",
    metavar="TEXT",
    multiple=True,
    help="Replace all labels by this one; repeat it for more, up to ten.",
)
@click.option("--kind", type=click.Choice(KINDS), help="What the sections are.")
@click.option(
    "--set",
    "assignments",
    metavar="FIELD=VALUE",
    multiple=True,
    help='Set any field that "xarray-mrc header" shows; repeat it for several.',
)
@click.option(
    "--tilt-angles",
    "tilt_angle",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Tilt angle of each image, in degrees: a file with one a line, or a .mdoc.",
)
@click.option(
    "--fix", is_flag=True, help='Mend what "xarray-mrc validate" finds, where it is certain.'
)
@click.option(
    "--data", is_flag=True, help="With --fix, read the data and mend the statistics, too."
)
@click.option("--rewrite", is_flag=True, help="Write a file anew that cannot be edited in place.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
def edit(
    files: tuple[str, ...],
    labels: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Change fields of headers, and show old and new values."""
    fields = parse_assignments(assignments)
    # 0 is a voxel size (unknown), and equal to False.
    is_change = any(options[name] is not None and options[name] is not False for name in CHANGES)
    if not (labels or fields or is_change):
        raise click.UsageError("nothing to change was passed, such as --voxel-size or --fix")
    if options["data"] and not options["fix"]:
        raise click.UsageError("--data was passed without --fix, which it is for")
    passed = {name: value for name, value in options.items() if value is not None}
    if twice := sorted(passed.keys() & fields.keys()):
        raise click.UsageError(f"--{twice[0]} and --set {twice[0]}=... were passed, expected one")
    if labels:
        passed["labels"] = labels
    outcome = Outcome()

    def change(path: str) -> dict[str, Any]:
        from xarray_mrc.writing.header_edit import edit_header

        found = edit_header(path, **passed, **fields)
        if not as_json:
            click.echo(difference_text(path, found))
        return as_object(path, found, is_written=not options["dry_run"])

    outcome.run(expand(files), change)
    if as_json:
        print_json(outcome.results)
    return outcome.status


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of --set by field; UsageError if there is no such field or value."""
    if not assignments:
        return {}
    import difflib

    from xarray_mrc.codec.header import Header

    known = {field.name: field for field in Header.fields() if field.name != "label_bytes"}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment!r} was found, expected FIELD=VALUE")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(known)}"
            raise click.UsageError(f"--set {assignment}: there is no field {name!r}; {hint}")
        try:
            values[name] = parse_value(known[name].code, text)
        except ValueError:
            raise click.UsageError(
                f"--set {assignment}: the value does not fit the field, expected "
                f"{VALUE_FORMS[known[name].code[-1]]}"
            ) from None
    return values


# What a field holds, by the last letter of its code for `struct`.
VALUE_FORMS = {
    "i": "a whole number",
    "h": "a whole number",
    "f": "a number, or as many as the field has with commas between them",
    "s": "a text, or for machst bytes such as 44440000",
}


def parse_value(code: str, text: str) -> Any:
    """Parse the value of a field with a code of `struct`."""
    if code.endswith("s"):
        size = int(code[:-1])
        stamp = text.replace(" ", "")
        if size == 4 and len(stamp) == 8:
            return bytes.fromhex(stamp)
        raw = text.encode("ascii")
        if len(raw) > size:
            raise ValueError(text)
        return raw.ljust(size)
    if code.endswith("f"):
        numbers = [float(word) for word in text.replace(",", " ").split()]
        if len(numbers) != int(code[:-1] or 1):
            raise ValueError(text)
        return numbers[0] if code == "f" else tuple(numbers)
    return int(text)


def difference_text(path: str, found: HeaderDifference) -> str:
    """Return the changes of a file as text, one field a line."""
    _, *lines = str(found).split("\n")
    return printable("\n".join([shown_name(path), *lines]))


def as_object(path: str, found: HeaderDifference, *, is_written: bool) -> dict[str, Any]:
    """Return the changes of a file as an object for JSON."""
    changed = {name: [plain(old), plain(new)] for name, (old, new) in found.items()}
    return {"path": shown_name(path), "written": is_written and bool(found), "changes": changed}


def plain(value: Any) -> Any:
    """Return a value of a field for JSON: a float as the shortest decimal with that float32."""
    from xarray_mrc.codec.decimals import shortest

    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return shortest(value) if isinstance(value, float) else value
