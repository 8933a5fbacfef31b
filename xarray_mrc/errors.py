"""The exceptions and the warning that this package gives for a file.

Every message says what was found, what was expected and what to do. All errors about the
content of a file are `MrcError`; what the operating system refuses stays an `OSError`.
"""

__all__ = [
    "MrcChangedError",
    "MrcError",
    "MrcFormatError",
    "MrcHeaderError",
    "MrcModeError",
    "MrcTruncatedError",
    "MrcWarning",
]


class MrcError(ValueError):
    """The content of a file can't be read faithfully; the base of all errors here."""


class MrcFormatError(MrcError):
    """The file is not an MRC file, or is a relative of it that is not read (DeltaVision, ...)."""


class MrcHeaderError(MrcError):
    """A field of the header has a value with which the data can't be read."""


class MrcModeError(MrcHeaderError):
    """The data mode is unknown."""


class MrcTruncatedError(MrcError):
    """The file ends before the data that its header describes."""


class MrcChangedError(MrcError):
    """The file was changed, shrunk or replaced after it was opened."""


class MrcWarning(RuntimeWarning):
    """The file was read, but something in it changed how; one warning a file."""
