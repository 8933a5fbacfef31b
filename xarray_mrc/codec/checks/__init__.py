"""The checks of a file: one table that reader, validator and repair go through.

`reading` marks the checks whose finding changes how the file is read; the reader gives these as
its one warning. `docs/checks.md` shows the table.
"""

from xarray_mrc.codec.checks.base import Check, Facts, Severity
from xarray_mrc.codec.checks.table import CHECKS, fixes, reading_notes

__all__ = ["CHECKS", "Check", "Facts", "Severity", "fixes", "reading_notes"]
