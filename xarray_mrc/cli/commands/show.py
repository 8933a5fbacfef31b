"""``xarray-mrc show``: a file at a glance, in the terminal, as a picture or as a page."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xarray_mrc.cli.files import Outcome, check_output, expand, files_argument, shown_name
from xarray_mrc.cli.output import printable
from xarray_mrc.cli.storage import options_of, storage_option

if TYPE_CHECKING:
    from xarray_mrc.codec.header import Header
    from xarray_mrc.pictures.planes import PlaneSet
    from xarray_mrc.pictures.terminal import Colors

EPILOG = """\b
Examples:
  xarray-mrc show tomo.mrc
  FORCE_COLOR=1 xarray-mrc show *.mrc | less -R          colours through a pipe
  xarray-mrc show --save tomo.png tomo.mrc
  xarray-mrc show --save tomo.html tomo.mrc              picture and header in one page

Shown are the middle planes across z, y and x of a volume, or the first, middle and last image of a
stack. Only these planes are read, from a file of any size. y and z point up, as in 3dmod. Without
colours (NO_COLOR, pipes) the pictures are made of characters.
"""
PICTURES = (".png", ".svg", ".pdf")
PAGES = (".html", ".htm")
# Pixels along a side of a plane that is read for the terminal; a picture there has fewer.
MAX_SIDE = 128


@click.command(epilog=EPILOG)
@files_argument
@click.option(
    "--save", metavar="FILE", help="Save a picture (.png, .svg, .pdf) or a page (.html) instead."
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --save if it exists.")
@storage_option
def show(files: tuple[str, ...], save: str | None, overwrite: bool, storage: Any) -> int:
    """Show three planes, a histogram and the main facts of a file."""
    outcome, paths = Outcome(), expand(files)
    if save is not None:
        check_target(save, paths)
        check_output(save, overwrite=overwrite)

    def look(path: str) -> None:
        if save is None:
            show_in_terminal(path, options_of(path, storage))
        else:
            save_picture(path, save, options_of(path, storage))
            click.echo(f"{shown_name(path)} -> {shown_name(save)}")

    outcome.run(paths, look)
    return outcome.status


def check_target(save: str, paths: list[str]) -> None:
    """Raise UsageError if the picture or page cannot be saved under this name."""
    if os.path.splitext(save)[1].lower() not in (*PICTURES, *PAGES):
        raise click.UsageError(
            f"--save {save} was found, expected a name in .png, .svg, .pdf, .html"
        )
    if len(paths) != 1:
        raise click.UsageError(f"--save takes one file, but {len(paths)} were passed")


def save_picture(path: str, save: str, options: dict[str, Any] | None) -> None:
    """Save a file as a picture or a page."""
    from xarray_mrc.storage import open_head

    source = path if options is None else open_head(path, storage_options=options)
    if save.lower().endswith(PAGES):
        from xarray_mrc.pictures.overview import overview_page

        page = overview_page(source)
        Path(save).write_text(page, "utf-8")
    else:
        from xarray_mrc.pictures.figure import show

        show(source).savefig(save)


def show_in_terminal(path: str, options: dict[str, Any] | None) -> None:
    """Print the main facts of a file, its planes and a histogram."""
    from rich.console import Console

    from xarray_mrc.pictures.planes import read_planes
    from xarray_mrc.pictures.terminal import draw
    from xarray_mrc.reading.header_reading import read_header
    from xarray_mrc.storage import open_head

    console = Console()
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")
    head = open_head(path, storage_options=options)
    found = read_planes(head, max_side=MAX_SIDE)
    facts = summary(path, read_header(head), found)
    if console.is_terminal:  # a pipe has no width
        facts = wrap_facts(facts, console.width)
    click.echo(facts if is_unicode else facts.replace("Å", "A"))
    colors = colors_of(console) if is_unicode else None
    picture = draw(found, width=console.width, colors=colors, is_unicode=is_unicode)
    click.echo(picture + "\n", color=colors is not None)


def colors_of(console: object) -> Colors:
    """Return the colours that the terminal shows; None for characters only."""
    if getattr(console, "no_color", True) or not getattr(console, "is_terminal", False):
        return None
    found = {"truecolor": "truecolor", "256": "256"}
    colors: Colors = found.get(str(getattr(console, "color_system", None)))  # type: ignore[assignment]
    return colors


def wrap_facts(facts: str, width: int) -> str:
    """Return the facts with lines broken between words; the name of the file stays in one piece."""
    name, *others = facts.split("\n")
    wrapped = (textwrap.wrap(line, width, break_long_words=False) for line in others)
    return "\n".join([name, *(part for parts in wrapped for part in parts)])


def summary(path: str, header: Header, found: PlaneSet) -> str:
    """Return the main facts of a file in a few lines."""
    from xarray_mrc.codec.modes import MODES
    from xarray_mrc.codec.statistics import stated_statistics

    lines = [shown_name(path)]
    lines.append(
        f"{header.nx} x {header.ny} x {header.nz} pixels, {MODES[header.mode].title} "
        f"(mode {header.mode}), {found.kind.replace('_', ' ')}"
    )
    sizes = [v for v in header.voxel_size if v == v]
    if sizes:
        # Most voxels are cubes, and images have no voxel size along z.
        shown = sizes[:1] if len(set(sizes)) == 1 else header.voxel_size
        lines.append(f"voxel size {' x '.join(f'{v:.6g}' for v in shown)} Å")
    stated = stated_statistics(header)
    if stated.minimum is not None and stated.maximum is not None:
        text = f"header: densities {stated.minimum:.6g} to {stated.maximum:.6g}"
        text += "" if stated.mean is None else f", mean {stated.mean:.6g}"
        lines.append(text + ("" if stated.rms is None else f", rms {stated.rms:.6g}"))
    lines += [f"label: {label}" for label in header.labels[:1]]
    return printable("\n".join(lines))
