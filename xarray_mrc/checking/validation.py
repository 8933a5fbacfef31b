"""`validate`: run the checks of a profile over a file, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xarray_mrc.checking.facts import examine
from xarray_mrc.checking.mrcfile_facts import examine_as_mrcfile
from xarray_mrc.checking.mrcfile_rules import mrcfile_findings
from xarray_mrc.checking.profiles import PROFILES, findings
from xarray_mrc.checking.repairs import repair_calls
from xarray_mrc.checking.report import SEVERITIES, Finding, Report
from xarray_mrc.storage import open_head
from xarray_mrc.storage.source import Openable

__all__ = ["validate"]


def validate(
    path: Openable,
    profile: str = "mrc2014",
    data: bool = True,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Check a file against the rules of the format.

    Parameters
    ----------
    path : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        The file, plain or compressed.
    profile : {"mrc2014", "emdb", "cryoet-portal", "mrcfile"}
        The standard; the further rules of the archives EMDB and CryoET Data Portal; or the
        verdict and the words of mrcfile's ``validate``.
    data : bool
        Whether to read the data too, and compare the header's statistics with them. Otherwise
        only the headers are read, whatever the size of the file.
    storage_options : mapping, optional
        How a URL is reached, as in `open_mrc`.

    Returns
    -------
    Report
        True if no error was found. A file that is not MRC gives an invalid report, not an
        exception. A finding names the call of `edit_header` that corrects it, if one does.

    Raises
    ------
    OSError
        The file can't be read.
    ValueError
        There is no such profile.
    MrcError
        The file changed while it was read, or the URL can't be read.

    Notes
    -----
    Data are read once, in slabs of 2 MiB on up to 8 cores: memory does not grow with their size. In
    two things the profile "mrcfile" is right where mrcfile is not: see `mrcfile_problems`.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, mx=2, my=1, mz=1, ispg=0)
    >>> report = validate(header.replace(cella=(2.0, 1.0, 1.0), nlabl=3).raw + bytes(2))
    >>> print(report)
    W L02 nlabl is 3, but no label contains text
    I D05 the header does not state minimum, maximum, mean, rms
    <bytes>: valid (mrc2014): 1 warning, 1 note
    """
    if profile not in PROFILES:
        raise ValueError(f"profile={profile!r}, expected one of {', '.join(PROFILES)}")
    head = open_head(path, storage_options=storage_options)
    source = head.source
    if profile == "mrcfile":
        facts, view = examine_as_mrcfile(source, data)
        found = list(mrcfile_findings(facts, view))
    else:
        facts = examine(source, data, head.data)
        calls = repair_calls(source, facts) if source.local_path is not None else {}
        advice = {id_: f"; {call} corrects it" for id_, call in calls.items()}
        found = [
            (check, severity, text + advice.get(check.id, ""))
            for check, severity, text in findings(facts, profile)
        ]
    found.sort(key=lambda row: SEVERITIES.index(row[1]))
    rows = (Finding(check.id, severity, check.title, text) for check, severity, text in found)
    header = facts.header if facts.has_header and not facts.not_mrc else None
    return Report(source.uri, profile, tuple(rows), data, header)
