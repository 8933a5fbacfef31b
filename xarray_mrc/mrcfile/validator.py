"""Says whether files are valid: ``python -m xarray_mrc.mrcfile.validator FILE...``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import numpy as np

from xarray_mrc.checking.measurement import NumpyStatistics
from xarray_mrc.mrcfile import load_functions, utils
from xarray_mrc.mrcfile.bzip2mrcfile import Bzip2MrcFile
from xarray_mrc.mrcfile.compressed import CompressedMrcFile, DamagedFileError
from xarray_mrc.mrcfile.gzipmrcfile import GzipMrcFile
from xarray_mrc.mrcfile.mrcfile import MrcFile
from xarray_mrc.mrcfile.mrcinterpreter import BLOCK, read_fully

__all__ = ["main", "validate", "validate_all"]


def main(args: Sequence[str] | None = None) -> int:
    """Check files, and give the exit status: 0 if all are valid, else 1.

    Parameters
    ----------
    args : sequence of str, optional
        The files; by default those of the command line.

    Returns
    -------
    int

    Examples
    --------
    >>> main([])
    0
    """
    parser = argparse.ArgumentParser(description="Check whether MRC files are valid.")
    parser.add_argument("input_file", nargs="*", help="a file, compressed or not")
    return 0 if validate_all(parser.parse_args(args).input_file) else 1


def validate_all(names: Iterable[str], print_file: TextIO | None = None) -> bool:
    """Check several files, all of them whatever the first ones are like.

    Parameters
    ----------
    names : iterable of str
        The files.
    print_file : text stream, optional
        Where to say what is wrong; by default the standard output.

    Returns
    -------
    bool
        Whether all are valid.

    Examples
    --------
    >>> validate_all([])
    True
    """
    verdicts = [validate(name, print_file) for name in names]
    return all(verdicts)


def validate(name: str | os.PathLike[str], print_file: TextIO | None = None) -> bool:
    """Check a file, and print what is wrong with it.

    Parameters
    ----------
    name : str or os.PathLike
        The file, compressed or not.
    print_file : text stream, optional
        Where to print; by default the standard output, and the standard error for the traceback
        of a file that can't be read.

    Returns
    -------
    bool
        Whether the file is valid. One that can't be read is not.

    Warns
    -----
    RuntimeWarning
        Of what is so wrong that the file can be read in permissive mode only.

    Notes
    -----
    Data are measured as they are read: memory stays the same whatever their size.

    Examples
    --------
    >>> import contextlib, tempfile
    >>> import numpy as np
    >>> with contextlib.chdir(tempfile.mkdtemp()):
    ...     load_functions.write("new.mrc", np.zeros((2, 3), np.int8))
    ...     validate("new.mrc")
    Checking if new.mrc is a valid MRC2014 file...
    File appears to be valid.
    True
    """
    print(f"Checking if {os.fsdecode(name)} is a valid MRC2014 file...", file=print_file)
    try:
        opener = MEASURING.get(load_functions.sniff(name), MeasuringFile)
        with opener(name, permissive=True) as mrc:
            is_valid = mrc.validate(print_file=print_file)
    except Exception:  # whatever it is, the user is told, and the next file checked
        traceback.print_exc(file=print_file)
        return False
    if is_valid:
        print("File appears to be valid.", file=print_file)
    return is_valid


class MeasuringFile(MrcFile):
    """A file whose data are measured as they are read, and not kept."""

    _found: NumpyStatistics

    def _take_data(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Measure data from the stream's position on; in their place are zeros without memory."""
        nbytes, done = utils.data_nbytes(shape, dtype), 0
        self._found = NumpyStatistics.of(np.empty(0, dtype))
        block = np.empty(min(BLOCK, nbytes), np.uint8)
        while count := read_fully(self._iostream, block[: nbytes - done]):
            values = block[: count - count % dtype.itemsize].view(dtype)
            self._found = self._found.merge(NumpyStatistics.of(values))
            done += count
        if done == nbytes:
            self._data = np.broadcast_to(np.zeros((), dtype), shape)
        return done

    def _measured(self) -> NumpyStatistics:
        """Give the statistics of what was read."""
        return self._found


class MeasuringPackedFile(MeasuringFile, CompressedMrcFile):
    """The same of a compressed file, which is not valid if what can be unpacked of it is."""

    def _complain_of_damage(self, text: str) -> None:
        """Raise, in permissive mode too."""
        raise DamagedFileError(text)


class MeasuringGzipFile(MeasuringPackedFile, GzipMrcFile):
    """The same within gzip."""

    def _warn_of_garbage(self) -> None:
        """Refuse stored bytes behind the end, which mrcfile does in gzip only."""
        if garbage := self._iostream.source.surplus:
            raise DamagedFileError(f"the last {garbage} bytes of the file are no gzip data")


class MeasuringBzip2File(MeasuringPackedFile, Bzip2MrcFile):
    """The same within bzip2."""


MEASURING: dict[str | None, type[MrcFile]] = {
    "gzip": MeasuringGzipFile,
    "bzip2": MeasuringBzip2File,
}

if __name__ == "__main__":
    sys.exit(main())
