"""`read_extended_header`: the extended header of a file, whatever its data are."""

from __future__ import annotations

from xarray_mrc.codec.extended import Extended, decode_extended, useful_nbytes
from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcError
from xarray_mrc.reading.file_layout import find_layout
from xarray_mrc.reading.header_reading import decode_header, named
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import open_head
from xarray_mrc.storage.source import Openable

__all__ = ["read_extended_header"]


def read_extended_header(path: Openable) -> Extended:
    """Read and decode the extended header of a file, also of one whose data are cut off.

    Parameters
    ----------
    path : str, os.PathLike, bytes, memoryview or binary file object
        The file.

    Returns
    -------
    Extended
        Metadata of the sections and symmetry operators; its `problem` says what is wrong.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> header = Header.blank().replace(nx=1, ny=1, nz=1, nsymbt=80)
    >>> read_extended_header(header.raw + b"X,Y,Z".ljust(80) + bytes(1)).symmetry
    ('X,Y,Z',)
    """
    head = open_head(path)
    with named(head.source):
        header = decode_header(head)
        try:
            layout = find_layout(head, header, options=ReadingOptions(truncated="sections")).layout
            is_there = layout.offset > HEADER_SIZE
        except MrcError:  # of the data
            is_there = header.nsymbt > 0
        if not is_there:
            return Extended("none")
        raw = head.read(HEADER_SIZE, useful_nbytes(header, header.nz))
        return decode_extended(header, raw, header.nz)
