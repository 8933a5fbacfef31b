"""The profiles of `validate`: which checks each one runs, and how severe their findings are.

A profile lists only the checks that differ from the table. Sources: EMDB's page on map deposition
and its map format; the checks of MRC files in the CryoET Data Portal's own test suite.
"""

from __future__ import annotations

from collections.abc import Iterator

from xarray_mrc.checking.mrcfile_rules import MRCFILE_FAILURES, MRCFILE_RULES
from xarray_mrc.codec.checks import CHECKS, Check, Facts, Severity

__all__ = ["PROFILES", "findings", "severity_of"]

# The checks that apply to a file without a header.
CHECKS_WITHOUT_HEADER = ("H43", "H01", "C01", "C02", "C03")

EMDB: dict[str, Severity | None] = {
    **dict.fromkeys(("P01", "P02", "P03"), "error"),
    **dict.fromkeys(("P04", "P05"), "warning"),
    **dict.fromkeys(("H10", "H13", "H33", "H34", "H35", "H37", "H40"), "error"),
    **dict.fromkeys(("D04", "S02", "S03", "C03"), "error"),
}
PORTAL: dict[str, Severity | None] = {
    **dict.fromkeys((f"P{number:02}" for number in range(6, 15)), "error"),
    **dict.fromkeys(("H06", "H25", "H33", "H35", "H40", "L02"), "error"),
    **dict.fromkeys(("H15", "H16", "H17", "H36", "H41"), None),
}
MRCFILE: dict[str, Severity | None] = {
    check.id: "error" if check.id in (*MRCFILE_RULES, *MRCFILE_FAILURES) else None
    for check in CHECKS
}
SEVERITIES: dict[str, dict[str, Severity | None]] = {
    "mrc2014": {},
    "emdb": EMDB,
    "cryoet-portal": PORTAL,
    "mrcfile": MRCFILE,
}
PROFILES = tuple(SEVERITIES)


def severity_of(check: Check, profile: str) -> Severity | None:
    """Return how severe a finding of a check is in a profile; None if the profile lacks it.

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
    return SEVERITIES[profile].get(check.id, check.severity)


def findings(facts: Facts, profile: str = "mrc2014") -> Iterator[tuple[Check, Severity, str]]:
    """Run the checks of a profile, in the words of the table.

    Parameters
    ----------
    facts : Facts
        The facts of the file.
    profile : str
        One of `PROFILES`.

    Yields
    ------
    tuple
        The check that found something, its severity in the profile, and the sentence.

    Examples
    --------
    >>> from xarray_mrc.codec.header import Header
    >>> [check.id for check, _, _ in findings(Facts(Header.blank().replace(nx=-1)))][0]
    'H07'
    """
    has_header = facts.has_header and not facts.not_mrc
    for check in CHECKS:
        severity = severity_of(check, profile)
        applies = severity and (has_header or check.id in CHECKS_WITHOUT_HEADER)
        if severity and applies and (text := check.test(facts)):
            yield check, severity, text
