"""Dataset or DataArray to (Header, Layout, data): what a file has to be; no file is touched.

The other direction of `dataset`: what is planned here reads back there as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xarray_mrc.codec.decimals import DECIMALS, FARTHEST, SHORTEST_VOXEL, Triple, start_of, step_of
from xarray_mrc.codec.extended import per_section
from xarray_mrc.codec.geometry import (
    IMOD_ORIGIN_SIGN,
    NSTART_LIMIT,
    RIGHT_ANGLES,
    cell_angles,
    cell_matrix,
)
from xarray_mrc.codec.header import HEADER_SIZE, IMOD_STAMP, Header
from xarray_mrc.codec.labels import LABEL_COUNT, encode_labels
from xarray_mrc.codec.layout import DIMS, STACK_SPACE_GROUPS, Kind, Layout
from xarray_mrc.codec.modes import MODE_OF_DTYPE, MODES, UNSIGNED_BYTE, Sample
from xarray_mrc.codec.samples import IMOD_FOUR_BITS, IMOD_SIGNED_BYTES
from xarray_mrc.dataset import AXES
from xarray_mrc.errors import MrcWarning
from xarray_mrc.reader import OpenedFile, user_level

__all__ = ["Planned", "VoxelSize", "choose_sample", "plan", "the_array"]

VoxelSize = float | Sequence[float] | Mapping[str, float]

CRYSTALS = range(1, 231)
OURS = "Created by xarray_mrc"
# Of a voxel: what positions may be off the line that is written.
LARGEST_BEND = 1e-3
TINY = 2.1 * 10.0**-DECIMALS
UNNAMED = ("dim_0", "dim_1", "dim_2", "dim_3", "dim_4")
VOLUMES: dict[int, Kind] = {2: "image", 3: "volume", 4: "volume_stack"}
# Of another file: what neither coordinates nor attributes carry.
CARRIED = ("nint", "nreal", "imod_stamp", "imod_flags", "idtype", "tilt_angles")


@dataclass(frozen=True, slots=True)
class Planned:
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


def plan(
    obj: xr.Dataset | xr.DataArray,
    *,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    voxel_size: VoxelSize | None = None,
    like: OpenedFile | None = None,
    kind: Kind | None = None,
    labels: str | Sequence[str] | None = None,
) -> Planned:
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
    Planned

    Raises
    ------
    ValueError
        An MRC file can't hold it.

    Examples
    --------
    >>> planned = plan(xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("x", "z", "y")))
    >>> planned.header.n, planned.layout.dims
    ((2, 4, 3), ('z', 'y', 'x'))
    """
    array = the_array(obj)
    kind, dims = arrange(array, kind)
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
        carried, extended = carry(like, header)
        header = header.replace(**carried)
    if number == 0:
        header = header.replace(**imod_fields(header, sample))
    header = header.replace(**place(array, dims, header, voxel_size))
    texts = choose_labels(array, labels, like)
    header = header.replace(nlabl=len(texts), label_bytes=encode_labels(texts))
    offset = HEADER_SIZE + len(extended)
    layout = Layout.arrange(header, kind, sample, (volumes * depth, rows, columns), offset)
    return Planned(header, extended, layout, data)


