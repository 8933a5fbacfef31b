"""`write_stack`: a selection of images as one or several stacks, with the table that lists them."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xarray_mrc.codec.containers import named_container
from xarray_mrc.dataset.axis_positions import VoxelSize, parse_voxel_size, voxel_size_of
from xarray_mrc.dataset.conventions import data_variable, match_dims
from xarray_mrc.dataset.raw_records import raw_notes
from xarray_mrc.errors import MrcWarning, warn
from xarray_mrc.multifile.references import find_root, is_complete, parse_references
from xarray_mrc.multifile.star import format_blocks
from xarray_mrc.multifile.written_table import (
    SourceTable,
    columns_of,
    plan_blocks,
    read_source,
    stated_pixel_sizes,
)
from xarray_mrc.storage.folder import temporary_folder
from xarray_mrc.storage.local_sink import already_exists, new_file, publish
from xarray_mrc.storage.source import local_path
from xarray_mrc.writing.target import check_suffix
from xarray_mrc.writing.writer import to_mrc

__all__ = ["write_stack"]

# RELION takes files with these names for stacks of images, and others for volumes.
RELION_STACKS = (".mrcs", ".st")
SQUARE_RTOL = 1e-6
MAX_NAMED = 5


def write_stack(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    star: str | os.PathLike[str] | None = None,
    per_file: int | None = None,
    table: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    voxel_size: VoxelSize | None = None,
    dtype: DTypeLike | None = None,
    mode: int | None = None,
    labels: str | Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write images as one or several stacks, and the STAR file that lists them.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The images ``(image, y, x)``, in the order in which they are written: a selection of what
        `xarray_mrc.open_stack` opened, for example. An image may come twice.
    path : str or os.PathLike
        The stack. A suffix .gz, .bz2 or .zst compresses it.
    star : str or os.PathLike, optional
        The STAR file to write. Its columns are the coordinates along ``image``, those that were
        changed or added as well; its other tables are those of the table that the images were
        opened from, also in layout: one table in version 3.0 of RELION, a table of optics groups
        beside it in newer ones.
    per_file : int, optional
        Images in a stack. The stacks are named ``selected_000001.mrcs`` and so on.
    table : str or os.PathLike, optional
        The table that the images were opened from, if the attribute ``mrc_table`` does not say so.
    root : str or os.PathLike, optional
        Directory that the names of images are relative to: the folder of a RELION project. By
        default that of the table that the images were opened from, or the current one. Paths are
        absolute if the new stack or table lies elsewhere.
    voxel_size : float, sequence of 3 floats or dict, optional
        Pixel size in angstrom. By default that of the coordinates, else that of the table.
    dtype, mode, labels
        As in `xarray_mrc.to_mrc`.
    overwrite : bool
        Whether existing files may be replaced, also those that the images are read from.

    Returns
    -------
    list of str
        Absolute paths of the stacks.

    Raises
    ------
    FileExistsError
        A file exists.
    FileNotFoundError
        The table that the images were opened from is not there.
    ValueError
        The images cannot be written, or not described by the table.
    OSError
        A file cannot be written.

    Warns
    -----
    MrcWarning
        Once, if something is not written, or values are not finite.

    Notes
    -----
    Pixel size and image size in the table become those of the images, as after
    ``coarsen(y=2, x=2).mean()``: in the optics groups, or in the columns of the images. Of a table
    of version 3.0 the detector's pixel size is multiplied, and the origins, which are in pixels,
    are divided.

    Images without a table of optics groups get one, with the voltage and spherical aberration that
    are coordinates without a dimension, ``rlnVoltage`` and ``rlnSphericalAberration``, or columns
    that are constant in each group.

    Everything is written under temporary names first. If the call fails, existing files are
    unchanged. The table gets its name last, and an old one is removed before the first of its
    stacks is replaced, so that no table names images that are not there.

    Examples
    --------
    >>> import tempfile, xarray_mrc
    >>> images = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    >>> images = images.assign_coords(rlnVoltage=300.0, rlnSphericalAberration=2.7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = write_stack(images, f"{folder}/a.mrcs", star=f"{folder}/a.star", voxel_size=1.5)
    ...     particles = xarray_mrc.open_stack(f"{folder}/a.star")
    >>> particles.sizes, particles.mrc.voxel_size
    (Frozen({'image': 3, 'y': 4, 'x': 4}), {'x': 1.5, 'y': 1.5})
    """
    array, slow = as_images(data_variable(obj))
    count, rows, width = array.shape
    stacks = stack_paths(local_path(path), count, per_file)
    star_path = None if star is None else local_path(star)
    check_names(stacks, star_path, overwrite=overwrite)
    parts = [range(count)[i : i + (per_file or count)] for i in range(0, count, per_file or count)]
    own_size = pixel_size(array, voxel_size)
    notes = raw_notes(obj)
    text = ""
    stated: NDArray[np.float64] | None = None
    if star_path is not None:
        source = read_source(array, table)
        columns, lost = columns_of(array, slow, source)
        notes += lost
        stated = stated_pixel_sizes(columns, source, count)
        names = image_names(stacks, parts, source, root, star_path)
        constants = {str(k): each.item() for k, each in array.coords.items() if not each.ndim}
        blocks, missed = plan_blocks(names, columns, source, (rows, width), own_size, constants)
        text = format_blocks(blocks, star_path)
        notes += [*missed, *relion_notes(stacks[0], rows, width)]
        if stated is None and own_size is None:
            notes.append("the table has no pixel size, because it is not known: pass voxel_size=")
        array = array.drop_vars([key for key, coord in array.coords.items() if slow in coord.dims])
    with temporary_folder(stacks[0]) as folder, table_file(star_path, text, overwrite=overwrite):
        staged = [os.path.join(folder, f"{n}{suffix_of(stacks[0])}") for n in range(len(stacks))]
        for part, draft in zip(parts, staged, strict=True):
            size = voxel_size
            if stated is not None and own_size is None:
                size = common_value(stated[part.start : part.stop])
            images = array.isel({slow: slice(part.start, part.stop)})
            options = {"voxel_size": size, "dtype": dtype, "mode": mode, "labels": labels}
            notes += write_with_notes(images, draft, options)
        if notes:
            warn(f"{star_path or stacks[0]}: {joined(notes)}")
        if star_path is not None and overwrite:
            with suppress(FileNotFoundError):
                os.unlink(star_path)
        for draft, target in zip(staged, map(os.path.realpath, stacks), strict=True):
            if os.path.exists(target):
                shutil.copymode(target, draft)
            publish(draft, target, overwrite=overwrite)
    return stacks


