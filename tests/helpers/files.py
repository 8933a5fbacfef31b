"""A valid file, and files that differ from it in some fields, laid down byte by byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mrcbytes import header

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("XARRAY_MRC_CORPUS") or ROOT.parent / "shared" / "corpus")
FILES = sorted(p for p in FOLDER.iterdir() if p.suffix != ".md") if FOLDER.is_dir() else []

NUMBERS = np.linspace(-1, 3, 24).reshape(2, 3, 4).astype("f4")
LABEL = b"made by hand"


def stated(numbers: np.ndarray) -> dict[str, float]:
    """Return the statistics that the header of these numbers should contain."""
    wide = numbers.astype("f8")
    with np.errstate(invalid="ignore"):
        return {
            "dmin": wide.min(), "dmax": wide.max(), "dmean": wide.mean(), "rms": wide.std(),
        }  # fmt: skip


def sound(
    numbers: np.ndarray = NUMBERS,
    *,
    order: str = "<",
    extended: bytes = b"",
    trailing: bytes = b"",
    labels: tuple[bytes, ...] = (LABEL,),
    **fields: Any,
) -> bytes:
    """Lay down a volume that passes all checks, with the fields that are passed in its header."""
    modes = {"i1": 0, "i2": 1, "f4": 2, "c8": 4, "u2": 6, "f2": 12, "u1": 0}
    nz, ny, nx = numbers.shape
    usual: dict[str, Any] = {
        "nx": nx, "ny": ny, "nz": nz, "mx": nx, "my": ny, "mz": nz,
        "cella": (1.5 * nx, 1.5 * ny, 1.5 * nz), "mode": modes[numbers.dtype.str[1:]],
        "nsymbt": len(extended),
    }  # fmt: skip
    if numbers.dtype.kind != "c":
        usual |= stated(numbers)
    data = numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()
    return header(order, labels, **usual | fields) + extended + data + trailing
