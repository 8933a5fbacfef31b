"""Dataset or DataArray to (Header, Layout, data): what a file has to be; no file is touched.

The other direction of `dataset`: what is planned here reads back there as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.codec.extended import per_section
from xarray_mrc.codec.geometry import IMOD_ORIGIN_SIGN, axis_order, cell_angles
from xarray_mrc.codec.header import HEADER_SIZE, IMOD_STAMP, Header
from xarray_mrc.codec.labels import LABEL_COUNT, encode_labels, split_labels
from xarray_mrc.codec.layout import DIMS, STACK_SPACE_GROUPS, Kind, Layout
from xarray_mrc.codec.modes import MODE_OF_DTYPE, MODES, UNSIGNED_BYTE, Sample
from xarray_mrc.codec.samples import IMOD_FOUR_BITS, IMOD_SIGNED_BYTES
from xarray_mrc.dataset.conventions import data_variable
from xarray_mrc.dataset.positions import TINY, VoxelSize, header_geometry
from xarray_mrc.errors import warn
from xarray_mrc.reading.open_file import OpenedFile

__all__ = ["CRYSTAL_SPACE_GROUPS", "FilePlan", "choose_sample", "plan_file"]

CRYSTAL_SPACE_GROUPS = range(1, 231)
OURS = "Created by xarray_mrc"
UNNAMED = ("dim_0", "dim_1", "dim_2", "dim_3", "dim_4")
VOLUMES: dict[int, Kind] = {2: "image", 3: "volume", 4: "volume_stack"}
# Of another file: what neither coordinates nor attributes carry.
COPIED_FIELDS = ("nint", "nreal", "imod_stamp", "imod_flags", "idtype", "tilt_angles")


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that could be written.

    Attributes
    ----------
    header : Header
        The header, with unknown statistics.
    extended : bytes
        The extended header.
    layout : Layout
        How the data will lie.
    data : xarray.Variable
        The data, with the axes in the order of the file; not computed, nor cast yet.
    """

    header: Header
    extended: bytes
    layout: Layout
    data: xr.Variable


def plan_file(
    obj: xr.Dataset | xr.DataArray,
    *,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    voxel_size: VoxelSize | None = None,
    like: OpenedFile | None = None,
    kind: Kind | None = None,
    labels: str | Sequence[str] | None = None,
) -> FilePlan:
    """Plan the file of an object; `xarray_mrc.to_mrc` describes the parameters.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        What shall be written.
    dtype, mode, voxel_size, kind, labels
        As in `to_mrc`.
    like : OpenedFile, optional
        The file to copy from, opened.

    Returns
    -------
    FilePlan

    Raises
    ------
    ValueError
        An MRC file can't hold it.

    Examples
    --------
    >>> planned = plan_file(xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("x", "z", "y")))
    >>> planned.header.n, planned.layout.dims
    ((2, 4, 3), ('z', 'y', 'x'))
    """
    array = data_variable(obj)
    kind, dims = match_dims(array, kind)
    number, sample = choose_sample(array, dtype, mode)
    data = array.variable.transpose(*dims.values())
    if 0 in data.shape:
        raise ValueError(f"the shape is {data.shape}, expected no axis of length 0")
    if any(length != length for length in data.shape):  # nan
        raise ValueError(
            f"the shape is {data.shape}, expected lengths that are known: call "
            f".data.compute_chunk_sizes() first"
        )
    lengths = [1] * (4 - len(DIMS[kind])) + [array.sizes[dims[dim]] for dim in DIMS[kind]]
    volumes, depth, rows, columns = lengths
    if kind == "image_stack":
        volumes, depth = depth, 1
    header = Header.blank().replace(
        nx=columns, ny=rows, nz=volumes * depth, mode=number, mx=columns, my=rows, mz=depth,
        ispg=space_group(array, kind),
    )  # fmt: skip
    extended = b""
    if like is not None:
        carried, extended = copy_from(like, header, array)
        header = header.replace(**carried)
    if number == 0:
        header = header.replace(**imod_fields(header, sample))
    header = header.replace(**header_geometry(array, dims, header, voxel_size))
    if like is not None and voxel_size is None and kind == like.array.layout.kind == "volume":
        header = header.replace(**cell_of(like.header, header))
    texts = choose_labels(array, labels, like)
    header = header.replace(nlabl=len(texts), label_bytes=encode_labels(texts))
    offset = HEADER_SIZE + len(extended)
    layout = Layout.arrange(header, kind, sample, (volumes * depth, rows, columns), offset)
    return FilePlan(header, extended, layout, data)


