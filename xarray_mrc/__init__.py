"""MRC/CCP4 files of electron microscopy in xarray: lazy, labelled, at any size.

>>> import xarray as xr
>>> ds = xr.open_dataset("tomo.mrc", engine="mrc", chunks={})  # doctest: +SKIP
"""

from importlib.metadata import PackageNotFoundError, version

from xarray_mrc.checking.array_statistics import statistics
from xarray_mrc.checking.report import Report
from xarray_mrc.checking.validation import validate
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.statistics import Statistics
from xarray_mrc.conversion.converter import convert
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
from xarray_mrc.reading.open_file import read_header
from xarray_mrc.writing.header_edit import HeaderDifference, edit_header
from xarray_mrc.writing.writer import to_mrc

try:
    __version__ = version("xarray-mrc")
except PackageNotFoundError:  # used from a source tree that was not installed
    __version__ = "unknown"

__all__ = [
    "Header",
    "HeaderDifference",
    "MrcChangedError",
    "MrcError",
    "MrcFormatError",
    "MrcHeaderError",
    "MrcModeError",
    "MrcTruncatedError",
    "MrcWarning",
    "Report",
    "Statistics",
    "__version__",
    "convert",
    "edit_header",
    "open_mrc",
    "read_header",
    "statistics",
    "to_mrc",
    "validate",
]
