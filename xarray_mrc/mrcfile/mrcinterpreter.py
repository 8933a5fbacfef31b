"""`MrcInterpreter`: reads an MRC file from a binary stream and writes it back."""

from __future__ import annotations

import atexit
import io
import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import HEADER_SIZE, Header, has_map_id, score
from xarray_mrc.codec.modes import ByteOrder
from xarray_mrc.mrcfile import utils
from xarray_mrc.mrcfile.constants import MAP_ID
from xarray_mrc.mrcfile.dtypes import HEADER_DTYPE
from xarray_mrc.mrcfile.mrcobject import MrcObject, header_array

__all__ = ["HEADER_DTYPE", "MAP_ID", "MrcInterpreter"]

Bytes = NDArray[np.uint8]
BLOCK = 2**20


# Objects that are still open when Python ends are closed at exit: numpy no longer works when
# Python deletes them afterwards.
_open: weakref.WeakSet[MrcInterpreter] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """Close all objects that are still open."""
    for mrc in list(_open):
        mrc.__del__()


@dataclass(frozen=True, slots=True)
class Extent:
    """Sizes of the parts of a file when it was last read or written.

    Attributes
    ----------
    extended_nbytes, data_nbytes : int or None
        Size of the extended header and of the data; None for a part that was not read.
    """

    extended_nbytes: int | None
    data_nbytes: int | None


