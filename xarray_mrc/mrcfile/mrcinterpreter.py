"""`MrcInterpreter`: reads an MRC file out of any stream of bytes, and writes it there."""

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
from xarray_mrc.mrcfile.mrcobject import MrcObject, header_array

__all__ = ["MrcInterpreter"]

Bytes = NDArray[np.uint8]
BLOCK = 2**20


# What Python has not deleted when it ends is too late for numpy then, and is closed before.
_open: weakref.WeakSet[MrcInterpreter] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """Close what is still open."""
    for mrc in list(_open):
        mrc.__del__()


@dataclass(frozen=True, slots=True)
class Extent:
    """How the file lies where it was read from or written to.

    Attributes
    ----------
    extended_nbytes, data_nbytes : int or None
        Size of the extended header and of the data; None of what was not read.
    """

    extended_nbytes: int | None
    data_nbytes: int | None


class MrcInterpreter(MrcObject):
    """An MRC file in a stream.

    What was not read is never written, and of what was read only what has changed.

    Parameters
    ----------
    iostream : binary stream, optional
        Where to read from, from its position on; it needs ``readinto``, ``seek`` and, to be
        written to, ``write`` and ``truncate``. It is not closed.
    permissive : bool
        Whether to warn of what is wrong with the file, instead of raising ValueError.
    header_only : bool
        Whether to leave out the data.

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
            self._read_only = hasattr(iostream, "writable") and not iostream.writable()
            self._read(header_only)

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
            if self._process == os.getpid():  # what a forked process inherited may be out of date
                self.close()

    def _complain(self, text: str) -> None:
        """Raise ValueError, or in permissive mode warn."""
        if not self._permissive:
            raise ValueError(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _read(self, header_only: bool = False) -> None:
        """Read header, extended header and data from the stream's position on."""
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
        """Read the header, and tell its byte order."""
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
        """Whether the numbers make sense only in the byte order that the stamp does not name."""
        orders: tuple[ByteOrder, ByteOrder] = ("<", ">") if order == "<" else (">", "<")
        stated, other = (Header(raw, order) for order in orders)
        if stated.mode == 0:  # the same in both
            size = self._known_size()
            return score(other, size) > score(stated, size)
        return not has_dtype(stated.mode) and has_dtype(other.mode)

    def _known_size(self) -> int | None:
        """Bytes of the whole file, where that is known without reading it."""
        return None

    def _read_extended_header(self) -> None:
        """Read as many bytes behind the header as it says."""
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
        """Read the data; in permissive mode they are None if that can't be done.

        Parameters
        ----------
        max_bytes : int
            What there is room for; 0 or less is no limit.
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
        """Read data from the stream's position on; give how many bytes of them are there."""
        raw = self._read_bytes(utils.data_nbytes(shape, dtype))
        if raw.nbytes == utils.data_nbytes(shape, dtype):
            self._data = raw.view(dtype).reshape(shape)
        return raw.nbytes

    def _complain_of_end(self, nbytes: int, found: int) -> None:
        """Complain that there are fewer bytes than the data take."""
        self._complain(f"Expected {nbytes} bytes in data block but could only read {found}")

    def _data_form(self, what: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        """Tell shape and dtype of the data by the header; complain and give None if it can't be."""
        header = self._header
        try:
            dtype = utils.data_dtype_from_header(header)
        except ValueError as error:
            self._complain(f"{error} - data block {what}" if self._permissive else str(error))
            return None
        for name in ("nx", "ny", "nz", "nsymbt"):
            if header[name] < 0:
                self._complain(
                    f"Header field '{name}' is negative: {header[name]} - data block {what}"
                )
                return None
        shape = utils.data_shape_from_header(header)
        if len(shape) < 4 and utils.spacegroup_is_volume_stack(header.ispg):
            warnings.warn(
                f"Space group {header.ispg} is that of a volume stack, but nz = {header.nz} is no "
                f"multiple of mz = {header.mz}: the data are read as one volume",
                RuntimeWarning,
                stacklevel=2,
            )
        return shape, dtype

    def _read_bytes(self, nbytes: int) -> Bytes:
        """Read from the stream's position on, and give what is there of so many bytes."""
        out = np.empty(self._room(nbytes), np.uint8)
        done = read_fully(self._iostream, out)
        while done == out.size < nbytes and not is_seekable(self._iostream):
            out.resize(min(nbytes, 2 * done), refcheck=False)
            done += read_fully(self._iostream, out[done:])
        return out[:done] if done < out.size else out

    def _room(self, nbytes: int) -> int:
        """Bound a claim by the bytes that are there, before memory is set aside for it."""
        if not is_seekable(self._iostream):
            return min(nbytes, BLOCK)
        here = self._iostream.tell()
        there = self._iostream.seek(0, io.SEEK_END) - here
        self._iostream.seek(here)
        return max(0, min(nbytes, int(there)))

    def close(self) -> None:
        """Write what has changed, and let go of header, extended header and data."""
        try:
            self.flush()
        finally:
            self._header = self._extended_header = None
            self._close_data()

    def flush(self) -> None:
        """Write what has changed into the stream, which is left at its end."""
        if self._read_only or self._header is None or self._iostream is None:
            return
        if self._is_laid_out():
            self._patch()
        else:
            self._replace()
        known = self._extent or Extent(0, 0)
        extended, data = self._extended_header, self._data
        self._extent = Extent(
            known.extended_nbytes if extended is None else extended.nbytes,
            known.data_nbytes if data is None else data.nbytes,
        )
        self._iostream.seek(0, io.SEEK_END)
        self._iostream.flush()

    def _is_laid_out(self) -> bool:
        """Whether all that is here has the size of what it replaces in the file."""
        if self._extent is None:
            return False
        extended, data = self._extended_header, self._data
        return (extended is None or extended.nbytes == self._extent.extended_nbytes) and (
            data is None or data.nbytes == self._extent.data_nbytes
        )

    def _parts(self) -> list[Bytes]:
        """Give what is here of header, extended header and data, as bytes."""
        arrays = (self._header, self._extended_header, self._data)
        return [bytes_of(array) for array in arrays if array is not None]

    def _kept(self) -> int | None:
        """Tell from where on bytes of the old file go behind the parts.

        These are the data that were not read, or what lies behind data whose size stays.
        """
        known = self._extent
        if known is None:
            return None
        end = HEADER_SIZE + (known.extended_nbytes or 0)
        if self._data is None:
            return end
        return end + self._data.nbytes if known.data_nbytes == self._data.nbytes else None

    def _patch(self) -> None:
        """Write the blocks that have changed over those that are there."""
        offset = self._start
        for part in self._parts():
            patch(self._iostream, offset, part)
            offset += part.nbytes

    def _replace(self) -> None:
        """Write all anew."""
        kept, extended_head = self._kept(), b""
        if kept is not None:
            self._iostream.seek(self._start + kept)
            extended_head = self._iostream.read()
        self._iostream.seek(self._start)
        for part in self._parts():
            self._iostream.write(part.data)
        self._iostream.write(extended_head)
        self._iostream.truncate()


def has_dtype(mode: int) -> bool:
    """Whether a mode has a dtype."""
    with suppress(ValueError):
        utils.dtype_from_mode(mode)
        return True
    return False


def is_seekable(stream: Any) -> bool:
    """Whether a stream has places to go to."""
    return not hasattr(stream, "seekable") or bool(stream.seekable())


def bytes_of(array: NDArray[Any]) -> Bytes:
    """Give the bytes of an array, which is copied only if it is not contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def blocks_of(part: Bytes) -> Iterator[tuple[int, Bytes]]:
    """Go through bytes by blocks, each with its offset."""
    for start in range(0, part.nbytes, BLOCK):
        yield start, part[start : start + BLOCK]


def patch(stream: Any, offset: int, part: Bytes) -> None:
    """Write the blocks of a part that differ from what a stream has there."""
    found = np.empty(min(BLOCK, part.nbytes), np.uint8)
    is_readable = not hasattr(stream, "readable") or stream.readable()
    for start, block in blocks_of(part):
        stream.seek(offset + start)
        there = found[: block.nbytes if is_readable else 0]
        if read_fully(stream, there) < block.nbytes or not np.array_equal(there, block):
            stream.seek(offset + start)
            stream.write(block.data)


def read_fully(stream: Any, out: Bytes) -> int:
    """Fill `out` from a stream, as far as it goes; give how far that is."""
    done = 0
    while done < out.nbytes and (count := stream.readinto(out[done:].data)):
        done += count
    return done
