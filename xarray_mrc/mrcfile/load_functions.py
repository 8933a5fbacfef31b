"""The functions that open, read, create and write files."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from numpy.typing import NDArray

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.mrcfile import utils
from xarray_mrc.mrcfile.bzip2mrcfile import Bzip2MrcFile
from xarray_mrc.mrcfile.constants import MAP_ID, MAP_ID_OFFSET_BYTES
from xarray_mrc.mrcfile.future_mrcfile import FutureMrcFile
from xarray_mrc.mrcfile.gzipmrcfile import GzipMrcFile
from xarray_mrc.mrcfile.mrcfile import MrcFile
from xarray_mrc.mrcfile.mrcmemmap import MrcMemmap
from xarray_mrc.mrcfile.mrcobject import check_dimensions, check_lengths
from xarray_mrc.storage.compressed.decoders import container_of

__all__ = [
    "MAP_ID",
    "MAP_ID_OFFSET_BYTES",
    "Bzip2MrcFile",
    "FutureMrcFile",
    "GzipMrcFile",
    "MrcFile",
    "MrcMemmap",
    "mmap",
    "new",
    "new_mmap",
    "open",
    "open_async",
    "read",
    "write",
]

Name = str | os.PathLike[str]
Compression = Literal["gzip", "bzip2"] | None

CLASSES: dict[str | None, type[MrcFile]] = {
    None: MrcFile,
    "gzip": GzipMrcFile,
    "bzip2": Bzip2MrcFile,
}
SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".bz2": "bzip2"}


def new(
    name: Name,
    data: NDArray[Any] | None = None,
    compression: Compression = None,
    overwrite: bool = False,
) -> MrcFile:
    """Create a file. Until `flush` or `close` it is empty, or still the old one if it exists.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    data : ndarray, optional
        The data.
    compression : {None, "gzip", "bzip2"}
        The compression; the name does not matter.
    overwrite : bool
        If True, an existing file is replaced.

    Returns
    -------
    MrcFile
        In mode "w+".

    Raises
    ------
    ValueError
        The file exists, the compression is unknown, or the data cannot be written. The disk is
        unchanged.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with new(os.path.join(tempfile.mkdtemp(), "new.mrc"), np.zeros((2, 3), np.int8)) as mrc:
    ...     mrc.voxel_size = 1.5
    """
    if compression not in CLASSES:
        raise ValueError(f"Unknown compression format '{compression}'")
    mrc = CLASSES[compression](name, mode="w+", overwrite=overwrite)
    if data is not None:
        with closed_if_refused(mrc):
            mrc.set_data(data)
    return mrc


def open(
    name: Name, mode: str = "r", permissive: bool = False, header_only: bool = False
) -> MrcFile:
    """Open a file. Its first bytes show how it is compressed.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    mode : {"r", "r+", "w+"}
        Read; read and write; or create a new file.
    permissive : bool
        If True, faults of the file give warnings instead of a ValueError.
    header_only : bool
        If True, the data are not read.

    Returns
    -------
    MrcFile

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> write(path, np.arange(6, dtype=np.int8).reshape(2, 3))
    >>> with open(path) as mrc:
    ...     int(mrc.data.max())
    5
    """
    exists = os.path.exists(name)
    if exists and "w" in mode:
        raise ValueError(
            f"File '{os.fsdecode(name)}' already exists; use a different name, or delete it first "
            f"or call 'mrcfile.new()' with 'overwrite=True' to overwrite it"
        )
    opener = CLASSES.get(sniff(name) if exists else None, MrcFile)
    return opener(name, mode=mode, permissive=permissive, header_only=header_only)


def sniff(name: Name) -> str | None:
    """Return the compression of a file by its first bytes; None for a plain file."""
    with builtins.open(name, "rb") as file:
        return container_of(file.read(HEADER_SIZE))


def read(name: Name) -> NDArray[Any]:
    """Read the data of a file, plain or compressed, in permissive mode.

    Parameters
    ----------
    name : str or os.PathLike
        The file.

    Returns
    -------
    ndarray
        New memory.

    Raises
    ------
    ValueError
        The data cannot be read; a warning gives the reason.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> write(path, np.arange(6, dtype=np.int8).reshape(2, 3))
    >>> read(path).shape
    (2, 3)
    """
    with open(name, permissive=True) as mrc:
        data: NDArray[Any] | None = mrc.data
    if data is None:
        raise ValueError(f"The data of '{os.fsdecode(name)}' cannot be read: see the warnings")
    data.flags.writeable = True
    return data


def write(
    name: Name,
    data: NDArray[Any] | None = None,
    overwrite: bool = False,
    voxel_size: Any = None,
) -> None:
    """Write data to a new file, compressed if its name ends in ``.gz`` or ``.bz2``.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    data : ndarray, optional
        The data.
    overwrite : bool
        If True, an existing file is replaced.
    voxel_size : number or three numbers, optional
        Voxel size along x, y, z in angstrom.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc.gz")
    >>> write(path, np.zeros((2, 3), np.int8), voxel_size=1.5)
    """
    compression = SUFFIXES.get(os.path.splitext(os.fsdecode(name))[1])
    mrc = new(name, data, compression, overwrite)
    if voxel_size is not None:
        with closed_if_refused(mrc):
            mrc.voxel_size = voxel_size
    mrc.close()


def open_async(name: Name, mode: str = "r", permissive: bool = False) -> FutureMrcFile:
    """Open a file in a new thread.

    Parameters
    ----------
    name, mode, permissive
        As for `open`.

    Returns
    -------
    FutureMrcFile
        Its ``result()`` is the file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> write(path, np.zeros((2, 3), np.int8))
    >>> open_async(path).result().data.shape
    (2, 3)
    """
    return FutureMrcFile(open, (name,), {"mode": mode, "permissive": permissive})


def mmap(name: Name, mode: str = "r", permissive: bool = False) -> MrcMemmap:
    """Open a plain file with its data as a memory map, which is read on access.

    Parameters
    ----------
    name, mode, permissive
        As for `open`.

    Returns
    -------
    MrcMemmap

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> write(path, np.arange(6, dtype=np.int8).reshape(2, 3))
    >>> mmap(path).data[1]
    memmap([3, 4, 5], dtype=int8)
    """
    return MrcMemmap(name, mode=mode, permissive=permissive)


def new_mmap(
    name: Name,
    shape: tuple[int, ...],
    mrc_mode: int = 0,
    fill: Any = None,
    overwrite: bool = False,
    extended_header: NDArray[Any] | None = None,
    exttyp: str | bytes | None = None,
) -> MrcMemmap:
    """Create a file with a memory map of its data, which the caller then fills.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    shape : tuple of int
        Shape of the data.
    mrc_mode : int
        Mode of the data.
    fill : number, optional
        Value of all data. Default: zeros, which take no time and no disk space.
    overwrite : bool
        If True, an existing file is replaced.
    extended_header : ndarray, optional
        The extended header, of any dtype and shape.
    exttyp : str or bytes, optional
        Type of the extended header.

    Returns
    -------
    MrcMemmap
        In mode "w+".

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> mrc = new_mmap(os.path.join(tempfile.mkdtemp(), "new.mrc"), (2, 3, 4), mrc_mode=2)
    >>> mrc.data[1] = 1.5
    >>> mrc.close()
    """
    check_lengths(tuple(shape), "shape")
    mrc = MrcMemmap(name, mode="w+", overwrite=overwrite)
    with closed_if_refused(mrc):
        if extended_header is not None:
            mrc.set_extended_header(extended_header)
        if exttyp is not None:
            mrc.header.exttyp = exttyp
        dtype = utils.dtype_from_mode(mrc_mode)
        check_dimensions(tuple(shape))
        mrc._open_memmap(dtype, tuple(shape), fill)
        mrc.update_header_from_data()
        mrc.flush()
    return mrc


@contextmanager
def closed_if_refused(mrc: MrcFile) -> Iterator[None]:
    """Discard a new file if setting its content raises an error."""
    try:
        yield
    except BaseException:
        mrc._header = None  # so that nothing is written
        mrc.close()
        raise