class MrcInterpreter(MrcObject):
    """An MRC file in a stream.

    Only changes are written; a part that was not read is never written.

    Parameters
    ----------
    iostream : binary stream, optional
        Reading starts at its current position. It needs ``readinto``, ``seek`` and, for writing,
        ``write`` and ``truncate``. It is not closed. The arrays are writeable even if the stream
        is not: then `flush` and `close` raise the stream's error if there are changes to write.
    permissive : bool
        If True, faults of the file give warnings instead of a ValueError.
    header_only : bool
        If True, the data are not read.

    Examples
    --------
    >>> stream = io.BytesIO()
    >>> with MrcInterpreter() as mrc:
    ...     mrc._iostream = stream
    ...     mrc._create_default_attributes()
    ...     mrc.set_data(np.zeros((2, 3), np.float32))
    >>> _ = stream.seek(0)
    >>> MrcInterpreter(stream).data.shape
    (2, 3)
    """

    def __init__(
        self,
        iostream: Any = None,
        permissive: bool = False,
        header_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._iostream: Any = iostream
        self._permissive = permissive
        self._start = 0
        self._extent: Extent | None = None
        self._process = os.getpid()
        _open.add(self)
        if iostream is not None:
            self._start = iostream.tell() if is_seekable(iostream) else 0
            try:
                self._read(header_only)
            except BaseException:
                self._header = None  # so that deleting the object does not write an unread file
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            if self._process != os.getpid():
                return  # a forked process inherited this object, and the file may have changed
            # Looking for changes reads the whole stream again, possibly over a network, and they
            # could not be written anyway.
            self._read_only = self._read_only or not self._can_write()
            self.close()

    def _complain(self, text: str) -> None:
        """Raise ValueError, or warn in permissive mode."""
        if not self._permissive:
            raise ValueError(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _read(self, header_only: bool = False) -> None:
        """Read header, extended header and data from the current position of the stream."""
        self._extent = None
        self._read_header()
        self._read_extended_header()
        if header_only:
            self._close_data()
        else:
            self._read_data()
        for array in (self._header, self._extended_header, self._data):
            if array is not None and self._read_only:
                array.flags.writeable = False
        extended, data = self._extended_header, self._data
        self._extent = Extent(
            None if extended is None else extended.nbytes, None if data is None else data.nbytes
        )

    def _read_header(self) -> None:
        """Read the header and detect its byte order."""
        raw = self._read_bytes(HEADER_SIZE).tobytes()
        if len(raw) < HEADER_SIZE:
            raise ValueError("Couldn't read enough bytes for MRC header")
        if not has_map_id(Header(raw, "<")):
            self._complain("Map ID string not found - not an MRC file, or file is corrupt")
        machst = Header(raw, "<").machst
        try:
            order = utils.byte_order_from_machine_stamp(machst)
        except ValueError as error:
            self._complain(str(error))
            order = "<"
        if self._permissive and self._is_swapped(raw, order):
            order = ">" if order == "<" else "<"
            warnings.warn(
                f"Machine stamp '{utils.pretty_machine_stamp(machst)}' does not match the "
                f"apparent byte order '{order}'",
                RuntimeWarning,
                stacklevel=2,
            )
        self._header = header_array(raw, order)

    def _is_swapped(self, raw: bytes, order: str) -> bool:
        """Return True if the header makes sense only in the opposite byte order."""
        orders: tuple[ByteOrder, ByteOrder] = ("<", ">") if order == "<" else (">", "<")
        stated, other = (Header(raw, order) for order in orders)
        if stated.mode == 0:  # mode 0 reads the same in both orders, so the other fields decide
            size = self._size_if_known()
            return score(other, size) > score(stated, size)
        return not has_dtype(stated.mode) and has_dtype(other.mode)

    def _size_if_known(self) -> int | None:
        """Return the size of the whole file if it is known without reading the file."""
        return None

    def _read_extended_header(self) -> None:
        """Read the extended header, whose size the header states."""
        nbytes = int(self._header.nsymbt)
        self._extended_header = None
        if nbytes < 0:
            self._complain(
                f"Header field 'nsymbt' is negative: {nbytes} - extended header cannot be read"
            )
            return
        raw = self._read_bytes(nbytes)
        if raw.nbytes < nbytes:
            self._complain(
                f"Expected {nbytes} bytes in extended header but could only read {raw.nbytes}"
            )
            return
        self._extended_header = raw.view("V1")

    def _read_data(self, max_bytes: int = 0) -> None:
        """Read the data; they stay None in permissive mode if they cannot be read.

        Parameters
        ----------
        max_bytes : int
            Size that the data must not exceed; 0 or less means no limit.
        """
        self._close_data()
        form = self._data_form("cannot be read")
        if form is None:
            return
        shape, dtype = form
        nbytes = utils.data_nbytes(shape, dtype)
        if 0 < max_bytes < nbytes:
            self._complain(f"Expected {nbytes} bytes in data block but limit is {max_bytes}")
            return
        found = self._take_data(shape, dtype)
        if found < nbytes:
            self._complain_of_end(nbytes, found)

    def _take_data(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Read data from the current position of the stream; return the number of bytes read."""
        raw = self._read_bytes(utils.data_nbytes(shape, dtype))
        if raw.nbytes == utils.data_nbytes(shape, dtype):
            self._data = raw.view(dtype).reshape(shape)
        return raw.nbytes

    def _complain_of_end(self, nbytes: int, found: int) -> None:
        """Complain that the stream ends before the data do."""
        self._complain(f"Expected {nbytes} bytes in data block but could only read {found}")

    def _data_form(self, problem: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        """Return shape and dtype of the data; if the header is wrong, complain and return None."""
        header = self._header
        try:
            dtype = utils.data_dtype_from_header(header)
        except ValueError as error:
            self._complain(f"{error} - data block {problem}" if self._permissive else str(error))
            return None
        for name in ("nx", "ny", "nz", "nsymbt"):
            if header[name] < 0:
                self._complain(
                    f"Header field '{name}' is negative: {header[name]} - data block {problem}"
                )
                return None
        shape = utils.data_shape_from_header(header)
        if len(shape) < 4 and utils.spacegroup_is_volume_stack(header.ispg):
            warnings.warn(
                f"Space group {header.ispg} is that of a volume stack, but nz = {header.nz} is "
                f"not a multiple of mz = {header.mz}: the data are read as one volume",
                RuntimeWarning,
                stacklevel=2,
            )
        return shape, dtype

    def _read_bytes(self, nbytes: int) -> Bytes:
        """Read bytes from the current position of the stream; fewer only at its end."""
        buffer, count = self._read_bytearray_from_stream(nbytes)
        return np.frombuffer(buffer, np.uint8, count)

    def _read_bytearray_from_stream(self, number_of_bytes: int) -> tuple[Any, int]:
        """Read bytes from the current position of the stream.

        A subclass overrides this if its stream has no ``readinto``.

        Returns
        -------
        buffer
            A writeable buffer; here an array of uint8, in a subclass often a bytearray.
        count : int
            Number of bytes in it that were read.
        """
        out = np.empty(self._bounded_nbytes(number_of_bytes), np.uint8)
        done = read_fully(self._iostream, out)
        while done == out.size < number_of_bytes and not is_seekable(self._iostream):
            out.resize(min(number_of_bytes, 2 * done), refcheck=False)
            done += read_fully(self._iostream, out[done:])
        return out, done

    def _bounded_nbytes(self, nbytes: int) -> int:
        """Limit a size that the header states to the bytes in the stream, to allocate no more."""
        if not is_seekable(self._iostream):
            return min(nbytes, BLOCK)
        position = self._iostream.tell()
        left = self._iostream.seek(0, io.SEEK_END) - position
        self._iostream.seek(position)
        return max(0, min(nbytes, int(left)))

    def close(self) -> None:
        """Write the changes and release header, extended header and data.

        If the stream is closed already, nothing is written.
        """
        try:
            if not is_closed(self._iostream):
                self.flush()
        finally:
            self._header = self._extended_header = None
            self._close_data()

    def flush(self) -> None:
        """Write the changes to the stream, and leave it at its end."""
        if self._read_only or self._header is None or self._iostream is None:
            return
        if not (is_closed(self._iostream) or is_seekable(self._iostream) or self._can_write()):
            return  # a pipe to read from
        if self._has_same_sizes():
            self._patch()
        else:
            self._replace()
        before = self._extent or Extent(0, 0)
        extended, data = self._extended_header, self._data
        self._extent = Extent(
            before.extended_nbytes if extended is None else extended.nbytes,
            before.data_nbytes if data is None else data.nbytes,
        )
        self._iostream.seek(0, io.SEEK_END)
        self._iostream.flush()

    def _can_write(self) -> bool:
        """Return True if the stream is open and can be written, as far as it says so."""
        stream = self._iostream
        return not is_closed(stream) and (not hasattr(stream, "writable") or stream.writable())

    def _has_same_sizes(self) -> bool:
        """Return True if each part that was read or set has the size that it has in the file."""
        if self._extent is None:
            return False
        extended, data = self._extended_header, self._data
        return (extended is None or extended.nbytes == self._extent.extended_nbytes) and (
            data is None or data.nbytes == self._extent.data_nbytes
        )

    def _parts(self) -> list[Bytes]:
        """Return the bytes of header, extended header and data, without those that are None."""
        arrays = (self._header, self._extended_header, self._data)
        return [bytes_of(array) for array in arrays if array is not None]

    def _tail_offset(self) -> int | None:
        """Return the offset in the old file of the bytes that are kept after the parts.

        These are the data if they were not read, or trailing bytes after data whose size does not
        change; None if there are no such bytes.
        """
        extent = self._extent
        if extent is None:
            return None
        end = HEADER_SIZE + (extent.extended_nbytes or 0)
        if self._data is None:
            return end
        return end + self._data.nbytes if extent.data_nbytes == self._data.nbytes else None

    def _patch(self) -> None:
        """Overwrite the blocks that have changed."""
        offset = self._start
        for part in self._parts():
            patch(self._iostream, offset, part)
            offset += part.nbytes

    def _replace(self) -> None:
        """Write the whole stream anew."""
        offset, tail = self._tail_offset(), b""
        if offset is not None:
            self._iostream.seek(self._start + offset)
            tail = self._iostream.read()
        self._iostream.seek(self._start)
        for part in self._parts():
            self._iostream.write(part.data)
        self._iostream.write(tail)
        self._iostream.truncate()


def has_dtype(mode: int) -> bool:
    """Return True if a mode has a numpy dtype."""
    with suppress(ValueError):
        utils.dtype_from_mode(mode)
        return True
    return False


def is_closed(stream: Any) -> bool:
    """Return True if a stream says that it is closed."""
    return bool(getattr(stream, "closed", False))


def is_seekable(stream: Any) -> bool:
    """Return True if a stream can seek, or has no ``seekable`` to ask."""
    return not hasattr(stream, "seekable") or bool(stream.seekable())


def bytes_of(array: NDArray[Any]) -> Bytes:
    """Return the bytes of an array, which is copied only if it is not contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def blocks_of(part: Bytes) -> Iterator[tuple[int, Bytes]]:
    """Yield bytes in blocks, each with its offset."""
    for start in range(0, part.nbytes, BLOCK):
        yield start, part[start : start + BLOCK]


def patch(stream: Any, offset: int, part: Bytes) -> None:
    """Write the blocks of a part that differ from the bytes of a stream at an offset."""
    found = np.empty(min(BLOCK, part.nbytes), np.uint8)
    is_readable = not hasattr(stream, "readable") or stream.readable()
    for start, block in blocks_of(part):
        stream.seek(offset + start)
        old = found[: block.nbytes if is_readable else 0]
        if read_fully(stream, old) < block.nbytes or not np.array_equal(old, block):
            stream.seek(offset + start)
            stream.write(block.data)


def read_fully(stream: Any, out: Bytes) -> int:
    """Fill `out` from a stream until either ends; return the number of bytes read."""
    done = 0
    while done < out.nbytes and (count := stream.readinto(out[done:].data)):
        done += count
    return done
