"""Print the headers of files: ``python -m xarray_mrc.mrcfile.command_line FILE...``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TextIO

from xarray_mrc.mrcfile import load_functions

__all__ = ["print_headers"]


def print_headers(names: Iterable[str] | None = None, print_file: TextIO | None = None) -> None:
    """Print the headers of files, in permissive mode.

    Parameters
    ----------
    names : iterable of str, optional
        The files. Default: the arguments of the command line.
    print_file : text stream, optional
        Default: the standard output.

    Examples
    --------
    >>> print_headers([])
    """
    if names is None:
        parser = argparse.ArgumentParser(description="Print the headers of MRC files.")
        parser.add_argument("filename", nargs="*", help="a file, compressed or not")
        names = parser.parse_args().filename
    for name in names:
        with load_functions.open(name, permissive=True, header_only=True) as mrc:
            print(f"MRC header for {name}:", file=print_file)
            mrc.print_header(print_file=print_file)


if __name__ == "__main__":
    print_headers()
