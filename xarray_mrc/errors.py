"""The exceptions and the warning of this package.

A message names the culprit, the expected value and the remedy. Errors in the content of a file are
`MrcError`; errors of the operating system remain `OSError`.
"""

import sys
import warnings

__all__ = [
    "MrcChangedError",
    "MrcError",
    "MrcFormatError",
    "MrcHeaderError",
    "MrcModeError",
    "MrcTruncatedError",
    "MrcWarning",
    "warn",
]


class MrcError(ValueError):
    """The content of a file cannot be read faithfully; the base of all errors here."""


class MrcFormatError(MrcError):
    """The file is not an MRC file, or has a related format that is not read (DeltaVision, ...)."""


class MrcHeaderError(MrcError):
    """A field of the header has a value that makes the data unreadable."""


class MrcModeError(MrcHeaderError):
    """The data mode is unknown."""


class MrcTruncatedError(MrcError):
    """The file ends before the data that its header describes."""


class MrcChangedError(MrcError):
    """The file was changed, shrunk or replaced after it was opened."""


class MrcWarning(RuntimeWarning):
    """The file was read, but something in it changed how; one warning a file."""


# Frames of these packages are passed over, so that a warning points at the user's own line.
SKIPPED_PACKAGES = ("xarray_mrc", "xarray")


def warn(message: str) -> None:
    """Issue an `MrcWarning` that points at the line of the caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in SKIPPED_PACKAGES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, MrcWarning, stacklevel=level)
