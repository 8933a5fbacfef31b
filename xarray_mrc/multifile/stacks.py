"""`open_stack`: images of many files, as a table lists them, as one lazy array."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.codec.decimals import DECIMALS
from xarray_mrc.dataset.lazy_variable import lazy_variable
from xarray_mrc.errors import MrcError, warn
from xarray_mrc.multifile.box_extraction import check_fill
from xarray_mrc.multifile.cryosparc import read_cs
from xarray_mrc.multifile.paths import as_items, find_files
from xarray_mrc.multifile.references import (
    ALL_SECTIONS,
    ImageReferences,
    parse_references,
    resolve_paths,
)
from xarray_mrc.multifile.stack_array import (
    AS_IMAGES,
    MAX_THREADS,
    ImageFile,
    StackArray,
    fits_size,
)
from xarray_mrc.multifile.star import read_star
from xarray_mrc.reading.open_file import OpenedFile, open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.remote.urls import is_remote

__all__ = ["open_stack"]

DIMS = ("image", "y", "x")
BLOCK_NBYTES = 64 * 2**20
MAX_PIXEL_SIZE_DIFFERENCE = 0.01
MAX_NAMED = 5


def open_stack(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    chunks: Mapping[str, Any] | int | str | None = {},
    *,
    root: str | os.PathLike[str] | None = None,
    check: bool = True,
    crop: int | Sequence[int] | None = None,
    pad: int | Sequence[int] | None = None,
    fill: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Open images of many files as one stack; no data are read.

    Parameters
    ----------
    source : str, os.PathLike or iterable of them
        A STAR file of RELION (particles, micrographs or tilt series), a .cs file of cryoSPARC, or
        files, patterns and references such as ``"12@stack.mrcs"`` (counted from 1). A name without
        a number stands for all sections of the file; in a STAR file for its only one, or for the
        images of a particle of a tilt series (RELION 5), which share its row.
    chunks : mapping, int, "auto" or None
        Chunks of dask; by default blocks of about 64 MiB that end where files do. None makes a lazy
        array without dask.
    root : str or os.PathLike, optional
        Directory or URL that paths in a table are relative to; by default the current directory,
        that of the table, or one of its parents, whichever has the first file.
    check : bool
        Whether the headers of all files are read, and their sizes compared. False reads the first
        one, and the others when images of theirs are read.
    crop, pad : int or (int, int), optional
        Rows and columns of all images, if they differ: larger ones are cut, or smaller ones padded,
        around their centre (pixel n // 2).
    fill : float
        Value of padding.
    storage_options : mapping, optional
        How the storage of URLs is reached, as in `xarray_mrc.open_mrc`.

    Returns
    -------
    DataArray
        Dimensions ``image``, ``y`` and ``x``. Every column of the table is a coordinate along
        ``image`` under its own name (of a .cs file with ``_`` for ``/``, and one for each value of
        a column that has several). ``y`` and ``x`` are
        positions in angstrom where all images have one pixel size; that of the table counts.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    MrcError
        A table or file cannot be read, or images differ in size.
    ValueError
        `fill` is no value of the data type, or arguments contradict each other.

    Warns
    -----
    MrcWarning
        Once, if the pixel sizes of the table and of the files differ by more than 1 %, or if images
        have several.

    Examples
    --------
    >>> import tempfile, xarray_mrc
    >>> images = xr.DataArray(np.zeros((3, 4, 4), "f4"), dims=("image", "y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.mrcs", "b.mrcs"):
    ...         xarray_mrc.to_mrc(images, f"{folder}/{name}", voxel_size=1.35)
    ...     open_stack([f"2@{folder}/a.mrcs", f"{folder}/b.mrcs"]).sizes
    Frozen({'image': 4, 'y': 4, 'x': 4})
    """
    size = wanted_size(crop, pad)
    references, files = read_references(source, root, storage_options)
    remote = replace(AS_IMAGES, storage_options=storage_options)
    options = [remote if is_remote(path) else AS_IMAGES for path in files]
    opened = open_all(files, options, None if check else references)
    references = expand_sections(references, opened)
    resize = "" if size is None else "crop" if pad is None else "pad"
    size = common_size(files, opened, size, resize)
    array = StackArray(
        tuple(
            ImageFile(path, each.array if each else None, own)
            for path, each, own in zip(files, opened, options, strict=True)
        ),
        references.file_of,
        references.section_of,
        size,
        np.result_type(*{each.array.dtype for each in opened if each}),
        resize,
        fill,
    )
    if resize == "pad":
        check_fill(array.dtype, fill)
    if check:
        check_sections(array)
    # Absolute, because it is read again when a selection is written, perhaps from another folder.
    table = os.path.abspath(references.table) if references.table else ""
    attrs: dict[str, Any] = {"mrc_table": table} if table else {}
    variable = lazy_variable(array, DIMS, attrs, {"preferred_chunks": preferred(array)})
    if chunks is not None:
        variable = as_blocks(variable, chunks, array)
    # The constructor of DataArray would copy every text of every column.
    return xr.Dataset({"data": variable}, coordinates(references, opened, size))["data"]


