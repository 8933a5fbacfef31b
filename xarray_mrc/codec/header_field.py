"""The descriptor of one field of the header."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from xarray_mrc.codec.modes import ByteOrder

if TYPE_CHECKING:
    from xarray_mrc.codec.header import Header

__all__ = ["Field"]

T = TypeVar("T")


class Field(Generic[T]):
    """One field of the header, as a descriptor with its offset, type and meaning.

    Parameters
    ----------
    offset : int
        Bytes from the start of the header.
    code : str
        `struct` format without byte order, such as ``"i"``, ``"3f"`` or ``"4s"``.
    doc : str
        The meaning, in the specification's terms.
    unit : str, optional
        The physical unit, empty when there is none.
    """

    __slots__ = ("code", "count", "doc", "layouts", "name", "offset", "unit")

    def __init__(self, offset: int, code: str, doc: str, unit: str = "") -> None:
        self.offset = offset
        self.code = code
        self.doc = doc
        self.unit = unit
        self.name = ""
        self.layouts = {order: struct.Struct(order + code) for order in ("<", ">")}
        self.count = len(self.layouts["<"].unpack(bytes(self.nbytes)))

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def nbytes(self) -> int:
        """Bytes that the field takes."""
        return self.layouts["<"].size

    @overload
    def __get__(self, header: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, header: Header, owner: type) -> T: ...
    def __get__(self, header: Header | None, owner: type) -> Field[T] | T:
        if header is None:
            return self
        found: Any = self.layouts[header.byteorder].unpack_from(header.raw, self.offset)
        value: T = found if self.count > 1 else found[0]
        return value

    def pack_into(self, buffer: bytearray, byteorder: ByteOrder, value: Any) -> None:
        """Write a value at the field's offset; `struct.error` or OverflowError if too large."""
        if isinstance(value, bytes) and len(value) > self.nbytes:
            raise OverflowError(f"it has {len(value)} bytes")
        values = value if self.count > 1 else (value,)
        self.layouts[byteorder].pack_into(buffer, self.offset, *values)
