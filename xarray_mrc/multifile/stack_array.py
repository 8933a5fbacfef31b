"""`StackArray`: images of many files as one lazy array, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.layout import Layout
from xarray_mrc.errors import MrcError
from xarray_mrc.multifile.image_array import ImageArray, Pixels
from xarray_mrc.reading import buffers
from xarray_mrc.reading.array import MrcArray
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.reading.selection import Pick
from xarray_mrc.storage.compressed.encoders import cores

__all__ = ["AS_IMAGES", "ImageFile", "StackArray", "fits_size"]

# Whatever a file is by its header, its sections are images here.
AS_IMAGES = ReadingOptions(kind="image_stack", extended_header="none", sidecar=False)
# A selection of less is read by one thread: to start others takes longer.
MIN_THREADED_NBYTES = 64 * 2**20
MAX_THREADS = 8
# Threads of dask and of batches get less of their freed memory back than the main thread: with
# blocks of 31 MiB from the pool, the mean of 40 stacks took 0.26 s of processor time, not 0.34 s.
MIN_POOLED_NBYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of images.

    Attributes
    ----------
    path : str
        The file.
    array : MrcArray or None
        Its images; None if it is opened only when one of them is read.
    options : ReadingOptions
        How it is opened.
    """

    path: str
    array: MrcArray | None = None
    options: ReadingOptions = AS_IMAGES

    def opened(self) -> MrcArray:
        """Return the images, and open the file for it if need be."""
        return self.array or open_file(self.path, self.options, notes=[]).array


@dataclass(frozen=True, eq=False, slots=True)
class StackArray(ImageArray):
    """Images of several files, read when they are indexed.

    Attributes
    ----------
    files : tuple of ImageFile
        The files.
    file_of : ndarray of int
        Number of the file of each image.
    section_of : ndarray of int
        Section of each image in its file, from 0.
    size : tuple of int
        Rows and columns of an image here.
    resize : {"", "crop", "pad"}
        What becomes of images of another size: they are an error, or are cut or padded around their
        centre, which is the pixel n // 2 in both.
    dtype : dtype
        Data type, in native byte order.
    fill : float
        Value of padding.
    plain : ndarray of int
        Offset and number of the images of each file whose images have just the bytes that they have
        here, so that they are read straight into their places; zeros of other files.
    """

    files: tuple[ImageFile, ...]
    file_of: NDArray[np.int64]
    section_of: NDArray[np.int64]
    size: tuple[int, int]
    dtype: np.dtype[Any]
    resize: str = ""
    fill: float = 0
    axes: tuple[int, ...] = field(default=(0, 1, 2), kw_only=True)
    plain: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        layouts = [None if file.array is None else file.array.layout for file in self.files]
        plain = [
            (layout.offset, layout.shape[0])
            if layout is not None
            and layout.is_plain
            and layout.axes == (1, 2, 3)
            and layout.shape[1:] == self.size
            and layout.dtype == self.dtype
            else (0, 0)
            for layout in layouts
        ]
        object.__setattr__(self, "plain", np.array(plain, np.int64).reshape(-1, 2))

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Number of images, rows and columns."""
        return (len(self.file_of), *self.size)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that are read."""
        return tuple(file.path for file in self.files)

    def read_picks(self, picks: Sequence[Pick], *, transient: bool) -> Pixels:
        """Read a selection along each axis, images first; reversed ones are read forwards."""
        pixels = self._map(picks) if transient else None
        if pixels is None:
            shape = (picks[0].count, picks[1].count, picks[2].count)
            pixels = buffers.empty(shape, self.dtype, MIN_POOLED_NBYTES)
            if pixels.size:
                self._fill(picks, pixels)
        return pixels

    def __dask_tokenize__(self) -> tuple[object, ...]:
        layouts: dict[Layout, str] = {}  # files of one size have one

        def token_of(array: MrcArray) -> tuple[object, ...]:
            source, layout = array.source, array.layout
            if layout not in layouts:
                layouts[layout] = repr(layout)
            return source.uri, source.fingerprint, layouts[layout]

        tokens = tuple(
            (file.path, token_of(file.array) if file.array else None) for file in self.files
        )
        digest = blake2b(self.file_of.tobytes())
        digest.update(self.section_of.tobytes())
        own = (self.size, str(self.dtype), self.resize, self.fill, self.axes)
        return ("xarray_mrc.StackArray", tokens, digest.hexdigest(), own)

    def _map(self, picks: Sequence[Pick]) -> Pixels | None:
        """Return consecutive sections of one file as a map of it, if that is possible."""
        chosen = picks[0].positions
        files, sections = self.file_of[chosen], self.section_of[chosen]
        if not len(chosen) or (files != files[0]).any() or (np.diff(sections) != 1).any():
            return None
        array = self.open_images(self.files[files[0]], int(sections[-1]))
        if array.shape[1:] != self.size or array.dtype != self.dtype:
            return None
        key = (slice(int(sections[0]), int(sections[-1]) + 1), picks[1].index, picks[2].index)
        pixels: Pixels = array.read(key, transient=True)
        return pixels

    def _fill(self, picks: Sequence[Pick], pixels: Pixels) -> None:
        """Read images sorted by file and section, each file opened once, into their places."""
        chosen = picks[0].positions
        files, sections = self.file_of[chosen], self.section_of[chosen]
        targets = np.lexsort((sections, files))
        files, sections = files[targets], sections[targets]
        is_whole = all(
            pick.is_run and pick.count == length
            for pick, length in zip(picks[1:], self.size, strict=True)
        )
        firsts, counts = self.plain[files].T
        is_plain = (sections < counts) & is_whole
        nbytes = pixels[:1].nbytes
        groups = groups_of(files, firsts + sections * nbytes, targets, nbytes)
        place = pixels.reshape(-1).view(np.uint8)

        def read_group(group: Group) -> None:
            file = self.files[files[group.start]]
            part = slice(group.start, group.stop)
            try:
                if file.array is not None and is_plain[part].all():
                    file.array.source.read_ranges([(a, place[b:c]) for a, b, c in group.runs])
                else:
                    self._read_windows(file, sections[part], targets[part], picks[1:], pixels)
            except OSError as error:
                if error.filename is None and error.errno is not None:
                    error.filename = file.path  # those of reading have none
                raise

        if len(groups) > 1 and pixels.nbytes >= MIN_THREADED_NBYTES:
            with ThreadPoolExecutor(min(cores(), MAX_THREADS)) as pool:
                list(pool.map(read_group, groups))
        else:
            for group in groups:
                read_group(group)

    def open_images(self, file: ImageFile, last: int) -> MrcArray:
        """Return the images of a file; MrcError if they are not as this array says."""
        array = file.opened()
        shape, dtype = array.shape, array.dtype
        if last >= shape[0]:
            raise MrcError(
                f"{file.path}: section {last + 1} was wanted, but the file has only "
                f"{shape[0]}: correct the table, or look for the file that it means"
            )
        if (shape[1:] != self.size or dtype != self.dtype) and not (
            fits_size(shape[1:], self.size, self.resize) and np.can_cast(dtype, self.dtype)
        ):
            raise MrcError(
                f"{file.path}: its images are {shape[1:]} of {dtype}, expected "
                f"{self.size} of {self.dtype}, as the first file has: open the stack with "
                f"check=True, which names all files that differ"
            )
        return array

    def _read_windows(
        self,
        file: ImageFile,
        sections: NDArray[np.int64],
        targets: NDArray[np.intp],
        window: Sequence[Pick],
        pixels: Pixels,
    ) -> None:
        """Read parts of sections of one file, in rising order, to their places."""
        array = self.open_images(file, int(sections[-1]))
        rows, columns = (
            shifted(pick, own, length)
            for pick, own, length in zip(window, array.shape[1:], self.size, strict=True)
        )
        if len(rows[0]) < window[0].count or len(columns[0]) < window[1].count:
            pixels[targets] = self.fill
        if len(rows[0]) and len(columns[0]):
            found = array.read((sections, rows[1], columns[1]))
            pixels[np.ix_(targets, rows[0], columns[0])] = found