def wanted_size(
    crop: int | Sequence[int] | None, pad: int | Sequence[int] | None
) -> tuple[int, int] | None:
    """Return the size that the caller asks for."""
    if crop is not None and pad is not None:
        raise ValueError("crop= and pad= were passed, expected one of them")
    wanted = crop if pad is None else pad
    if wanted is None:
        return None
    pair = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    if len(pair) != 2 or min(pair) < 1:
        name = "crop" if pad is None else "pad"
        raise ValueError(f"{name}={wanted!r}, expected a length, or rows and columns")
    return int(pair[0]), int(pair[1])


def read_references(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    root: str | os.PathLike[str] | None,
    storage_options: Mapping[str, Any] | None,
) -> tuple[ImageReferences, list[str]]:
    """Return the references of a source, and the absolute paths of their files."""
    if isinstance(source, str | os.PathLike):
        path = os.path.expanduser(os.fsdecode(source))
        suffix = os.path.splitext(path)[1].lower()
        if suffix in (".star", ".cs"):
            found = read_star(path, root) if suffix == ".star" else read_cs(path)
            if not len(found.file_of):
                raise MrcError(f"{path}: the table has no images")
            return found, resolve_paths(found.files, path, root)
        source = [path]
    names: list[str] = []
    for item in as_items(source):
        name = os.fsdecode(item)
        names += [name] if "@" in name else find_files(name, storage_options)
    if not names:
        raise ValueError("source is an empty list, expected a file or a reference")
    found = parse_references(names)
    return found, resolve_paths(found.files, "", root)


def open_all(
    files: Sequence[str], options: Sequence[ReadingOptions], references: ImageReferences | None
) -> list[OpenedFile | None]:
    """Open files, remote ones some at a time.

    With `references` open the first one only, and those of which every section is meant.
    """
    numbers = range(len(files))
    if references is not None:
        whole = references.file_of[references.section_of == ALL_SECTIONS]
        numbers = np.unique([0, *whole]).tolist()
    opened: list[OpenedFile | None] = [None] * len(files)

    def open_one(number: int) -> None:
        opened[number] = open_file(files[number], options[number], notes=[])

    remote = [number for number in numbers if options[number] is not AS_IMAGES]
    for number in numbers:
        if options[number] is AS_IMAGES:
            open_one(number)
    if remote:
        with ThreadPoolExecutor(MAX_THREADS) as pool:
            list(pool.map(open_one, remote))
    return opened


def expand_sections(
    references: ImageReferences, opened: Sequence[OpenedFile | None]
) -> ImageReferences:
    """Replace names without a number by the sections of their files."""
    whole = references.section_of == ALL_SECTIONS
    if not whole.any():
        return references
    lengths = np.array([each.array.shape[0] if each else 1 for each in opened], np.int64)
    counts = np.where(whole, lengths[references.file_of], 1)
    has_stacks = references.has_stacks and bool((counts > 1).any())
    if references.table and (counts > 1).any() and not has_stacks:
        first = int(np.flatnonzero(counts > 1)[0])
        raise MrcError(
            f"{references.table}: row {first + 1} names "
            f"{references.files[references.file_of[first]]}, which has {counts[first]} sections, "
            f"expected one, or SECTION@FILE"
        )
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    own = np.arange(len(starts)) - starts
    section_of = np.where(np.repeat(whole, counts), own, np.repeat(references.section_of, counts))
    found = replace(
        references, file_of=np.repeat(references.file_of, counts), section_of=section_of
    )
    if not has_stacks:
        return found
    columns = {name: np.repeat(values, counts) for name, values in references.columns.items()}
    columns.setdefault("section", section_of)
    size = references.voxel_size
    return replace(
        found, columns=columns, voxel_size=None if size is None else np.repeat(size, counts)
    )


def common_size(
    files: Sequence[str],
    opened: Sequence[OpenedFile | None],
    size: tuple[int, int] | None,
    resize: str,
) -> tuple[int, int]:
    """Return rows and columns of all images; MrcError if they differ without crop= or pad=."""
    sizes = [each.array.shape[1:] if each else None for each in opened]
    known = [each for each in sizes if each is not None]
    if any(len(each) != 2 for each in known):
        raise MrcError("images of colours cannot be opened as a stack, expected one number a pixel")
    if size is None:
        usual = max(set(known), key=known.count)
        odd = [
            f"{path} ({each[0]} x {each[1]})"
            for path, each in zip(files, sizes, strict=True)
            if each is not None and each != usual
        ]
        if odd:
            more = f" and {len(odd) - MAX_NAMED} others" if len(odd) > MAX_NAMED else ""
            raise MrcError(
                f"most images have {usual[0]} rows and {usual[1]} columns, but not those of "
                f"{', '.join(odd[:MAX_NAMED])}{more}: leave these out, or pass crop= or pad="
            )
        return usual[0], usual[1]
    for path, each in zip(files, sizes, strict=True):
        if each is None:
            continue
        if not fits_size(each, size, resize):
            raise MrcError(
                f"{path}: {resize}={size} was passed, but its images have {each[0]} rows and "
                f"{each[1]} columns, which is {'less' if resize == 'crop' else 'more'}"
            )
    return size


