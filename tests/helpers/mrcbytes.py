"""MRC files laid down byte by byte, from offsets that are written out here once more.

Nothing of the package is imported: a field that it looks for in a wrong place, or a number that it
decodes in a wrong way, does not agree with what is laid down here. Sources are the MRC2014
specification with its 20141 revision, the CCP4 format, and IMOD's description of its own fields.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal
from itertools import permutations
from typing import Any

import numpy as np

ORDERS = ("<", ">")
KINDS = ("image", "image_stack", "volume", "volume_stack")
# Axes (1, 2, 3 for X, Y, Z) of columns, rows and sections.
AXES = tuple(permutations((1, 2, 3)))
STAMPS = {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}
IMOD = 1146047817

# Name, first byte (word n begins at byte 4 n - 4) and struct code.
FIELDS: dict[str, tuple[int, str]] = {
    "nx": (0, "i"),
    "ny": (4, "i"),
    "nz": (8, "i"),
    "mode": (12, "i"),
    "nxstart": (16, "i"),
    "nystart": (20, "i"),
    "nzstart": (24, "i"),
    "mx": (28, "i"),
    "my": (32, "i"),
    "mz": (36, "i"),
    "cella": (40, "3f"),
    "cellb": (52, "3f"),
    "mapc": (64, "i"),
    "mapr": (68, "i"),
    "maps": (72, "i"),
    "dmin": (76, "f"),
    "dmax": (80, "f"),
    "dmean": (84, "f"),
    "ispg": (88, "i"),
    "nsymbt": (92, "i"),
    "lskflg": (96, "i"),
    "creatid": (96, "h"),
    "skew_matrix": (100, "9f"),
    "exttyp": (104, "4s"),
    "nversion": (108, "i"),
    "nint": (128, "h"),
    "nreal": (130, "h"),
    "skew_translation": (136, "3f"),
    "imod_stamp": (152, "i"),
    "imod_flags": (156, "i"),
    "scale_top": (160, "i"),
    "idtype": (160, "h"),
    "tilt_angles": (172, "6f"),
    "origin": (196, "3f"),
    "map_id": (208, "4s"),
    "machst": (212, "4s"),
    "rms": (216, "f"),
    "nlabl": (220, "i"),
    "label_bytes": (224, "800s"),
}


def put(raw: bytes, order: str, **fields: Any) -> bytes:
    """Set fields in the bytes of a header, or of a whole file."""
    buffer = bytearray(raw)
    for name, value in fields.items():
        offset, code = FIELDS[name]
        values = value if isinstance(value, tuple) else (value,)
        struct.pack_into(order + code, buffer, offset, *values)
    return bytes(buffer)


def get(raw: bytes, order: str, name: str) -> Any:
    """Read a field: a number, bytes, or a tuple of numbers."""
    offset, code = FIELDS[name]
    found = struct.unpack_from(order + code, raw, offset)
    return found if len(found) > 1 else found[0]


def header(order: str = "<", labels: tuple[bytes, ...] = (), **fields: Any) -> bytes:
    """Lay down the 1024 bytes of the header of a 4 x 3 x 2 float volume, with some other fields.

    The machine stamp is that of the byte order, unless `machst` is passed.
    """
    usual = {
        "nx": 4, "ny": 3, "nz": 2, "mode": 2, "mx": 4, "my": 3, "mz": 2,
        "cella": (4.0, 3.0, 2.0), "cellb": (90.0, 90.0, 90.0), "mapc": 1, "mapr": 2, "maps": 3,
        "dmin": 0.0, "dmax": -1.0, "dmean": -2.0, "rms": -1.0, "ispg": 1, "nversion": 20141,
        "map_id": b"MAP ", "machst": STAMPS[order], "nlabl": len(labels),
        "label_bytes": b"".join(label.ljust(80) for label in labels),
    }  # fmt: skip
    return put(bytes(1024), order, **usual | fields)


@dataclass(frozen=True)
class Form:
    """One way to store pixels.

    `code` is the struct code of a stored number, `parts` the numbers a pixel has, `dtype` the data
    type that a reader should return; `flags` are IMOD's, None for a file without IMOD's stamp.
    """

    name: str
    mode: int
    code: str
    dtype: str
    parts: int = 1
    flags: int | None = None
    packed: bool = False
    halved: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def trailing(self) -> tuple[int, ...]:
        return (3,) if self.parts == 3 else ()


FORMS = {
    form.name: form
    for form in (
        Form("int8", 0, "b", "i1"),
        Form("uint8", 0, "B", "u1", flags=0),
        Form("int16", 1, "h", "i2"),
        Form("float32", 2, "f", "f4"),
        Form("complex_int16", 3, "h", "c8", parts=2),
        Form("complex64", 4, "f", "c8", parts=2),
        Form("uint16", 6, "H", "u2"),
        Form("float16", 12, "e", "f2"),
        Form("rgb", 16, "B", "u1", parts=3),
        Form("four_bit", 101, "B", "u1", packed=True),
        Form("half_width", 0, "B", "u1", flags=16, packed=True, halved=True),
    )
}


def pixels_of(form: Form, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Return random pixels, which include the extreme and special values of the type."""
    random = np.random.default_rng(seed)
    if form.packed:
        return random.integers(0, 16, shape, np.uint8)
    shape += form.trailing
    if form.code in "bBhH":
        limits = np.iinfo(np.dtype(form.code))
        numbers = random.integers(limits.min, limits.max, (*shape, 2), endpoint=True)
        odd: list[float] = [limits.min, limits.max, 0]
    else:
        least = 2.0**-24 if form.code == "e" else 2.0**-149
        most = 65504.0 if form.code == "e" else float(np.finfo(np.float32).max)
        numbers = random.standard_normal((*shape, 2)).astype("f2" if form.code == "e" else "f4")
        odd = [np.nan, np.inf, -np.inf, -0.0, least, -most]
    # At the end, which a reader that miscounts rows or sections gets wrong first.
    flat = numbers.reshape(-1)[::-1]
    flat[: len(odd)] = odd[: flat.size]
    if form.parts != 2:
        return numbers[..., 0].astype(form.dtype)
    pixels = np.empty(shape, np.complex64)
    pixels.real, pixels.imag = numbers[..., 0], numbers[..., 1]
    return pixels


