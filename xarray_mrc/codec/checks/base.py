"""The types of the table: a check, and the facts that it tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from xarray_mrc.codec.extended import Extended
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import Statistics

__all__ = ["Check", "Facts", "Fix", "Severity", "Test"]

Severity = Literal["error", "warning", "info"]
Test = Callable[["Facts"], str | None]
Fix = Callable[["Facts"], dict[str, Any]]

ERROR: Severity = "error"
WARNING: Severity = "warning"
INFO: Severity = "info"

ENDIAN = {"<": "little", ">": "big"}
NO_RECORDS = Extended("none")
EXTENDED_TYPES = (b"CCP4", b"MRCO", b"SERI", b"AGAR", b"FEI1", b"FEI2", b"HDF5")


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a file that the checks test.

    Attributes
    ----------
    header : Header
        The header, in the byte order that was found.
    layout : Layout or None
        How the data are read; None if they cannot be read.
    size : int or None
        Bytes of the file, decompressed; None if not known.
    extended : Extended
        The extended header, decoded.
    sign_is_given : bool
        Whether the user passed the sign of bytes.
    data : Statistics or None
        Statistics of the data, if they were read.
    container : str
        Container by its first bytes ("gzip", ...), or "".
    suffix : str or None
        Last suffix of the file's name; None if it has none, as bytes in memory.
    not_mrc, cut_off, damage : str
        Why the file is not an MRC file, why not even one section could be read, and why it could
        not be decompressed; empty if there is no such problem.
    surplus : int
        Stored bytes after the end of the compressed data.
    has_header : bool
        Whether there is a header at all; if not, `header` is zeros.
    """

    header: Header
    layout: Layout | None = None
    size: int | None = None
    extended: Extended = NO_RECORDS
    sign_is_given: bool = False
    data: Statistics | None = None
    container: str = ""
    suffix: str | None = None
    not_mrc: str = ""
    cut_off: str = ""
    damage: str = ""
    surplus: int = 0
    has_header: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes
    ----------
    id : str
        Starts with H for the header, L labels, S size, D data, C container, P what only some
        profiles ask for.
    severity : {"error", "warning", "info"} or None
        None if only profiles that name the check run it.
    reading : bool
        Whether a finding changes how the file is read.
    title : str
        What should hold.
    test : callable
        Returns a sentence on what was found and expected, or None.
    fix : callable, optional
        Returns the header fields that correct a finding; empty if no value is certain.
    refuses_edit : bool
        Whether `edit_header` refuses an edit that leads to a finding, as it does for every error.
    """

    id: str
    severity: Severity | None
    reading: bool
    title: str
    test: Test
    fix: Fix | None = None
    refuses_edit: bool = False


def when(broken: Callable[[Header], bool], text: Callable[[Header], str]) -> Test:
    """Return the test of a rule about the header alone."""
    return lambda facts: text(facts.header) if broken(facts.header) else None
