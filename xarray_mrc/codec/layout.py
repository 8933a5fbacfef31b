"""From a header to the layout of the data: kind, shape, axes, and where the data start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import StoredArray
from xarray_mrc.codec.extended import fei
from xarray_mrc.codec.geometry import axis_order
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.kinds import KIND_WAS_PASSED, NO_EVIDENCE, Kind, KindEvidence, find_kind
from xarray_mrc.codec.modes import Sample
from xarray_mrc.codec.samples import find_sample, pixel_counts
from xarray_mrc.errors import MrcHeaderError, MrcTruncatedError

__all__ = ["DIMS", "PREFERRED_NBYTES", "Kind", "Layout"]

DIMS: dict[Kind, tuple[str, ...]] = {
    "image": ("y", "x"),
    "image_stack": ("image", "y", "x"),
    "volume": ("z", "y", "x"),
    "volume_stack": ("volume", "z", "y", "x"),
}
PREFERRED_NBYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Layout(StoredArray):
    """How the pixels of a file lie, and how they become an array in the order z, y, x.

    Attributes
    ----------
    kind : {"image", "image_stack", "volume", "volume_stack"}
        Kind of the data.
    dims : tuple of str
        Names of the axes of the array, in the order z, y, x; RGB pixels add ``rgb``.
    shape : tuple of int
        Lengths of these axes.
    axes : tuple of int
        For each axis of the array the axis of `stored` that it is (4 for ``rgb``).
    kind_source : str
        The reason for the kind: a sentence of the table of evidence.
    sample, byteorder, stored, offset
        As in `StoredArray`.
    """

    kind: Kind
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    kind_source: str = ""

    @classmethod
    def from_header(
        cls,
        header: Header,
        size: int | None = None,
        *,
        kind: Kind | Literal["auto"] = "auto",
        signed: bool | None = None,
        truncated: Literal["raise", "sections"] = "raise",
        evidence: KindEvidence = NO_EVIDENCE,
        extended_head: bytes = b"",
    ) -> Layout:
        """Find how the data of a file lie.

        Parameters
        ----------
        header : Header
            The header of the file.
        size : int, optional
            Bytes of the file, decompressed; None if unknown.
        kind : {"auto", "image", "image_stack", "volume", "volume_stack"}
            Kind of the data; "auto" applies `find_kind`.
        signed : bool, optional
            Whether bytes are signed; by default `find_sample` decides.
        truncated : {"raise", "sections"}
            Raise an error for a file that ends early, or read the complete sections.
        evidence
            As in `find_kind`.
        extended_head : bytes
            The first bytes after the header, as in `may_lack_records`.

        Returns
        -------
        Layout

        Raises
        ------
        MrcModeError, MrcHeaderError
            A field has a value with which the data cannot be read.
        MrcTruncatedError
            The file is shorter than the header says.

        Examples
        --------
        >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mz=2, mode=2)
        >>> layout = Layout.from_header(header, 1024 + 96)
        >>> layout.dims, layout.shape, layout.dtype
        (('z', 'y', 'x'), (2, 3, 4), dtype('float32'))
        """
        kind_source = KIND_WAS_PASSED
        sample = find_sample(header, signed)
        columns, rows, sections = pixel_counts(header)
        section_nbytes = rows * sample.row_nbytes(columns)
        offset = data_offset(header, size, sections * section_nbytes, extended_head)
        whole = sections
        if size is not None:
            whole = min(sections, max(0, size - offset) // section_nbytes)
        if whole < sections and (truncated == "raise" or whole == 0):
            raise truncated_error(header, cast("int", size), offset, sections, section_nbytes)
        if kind == "auto":
            if header.nsymbt and offset == HEADER_SIZE:  # the records are missing
                evidence = replace(evidence, read_records=NO_EVIDENCE.read_records)
            kind, kind_source = find_kind(header, evidence)
        if whole < sections and kind == "volume_stack" and header.mz > 0:
            whole -= whole % header.mz
            if whole == 0:
                raise truncated_error(header, cast("int", size), offset, sections, section_nbytes)
        return cls.arrange(header, kind, sample, (whole, rows, columns), offset, kind_source)

    @classmethod
    def arrange(
        cls,
        header: Header,
        kind: Kind,
        sample: Sample,
        lengths: tuple[int, int, int],
        offset: int,
        kind_source: str = "",
    ) -> Layout:
        """Return the layout of sections, rows and columns, with axes in the order z, y, x."""
        sections, rows, columns = lengths
        volumes = 1
        if kind == "volume_stack":
            if header.mz < 1 or sections % header.mz:
                raise MrcHeaderError(
                    f"a volume stack was asked for, but nz is {header.nz} and mz {header.mz}, "
                    f"expected nz to be a multiple of mz: pass kind='volume' or kind='image_stack'"
                )
            volumes, sections = sections // header.mz, header.mz
        stored = (volumes, sections, rows, columns)
        # Axis 3 of stored is the columns, 2 the rows, 1 the sections.
        stored_axis = {axis: 3 - i for i, axis in enumerate(axis_order(header))}
        axes = [stored_axis[axis] for axis in (2, 1, 0)]
        if kind == "image":
            if stored[axes[0]] != 1:
                raise MrcHeaderError(
                    f"a single image was asked for, but the file has {stored[axes[0]]} sections: "
                    f"pass kind='image_stack' or kind='volume'"
                )
            del axes[0]
        elif kind == "volume_stack":
            axes.insert(0, 0)
        dims, shape = DIMS[kind], tuple(stored[axis] for axis in axes)
        if sample.trailing:
            dims, shape, axes = (*dims, "rgb"), shape + sample.trailing, [*axes, 4]
        return cls(
            sample, header.byteorder, stored, offset, kind, dims, shape, tuple(axes), kind_source
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Data type of the array, in native byte order."""
        return np.dtype(self.sample.dtype)

    def preferred_chunks(self, nbytes: int = PREFERRED_NBYTES) -> dict[str, int]:
        """Return chunks that are fast to read: whole sections, about 64 MiB of them as an array.

        Parameters
        ----------
        nbytes : int
            About this many bytes instead.

        Returns
        -------
        dict
            Length of a chunk by dimension.

        Examples
        --------
        >>> header = Header.blank().replace(nx=1024, ny=1024, nz=512, mz=512, mode=2)
        >>> Layout.from_header(header).preferred_chunks()
        {'z': 16, 'y': 1024, 'x': 1024}
        """
        chunks = dict(zip(self.dims, self.shape, strict=True))
        section = self.stored[2] * self.stored[3] * self.dtype.itemsize
        section *= int(np.prod(self.sample.trailing))
        count = max(1, round(nbytes / section))
        by_axis = dict(zip(self.axes, self.dims, strict=True))
        if 1 in by_axis:
            chunks[by_axis[1]] = min(self.stored[1], count)
        if 0 in by_axis:
            chunks[by_axis[0]] = min(self.stored[0], max(1, count // self.stored[1]))
        return chunks

    def pixel_offsets(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the offsets of single pixels of the array.

        Parameters
        ----------
        indices : sequence of ndarray of int64
            Positions along each axis of the array, all of one shape. They must be in bounds.

        Returns
        -------
        ndarray of int64
            Offset of the first byte of each pixel.

        Examples
        --------
        >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mz=2, mode=2)
        >>> at = np.array([1]), np.array([2]), np.array([3])
        >>> Layout.from_header(header).pixel_offsets(at).tolist()
        [1116]
        """
        found = dict(zip(self.axes, indices, strict=True))
        zero = np.zeros_like(indices[0])
        offsets: NDArray[np.int64] = self.offset_of([found.get(axis, zero) for axis in range(4)])
        return offsets

    def transpose(self, order: Sequence[int]) -> Layout:
        """Return the layout with the axes of the array in another order."""
        dims = tuple(self.dims[axis] for axis in order)
        shape = tuple(self.shape[axis] for axis in order)
        return replace(self, dims=dims, shape=shape, axes=tuple(self.axes[axis] for axis in order))


def may_lack_records(header: Header, extended_head: bytes) -> bool:
    """Return True if the extended header that NSYMBT counts may be missing from the file.

    Some programs copy a header without its records; old entries of EMDB count absent symmetry
    records.

    Parameters
    ----------
    header : Header
        The header of the file.
    extended_head : bytes
        The first bytes after the header, up to 80.

    Returns
    -------
    bool
        False if there is no extended header, or if the bytes begin as only a symmetry operator or a
        record of FEI does.

    Examples
    --------
    >>> may_lack_records(Header.blank().replace(nsymbt=80), b"X,Y,Z".ljust(80))
    False
    """
    text = extended_head.strip(b" \0")
    is_text = b"," in text and text.isascii() and text.decode("ascii").isprintable()
    return header.nsymbt > 0 and not is_text and not fei.starts_record(extended_head)


def data_offset(header: Header, size: int | None, data_nbytes: int, extended_head: bytes) -> int:
    """Return the offset of the data; raise an error if the extended header cannot be right."""
    if header.nsymbt < 0:
        raise MrcHeaderError(
            f"nsymbt, the size of the extended header, is {header.nsymbt}, expected 0 or more: the "
            f"header is damaged"
        )
    if size == HEADER_SIZE + data_nbytes and may_lack_records(header, extended_head):
        return HEADER_SIZE
    if size is not None and HEADER_SIZE + header.nsymbt > size:
        raise MrcTruncatedError(
            f"nsymbt, the size of the extended header, is {header.nsymbt} bytes, but the file has "
            f"only {size - HEADER_SIZE} after its header: it is cut off, or the header is damaged"
        )
    return HEADER_SIZE + header.nsymbt


def truncated_error(
    header: Header, size: int, offset: int, sections: int, section_nbytes: int
) -> MrcTruncatedError:
    """Return the error that compares the data in the file with the claim of the header."""
    there = max(0, size - offset)
    return MrcTruncatedError(
        f"the header says {header.nx} x {header.ny} x {header.nz} pixels in mode {header.mode}, "
        f"which take {sections * section_nbytes} bytes from byte {offset}, but the file has only "
        f"{there} there ({there // section_nbytes} whole sections of {section_nbytes} bytes): it "
        f"is cut off, or the header is damaged; truncated='sections' reads the whole sections"
    )
