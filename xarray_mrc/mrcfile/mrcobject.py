"""`MrcObject`: header, extended header and data in memory, and what keeps them in step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.checking.measurement import NumpyStatistics
from xarray_mrc.checking.mrcfile_rules import MrcfileView, mrcfile_problems
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.labels import LABEL_COUNT, LABEL_SIZE
from xarray_mrc.codec.statistics import UNKNOWN
from xarray_mrc.mrcfile import constants, utils
from xarray_mrc.mrcfile.constants import (
    IMAGE_STACK_SPACEGROUP,
    VOLUME_SPACEGROUP,
    VOLUME_STACK_SPACEGROUP,
)
from xarray_mrc.mrcfile.dtypes import (
    HEADER_DTYPE,
    NSTART_DTYPE,
    VOXEL_SIZE_DTYPE,
    get_ext_header_dtype,
)

__all__ = ["MrcObject"]

T = TypeVar("T", int, float)

MOST = 2**31 - 1  # what a field of the header can count

# Values of which numpy's sums in float32 are taken, and how near they have to be to the right ones.
MAX_SUMMED = 2**15
RTOL = 1e-6


class MrcObject:
    """An MRC file in memory: header, extended header and data.

    All three are None until `_create_default_attributes` is called, or a subclass reads a file.
    They are numpy arrays that may be changed in place; only `set_data` and
    `set_extended_header` keep the header in step by themselves.

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
        """Raise ValueError if nothing may be changed."""
        if self._read_only:
            raise ValueError("MRC object is read-only")

    def _create_default_attributes(self) -> None:
        """Begin with a default header and nothing else."""
        self._create_default_header()
        self._extended_header = np.empty(0, "V1")
        self._set_new_data(np.empty(0, np.int8))

    def _create_default_header(self) -> None:
        """Begin with a header of a volume without size, of now."""
        header = header_array(Header.blank(utils.normalise_byte_order("=")).raw)
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        header.label[0] = f"{constants.CREATOR:40.40}{now:>39} ".encode("ascii", "replace")
        header.nlabl = 1
        self._header = header

    @property
    def header(self) -> Any:
        """The header, a numpy record array of no dimensions."""
        return self._header

    @property
    def extended_header(self) -> Any:
        """The extended header, as bytes if it was read; of size 0 where there is none."""
        return self._extended_header

    @property
    def indexed_extended_header(self) -> Any:
        """The records of the extended header, one a section, or None where it has none.

        They are a view. Known types are FEI1 and FEI2.

        Warns
        -----
        RuntimeWarning
            The header names one of these, but the bytes are not such.
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
        """Replace the extended header; the header's ``exttyp`` is the caller's to set.

        Parameters
        ----------
        extended_header : ndarray
            Of any dtype and shape. It is kept as it is, not copied.
        """
        self._check_writeable()
        if extended_header.nbytes > MOST:
            raise ValueError(
                f"New extended header is too large! It has {extended_header.nbytes} bytes. The "
                f"maximum allowed is {MOST}."
            )
        if extended_header.dtype.hasobject:
            raise ValueError(f"dtype '{extended_header.dtype}' has no bytes that could be written")
        self._extended_header = extended_header
        self._header.nsymbt = extended_header.nbytes

    @property
    def data(self) -> Any:
        """The data, or None where they were not read."""
        return self._data

    def set_data(self, data: NDArray[Any]) -> None:
        """Replace the data, and let the header describe them.

        They are not copied unless they have to be made contiguous, or widened from unsigned bytes.
        What can't be written is refused before anything is changed.

        Parameters
        ----------
        data : ndarray
            2-, 3- or 4-dimensional, of a dtype that has a mode.

        Raises
        ------
        ValueError
            No mode holds the dtype, or the header can't hold the shape.
        """
        self._check_writeable()
        mode = utils.mode_from_dtype(data.dtype)
        check_lengths(data.shape, "data array")
        check_dimensions(data.shape)
        dtype = utils.dtype_from_mode(mode).newbyteorder(data.dtype.byteorder)
        is_plain = type(data) in (np.ndarray, np.memmap)
        is_kept = is_plain and data.dtype == dtype and data.flags.c_contiguous
        new = data if is_kept else np.asarray(data, dtype, order="C")
        if self._extended_header is None:  # could not be read, and goes with the data behind it
            self.set_extended_header(np.empty(0, "V1"))
        self._set_new_data(new)
        self.update_header_from_data()
        self.update_header_stats()

    def _close_data(self) -> None:
        """Let go of the data."""
        self._data = None

    def _set_new_data(self, data: NDArray[Any]) -> None:
        """Put data in the place of the old, and leave the header as it is."""
        self._close_data()
        self._data = data

    @property
    def voxel_size(self) -> Any:
        """The voxel size along x, y, z in angstrom, computed from cell and grid: read-only.

        Set it to a number, to three for x, y, z, or to a record; that changes the cell.
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
        """Set the cell from a voxel size."""
        for axis, size in zip("xyz", (x_size, y_size, z_size), strict=True):
            self._header.cella[axis] = size * getattr(self._header, f"m{axis}")

    @property
    def nstart(self) -> Any:
        """The grid point of the first column, row and section: read-only.

        Set it to a number, to three, or to a record; that changes ``nxstart`` and so on.
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
        """Set the first grid point."""
        for axis, start in zip("xyz", (nxstart, nystart, nzstart), strict=True):
            setattr(self._header, f"n{axis}start", start)

    def is_single_image(self) -> bool:
        """Whether the data are two-dimensional."""
        return bool(self._data.ndim == 2)

    def is_image_stack(self) -> bool:
        """Whether the data are a stack of images: three-dimensional, space group 0."""
        return bool(self._data.ndim == 3 and self._header.ispg == IMAGE_STACK_SPACEGROUP)

    def is_volume(self) -> bool:
        """Whether the data are one volume: three-dimensional, another space group."""
        return bool(self._data.ndim == 3 and self._header.ispg != IMAGE_STACK_SPACEGROUP)

    def is_volume_stack(self) -> bool:
        """Whether the data are four-dimensional."""
        return bool(self._data.ndim == 4)

    def set_image_stack(self) -> None:
        """Take three-dimensional data for a stack of images."""
        self._check_writeable()
        if self._data.ndim != 3:
            raise ValueError("Only 3D data can be changed into an image stack")
        self._header.ispg = IMAGE_STACK_SPACEGROUP
        self._header.mz = 1

    def set_volume(self) -> None:
        """Take three-dimensional data for a volume."""
        self._check_writeable()
        if self._data.ndim != 3:
            raise ValueError("Only 3D data can be changed into a volume")
        if self.is_image_stack():
            self._header.ispg = VOLUME_SPACEGROUP
            self._header.mz = self._header.nz

    def update_header_from_data(self) -> None:
        """Set size, mode, byte order and space group of the header to those of the data."""
        self._check_writeable()
        header, data = self._header, self._data
        check_lengths(data.shape, "data array")
        check_dimensions(data.shape)
        header.mode = utils.mode_from_dtype(data.dtype)
        order = header.mode.dtype.byteorder
        if data.dtype.byteorder != "|" and not utils.byte_orders_equal(data.dtype.byteorder, order):
            swap_in_place(header)
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
        """Measure the data, in one pass, and state what they are in the header.

        Of complex data only the RMS is stated.

        Warns
        -----
        RuntimeWarning
            There are values that are nan or infinite.
        """
        self._check_writeable()
        if self._data.size == 0:
            self.reset_header_stats()
        else:
            self._state(stats_of(self._data))

    def reset_header_stats(self) -> None:
        """State in the header that the statistics are not known."""
        self._check_writeable()
        self._state(UNKNOWN)

    def _state(self, fields: dict[str, float]) -> None:
        """Set fields of the header; what float32 can't hold becomes infinite."""
        with np.errstate(over="ignore"):
            for name, value in fields.items():
                self._header[name] = np.float32(value)

    def print_header(self, print_file: TextIO | None = None) -> None:
        """Print the header, a field a line.

        Parameters
        ----------
        print_file : text stream, optional
            Where to; by default the standard output.
        """
        for name in self._header.dtype.names:
            print(f"{name:15s} : {self._header[name]}", file=print_file)

    def validate(self, print_file: TextIO | None = None) -> bool:
        """Check header and statistics, and print what is wrong.

        Parameters
        ----------
        print_file : text stream, optional
            Where to; by default the standard output.

        Returns
        -------
        bool
            Whether nothing is.
        """
        problems = mrcfile_problems(self._held())
        for problem in problems:
            print(problem, file=print_file)
        return not problems

    def _held(self) -> MrcfileView:
        """Give what is checked: header and statistics."""
        header, data = self._header, self._data
        order = utils.normalise_byte_order(header.mode.dtype.byteorder)
        has_data = data is not None and len(data) > 0
        return MrcfileView(Header(header.tobytes(), order), self._measured() if has_data else None)

    def _measured(self) -> NumpyStatistics:
        """Give the statistics of the data."""
        return NumpyStatistics.of(self._data)

    def get_labels(self) -> list[str]:
        """Give the labels that the header counts, as printable ASCII."""
        labels = self._header.label[: max(0, int(self._header.nlabl))]
        return [utils.printable_string_from_bytes(label) for label in labels]

    def add_label(self, label: str) -> None:
        """Write a label into the next free place.

        Parameters
        ----------
        label : str
            At most 80 characters of printable ASCII.

        Raises
        ------
        ValueError
            It is longer, or has other characters.
        IndexError
            All ten places are taken.
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
    """Give 1024 bytes as a record array of their own."""
    dtype = HEADER_DTYPE.newbyteorder(byte_order)  # type: ignore[arg-type]
    return np.frombuffer(bytearray(raw), dtype).reshape(()).view(np.recarray)


def swap_in_place(header: Any) -> None:
    """Turn the bytes of a header round and keep its numbers, for all who hold it."""
    header.byteswap(inplace=True)
    with warnings.catch_warnings():
        # Whoever holds the header has to see its new order, and there is no other way to do that.
        warnings.filterwarnings("ignore", "Setting the dtype", DeprecationWarning)
        header.dtype = header.dtype.newbyteorder()


def check_lengths(shape: tuple[int, ...], what: str) -> None:
    """Raise ValueError for lengths that a header can't hold."""
    largest = max(shape, default=0)
    if len(shape) == 4:
        largest = max(largest, shape[0] * shape[1])
    if largest > MOST:
        raise ValueError(
            f"New {what} is too large! Found a dimension of size {largest}. The maximum allowed "
            f"is {MOST}."
        )


