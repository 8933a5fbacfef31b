"""`overview_page`: the header and the figure of a file as one web page."""

from __future__ import annotations

from xarray_mrc.checking.report_page import Thumbnail, page_of, picture
from xarray_mrc.codec.header_table import as_html
from xarray_mrc.codec.html_text import escape
from xarray_mrc.pictures.figure import find_header, png_of, show
from xarray_mrc.pictures.labels import file_name
from xarray_mrc.pictures.planes import Showable

__all__ = ["overview_page"]


def overview_page(obj: Showable) -> str:
    """Return a file as a web page that needs no other file and runs no script.

    Parameters
    ----------
    obj : Dataset, DataArray, str, os.PathLike, bytes or binary file object
        The file, or an object.

    Returns
    -------
    str
        The figure of `show`, and the table of the header with what is wrong with it.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError, MrcError
        The file can't be read.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=4, ny=2, nz=1, ispg=0, mode=0)
    >>> page = overview_page(header.raw + bytes(8))
    >>> page[:15], page.count("data:image/png")
    ('<!DOCTYPE html>', 1)
    """
    figure = show(obj)
    name = escape(file_name(obj) or "MRC data")
    title = figure.get_suptitle().removeprefix(file_name(obj)).strip()
    width, height = figure.get_size_inches()
    header = find_header(obj)
    body = f"<h1>{name}</h1>\n"
    drawn = picture(Thumbnail(title, png_of(figure), float(width / height)))
    body += f'<div class="wide">{drawn}</div>\n'
    if header is not None:
        body += f"<details open><summary>Header</summary>{as_html(header, 'header')}</details>\n"
    return page_of(name, body)
