"""`show`: a figure of planes, histogram and power spectrum."""

from __future__ import annotations

import io
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.statistics import stated_statistics
from xarray_mrc.dataset.from_file import file_of
from xarray_mrc.pictures.labels import describe, file_name, length_text, nice_length
from xarray_mrc.pictures.planes import Plane, PlaneSet, Showable, open_array, read_planes
from xarray_mrc.pictures.section_spectrum import SectionSpectrum, section_spectrum
from xarray_mrc.reading.header_reading import read_header

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

__all__ = ["draw_plane", "new_figure", "show"]

# Pixels that are nan or infinite: no grey, and seen by people who don't see red from green.
BAD_COLOUR = "#d81b60"
HEADER_COLOUR = "#c2410c"
MUTED_COLOUR = "#475569"
DPI = 110
# A plane is given this part of the width of a square one at least and at most.
WIDTH_RANGE = (0.55, 1.8)
# The title of a plane that is narrower than this part of its height has two lines.
NARROW = 0.8
# Beyond this ratio of its sides a plane is stretched, because it would be a line.
MAX_ASPECT = 25
# Cross sections this much wider than high are those of a flat volume, such as a tomogram.
MIN_FLAT = 1.6
# The header's range is drawn if it is within this many times the range of the pixels.
MAX_STRETCH = 4.0


def show(obj: Showable) -> Figure:
    """Draw planes of the data, their histogram and the power spectrum, with matplotlib.

    Parameters
    ----------
    obj : Dataset, DataArray, str, os.PathLike, bytes or binary file object
        The object or the file: an image, a stack of which the first, middle and last image are
        drawn, a volume by its three middle planes, or a volume stack.

    Returns
    -------
    matplotlib.figure.Figure
        It shows itself in a notebook. ``show(path).savefig("picture.png")`` writes it to a file.
        pyplot does not know it, so that nothing has to be closed.

    Raises
    ------
    ImportError
        matplotlib is not installed: ``pip install 'xarray-mrc[viz]'``.
    OSError, MrcError
        The file can't be read.
    ValueError
        An MRC file cannot have the dimensions of the object.

    Notes
    -----
    Only the planes are read, and of the largest ones some rows. y and z increase upwards; the
    images of EPU have their first row on top, as they were recorded. Planes of a skewed cell are
    sheared by its angles. Greys end at the percentiles 0.5 and 99.5 of the drawn pixels. Pixels
    that are nan or infinite are magenta. Complex data are drawn as logarithms of the amplitude.

    The histogram counts the drawn pixels; the range that the header states is marked. The power
    spectrum is the mean over tiles of the image or of the middle section, in 1/angstrom.

    Examples
    --------
    >>> import numpy as np
    >>> figure = show(xr.DataArray(np.eye(16), dims=("y", "x")))
    >>> [ax.get_title() for ax in figure.axes]
    ['', 'histogram', 'power spectrum', 'mean over directions']
    """
    array = open_array(obj)
    found = read_planes(array)
    spectrum = section_spectrum(array)
    figure = new_figure(12, 7.4)
    names = (title_name(obj, array), describe(array, found.kind))
    add_title(figure, "   ".join(name for name in names if name))
    if len(found.planes) == 1:
        grid = figure.add_gridspec(3, 2, width_ratios=(2.1, 1))
        draw_plane(figure.add_subplot(grid[:, 0]), found.planes[0])
        places = [grid[row, 1] for row in range(3)]
    else:
        outer = figure.add_gridspec(2, 1, height_ratios=(1.35, 1))
        cells = arrange(outer[0], found)
        for plane, cell in zip(found.planes, cells, strict=True):
            draw_plane(figure.add_subplot(cell), plane)
        lower = outer[1].subgridspec(1, 3)
        places = [lower[0, column] for column in range(3)]
    draw_histogram(figure.add_subplot(places[0]), found, find_header(obj))
    draw_spectrum(figure, places[1], places[2], spectrum, found)
    return figure


