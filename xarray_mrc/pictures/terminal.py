"""Pictures for the terminal: planes in half blocks or in ASCII, and a histogram in one line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.pictures.histogram import Histogram
from xarray_mrc.pictures.planes import Plane, PlaneSet

__all__ = ["Colors", "draw"]

Colors = Literal["truecolor", "256"] | None

# One character shows two pixels, the upper one in the colour of the text, the lower one behind it.
HALF_BLOCK = "\N{UPPER HALF BLOCK}"
RESET = "\x1b[0m"
# From black to white, without colours; and the heights of the bars of a histogram.
RAMP = " .:-=+*#%@"
BARS = " \N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆▇█"
GAP = 2
# Narrower pictures show nothing, so that planes are then drawn one below the other.
MIN_WIDTH = 20
MAX_WIDTH = 64
MAX_HEIGHT = 64  # in pixels, two a line: a screen has about 40 lines
MAX_BARS = 48
TITLE_LINES = 3
# The greys of the palette of 256 colours: 24 between black and white.
FIRST_GREY, GREYS = 232, 24
FIRST_COLOR, CUBE = 16, 6


def draw(
    found: PlaneSet, *, width: int = 80, colors: Colors = None, is_unicode: bool = True
) -> str:
    """Draw planes side by side, or one below the other where the terminal is narrow.

    Parameters
    ----------
    found : PlaneSet
        The planes.
    width : int
        Characters in a line of the terminal.
    colors : {"truecolor", "256", None}
        Colours of the terminal; None for a ramp of ASCII characters.
    is_unicode : bool
        Whether the terminal shows blocks, arrows and Å.

    Returns
    -------
    str
        Titles, pictures and sizes, then a histogram of all planes in one line. No line is wider
        than the terminal.

    Examples
    --------
    >>> import xarray as xr
    >>> from xarray_mrc.pictures.planes import read_planes
    >>> data = xr.DataArray([[0.0, 1.0], [2.0, 3.0]], dims=("y", "x"))
    >>> draw(read_planes(data), width=4, is_unicode=False).splitlines()[0].strip()
    '**@@'
    """
    count = len(found.planes)
    column = (width - GAP * (count - 1)) // count
    is_wide = column >= MIN_WIDTH
    column = max(1, min(column if is_wide else width, MAX_WIDTH))
    scale = max(max(plane.width, plane.height * column / MAX_HEIGHT) for plane in found.planes)
    panels = [
        draw_panel(plane, column, column / scale, colors, is_unicode) for plane in found.planes
    ]
    lines: list[str] = []
    if is_wide:
        for row in zip_longest(*panels, fillvalue=("", 0)):
            cells = (text + " " * (column - length) for text, length in row)
            lines.append((" " * GAP).join(cells).rstrip())
    else:
        for panel in panels:
            lines += [text for text, _ in panel]
            lines.append("")
    lines.append(histogram_line(found.histogram, width, is_unicode=is_unicode))
    text = "\n".join(lines)
    return text if is_unicode else text.replace("Å", "A").replace("°", " deg")


def draw_panel(
    plane: Plane, width: int, scale: float, colors: Colors, is_unicode: bool
) -> list[tuple[str, int]]:
    """Draw one plane; return its lines, each with the number of characters that it takes."""
    columns = min(width, max(1, round(plane.width * scale)))
    rows = min(MAX_HEIGHT, max(2, 2 * round(plane.height * scale / 2)))
    small = replace(plane, pixels=resample(resample(plane.pixels, 0, rows), 1, columns))
    grey = small.grey()
    picture = ascii_lines(grey) if colors is None else color_lines(grey, colors)
    unit = "Å" if plane.unit == "angstrom" else "pixels"
    arrows = ("→", "↑" if plane.top > plane.bottom else "↓") if is_unicode else (">", "^")
    if not is_unicode and plane.top < plane.bottom:
        arrows = (">", "v")
    below = f"{plane.dims[1]} {arrows[0]} {plane.width:.4g}, {plane.dims[0]} {arrows[1]} "
    below += f"{plane.height:.4g} {unit}"
    title = textwrap.wrap(plane.title, width)[:TITLE_LINES]
    texts = [(line, len(line)) for line in title]
    under = [(line, len(line)) for line in textwrap.wrap(below, width)]
    return [*texts, *((line, columns) for line in picture), *under]


def resample(pixels: NDArray[Any], axis: int, count: int) -> NDArray[Any]:
    """Return pixels with another length along an axis: means of neighbours, or each repeated."""
    length = pixels.shape[axis]
    if count == length:
        return pixels
    if count > length:
        repeated: NDArray[Any] = np.take(pixels, np.arange(count) * length // count, axis)
        return repeated
    starts = np.arange(count) * length // count
    sums = np.add.reduceat(pixels.astype(np.float64), starts, axis)
    shape = [1] * pixels.ndim
    shape[axis] = count
    means: NDArray[Any] = sums / np.diff(np.append(starts, length)).reshape(shape)
    return means.astype(pixels.dtype)


def ascii_lines(grey: NDArray[np.uint8]) -> Iterator[str]:
    """Yield the lines of a picture in characters from dark to bright, two pixels each."""
    if grey.ndim == 3:
        grey = grey.mean(2).astype(np.uint8)
    pairs = grey.reshape(len(grey) // 2, 2, -1).mean(1)
    levels = np.minimum((pairs * len(RAMP) / 256).astype(int), len(RAMP) - 1)
    for row in levels.tolist():
        yield "".join(RAMP[level] for level in row)


def color_lines(grey: NDArray[np.uint8], colors: Colors) -> Iterator[str]:
    """Yield the lines of a picture in half blocks; a colour is set only where it changes."""
    code = true_code if colors == "truecolor" else palette_code
    pixels = grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, 2)
    rows = pixels.tolist()
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        text, before = "", ("", "")
        for front, back in zip(upper, lower, strict=True):
            now = code(front), code(back)
            if now != before:
                text += f"\x1b[38;{now[0]};48;{now[1]}m"
                before = now
            text += HALF_BLOCK
        yield text + RESET


def true_code(color: list[int]) -> str:
    """Return the code of a colour of 24 bits."""
    return f"2;{color[0]};{color[1]};{color[2]}"


def palette_code(color: list[int]) -> str:
    """Return the code of the nearest colour of the palette of 256."""
    if color[0] == color[1] == color[2]:
        step = color[0] * (GREYS + 2) // 256  # the cube has black and white
        if 0 < step <= GREYS:
            return f"5;{FIRST_GREY + step - 1}"
    red, green, blue = (value * CUBE // 256 for value in color)
    return f"5;{FIRST_COLOR + CUBE * CUBE * red + CUBE * green + blue}"


def histogram_line(found: Histogram, width: int, *, is_unicode: bool = True) -> str:
    """Return a histogram as one line, between the ends of its bins.

    Parameters
    ----------
    found : Histogram
        The counts.
    width : int
        Characters in a line.
    is_unicode : bool
        Whether blocks can be shown.

    Returns
    -------
    str

    Examples
    --------
    >>> histogram_line(Histogram(np.array([1, 8, 4]), np.array([0.0, 1, 2, 3]), 0), 20)
    '0 ▁█▄ 3'
    """
    low, high = f"{found.edges[0]:.4g}", f"{found.edges[-1]:.4g}"
    if (found.edges % 1 == 0.5).all():  # bins of whole numbers
        low, high = f"{found.edges[0] + 0.5:.4g}", f"{found.edges[-1] - 0.5:.4g}"
    left_out = ((found.outside, "outside"), (found.nonfinite, "not finite"))
    more = "".join(f" ({count} {where})" for count, where in left_out if count)
    room = width - len(low) - len(high) - len(more) - 2
    counts = found.counts
    if room < 1 or not counts.any():
        return f"{low} ... {high}{more}"[:width]
    bars = min(len(counts), room, MAX_BARS)
    summed = np.add.reduceat(counts, np.arange(bars) * len(counts) // bars)
    marks = BARS if is_unicode else RAMP
    # A bin with any pixel shows the lowest bar.
    heights = np.ceil(summed * (len(marks) - 1) / summed.max()).astype(int).tolist()
    return f"{low} {''.join(marks[height] for height in heights)} {high}{more}"
