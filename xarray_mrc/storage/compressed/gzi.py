"""`.gzi` files, which htslib's `bgzip` writes beside a file: where its blocks are.

Source: the manual page of bgzip 1.16, "-r, --reindex": a number of pairs, and for each block but
the first one its offset in the stored file and that of its content, all as unsigned 64-bit numbers.
"""

from __future__ import annotations

import numpy as np

from xarray_mrc.errors import MrcError, warn
from xarray_mrc.storage.compressed.blocks import Int64s
from xarray_mrc.storage.local import LocalSource
from xarray_mrc.storage.protocol import PlacedSource, Source, full_size

__all__ = ["read_gzi", "warn_of_gzi"]

SUFFIX = ".gzi"
MAX_GZI_NBYTES = 2**28
MAX_BGZF_NBYTES, MIN_BGZF_NBYTES = 2**16, 28


def read_gzi(inner: Source) -> tuple[Int64s, Int64s] | None:
    """Return where blocks start, in the stored file and in the content, by the file beside it.

    Parameters
    ----------
    inner : Source
        A stored file of BGZF.

    Returns
    -------
    tuple of two ndarrays of int64, or None
        None if there is no such file, or if it is older or cannot be right.

    Warns
    -----
    MrcWarning
        It is there, but is left out.
    """
    if not isinstance(inner, PlacedSource):
        return None
    try:
        head = inner.open_beside(SUFFIX)
        if head is None:
            return None
        nbytes = full_size(head.source)
        data = head.read(0, nbytes) if nbytes <= MAX_GZI_NBYTES else b""
    except (OSError, MrcError):  # it only saves time
        return None
    numbers = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
    if len(data) % 8 or numbers.size % 2 != 1 or numbers[0] != numbers.size // 2:
        warn_of_gzi(inner, "it is not an index of bgzip")
        return None
    if isinstance(inner, LocalSource) and isinstance(head.source, LocalSource):
        (*_, time), (*_, other_time) = inner.fingerprint, head.source.fingerprint
        if other_time < time:
            warn_of_gzi(inner, "it is older than the file")
            return None
    pairs = np.concatenate([np.zeros(2, np.uint64), numbers[1:]]).astype(np.int64).reshape(-1, 2)
    stored, content = np.diff(pairs, axis=0).T
    if (
        (stored < MIN_BGZF_NBYTES).any()
        or (stored > MAX_BGZF_NBYTES).any()
        or (content < 0).any()
        or (content > MAX_BGZF_NBYTES).any()
        or pairs[-1, 0] > full_size(inner) - MIN_BGZF_NBYTES
    ):
        warn_of_gzi(inner, "its blocks are not those of the file")
        return None
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def warn_of_gzi(inner: Source, problem: str) -> None:
    """Warn that an index is left out."""
    warn(f"{inner.uri}{SUFFIX}: {problem}, so that it was left out; make it again with bgzip -r")