def encode(form: Form, stored: np.ndarray, order: str) -> bytes:
    """Return the bytes of pixels; columns are the last axis (before that of RGB)."""
    if form.packed:
        rows = stored.reshape(-1, stored.shape[-1]).tolist()
        # A row of odd length ends in half a byte that is not a pixel, and may have any value.
        padded = [[*row, 9] if len(row) % 2 else row for row in rows]
        return bytes(
            low + 16 * high for row in padded for low, high in zip(row[::2], row[1::2], strict=True)
        )
    flat = stored.reshape(-1)
    if form.parts == 2:
        flat = np.stack([flat.real, flat.imag], axis=-1).reshape(-1)
    numbers = flat.tolist()
    if form.code in "bBhH":
        numbers = [int(number) for number in numbers]
    return struct.pack(f"{order}{len(numbers)}{form.code}", *numbers)


@dataclass(frozen=True)
class Laid:
    """A file and its contents.

    `pixels` are in z, y, x order as `dims` say, `lengths` and `voxel` along X, Y, Z, `nstart` in
    the order of the file.
    """

    raw: bytes
    pixels: np.ndarray
    dims: tuple[str, ...]
    order: str
    axes: tuple[int, int, int]
    lengths: tuple[int, int, int]
    voxel: tuple[str, str, str] | None
    nstart: tuple[int, int, int]

    @property
    def head(self) -> bytes:
        return self.raw[:1024]

    def with_fields(self, **fields: Any) -> bytes:
        """Return the bytes of the file with other fields in its header."""
        return put(self.raw, self.order, **fields)

    def positions(self, dim: str) -> list[float]:
        """Return the exact positions along x, y or z that follow from NSTART and the voxel size."""
        assert self.voxel is not None
        axis = "xyz".index(dim)
        first = self.nstart[self.axes.index(axis + 1)]
        return decimals(first * Decimal(self.voxel[axis]), self.voxel[axis], self.lengths[axis])