def match_dims(array: xr.DataArray, kind: Kind | None) -> tuple[Kind, dict[str, Any]]:
    """Give the kind, and the dimension of the array for each of its dimensions in file order."""
    found = [dim for dim in array.dims if dim != "rgb"]
    if kind is None:
        kind = kind_by_dims(array, found)
    elif kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}, expected one of {', '.join(get_args(Kind))}")
    wanted = DIMS[kind]
    if len(found) != len(wanted):
        raise ValueError(
            f"the dimensions are {tuple(found)}, but kind={kind!r} has {len(wanted)}: "
            f"{wanted}; add one with obj.expand_dims(...), pick one with obj.isel(...), or pass "
            f"another kind="
        )
    others = iter([dim for dim in found if dim not in wanted])
    dims = {dim: dim if dim in found else next(others) for dim in wanted}
    if "rgb" in array.dims:
        dims["rgb"] = "rgb"
    return kind, dims


def kind_by_dims(array: xr.DataArray, found: list[Any]) -> Kind:
    """Tell the kind by the names of the dimensions, or by their number where they have none."""
    for kind, dims in DIMS.items():
        if set(found) == set(dims):
            return kind
    named = {dim for dim in found if dim in ("x", "y", "z", "volume", "image")}
    unnamed = all(dim in UNNAMED for dim in found if dim not in named)
    for guess in (array.attrs.get("mrc_kind"), VOLUMES.get(len(found)) if unnamed else None):
        wanted = DIMS[guess] if isinstance(guess, str) and guess in DIMS else ()
        if len(wanted) == len(found) and named <= set(wanted):
            return cast("Kind", guess)
    expected = ", ".join(f"({', '.join(dims)})" for dims in DIMS.values())
    raise ValueError(
        f"the dimensions are {tuple(found)}, expected one of {expected}: rename them, or say what "
        f"they are with kind='image_stack' or another kind"
    )


def choose_sample(
    array: xr.DataArray, dtype: DTypeLike | None, mode: int | None
) -> tuple[int, Sample]:
    """Choose the mode; ValueError if there is none that fits the data type and what was asked."""
    found = array.dtype if dtype is None else np.dtype(dtype)
    code = found.str[1:]
    rgb = "rgb" in array.dims
    if rgb and array.sizes["rgb"] != 3:
        raise ValueError(f"the dimension rgb has length {array.sizes['rgb']}, expected 3")
    if array.dtype.kind not in "biufc" or found.kind not in "biufc":
        raise ValueError(f"the data type is {found}, expected numbers")
    if mode is None:
        if rgb and code != "u1":
            raise ValueError(f"RGB pixels are {found}, expected uint8: use .astype('uint8')")
        if code not in MODE_OF_DTYPE:
            raise ValueError(no_mode(found))
        number = 16 if rgb else MODE_OF_DTYPE[code]
        noted = array.encoding.get("mrc_mode")
        if not rgb and code == "u1" and noted in (0, 101):
            warn(
                f"the bytes of {array.encoding.get('source', 'the file')} (mode {noted}) are "
                f"widened to mode 6, as the standard has no unsigned bytes: pass mode={noted} to "
                f"keep them"
            )
    elif mode not in MODES:
        raise ValueError(f"mode={mode!r}, expected one of {', '.join(map(str, MODES))}")
    else:
        number = mode
    sample = MODES[number].sample
    if number == 0 and found.kind in "ub":
        sample = UNSIGNED_BYTE
    if rgb != (number == 16):
        what = "the data have no dimension rgb" if number == 16 else "the data are RGB pixels"
        raise ValueError(f"mode={number} was asked for, but {what}")
    if mode is not None and dtype is not None and code != sample.dtype:
        raise ValueError(f"mode={mode} holds {np.dtype(sample.dtype)}, but dtype={found} was asked")
    if array.dtype.kind == "c" and np.dtype(sample.dtype).kind != "c":
        raise ValueError(f"the data are complex, but mode {number} holds no complex numbers")
    return number, sample


def no_mode(dtype: np.dtype[Any]) -> str:
    """Say which casts make a data type one that MRC has a mode for."""
    casts = {"c": "complex64", "b": "int8", "f": "float32"}.get(dtype.kind, "float32")
    more = ' (whole numbers that fit: "int16" or "uint16")' if dtype.kind in "iu" else ""
    return (
        f"the data type is {dtype}, for which MRC has no mode, expected one of int8, int16, "
        f"uint16, float16, float32, complex64: cast it with .astype({casts!r}), or pass "
        f"dtype={casts!r}{more}"
    )


