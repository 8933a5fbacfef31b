"""`GzipMrcFile`: an MRC file within gzip."""

from __future__ import annotations

from gzip import BadGzipFile

from xarray_mrc.mrcfile.compressed import CompressedMrcFile

__all__ = ["GzipMrcFile"]


class GzipMrcFile(CompressedMrcFile):
    """An MRC file within gzip, whatever its name.

    It is written as BGZF: members that each can be unpacked alone, which every gzip reads.

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

    def _refuse(self, head: bytes) -> OSError:
        """Make the error for a file that is not compressed so."""
        return BadGzipFile(f"Not a gzipped file ({head[:2]!r})")
