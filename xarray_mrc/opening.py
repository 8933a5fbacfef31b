"""`open_mrc`, the short way to a lazy DataArray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import xarray as xr

from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.codec.containers import named_container
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.source import Openable

__all__ = ["open_mrc"]


def open_mrc(
    path: Openable,
    chunks: dict[str, int] | int | Literal["auto"] | None = {},  # noqa: B006  never changed
    **options: Any,
) -> xr.DataArray:
    """Open a file as a lazy DataArray, in dask chunks.

    Parameters
    ----------
    path : str, os.PathLike, file URL, bytes, memoryview or binary file object
        The file. A file object is held open, and what was made of it can't be pickled.
    chunks : dict, int, "auto" or None
        As in `xarray.open_dataset`. By default slabs of whole sections of about 64 MiB; None for
        lazy reading without dask.
    truncated : {"raise", "sections"}
        What to do with a file that ends too early: MrcTruncatedError, or the whole sections that
        are there.
    signed : bool, optional
        Whether the bytes of mode 0 are signed; by default found from IMOD's flags, the format
        version and the header's densities.
    kind : {"auto", "image", "image_stack", "volume", "volume_stack"}
        What the data are, and so their dimensions.
    origin : {"auto", "origin", "nstart", "zero"}
        Which field of the header the coordinates begin at: "auto" takes ORIGIN if it is set (with
        IMOD's sign in a file of IMOD's), else NSTART.
    coords : {"physical", "index", "none"}
        Positions in angstrom, plain indices, or no coordinates along x, y and z.
    extended_header : {"common", "all", "raw", "none"}
        What of the extended header becomes coordinates of the images: fields under names common to
        all producers (``tilt_angle``, ``defocus``, ...), all valid fields, its bytes, or nothing.
    sidecar : {"auto", True, False}
        Whether SerialEM's ``FILE.mdoc`` beside an image stack gives coordinates too, which win over
        those of the extended header; needs the package mdocfile. "auto" reads it where that is
        possible.
    memmap : {"auto", True, False}
        How a local file is read. "auto": scattered reads go through a map, unless the file lies on
        a network file system; results are always memory of their own. True: results of 16 MiB or
        more are private maps of the file besides, which saves a copy. They may show what is
        written into the file later, and end the process (SIGBUS) if the file is cut off while
        they are in use. False: no maps.
    preferred_chunks : dict, optional
        What ``chunks={}`` means, by dimension.
    default_name : str
        Name of the data variable.
    **options
        The parameters from `truncated` on, and any of `xarray.open_dataset`.

    Returns
    -------
    xarray.DataArray
        Dimensions ``(y, x)``, ``(image, y, x)``, ``(z, y, x)`` or ``(volume, z, y, x)`` in native
        byte order; coordinates in angstrom; metadata in the attributes ``mrc_...``.

    Raises
    ------
    OSError
        The file can't be read.
    MrcError
        It is no MRC file, or its data can't be read faithfully.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> open_mrc(header.raw + bytes([1, 2]), chunks=None).values.tolist()
    [[1, 2]]
    """
    # xarray's types do not include BinaryIO, and it cannot make chunks of bytes.
    found: Any = path
    if isinstance(path, bytes | bytearray | memoryview):
        found = MemorySource(path)
    is_compressed = isinstance(path, str | os.PathLike) and named_container(os.fspath(path))
    if chunks and not is_compressed and options.get("preferred_chunks") is None:
        options["preferred_chunks"] = as_lengths(chunks)
    array = xr.open_dataarray(found, engine=MrcBackendEntrypoint, chunks=chunks, **options)
    # They are small, and xarray does not take dask arrays for indexing with conditions.
    coords = {name: c.variable.compute() for name, c in array.coords.items() if c.chunks}
    return array.assign_coords(coords) if coords else array


def as_lengths(chunks: Mapping[str, Any] | int | str) -> dict[str, int] | None:
    """Return the chunk lengths that were asked for, by dimension.

    A plain file has no stored chunks, so that those asked for are as good as others; xarray would
    warn that they separate the preferred ones.
    """
    if isinstance(chunks, int):
        chunks = dict.fromkeys(("volume", "image", "z", "y", "x"), chunks)
    if not isinstance(chunks, Mapping):
        return None
    return {dim: n for dim, n in chunks.items() if isinstance(n, int) and n > 0}