def decimals(start: Decimal | str, step: Decimal | str, count: int) -> list[float]:
    """Return start + i step, computed in decimals and rounded to six places."""
    first, width = Decimal(start), Decimal(step)
    exact = [first + i * width for i in range(count)]
    return [float(value.quantize(Decimal("0.000001"))) + 0.0 for value in exact]


def lay(
    form: Form | str = "float32",
    kind: str = "volume",
    order: str = "<",
    axes: tuple[int, int, int] = (1, 2, 3),
    *,
    lengths: tuple[int, int, int] | None = None,
    volumes: int = 2,
    voxel: tuple[str, str, str] | None = ("1.35", "2.5", "0.875"),
    nstart: tuple[int, int, int] = (0, 0, 0),
    extended: bytes = b"",
    trailing: bytes = b"",
    labels: tuple[bytes, ...] = (),
    seed: int = 1,
    **fields: Any,
) -> Laid:
    """Lay down a file of a kind, with its columns, rows and sections along any axes.

    Parameters
    ----------
    form, kind, order, axes
        Type of the pixels, kind of the data, byte order, and axes of columns, rows and sections.
    lengths
        Pixels along X, Y, Z (of one volume). Rows at half width need an even number, as the default
        has.
    volumes
        Volumes in a volume stack.
    voxel
        Voxel size along X, Y, Z as decimals; None leaves cell lengths and angles zero.
    nstart
        NXSTART, NYSTART, NZSTART.
    extended, trailing
        Bytes before and after the data.
    labels
        Labels, padded with blanks.
    **fields
        Any other field of the header, or a value that replaces one of the above.
    """
    form = FORMS[form] if isinstance(form, str) else form
    if lengths is None:
        usual = [5, 3, {"image": 1, "volume": 4}.get(kind, 2)]
        if form.halved:
            usual[axes[0] - 1] = 4
        lengths = (usual[0], usual[1], usual[2])
    columns, rows, sections = (lengths[axis - 1] for axis in axes)
    assert not (form.halved and columns % 2), "a row at half width has an even number of pixels"

    assert kind != "image" or lengths[2] == 1, "an image is one pixel deep"

    deep = (volumes,) if kind == "volume_stack" else ()
    pixels = pixels_of(form, (*deep, *lengths[::-1]), seed)
    # Axis 3 - a of (z, y, x) is the file's axis a.
    to_file = [3 - axis + len(deep) for axis in reversed(axes)]
    stored = pixels.transpose(
        *range(len(deep)), *to_file, *range(pixels.ndim - len(form.trailing), pixels.ndim)
    )

    mz = {"image": 1, "image_stack": 1, "volume": lengths[2], "volume_stack": sections}[kind]
    m = (lengths[0], lengths[1], mz)
    usual_fields: dict[str, Any] = {
        "nx": columns // 2 if form.halved else columns,
        "ny": rows,
        "nz": sections * volumes if deep else sections,
        "mode": form.mode,
        "mx": m[0],
        "my": m[1],
        "mz": m[2],
        "mapc": axes[0],
        "mapr": axes[1],
        "maps": axes[2],
        "nxstart": nstart[0],
        "nystart": nstart[1],
        "nzstart": nstart[2],
        "ispg": {"image": 0, "image_stack": 0, "volume": 1, "volume_stack": 401}[kind],
        "nsymbt": len(extended),
    }
    if voxel is None:
        usual_fields |= {"cella": (0.0, 0.0, 0.0), "cellb": (0.0, 0.0, 0.0)}
    else:
        usual_fields["cella"] = tuple(
            float(Decimal(size) * n) for size, n in zip(voxel, m, strict=True)
        )
    if form.flags is not None:
        usual_fields |= {"imod_stamp": IMOD, "imod_flags": form.flags}
    head = header(order, labels, **usual_fields | fields)
    raw = head + extended + encode(form, stored, order) + trailing

    dims: tuple[str, ...] = ("z", "y", "x")
    if kind == "image":
        dims, pixels = ("y", "x"), pixels[0]
    elif kind == "image_stack":
        dims = ("image", "y", "x")
    elif kind == "volume_stack":
        dims = ("volume", "z", "y", "x")
    if form.trailing:
        dims += ("rgb",)
    return Laid(raw, pixels, dims, order, axes, lengths, voxel, nstart)
