"""Files as many programs write them, laid down byte by byte, and how to open them with care."""

from __future__ import annotations

import bz2
import gzip
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header

from xarray_mrc import open_mrc

CODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def lay_down(
    lengths: tuple[int, int, int] = (4, 3, 2),
    order: str = "<",
    *,
    mode: int = 2,
    extended: bytes = b"",
    labels: tuple[bytes, ...] = (b"a producer's label",),
    **fields: Any,
) -> tuple[bytes, np.ndarray]:
    """Return a file of nx, ny, nz pixels, and its numbers as they are stored (nz, ny, nx)."""
    nx, ny, nz = lengths
    numbers = (np.arange(nx * ny * nz) % 100).reshape(nz, ny, nx).astype(CODES[mode])
    usual = {
        "nx": nx, "ny": ny, "nz": nz, "mx": nx, "my": ny, "mz": nz, "mode": mode,
        "cella": (1.5 * nx, 1.5 * ny, 1.5 * nz), "nsymbt": len(extended),
    }  # fmt: skip
    head = header(order, labels, **usual | fields)
    return head + extended + numbers.astype(numbers.dtype.newbyteorder(order)).tobytes(), numbers


def write(folder: Path, name: str, raw: bytes) -> Path:
    """Write a file, compressed as its name says."""
    path = folder / name
    suffix = path.suffix.lower()
    path.write_bytes(COMPRESS.get(suffix, bytes)(raw))
    return path


def open_quietly(path: Any, **options: Any) -> xr.DataArray:
    """Open a file that must give no warning, and read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_mrc(path, chunks=None, **options).load()


def open_with_warning(path: Any, match: str, **options: Any) -> xr.DataArray:
    """Open a file that must give exactly one warning, and read it."""
    with pytest.warns(match=match) as caught:
        found = open_mrc(path, chunks=None, **options)
    assert len(caught) == 1, [str(one.message) for one in caught]
    return found.load()


def kind_of(found: xr.DataArray) -> str:
    return found.attrs["mrc_kind"]


# A whole number of bytes a section, bit flags, and the records of a tilt series of SerialEM.
def seri_records(angles: list[float], order: str = "<") -> tuple[bytes, dict[str, int]]:
    records = b"".join(
        struct.pack(f"{order}hhhh", round(100 * angle), 25 * i, -25 * i, 3)
        for i, angle in enumerate(angles)
    )
    return records, {"nint": 8, "nreal": 1 + 4 + 8}  # tilt, stage x and y, magnification


def agard_records(angles: list[float], order: str = "<", slots: int | None = None) -> bytes:
    rows = [[angle, 0.0, *(30 * [0.0])] for angle in angles]
    rows += [32 * [0.0]] * ((slots or len(rows)) - len(rows))
    return b"".join(struct.pack(f"{order}32f", *row) for row in rows)


MDOC = """PixelSpacing = 1.35
ImageFile = TS.mrc
DataMode = 1
{head}
[T = SerialEM: Digitized on EMBL Krios                   07-May-24  10:01:02    ]

[T =     Tilt axis angle = {axis}, binning = 1  spot = 8  camera = 0]

{sections}"""
SECTION = """[ZValue = {i}]
TiltAngle = {angle}
StagePosition = 1.5 -2.25
StageZ = 3
Defocus = -3.5
ExposureDose = {dose}
PriorRecordDose = {prior}
ExposureTime = 1.2
DateTime = {date}

"""


def mdoc(
    count: int, *, dose: float = 3.0, axis: str = "85.3", head: str = "", month: str = "May"
) -> str:
    sections = "".join(
        SECTION.format(
            i=i, angle=-3 + 3 * i, dose=dose, prior=dose * i, date=f"07-{month}-24  10:0{i}:02"
        )
        for i in range(count)
    )
    return MDOC.format(head=head, axis=axis, sections=sections)


def stack(nz: int = 3, **fields: Any) -> bytes:
    return lay_down((4, 3, nz), mode=1, **{"ispg": 0, "mz": 1, "cella": (6.0, 4.5, 1.5)} | fields)[
        0
    ]
