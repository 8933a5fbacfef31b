"""`MrcFile`: an MRC file on disk."""

from __future__ import annotations

import builtins
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.errors import MrcChangedError
from xarray_mrc.mrcfile.mrcinterpreter import (
    BLOCK,
    Bytes,
    MrcInterpreter,
    blocks_of,
    read_fully,
)
from xarray_mrc.storage.local_sink import new_file
from xarray_mrc.storage.sink import in_order

if TYPE_CHECKING:
    from xarray_mrc.checking.mrcfile_rules import MrcfileView

__all__ = ["MrcFile"]

KIND_NBYTES = Header.nxstart.offset  # the header starts with the lengths and the mode
FILE_MODES = {"r": "rb", "r+": "rb+", "w+": "rb+"}


class MrcFile(MrcInterpreter):
    """An MRC file on disk.

    If the size or the layout of the data changes, a new file is written, which replaces the old
    one when it is complete; until then the old one is unchanged. All other changes are written in
    place. A subclass whose `_open_file` opens a stream of its own is written through that stream.

    Parameters
    ----------
    name : str or os.PathLike
        The file.
    mode : {"r", "r+", "w+"}
        Read; read and write; or create a new file.
    overwrite : bool
        If True, "w+" may replace a file.
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
        self._may_replace_any = mode == "w+" and overwrite  # until this object has written a file
        self._is_refused = False  # whether set_data was called, but never with valid data
        self._is_placeholder = False  # whether this object created the file, and it is still empty
        self._identity: os.stat_result | None = None  # of the file that was opened
        self._own_stream: Any = None  # the stream, unless a subclass opened another one
        if mode == "w+" and os.path.exists(self._name) and not overwrite:
            raise ValueError(
                f"File '{self._name}' already exists; set overwrite=True to overwrite it"
            )
        super().__init__(permissive=permissive, **kwargs)
        self._read_only = mode == "r"
        self._path = os.path.realpath(self._name)
        if mode == "w+" and not os.path.exists(self._path):
            with builtins.open(self._path, "xb") as file:
                self._identity = os.fstat(file.fileno())
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
        """Open the file and assign the stream to `_iostream`. Subclasses may override this."""
        self._open_stream(name)

    def _open_stream(self, name: str) -> None:
        """Open the file, which is not truncated in mode "w+" either."""
        self._iostream = builtins.open(name, FILE_MODES[self._mode])  # noqa: SIM115 - kept open
        self._own_stream = self._iostream
        self._identity = os.fstat(self._iostream.fileno())

    def _close_stream(self) -> None:
        """Close the stream."""
        self._iostream.close()

    def _close_file(self) -> None:
        """Close the stream, and remove a new file that is still empty."""
        if self._iostream is not None:
            self._close_stream()
        if self._is_placeholder:
            self._is_placeholder = False
            with suppress(FileNotFoundError):
                # Another writer may have put its file under this name, or filled this one.
                if not self._is_replaced() and os.path.getsize(self._path) == 0:
                    os.unlink(self._path)

    def _get_file_size(self) -> int:
        """Return the size of the file in bytes, decompressed."""
        position = self._iostream.tell()
        size = int(self._iostream.seek(0, io.SEEK_END))
        self._iostream.seek(position)
        return size

    def _size_if_known(self) -> int | None:
        """Return the size of the whole file if it is known without reading the file."""
        return self._get_file_size()

    def _read(self, header_only: bool = False) -> None:
        """Read the file from its start, and check that it ends with the data."""
        self._iostream.seek(0)
        super()._read(header_only)
        if self._data is not None and self._extended_header is not None:
            self._check_surplus()

    def _check_surplus(self) -> None:
        """Warn about trailing bytes; complain about them if the header says there are no data."""
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
        self._discard_data()
        self._complain(
            f"Header field '{empty[0]}' is zero, but there are {surplus} bytes of data"
            f" - data block cannot be read"
        )

    def _discard_data(self) -> None:
        """Set the data to None because they turned out to be invalid."""
        self._close_data()
        if self._extent is not None:
            self._extent = replace(self._extent, data_nbytes=None)

    def _read_data(self, max_bytes: int = 0) -> None:
        """Read the data, unless the file is too small for them."""
        left = self._get_file_size() - HEADER_SIZE - int(self._header.nsymbt)
        super()._read_data(max_bytes or left)

    def set_data(self, data: NDArray[Any]) -> None:
        """Replace the data, and update the header to describe them.

        Parameters
        ----------
        data : ndarray
            As for `MrcObject.set_data`. If all data that were set were refused, a new file does
            not replace an old one.
        """
        try:
            super().set_data(data)
        except BaseException:
            self._is_refused = self._data is None or self._data.size == 0
            raise
        self._is_refused = False

    def _can_write(self) -> bool:
        """Return True if changes can be written; to files of this class they always can."""
        return self._iostream is self._own_stream or super()._can_write()

    def close(self) -> None:
        """Write the changes and close the file. It may be called again."""
        try:
            super().close()
        finally:
            self._close_file()

    def flush(self) -> None:
        """Write the changes, and leave the stream at its end."""
        if self._extent is None and self._is_refused and self._mode == "w+":
            return
        super().flush()

    def _patch(self) -> None:
        """Overwrite the blocks that have changed.

        Data of another shape or type go into a new file, although they have the same size: if
        writing were interrupted, neither the old nor the new data could be read.
        """
        if self._iostream is not self._own_stream:
            super()._patch()
        elif self._is_replaced():
            if not self._is_unchanged():
                raise self._changed()
        elif self._data is not None and self._is_of_another_kind() and not self._is_unchanged(2):
            self._replace()
        else:
            super()._patch()

    def _is_replaced(self) -> bool:
        """Return True if another file has been put under the name of this one."""
        with suppress(FileNotFoundError):
            return self._identity is not None and not os.path.samestat(
                self._identity, os.stat(self._path)
            )
        return False

    def _changed(self) -> MrcChangedError:
        """Return the error for a file that was replaced."""
        return MrcChangedError(
            f"{self._path} was replaced by another file after it was opened, so that nothing was "
            f"written: open it again"
        )

    def _is_of_another_kind(self) -> bool:
        """Return True if the header in the file has other lengths, mode or byte order."""
        self._iostream.seek(0)
        old: bytes = self._iostream.read(KIND_NBYTES)
        new: bytes = self._header.tobytes()[:KIND_NBYTES]
        return old != new

    def _is_unchanged(self, first: int = 0) -> bool:
        """Return True if the file contains the parts from number `first` on as they are here."""
        parts = self._parts()
        self._iostream.seek(sum(part.nbytes for part in parts[:first]))
        found = np.empty(BLOCK, np.uint8)
        for part in parts[first:]:
            for _, block in blocks_of(part):
                old = found[: block.nbytes]
                if read_fully(self._iostream, old) < block.nbytes:
                    return False
                if not np.array_equal(old, block):
                    return False
        return True

    def _replace(self) -> None:
        """Write a new file, with the trailing bytes of the old one, and replace the old one."""
        if self._iostream is not self._own_stream:
            super()._replace()
            return
        self._check_target()
        try:
            with new_file(self._path, nbytes=self._preallocated_nbytes(), overwrite=True) as new:
                receipt = new.sink.write_ranges(in_order(self._new_blocks()))
                self._close_stream()  # Windows does not replace a file that is open
                new.finish(receipts=[receipt])
        except BaseException:
            self._reopen_old()
            raise
        self._is_placeholder = self._may_replace_any = False
        self._open_stream(self._path)

    def _reopen_old(self) -> None:
        """Open the file after its stream was closed, but no new file has replaced it."""
        identity = self._identity
        self._open_stream(self._path)
        self._identity = identity  # the file under this name may be another one by now

    def _check_target(self) -> None:
        """Raise MrcChangedError if a new file would replace a file that was not opened here."""
        if not self._may_replace_any and self._is_replaced():
            raise self._changed()

    def _preallocated_nbytes(self) -> int:
        """Return how many bytes of disk space to reserve for a new file."""
        return sum(part.nbytes for part in self._parts())

    def _new_blocks(self) -> Iterator[Bytes | bytes]:
        """Yield the bytes of a new file in order."""
        yield from self._parts()
        yield from self._tail_blocks()

    def _tail_blocks(self) -> Iterator[Bytes]:
        """Yield the bytes of the old file that are kept after the parts, in blocks."""
        offset = self._tail_offset()
        if offset is None:
            return
        self._iostream.seek(offset)
        block = np.empty(BLOCK, np.uint8)
        while count := read_fully(self._iostream, block):
            yield block[:count]

    def _mrcfile_view(self) -> MrcfileView:
        """Return the facts that `validate` checks, with the size of the file."""
        expected = None
        if self._data is not None and self._extended_header is not None:
            expected = HEADER_SIZE + self._extended_header.nbytes + self._data.nbytes
        size = self._get_file_size() if self._extent is not None else 0  # not yet written
        return replace(super()._mrcfile_view(), size=size, expected=expected)
