"""Conversions of modes, byte orders, shapes and texts."""

from __future__ import annotations

import math
import string
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from xarray_mrc.codec.header import STAMP_ORDERS
from xarray_mrc.codec.kinds import STACK_SPACE_GROUPS
from xarray_mrc.codec.modes import MODES, ByteOrder
from xarray_mrc.mrcfile.constants import IMAGE_STACK_SPACEGROUP

__all__ = [
    "byte_order_from_machine_stamp",
    "byte_orders_equal",
    "bytes_from_string",
    "data_dtype_from_header",
    "data_shape_from_header",
    "dtype_from_mode",
    "is_printable_ascii",
    "machine_stamp_from_byte_order",
    "mode_from_dtype",
    "normalise_byte_order",
    "pretty_machine_stamp",
    "printable_chars",
    "printable_string_from_bytes",
    "spacegroup_is_volume_stack",
]

# The modes that have a numpy dtype. Unsigned bytes are widened.
_mode_to_dtype = {
    number: np.dtype(mode.sample.dtype)
    for number, mode in MODES.items()
    if mode.sample.parts == 1 and not mode.sample.packed
}
_dtype_to_mode = {dtype.str[1:]: number for number, dtype in _mode_to_dtype.items()} | {"u1": 6}

printable_chars = " " + string.ascii_letters + string.digits + string.punctuation

# The first stamp of each order is the one that is written.
_byte_order_to_machine_stamp: dict[str, bytearray] = {
    order: bytearray(stamp + bytes(2)) for stamp, order in reversed(STAMP_ORDERS.items())
}


def data_dtype_from_header(header: Any) -> np.dtype[Any]:
    """Return the dtype of the data, in the byte order of the header.

    Parameters
    ----------
    header : recarray
        A header like `MrcObject.header`.

    Returns
    -------
    dtype

    Raises
    ------
    ValueError
        The mode has no dtype.

    Examples
    --------
    >>> from xarray_mrc.mrcfile.dtypes import HEADER_DTYPE
    >>> header = np.zeros((), HEADER_DTYPE).view(np.recarray)
    >>> header.mode = 2
    >>> data_dtype_from_header(header)
    dtype('float32')
    """
    return dtype_from_mode(header.mode).newbyteorder(header.mode.dtype.byteorder)


