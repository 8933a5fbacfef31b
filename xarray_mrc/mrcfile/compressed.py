"""Shared parts of `GzipMrcFile` and `Bzip2MrcFile`: decompressed once, rewritten when changed."""

from __future__ import annotations

import builtins
import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.errors import MrcChangedError, MrcError, MrcTruncatedError
from xarray_mrc.mrcfile.mrcfile import FILE_MODES, MrcFile
from xarray_mrc.mrcfile.mrcinterpreter import Bytes, MrcInterpreter
from xarray_mrc.storage.compressed.decoders import MAGICS
from xarray_mrc.storage.compressed.source import CompressedSource, has_implausible_ratio
from xarray_mrc.storage.local import LocalSource

__all__ = ["CompressedMrcFile"]

CUT_OFF = "Compressed file ended before the end-of-stream marker was reached"


class DamagedFileError(MrcError, OSError, EOFError):
    """The compressed data are damaged or cut off. Programs catch any one of these classes."""


class DecompressedStream(io.RawIOBase):
    """The content of a compressed file, as a stream to read from.

    Parameters
    ----------
    source : CompressedSource
        The file.
    name : str
        Its name.
    """

    def __init__(self, source: CompressedSource, name: str) -> None:
        super().__init__()
        self.source = source
        self.name = name
        self.size_if_known: int | None = None
        self._position = 0

    @property
    def size(self) -> int:
        """Number of bytes that can be decompressed, also if the file is cut off."""
        if self.size_if_known is not None:
            return self.size_if_known
        with translated_errors():
            return self.source.allow_truncated().measure_size()

    def __getstate__(self) -> NoReturn:
        """Raise TypeError: two copies would write to one file."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object, which reads an open file")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; seeking backwards starts decompression again."""
        return True

    def _check_open(self) -> None:
        """Raise ValueError if the stream is closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position. Seeking from the end decompresses the whole file."""
        self._check_open()
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self.size if start is None else start)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return the number of bytes, fewer only at the end."""
        self._check_open()
        out = np.frombuffer(buffer, np.uint8)
        source = self.source.allow_truncated()
        try:
            with translated_errors():
                source.read_ranges([(self._position, out)])
        except MrcTruncatedError:
            out = out[: max(0, self.size - self._position)]
            with translated_errors():
                source.read_ranges([(self._position, out)])
        self._position += out.size
        return out.size


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of decompression as a DamagedFileError, which callers of mrcfile catch."""
    try:
        yield
    except (MrcTruncatedError, MrcChangedError):
        raise
    except MrcError as error:
        raise DamagedFileError(str(error)) from None


