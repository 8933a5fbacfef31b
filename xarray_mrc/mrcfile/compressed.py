"""What files within gzip and bzip2 have in common: read once, and made anew when they change."""

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
from xarray_mrc.reading.file_layout import SUSPECT_NBYTES, SUSPECT_RATIO
from xarray_mrc.storage.compressed.decoders import MAGICS
from xarray_mrc.storage.compressed.encoders import encoder_for
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local import LocalSource

__all__ = ["CompressedMrcFile"]

CUT_OFF = "Compressed file ended before the end-of-stream marker was reached"


class DamagedFileError(MrcError, OSError, EOFError):
    """The compressed bytes are damaged or cut off; each is what some program may catch."""


class Unpacked(io.RawIOBase):
    """What is in a compressed file, as a stream to read from.

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
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes that can be unpacked, of a file that is cut off too."""
        if self.size_if_known is not None:
            return self.size_if_known
        with damage():
            return self.source.allow_truncated().size

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled or copied, as open files do: two would write one file."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object, which reads an open file")

    def readable(self) -> bool:
        """Tell that it can."""
        return True

    def seekable(self) -> bool:
        """Tell that it can, though going back begins anew."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; the end costs a pass."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        self._at = offset + (self.size if start is None else start)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the bytes go."""
        out = np.frombuffer(buffer, np.uint8)
        source = self.source.allow_truncated()
        try:
            with damage():
                source.readinto(self._at, out)
        except MrcTruncatedError:
            out = out[: max(0, self.size - self._at)]
            with damage():
                source.readinto(self._at, out)
        self._at += out.size
        return out.size


@contextmanager
def damage() -> Iterator[None]:
    """Give what the decompressors refuse as an error that all callers of mrcfile know."""
    try:
        yield
    except (MrcTruncatedError, MrcChangedError):
        raise
    except MrcError as error:
        raise DamagedFileError(str(error)) from None


class CompressedMrcFile(MrcFile):
    """What `GzipMrcFile` and `Bzip2MrcFile` have in common; see there."""

    _container: str
    _iostream: Any

    def _refuse(self, head: bytes) -> OSError:
        """Make the error for a file that is not compressed so."""
        raise NotImplementedError

    def _open_file(self, name: str) -> None:
        """Look whether the file can be read and written as asked, and unpack from its beginning."""
        builtins.open(name, FILE_MODES[self._mode]).close()
        stored, head = LocalSource.open(os.path.abspath(name), memmap=False)
        if self._mode != "w+" and head and not head.startswith(MAGICS[self._container]):
            raise self._refuse(head)
        source = CompressedSource(replace(stored, layout_bytes_at_open=b""), self._container)
        self._iostream = Unpacked(source, name)

    def _get_file_size(self) -> int:
        """Count the bytes of the file, unpacked: this costs a pass from where reading stopped."""
        return int(self._iostream.size)

    def _known_size(self) -> int | None:
        """None: that would cost a pass."""
        return None

    def _room(self, nbytes: int) -> int:
        """Bound a claim that no density bears out by unpacking, which gives nothing out."""
        source, here = self._iostream.source, self._iostream.tell()
        doubtful = here + nbytes > SUSPECT_RATIO * source.stored_size
        if nbytes <= SUSPECT_NBYTES or not doubtful:
            return nbytes
        with damage():
            there: int = source.allow_truncated().bounded_size(here + nbytes) - here
        return max(0, min(nbytes, there))

    def _read_header(self) -> None:
        """Read the header; that the file is cut off before its end can't be permitted."""
        try:
            super()._read_header()
        except DamagedFileError:
            raise
        except ValueError:
            if self._iostream.tell() < HEADER_SIZE and self._is_cut_off():
                raise DamagedFileError(f"{CUT_OFF}: there is no whole header") from None
            raise

    def _read_extended_header(self) -> None:
        """Read the extended header; in permissive mode it is None where the file is damaged."""
        try:
            super()._read_extended_header()
        except DamagedFileError as error:
            self._complain_of_damage(str(error))

    def _read_data(self, max_bytes: int = 0) -> None:
        """Read the data, by unpacking them once; None in permissive mode if that can't be done."""
        try:
            MrcInterpreter._read_data(self, max_bytes)
        except DamagedFileError as error:
            self._complain_of_damage(str(error))

    def _complain_of_damage(self, text: str) -> None:
        """Raise, or in permissive mode warn, that the compressed bytes are not whole."""
        if not self._permissive:
            raise DamagedFileError(text) from None
        self._complain(text)

    def _complain_of_end(self, nbytes: int, found: int) -> None:
        """Complain that there are fewer bytes than the data take, or that the file is cut off."""
        if self._is_cut_off():
            self._complain_of_damage(
                f"{CUT_OFF}: expected {nbytes} bytes in data block but only {found} can be unpacked"
            )
        elif found:
            self._complain(f"Expected {nbytes} bytes in data block but limit is {found}")
        else:
            super()._complain_of_end(nbytes, found)

    def _is_cut_off(self) -> bool:
        """Whether the compressed bytes end before their end mark."""
        try:
            with damage():
                return bool(self._iostream.source.size < 0)
        except MrcTruncatedError:
            return True

    def _check_surplus(self) -> None:
        """Read on behind the data: warn of more bytes, and hold the checksums against all."""
        try:
            super()._check_surplus()
            if not self._is_cut_off():
                self._warn_of_garbage()
                return
        except DamagedFileError as error:
            self._forget_data()
            self._complain_of_damage(str(error))
        else:
            self._complain_of_damage(f"{CUT_OFF}: its checksum is not known")

    def _warn_of_garbage(self) -> None:
        """Warn of stored bytes behind the end of the stream."""
        if garbage := self._iostream.source.surplus:
            warnings.warn(
                f"The last {garbage} bytes of the file are no {self._container} data; they were "
                f"left out",
                RuntimeWarning,
                stacklevel=2,
            )

    def _patch(self) -> None:
        """Make the file anew if anything has changed."""
        if not self._is_unchanged():
            self._replace()

    def _replace(self) -> None:
        """Make the file anew, with what of the old one stays, and put it in the old one's place."""
        nbytes = sum(part.nbytes for part in self._parts()) if self._kept() is None else None
        super()._replace()
        self._iostream.size_if_known = nbytes

    def _least_nbytes(self) -> int:
        """Give 0: how far the bytes can be packed is not known before."""
        return 0

    def _pieces(self) -> Iterator[Bytes | bytes]:
        """Give the bytes of a new file in order, packed."""
        encoder = encoder_for(self._container)
        for part in self._parts():
            yield from encoder.encode_parallel(part, max(1, self._unit(part)))
        for block in self._old_blocks():
            yield from encoder.encode_parallel(block, block.nbytes)
        yield encoder.end()

    def _old_blocks(self) -> Iterator[Bytes]:
        """Unpack what of the old file goes behind the parts, which should be all there was."""
        yield from super()._old_blocks()
        if self._kept() is not None and self._is_cut_off():
            self._complain_of_damage(f"{CUT_OFF}: a file made anew from it seems whole, but is not")

    def _unit(self, part: Bytes) -> int:
        """Bytes of a section in one of the parts, so that each section is packed alone."""
        data = self._data
        if data is not None and data.ndim > 2 and part.nbytes == data.nbytes:
            return int(part.nbytes // max(1, math.prod(data.shape[:-2])))
        return part.nbytes
