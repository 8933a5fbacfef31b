"""The table of all checks, and what goes through it: reader, validator and repair."""

from __future__ import annotations

from typing import Any

from xarray_mrc.codec.checks.base import Check, Facts
from xarray_mrc.codec.checks.content import CONTENT_CHECKS
from xarray_mrc.codec.checks.fields import FIELD_CHECKS
from xarray_mrc.codec.checks.labels import LABEL_CHECKS
from xarray_mrc.codec.checks.profiles import PROFILE_CHECKS
from xarray_mrc.codec.geometry import (
    axis_order,
    cell_angles,
    has_top_origin,
    true_nstart,
    true_origin,
)
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.kinds import find_kind
from xarray_mrc.codec.modes import Sample
from xarray_mrc.codec.samples import find_sample
from xarray_mrc.errors import MrcError

__all__ = ["CHECKS", "fixes", "reading_notes"]

CHECKS: tuple[Check, ...] = FIELD_CHECKS + LABEL_CHECKS + CONTENT_CHECKS + PROFILE_CHECKS


def reading_notes(facts: Facts) -> list[str]:
    """Return the sentences of all checks that changed how the file is read.

    Parameters
    ----------
    facts : Facts
        Facts about the file.

    Returns
    -------
    list of str

    Examples
    --------
    >>> header = Header.blank().replace(nx=1, ny=1, nz=1, mode=2, machst=bytes((17, 17, 0, 0)))
    >>> reading_notes(Facts(header))[0][:29]
    'the machine stamp 11 11 00 00'
    """
    found = (check.test(facts) for check in CHECKS if check.reading)
    return [sentence for sentence in found if sentence]


def fixes(facts: Facts) -> dict[str, Any]:
    """Return the header fields that correct findings, where the right value is certain.

    Parameters
    ----------
    facts : Facts
        What is known of the file; with its `data`, wrong statistics become right ones.

    Returns
    -------
    dict
        New values by field name, for `Header.replace`; empty if there is nothing to mend, or
        nothing that can be.

    Notes
    -----
    Nothing but the header is changed, and no fix that would make the data be read in another way
    (other signs of bytes, another place or kind) is among them.

    Examples
    --------
    >>> fixes(Facts(Header.blank().replace(nx=2, ny=1, nz=1, map_id=b"MAP")))
    {'map_id': b'MAP '}
    """
    merged: dict[str, Any] = {}
    if not facts.has_header or facts.not_mrc:
        return merged
    before = reading_of(facts.header)
    for check in CHECKS:
        if check.fix and check.test(facts):
            candidate = merged | check.fix(facts)
            if reading_of(facts.header.replace(**candidate)) == before:
                merged = candidate
    return merged


def reading_of(header: Header) -> tuple[object, ...]:
    """Return everything in a header that decides how its data are read, but the voxel size."""
    sample: Sample | None
    try:
        sample = find_sample(header)
    except MrcError:
        sample = None
    return (
        sample,
        find_kind(header)[0],
        axis_order(header),
        has_top_origin(header),
        true_origin(header),
        true_nstart(header),
        cell_angles(header),
    )
