"""Gather the facts of a file that mrcfile's `validate` looks at, by its own simpler rules."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from xarray_mrc.checking.facts import header_facts, true_size, with_damage
from xarray_mrc.checking.measurement import NumpyStatistics, measure_file
from xarray_mrc.checking.mrcfile_rules import MRCFILE_MODES, MrcfileView
from xarray_mrc.codec.checks import Facts
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import STACK_SPACE_GROUPS
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.modes import MODES
from xarray_mrc.errors import MrcError, MrcTruncatedError
from xarray_mrc.storage import Head, Source
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.protocol import full_size

__all__ = ["examine_as_mrcfile"]


def examine_as_mrcfile(source: Source, data: bool) -> tuple[Facts, MrcfileView | None]:
    """Gather the facts that mrcfile looks at.

    Parameters
    ----------
    source : Source
        The file.
    data : bool
        Whether to read and measure the data too.

    Returns
    -------
    Facts
        Whether there is a header, and what is wrong with a compressed file.
    MrcfileView or None
        Header, statistics and sizes as mrcfile has them; None without a header.

    Examples
    --------
    >>> from xarray_mrc.storage import open_source
    >>> header = Header.blank().replace(nx=3, ny=1, nz=1)
    >>> _, view = examine_as_mrcfile(open_source(header.raw + bytes([1, 2, 3])), True)
    >>> view.data.mean, view.size, view.expected
    (2.0, 1027, 1027)
    """
    if isinstance(source, CompressedSource) and source.container not in ("gzip", "bzip2"):
        source = source.inner  # mrcfile reads other containers as if they were plain
    facts = header_facts(Head(source))
    if not facts.has_header:
        return facts, None
    try:
        return view_file(facts, source, data)
    except MrcError as error:
        return with_damage(facts, source, error), None


def view_file(facts: Facts, source: Source, data: bool) -> tuple[Facts, MrcfileView]:
    """Measure the data if all of them are there, and compare the sizes."""
    header, size = facts.header, facts.size
    layout = mrcfile_layout(header)
    found = None
    if layout is not None and size is not None and layout.end > size:
        layout = None
    if layout is not None and layout.nbytes and data:
        try:
            found = measure_file(source, layout, NumpyStatistics.of)
        except MrcTruncatedError:
            layout, size = None, true_size(source)
    elif layout is not None and mrcfile_shape(header)[0]:
        # Rows or columns of length 0: all statistics are nan.
        found = NumpyStatistics.of(np.empty(0))
    if size is None and data:
        size = full_size(source)
    if isinstance(source, CompressedSource) and source.container == "gzip":
        facts = replace(facts, surplus=source.trailing_nbytes())
    expected = None if layout is None else layout.end
    view = MrcfileView(header, found, size, expected, checked=data)
    return replace(facts, size=size), view


def mrcfile_shape(header: Header) -> tuple[int, ...]:
    """Return the shape of the data in mrcfile; (-1,) where mrcfile raises an error."""
    rows = header.ny, header.nx
    if header.ispg in STACK_SPACE_GROUPS:
        return (header.nz // header.mz, header.mz, *rows) if header.mz > 0 else (-1,)
    return rows if header.ispg == 0 and header.nz == 1 else (header.nz, *rows)


def mrcfile_layout(header: Header) -> Layout | None:
    """Return how mrcfile lays out the data; None if it can't."""
    lengths = mrcfile_shape(header)
    if header.mode not in MRCFILE_MODES or min(lengths) < 0 or header.nsymbt < 0:
        return None
    plain = header.replace(mapc=1, mapr=2, maps=3)
    stored = (math.prod(lengths[:-2]), header.ny, header.nx)
    sample = MODES[header.mode].sample
    return Layout.arrange(plain, "volume", sample, stored, HEADER_SIZE + header.nsymbt)
