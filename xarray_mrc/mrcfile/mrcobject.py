"""`MrcObject`: header, extended header and data in memory, kept consistent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.header import Header
from xarray_mrc.codec.labels import LABEL_COUNT, LABEL_SIZE
from xarray_mrc.codec.statistics import UNKNOWN
from xarray_mrc.mrcfile import constants, utils
from xarray_mrc.mrcfile.constants import (
    IMAGE_STACK_SPACEGROUP,
    MAP_ID,
    VOLUME_SPACEGROUP,
    VOLUME_STACK_SPACEGROUP,
)
from xarray_mrc.mrcfile.dtypes import (
    HEADER_DTYPE,
    NSTART_DTYPE,
    VOXEL_SIZE_DTYPE,
    get_ext_header_dtype,
)

if TYPE_CHECKING:  # what reading does not need is imported where it is used
    from xarray_mrc.checking.mrcfile_rules import MrcfileView

__all__ = [
    "HEADER_DTYPE",
    "IMAGE_STACK_SPACEGROUP",
    "MAP_ID",
    "NSTART_DTYPE",
    "VOLUME_SPACEGROUP",
    "VOLUME_STACK_SPACEGROUP",
    "VOXEL_SIZE_DTYPE",
    "MrcObject",
    "get_ext_header_dtype",
]

T = TypeVar("T", int, float)

MAX_INT32 = 2**31 - 1  # the header's fields are int32


class MrcObject:
    """An MRC file in memory: header, extended header and data.

    All three are None until `_create_default_attributes` is called or a subclass reads a file.
    They are numpy arrays that may be changed in place, but only `set_data` and
    `set_extended_header` update the header.

    Examples
    --------
    >>> mrc = MrcObject()
    >>> mrc._create_default_attributes()
    >>> mrc.set_data(np.zeros((2, 3, 4), np.int16))
    >>> int(mrc.header.nx), int(mrc.header.mode)
    (4, 1)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._header: Any = None
        self._extended_header: Any = None
        self._data: Any = None
        self._read_only = False

    def _check_writeable(self) -> None:
        """Raise ValueError if the object is read-only."""
        if self._read_only:
            raise ValueError("MRC object is read-only")

    def _create_default_attributes(self) -> None:
        """Create a default header, an empty extended header and empty data."""
        self._create_default_header()
        self._extended_header = np.empty(0, "V1")
        self._set_new_data(np.empty(0, np.int8))

    def _create_default_header(self) -> None:
        """Create a header of an empty volume, with a label that states the time."""
        header = header_array(Header.blank(utils.normalise_byte_order("=")).raw)
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        header.label[0] = f"{constants.CREATOR:40.40}{now:>39} ".encode("ascii", "replace")
        header.nlabl = 1
        self._header = header

    @property
    def header(self) -> Any:
        """The header: a numpy record array without dimensions."""
        return self._header

    @property
    def extended_header(self) -> Any:
        """The extended header; dtype "V1" if it was read, of size 0 if the file has none."""
        return self._extended_header

    @property
    def indexed_extended_header(self) -> Any:
        """The extended header as one record per section; None if it has no known type.

        The records are a view. Known types are FEI1 and FEI2.

        Warns
        -----
        RuntimeWarning
            The header states a known type, but the extended header does not have it.
        """
        header, extended = self._header, self._extended_header
        exttyp = header.exttyp.item()
        dtype = get_ext_header_dtype(exttyp, header.mode.dtype.byteorder)
        if dtype is None or extended is None:
            return None
        raw = np.ascontiguousarray(extended).reshape(-1).view(np.uint8)
        nbytes = max(1, int(header.nz)) * dtype.itemsize
        if raw.nbytes >= nbytes:
            records = raw[:nbytes].view(dtype)[: max(0, int(header.nz))]
            if raw[: dtype.itemsize].view(dtype)["Metadata size"][0] == dtype.itemsize:
                return records
        warnings.warn(
            f"The header has exttyp '{exttyp}' but the extended header cannot be "
            f"interpreted as that type",
            RuntimeWarning,
            stacklevel=2,
        )
        return None

    def set_extended_header(self, extended_header: NDArray[Any]) -> None:
        """Replace the extended header. The caller sets ``exttyp`` in the header.

        Parameters
        ----------
        extended_header : ndarray
            Of any dtype and shape. It is not copied.
        """
        self._check_writeable()
        if extended_header.nbytes > MAX_INT32:
            raise ValueError(
                f"New extended header is too large! It has {extended_header.nbytes} bytes. The "
                f"maximum allowed is {MAX_INT32}."
            )
        if extended_header.dtype.hasobject:
            raise ValueError(f"dtype '{extended_header.dtype}' has no bytes that can be written")
        self._extended_header = extended_header
        self._header.nsymbt = extended_header.nbytes

    @property
    def data(self) -> Any:
        """The data; None if they were not read."""
        return self._data

    def set_data(self, data: NDArray[Any]) -> None:
        """Replace the data, and update the header to describe them.

        The data are copied only if they are not contiguous or are uint8, which is widened to
        uint16. An error leaves the object unchanged.

        Parameters
        ----------
        data : ndarray
            2-, 3- or 4-dimensional, of a dtype that has a mode.

        Raises
        ------
        ValueError
            The dtype has no mode, or a dimension is too large for the header.
        """
        self._check_writeable()
        mode = utils.mode_from_dtype(data.dtype)
        check_lengths(data.shape, "data array")
        check_dimensions(data.shape)
        dtype = utils.dtype_from_mode(mode).newbyteorder(data.dtype.byteorder)
        is_plain = type(data) in (np.ndarray, np.memmap)
        is_kept = is_plain and data.dtype == dtype and data.flags.c_contiguous
        new = data if is_kept else np.asarray(data, dtype, order="C")
        if self._extended_header is None:  # it was unreadable, and is lost with the old data
            self.set_extended_header(np.empty(0, "V1"))
        self._set_new_data(new)
        self.update_header_from_data()
        self.update_header_stats()

    def _close_data(self) -> None:
        """Release the data."""
        self._data = None

    def _set_new_data(self, data: NDArray[Any]) -> None:
        """Replace the data, and leave the header unchanged."""
        self._close_data()
        self._data = data

    @property
    def voxel_size(self) -> Any:
        """The voxel size along x, y, z in angstrom, computed from cell and grid: read-only.

        Assign a number, three numbers for x, y, z, or a record to change the cell.
        """
        size = np.zeros((), VOXEL_SIZE_DTYPE).view(np.recarray)
        for axis in "xyz":
            size[axis] = self._header.cella[axis] / getattr(self._header, f"m{axis}")
        size.flags.writeable = False
        return size

    @voxel_size.setter
    def voxel_size(self, voxel_size: Any) -> None:
        self._check_writeable()
        self._set_voxel_size(*three_of(voxel_size, float))

    def _set_voxel_size(self, x_size: float, y_size: float, z_size: float) -> None:
        """Set the cell lengths from a voxel size."""
        for axis, size in zip("xyz", (x_size, y_size, z_size), strict=True):
            self._header.cella[axis] = size * getattr(self._header, f"m{axis}")

    @property
    def nstart(self) -> Any:
        """The grid index of the first column, row and section: read-only.

        Assign a number, three numbers for x, y, z, or a record to change ``nxstart`` etc.
        """
        start = np.zeros((), NSTART_DTYPE).view(np.recarray)
        for axis in "xyz":
            start[axis] = getattr(self._header, f"n{axis}start")
        start.flags.writeable = False
        return start

    @nstart.setter
    def nstart(self, nstart: Any) -> None:
        self._check_writeable()
        self._set_nstart(*three_of(nstart, int))

    def _set_nstart(self, nxstart: int, nystart: int, nzstart: int) -> None:
        """Set the grid index of the first column, row and section."""
        for axis, start in zip("xyz", (nxstart, nystart, nzstart), strict=True):
            setattr(self._header, f"n{axis}start", start)

    def is_single_image(self) -> bool:
        """Return True if the data are two-dimensional."""
        return bool(self._data.ndim == 2)

    def is_image_stack(self) -> bool:
        """Return True if the data are three-dimensional and the space group is 0."""
        return bool(self._data.ndim == 3 and self._header.ispg == IMAGE_STACK_SPACEGROUP)

    def is_volume(self) -> bool:
        """Return True if the data are three-dimensional and the space group is not 0."""
        return bool(self._data.ndim == 3 and self._header.ispg != IMAGE_STACK_SPACEGROUP)

    def is_volume_stack(self) -> bool:
        """Return True if the data are four-dimensional."""
        return bool(self._data.ndim == 4)

    def set_image_stack(self) -> None:
        """Mark three-dimensional data as a stack of images."""
        self._check_writeable()
        if self._data.ndim != 3:
            raise ValueError("Only 3D data can be changed into an image stack")
        self._header.ispg = IMAGE_STACK_SPACEGROUP
        self._header.mz = 1

    def set_volume(self) -> None:
        """Mark three-dimensional data as a volume."""
        self._check_writeable()
        if self._data.ndim != 3:
            raise ValueError("Only 3D data can be changed into a volume")
        if self.is_image_stack():
            self._header.ispg = VOLUME_SPACEGROUP
            self._header.mz = self._header.nz

    def update_header_from_data(self) -> None:
        """Set size, mode, byte order and space group in the header from the data."""
        self._check_writeable()
        header, data = self._header, self._data
        check_lengths(data.shape, "data array")
        check_dimensions(data.shape)
        header.mode = utils.mode_from_dtype(data.dtype)
        order = header.mode.dtype.byteorder
        if data.dtype.byteorder != "|" and not utils.byte_orders_equal(data.dtype.byteorder, order):
            swap_in_place(header, data.dtype.byteorder)
        header.machst = list(utils.machine_stamp_from_byte_order(header.mode.dtype.byteorder))
        header.nx = header.mx = data.shape[-1]
        header.ny = header.my = data.shape[-2]
        sections = math.prod(data.shape[:-2])
        header.nz = header.mz = sections
        if data.ndim == 2:
            header.ispg = IMAGE_STACK_SPACEGROUP
        elif data.ndim == 3 and header.ispg == IMAGE_STACK_SPACEGROUP:
            header.mz = 1
        elif data.ndim == 4:
            if not utils.spacegroup_is_volume_stack(header.ispg):
                header.ispg = VOLUME_STACK_SPACEGROUP
            header.mz = data.shape[1]

    def update_header_stats(self) -> None:
        """Compute the statistics of the data in one pass, and write them to the header.

        For complex data this is the RMS only.

        Warns
        -----
        RuntimeWarning
            The data contain nan or infinite values.
        """
        self._check_writeable()
        if self._data.size == 0:
            self.reset_header_stats()
        else:
            from xarray_mrc.mrcfile.header_statistics import statistics_fields

            self._set_fields(statistics_fields(self._data))

    def reset_header_stats(self) -> None:
        """Mark the statistics in the header as unknown."""
        self._check_writeable()
        self._set_fields(UNKNOWN)

    def _set_fields(self, fields: dict[str, float]) -> None:
        """Set float32 fields of the header; larger values become infinite."""
        with np.errstate(over="ignore"):
            for name, value in fields.items():
                self._header[name] = np.float32(value)

    def print_header(self, print_file: TextIO | None = None) -> None:
        """Print the header, one field per line.

        Parameters
        ----------
        print_file : text stream, optional
            Default: the standard output.
        """
        for name in self._header.dtype.names:
            print(f"{name:15s} : {self._header[name]}", file=print_file)

    def validate(self, print_file: TextIO | None = None) -> bool:
        """Check header and statistics, and print the problems.

        Parameters
        ----------
        print_file : text stream, optional
            Default: the standard output.

        Returns
        -------
        bool
            True if there are none.
        """
        from xarray_mrc.checking.mrcfile_rules import mrcfile_problems

        problems = mrcfile_problems(self._mrcfile_view())
        for problem in problems:
            print(problem, file=print_file)
        return not problems

    def _mrcfile_view(self) -> MrcfileView:
        """Return the facts that `validate` checks: header and statistics."""
        from xarray_mrc.checking.measurement import NumpyStatistics
        from xarray_mrc.checking.mrcfile_rules import MrcfileView

        header, data = self._header, self._data
        order = utils.normalise_byte_order(header.mode.dtype.byteorder)
        has_data = data is not None and len(data) > 0
        return MrcfileView(
            Header(header.tobytes(), order), NumpyStatistics.of(data) if has_data else None
        )

    def get_labels(self) -> list[str]:
        """Return the first ``nlabl`` labels as printable ASCII."""
        labels = self._header.label[: max(0, int(self._header.nlabl))]
        return [utils.printable_string_from_bytes(label) for label in labels]

    def add_label(self, label: str) -> None:
        """Add a label after those that ``nlabl`` counts.

        Parameters
        ----------
        label : str
            At most 80 characters of printable ASCII.

        Raises
        ------
        ValueError
            The label is longer, or contains other characters.
        IndexError
            There are ten labels already.
        """
        self._check_writeable()
        if not utils.is_printable_ascii(label):
            raise ValueError("Label contains non-printable or non-ASCII characters")
        if len(label) > LABEL_SIZE:
            raise ValueError(f"Label value has more than {LABEL_SIZE} bytes")
        number = int(self._header.nlabl)
        if not 0 <= number < LABEL_COUNT:
            raise IndexError(f"index {number} is out of bounds for axis 0 with size {LABEL_COUNT}")
        self._header.label[number] = utils.bytes_from_string(label)
        self._header.nlabl = number + 1


