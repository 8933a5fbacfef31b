"""Suffixes of file names: those of MRC files, and of containers (gzip, bzip2, xz, zstd)."""

from __future__ import annotations

import os

__all__ = ["MRC_ENDINGS", "SUFFIX_OF", "has_mrc_suffix", "named_container", "plain_name"]

MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".ccp4", ".st", ".ali", ".preali", ".rec")
SUFFIX_OF = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}
CONTAINER_OF = {suffix: container for container, suffix in SUFFIX_OF.items()}
MRC_ENDINGS = tuple(mrc + suffix for mrc in MRC_SUFFIXES for suffix in ("", *CONTAINER_OF))


def named_container(path: str) -> str | None:
    """Return the container that the suffix of a name stands for; None for a plain file.

    Parameters
    ----------
    path : str
        Path or name of a file, existing or not.

    Returns
    -------
    {"gzip", "bzip2", "xz", "zstd"} or None

    Examples
    --------
    >>> named_container("tomo.mrc.GZ")
    'gzip'
    """
    return CONTAINER_OF.get(os.path.splitext(path)[1].lower())


def plain_name(path: str) -> str:
    """Return the name of a file without the suffix of a container.

    Parameters
    ----------
    path : str
        Path or name of a file.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_name("stack.mrcs.gz")
    'stack.mrcs'
    """
    return path if named_container(path) is None else os.path.splitext(path)[0]


def has_mrc_suffix(path: str) -> bool:
    """Return True if a name is that of an MRC file, compressed or not.

    Parameters
    ----------
    path : str
        Path or name of a file.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_mrc_suffix("emd_3001.map.gz"), has_mrc_suffix("notes.txt.gz")
    (True, False)
    """
    return path.lower().endswith(MRC_ENDINGS)
