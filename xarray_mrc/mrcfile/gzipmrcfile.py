"""`GzipMrcFile`: an MRC file compressed with gzip."""

from __future__ import annotations

import builtins
from functools import cached_property
from gzip import BadGzipFile
from typing import BinaryIO

from xarray_mrc.mrcfile.compressed import CompressedMrcFile
from xarray_mrc.mrcfile.mrcfile import FILE_MODES, MrcFile

__all__ = ["GzipMrcFile", "MrcFile"]


class GzipMrcFile(CompressedMrcFile):
    """An MRC file compressed with gzip; its name does not matter.

    It is written as BGZF: gzip members that can be decompressed independently. Every gzip program
    reads them.

    Examples
    --------
    >>> import gzip, os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc.gz")
    >>> with GzipMrcFile(path, "w+") as mrc:
    ...     mrc.set_data(np.ones((2, 3), np.int8))
    >>> with gzip.open(path) as file:
    ...     len(file.read())
    1030
    """

    _container = "gzip"

    @cached_property
    def _fileobj(self) -> BinaryIO:
        """The compressed file, opened on first use: nothing here reads or writes through it."""
        return builtins.open(self._path, FILE_MODES[self._mode])  # type: ignore[return-value]

    def _open_stream(self, name: str) -> None:
        """Open the file for decompression from its start, and check that the mode is permitted."""
        self._close_fileobj()
        super()._open_stream(name)

    def _close_file(self) -> None:
        """Close the stream, and remove a new file that is still empty."""
        self._close_fileobj()
        super()._close_file()

    def _close_fileobj(self) -> None:
        """Close the compressed file if it was asked for."""
        if file := vars(self).pop("_fileobj", None):
            file.close()

    def _not_compressed(self, head: bytes) -> OSError:
        """Return the error for a file that is not compressed in this way."""
        return BadGzipFile(f"Not a gzipped file ({head[:2]!r})")