def header_array(raw: bytes, byte_order: str = "=") -> Any:
    """Return 1024 bytes as a header array in new memory."""
    dtype = HEADER_DTYPE.newbyteorder(byte_order)  # type: ignore[arg-type]
    return np.frombuffer(bytearray(raw), dtype).reshape(()).view(np.recarray)


def swap_in_place(header: Any, byte_order: str) -> None:
    """Swap the bytes of a header in place, so that its values stay the same in a byte order."""
    header.byteswap(inplace=True)
    with warnings.catch_warnings():
        # Callers that hold the header have to see the new byte order, which needs this in place.
        warnings.filterwarnings("ignore", "Setting the dtype", DeprecationWarning)
        header.dtype = header.dtype.newbyteorder(byte_order)


def check_lengths(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if a dimension is too large for the header."""
    largest = max(shape, default=0)
    if len(shape) == 4:
        largest = max(largest, shape[0] * shape[1])
    if largest > MAX_INT32:
        raise ValueError(
            f"New {name} is too large! Found a dimension of size {largest}. The maximum allowed "
            f"is {MAX_INT32}."
        )


def check_dimensions(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless data of this shape have two to four dimensions."""
    if not 2 <= len(shape) <= 4:
        raise ValueError("Data must be 2-, 3- or 4-dimensional")


def three_of(value: Any, kind: type[T]) -> tuple[T, ...]:
    """Return the numbers for x, y, z: one number for all, three numbers, or a record."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else value.ravel().tolist()
    three = value if isinstance(value, Iterable) and not isinstance(value, str) else [value] * 3
    return tuple(map(kind, three))