def check_sections(array: StackArray) -> None:
    """Raise MrcError if a section is beyond the end of its file."""
    counts = np.array([file.opened().shape[0] for file in array.files])
    beyond = np.flatnonzero(array.section_of >= counts[array.file_of])
    if beyond.size or (array.section_of < 0).any():
        which = int(beyond[0]) if beyond.size else int(np.flatnonzero(array.section_of < 0)[0])
        file = array.files[array.file_of[which]]
        raise MrcError(
            f"{file.path}: image {which + 1} is section {array.section_of[which] + 1} of this "
            f"file, which has {counts[array.file_of[which]]}: the table belongs to another file"
        )


def preferred(array: StackArray) -> dict[str, int]:
    """Return chunks of about 64 MiB for xarray."""
    nbytes = array.size[0] * array.size[1] * array.dtype.itemsize
    count = max(1, min(len(array.file_of), BLOCK_NBYTES // max(1, nbytes)))
    return {"image": count, "y": array.size[0], "x": array.size[1]}


def as_blocks(
    images: xr.Variable, chunks: Mapping[str, Any] | int | str, array: StackArray
) -> xr.Variable:
    """Return images in the chunks asked for, or in blocks that end where files do."""
    from xarray_mrc.multifile.image_blocks import ImageBlocks, plan_blocks

    if isinstance(chunks, Mapping) and (odd := [dim for dim in chunks if dim not in DIMS]):
        raise ValueError(f"chunks={chunks} has {odd[0]!r}, expected dimensions of {DIMS}")
    if chunks == {}:
        nbytes = array.size[0] * array.size[1] * array.dtype.itemsize
        lengths = plan_blocks(array.file_of, nbytes, BLOCK_NBYTES)
        chunks = {"image": lengths, "y": -1, "x": -1}
    return xr.Variable(DIMS, ImageBlocks.of(images, chunks), images.attrs, images.encoding)


def coordinates(
    references: ImageReferences, opened: Sequence[OpenedFile | None], size: tuple[int, int]
) -> dict[str, xr.Variable]:
    """Return the columns of the table, and positions along y and x."""
    coords: dict[str, xr.Variable] = {}
    for name, values in references.columns.items():
        long_name = references.long_names.get(name)
        if name in DIMS:
            raise MrcError(
                f"{references.table}: the column {name} has the name of a dimension of the images: "
                f"rename it"
            )
        attrs = {"long_name": long_name} if long_name else {}
        # Without fastpath xarray looks at every text, for a tenth of the time of opening.
        coords[name] = xr.Variable("image", values, attrs, fastpath=True)
    notes: list[str] = []
    pixel = pixel_size(references, opened, notes)
    if notes:
        warn(f"{references.table or references.files[0]}: {'; '.join(notes)}")
    if pixel is None:
        return coords
    for axis, (dim, length) in enumerate(zip(DIMS[1:], size, strict=True)):
        values = np.round(np.arange(length) * pixel[axis], DECIMALS)
        attrs = {"units": "angstrom", "long_name": f"{dim} position", "axis": dim.upper()}
        coords[dim] = xr.Variable(dim, values, attrs)
    return coords


def pixel_size(
    references: ImageReferences, opened: Sequence[OpenedFile | None], notes: list[str]
) -> tuple[float, float] | None:
    """Return the pixel size along y and x of all images; None if it is not known, or not one."""
    stated = {
        (header.voxel_size[1], header.voxel_size[0])
        for header in (each.header for each in opened if each)
        if all(value == value for value in header.voxel_size[:2])
    }
    table = references.voxel_size
    if table is None or not np.isfinite(table).all():
        if table is not None:
            notes.append(
                f"the table has no pixel size for {np.count_nonzero(~np.isfinite(table))} of "
                f"{len(table)} images, so that the headers are used"
            )
        if len(stated) > 1:
            notes.append(
                f"the files have {len(stated)} pixel sizes, so that the images have no positions"
            )
        return next(iter(stated)) if len(stated) == 1 else None
    sizes = np.unique(table)
    if len(sizes) > 1:
        notes.append(
            f"the table has {len(sizes)} pixel sizes, {sizes[0]:g} to {sizes[-1]:g} angstrom, so "
            f"that the images have no positions"
        )
        return None
    own = float(sizes[0])
    far = [
        value
        for pair in stated
        for value in pair
        if abs(value - own) > MAX_PIXEL_SIZE_DIFFERENCE * own
    ]
    if far:
        notes.append(
            f"the pixel size is {own:g} angstrom in the table and {far[0]:g} in the header of a "
            f"file; that of the table is used"
        )
    return own, own