def arrange(place: SubplotSpec, found: PlaneSet) -> list[SubplotSpec]:
    """Divide a place for planes: cross sections of a flat volume lie one above the other."""
    shapes = [plane.width / plane.height for plane in found.planes]
    if found.kind == "volume" and min(shapes[1:]) >= MIN_FLAT:
        widths = (min(max(shapes[0], 0.5), 1.5), min(max(shapes[1:]) / 2, 2))
        grid = place.subgridspec(2, 2, width_ratios=widths)
        return [grid[:, 0], grid[0, 1], grid[1, 1]]
    narrow, wide = WIDTH_RANGE
    ratios = [min(max(shape, narrow), wide) for shape in shapes]
    grid = place.subgridspec(1, len(ratios), width_ratios=ratios)
    return [grid[0, column] for column in range(len(ratios))]


def new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure, in inches, that shows itself in a notebook."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib, which is not installed: pip install 'xarray-mrc[viz]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    # IPython draws figures by itself only once pyplot was imported.
    figure._repr_png_ = partial(png_of, figure)  # type: ignore[attr-defined]
    return figure


def png_of(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def title_name(obj: Showable, array: xr.DataArray) -> str:
    """Return the name of the file, or else of the array."""
    return file_name(obj) or file_name(array) or ("" if array.name is None else str(array.name))


def add_title(figure: Figure, text: str) -> None:
    """Write the title of a figure; a name of a file is not taken for a formula."""
    figure.suptitle(text, fontsize=11, fontweight="bold").set_parse_math(False)


def find_header(obj: Showable) -> Header | None:
    """Return the header of the file that an object is or comes from; None if there is none."""
    try:
        if isinstance(obj, xr.Dataset | xr.DataArray):
            return read_header(file_of(obj))
        return read_header(obj)
    except (ValueError, OSError):  # from memory, or the file is gone
        return None


def draw_plane(ax: Axes, plane: Plane, *, title: str | None = None, is_small: bool = False) -> None:
    """Draw a plane with its scale bar; without axes if it is small."""
    from matplotlib.transforms import Affine2D

    angle = math.radians(plane.angle)
    shear = math.cos(angle) if plane.angle != 90 else 0.0
    rise = math.sin(angle) if plane.angle != 90 else 1.0
    base = plane.bottom if plane.angle != 90 else 0.0
    # From positions along the axes of the plane to the picture: the second axis is tilted.
    to_picture = Affine2D.from_values(1, 0, shear, rise, -base * shear, -base * rise)
    options: dict[str, Any] = {"interpolation": "nearest"}
    if plane.pixels.ndim == 2:
        options |= {"vmin": plane.limits[0], "vmax": plane.limits[1]}
        options["cmap"] = grey_map()
    extent = (plane.left, plane.right, plane.bottom, plane.top)
    slim = max(plane.width / plane.height, plane.height / plane.width) > MAX_ASPECT
    aspect: Literal["auto", "equal"] = "auto" if slim else "equal"
    image = ax.imshow(plane.pixels, extent=extent, aspect=aspect, **options)
    corners = to_picture.transform(
        [(x, y) for x in (plane.left, plane.right) for y in (plane.bottom, plane.top)]
    )
    if plane.angle != 90:
        image.set_transform(to_picture + ax.transData)
    ax.set_xlim(corners[:, 0].min(), corners[:, 0].max())
    ends = (corners[0, 1], corners[1, 1])
    ax.set_ylim(*ends)
    label = plane.title if title is None else title
    if slim:
        label = f"{label}, not to scale".removeprefix(", ")
    elif plane.width < NARROW * plane.height and title is None:
        label = label.replace(" (", "\n(")
    ax.set_title(label, fontsize=8 if is_small else 10).set_parse_math(False)
    if plane.unit == "angstrom":
        draw_scale_bar(ax, plane, to_picture, is_small)
    if is_small:
        ax.set_axis_off()
    else:
        label_axes(ax, plane, rise, base)


def grey_map() -> Any:
    """Return the colours of values, with one of its own for nan and infinite ones."""
    from matplotlib import colormaps

    return colormaps["gray"].with_extremes(bad=BAD_COLOUR)


def label_axes(ax: Axes, plane: Plane, rise: float, base: float) -> None:
    """Label the axes of a plane with its dimensions and unit; a tilted one with its angle."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    unit = "Å" if plane.unit == "angstrom" else "pixel"
    rows, columns = plane.dims
    ax.set_xlabel(f"{columns} ({unit})").set_parse_math(False)
    tilted = f" at {plane.angle:g}°" if plane.angle != 90 else ""
    ax.set_ylabel(f"{rows}{tilted} ({unit})").set_parse_math(False)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=plane.unit == "pixel"))
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=plane.unit == "pixel"))
    ax.tick_params(labelsize=8)
    if plane.angle != 90:
        low, high = sorted((plane.bottom, plane.top))
        values = [v for v in MaxNLocator(5).tick_values(low, high) if low <= v <= high]
        ax.yaxis.set_major_locator(FixedLocator([(v - base) * rise for v in values]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / rise + base:g}"))


def draw_scale_bar(ax: Axes, plane: Plane, to_picture: Any, is_small: bool) -> None:
    """Draw a bar of a nice length and its label near the lower left corner."""
    from matplotlib.patheffects import withStroke

    length = nice_length(plane.width)
    height = plane.top - plane.bottom
    x = plane.left + 0.05 * plane.width
    y = plane.bottom + 0.06 * height
    (x0, y0), (x1, y1) = to_picture.transform([(x, y), (x + length, y)])
    size = 2.0 if is_small else 3.0
    edge = [withStroke(linewidth=size + 2, foreground="black")]
    ax.plot([x0, x1], [y0, y1], color="white", lw=size, solid_capstyle="butt", path_effects=edge)
    ax.annotate(
        length_text(length),
        (x0, y0),
        (0, 4),
        textcoords="offset points",
        ha="left",
        va="bottom",
        color="white",
        fontsize=7 if is_small else 9,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def draw_histogram(ax: Axes, found: PlaneSet, header: Header | None) -> None:
    """Draw the histogram of the drawn pixels, with the range that the header states."""
    histogram = found.histogram
    ax.set_title("histogram", fontsize=10)
    ax.stairs(histogram.counts, histogram.edges, fill=True, color="#64748b")
    ax.set_ylabel("drawn pixels")
    quantity = "value of red, green and blue" if found.quantity == "colour" else found.quantity
    ax.set_xlabel(quantity)
    ax.tick_params(labelsize=8)
    notes = []
    total = histogram.nonfinite + histogram.outside + int(histogram.counts.sum())
    if histogram.outside:
        notes.append((f"{histogram.outside} of {total} lie outside", MUTED_COLOUR))
    if histogram.nonfinite:
        notes.append((f"{histogram.nonfinite} of {total} are nan or infinite", BAD_COLOUR))
    if header is not None and found.quantity == "value":
        stated = stated_statistics(header)
        notes.append(draw_header_range(ax, stated.minimum, stated.maximum))
    top = 2.0 * int(histogram.counts.max())
    if top:  # on a logarithmic scale, with room for the notes
        ax.set_yscale("log")
        ax.set_ylim(0.5, 0.5 * top ** (1.1 + 0.1 * len(notes)))
    for number, (text, colour) in enumerate(notes):
        place = (0.98, 0.97 - 0.09 * number)
        note = ax.text(*place, text, transform=ax.transAxes, ha="right", va="top", fontsize=8)
        note.set_color(colour)
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})


def draw_header_range(ax: Axes, low: float | None, high: float | None) -> tuple[str, str]:
    """Mark the range of the header, and return a note on it with its colour."""
    if low is None or high is None:
        return "the header states no range", HEADER_COLOUR
    left, right = ax.get_xlim()
    reach = MAX_STRETCH * (right - left)
    for value in (low, high):
        if left - reach <= value <= right + reach:
            ax.axvline(value, color=HEADER_COLOUR, ls="--", lw=1.2)
    return f"header: {low:.5g} to {high:.5g}", HEADER_COLOUR


def draw_spectrum(
    figure: Figure,
    place: SubplotSpec,
    ring_place: SubplotSpec,
    found: SectionSpectrum | None,
    planes: PlaneSet,
) -> None:
    """Draw the power spectrum as an image, and its mean over directions as a curve."""
    if found is None:
        ax = figure.add_subplot(place)
        text = "too few pixels for a power spectrum"
        if planes.quantity.startswith("log"):
            text = "complex data: no power spectrum"
        ax.text(0.5, 0.5, text, ha="center", va="center", color=MUTED_COLOUR)
        ax.set_axis_off()
        return
    unit = "1/Å" if found.unit == "1/angstrom" else "1/pixel"
    draw_power(figure.add_subplot(place), found, planes.planes[0], unit)
    highest = float(found.rings.frequency[-1])
    ax = figure.add_subplot(ring_place)
    ax.set_title("mean over directions", fontsize=10)
    rings = found.rings[1:]
    ax.plot(rings.frequency, rings, color="#0f766e", lw=1.3)
    if bool((rings > 0).any()):
        ax.set_yscale("log")
    ax.set_xlim(0, highest)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(f"spatial frequency ({unit})")
    ax.set_ylabel("power")
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=8)


def draw_power(ax: Axes, found: SectionSpectrum, plane: Plane, unit: str) -> None:
    """Draw a power spectrum on a logarithmic scale, turned as the picture of the plane is."""
    from matplotlib.transforms import Affine2D

    title = ", ".join(part for part in ("power spectrum", found.section) if part)
    ax.set_title(title, fontsize=10).set_parse_math(False)
    with np.errstate(divide="ignore"):
        values = np.log10(found.power.values)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (5, 99.8)) if finite.size else (0, 1)
    rows, columns = (found.power[dim].values for dim in found.power.dims)
    half_y, half_x = ((f[1] - f[0]) / 2 for f in (rows, columns))
    edges = (columns[0] - half_x, columns[-1] + half_x, rows[0] - half_y, rows[-1] + half_y)
    image = ax.imshow(
        values, extent=edges, origin="lower", cmap="gray", vmin=low, vmax=high,
        interpolation="nearest", aspect="equal",
    )  # fmt: skip
    names = [str(dim).removeprefix("frequency_") for dim in found.power.dims]
    vertical = names[0]
    if plane.angle != 90:  # frequencies across the first axis, from those along both axes
        angle = math.radians(plane.angle)
        to_picture = Affine2D.from_values(1, -1 / math.tan(angle), 0, 1 / math.sin(angle), 0, 0)
        image.set_transform(to_picture + ax.transData)
        heights = to_picture.transform([(x, y) for x in edges[:2] for y in edges[2:]])[:, 1]
        edges = (*edges[:2], heights.min(), heights.max())
        vertical = f"across {names[1]}"
    ax.set_xlim(*edges[:2])
    ax.set_ylim(*(edges[2:] if plane.top > plane.bottom else edges[:1:-1]))
    ax.set_xlabel(f"{names[1]} ({unit})").set_parse_math(False)
    ax.set_ylabel(f"{vertical} ({unit})").set_parse_math(False)
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=8)
    if unit == "1/Å":
        draw_resolution(ax, float(found.rings.frequency[-1]))


def draw_resolution(ax: Axes, highest: float) -> None:
    """Draw circles of one or two nice resolutions in angstrom."""
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    resolution = next_nice(1 / (0.85 * highest))
    for value in (resolution, next_nice(2.2 * resolution)):
        circle = Circle((0, 0), 1 / value, fill=False, ec="#facc15", ls=":", lw=1)
        ax.add_patch(circle)
        ax.annotate(
            length_text(value),
            (0, 1 / value),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#facc15",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def next_nice(value: float) -> float:
    """Return the least length of 1, 2, 3, 4, 5, 6 or 8 times a power of ten above a length."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(f * power for f in (1, 2, 3, 4, 5, 6, 8, 10) if f * power >= value * (1 - 1e-9))
