"""`open_mrc`, the short way to a lazy DataArray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import xarray as xr

from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.codec.containers import named_container
from xarray_mrc.reading.options import DIM_NAMES, is_chunk
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.remote.urls import is_remote, path_of_url, path_text
from xarray_mrc.storage.source import Openable, open_head

__all__ = ["open_mrc"]


def open_mrc(
    path: Openable,
    chunks: dict[str, int] | int | Literal["auto"] | None = {},  # noqa: B006  never changed
    **options: Any,
) -> xr.DataArray:
    """Open a file as a lazy DataArray, in dask chunks.

    Parameters
    ----------
    path : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        The file: a local path, ``https://...``, ``s3://...`` or any other URL of fsspec. A file
        object is held open, and objects made from it cannot be pickled.
    chunks : dict, int, "auto" or None
        As in `xarray.open_dataset`. By default slabs of whole sections of about 64 MiB; None for
        lazy reading without dask.
    truncated : {"raise", "sections"}
        How to read a file that ends too early: raise MrcTruncatedError, or read the whole sections
        that are there.
    signed : bool, optional
        Whether the bytes of mode 0 are signed; by default found from IMOD's flags, the format
        version and the header's densities.
    kind : {"auto", "image", "image_stack", "volume", "volume_stack"}
        Kind of the data, which decides their dimensions. "auto" finds it from the header, the name
        and the files beside it; the attribute ``mrc_kind_source`` names the evidence.
    origin : {"auto", "origin", "nstart", "zero"}
        Field of the header where the positions start: "auto" takes ORIGIN if it is set (with
        IMOD's sign in a file of IMOD's), else NSTART.
    coords : {"physical", "index", "none"}
        Coordinates along x, y and z: positions in angstrom where the voxel size is known; labels
        that count the pixels; none.
    extended_header : {"common", "all", "raw", "none"}
        Coordinates of the images from the extended header and the sidecar: fields under names
        common to all producers (``tilt_angle``, ``defocus``, ...); also all other valid fields of a
        record and all keys of a .mdoc; the bytes of the record of each image, which only a Dataset
        can hold (`xarray.open_dataset`); or none. With metadata of sections, ``section`` numbers
        them from 0.
    sidecar : {"auto", True, False}
        Whether to read coordinates of the images from SerialEM's ``FILE.mdoc``, or tilt angles from
        IMOD's ``.tlt`` or ``.rawtlt``. They outweigh those of the extended header. "auto" leaves
        out, with a warning, a file that does not describe each section once; True raises an error
        for it, or if there is none.
    memmap : {"auto", True, False}
        Whether a local file is mapped where that saves a copy; "auto" maps it unless it lies on a
        network file system. Scattered reads then go through a map, and a dask block of 16 MiB or
        more is a private map. Do not keep such blocks (by ``persist``) while the file is written
        in place, because they may show the new content, or cut off, which ends the process
        (SIGBUS). All other results are memory of their own. False: no maps.
    preferred_chunks : dict, optional
        Chunks for ``chunks={}``, by dimension. `xarray.open_dataset` warns that other chunks
        "separate the stored chunks", which a plain file does not have: pass the same chunks here
        to silence it. `open_mrc` does that by itself.
    default_name : str
        Name of the data variable.
    storage_options : dict, optional
        How a URL is reached, under fsspec's names: ``headers``, ``auth`` and others for https,
        ``anon``, ``key``, ``secret``, ``client_kwargs`` and others for s3. Also ``max_requests``,
        the requests at a time to one host (8), and ``timeout``, the seconds to wait for an answer
        (15). They are needed on workers, so pickles hold them; nothing shows them.
    local_copy : str or os.PathLike, optional
        Directory that keeps a copy of a remote file, decompressed. It is downloaded at the first
        opening, and again only if the file on the server changed. Local files are read in place.
    **options
        The options from `truncated` on, and any of `xarray.open_dataset`.

    Returns
    -------
    xarray.DataArray
        Dimensions ``(y, x)``, ``(image, y, x)``, ``(z, y, x)`` or ``(volume, z, y, x)`` in native
        byte order; coordinates in angstrom; metadata in the attributes ``mrc_...``.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file, or its data cannot be read faithfully.
    TypeError, ValueError
        There is no such option, or it cannot have such a value; ``extended_header="raw"``.

    Warns
    -----
    MrcWarning
        Once, if something in the file changed how it is read.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> open_mrc(header.raw + bytes([1, 2]), chunks=None).values.tolist()
    [[1, 2]]
    """
    if options.get("extended_header") == "raw":
        raise ValueError(
            "extended_header='raw' makes a coordinate with a dimension of its own, which a "
            "DataArray cannot hold: use xarray.open_dataset(path, engine='mrc', "
            "extended_header='raw')"
        )
    # xarray's types do not include BinaryIO, and it cannot make chunks of bytes.
    found: Any = path
    if isinstance(path, bytes | bytearray | memoryview):
        found = MemorySource(path)
    elif is_remote(path):
        # xarray makes the names of dask's tasks from this, so that a changed file gets new ones.
        places = {name: options.pop(name, None) for name in ("storage_options", "local_copy")}
        found = open_head(path, memmap=options.get("memmap", "auto"), **places)
    name = path_text(path)
    is_compressed = name is not None and named_container(path_of_url(name))
    if chunks and not is_compressed and options.get("preferred_chunks") is None:
        options["preferred_chunks"] = as_lengths(chunks)
    # By its name dask's tasks have the same names in every process, by its class not in all. A
    # package that is not installed has no name.
    engine: Any = "mrc" if "mrc" in xr.backends.list_engines() else MrcBackendEntrypoint
    array = xr.open_dataarray(found, engine=engine, chunks=chunks, **options)
    # They are small, and xarray does not take dask arrays for indexing with conditions.
    chunked = [name for name, coord in array.coords.items() if coord.chunks]
    if not chunked:
        return array
    # All at once and in this thread: dask takes 2 ms for each, and a cluster a round trip.
    coords = array.coords.to_dataset()[chunked].compute(scheduler="synchronous")
    return array.assign_coords({name: coords[name].variable for name in chunked})


def as_lengths(chunks: Mapping[str, Any] | int | str) -> dict[str, Any] | None:
    """Return the chunk lengths that were asked for, by dimension.

    A plain file has no stored chunks, so that those asked for are as good as others; xarray would
    warn that they separate the preferred ones.
    """
    if isinstance(chunks, int):
        chunks = dict.fromkeys(DIM_NAMES, chunks)
    if not isinstance(chunks, Mapping):
        return None
    return {dim: n for dim, n in chunks.items() if dim in DIM_NAMES and is_chunk(n)}
