"""Small pictures of files for the report page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

from xarray_mrc.checking.report import Report
from xarray_mrc.checking.report_page import Thumbnail
from xarray_mrc.errors import MrcError, MrcWarning
from xarray_mrc.pictures.planes import Plane, Showable, read_planes
from xarray_mrc.pictures.png import encode_png

__all__ = ["report_thumbnails", "thumbnails_of"]

# Pixels along a side: a page of a hundred files stays below 10 MB.
MAX_SIDE = 160
# A plane of a single row would be a line.
MAX_ASPECT = 4.0
MIN_HEIGHT = 0.25


def thumbnails_of(obj: Showable) -> tuple[Thumbnail, ...]:
    """Draw the planes of an object as small pictures.

    Parameters
    ----------
    obj : Dataset, DataArray, str, os.PathLike, bytes or binary file object
        The object or the file.

    Returns
    -------
    tuple of Thumbnail
        In the shape of the voxels. A plane of a skewed cell is drawn with right angles; its title
        states the angle.

    Raises
    ------
    OSError, MrcError
        The file can't be read.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=4, ny=2, nz=1, ispg=0, mode=0)
    >>> [thumbnail.aspect for thumbnail in thumbnails_of(header.raw + bytes(8))]
    [2.0]
    """
    planes = read_planes(obj, max_side=MAX_SIDE).planes
    highest = max(plane.height for plane in planes)
    return tuple(
        Thumbnail(
            title_of(plane),
            encode_png(plane.grey()),
            min(max(plane.width / plane.height, 1 / MAX_ASPECT), MAX_ASPECT),
            max(plane.height / highest, MIN_HEIGHT),
        )
        for plane in planes
    )


def title_of(plane: Plane) -> str:
    """Return the title of a plane, with its size."""
    unit = "Å" if plane.unit == "angstrom" else "pixels"
    across, up = plane.dims[1], plane.dims[0]
    size = f"{across} {plane.width:.6g}, {up} {plane.height:.6g} {unit}"
    angle = f", {up} at {plane.angle:g}°" if plane.angle != 90 else ""
    return "; ".join(part for part in (plane.title, size + angle) if part)


def report_thumbnails(reports: Iterable[Report]) -> dict[str, tuple[Thumbnail, ...]]:
    """Draw the files of reports whose data were read.

    Parameters
    ----------
    reports : iterable of Report
        The reports.

    Returns
    -------
    dict
        Pictures by the path of the report, for `xarray_mrc.checking.report_page.report_page`. A
        file that can't be read has none: its report says why.

    Examples
    --------
    >>> report_thumbnails([Report("missing.mrc", "mrc2014", (), True)])
    {}
    """
    found = {}
    for report in reports:
        if not report.data_checked or report.header is None or not os.path.exists(report.path):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MrcWarning)  # the findings say the same
                found[report.path] = thumbnails_of(report.path)
        except (MrcError, OSError):
            continue
    return found
