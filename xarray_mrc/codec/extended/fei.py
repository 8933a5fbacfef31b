"""The records of FEI and Thermo Fisher: 768 bytes (FEI1) or 888 (FEI2), valid field by field.

Four bitmasks in each record say which of its fields are valid; they are little endian in every
file. The first integer of a record is its size and leads to the next record. Room for 1024 records
is common, and the bytes after the last section are arbitrary.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xarray_mrc.codec.extended.table import (
    Column,
    Extended,
    SectionField,
    decode,
    own,
    record_dtype,
    shared,
)
from xarray_mrc.codec.header import ByteOrder, Header

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Size of a record, and the name of its kind.
SIZES = {768: "FEI1", 888: "FEI2"}

#: The bitmasks, by number.
MASKS = {1: 8, 2: 297, 3: 490, 4: 748}

#: Versions of the record run from 0 (FEI1) and 2 (FEI2); this many are conceivable.
_VERSIONS = 100

#: The one version that multiplied angles by 57.3 once too often, and what puts them right. The
#: fault is known of the alpha tilt and of the tilt axis; the beta tilt and the limits of the
#: alpha tilt are assumed to share it. Of the rotation between
#: the axes of a dual tilt nobody knows, so that it is not given.
FAULTY_VERSION = b"4.4.0.4981"
FAULTY_FACTOR = 0.0174533
_VERSION = "Application version"
_FAULTY = frozenset(
    {"Alpha tilt", "Beta tilt", "Tilt axis angle", "Alpha tilt min", "Alpha tilt max"}
)
_DOUBTFUL = frozenset({"Dual axis rotation"})

#: A unit is given only where a source for it is known. Bits 16 to 21 of the first mask are called
#: an unused range by the producer, whose programs fill it with six numbers.
COLUMNS = (
    Column(12, "f8", "Timestamp", (1, 0), common="timestamp", time="days"),
    Column(20, "S16", "Microscope type", (1, 1)),
    Column(36, "S16", "D-Number", (1, 2)),
    Column(52, "S16", "Application", (1, 3)),
    Column(68, "S16", "Application version", (1, 4)),
    Column(84, "f8", "HT", (1, 5), "V", "acceleration_voltage"),
    Column(92, "f8", "Dose", (1, 6), "e-/m^2", "dose", -20),
    Column(100, "f8", "Alpha tilt", (1, 7), "degree", "tilt_angle"),
    Column(108, "f8", "Beta tilt", (1, 8), "degree", "beta_tilt"),
    Column(116, "f8", "X-Stage", (1, 9), "m", "stage_x", 6),
    Column(124, "f8", "Y-Stage", (1, 10), "m", "stage_y", 6),
    Column(132, "f8", "Z-Stage", (1, 11), "m", "stage_z", 6),
    Column(140, "f8", "Tilt axis angle", (1, 12), "degree", "tilt_axis_angle"),
    Column(148, "f8", "Dual axis rotation", (1, 13), "degree"),
    Column(156, "f8", "Pixel size X", (1, 14), "m", "pixel_size", 10),
    Column(164, "f8", "Pixel size Y", (1, 15), "m"),
    Column(172, "f8", "Unused range 0", (1, 16)),
    Column(180, "f8", "Unused range 1", (1, 17)),
    Column(188, "f8", "Unused range 2", (1, 18)),
    Column(196, "f8", "Unused range 3", (1, 19)),
    Column(204, "f8", "Unused range 4", (1, 20)),
    Column(212, "f8", "Unused range 5", (1, 21)),
    Column(220, "f8", "Defocus", (1, 22), "m", "defocus", 6),
    Column(228, "f8", "STEM Defocus", (1, 23), "m"),
    Column(236, "f8", "Applied defocus", (1, 24), "m"),
    Column(244, "i4", "Instrument mode", (1, 25)),
    Column(248, "i4", "Projection mode", (1, 26)),
    Column(252, "S16", "Objective lens mode", (1, 27)),
    Column(268, "S16", "High magnification mode", (1, 28)),
    Column(284, "i4", "Probe mode", (1, 29)),
    Column(288, "?", "EFTEM On", (1, 30)),
    Column(289, "f8", "Magnification", (1, 31), common="magnification"),
    Column(301, "f8", "Camera length", (2, 0), "m"),
    Column(309, "i4", "Spot index", (2, 1)),
    Column(313, "f8", "Illuminated area", (2, 2), "m"),
    Column(321, "f8", "Intensity", (2, 3)),
    Column(329, "f8", "Convergence angle", (2, 4)),
    Column(337, "S16", "Illumination mode", (2, 5)),
    Column(353, "?", "Wide convergence angle range", (2, 6)),
    Column(354, "?", "Slit inserted", (2, 7)),
    Column(355, "f8", "Slit width", (2, 8), "eV"),
    Column(363, "f8", "Acceleration voltage offset", (2, 9), "V"),
    Column(371, "f8", "Drift tube voltage", (2, 10), "V"),
    Column(379, "f8", "Energy shift", (2, 11), "eV"),
    Column(387, "f8", "Shift offset X", (2, 12)),
    Column(395, "f8", "Shift offset Y", (2, 13)),
    Column(403, "f8", "Shift X", (2, 14)),
    Column(411, "f8", "Shift Y", (2, 15)),
    Column(419, "f8", "Integration time", (2, 16), "s", "exposure_time"),
    Column(427, "i4", "Binning Width", (2, 17)),
    Column(431, "i4", "Binning Height", (2, 18)),
    Column(435, "S16", "Camera name", (2, 19)),
    Column(451, "i4", "Readout area left", (2, 20)),
    Column(455, "i4", "Readout area top", (2, 21)),
    Column(459, "i4", "Readout area right", (2, 22)),
    Column(463, "i4", "Readout area bottom", (2, 23)),
    Column(467, "?", "Ceta noise reduction", (2, 24)),
    Column(468, "i4", "Ceta frames summed", (2, 25)),
    Column(472, "?", "Direct detector electron counting", (2, 26)),
    Column(473, "?", "Direct detector align frames", (2, 27)),
    Column(474, "i4", "Camera param reserved 0", (2, 28)),
    Column(478, "i4", "Camera param reserved 1", (2, 29)),
    Column(482, "i4", "Camera param reserved 2", (2, 30)),
    Column(486, "i4", "Camera param reserved 3", (2, 31)),
    Column(494, "i4", "Camera param reserved 4", (3, 0)),
    Column(498, "i4", "Camera param reserved 5", (3, 1)),
    Column(502, "i4", "Camera param reserved 6", (3, 2)),
    Column(506, "i4", "Camera param reserved 7", (3, 3)),
    Column(510, "i4", "Camera param reserved 8", (3, 4)),
    Column(514, "i4", "Camera param reserved 9", (3, 5)),
    Column(518, "?", "Phase Plate", (3, 6)),
    Column(519, "S16", "STEM Detector name", (3, 7)),
    Column(535, "f8", "Gain", (3, 8)),
    Column(543, "f8", "Offset", (3, 9)),
    Column(551, "i4", "STEM param reserved 0", (3, 10)),
    Column(555, "i4", "STEM param reserved 1", (3, 11)),
    Column(559, "i4", "STEM param reserved 2", (3, 12)),
    Column(563, "i4", "STEM param reserved 3", (3, 13)),
    Column(567, "i4", "STEM param reserved 4", (3, 14)),
    Column(571, "f8", "Dwell time", (3, 15), "s"),
    Column(579, "f8", "Frame time", (3, 16), "s"),
    Column(587, "i4", "Scan size left", (3, 17)),
    Column(591, "i4", "Scan size top", (3, 18)),
    Column(595, "i4", "Scan size right", (3, 19)),
    Column(599, "i4", "Scan size bottom", (3, 20)),
    Column(603, "f8", "Full scan FOV X", (3, 21), "m"),
    Column(611, "f8", "Full scan FOV Y", (3, 22), "m"),
    Column(619, "S16", "Element", (3, 23)),
    Column(635, "f8", "Energy interval lower", (3, 24)),
    Column(643, "f8", "Energy interval higher", (3, 25)),
    Column(651, "i4", "Method", (3, 26)),
    Column(655, "?", "Is dose fraction", (3, 27)),
    Column(656, "i4", "Fraction number", (3, 28)),
    Column(660, "i4", "Start frame", (3, 29)),
    Column(664, "i4", "End frame", (3, 30)),
    Column(668, "S80", "Input stack filename", (3, 31)),
    Column(752, "f8", "Alpha tilt min", (4, 0), "degree"),
    Column(760, "f8", "Alpha tilt max", (4, 1), "degree"),
    Column(768, "f8", "Scan rotation", (4, 2)),
    Column(776, "f8", "Diffraction pattern rotation", (4, 3)),
    Column(784, "f8", "Image rotation", (4, 4)),
    Column(792, "i4", "Scan mode enumeration", (4, 5)),
    Column(796, "i8", "Acquisition time stamp", (4, 6), time="microseconds"),
    Column(804, "S16", "Detector commercial name", (4, 7)),
    Column(820, "f8", "Start tilt angle", (4, 8)),
    Column(828, "f8", "End tilt angle", (4, 9)),
    Column(836, "f8", "Tilt per image", (4, 10)),
    Column(844, "f8", "Tilt speed", (4, 11)),
    Column(852, "i4", "Beam center X pixel", (4, 12)),
    Column(856, "i4", "Beam center Y pixel", (4, 13)),
    Column(860, "i8", "CFEG flash timestamp", (4, 14), time="microseconds"),
    Column(868, "i4", "Phase plate position index", (4, 15)),
    Column(872, "S16", "Objective aperture name", (4, 16)),
)


def read(header: Header, raw: bytes, sections: int) -> Extended | str:
    """Read the records, or return why the bytes are not FEI's.

    Parameters
    ----------
    header : Header
        The main header.
    raw : bytes
        The extended header.
    sections : int
        Number of sections in the file.

    Returns
    -------
    Extended or str
        The columns, or the reason against them.
    """
    order = record_order(header, raw)
    walked = find_records(raw, sections, order)
    if isinstance(walked, str):
        return walked
    widest = max(size for _, size in walked)
    columns, dtype = _layout(widest, order)
    block = np.zeros((sections, widest), dtype=np.uint8)
    for row, (start, size) in zip(block, walked, strict=True):
        row[:size] = np.frombuffer(raw, np.uint8, size, start)
    records = block.view(dtype)[:, 0]
    longest = np.array([size == widest for _, size in walked])
    # The version counts whether its bit is set or not: a tilt that is wrong by a factor of 57 is
    # worse than trust in eleven characters, which do not occur by chance.
    faulty = np.array(
        [bytes(text).split(b"\0", 1)[0] == FAULTY_VERSION for text in records[_VERSION]]
    )
    common: list[SectionField] = []
    every: list[SectionField] = []
    for column in columns:
        number, bit = column.bit
        valid = (records[f"Bitmask {number}"] >> np.uint32(bit) & np.uint32(1)) == 1
        if column.offset >= min(SIZES):
            valid &= longest  # a shorter record among longer ones ends before this field
        if column.name in _DOUBTFUL:
            valid &= ~faulty
        stored: NDArray[Any] = records[column.name]
        if column.name in _FAULTY and faulty.any():
            stored = stored.astype(np.float64)
            stored[faulty] *= FAULTY_FACTOR
        values = decode(column, stored, valid)
        if values is not None:
            every.append(own(column, values))
            common.extend(shared(column, values))
    return Extended(SIZES[widest], tuple(common), tuple(every))


def record_order(header: Header, raw: bytes) -> ByteOrder:
    """Return the byte order of the records, which need not be the header's."""
    order = header.byteorder
    other: ByteOrder = ">" if order == "<" else "<"
    if integer_at(raw, 0, order) not in SIZES and integer_at(raw, 0, other) in SIZES:
        return other
    return order


