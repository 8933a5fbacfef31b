"""Find which findings `edit_header` mends, and by which call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from xarray_mrc.checking.facts import examine, lay_out
from xarray_mrc.codec.checks import CHECKS, Facts, fixes
from xarray_mrc.codec.checks.content import missing_sections
from xarray_mrc.codec.header import Header
from xarray_mrc.errors import MrcError
from xarray_mrc.storage import Head, Source
from xarray_mrc.storage.compressed.encoders import encoder_for
from xarray_mrc.storage.compressed.source import CompressedSource

__all__ = ["repair_calls"]

# Checks of the kind that the header states.
KIND_CHECKS = ("H15", "H17", "H50")


def repair_calls(source: Source, facts: Facts) -> dict[str, str]:
    """Return the call that mends a finding, by the id of its check.

    The repair is tried on the facts of the file, so that a call is named only if the check finds
    nothing after it.

    Parameters
    ----------
    source : Source
        A file at a path of this computer.
    facts : Facts
        Its facts, with or without data.

    Returns
    -------
    dict

    Examples
    --------
    >>> from xarray_mrc.storage import open_source
    >>> raw = Header.blank().replace(nx=1, ny=1, nz=1, nversion=0).raw + bytes(1)
    >>> repair_calls(open_source(raw), examine(open_source(raw), False))
    {'H06': 'edit_header(path, fix=True)'}
    """
    broken = [check for check in CHECKS if facts.has_header and check.test(facts)]
    if not any(check.fix or check.id in KIND_CHECKS for check in broken):
        return {}
    rewrite = ""
    if isinstance(source, CompressedSource):
        try:
            encoder_for(source.container)
        except (ValueError, ImportError):
            return {}
        rewrite = ", rewrite=True"
    calls = {}
    for call, after in attempts(source, facts):
        for check in broken:
            if check.id not in calls and not check.test(after):
                calls[check.id] = f"edit_header(path, {call}{rewrite})"
    if facts.layout and not missing_sections(facts):
        for check in broken:
            if check.id in KIND_CHECKS:
                calls[check.id] = f"edit_header(path, kind={facts.layout.kind!r}{rewrite})"
    return calls


def attempts(source: Source, facts: Facts) -> Iterator[tuple[str, Facts]]:
    """Yield the arguments of each possible call, and the facts of the file after it."""
    # Without data less may be known, as the size of a compressed file. Facts that were gathered
    # without data make both attempts the same.
    tries = {"fix=True": examine(source, False), "fix=True, data=True": facts}
    for call, before in tries.items():
        header = before.header.replace(**fixes(before))
        try:
            is_read_alike = Header.decode(header.raw, facts.size).byteorder == header.byteorder
            after = lay_out(replace(facts, header=header), Head(source))
        except MrcError:
            continue
        # Nothing is written to a file that would not be readable.
        if (
            header != before.header
            and is_read_alike
            and after.layout
            and not missing_sections(after)
        ):
            yield call, after
