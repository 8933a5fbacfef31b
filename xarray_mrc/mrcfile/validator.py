"""Check whether files are valid: ``python -m xarray_mrc.mrcfile.validator FILE...``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import numpy as np

from xarray_mrc.checking.mrcfile_facts import examine_as_mrcfile
from xarray_mrc.checking.mrcfile_rules import mrcfile_problems
from xarray_mrc.mrcfile import load_functions, utils
from xarray_mrc.mrcfile.bzip2mrcfile import Bzip2MrcFile
from xarray_mrc.mrcfile.compressed import CompressedMrcFile, DamagedFileError
from xarray_mrc.mrcfile.gzipmrcfile import GzipMrcFile
from xarray_mrc.mrcfile.mrcfile import MrcFile
from xarray_mrc.storage import open_source

__all__ = ["main", "validate", "validate_all"]


def main(args: Sequence[str] | None = None) -> int:
    """Check files and return the exit status: 0 if all are valid, else 1.

    Parameters
    ----------
    args : sequence of str, optional
        The files. Default: the arguments of the command line.

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
    """Check several files; an invalid one does not stop the others.

    Parameters
    ----------
    names : iterable of str
        The files.
    print_file : text stream, optional
        Where to print the problems. Default: the standard output.

    Returns
    -------
    bool
        True if all are valid.

    Examples
    --------
    >>> validate_all([])
    True
    """
    verdicts = [validate(name, print_file) for name in names]
    return all(verdicts)


def validate(name: str | os.PathLike[str], print_file: TextIO | None = None) -> bool:
    """Check a file, and print its problems.

    Parameters
    ----------
    name : str or os.PathLike
        The file, compressed or not.
    print_file : text stream, optional
        Where to print. Default: the standard output; the standard error for the traceback of a
        file that cannot be read.

    Returns
    -------
    bool
        True if the file is valid; False also if it cannot be read.

    Warns
    -----
    RuntimeWarning
        For faults that only permissive mode tolerates.

    Notes
    -----
    Data are measured in blocks as they are read, so memory does not depend on their size.

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
        _, view = examine_as_mrcfile(open_source(name), data=True)
        UNREAD.get(load_functions.sniff(name), UnreadFile)(name, permissive=True).close()
    except Exception:  # any error is printed, so that the next file is checked
        traceback.print_exc(file=print_file)
        return False
    problems = mrcfile_problems(view) if view else []  # without a header there was an error
    for text in problems or ["File appears to be valid."]:
        print(text, file=print_file)
    return not problems


class UnreadFile(MrcFile):
    """A file that is opened to warn about its faults; its data are zeros that take no memory."""

    def _take_data(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Assign data of zeros if the file has enough bytes; return how many it has."""
        left = self._get_file_size() - int(self._iostream.tell())
        if left >= utils.data_nbytes(shape, dtype):
            self._data = np.broadcast_to(np.zeros((), dtype), shape)
        return left


class UnreadCompressedFile(UnreadFile, CompressedMrcFile):
    """A compressed file whose damage is an error in permissive mode too."""

    def _complain_of_damage(self, text: str) -> None:
        """Raise DamagedFileError, in permissive mode too."""
        raise DamagedFileError(text)


class UnreadGzipFile(UnreadCompressedFile, GzipMrcFile):
    """A gzip file that is opened to warn about its faults."""

    def _warn_of_garbage(self) -> None:
        """Raise DamagedFileError for trailing bytes, which mrcfile refuses in gzip only."""
        if self._source is not None and (garbage := self._source.trailing_nbytes()):
            raise DamagedFileError(f"the last {garbage} bytes of the file are not gzip data")


class UnreadBzip2File(UnreadCompressedFile, Bzip2MrcFile):
    """A bzip2 file that is opened to warn about its faults."""


UNREAD: dict[str | None, type[MrcFile]] = {"gzip": UnreadGzipFile, "bzip2": UnreadBzip2File}

if __name__ == "__main__":
    sys.exit(main())
