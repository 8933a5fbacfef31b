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

    def _close_stream(self) -> None:
        """Close the stream, and the compressed file if it was asked for."""
        super()._close_stream()
        if file := vars(self).pop("_fileobj", None):
            file.close()

    def _not_compressed(self, head: bytes) -> OSError:
        """Return the error for a file that is not compressed in this way."""
        return BadGzipFile(f"Not a gzipped file ({head[:2]!r})")