def as_images(array: xr.DataArray) -> tuple[xr.DataArray, Hashable]:
    """Return images with the axes (images, y, x), and the name of the first dimension."""
    kind, dims = match_dims(array, None)
    if kind == "image":
        scalars = {key: coord for key, coord in array.coords.items() if not coord.ndim}
        array = array.drop_vars(scalars).expand_dims("image")
        single = {key: ("image", [each.values[()]]) for key, each in scalars.items()}
        array = array.assign_coords({key: each for key, each in single.items() if key != "image"})
    elif kind == "volume_stack" or "z" in array.dims:
        raise ValueError(
            f"the dimensions are {array.dims}, which is a {kind}, expected images (image, y, x): "
            f"rename them, as in obj.rename(z='image')"
        )
    dims = match_dims(array, "image_stack")[1]
    if "rgb" in dims:
        raise ValueError("the images are RGB pixels, expected one number a pixel")
    return array.transpose(*dims.values()), dims["image"]


def suffix_of(path: str) -> str:
    """Return the suffixes of a path: that of the format and that of a container."""
    return path[len(os.path.splitext(plain_path(path))[0]) :]


def plain_path(path: str) -> str:
    """Return a path without the suffix of a container."""
    return os.path.splitext(path)[0] if named_container(path) else path


