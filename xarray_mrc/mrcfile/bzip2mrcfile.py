"""`Bzip2MrcFile`: an MRC file within bzip2."""

from __future__ import annotations

from xarray_mrc.mrcfile.compressed import CompressedMrcFile

__all__ = ["Bzip2MrcFile"]


class Bzip2MrcFile(CompressedMrcFile):
    """An MRC file within bzip2, whatever its name.

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

    def _refuse(self, head: bytes) -> OSError:
        """Make the error for a file that is not compressed so."""
        return OSError("Invalid data stream")
