"""MRC/CCP4 files of electron microscopy in xarray: lazy, labelled, at any size.

>>> import xarray as xr
>>> ds = xr.open_dataset("tomo.mrc", engine="mrc", chunks={})  # doctest: +SKIP
"""

from importlib.metadata import PackageNotFoundError, version

from xarray_mrc.codec.header import Header
from xarray_mrc.errors import (
    MrcChangedError,
    MrcError,
    MrcFormatError,
    MrcHeaderError,
    MrcModeError,
    MrcTruncatedError,
    MrcWarning,
)
from xarray_mrc.opening import open_mrc
from xarray_mrc.reader import read_header
from xarray_mrc.report import Report
from xarray_mrc.validator import validate

try:
    __version__ = version("xarray-mrc")
except PackageNotFoundError:  # used from a source tree that was not installed
    __version__ = "unknown"

__all__ = [
    "Header",
    "MrcChangedError",
    "MrcError",
    "MrcFormatError",
    "MrcHeaderError",
    "MrcModeError",
    "MrcTruncatedError",
    "MrcWarning",
    "Report",
    "__version__",
    "open_mrc",
    "read_header",
    "validate",
]
