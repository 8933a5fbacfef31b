"""`show_versions`: the versions of this package, Python and the packages around it."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import TextIO

__all__ = ["find_versions", "show_versions"]

DISTRIBUTION = "xarray-mrc"
# Packages that use this one, or that read the same files.
NEIGHBOURS = ("mrcfile", "gemmi", "matplotlib", "napari", "scipy", "pandas")


def find_versions() -> dict[str, str | None]:
    """Find the versions of Python, this package and the packages that it can use.

    Returns
    -------
    dict
        Version by name, in the order for printing; None for a package that is not installed.

    Examples
    --------
    >>> find_versions()["python"] == sys.version.split()[0]
    True
    """
    found: dict[str, str | None] = {
        DISTRIBUTION: version_of(DISTRIBUTION),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "byteorder": sys.byteorder,
    }
    return found | {
        name: version_of(name) for name in dict.fromkeys((*requirements(), *NEIGHBOURS))
    }


def show_versions(file: TextIO | None = None) -> None:
    """Print the versions of Python, this package and the packages that it can use.

    Parameters
    ----------
    file : text stream, optional
        Where to print; by default the standard output.

    Examples
    --------
    >>> show_versions()  # doctest: +ELLIPSIS
    xarray-mrc ...
    """
    found = find_versions()
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {value or 'not installed'}", file=file or sys.stdout)


def version_of(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def requirements() -> list[str]:
    """Return the names of the packages that this one declares, those of extras too."""
    try:
        lines = metadata(DISTRIBUTION).get_all("Requires-Dist") or []
    except PackageNotFoundError:  # used from a source tree that was not installed
        lines = []
    names = [match.group() for line in lines if (match := re.match(r"[\w.-]+", line))]
    return [name for name in names if name != DISTRIBUTION]