def check_dimensions(shape: tuple[int, ...]) -> None:
    """Raise ValueError for data that are no image, stack, volume or stack of volumes."""
    if not 2 <= len(shape) <= 4:
        raise ValueError("Data must be 2-, 3- or 4-dimensional")


def three_of(value: Any, kind: type[T]) -> tuple[T, ...]:
    """Give what was set for x, y, z: a number for all, three of them, or a record."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else value.ravel().tolist()
    three = value if isinstance(value, Iterable) and not isinstance(value, str) else [value] * 3
    return tuple(map(kind, three))


def stats_of(data: NDArray[Any]) -> dict[str, float]:
    """Give the fields of a header that state the statistics of data, as mrcfile does."""
    found = NumpyStatistics.of(data)
    if data.dtype.kind == "c":
        exact = {"rms": found.rms}
        return exact | sums_of_numpy(data, exact)
    low, high = float(found.low.real), float(found.high.real)
    stated = {"dmin": low, "dmax": high, "dmean": found.mean, "rms": found.rms}
    if math.isnan(low):
        warnings.warn("Data array contains NaN values", RuntimeWarning, stacklevel=3)
    elif math.isinf(low) or math.isinf(high):
        warnings.warn("Data array contains infinite values", RuntimeWarning, stacklevel=3)
    else:
        stated |= sums_of_numpy(data, stated)
    return stated


def sums_of_numpy(data: NDArray[Any], exact: dict[str, float]) -> dict[str, float]:
    """Give mean and RMS of small data to the last bit as numpy's float32 has them.

    Programs compare the header with these for equality. Where their error is larger than what
    float32 leaves anyway they are left out.
    """
    if data.size > MAX_SUMMED:
        return {}
    with np.errstate(all="ignore"):
        if data.dtype.kind == "c":
            sums = {"rms": float(data.std())}
        else:
            sums = {"dmean": float(data.mean(dtype="f4")), "rms": float(data.std(dtype="f4"))}
    return {
        name: sums[name] for name in sums if math.isclose(sums[name], exact[name], rel_tol=RTOL)
    }