class CompressedMrcFile(MrcFile):
    """The base of `GzipMrcFile` and `Bzip2MrcFile`."""

    _container: str

    def _not_compressed(self, head: bytes) -> OSError:
        """Return the error for a file that is not compressed in this way."""
        raise NotImplementedError

    def _open_stream(self, name: str) -> None:
        """Open the file for decompression from its start, and check that the mode is permitted."""
        with builtins.open(name, FILE_MODES[self._mode]) as file:
            self._identity = os.fstat(file.fileno())
        stored, head = LocalSource.open(os.path.abspath(name), memmap=False)
        if self._mode != "w+" and head and not head.startswith(MAGICS[self._container]):
            raise self._not_compressed(head)
        source = CompressedSource(replace(stored, layout_bytes_at_open=b""), self._container)
        self._iostream = self._own_stream = DecompressedStream(source, name)
        if self._mode != "r":
            # Reading does not need it, and it cannot be imported once Python is ending, when files
            # that are still open are written: thread pools can no longer be set up.
            from xarray_mrc.storage.compressed.encoders import encoder_for

            self._encoder_for = encoder_for

    @property
    def _source(self) -> CompressedSource | None:
        """The file as it is decompressed here; None if a subclass opened another stream."""
        return self._iostream.source if self._iostream is self._own_stream else None

    def _size_if_known(self) -> int | None:
        """Return None: the size is known only after decompression."""
        return None

    def _bounded_nbytes(self, nbytes: int) -> int:
        """Limit a size that the header states, by decompression if it is implausibly large."""
        source, position = self._source, self._iostream.tell()
        if source is None:
            return super()._bounded_nbytes(nbytes)
        if not has_implausible_ratio(nbytes, position + nbytes, source.stored_size()):
            return nbytes
        with translated_errors():
            left: int = source.allow_truncated().bounded_size(position + nbytes) - position
        return max(0, min(nbytes, left))

    def _read_header(self) -> None:
        """Read the header; a file without a complete one is refused in permissive mode too."""
        try:
            super()._read_header()
        except DamagedFileError:
            raise
        except ValueError:
            if self._iostream.tell() < HEADER_SIZE and self._is_cut_off():
                raise DamagedFileError(f"{CUT_OFF}: the header is incomplete") from None
            raise

    def _read_extended_header(self) -> None:
        """Read the extended header; it is None in permissive mode if the file is damaged there."""
        try:
            super()._read_extended_header()
        except DamagedFileError as error:
            self._complain_of_damage(str(error))

    def _read_data(self, max_bytes: int = 0) -> None:
        """Decompress the data, once; they are None in permissive mode if that fails."""
        try:
            MrcInterpreter._read_data(self, max_bytes)
        except DamagedFileError as error:
            self._complain_of_damage(str(error))

    def _complain_of_damage(self, text: str) -> None:
        """Raise DamagedFileError, or warn in permissive mode."""
        if not self._permissive:
            raise DamagedFileError(text) from None
        self._complain(text)

    def _complain_of_end(self, nbytes: int, found: int) -> None:
        """Complain that the file ends before the data do, or that it is cut off."""
        if self._is_cut_off():
            self._complain_of_damage(
                f"{CUT_OFF}: expected {nbytes} bytes in data block but only {found} can be unpacked"
            )
        elif found:
            self._complain(f"Expected {nbytes} bytes in data block but limit is {found}")
        else:
            super()._complain_of_end(nbytes, found)

    def _is_cut_off(self) -> bool:
        """Return True if the compressed data end without an end mark."""
        if self._source is None:
            return False
        try:
            with translated_errors():
                self._source.measure_size()
        except MrcTruncatedError:
            return True
        return False

    def _check_surplus(self) -> None:
        """Read the rest of the file: warn about trailing bytes, and verify all checksums."""
        try:
            super()._check_surplus()
            if not self._is_cut_off():
                self._warn_of_garbage()
                return
        except DamagedFileError as error:
            self._discard_data()
            self._complain_of_damage(str(error))
        else:
            self._complain_of_damage(f"{CUT_OFF}: its checksum is unknown")

    def _warn_of_garbage(self) -> None:
        """Warn about bytes after the end of the compressed stream."""
        if self._source is not None and (garbage := self._source.trailing_nbytes()):
            warnings.warn(
                f"The last {garbage} bytes of the file are not {self._container} data and were "
                f"ignored",
                RuntimeWarning,
                stacklevel=2,
            )

    def _patch(self) -> None:
        """Write a new file if there are changes."""
        if not self._is_unchanged():
            self._replace()

    def _replace(self) -> None:
        """Write a new file, with the trailing bytes of the old one, and replace the old one."""
        nbytes = sum(part.nbytes for part in self._parts()) if self._tail_offset() is None else None
        super()._replace()
        self._iostream.size_if_known = nbytes

    def _preallocated_nbytes(self) -> int:
        """Return 0, because the compressed size is unknown."""
        return 0

    def _new_blocks(self) -> Iterator[Bytes | bytes]:
        """Yield the compressed bytes of a new file in order."""
        encoder = self._encoder_for(self._container)
        for part in self._parts():
            yield from encoder.encode_parallel(part, max(1, self._section_nbytes(part)))
        for block in self._tail_blocks():
            yield from encoder.encode_parallel(block, block.nbytes)
        yield encoder.end()

    def _tail_blocks(self) -> Iterator[Bytes]:
        """Yield the bytes of the old file that are kept after the parts; check they are all."""
        yield from super()._tail_blocks()
        if self._tail_offset() is not None and self._is_cut_off():
            self._complain_of_damage(
                f"{CUT_OFF}: a new file with its content would look complete, but is not"
            )

    def _section_nbytes(self, part: Bytes) -> int:
        """Return the size of a section in a part, because each section is compressed by itself."""
        data = self._data
        if data is not None and data.ndim > 2 and part.nbytes == data.nbytes:
            return int(part.nbytes // max(1, math.prod(data.shape[:-2])))
        return part.nbytes
