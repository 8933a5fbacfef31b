"""The value types of the extended header, and the table row that all its readers share.

A reader keeps one table of `Column` rows. The numpy dtype of a record, the decoding of every
field and the columns under common names are all derived from those rows and from nothing else.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xarray_mrc.codec.decimals import shortest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

#: The common names, whoever wrote the file, and the one unit that each of them has.
COMMON_UNITS: Mapping[str, str] = {
    "tilt_angle": "degree",
    "beta_tilt": "degree",
    "tilt_axis_angle": "degree",
    "stage_x": "micrometer",
    "stage_y": "micrometer",
    "stage_z": "micrometer",
    "defocus": "micrometer",
    "dose": "e-/angstrom^2",
    "prior_dose": "e-/angstrom^2",
    "exposure_time": "s",
    "magnification": "",
    "pixel_size": "angstrom",
    "acceleration_voltage": "V",
    "timestamp": "",
    "sub_frame_path": "",
    "piece_x": "pixel",
    "piece_y": "pixel",
    "piece_z": "pixel",
}

#: Days after which a day count no longer fits into datetime64[ns] (it would be the year 2262).
_LAST_DAY = 132_000.0
#: Likewise for a count of microseconds since 1970.
_LAST_MICROSECOND = 9_200_000_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class SectionField:
    """One column of per-section metadata.

    Parameters
    ----------
    name : str
        The common name, or the producer's field name as an identifier.
    values : ndarray
        One value per section, in native byte order.
    units : str
        The unit of the values, empty where there is none or none is known.
    long_name : str
        The producer's own words for the field.
    """

    name: str
    values: NDArray[Any]
    units: str
    long_name: str


@dataclass(frozen=True, slots=True, eq=False)
class Extended:
    """The content of an extended header.

    Parameters
    ----------
    kind : str
        The type of the bytes by the tests: "FEI1", "FEI2", "SERI", "AGAR",
        "CCP4" (symmetry records), "MRCO", "HDF5", "JSON", "none" (no bytes) or "unknown".
    common : tuple of SectionField
        Columns under the names and in the units of `COMMON_UNITS`.
    all : tuple of SectionField
        Every valid field under the producer's name and in the producer's unit.
    symmetry : tuple of str
        Symmetry operators such as "X,Y,Z", without blanks and in capitals.
    head : str
        The lines of a .mdoc before its first section; empty for extended headers.
    problem : str
        Empty, or one sentence with what was found, expected and done.
    """

    kind: str
    common: tuple[SectionField, ...] = ()
    all: tuple[SectionField, ...] = ()
    symmetry: tuple[str, ...] = ()
    head: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One row of a reader's table: the offset, type and validity of a field.

    Parameters
    ----------
    offset : int
        Byte offset in the record. A reader whose records are packed by what is present
        leaves it at 0 and lays the fields end to end.
    code : str
        numpy type code without a byte order; "?" is one byte that is zero or not.
    name : str
        The producer's words.
    bit : tuple of int
        The number of the bitmask, from 1, and of the bit in it, from 0, that makes it valid.
    units : str
        Unit of the decoded value.
    common : str
        Common name, when the field has one.
    shift : int
        Power of ten from `units` to the unit of the common name.
    times, per : int
        The decoded value is stored * times / per.
    time : str
        "days" for days since 1899-12-30, "microseconds" for microseconds since 1970.
    limits : tuple of float
        The least and the greatest credible value.
    zero_is_unknown : bool
        Zero means that the producer did not know the value.
    """

    offset: int
    code: str
    name: str
    bit: tuple[int, int] = (0, 0)
    units: str = ""
    common: str = ""
    shift: int = 0
    times: int = 1
    per: int = 1
    time: Literal["", "days", "microseconds"] = ""
    limits: tuple[float, float] = (-inf, inf)
    zero_is_unknown: bool = False

    @property
    def identifier(self) -> str:
        """The producer's words as a snake_case identifier."""
        return re.sub(r"[^0-9a-z]+", "_", self.name.lower()).strip("_")

    @property
    def nbytes(self) -> int:
        """Size of the field in bytes."""
        return np.dtype(self.stored("<")).itemsize

    def known(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return in which sections a field without a bitmask has a value."""
        return stored != 0 if self.zero_is_unknown else np.ones(len(stored), dtype=np.bool_)

    def stored(self, order: str) -> str:
        """Return the numpy type string of the field in the file."""
        if self.code == "?":
            return "u1"
        return self.code if self.code[0] == "S" else order + self.code


def record_dtype(
    columns: Iterable[Column], size: int, order: str, fixed: Mapping[str, tuple[str, int]]
) -> np.dtype[np.void]:
    """Build the dtype of one record.

    Parameters
    ----------
    columns : iterable of Column
        The fields, each with its offset.
    size : int
        Bytes from one record to the next.
    order : str
        Byte order of the fields.
    fixed : mapping
        Name to (type string with its own byte order, offset), for fields outside the table.

    Returns
    -------
    dtype
        A structured dtype of itemsize `size`.
    """
    rows = list(columns)
    return np.dtype(
        {
            "names": [row.name for row in rows] + list(fixed),
            "formats": [row.stored(order) for row in rows] + [code for code, _ in fixed.values()],
            "offsets": [row.offset for row in rows] + [offset for _, offset in fixed.values()],
            "itemsize": size,
        }
    )


def shift_point(values: NDArray[np.floating[Any]], shift: int = 0) -> NDArray[np.float64]:
    """Return floats with their decimal point moved, as on paper.

    The shortest decimal with a stored float is the one that its producer meant. The result is the
    float64 nearest to that decimal: float32(2.2e-6) shifted by 6 is 2.2, where a product would be
    2.2000000171829015.

    Parameters
    ----------
    values : ndarray of float32 or float64
        The values.
    shift : int
        Power of ten.

    Returns
    -------
    ndarray of float64
        The values times 10**shift.
    """
    if shift == 0 and values.dtype.itemsize == 8:
        return values.astype(np.float64)
    meant = shortest if values.dtype.itemsize == 4 else float
    different, place = np.unique(values, return_inverse=True)
    moved = []
    for value in map(meant, different.tolist()):
        digits, _, exponent = repr(value).partition("e")
        finite = math.isfinite(value)
        moved.append(float(f"{digits}e{int(exponent or 0) + shift}") if finite else value)
    return np.array(moved, dtype=np.float64)[place]


def decode(column: Column, stored: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any] | None:
    """Decode one field of all records.

    Parameters
    ----------
    column : Column
        Its row of the table.
    stored : ndarray
        The field as it lies in the records.
    valid : ndarray of bool
        In which sections it is valid.

    Returns
    -------
    ndarray or None
        The values in native byte order, with nan, NaT or an empty string where the field is not
        valid; None when it is valid nowhere.
    """
    if not valid.any():
        return None
    if column.time:
        times = _times(column.time, stored, valid)
        return None if np.isnat(times).all() else times
    if column.code[0] == "S":
        texts = [bytes(item).split(b"\0", 1)[0].decode("latin-1") for item in stored]
        return np.array([t if v else "" for t, v in zip(texts, valid, strict=True)], np.str_)
    values: NDArray[Any]
    if column.code == "?":
        values = stored != 0
    elif column.times != 1 or column.per != 1:
        values = stored.astype(np.float64) * column.times / column.per
    elif column.code in ("i2", "u2"):
        values = stored.astype(np.int32)  # so that differences of positions do not wrap
    elif column.code == "f4":
        values = shift_point(stored)
    else:
        values = stored.astype(stored.dtype.newbyteorder("="))
    return values if valid.all() else np.where(valid, values.astype(np.float64), np.nan)


def _times(unit: str, stored: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.datetime64]:
    """Return day or microsecond counts as datetime64[ns]; a count of zero is not a time."""
    if unit == "days":
        known = valid & (stored > 0) & (stored < _LAST_DAY)
        count = np.rint(np.where(known, stored, 0.0) * 86_400_000).astype(np.int64)
        times = (np.datetime64("1899-12-30", "ms") + count).astype("datetime64[ns]")
    else:
        known = valid & (stored > 0) & (stored < _LAST_MICROSECOND)
        count = np.where(known, stored, 0).astype(np.int64)
        times = (np.datetime64("1970-01-01", "us") + count).astype("datetime64[ns]")
    return np.where(known, times, np.datetime64("NaT", "ns"))


def own(column: Column, values: NDArray[Any]) -> SectionField:
    """Return a column under the producer's name and unit."""
    return SectionField(column.identifier, values, column.units, column.name)


def shared(column: Column, values: NDArray[Any]) -> Iterator[SectionField]:
    """Yield a column under its common name and unit, if it has one."""
    if column.common:
        exact = shift_point(values, column.shift) if column.shift else values.copy()
        yield SectionField(column.common, exact, COMMON_UNITS[column.common], column.name)
