"""The numpy dtypes of the main header and of FEI's records, made from the codec's tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from xarray_mrc.codec.extended import fei
from xarray_mrc.codec.header import Field, Header
from xarray_mrc.codec.labels import LABEL_COUNT, LABEL_SIZE
from xarray_mrc.mrcfile.utils import normalise_byte_order

__all__ = [
    "HEADER_DTYPE",
    "NSTART_DTYPE",
    "VOXEL_SIZE_DTYPE",
    "fei1_dtype_big_endian",
    "fei2_dtype_big_endian",
    "fei_dtype_dict",
    "get_ext_header_dtype",
]

# Differences from the codec's table: names, fields with parts, and fields of another dtype.
NAMES = {"map_id": "map", "label_bytes": "label"}
PARTS = {"cella": "xyz", "cellb": ("alpha", "beta", "gamma"), "origin": "xyz"}
DTYPES = {"machst": ("u1", (4,)), "label_bytes": (f"S{LABEL_SIZE}", (LABEL_COUNT,))}
# Fields of IMOD, SerialEM and CCP4, which are opaque bytes in this interface.
OPAQUE = frozenset(
    {"lskflg", "creatid", "skew_matrix", "nint", "nreal", "skew_translation", "imod_stamp",
     "imod_flags", "scale_top", "idtype", "tilt_angles"}
)  # fmt: skip

# FEI's records start with these. Six of their numbers are one opaque field here.
FEI_START = ((0, "Metadata size", "i4"), (4, "Metadata version", "i4"))
UNUSED_RANGE = "Unused range"


def header_dtype() -> np.dtype[np.void]:
    """Return the dtype of the main header, in native byte order."""
    rows: list[tuple[Any, ...]] = []
    end = extras = 0
    for field in Header.fields():
        if field.name in OPAQUE:
            continue
        if field.offset > end:
            extras += 1
            rows.append((f"extra{extras}", f"V{field.offset - end}"))
        rows.append((NAMES.get(field.name, field.name), *dtype_of(field)))
        end = field.offset + field.nbytes
    return np.dtype(rows)


def dtype_of(field: Field[Any]) -> tuple[Any, ...]:
    """Return the dtype of a field, and its shape if it has one."""
    if field.name in PARTS:
        return ([(part, field.code[-1]) for part in PARTS[field.name]],)
    if field.name in DTYPES:
        return DTYPES[field.name]
    return (f"S{field.nbytes}" if field.code.endswith("s") else field.code,)


HEADER_DTYPE = header_dtype()
VOXEL_SIZE_DTYPE = np.dtype([(axis, "f4") for axis in "xyz"])
NSTART_DTYPE = np.dtype([(axis, "i4") for axis in "xyz"])


def get_ext_header_dtype(exttyp: bytes, byte_order: str = "=") -> np.dtype[np.void] | None:
    """Return the dtype of the records of an extended header, one per section.

    Parameters
    ----------
    exttyp : bytes
        The type, four bytes.
    byte_order : {"=", "<", ">"}
        Byte order of the file. FEI's bitmasks are little-endian in every file.

    Returns
    -------
    dtype or None
        None if the type is unknown.

    Examples
    --------
    >>> get_ext_header_dtype(b"FEI2").itemsize
    888
    """
    order = normalise_byte_order(byte_order)
    for size, name in fei.SIZES.items():
        if exttyp == name.encode():
            return fei_dtype(size, order)
    return None


@cache
def fei_dtype(size: int, order: str) -> np.dtype[np.void]:
    """Return the dtype of one of FEI's records, which are not aligned."""
    rows = [(offset, name, order + code) for offset, name, code in FEI_START]
    rows += [(offset, f"Bitmask {number}", "<u4") for number, offset in fei.MASKS.items()]
    unused = [column for column in fei.COLUMNS if column.name.startswith(UNUSED_RANGE)]
    rows.append((unused[0].offset, UNUSED_RANGE, f"S{sum(c.nbytes for c in unused)}"))
    rows += [
        (column.offset, column.name, "b1" if column.code == "?" else column.stored(order))
        for column in fei.COLUMNS
        if column not in unused and column.offset < size
    ]
    return np.dtype([(name, code) for _, name, code in sorted(rows)])


fei1_dtype_big_endian, fei2_dtype_big_endian = (fei_dtype(size, ">") for size in sorted(fei.SIZES))
fei_dtype_dict = fei2_dtype_big_endian.descr
