"""`contact_sheet`: one small picture of each of many files."""

from __future__ import annotations

import math
import os
import textwrap
from typing import TYPE_CHECKING

import xarray as xr

from xarray_mrc.errors import MrcError, warn
from xarray_mrc.multifile.paths import Paths, find_files
from xarray_mrc.pictures.figure import draw_plane, new_figure
from xarray_mrc.pictures.planes import Plane, open_array, read_planes
from xarray_mrc.pictures.sampling import axis_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["contact_sheet"]

# Inches of a picture, and of its two lines of title.
SIDE, TITLE = 2.0, 0.42
GAP = 0.14
MAX_SIDE = 256  # pixels
MAX_COLUMNS = 8
# A figure of more files would have 100 million pixels.
MAX_FILES = 1000
# Characters of a title, and of a line of an error.
MAX_NAME, LINE = 34, 30
MAX_LINES = 9
ERROR_COLOUR = "#b00020"


def contact_sheet(paths: Paths, *, columns: int | None = None) -> Figure:
    """Draw one small picture of each of many files, with matplotlib.

    Parameters
    ----------
    paths : str, os.PathLike or iterable of them
        Files, patterns (``"data/**/*.mrc"``) and folders, up to 1000 files; as for `index`.
    columns : int, optional
        Pictures in a row; by default up to 8.

    Returns
    -------
    matplotlib.figure.Figure
        Of each file the image, the middle image of a stack, or the middle section of a volume,
        with its name, the size along x, y and z, the size of a pixel, and a scale bar. A file
        that can't be read has the reason in red in its place. The figure shows itself in a
        notebook; ``savefig`` writes it.

    Raises
    ------
    ImportError
        matplotlib is not installed: ``pip install 'xarray-mrc[viz]'``.
    FileNotFoundError
        A pattern or a folder has no files.
    ValueError
        There are more than 1000 files, or none, or fewer than one column.

    Warns
    -----
    MrcWarning
        Once, if something odd changed how files are read.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr, xarray_mrc
    >>> image = xr.DataArray(np.eye(8, dtype="f4"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.mrc", "b.mrc"):
    ...         xarray_mrc.to_mrc(image, f"{folder}/{name}", voxel_size=1.35)
    ...     figure = contact_sheet(folder)
    >>> print(figure.axes[1].get_title())
    b.mrc
    8 x 8, 1.35 Å
    """
    files = find_files(paths)
    if not 1 <= len(files) <= MAX_FILES:
        raise ValueError(f"{len(files)} files were found, expected 1 to {MAX_FILES}: pass some")
    if columns is not None and columns < 1:
        raise ValueError(f"columns={columns}, expected 1 or more")
    across = columns or min(MAX_COLUMNS, math.ceil(math.sqrt(len(files) * 1.3)))
    across = min(across, len(files))
    down = math.ceil(len(files) / across)
    width, height = across * (SIDE + GAP) + GAP, down * (SIDE + TITLE + GAP) + GAP
    figure = new_figure(width, height, layout=None)
    names, notes = short_names(files), list[str]()
    for number, (path, name) in enumerate(zip(files, names, strict=True)):
        row, column = divmod(number, across)
        left = GAP + column * (SIDE + GAP)
        top = height - GAP - row * (SIDE + TITLE + GAP)
        box = (left / width, (top - TITLE - SIDE) / height, SIDE / width, SIDE / height)
        draw_file(figure.add_axes(box), path, name, notes)
    if notes:
        more = f"; so were {len(notes) - 1} other files" if len(notes) > 1 else ""
        warn(f"{notes[0]}{more}")
    return figure


def draw_file(ax: Axes, path: str, name: str, notes: list[str]) -> None:
    """Draw one file, or why it can't be read."""
    try:
        array = open_array(path, notes)
        found = read_planes(array, max_side=MAX_SIDE, single=True)
    except (MrcError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        draw_error(ax, name, reason.removeprefix(f"{os.path.abspath(path)}: "))
        return
    ax.set_anchor("N")
    title = f"{name}\n{short_facts(array, found.planes[0])}"
    draw_plane(ax, found.planes[0], title=title, is_small=True)


def short_facts(array: xr.DataArray, plane: Plane) -> str:
    """Return the size in pixels and the voxel size of the picture."""
    lengths = [str(array.sizes[dim]) for dim in reversed(array.dims) if dim != "rgb"]
    size = " x ".join(lengths)
    steps = (axis_of(array, dim).step for dim in reversed(plane.dims))
    found = dict.fromkeys(f"{abs(step):.4g}" for step in steps if step is not None)
    return f"{size}, {' x '.join(found)} Å" if plane.unit == "angstrom" else size


def draw_error(ax: Axes, name: str, text: str) -> None:
    """Write why a file can't be read in the place of its picture."""
    ax.set_title(name, fontsize=8).set_parse_math(False)
    lines = textwrap.wrap(text, LINE)
    shown = "\n".join(lines[:MAX_LINES]) + (" ..." if len(lines) > MAX_LINES else "")
    found = ax.text(0.04, 0.96, shown, color=ERROR_COLOUR, fontsize=7, va="top", linespacing=1.3)
    found.set_parse_math(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(ERROR_COLOUR)


def short_names(files: list[str]) -> list[str]:
    """Return names that fit: without the folders that all files share, cut in the middle.

    Examples
    --------
    >>> short_names(["data/a/1.mrc", "data/b/1.mrc"])
    ['a/1.mrc', 'b/1.mrc']
    """
    folders = {os.path.dirname(os.path.abspath(path)) for path in files}
    if any("://" in path for path in files) or len({f[:2] for f in folders}) > 1:
        names = [os.path.basename(path) for path in files]
    else:
        shared = os.path.commonpath(folders)
        names = [os.path.relpath(path, shared) for path in files]
    half = MAX_NAME // 2 - 1
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    return [n if len(n) <= MAX_NAME else f"{n[:half]}...{n[-half:]}" for n in names]