class Group(NamedTuple):
    """Images of one file among those that are read, sorted by file and section.

    Attributes
    ----------
    start, stop : int
        The first of them, and the one after the last.
    runs : iterable of (int, int, int)
        Offset in the file, and first and last byte in the result, of each run of images that follow
        one another in both.
    """

    start: int
    stop: int
    runs: Iterable[tuple[int, int, int]]


def groups_of(
    files: NDArray[np.int64],
    offsets: NDArray[np.int64],
    targets: NDArray[np.intp],
    nbytes: int,
) -> list[Group]:
    """Group images by file; arrays of all images at once take a third of the time of one a file."""
    is_first = np.ones(len(files), bool)
    new_file = np.diff(files) != 0
    is_first[1:] = new_file | (np.diff(offsets) != nbytes) | (np.diff(targets) != 1)
    firsts = np.flatnonzero(is_first)
    first_bytes = targets[firsts] * nbytes
    last_bytes = (first_bytes + np.diff(firsts, append=len(files)) * nbytes).tolist()
    run_offsets, run_bytes = offsets[firsts].tolist(), first_bytes.tolist()
    starts = np.concatenate([[0], np.flatnonzero(new_file) + 1, [len(files)]])
    bounds = np.searchsorted(firsts, starts).tolist()
    return [
        Group(
            start,
            stop,
            zip(run_offsets[low:high], run_bytes[low:high], last_bytes[low:high], strict=True),
        )
        for (start, stop), (low, high) in zip(
            pairwise(starts.tolist()), pairwise(bounds), strict=True
        )
    ]


def fits_size(own: tuple[int, ...], size: tuple[int, int], resize: str) -> bool:
    """Return True if images have a size, or one from which they are cut or padded to it."""
    if len(own) != 2 or not resize:
        return own == size
    pairs = zip(own, size, strict=True)
    return all(a >= b if resize == "crop" else a <= b for a, b in pairs)


def shifted(pick: Pick, own: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which positions of a selection lie in an image of another size, and where there."""
    places = pick.positions - (length // 2 - own // 2)
    inside = np.flatnonzero((places >= 0) & (places < own))
    return inside, places[inside]
