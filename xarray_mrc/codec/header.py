"""The 1024-byte main header: one table of fields, and the value `Header` that it describes.

Source of the table: the MRC2014 specification (Cheng et al. 2015, J. Struct. Biol. 192:146) with
its 20141 revision, the CCP4 map format for words 25 to 37, and IMOD's ``mrc_format`` document for
the fields from byte 128 to 195. Offsets are bytes from the start of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from xarray_mrc.codec.decimals import Triple, voxel_size
from xarray_mrc.codec.foreign import foreign_format
from xarray_mrc.codec.header_field import Field
from xarray_mrc.codec.labels import decode_labels
from xarray_mrc.codec.modes import FOREIGN_MODES, MODES, ByteOrder
from xarray_mrc.errors import MrcFormatError, MrcHeaderError, MrcTruncatedError

__all__ = [
    "HEADER_SIZE",
    "IMOD_STAMP",
    "ByteOrder",
    "Field",
    "Header",
    "guess_byteorder",
    "has_map_id",
    "layout_bytes",
    "score",
    "stamp_order",
]

HEADER_SIZE = 1024
IMOD_STAMP = 1146047817  # the bytes "IMOD" in either byte order
STANDARD_VERSIONS = range(20140, 20500)  # NVERSION is the year times ten plus a counter

# Shown only if the header says that they are there.
IMOD_FIELDS = ("imod_stamp", "imod_flags", "idtype", "tilt_angles")
SKEW_FIELDS = ("skew_matrix", "skew_translation")


class Header:
    """The main header of an MRC file: 1024 bytes and the byte order to read them in.

    An immutable, hashable, picklable value. All bytes are kept, junk included, so that encoding
    returns them unchanged. A field is decoded when it is read.

    Parameters
    ----------
    raw : bytes
        The 1024 bytes.
    byteorder : {"<", ">"}
        Little or big endian. `Header.decode` finds it from the numbers.

    Examples
    --------
    >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mode=2)
    >>> header.nx, header.mode
    (4, 2)
    >>> Header.decode(header.encode()) == header
    True
    """

    __slots__ = ("byteorder", "raw")
    raw: bytes
    byteorder: ByteOrder

    nx = Field[int](0, "i", "columns, the fastest axis of the file")
    ny = Field[int](4, "i", "rows")
    nz = Field[int](8, "i", "sections, in total over a stack")
    mode = Field[int](12, "i", "data mode")
    nxstart = Field[int](16, "i", "first column, in grid intervals")
    nystart = Field[int](20, "i", "first row, in grid intervals")
    nzstart = Field[int](24, "i", "first section, in grid intervals")
    mx = Field[int](28, "i", "grid intervals along X of the cell")
    my = Field[int](32, "i", "grid intervals along Y of the cell")
    mz = Field[int](
        36, "i", "grid intervals along Z of the cell; sections of one volume in a stack"
    )
    cella = Field[Triple](40, "3f", "cell lengths a, b, c", "angstrom")
    cellb = Field[Triple](52, "3f", "cell angles alpha, beta, gamma", "degree")
    mapc = Field[int](64, "i", "axis of the columns: 1, 2, 3 for X, Y, Z")
    mapr = Field[int](68, "i", "axis of the rows")
    maps = Field[int](72, "i", "axis of the sections")
    dmin = Field[float](76, "f", "least density; unknown if above dmax")
    dmax = Field[float](80, "f", "greatest density; unknown if below dmin")
    dmean = Field[float](84, "f", "mean density; unknown if below dmin and dmax")
    ispg = Field[int](
        88, "i", "space group: 0 images, 1 to 230 a volume, 401 to 630 a volume stack"
    )
    nsymbt = Field[int](92, "i", "size of the extended header", "byte")
    lskflg = Field[int](96, "i", "CCP4: 1 if a skew transformation follows")
    creatid = Field[int](96, "h", "IMOD, DeltaVision: creator id")
    skew_matrix = Field[tuple[float, ...]](100, "9f", "CCP4: skew matrix, if lskflg is 1")
    exttyp = Field[bytes](104, "4s", "type of the extended header")
    nversion = Field[int](108, "i", "format version: year times ten plus a counter")
    nint = Field[int](128, "h", "SERI: bytes a section; AGAR: integers a section")
    nreal = Field[int](130, "h", "SERI: bit flags; AGAR: floats a section")
    skew_translation = Field[Triple](136, "3f", "CCP4: skew translation", "angstrom")
    imod_stamp = Field[int](152, "i", "1146047817 in a file of IMOD or SerialEM")
    imod_flags = Field[int](156, "i", "IMOD: bit flags")
    scale_top = Field[int](160, "i", "127 in a map scaled to bytes by mapmode2to0")
    idtype = Field[int](160, "h", "IMOD: 0 mono, 1 tilt, 2 tilts, 3 lina, 4 lins")
    tilt_angles = Field[tuple[float, ...]](172, "6f", "IMOD: original and current tilt", "degree")
    origin = Field[Triple](
        196, "3f", "place of the first voxel; in modes 3 and 4 the phase origin", "angstrom"
    )
    map_id = Field[bytes](208, "4s", "the characters 'MAP '")
    machst = Field[bytes](212, "4s", "machine stamp: 44 44 00 00 little endian, 11 11 00 00 big")
    rms = Field[float](216, "f", "standard deviation of the density; unknown if negative")
    nlabl = Field[int](220, "i", "labels in use")
    label_bytes = Field[bytes](224, "800s", "ten labels of 80 characters")

    def __init__(self, raw: bytes, byteorder: ByteOrder) -> None:
        if len(raw) != HEADER_SIZE:
            raise MrcTruncatedError(
                f"the file has {len(raw)} bytes, expected a header of {HEADER_SIZE}: it is empty, "
                f"cut off, or not an MRC file"
            )
        object.__setattr__(self, "raw", bytes(raw))
        object.__setattr__(self, "byteorder", byteorder)

    @classmethod
    def fields(cls) -> Iterator[Field[Any]]:
        """Return the table of fields, in the order of their offsets."""
        return (field for field in vars(cls).values() if isinstance(field, Field))

    @classmethod
    def blank(cls, byteorder: ByteOrder = "<") -> Header:
        """Return a header with the format's marks, plain axes and unknown statistics."""
        stamp = b"\x44\x44\x00\x00" if byteorder == "<" else b"\x11\x11\x00\x00"
        return cls(bytes(HEADER_SIZE), byteorder).replace(
            map_id=b"MAP ", machst=stamp, nversion=20141, mapc=1, mapr=2, maps=3, ispg=1,
            cellb=(90.0, 90.0, 90.0), dmin=0.0, dmax=-1.0, dmean=-2.0, rms=-1.0,
        )  # fmt: skip

    @classmethod
    def decode(cls, raw: bytes, size: int | None = None) -> Header:
        """Decode the first bytes of a file as a header, with the byte order found from the numbers.

        Parameters
        ----------
        raw : bytes
            The first 1024 bytes (more are ignored).
        size : int, optional
            Bytes of the whole file, where known; a size that fits decides between byte orders.

        Returns
        -------
        Header

        Raises
        ------
        MrcTruncatedError
            There are fewer than 1024 bytes.
        MrcFormatError
            In neither byte order do the numbers make an MRC header.

        Examples
        --------
        >>> Header.decode(Header.blank(">").replace(nx=4, ny=3, nz=2, mode=2).raw).byteorder
        '>'
        """
        return decode_header(bytes(raw[:HEADER_SIZE]), size)

    def encode(self) -> bytes:
        """Return the 1024 bytes, each as it was read or set."""
        return self.raw

    def replace(self, **values: Any) -> Header:
        """Return a header with some fields changed and every other byte kept.

        Parameters
        ----------
        **values
            New values by field name; `Header.fields` lists them.

        Returns
        -------
        Header

        Examples
        --------
        >>> Header.blank().replace(cella=(10.0, 10.0, 20.0)).cella
        (10.0, 10.0, 20.0)
        """
        buffer = bytearray(self.raw)
        for name, value in values.items():
            field = vars(Header).get(name)
            if not isinstance(field, Field):
                known = ", ".join(f.name for f in Header.fields())
                raise TypeError(f"{name!r} is no field of the MRC header; the fields are {known}")
            try:
                field.pack_into(buffer, self.byteorder, value)
            except (struct.error, OverflowError, TypeError) as error:
                raise ValueError(
                    f"{name}={value!r} does not fit the header's {field.nbytes} bytes: {error}"
                ) from error
        return Header(bytes(buffer), self.byteorder)

    @property
    def n(self) -> tuple[int, int, int]:
        """Columns, rows and sections."""
        return (self.nx, self.ny, self.nz)

    @property
    def nstart(self) -> tuple[int, int, int]:
        """First column, row and section in grid intervals; the order is the file's, not x, y, z."""
        return (self.nxstart, self.nystart, self.nzstart)

    @property
    def m(self) -> tuple[int, int, int]:
        """Grid intervals of the cell along X, Y, Z."""
        return (self.mx, self.my, self.mz)

    @property
    def mapcrs(self) -> tuple[int, int, int]:
        """Axes of columns, rows and sections: 1, 2, 3 for X, Y, Z."""
        return (self.mapc, self.mapr, self.maps)

    @property
    def has_imod_stamp(self) -> bool:
        """True if IMOD's fields (flags, tilt angles) are valid."""
        return self.imod_stamp == IMOD_STAMP

    @property
    def is_standard_version(self) -> bool:
        """True if NVERSION declares MRC2014 or a later revision."""
        return self.nversion in STANDARD_VERSIONS

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels with text in them, decoded as Latin-1 and stripped."""
        return decode_labels(self.label_bytes)

    @property
    def voxel_size(self) -> Triple:
        """Voxel size along X, Y, Z in angstrom; nan where the header does not say."""
        return voxel_size(self.cella, self.m)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Header can't be changed; use header.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Header can't be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Header):
            return NotImplemented
        return self.raw == other.raw and self.byteorder == other.byteorder

    def __hash__(self) -> int:
        return hash((self.raw, self.byteorder))

    def __reduce__(self) -> tuple[type[Header], tuple[bytes, ByteOrder]]:
        return Header, (self.raw, self.byteorder)

    def __repr__(self) -> str:
        return f"<Header {self.nx} x {self.ny} x {self.nz}, mode {self.mode}, {self.byteorder!r}>"

    def __str__(self) -> str:
        from xarray_mrc.codec.header_table import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from xarray_mrc.codec.header_table import as_html

        return as_html(self)


# Size and mode, axes, extended header and IMOD's flags decide how bytes become numbers.
LAYOUT_RANGES = ((0, 16), (64, 76), (92, 96), (152, 160))


def layout_bytes(head: bytes) -> bytes:
    """Return the bytes of a header that decide how the data lie.

    Parameters
    ----------
    head : bytes
        The first 1024 bytes of a file, or fewer.

    Returns
    -------
    bytes

    Examples
    --------
    >>> header = Header.blank()
    >>> layout_bytes(header.replace(rms=1.0).raw) == layout_bytes(header.raw)
    True
    """
    return b"".join(head[start:end] for start, end in LAYOUT_RANGES)


# Genuine files carry stamps of zeros, swapped stamps, or the stamp of the other byte order, so that
# the stamp is only one of the marks that are counted.
STAMP_ORDERS: dict[bytes, ByteOrder] = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
DELTAVISION_ID = -16224
DELTAVISION_IDS = (struct.pack("<h", DELTAVISION_ID), struct.pack(">h", DELTAVISION_ID))
PLAUSIBLE_LENGTH = 2**20
# The score of a header that is taken for one: a known mode or plain axes, and sizes that fit.
MIN_SCORE = 7


def stamp_order(header: Header) -> ByteOrder | None:
    """Return the byte order that the machine stamp names, or None if it names none."""
    return STAMP_ORDERS.get(header.machst[:2])


def has_map_id(header: Header) -> bool:
    """Return True if byte 208 has the characters MAP, with any fourth byte."""
    return header.map_id[:3] == b"MAP"


def score(header: Header, size: int | None) -> int:
    """Return how many marks of an MRC header the numbers have in the header's byte order."""
    points = 0
    if header.mode in MODES:
        points += 4
    elif header.mode in FOREIGN_MODES:
        points += 2
    axes = sorted(header.mapcrs)
    points += 3 if axes == [1, 2, 3] else 1 if axes == [0, 0, 0] else 0
    points += 2 if all(1 <= n <= PLAUSIBLE_LENGTH for n in header.n) else 0
    points += 1 if 0 <= header.nsymbt <= (PLAUSIBLE_LENGTH if size is None else size) else 0
    points += 2 if stamp_order(header) == header.byteorder else 0
    points += 1 if header.is_standard_version else 0
    if size is not None and header.mode in MODES and min(header.n) > 0:
        row = MODES[header.mode].sample.row_nbytes(header.nx)
        end = HEADER_SIZE + max(header.nsymbt, 0) + row * header.ny * header.nz
        points += 4 if end == size else 2 if end <= size else 0
    return points


