"""`MrcMemmap`: an MRC file whose data are a memory map."""

from __future__ import annotations

import builtins
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.mrcfile import utils
from xarray_mrc.mrcfile.mrcfile import MrcFile
from xarray_mrc.mrcfile.mrcinterpreter import Bytes, Extent, MrcInterpreter, bytes_of
from xarray_mrc.storage import local_sink

__all__ = ["MrcFile", "MrcMemmap"]


class MrcMemmap(MrcFile):
    """An MRC file whose data are a `numpy.memmap`: read on access and written in place.

    Data of another size, or after an extended header of another size, go into a new file next to
    the old one. `flush` or `close` replaces the old file; on Windows the replacement happens at
    once, because a map that is in use would prevent it later.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "new.mrc")
    >>> with MrcMemmap(path, "w+") as mrc:
    ...     mrc.set_data(np.zeros((2, 3), np.int8))
    ...     mrc.data[1] = 7
    >>> MrcMemmap(path).data
    memmap([[0, 0, 0],
            [7, 7, 7]], dtype=int8)
    """

    _pending: ExitStack | None = None  # closing it puts the new file in place of the old one
    _is_lost = False  # whether that failed, so that the mapped file has no name any more

    def set_extended_header(self, extended_header: NDArray[Any]) -> None:
        """Replace the extended header. If its size changes, the data are copied file to file.

        Parameters
        ----------
        extended_header : ndarray
            As for `MrcObject.set_extended_header`.
        """
        old = self._extended_header
        super().set_extended_header(extended_header)
        is_resized = old is None or old.nbytes != extended_header.nbytes
        if is_resized and self._data is not None and self._data.size:
            try:
                self._move(self._data)
            except BaseException:  # the data are still after the old extended header
                super().set_extended_header(old)
                raise
            self._publish_before_use()

    def set_data(self, data: NDArray[Any]) -> None:
        """Copy data into the map of a new file, and update the header to describe them.

        Parameters
        ----------
        data : ndarray
            As for `MrcObject.set_data`.
        """
        super().set_data(data)
        self._publish_before_use()

    def _publish_before_use(self) -> None:
        """Replace the old file, if that is impossible once the caller uses the new map."""
        if not local_sink.RENAMES_OPEN_FILES and self._pending is not None:
            self.flush()

    def _read(self, header_only: bool = False) -> None:
        """Read the file from its start, after data that wait in a new file have been written."""
        if self._pending is not None:
            self.flush()
        super()._read(header_only)

    def _read_data(self, max_bytes: int = 0) -> None:
        """Map the data, unless the file is too small for them."""
        self._close_data()
        form = self._data_form("not read")
        if form is None:
            return
        shape, dtype = form
        offset = HEADER_SIZE + int(self._header.nsymbt)
        if offset + utils.data_nbytes(shape, dtype) > (max_bytes or self._get_file_size()):
            self._complain_of_map("mmap length is greater than file size")
            return
        try:
            self._data = self._map(dtype, shape)
        except OSError as error:
            self._complain_of_map(str(error))

    def _complain_of_map(self, text: str) -> None:
        """Raise ValueError, or warn in permissive mode."""
        if not self._permissive:
            raise ValueError(text)
        warnings.warn("Error opening memmap", RuntimeWarning, stacklevel=2)

    def _map(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Map the data of the open file, which is large enough."""
        if not utils.data_nbytes(shape, dtype):  # a map cannot be empty
            return np.empty(shape, dtype).view(np.memmap)
        return np.memmap(
            self._iostream,
            dtype,
            "r" if self._read_only else "r+",
            HEADER_SIZE + int(self._header.nsymbt),
            shape,
        )

    def _close_data(self) -> None:
        """Release the data. Callers that still hold the map can no longer write through it."""
        if self._data is not None:
            self._data.flags.writeable = False
        super()._close_data()

    def _set_new_data(self, data: NDArray[Any]) -> None:
        """Copy data into the map of a new file."""
        if data is self._data:
            return
        if data.size:
            self._move(data)
        else:
            self._close_data()
            if self._pending is not None:
                self._drop_pending()
                self._reopen_old()
            self._data = data.copy().view(np.memmap)

    def _move(self, data: NDArray[Any]) -> None:
        """Copy data, possibly of the old file, into a new file, and map them there."""
        with self._new_data(data.dtype, data.shape, reserve=True) as new:
            new[...] = data

    def _open_memmap(self, dtype: DTypeLike, shape: tuple[int, ...], fill: Any = None) -> None:
        """Create the data of a new file, filled with a value or with zeros.

        Programs written before `new_mmap` existed call this, and then `update_header_from_data`.
        """
        dtype = np.dtype(dtype)
        if self._mode != "w+" or self._extent is not None:
            raise ValueError(
                f"{self!r} already has content, but this call is for a new file: use set_data"
            )
        if not utils.data_nbytes(shape, dtype):
            self._set_new_data(np.empty(shape, dtype))
            return
        with self._new_data(dtype, shape, reserve=fill is not None) as new:
            if fill is not None:
                new[...] = fill

    @contextmanager
    def _new_data(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], *, reserve: bool = False
    ) -> Iterator[NDArray[Any]]:
        """Create a new file, and yield a map of its data to be filled, which become the data here.

        Parameters
        ----------
        dtype, shape
            Of the data, which are zeros.
        reserve : bool
            If True, all disk space is reserved now; else the file system adds it as it is filled.
        """
        extent = Extent(self._extended_header.nbytes, utils.data_nbytes(shape, dtype))
        offset = HEADER_SIZE + self._extended_header.nbytes
        nbytes = offset + utils.data_nbytes(shape, dtype)
        with ExitStack() as pending:
            target = pending.enter_context(
                local_sink.new_file(self._path, nbytes=nbytes if reserve else 0, overwrite=True)
            )
            part = target.sink.part
            os.truncate(part, nbytes)
            stream = builtins.open(part, "rb+")  # noqa: SIM115 - kept open
            pending.push(lambda *error: stream.close() if error[0] else finish(target))
            new = np.memmap(stream, dtype, "r+", offset, shape)
            yield new
            self._close_data()
            self._data = new
            self._copy_tail(stream)
            self._drop_pending()
            self._iostream.close()
            self._iostream = self._own_stream = stream
            self._extent, self._pending = extent, pending.pop_all()
            self._is_lost = False

    def _copy_tail(self, stream: BinaryIO) -> None:
        """Copy the trailing bytes of the old file if the size of the data does not change."""
        stream.seek(0, io.SEEK_END)
        for block in self._tail_blocks():
            stream.write(block.data)

    def _drop_pending(self) -> None:
        """Discard a new file that has not replaced the old one."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with suppress(InterruptedError), pending:
                raise InterruptedError

    def _has_same_sizes(self) -> bool:
        """Return True if each part has the size that it has in a file that has a name."""
        return super()._has_same_sizes() and not self._is_lost

    def _replace(self) -> None:
        """Write a new file, with the trailing bytes of the old one."""
        if self._data is None or not self._data.size:
            super()._replace()
        else:
            self._move(self._data)
            self._patch()

    def _patch(self) -> None:
        """Overwrite the blocks that have changed, in the new file if there is one."""
        if self._pending is None:
            super()._patch()
        else:
            MrcInterpreter._patch(self)

    def _parts(self) -> list[Bytes]:
        """Return the bytes of header and extended header; the data are in the file already."""
        arrays = (self._header, self._extended_header)
        return [bytes_of(array) for array in arrays if array is not None]

    def flush(self) -> None:
        """Write the changes, and replace the old file by a new one if there is one."""
        super().flush()
        if self._data is not None and not self._read_only:
            self._data.flush()
        if self._pending is not None and self._header is not None:
            self._publish(self._pending)

    def _publish(self, pending: ExitStack) -> None:
        """Replace the old file by the new one."""
        self._check_target()
        self._pending, self._is_lost = None, True
        dtype, shape = self._data.dtype, self._data.shape
        if not local_sink.RENAMES_OPEN_FILES:
            self._close_data()
            self._iostream.close()
        pending.close()
        if not local_sink.RENAMES_OPEN_FILES:
            self._open_stream(self._path)
            self._data = self._map(dtype, shape)
        self._identity = os.fstat(self._iostream.fileno())
        self._is_lost = self._is_placeholder = self._may_replace_any = False

    def close(self) -> None:
        """Write the changes and close the file. It may be called again."""
        try:
            super().close()
        finally:
            self._drop_pending()


def finish(target: local_sink.LocalTarget) -> None:
    """Finish a new file, whose first bytes were written through the open file."""
    with builtins.open(target.sink.part, "rb") as file:
        head = file.read(HEADER_SIZE)
    target.finish(head)
