"""ImageReferences to images: the file and section of each, and what a table says about it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.remote.urls import is_remote

__all__ = [
    "ALL_SECTIONS",
    "ImageReferences",
    "find_root",
    "is_complete",
    "parse_references",
    "resolve_paths",
]

# In place of a section: the name has none, so that all sections of the file are meant.
ALL_SECTIONS = -1


@dataclass(frozen=True, slots=True, eq=False)
class ImageReferences:
    """Images by file and section, in the order of the table.

    Attributes
    ----------
    files : list of str
        Each file once, as the table names it.
    file_of : ndarray of int64
        Number of the file of each image.
    section_of : ndarray of int64
        Section of each image in its file, from 0; ALL_SECTIONS for a name without a number.
    columns : dict of ndarray
        What the table says about the images: one value an image, or one row of values.
    long_names : dict of str
        Name of a column in the table, if it has another name here.
    voxel_size : ndarray of float64 or None
        Pixel size of each image in angstrom, as the table has it.
    table : str
        Path of the table; empty if there is none.
    has_stacks : bool
        Whether a name without a number in the table is a stack of images that share its row, as
        RELION 5 has the images of a particle of a tilt series.
    """

    files: list[str]
    file_of: NDArray[np.int64]
    section_of: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    long_names: Mapping[str, str] = field(default_factory=dict)
    voxel_size: NDArray[np.float64] | None = None
    table: str = ""
    has_stacks: bool = False


def parse_references(names: Iterable[str]) -> ImageReferences:
    """Parse the names of images as RELION writes them.

    Parameters
    ----------
    names : iterable of str
        ``"12@Extract/job007/stack.mrcs"`` is the twelfth section of a file. A name without ``@``
        stands for all sections of the file.

    Returns
    -------
    ImageReferences

    Raises
    ------
    MrcError
        A number is not a number from 1.

    Examples
    --------
    >>> found = parse_references(["000002@a.mrcs", "1@b.mrcs", "1@a.mrcs"])
    >>> found.files, found.file_of.tolist(), found.section_of.tolist()
    (['a.mrcs', 'b.mrcs'], [0, 1, 0], [1, 0, 0])
    """
    number_of: dict[str, int] = {}
    file_of, section_of = [], []
    for name in names:
        number, at, path = name.partition("@")
        if at and number.isdecimal():
            section = int(number) - 1
            if section < 0:
                raise MrcError(f"{name}: sections are counted from 1, but 0 stands before the @")
        else:
            if at and "/" not in number and "." not in number:
                raise MrcError(f"{name}: {number!r} stands before the @, expected a number from 1")
            section, path = ALL_SECTIONS, name  # an @ may be in the name of a folder
        section_of.append(section)
        file_of.append(number_of.setdefault(path, len(number_of)))
    return ImageReferences(
        list(number_of), np.array(file_of, np.int64), np.array(section_of, np.int64)
    )


def resolve_paths(
    files: Sequence[str], table: str, root: str | os.PathLike[str] | None
) -> list[str]:
    """Return absolute paths for the files that a table names.

    Parameters
    ----------
    files : sequence of str
        Paths as the table has them.
    table : str
        Path of the table; empty if there is none.
    root : str or os.PathLike, optional
        Directory or URL that they are relative to; by default the current directory, or that of the
        table, or one of its parents, whichever has the first file.

    Returns
    -------
    list of str

    Raises
    ------
    FileNotFoundError
        None of them has it.
    """
    relative = [path for path in files if not is_complete(path)]
    if not relative:
        return list(files)
    if root is None:
        root = find_root(relative[0], table)
        if root is None:
            raise FileNotFoundError(
                f"{table or relative[0]}: no folder of {', '.join(possible_roots(table))} has the "
                f"file {relative[0]}: pass root=FOLDER, the folder that the paths are relative to"
            )
    if is_remote(root):
        return [path if is_complete(path) else f"{str(root).rstrip('/')}/{path}" for path in files]
    top = os.path.abspath(os.path.expanduser(os.fsdecode(root)))
    return [path if is_complete(path) else os.path.join(top, path) for path in files]


def find_root(path: str, table: str) -> str | None:
    """Return the folder that a relative path in a table starts from; None if no folder has it."""
    roots = possible_roots(table)
    return next((root for root in roots if os.path.exists(os.path.join(root, path))), None)


def possible_roots(table: str) -> list[str]:
    """Return the current folder, that of a table and its parents, in the order they are tried."""
    if not table:
        return [os.getcwd()]
    home = PurePath(os.path.abspath(table)).parent
    return [os.getcwd(), str(home), *map(str, home.parents)]


def is_complete(path: str) -> bool:
    """Return True for an absolute path, and for a URL."""
    return os.path.isabs(path) or is_remote(path)
