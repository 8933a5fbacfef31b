"""The checks of sizes, data and containers."""

from __future__ import annotations

import math
from typing import Any, Literal

from xarray_mrc.codec.checks.base import ERROR, INFO, WARNING, Check, Facts, Test, when
from xarray_mrc.codec.checks.fields import scaled_bytes
from xarray_mrc.codec.containers import SUFFIX_OF
from xarray_mrc.codec.header import HEADER_SIZE
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import stated_statistics
from xarray_mrc.errors import MrcError

__all__ = ["CONTENT_CHECKS", "rounding_of"]

COMPLEX_MODES = (3, 4)
# Measured: the error of a mean computed in float32, relative to the largest density.
MEAN_ROUNDING = 2.5e-7


def missing_records(facts: Facts) -> str | None:
    layout = facts.layout
    if layout is None or layout.offset > HEADER_SIZE or facts.header.nsymbt <= 0:
        return None
    return (
        f"nsymbt says {facts.header.nsymbt} bytes of extended header, but the file has just its "
        f"header and data; the data were read from byte 1024"
    )


def extended_size(facts: Facts) -> str | None:
    claim = facts.header.nsymbt
    if claim < 0:
        return f"nsymbt is {claim}, expected 0 or more bytes"
    if facts.size is None or claim <= facts.size - HEADER_SIZE or missing_records(facts):
        return None
    return f"nsymbt is {claim}, but only {facts.size - HEADER_SIZE} bytes follow the header"


def missing_sections(facts: Facts) -> str | None:
    if facts.layout is None:
        return facts.cut_off or None
    volumes, depth = facts.layout.stored[:2]
    if volumes * depth == facts.header.nz:
        return None
    return f"the file is cut off: {volumes * depth} of {facts.header.nz} sections were read"


def trailing_bytes(facts: Facts) -> str | None:
    if facts.layout is None or facts.size is None or missing_sections(facts):
        return None
    rest = facts.size - facts.layout.end
    if rest <= 0:
        return None
    return f"the file has {rest} bytes more than the header describes; they were left out"


def rounding_of(rms: float, low: complex, high: complex) -> float:
    """Return by how much an RMS grows if its mean is rounded to float32, as some programs do."""
    return math.hypot(rms, MEAN_ROUNDING * max(abs(low), abs(high))) - rms


def stated_against(which: Literal["minimum", "maximum", "mean", "rms"], rtol: float) -> Test:
    """Return the test that compares one of the header's statistics with that of the data."""

    def test(facts: Facts) -> str | None:
        stated = getattr(stated_statistics(facts.header), which)
        if facts.data is None or not facts.data.count or stated is None:
            return None
        if facts.header.mode in COMPLEX_MODES:
            return None
        found = getattr(facts.data, which)
        low, high = facts.data.minimum, facts.data.maximum
        scale = max(abs(found), 1e-4 * (high - low))
        noise = rounding_of(found, low, high) if which == "rms" else 0
        if abs(stated - found) <= rtol * scale + noise:
            return None
        return f"the header's {which} is {stated:.7g}, but that of the data is {found:.7g}"

    return test


def unknown_statistics(facts: Facts) -> str | None:
    stated = stated_statistics(facts.header)
    unknown = [n for n in ("minimum", "maximum", "mean", "rms") if getattr(stated, n) is None]
    return f"the header does not state {', '.join(unknown)}" if unknown else None


def nonfinite_data(facts: Facts) -> str | None:
    if facts.data is None or facts.data.nonfinite == 0:
        return None
    return f"{facts.data.nonfinite} values are nan or infinite"


def no_records(facts: Facts) -> dict[str, Any]:
    header = facts.header
    try:
        data = Layout.from_header(header.replace(nsymbt=0))
    except MrcError:
        return {}
    return {"nsymbt": 0} if facts.size == data.end else {}


def measured(facts: Facts) -> dict[str, Any]:
    # A scaled map keeps the statistics of the original map: readers undo the scaling with them.
    if facts.data is None or scaled_bytes(facts):
        return {}
    return dict(facts.data.fields())


def container_suffix(facts: Facts) -> str | None:
    if facts.suffix is None:
        return None
    expected = SUFFIX_OF.get(facts.container, "")
    named = facts.suffix.lower() if facts.suffix.lower() in SUFFIX_OF.values() else ""
    if expected == named:
        return None
    return (
        f"the file is {facts.container or 'not compressed'}, but its name ends in {facts.suffix!r}"
    )


# fmt: off
CONTENT_CHECKS: tuple[Check, ...] = (
    Check("H01", ERROR, False, "the header is complete", lambda facts: (
        f"the file has {facts.size} bytes, expected a header of {HEADER_SIZE}"
        if facts.size is not None and facts.size < HEADER_SIZE else None)),
    Check("H24", ERROR, False, "the extended header is inside the file", extended_size, no_records),
    Check("S01", ERROR, True, "all sections are present", missing_sections),
    Check("S02", WARNING, True, "the extended header that NSYMBT states is present",
        missing_records,
        no_records, refuses_edit=True),
    Check("S03", WARNING, True, "the file ends with the data", trailing_bytes,
        refuses_edit=True),
    Check("D01", WARNING, False, "DMIN agrees with the data", stated_against("minimum", 0),
        measured),
    Check("D07", WARNING, False, "DMAX agrees with the data", stated_against("maximum", 0),
        measured),
    Check("D02", WARNING, False, "DMEAN agrees with the data", stated_against("mean", 0.01),
        measured),
    Check("D03", WARNING, False, "RMS agrees with the data", stated_against("rms", 0.01), measured),
    Check("D04", WARNING, False, "the data are finite", nonfinite_data),
    Check("D05", INFO, False, "the header states the statistics", unknown_statistics, measured),
    Check("D06", INFO, False, "NX of a transform is MX // 2 + 1", when(
        lambda h: h.mode in COMPLEX_MODES and h.nx != h.mx // 2 + 1,
        lambda h: f"nx is {h.nx}, expected mx // 2 + 1 = {h.mx // 2 + 1} of a transform")),
    Check("C01", WARNING, False, "the suffix names the container", container_suffix),
    Check("C02", ERROR, False, "the file can be decompressed", lambda facts: facts.damage or None),
    Check("C03", WARNING, False, "no bytes follow the compressed data", lambda facts: (
        f"the last {facts.surplus} stored bytes are no {facts.container} data; they were left out"
        if facts.surplus else None)),
)
# fmt: on
