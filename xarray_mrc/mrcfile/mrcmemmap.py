"""`MrcMemmap`: an MRC file whose data are a map of the file."""

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
from xarray_mrc.mrcfile.mrcinterpreter import Bytes, Extent, bytes_of
from xarray_mrc.storage.sink import new_file

__all__ = ["MrcMemmap"]


class MrcMemmap(MrcFile):
    """An MRC file whose data are a `numpy.memmap`: read when they are looked at, written in place.

    Data of another size, or behind an extended header of another size, go into a new file beside
    the old one, which `flush` or `close` puts into its place.

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

    _pending: ExitStack | None = None  # what puts the new file into its place
    _is_lost = False  # whether that failed, so that the file that is mapped has no name any more

    def set_extended_header(self, extended_header: NDArray[Any]) -> None:
        """Replace the extended header; data behind one of another size are copied, file to file.

        Parameters
        ----------
        extended_header : ndarray
            As for `MrcObject.set_extended_header`.
        """
        old = self._extended_header
        super().set_extended_header(extended_header)
        moved = old is None or old.nbytes != extended_header.nbytes
        if moved and self._data is not None and self._data.size:
            try:
                self._move(self._data)
            except BaseException:  # the data stay where they are, behind the old one
                super().set_extended_header(old)
                raise

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
        """Raise ValueError, or in permissive mode warn in mrcfile's words."""
        if not self._permissive:
            raise ValueError(text)
        warnings.warn("Error opening memmap", RuntimeWarning, stacklevel=3)

    def _map(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Map data of the file that is open; there is room for them."""
        if not utils.data_nbytes(shape, dtype):  # which can't be mapped
            return np.empty(shape, dtype).view(np.memmap)
        return np.memmap(
            self._iostream,
            dtype,
            "r" if self._read_only else "r+",
            HEADER_SIZE + int(self._header.nsymbt),
            shape,
        )

    def _close_data(self) -> None:
        """Let go of the data; who still holds the map can't write to the file by it any more."""
        if self._data is not None:
            self._data.flags.writeable = False
        super()._close_data()

    def _set_new_data(self, data: NDArray[Any]) -> None:
        """Copy data into a map of a new file."""
        if data is self._data:
            return
        if data.size:
            self._move(data)
        else:
            self._close_data()
            self._drop_pending()
            self._data = data.copy().view(np.memmap)

    def _move(self, data: NDArray[Any]) -> None:
        """Copy data, of this file or not, into a new file, and map them there."""
        with self._new_data(data.dtype, data.shape, reserve=True) as new:
            new[...] = data

    def _open_memmap(self, dtype: DTypeLike, shape: tuple[int, ...], fill: Any = None) -> None:
        """Make room for data in a new file, filled if something is given to fill them with.

        Programs from before `new_mmap` call this, and then `update_header_from_data`.
        """
        dtype = np.dtype(dtype)
        if self._mode != "w+" or self._extent is not None:
            raise ValueError(f"{self!r} has content, and room is made in a new file: use set_data")
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
        """Begin a new file, and give a map of its data to be filled; then it is this one's data.

        Parameters
        ----------
        dtype, shape
            Of the data, which are zeros.
        reserve : bool
            Whether to take all room on the disk at once, or block by block as it is filled.
        """
        extent = Extent(self._extended_header.nbytes, utils.data_nbytes(shape, dtype))
        offset = HEADER_SIZE + self._extended_header.nbytes
        nbytes = offset + utils.data_nbytes(shape, dtype)
        with ExitStack() as pending:
            sink = pending.enter_context(
                new_file(self._path, nbytes=nbytes if reserve else 0, overwrite=True)
            )
            os.truncate(sink.part, nbytes)
            stream = builtins.open(sink.part, "rb+")  # noqa: SIM115 - it is kept
            pending.push(lambda *error: stream.close() if error[0] else None)
            new = np.memmap(stream, dtype, "r+", offset, shape)
            yield new
            self._close_data()
            self._data = new
            self._keep_behind(stream)
            self._drop_pending()
            self._iostream.close()
            self._iostream, self._extent, self._pending = stream, extent, pending.pop_all()
            self._is_lost = False

    def _keep_behind(self, stream: BinaryIO) -> None:
        """Copy what lies behind the data in the old file, if their size stays."""
        stream.seek(0, io.SEEK_END)
        for block in self._old_blocks():
            stream.write(block.data)

    def _drop_pending(self) -> None:
        """Give up a new file that another one comes for."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with suppress(InterruptedError), pending:
                raise InterruptedError

    def _is_replaced(self) -> bool:
        """Whether there is another file of this name that is not waiting for this one's."""
        return self._pending is None and super()._is_replaced()

    def _is_laid_out(self) -> bool:
        """Whether all that is here has its place in the file, and the file has its own."""
        return super()._is_laid_out() and not self._is_lost

    def _replace(self) -> None:
        """Make the file anew, with what of the old one stays."""
        if self._data is None or not self._data.size:
            super()._replace()
        else:
            self._move(self._data)
            self._patch()

    def _parts(self) -> list[Bytes]:
        """Give header and extended header: the data are in the file."""
        arrays = (self._header, self._extended_header)
        return [bytes_of(array) for array in arrays if array is not None]

    def flush(self) -> None:
        """Write what has changed, and put a new file into its place."""
        super().flush()
        if self._data is not None and not self._read_only:
            self._data.flush()
        if self._pending is not None and self._header is not None:
            pending, self._pending = self._pending, None
            self._is_lost = True
            pending.close()
            self._is_lost = self._is_placeholder = False

    def close(self) -> None:
        """Write what has changed and close the file; twice is fine."""
        try:
            super().close()
        finally:
            self._drop_pending()
