"""From a header to the shape of the data, and from an index to the bytes that it needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.byte_ranges import StoredArray
from xarray_mrc.codec.extended import Extended, per_section
from xarray_mrc.codec.geometry import axis_order
from xarray_mrc.codec.header import HEADER_SIZE, Header
from xarray_mrc.codec.modes import Sample
from xarray_mrc.codec.samples import find_sample, has_four_bits
from xarray_mrc.errors import MrcHeaderError, MrcTruncatedError

__all__ = ["Kind", "KindEvidence", "Layout", "find_kind"]

Kind = Literal["image", "image_stack", "volume", "volume_stack"]
DIMS: dict[Kind, tuple[str, ...]] = {
    "image": ("y", "x"),
    "image_stack": ("image", "y", "x"),
    "volume": ("z", "y", "x"),
    "volume_stack": ("volume", "z", "y", "x"),
}
STACK_SUFFIXES = frozenset({".mrcs", ".st", ".ali", ".preali"})
STACK_SPACE_GROUPS = range(401, 631)
IMOD_TILT_TYPES = (1, 2)
PREFERRED_NBYTES = 64 * 2**20


def pixel_counts(header: Header) -> tuple[int, int, int]:
    """Pixels in a row, rows and sections; NX is half the pixels in a row in IMOD's 4-bit form."""
    columns, rows, sections = header.n
    return (2 * columns if has_four_bits(header) else columns), rows, sections


def depth_of(header: Header) -> int:
    """Pixels along Z, whichever of columns, rows and sections that is."""
    return pixel_counts(header)[axis_order(header).index(2)]


@dataclass(frozen=True, slots=True)
class KindEvidence:
    """Evidence for the kind of a file that its header does not hold; looked up only if it decides.

    Attributes
    ----------
    name : str
        File name, without the suffix of a container: ``"tilts.mrcs"``.
    has_sidecar : callable
        Returns True if a file of tilt angles (.mdoc, .tlt, .rawtlt) lies beside the file.
    read_records : callable
        Returns the decoded extended header, for a file that has one.
    """

    name: str = ""
    has_sidecar: Callable[[], bool] = lambda: False
    read_records: Callable[[], Extended] = lambda: Extended("none")


NO_EVIDENCE = KindEvidence()