def data_shape_from_header(header: Any) -> tuple[int, ...]:
    """Return the shape of the data: 2-D for a single image, 4-D for a stack of volumes.

    Parameters
    ----------
    header : recarray
        A header like `MrcObject.header`.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> from xarray_mrc.mrcfile.dtypes import HEADER_DTYPE
    >>> header = np.zeros((), HEADER_DTYPE).view(np.recarray)
    >>> header.nx, header.ny, header.nz, header.mz, header.ispg = 5, 4, 6, 3, 401
    >>> data_shape_from_header(header)
    (2, 3, 4, 5)
    """
    nx, ny, nz, mz = (int(header[name]) for name in ("nx", "ny", "nz", "mz"))
    if spacegroup_is_volume_stack(header.ispg) and mz > 0 and nz % mz == 0:
        return (nz // mz, mz, ny, nx)
    if header.ispg == IMAGE_STACK_SPACEGROUP and nz == 1:
        return (ny, nx)
    return (nz, ny, nx)


def mode_from_dtype(dtype: DTypeLike) -> int:
    """Return the mode that stores a dtype of any byte order; mode 6 also stores unsigned bytes.

    Parameters
    ----------
    dtype : dtype
        Of the data.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        The dtype has no mode.

    Examples
    --------
    >>> mode_from_dtype(np.float32)
    2
    """
    dtype = np.dtype(dtype)
    mode = _dtype_to_mode.get(f"{dtype.kind}{dtype.itemsize}")
    if mode is None:
        raise ValueError(f"dtype '{dtype}' cannot be converted to an MRC file mode")
    return mode


def dtype_from_mode(mode: Any) -> np.dtype[Any]:
    """Return the dtype of a mode, in native byte order.

    Parameters
    ----------
    mode : number or array of one number
        The mode.

    Returns
    -------
    dtype

    Raises
    ------
    ValueError
        The mode has no dtype.

    Examples
    --------
    >>> dtype_from_mode(12)
    dtype('float16')
    """
    numbers = np.asarray(mode)
    if numbers.size != 1:
        raise ValueError("Mode array should contain exactly one item")
    dtype = _mode_to_dtype.get(numbers.item())
    if dtype is None:
        raise ValueError(f"Unrecognised mode '{numbers.item()}'")
    return dtype


def pretty_machine_stamp(machst: Iterable[int]) -> str:
    r"""Return a machine stamp as text.

    Parameters
    ----------
    machst : bytes or array of uint8
        The stamp.

    Returns
    -------
    str

    Examples
    --------
    >>> pretty_machine_stamp(b"DA\0\0")
    '0x44 0x41 0x00 0x00'
    """
    return " ".join(f"0x{byte:02x}" for byte in machst)


def byte_order_from_machine_stamp(machst: Iterable[int]) -> ByteOrder:
    """Return the byte order that a machine stamp states.

    Parameters
    ----------
    machst : bytes or array of uint8
        The stamp; its last two bytes are ignored.

    Returns
    -------
    {"<", ">"}

    Raises
    ------
    ValueError
        The stamp is unknown.

    Examples
    --------
    >>> byte_order_from_machine_stamp(bytes([0x11, 0x11, 0, 0]))
    '>'
    """
    stamp = bytes(bytearray(machst))
    order = STAMP_ORDERS.get(stamp[:2])
    if order is None:
        raise ValueError(f"Unrecognised machine stamp: {pretty_machine_stamp(stamp)}")
    return order


def machine_stamp_from_byte_order(byte_order: str = "=") -> bytearray:
    """Return the machine stamp of a byte order.

    Parameters
    ----------
    byte_order : {"=", "<", ">"}
        The order.

    Returns
    -------
    bytearray

    Examples
    --------
    >>> pretty_machine_stamp(machine_stamp_from_byte_order("<"))
    '0x44 0x44 0x00 0x00'
    """
    return _byte_order_to_machine_stamp[normalise_byte_order(byte_order)]


def byte_orders_equal(a: str, b: str) -> bool:
    """Return True if two byte orders are the same on this computer.

    Parameters
    ----------
    a, b : {"=", "<", ">"}
        The orders.

    Returns
    -------
    bool

    Examples
    --------
    >>> byte_orders_equal("<", ">")
    False
    """
    return normalise_byte_order(a) == normalise_byte_order(b)


def normalise_byte_order(byte_order: str) -> ByteOrder:
    """Return a byte order as "<" or ">".

    Parameters
    ----------
    byte_order : {"=", "<", ">"}
        The order.

    Returns
    -------
    {"<", ">"}

    Raises
    ------
    ValueError
        It is not one of these.

    Examples
    --------
    >>> normalise_byte_order(">")
    '>'
    """
    if byte_order not in ("<", ">", "="):
        raise ValueError(f"Unrecognised byte order indicator '{byte_order}'")
    if byte_order == "=":
        return "<" if sys.byteorder == "little" else ">"
    return "<" if byte_order == "<" else ">"


def spacegroup_is_volume_stack(ispg: Any) -> bool:
    """Return True if a space group stands for a stack of volumes.

    Parameters
    ----------
    ispg : int
        The space group.

    Returns
    -------
    bool

    Examples
    --------
    >>> spacegroup_is_volume_stack(401)
    True
    """
    return int(ispg) in STACK_SPACE_GROUPS


def is_printable_ascii(string_: str) -> bool:
    r"""Return True if a text contains only printable ASCII characters.

    Parameters
    ----------
    string_ : str
        The text.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_printable_ascii("two\nlines")
    False
    """
    return str.isprintable(string_) and string_.isascii()


def printable_string_from_bytes(bytes_: bytes) -> str:
    r"""Return the printable ASCII characters among some bytes.

    Parameters
    ----------
    bytes_ : bytes
        The bytes, of any encoding.

    Returns
    -------
    str

    Examples
    --------
    >>> printable_string_from_bytes(b"cell\0\xb0")
    'cell'
    """
    return "".join(filter(str.isprintable, bytes(bytes_).decode("ascii", "ignore")))


def bytes_from_string(string_: str) -> bytes:
    """Return a text as ASCII; raise UnicodeError if it contains other characters.

    Parameters
    ----------
    string_ : str
        The text.

    Returns
    -------
    bytes

    Examples
    --------
    >>> bytes_from_string("FEI1")
    b'FEI1'
    """
    return string_.encode("ascii")


def data_nbytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the size of data in bytes, as an int that cannot overflow."""
    return math.prod(shape) * dtype.itemsize
