"""`MrcFile`: an MRC file on disk."""

from __future__ import annotations

import builtins
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.checking.mrcfile_rules import MrcfileView
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.mrcfile.mrcinterpreter import (
    BLOCK,
    Bytes,
    MrcInterpreter,
    blocks_of,
    read_fully,
)
from xarray_mrc.storage.sink import new_file

__all__ = ["MrcFile"]

KIND_NBYTES = Header.nxstart.offset  # lengths and mode begin the header
FILE_MODES = {"r": "rb", "r+": "rb+", "w+": "rb+"}


class MrcFile(MrcInterpreter):
    """An MRC file on disk.

    A file whose size or layout changes is made anew beside the old one and takes its place when it
    is complete; until then the old one stays as it was. All other changes are written in place.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    mode : {"r", "r+", "w+"}
        To read, to read and write, or to make a new file.
    overwrite : bool
        Whether "w+" may replace a file that is already there.
    permissive, header_only
        As for `MrcInterpreter`.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> with MrcFile(path, "w+") as mrc:
    ...     mrc.set_data(np.arange(6, dtype=np.int8).reshape(2, 3))
    >>> with MrcFile(path) as mrc:
    ...     mrc.data.tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        mode: str = "r",
        overwrite: bool = False,
        permissive: bool = False,
        header_only: bool = False,
        **kwargs: Any,
    ) -> None:
        if mode not in FILE_MODES:
            raise ValueError(f"Mode '{mode}' not supported")
        self._name = os.fsdecode(name)
        self._mode = mode
        self._is_refused = False  # whether data were given, and none could be taken
        self._is_placeholder = False  # whether the file on disk was made by this object, empty
        if mode == "w+" and os.path.exists(self._name) and not overwrite:
            raise ValueError(
                f"File '{self._name}' already exists; set overwrite=True to overwrite it"
            )
        super().__init__(permissive=permissive, **kwargs)
        self._read_only = mode == "r"
        self._path = os.path.realpath(self._name)
        if mode == "w+" and not os.path.exists(self._path):
            builtins.open(self._path, "xb").close()
            self._is_placeholder = True
        self._open_file(self._name)
        try:
            if mode == "w+":
                self._create_default_attributes()
            else:
                self._read(header_only)
        except BaseException:
            self._header = None  # so that nothing is written
            self._close_file()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self._name}', mode='{self._mode}')"

    def _open_file(self, name: str) -> None:
        """Open the file as the stream to read from."""
        self._iostream = builtins.open(name, FILE_MODES[self._mode])  # noqa: SIM115 - it is kept

    def _close_file(self) -> None:
        """Close the stream; a new file that never got any content goes."""
        if self._iostream is not None:
            self._iostream.close()
        if self._is_placeholder:
            os.unlink(self._path)
            self._is_placeholder = False

    def _get_file_size(self) -> int:
        """Count the bytes of the file, unpacked."""
        here = self._iostream.tell()
        size = int(self._iostream.seek(0, io.SEEK_END))
        self._iostream.seek(here)
        return size

    def _known_size(self) -> int | None:
        """Bytes of the whole file, where that is known without reading it."""
        return self._get_file_size()

    def _read(self, header_only: bool = False) -> None:
        """Read the file from its beginning, and look whether it ends with the data."""
        self._iostream.seek(0)
        super()._read(header_only)
        if self._data is not None and self._extended_header is not None:
            self._check_surplus()

    def _check_surplus(self) -> None:
        """Warn of bytes behind the data; that there are none before them is an error."""
        expected = HEADER_SIZE + self._extended_header.nbytes + self._data.nbytes
        surplus = self._get_file_size() - expected
        if surplus <= 0:
            return
        empty = [name for name in ("nx", "ny", "nz") if self._header[name] == 0]
        if not empty:
            warnings.warn(
                f"MRC file is {surplus} bytes larger than expected", RuntimeWarning, stacklevel=2
            )
            return
        self._forget_data()
        self._complain(
            f"Header field '{empty[0]}' is zero, but there are {surplus} bytes of data"
            f" - data block cannot be read"
        )

    def _forget_data(self) -> None:
        """Let go of data that turned out to be none."""
        self._close_data()
        if self._extent is not None:
            self._extent = replace(self._extent, data_nbytes=None)

    def _read_data(self, max_bytes: int = 0) -> None:
        """Read the data, unless the file is too small for them."""
        room = self._get_file_size() - HEADER_SIZE - int(self._header.nsymbt)
        super()._read_data(max_bytes or room)

    def set_data(self, data: NDArray[Any]) -> None:
        """Replace the data, and let the header describe them.

        Parameters
        ----------
        data : ndarray
            As for `MrcObject.set_data`. A new file that never gets data that can be written does
            not take the place of an old one.
        """
        try:
            super().set_data(data)
        except BaseException:
            self._is_refused = self._data is None or self._data.size == 0
            raise
        self._is_refused = False

    def close(self) -> None:
        """Write what has changed and close the file; twice is fine."""
        try:
            super().close()
        finally:
            self._close_file()

    def flush(self) -> None:
        """Write what has changed; the stream is left at its end."""
        if self._extent is None and self._is_refused and self._mode == "w+":
            return
        super().flush()

    def _patch(self) -> None:
        """Write the blocks that have changed, if the file still is the one that has this name.

        Other data that are of another kind too go into a new file: half of each could not be read.
        """
        if self._is_replaced():
            if not self._is_unchanged():
                raise MrcChangedError(
                    f"{self._path} was replaced by another file after it was opened, so that "
                    f"nothing was written: open it again"
                )
        elif self._data is not None and self._is_of_another_kind() and not self._is_unchanged(2):
            self._replace()
        else:
            super()._patch()

    def _is_replaced(self) -> bool:
        """Whether there is another file of this name by now."""
        with suppress(FileNotFoundError):
            here = os.fstat(self._iostream.fileno())
            return not os.path.samestat(here, os.stat(self._path))
        return False

    def _is_of_another_kind(self) -> bool:
        """Whether the header in the file has other lengths, or another mode or byte order."""
        self._iostream.seek(0)
        there: bytes = self._iostream.read(KIND_NBYTES)
        here: bytes = self._header.tobytes()[:KIND_NBYTES]
        return there != here

    def _is_unchanged(self, first: int = 0) -> bool:
        """Whether what is here is in the file, from one of its parts on.

        All behind it would stay anyway.
        """
        parts = self._parts()
        self._iostream.seek(sum(part.nbytes for part in parts[:first]))
        found = np.empty(BLOCK, np.uint8)
        for part in parts[first:]:
            for _, block in blocks_of(part):
                there = found[: block.nbytes]
                if read_fully(self._iostream, there) < block.nbytes:
                    return False
                if not np.array_equal(there, block):
                    return False
        return True

    def _replace(self) -> None:
        """Make the file anew, with what of the old one stays, and put it in the old one's place."""
        with new_file(self._path, nbytes=self._least_nbytes(), overwrite=True) as sink:
            sink.write_in_order(self._pieces())
        self._is_placeholder = False
        self._close_file()
        self._open_file(self._path)

    def _least_nbytes(self) -> int:
        """Tell how much room a new file takes at least."""
        return sum(part.nbytes for part in self._parts())

    def _pieces(self) -> Iterator[Bytes | bytes]:
        """Give the bytes of a new file in order."""
        yield from self._parts()
        yield from self._old_blocks()

    def _old_blocks(self) -> Iterator[Bytes]:
        """Read what of the old file goes behind the parts, by blocks."""
        kept = self._kept()
        if kept is None:
            return
        self._iostream.seek(kept)
        block = np.empty(BLOCK, np.uint8)
        while count := read_fully(self._iostream, block):
            yield block[:count]

    def _held(self) -> MrcfileView:
        """Give what is checked: header, statistics and the size of the file."""
        expected = None
        if self._data is not None and self._extended_header is not None:
            expected = HEADER_SIZE + self._extended_header.nbytes + self._data.nbytes
        size = self._get_file_size() if self._extent is not None else 0  # not there yet
        return replace(super()._held(), size=size, expected=expected)