def space_group(array: xr.DataArray, kind: Kind) -> int:
    """Give the space group: that of the attributes where it is one of the kind."""
    usual, allowed = {
        "volume": (1, CRYSTAL_SPACE_GROUPS),
        "volume_stack": (STACK_SPACE_GROUPS[0], STACK_SPACE_GROUPS),
    }.get(kind, (0, range(1)))
    noted = np.ravel(array.attrs.get("mrc_space_group", usual))
    return int(noted[0]) if noted.size == 1 and noted[0] in allowed else usual


def copy_from(
    like: OpenedFile, header: Header, array: xr.DataArray
) -> tuple[dict[str, Any], bytes]:
    """Give the fields and the extended header of another file that fit this one."""
    other = like.header
    fields: dict[str, Any] = {}
    if other.has_imod_stamp:
        flags = other.imod_flags & ~IMOD_FOUR_BITS | IMOD_ORIGIN_SIGN | IMOD_SIGNED_BYTES
        fields = {name: getattr(other, name) for name in COPIED_FIELDS[2:]} | {"imod_flags": flags}
    extended = like.extended_bytes
    problem = ""
    if not extended:
        return fields, b""
    exttyp = b"CCP4" if like.extended.symmetry else other.exttyp  # which often goes without saying
    if per_section(other.exttyp) and other.nz != header.nz:
        problem = f"it has records of {other.nz} sections, and {header.nz} are written"
    elif has_other_tilts(like, array):
        problem = "its tilt angles are not those of the data, or in another order"
    elif other.byteorder != header.byteorder and exttyp not in (b"CCP4", b"JSON"):
        problem = "its numbers are big endian, and little endian is written"
    if problem:
        warn(f"the extended header of {like.array.source.uri} is left out: {problem}")
        return fields, b""
    fields |= {name: getattr(other, name) for name in COPIED_FIELDS[:2]}
    fields |= {"exttyp": exttyp, "nsymbt": len(extended)}
    if other.is_standard_version:  # in images of EPU it tells which row is the top one
        fields["nversion"] = other.nversion
    return fields, extended


def cell_of(other: Header, header: Header) -> dict[str, Any]:
    """Give the unit cell of another map of the same grid, where it is more than the data.

    The symmetry of a crystal is that of its cell, of which neither coordinates nor attributes tell.
    """
    lengths = [n for _, n in sorted(zip(axis_order(other), other.n, strict=True))]
    if header.ispg < 2 and list(other.m) == lengths:
        return {}
    # At the last position; both are known to the decimals of positions.
    away = np.abs(np.subtract(other.voxel_size, header.voxel_size)) * (np.array(header.n) - 1)
    same = cell_angles(other) == cell_angles(header) and (away <= 2 * TINY).all()
    return {"mx": other.mx, "my": other.my, "mz": other.mz, "cella": other.cella} if same else {}


def has_other_tilts(like: OpenedFile, array: xr.DataArray) -> bool:
    """Whether the images were sorted or chosen after they were read, so that records do not fit."""
    tilts = next((f.values for f in like.extended.common if f.name == "tilt_angle"), None)
    if tilts is None or "tilt_angle" not in array.coords:
        return False
    ours = array.tilt_angle.values
    # Those of an .mdoc have more decimals.
    return ours.size != tilts.size or not np.allclose(ours, tilts, atol=0.1, equal_nan=True)


def imod_fields(header: Header, sample: Sample) -> dict[str, int]:
    """Give IMOD's stamp and flags for bytes: they are the one way to say that bytes are unsigned.

    Flag 4 says that ORIGIN has the sign of the standard.
    """
    if sample is not UNSIGNED_BYTE:
        return {}
    flags = header.imod_flags & ~IMOD_SIGNED_BYTES if header.has_imod_stamp else 0
    return {"imod_stamp": IMOD_STAMP, "imod_flags": flags | IMOD_ORIGIN_SIGN}


def choose_labels(
    array: xr.DataArray, labels: str | Sequence[str] | None, like: OpenedFile | None
) -> list[str]:
    """Give the labels: those that were passed, of the attributes or of the other file, and ours."""
    if labels is None:
        noted = array.attrs.get("mrc_labels")
        labels = split_labels("" if noted is None else noted)
        labels = labels or (like.header.labels if like else ())
    texts = [text for text in split_labels(labels) if not text.startswith(OURS)]
    if len(texts) < LABEL_COUNT:
        texts.append(f"{OURS} {own_version()}"[:80])
    return texts


def own_version() -> str:
    """Version of this package."""
    try:
        return version("xarray-mrc")
    except PackageNotFoundError:  # used from a source tree that was not installed
        return "of unknown version"