def the_array(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Give the one array that an object stands for; ValueError if there is not just one."""
    if isinstance(obj, xr.DataArray):
        return obj
    if not isinstance(obj, xr.Dataset):
        raise TypeError(
            f"{type(obj).__name__} was found, expected a Dataset or DataArray: pass "
            f"xr.DataArray(array, dims=('z', 'y', 'x')), or other dimensions"
        )
    names = list(obj.data_vars)
    if "data" not in names and len(names) != 1:
        raise ValueError(
            f"the dataset has the variables {names}, expected one that is called 'data', or only "
            f"one: pass the one to be written, as in ds['name'].mrc.to_mrc(...)"
        )
    return obj["data" if "data" in names else names[0]]


def arrange(array: xr.DataArray, kind: Kind | None) -> tuple[Kind, dict[str, Any]]:
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
            f"{wanted}; add one with obj.expand_dims(...), or pass another kind="
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
        if guess in DIMS and len(DIMS[guess]) == len(found) and named <= set(DIMS[guess]):
            return guess
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
            warnings.warn(
                f"the bytes of {array.encoding.get('source', 'the file')} (mode {noted}) are "
                f"widened to mode 6, as the standard has no unsigned bytes: pass mode={noted} to "
                f"keep them",
                MrcWarning,
                stacklevel=user_level(),
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
        "volume": (1, CRYSTALS),
        "volume_stack": (STACK_SPACE_GROUPS[0], STACK_SPACE_GROUPS),
    }.get(kind, (0, range(1)))
    noted = array.attrs.get("mrc_space_group", usual)
    return int(noted) if noted in allowed else usual


def carry(like: OpenedFile, header: Header) -> tuple[dict[str, Any], bytes]:
    """Give the fields and the extended header of another file that fit this one."""
    other = like.header
    fields: dict[str, Any] = {}
    if other.has_imod_stamp:
        flags = other.imod_flags & ~IMOD_FOUR_BITS | IMOD_ORIGIN_SIGN | IMOD_SIGNED_BYTES
        fields = {name: getattr(other, name) for name in CARRIED[2:]} | {"imod_flags": flags}
    extended = like.extended_bytes
    problem = ""
    if not extended:
        return fields, b""
    exttyp = b"CCP4" if like.extended.symmetry else other.exttyp  # which often goes without saying
    if per_section(other.exttyp) and other.nz != header.nz:
        problem = f"it has records of {other.nz} sections, and {header.nz} are written"
    elif other.byteorder != header.byteorder and exttyp not in (b"CCP4", b"JSON"):
        problem = "its numbers are big endian, and little endian is written"
    if problem:
        warnings.warn(
            f"the extended header of {like.array.source.uri} is left out: {problem}",
            MrcWarning,
            stacklevel=user_level(),
        )
        return fields, b""
    fields |= {name: getattr(other, name) for name in CARRIED[:2]}
    fields |= {"exttyp": exttyp, "nsymbt": len(extended)}
    if other.is_standard_version:  # in images of EPU it tells which row is the top one
        fields["nversion"] = other.nversion
    return fields, extended


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
        labels = array.attrs.get("mrc_labels") or (like.header.labels if like else ())
    texts = labels.split("\n") if isinstance(labels, str) else labels
    texts = [text for text in texts if text and not text.startswith(OURS)]
    if len(texts) < LABEL_COUNT:
        texts.append(f"{OURS} {own_version()}"[:80])
    return texts


def own_version() -> str:
    """Version of this package."""
    try:
        return version("xarray-mrc")
    except PackageNotFoundError:  # used from a source tree that was not installed
        return "of unknown version"


def place(
    array: xr.DataArray, dims: dict[str, Any], header: Header, voxel_size: VoxelSize | None
) -> dict[str, Any]:
    """Give the fields that say where the voxels are."""
    lines = {axis: positions(array, dims.get(axis, axis), axis) for axis in AXES}
    given = sizes_given(voxel_size)
    firsts = grid_points(array, lines, header, given)
    steps: list[float | None] = []
    for axis, index in AXES.items():
        line, step = lines[axis], given.get(axis)
        if step is None and line is not None and line.size > 1:
            step = step_of(line, header.m[index], firsts[index] if firsts else None)
        steps.append(step)
    known = next((step for step in steps if step is not None), None)
    if known is None and any(line is not None for line in lines.values()):
        warnings.warn(
            "there is one voxel along every axis with positions, so that they give no voxel size, "
            "and will not be read back: pass voxel_size=",
            MrcWarning,
            stacklevel=user_level(),
        )
    lonely = [
        step is None and (line is not None or array.sizes.get(dims.get(axis, axis), 1) == 1)
        for step, (axis, line) in zip(steps, lines.items(), strict=True)
    ]
    sizes = [
        (steps[0] or known or 0.0) if alone else step or 0.0
        for step, alone in zip(steps, lonely, strict=True)
    ]
    fields: dict[str, Any] = {
        "cella": tuple(size * m for size, m in zip(sizes, header.m, strict=True))
    }
    angles = fields["cellb"] = angles_noted(array, header)
    if firsts:
        return fields | dict(zip(("nxstart", "nystart", "nzstart"), firsts, strict=True))
    if angles != RIGHT_ANGLES:
        begin = [0.0 if line is None else float(line[0]) for line in lines.values()]
        return fields | {"origin": tuple((cell_matrix(angles) @ begin).tolist())}
    read = zip(lines.values(), header.replace(**fields).voxel_size, strict=True)
    start = [0.0 if line is None else start_of(line, size) for line, size in read]
    return fields | {"origin": tuple(start)}


def angles_noted(array: xr.DataArray, header: Header) -> Triple:
    """Give the cell angles of the attributes; ValueError if they make no cell."""
    noted = array.attrs.get("mrc_cell_angles", RIGHT_ANGLES)
    angles = tuple(np.ravel(noted).tolist())
    found = cell_angles(header.replace(cellb=angles))
    if found == RIGHT_ANGLES != angles:
        raise ValueError(f"mrc_cell_angles is {noted!r}, expected the three angles of a cell")
    return found


def positions(array: xr.DataArray, dim: Any, axis: str) -> NDArray[np.float64] | None:
    """Give the positions along an axis, checked; None if the object does not tell them."""
    coord = array.coords.get(dim)
    if coord is None or coord.ndim > 1 or coord.dims not in ((), (dim,)):
        return None
    units = coord.attrs.get("units")
    if units != "angstrom":
        is_index = coord.dtype.kind in "iu" or "index" in coord.attrs.get("long_name", "")
        if units is not None or (coord.ndim and not is_index):
            warnings.warn(
                f"the coordinate {dim} has the units {units!r}, expected 'angstrom', so that its "
                f"voxel size is not known: set obj.{dim}.attrs['units'], or pass voxel_size=",
                MrcWarning,
                stacklevel=user_level(),
            )
        return None
    values = np.atleast_1d(np.asarray(coord.values, np.float64))
    if not (np.isfinite(values).all() and np.abs(values).max() <= FARTHEST):
        raise ValueError(f"the coordinate {dim} has values that are no positions in angstrom")
    if values.size == 1:
        return values
    step = (values[-1] - values[0]) / (values.size - 1)
    if step < 0:
        raise ValueError(
            f"the coordinate {dim} decreases, expected it to increase, as in a file: turn the data "
            f"with obj.sortby({dim!r}), or obj.isel({dim}=slice(None, None, -1))"
        )
    bend = np.abs(values[0] + step * np.arange(values.size) - values).max()
    if step == 0 or bend > max(TINY, LARGEST_BEND * step):
        steps = np.diff(values)
        raise ValueError(
            f"the coordinate {dim} is not evenly spaced (steps from {steps.min():g} to "
            f"{steps.max():g}), expected one voxel size: put it in order with obj.sortby({dim!r}), "
            f"or on an even grid with obj.interp({dim}=...)"
        )
    return values


def sizes_given(voxel_size: VoxelSize | None) -> dict[str, float]:
    """Give the voxel sizes that were passed, by axis."""
    if voxel_size is None:
        return {}
    if isinstance(voxel_size, Mapping):
        given = dict(voxel_size)
    elif isinstance(voxel_size, Sequence | np.ndarray) and np.ndim(voxel_size):
        given = dict(zip(AXES, voxel_size, strict=True)) if len(voxel_size) == 3 else {"": 0.0}
    else:
        given = dict.fromkeys(AXES, cast("float", voxel_size))
    known = (v == 0 or SHORTEST_VOXEL <= v <= FARTHEST for v in map(np.float64, given.values()))
    if not set(given) <= set(AXES) or not all(known):
        raise ValueError(
            f"voxel_size={voxel_size!r}, expected a length in angstrom, three of them for x, y and "
            f"z, or a dict of them by axis"
        )
    return {axis: float(size) for axis, size in given.items()}


def grid_points(
    array: xr.DataArray,
    lines: Mapping[str, NDArray[np.float64] | None],
    header: Header,
    given: Mapping[str, float],
) -> tuple[int, int, int] | None:
    """Give the first grid points, if the place came from NSTART and is a whole number of voxels."""
    if array.attrs.get("mrc_origin_source") != "nstart":
        return None
    spacings = [
        (v[-1] - v[0]) / (v.size - 1) for v in lines.values() if v is not None and v.size > 1
    ]
    firsts = [0, 0, 0]
    for axis, line in lines.items():
        if line is None:
            continue
        if not spacings:
            return None
        spacing = given.get(axis) or spacings[0]
        if line.size > 1:
            spacing = (line[-1] - line[0]) / (line.size - 1)
        first = round(line[0] / spacing)
        near = abs(first * spacing - line[0]) <= max(TINY, abs(first) * TINY / line.size)
        length = max(header.n[AXES[axis]], header.m[AXES[axis]])
        if not near or abs(first) > NSTART_LIMIT * length:
            return None
        firsts[AXES[axis]] = first
    return (firsts[0], firsts[1], firsts[2])
