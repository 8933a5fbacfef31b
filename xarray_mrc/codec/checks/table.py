"""The table of all checks, and what goes through it: reader, validator and repair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xarray_mrc.codec.checks.base import Check, Facts, Severity
from xarray_mrc.codec.checks.content import CONTENT_CHECKS
from xarray_mrc.codec.checks.fields import FIELD_CHECKS
from xarray_mrc.codec.checks.profiles import PROFILE_CHECKS, WEIGHTS
from xarray_mrc.codec.geometry import (
    axis_order,
    cell_angles,
    has_top_origin,
    true_nstart,
    true_origin,
)
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import find_kind
from xarray_mrc.codec.modes import Sample
from xarray_mrc.codec.samples import find_sample
from xarray_mrc.errors import MrcError

__all__ = [
    "CHECKS",
    "PROFILES",
    "findings",
    "fixes",
    "reading_notes",
    "severity_of",
]

CHECKS: tuple[Check, ...] = FIELD_CHECKS + CONTENT_CHECKS + PROFILE_CHECKS
# What can be said of a file that has no header.
BARE = ("H43", "H01", "C01", "C02", "C03")
PROFILES = ("mrc2014", *WEIGHTS)


def severity_of(check: Check, profile: str) -> Severity | None:
    """Say how much a check weighs in a profile; None if it is not part of it.

    Parameters
    ----------
    check : Check
        A row of the table.
    profile : str
        One of `PROFILES`.

    Returns
    -------
    {"error", "warning", "info"} or None

    Examples
    --------
    >>> row = next(check for check in CHECKS if check.id == "H06")
    >>> severity_of(row, "mrc2014"), severity_of(row, "cryoet-portal")
    ('warning', 'error')
    """
    return WEIGHTS.get(profile, {}).get(check.id, check.severity)


def findings(facts: Facts, profile: str = "mrc2014") -> Iterator[tuple[Check, Severity, str]]:
    """Run the checks of a profile.

    Parameters
    ----------
    facts : Facts
        What is known of the file.
    profile : str
        One of `PROFILES`.

    Yields
    ------
    tuple
        The check that found something, its severity in the profile, and the sentence.

    Examples
    --------
    >>> [check.id for check, _, _ in findings(Facts(Header.blank().replace(nx=-1)))][0]
    'H07'
    """
    has_header = facts.has_header and not facts.not_mrc
    for check in CHECKS:
        severity = severity_of(check, profile)
        if severity and (has_header or check.id in BARE) and (text := check.test(facts)):
            yield check, severity, text


def reading_notes(facts: Facts) -> list[str]:
    """Give the sentences of all checks that changed how the file is read.

    Parameters
    ----------
    facts : Facts
        What is known of the file.

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
    """Give the fields of the header that mend what was found, where the right value is certain.

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
    """Give all that a header says of how its data are read, apart from the size of a voxel."""
    sample: Sample | None
    try:
        sample = find_sample(header)
    except MrcError:
        sample = None
    return (
        sample,
        find_kind(header),
        axis_order(header),
        has_top_origin(header),
        true_origin(header),
        true_nstart(header),
        cell_angles(header),
    )