def starts_record(raw: bytes) -> bool:
    """Return True if bytes begin as a record does, with its size and version in either byte order.

    Parameters
    ----------
    raw : bytes
        Eight bytes or more.

    Returns
    -------
    bool

    Examples
    --------
    >>> starts_record(bytes([0, 3, 0, 0, 0, 0, 0, 0]))
    True
    """
    return len(raw) >= 8 and any(
        integer_at(raw, 0, order) in SIZES and 0 <= integer_at(raw, 4, order) < _VERSIONS
        for order in ("<", ">")
    )


@cache
def _layout(size: int, order: str) -> tuple[tuple[Column, ...], np.dtype[np.void]]:
    """Return the fields of a record of this size, and its dtype."""
    columns = tuple(column for column in COLUMNS if column.offset + column.nbytes <= size)
    masks = {f"Bitmask {number}": ("<u4", offset) for number, offset in MASKS.items()}
    return columns, record_dtype(columns, size, order, masks)


def find_records(raw: bytes, sections: int, order: str) -> list[tuple[int, int]] | str:
    """Return where the records lie, by stepping from one to the next by their sizes.

    Parameters
    ----------
    raw : bytes
        The extended header.
    sections : int
        Number of sections in the file.
    order : str
        Byte order to read the sizes in.

    Returns
    -------
    list of (int, int), or str
        Start and size of each record, or the reason against them.
    """
    records: list[tuple[int, int]] = []
    start = 0
    while len(records) < sections:
        size, version = integer_at(raw, start, order), integer_at(raw, start + 4, order)
        if not records and size not in SIZES:
            return f"it begins with {size}, where the size of a record, 768 or 888, is expected"
        if size not in SIZES or start + size > len(raw):
            return f"there are records for {len(records)} sections, where {sections} are expected"
        if not 0 <= version < _VERSIONS:
            return f"record {len(records)} is of version {version}, where 0 to 99 is expected"
        records.append((start, size))
        start += size
    return records


def integer_at(raw: bytes, start: int, order: str) -> int:
    """Read four bytes as an integer; past the end, as many as there are."""
    endian: Literal["little", "big"] = "little" if order == "<" else "big"
    return int.from_bytes(raw[start : start + 4], endian, signed=True)
