"""Mutated MRC files, and the rules that hold for each; used by the tests and by ci/fuzz.

A plain reader made of struct and numpy must agree with the engine on every file that both read.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import struct
import sys
import warnings

import numpy as np
import xarray as xr

from xarray_mrc import MrcError, MrcWarning
from xarray_mrc.backend import MrcBackendEntrypoint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTAINERS = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstd.compress(data),
}
ALLOWED = (MrcError, OSError, EOFError)
ITEMS = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
MODES = (*ITEMS, 3, 16, 101)
INTERESTING = (0, 1, -1, 2, 3, 127, 128, 255, 256, 1024, 2**20, 2**31 - 1, -(2**31), 401, 20140)
WORDS = (*range(56), 26, 27)


def make_file(rng: random.Random) -> bytes:
    """Lay down a small valid file of random mode, byte order, shape, axes and extended header."""
    order = rng.choice("<>")
    mode = rng.choice(MODES)
    nx, ny, nz = (rng.randint(1, 9) for _ in range(3))
    ispg = rng.choice((0, 0, 1, 1, 401))
    exttyp = rng.choice((b"\0\0\0\0", b"FEI1", b"FEI2", b"SERI", b"AGAR", b"CCP4", b"HDF5"))
    extended = rng.choice(
        (b"", b"", rng.randbytes(80), b"X,Y,Z".ljust(80), rng.randbytes(768 * nz))
    )
    raw = bytearray(1024)
    struct.pack_into(order + "10i", raw, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, rng.choice((1, nz)))
    struct.pack_into(order + "6f", raw, 40, nx * 1.5, ny * 1.5, nz * 1.5, 90, 90, 90)
    axes = rng.choice(((1, 2, 3), (1, 2, 3), (3, 2, 1), (2, 1, 3), (3, 1, 2)))
    struct.pack_into(order + "3i3f2i", raw, 64, *axes, 0, -1, -2, ispg, len(extended))
    struct.pack_into(order + "4si", raw, 104, exttyp, rng.choice((0, 20140, 20141)))
    if rng.random() < 0.2:
        struct.pack_into(order + "2i", raw, 152, 1146047817, rng.choice((0, 1, 4, 5, 16)))
    raw[208:216] = b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    width = (nx + 1) // 2 if mode == 101 else nx * {3: 4, 16: 3}.get(mode, 0)
    width = width or nx * np.dtype(ITEMS[mode]).itemsize
    return bytes(raw) + extended + rng.randbytes(width * ny * nz)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: change words or bits, cut it off, insert bytes, append junk."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(7)
        if kind == 0 and len(raw) >= 1024:
            value = rng.choice(INTERESTING)
            struct.pack_into(rng.choice("<>") + "i", raw, 4 * rng.choice(WORDS), value)
        elif kind == 1 and len(raw) >= 1024:
            raw[4 * rng.choice(WORDS) :][:4] = b""
            at = 4 * rng.choice(WORDS)
            raw[at : at + 4] = rng.randbytes(4)
        elif kind == 2 and raw:
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del raw[rng.randrange(len(raw) + 1) :]
        elif kind == 4:
            at = rng.randrange(len(raw) + 1)
            raw[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 5:
            raw += rng.choice((b"\0" * 8, rng.randbytes(9), b"\x1f\x8b\x08"))
        elif kind == 6 and len(raw) >= 1024:
            at = rng.randrange(152, 224)
            raw[at : at + 8] = rng.randbytes(8)
    return bytes(raw)


def plain_read(data: bytes) -> np.ndarray | None:
    """Return the data of a valid file of a plain mode as NZ, NY, NX; None for unusual files."""
    if len(data) < 1024 or data[208:212] != b"MAP ":
        return None
    order = {b"\x44\x44": "<", b"\x11\x11": ">"}.get(data[212:214])
    if order is None:
        return None
    nx, ny, nz, mode = struct.unpack_from(order + "4i", data)
    (nsymbt,) = struct.unpack_from(order + "i", data, 92)
    if mode not in ITEMS or min(nx, ny, nz) < 1 or nsymbt < 0:
        return None
    if mode == 0 and struct.unpack_from(order + "i", data, 152)[0] == 1146047817:
        return None
    item = np.dtype(order + ITEMS[mode])
    if 1024 + nsymbt + nx * ny * nz * item.itemsize != len(data):
        return None
    return np.frombuffer(data, item, offset=1024 + nsymbt).reshape(nz, ny, nx)


def open_and_load(source: object, **options: object) -> tuple[xr.Dataset | None, str]:
    """Open and load a file; return the dataset and its warnings, or None and the error message.

    Exceptions that are not allowed, and warnings other than MrcWarning, are raised.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            dataset = xr.open_dataset(source, engine=MrcBackendEntrypoint, **options).load()
        except ALLOWED as error:
            dataset, refusal = None, str(error)
    if dataset is None:
        assert len(refusal) > 20, f"an error that says nothing: {refusal!r}"
        return None, refusal
    assert all(issubclass(w.category, MrcWarning) for w in said), [str(w.message) for w in said]
    return dataset, "; ".join(str(w.message) for w in said)


def check(data: bytes, container: str) -> bool:
    """Check all rules for one file; return True if it opened."""
    packed = data
    dataset, _ = open_and_load(packed)
    with contextlib.suppress(Exception):
        plain = plain_read(unpack(packed, container))
        if dataset is not None and plain is not None:
            compare(dataset, plain)
    return dataset is not None


def unpack(data: bytes, container: str) -> bytes:
    """Decompress with the standard library."""
    if container == "gzip":
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read()
    if container == "zstd":
        return zstd.decompress(data)
    return {"plain": bytes, "bzip2": bz2.decompress, "xz": lzma.decompress}[container](data)


class DisagreementError(BaseException):
    """The two readers disagree; a BaseException, so that no handler suppresses it."""


def compare(dataset: xr.Dataset, plain: np.ndarray) -> None:
    """Compare the numbers of the engine with those of the plain reader, for any axes."""
    given = dataset.data.attrs
    ours = dataset.data.values
    if ours.ndim == 2:
        ours = ours[np.newaxis]
    if ours.ndim == 4:
        ours = ours.reshape(-1, *ours.shape[2:]) if "mrc_axes" not in given else None
    if ours is None:
        return
    axes = given.get("mrc_axes", [1, 2, 3])
    if sorted(axes) == [1, 2, 3]:
        stored = {axis: 2 - i for i, axis in enumerate(axes)}
        plain = plain.transpose([stored[axis] for axis in (3, 2, 1)])
    plain = plain.astype(plain.dtype.newbyteorder("="))
    if ours.dtype.kind == "u" and plain.dtype.kind == "i":
        plain = plain.view(ours.dtype)
    if ours.shape != plain.shape or ours.tobytes() != np.ascontiguousarray(plain).tobytes():
        raise DisagreementError(f"{ours.dtype} {ours.shape} against {plain.dtype} {plain.shape}")