def stack_paths(path: str, count: int, per_file: int | None) -> list[str]:
    """Return the paths of the stacks: the path itself, or one with a number for each of them."""
    if not count:
        raise ValueError("there are no images to write: the selection is empty")
    if per_file is None:
        return [path]
    if per_file < 1:
        raise ValueError(f"per_file={per_file!r}, expected a number of images from 1")
    suffix = suffix_of(path)
    stem = path.removesuffix(suffix)
    return [f"{stem}_{number:06d}{suffix}" for number in range(1, -(-count // per_file) + 1)]


def check_names(stacks: Sequence[str], star: str | None, *, overwrite: bool) -> None:
    """Raise an error if files of these names cannot be written, or are there already."""
    check_suffix(stacks[0])
    if star is not None and not plain_path(stacks[0]).lower().endswith(RELION_STACKS):
        raise ValueError(
            f"{stacks[0]}: RELION reads images of a stack only if its name ends in "
            f"{' or '.join(RELION_STACKS)}: choose such a name, or leave star= out"
        )
    if star is not None and not star.lower().endswith(".star"):
        raise ValueError(f"star={star!r}, expected a name that ends in .star")
    for path in (*stacks, *([star] if star else [])):
        if os.path.exists(path) and not overwrite:
            raise already_exists(path)
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def pixel_size(array: xr.DataArray, voxel_size: VoxelSize | None) -> float | None:
    """Return the one pixel size that images have by a parameter or their coordinates, or None."""
    sizes = voxel_size_of(array) | parse_voxel_size(voxel_size)
    known = [sizes[axis] for axis in "xy" if sizes.get(axis)]
    if known and max(known) > min(known) * (1 + SQUARE_RTOL):
        raise ValueError(
            f"the pixel size is {sizes['x']:g} angstrom along x and {sizes['y']:g} along y, "
            f"expected one pixel size: bin both axes alike, or pass voxel_size="
        )
    return known[0] if known else None


def common_value(values: NDArray[np.float64]) -> float | None:
    """Return the value that all have, or None."""
    return float(values[0]) if (values == values[0]).all() else None


def image_names(
    stacks: Sequence[str],
    parts: Sequence[range],
    source: SourceTable,
    root: str | os.PathLike[str] | None,
    star: str,
) -> list[str]:
    """Return the names of all images, as RELION writes them: ``000001@Select/selected.mrcs``."""
    top = project_folder(source, root)
    # A reader of the table looks for the files from its folder and the parents of it.
    is_within = is_inside(stacks[0], top) and (root is not None or is_inside(star, top))
    names: list[str] = []
    for path, part in zip(stacks, parts, strict=True):
        shown = os.path.relpath(path, top).replace(os.sep, "/") if is_within else path
        names += [f"{number:06d}@{shown}" for number in range(1, len(part) + 1)]
    return names


def project_folder(source: SourceTable, root: str | os.PathLike[str] | None) -> str:
    """Return the folder that names of images are relative to."""
    if root is not None:
        return os.path.abspath(os.path.expanduser(os.fsdecode(root)))
    if source.images is not None:
        (first,) = parse_references([str(source.images[source.column].iloc[0])]).files
        found = None if is_complete(first) else find_root(first, source.path)
        if found is not None:
            return os.path.abspath(found)
    return os.getcwd()


def is_inside(path: str, folder: str) -> bool:
    """Return True if a path lies in a folder, or in one of its folders."""
    return os.path.commonpath([path, folder]) == folder


def relion_notes(stack: str, rows: int, width: int) -> list[str]:
    """Return sentences that name what RELION will not read."""
    notes = []
    if named_container(stack):
        notes.append("RELION does not read compressed stacks")
    if rows != width:
        notes.append(
            f"RELION expects square images, but these have {rows} rows and {width} columns"
        )
    return notes


@contextmanager
def table_file(path: str | None, text: str, *, overwrite: bool) -> Iterator[None]:
    """Write a table, if there is one; it appears at the end of the context."""
    if path is None:
        yield
        return
    with new_file(path, overwrite=overwrite) as new:
        yield
        new.finish(text.encode())


def write_with_notes(images: xr.DataArray, path: str, options: Mapping[str, Any]) -> list[str]:
    """Write a stack, and return the sentences of its warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_mrc(images, path, kind="image_stack", **options)
    notes = []
    for each in caught:
        if issubclass(each.category, MrcWarning):
            notes.append(str(each.message).removeprefix(f"{path}: "))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return notes


def joined(notes: Sequence[str]) -> str:
    """Return one text of many sentences, each once."""
    found = list(dict.fromkeys(notes))
    more = f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return "; ".join(found[:MAX_NAMED]) + more