def find_kind(header: Header, evidence: KindEvidence = NO_EVIDENCE) -> Kind:
    """Tell an image, an image stack, a volume and a volume stack apart.

    Parameters
    ----------
    header : Header
        The header of the file.
    evidence : KindEvidence, optional
        What else there is to go by.

    Returns
    -------
    {"image", "image_stack", "volume", "volume_stack"}

    Notes
    -----
    The space group says it where it can: 401 to 630 is a volume stack, 1 to 230 a volume. Space
    group 0 means images in the standard, but RELION, Chimera and EMAN write it for volumes
    too, with MZ = NZ; signs of a stack are therefore asked for first.

    Examples
    --------
    >>> find_kind(Header.blank().replace(nx=4, ny=4, nz=9, mz=9, ispg=0))
    'volume'
    >>> header = Header.blank().replace(nx=4, ny=4, nz=9, mz=9, ispg=0)
    >>> find_kind(header, KindEvidence("particles.mrcs"))
    'image_stack'
    """
    if header.ispg in STACK_SPACE_GROUPS and header.mz > 0 and header.nz % header.mz == 0:
        return "volume_stack"
    if header.ispg != 0:
        return "volume"
    depth = depth_of(header)
    if depth == 1:
        return "image"
    is_stack = (
        header.mz in (0, 1)
        or os.path.splitext(evidence.name)[1].lower() in STACK_SUFFIXES
        or (header.nsymbt > 0 and per_section(header.exttyp))
        or evidence.has_sidecar()
        or (header.has_imod_stamp and header.idtype in IMOD_TILT_TYPES)
    )
    return "volume" if not is_stack and header.mz == depth else "image_stack"


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
    sample, byteorder, stored, offset
        As in `StoredArray`.
    """

    kind: Kind
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

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
        """Find out how the data of a file lie.

        Parameters
        ----------
        header : Header
            The header of the file.
        size : int, optional
            Bytes of the file, decompressed; None if not known yet.
        kind : {"auto", "image", "image_stack", "volume", "volume_stack"}
            What the data are; "auto" as `find_kind` says.
        signed : bool, optional
            Whether bytes are signed; by default found as `find_sample` says.
        truncated : {"raise", "sections"}
            What to do with a file that ends early: an error, or the whole sections that are there.
        evidence
            As in `find_kind`.
        extended_head : bytes
            The first bytes behind the header, as in `may_lack_symmetry`.

        Returns
        -------
        Layout

        Raises
        ------
        MrcModeError, MrcHeaderError
            A field has a value with which the data can't be read.
        MrcTruncatedError
            The file is shorter than the header says.

        Examples
        --------
        >>> header = Header.blank().replace(nx=4, ny=3, nz=2, mz=2, mode=2)
        >>> layout = Layout.from_header(header, 1024 + 96)
        >>> layout.dims, layout.shape, layout.dtype
        (('z', 'y', 'x'), (2, 3, 4), dtype('float32'))
        """
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
            kind = find_kind(header, evidence)
        if whole < sections and kind == "volume_stack" and header.mz > 0:
            whole -= whole % header.mz
            if whole == 0:
                raise truncated_error(header, cast("int", size), offset, sections, section_nbytes)
        return cls.arrange(header, kind, sample, (whole, rows, columns), offset)

    @classmethod
    def arrange(
        cls, header: Header, kind: Kind, sample: Sample, lengths: tuple[int, int, int], offset: int
    ) -> Layout:
        """Put the sections, rows and columns of a file into the order z, y, x of its kind."""
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
        return cls(sample, header.byteorder, stored, offset, kind, dims, shape, tuple(axes))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Data type given out, in native byte order."""
        return np.dtype(self.sample.dtype)

    def preferred_chunks(self, nbytes: int = PREFERRED_NBYTES) -> dict[str, int]:
        """Chunks that read fast: whole sections, about 64 MiB of them as given out.

        Parameters
        ----------
        nbytes : int
            About so many bytes instead.

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
        """Give the layout with the axes given out in another order."""
        dims = tuple(self.dims[axis] for axis in order)
        shape = tuple(self.shape[axis] for axis in order)
        return replace(self, dims=dims, shape=shape, axes=tuple(self.axes[axis] for axis in order))


def may_lack_symmetry(header: Header, extended_head: bytes) -> bool:
    """Whether NSYMBT may speak of symmetry records that are not there, as in old entries of EMDB.

    Parameters
    ----------
    header : Header
        The header of the file.
    extended_head : bytes
        The first bytes behind it, up to 80: the first record, if there is one.

    Returns
    -------
    bool
        True unless the extended header is no whole number of records of 80 bytes, is of another
        type, or begins with a text.

    Examples
    --------
    >>> may_lack_symmetry(Header.blank().replace(nsymbt=80), b"X,Y,Z".ljust(80))
    False
    """
    text = extended_head.strip(b" \0")
    is_text = b"," in text and text.isascii() and text.decode("ascii").isprintable()
    other = per_section(header.exttyp) or header.exttyp in (b"HDF5", b"JSON")
    return header.nsymbt > 0 and header.nsymbt % 80 == 0 and not is_text and not other


def data_offset(header: Header, size: int | None, data_nbytes: int, extended_head: bytes) -> int:
    """Where the data begin; MrcHeaderError or MrcTruncatedError if the extended header can't be."""
    if header.nsymbt < 0:
        raise MrcHeaderError(
            f"nsymbt, the size of the extended header, is {header.nsymbt}, expected 0 or more: the "
            f"header is damaged"
        )
    if size == HEADER_SIZE + data_nbytes and may_lack_symmetry(header, extended_head):
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
    """Say how much of the data is there, and how much the header claims."""
    there = max(0, size - offset)
    return MrcTruncatedError(
        f"the header says {header.nx} x {header.ny} x {header.nz} pixels in mode {header.mode}, "
        f"which take {sections * section_nbytes} bytes from byte {offset}, but the file has only "
        f"{there} there ({there // section_nbytes} whole sections of {section_nbytes} bytes): it "
        f"is cut off, or the header is damaged; truncated='sections' reads the whole sections"
    )
