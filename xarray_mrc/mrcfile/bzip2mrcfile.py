"""`Bzip2MrcFile`: an MRC file compressed with bzip2."""

from __future__ import annotations

from xarray_mrc.mrcfile.compressed import CompressedMrcFile
from xarray_mrc.mrcfile.mrcfile import MrcFile

__all__ = ["Bzip2MrcFile", "MrcFile"]


class Bzip2MrcFile(CompressedMrcFile):
    """An MRC file compressed with bzip2; its name does not matter.

    Examples
    --------
    >>> import bz2, os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc.bz2")
    >>> with Bzip2MrcFile(path, "w+") as mrc:
    ...     mrc.set_data(np.ones((2, 3), np.int8))
    >>> with bz2.open(path) as file:
    ...     len(file.read())
    1030
    """

    _container = "bzip2"

    def _open_stream(self, name: str) -> None:
        """Open the file for decompression from its start, and check that the mode is permitted."""
        super()._open_stream(name)
        self._fname = self._name

    def _not_compressed(self, head: bytes) -> OSError:
        """Return the error for a file that is not compressed in this way."""
        return OSError("Invalid data stream")
