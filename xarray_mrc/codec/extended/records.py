"""Where the record of each section lies in an extended header."""

from __future__ import annotations

from xarray_mrc.codec.extended import agard, fei
from xarray_mrc.codec.header import Header

__all__ = ["BLOCK_NBYTES", "find_spans"]

# Records fill whole kilobytes, as SerialEM writes them, so that the data stay aligned.
BLOCK_NBYTES = 1024


def find_spans(header: Header, kind: str, raw: bytes, sections: int) -> list[tuple[int, int]]:
    """Find the record of each section.

    Parameters
    ----------
    header : Header
        The main header.
    kind : str
        The `kind` of `Extended`, as the extended header was decoded.
    raw : bytes
        The extended header.
    sections : int
        Number of sections in the file.

    Returns
    -------
    list of (int, int)
        Start and length of each record in bytes; empty if the bytes are not records of sections, or
        are too few.

    Examples
    --------
    >>> header = Header.blank().replace(nz=2, exttyp=b"SERI", nint=2, nreal=1, nsymbt=4)
    >>> find_spans(header, "SERI", bytes(4), 2)
    [(0, 2), (2, 2)]
    """
    if kind in fei.SIZES.values():
        found = fei.find_records(raw, sections, fei.record_order(header, raw))
        return [] if isinstance(found, str) else found
    if kind == "SERI":
        nbytes = header.nint
    elif kind == "AGAR":
        is_named_fei = header.exttyp[:3] == b"FEI"  # Warp's name for records of floats only
        counts = (0, agard.OLD_FEI_REALS) if is_named_fei else agard.counts(header)
        nbytes = 4 * sum(counts)
    else:
        nbytes = 0
    if nbytes <= 0 or sections < 1 or sections * nbytes > len(raw):
        return []
    return [(number * nbytes, nbytes) for number in range(sections)]