def is_clear(header: Header) -> bool:
    """Return True if the other byte order cannot score as high: mode and axes would be huge."""
    return header.mode != 0 and header.mode in MODES and sorted(header.mapcrs) == [1, 2, 3]


def guess_byteorder(raw: bytes, size: int | None) -> tuple[Header, int]:
    """Return a header in the byte order that scores higher, and its score.

    Parameters
    ----------
    raw : bytes
        The 1024 bytes.
    size : int or None
        Bytes of the whole file; None if unknown.

    Returns
    -------
    header : Header
        The header.
    score : int
        `MIN_SCORE` or more for a header that is taken for one.

    Examples
    --------
    >>> guess_byteorder(Header.blank(">").replace(nx=4, ny=3, nz=2, mode=2).raw, None)
    (<Header 4 x 3 x 2, mode 2, '>'>, 7)
    """
    little, big = Header(raw, "<"), Header(raw, ">")
    if is_clear(little):
        return little, MIN_SCORE
    if is_clear(big):
        return big, MIN_SCORE
    points, points_big = score(little, size), score(big, size)
    return (little, points) if points >= points_big else (big, points_big)


def decode_header(raw: bytes, size: int | None) -> Header:
    """Decode 1024 bytes as `Header.decode` describes, or raise why they are not a header."""
    if len(raw) < HEADER_SIZE:
        refuse_foreign(raw)
    header, points = guess_byteorder(raw, size)
    if points < MIN_SCORE:
        refuse_foreign(raw)
    if any(raw.startswith(id_, 96) for id_ in DELTAVISION_IDS) and not has_map_id(header):
        raise MrcFormatError(
            f"this is a DeltaVision (.dv, .r3d) file: the id at byte 96 is {DELTAVISION_ID} and "
            f"there is no 'MAP ' at byte 208, expected an MRC file: open it with a reader for "
            f"DeltaVision, such as the package mrc or Bio-Formats"
        )
    if points < MIN_SCORE and not has_map_id(header):
        little, big = Header(raw, "<"), Header(raw, ">")
        raise MrcFormatError(
            f"this is not an MRC file: there is no 'MAP ' at byte 208 (found {header.map_id!r}), "
            f"and in neither byte order do the first numbers make a header (little endian: size "
            f"{little.n}, mode {little.mode}, axes {little.mapcrs}; big endian: size {big.n}, "
            f"mode {big.mode}, axes {big.mapcrs})"
        )
    for name, length in zip(("nx", "ny", "nz"), header.n, strict=True):
        if length < 1:
            raise MrcHeaderError(
                f"{name} is {length}, expected 1 or more: the file holds no data, or its header "
                f"is damaged"
            )
    return header


def refuse_foreign(raw: bytes) -> None:
    """Raise an error if the first bytes of a file are those of another format."""
    found = foreign_format(raw)
    if found:
        raise MrcFormatError(f"this is not an MRC file but {found}")
