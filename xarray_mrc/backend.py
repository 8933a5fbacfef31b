"""The xarray engine ``"mrc"``: thin, over `reader` and `dataset`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, get_args

import xarray as xr
from xarray.backends import BackendEntrypoint

import xarray_mrc.accessor  # noqa: F401  registers ds.mrc, so that it is there after an open
from xarray_mrc.codec.geometry import Origin
from xarray_mrc.codec.layout import Kind
from xarray_mrc.dataset import Coords, ExtendedHeader, build
from xarray_mrc.errors import MrcError
from xarray_mrc.reader import decode_header, open_file, suffix_of
from xarray_mrc.sidecar import Sidecar
from xarray_mrc.storage import open_source
from xarray_mrc.storage.memory import MemorySource
from xarray_mrc.storage.source import MemMap, Openable

__all__ = ["MrcBackendEntrypoint", "open_mrc"]

CHOICES: dict[str, tuple[str | bool, ...]] = {
    "truncated": ("raise", "sections"),
    "origin": get_args(Origin),
    "coords": get_args(Coords),
    "extended_header": get_args(ExtendedHeader),
    "memmap": ("auto", True, False),
    "sidecar": ("auto", True, False),
}
SUFFIXES = frozenset({".mrc", ".mrcs", ".map", ".ccp4", ".st", ".ali", ".preali", ".rec"})


class MrcBackendEntrypoint(BackendEntrypoint):
    """Opens MRC/CCP4 files (.mrc, .mrcs, .map, .ccp4, .st, .ali, .preali, .rec) in xarray.

    Examples
    --------
    >>> import xarray as xr
    >>> xr.open_dataset("tomo.mrc", engine="mrc", chunks={})  # doctest: +SKIP
    """

    description: ClassVar[str] = (
        "MRC/CCP4 images, tilt series, tomograms and maps of electron microscopy"
    )
    url: ClassVar[str] = "https://xarray-mrc.readthedocs.io"

    def open_dataset(  # type: ignore[override]  # no AbstractDataStore is taken
        self,
        filename_or_obj: Openable,
        *,
        drop_variables: str | Iterable[str] | None = None,
        truncated: Literal["raise", "sections"] = "raise",
        signed: bool | None = None,
        kind: Kind | Literal["auto"] = "auto",
        origin: Origin = "auto",
        coords: Coords = "physical",
        extended_header: ExtendedHeader = "common",
        sidecar: Sidecar = "auto",
        memmap: MemMap = "auto",
        preferred_chunks: dict[str, int] | None = None,
        default_name: str = "data",
    ) -> xr.Dataset:
        """Open a file as a lazy dataset; `open_mrc` describes the parameters."""
        for name, value in (
            ("truncated", truncated), ("origin", origin), ("coords", coords),
            ("extended_header", extended_header), ("memmap", memmap), ("sidecar", sidecar),
        ):  # fmt: skip
            if value not in CHOICES[name]:
                allowed = ", ".join(map(repr, CHOICES[name]))
                raise ValueError(f"{name}={value!r}, expected one of {allowed}")
        opened = open_file(
            filename_or_obj,
            truncated=truncated,
            signed=signed,
            kind=kind,
            memmap=memmap,
            extended=extended_header != "none",
            sidecar=extended_header in ("common", "all") and sidecar,
        )
        dataset = build(
            opened,
            origin=origin,
            coords=coords,
            extended_header=extended_header,
            preferred_chunks=preferred_chunks,
            name=default_name,
        )
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        return dataset.drop_vars(dropped, errors="ignore")

    # Set, because xarray fills it in only for engines that are given by name.
    open_dataset_parameters = tuple(inspect.signature(open_dataset).parameters)[1:]

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name is that of an MRC file, and the first bytes, where at hand, too."""
        if isinstance(filename_or_obj, str | os.PathLike):
            path = os.fspath(filename_or_obj)
            if not isinstance(path, str) or suffix_of(path).lower() not in SUFFIXES:
                return False
            if "://" in path and not path.startswith("file://"):
                return True
        position = None
        try:
            if hasattr(filename_or_obj, "tell"):
                position = filename_or_obj.tell()
            decode_header(open_source(filename_or_obj))
        except FileNotFoundError:
            return True
        except (MrcError, OSError, TypeError, ValueError):
            return False
        finally:
            if position is not None:
                filename_or_obj.seek(position)
        return True


def open_mrc(
    path: Openable,
    chunks: dict[str, int] | int | Literal["auto"] | None = {},  # noqa: B006  never changed
    **options: Any,
) -> xr.DataArray:
    """Open a file as a lazy DataArray, in dask chunks.

    Parameters
    ----------
    path : str, os.PathLike, file URL, bytes, memoryview or binary file object
        The file. A file object is held open, and what was made of it can't be pickled.
    chunks : dict, int, "auto" or None
        As in `xarray.open_dataset`. By default slabs of whole sections of about 64 MiB; None for
        lazy reading without dask.
    truncated : {"raise", "sections"}
        What to do with a file that ends too early: MrcTruncatedError, or the whole sections that
        are there.
    signed : bool, optional
        Whether the bytes of mode 0 are signed; by default found from IMOD's flags, the format
        version and the header's densities.
    kind : {"auto", "image", "image_stack", "volume", "volume_stack"}
        What the data are, and so their dimensions.
    origin : {"auto", "origin", "nstart", "zero"}
        Which field of the header the coordinates begin at: "auto" takes ORIGIN if it is set (with
        IMOD's sign in a file of IMOD's), else NSTART.
    coords : {"physical", "index", "none"}
        Positions in angstrom, plain indices, or no coordinates along x, y and z.
    extended_header : {"common", "all", "raw", "none"}
        What of the extended header becomes coordinates of the images: fields under names common to
        all producers (``tilt_angle``, ``defocus``, ...), all valid fields, its bytes, or nothing.
    sidecar : {"auto", True, False}
        Whether SerialEM's ``FILE.mdoc`` beside an image stack gives coordinates too, which win over
        those of the extended header; needs the package mdocfile. "auto" reads it where that is
        possible.
    memmap : {"auto", True, False}
        Whether a local file is mapped where that saves a copy; "auto" does it unless the file lies
        on a network file system. A block that is a map ends the process if another
        program cuts the file off while the block is in use; False reads everything.
    preferred_chunks : dict, optional
        What ``chunks={}`` means, by dimension.
    default_name : str
        Name of the data variable.
    **options
        The parameters from `truncated` on, and any of `xarray.open_dataset`.

    Returns
    -------
    xarray.DataArray
        Dimensions ``(y, x)``, ``(image, y, x)``, ``(z, y, x)`` or ``(volume, z, y, x)`` in native
        byte order; coordinates in angstrom; metadata in the attributes ``mrc_...``.

    Raises
    ------
    OSError
        The file can't be read.
    MrcError
        It is no MRC file, or its data can't be read faithfully.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=2, ny=1, nz=1, ispg=0)
    >>> open_mrc(header.raw + bytes([1, 2]), chunks=None).values.tolist()
    [[1, 2]]
    """
    # xarray's own types know no BinaryIO, and it can't make chunks of bytes.
    found: Any = path
    if isinstance(path, bytes | bytearray | memoryview):
        found = MemorySource(path)
    return xr.open_dataarray(found, engine=MrcBackendEntrypoint, chunks=chunks, **options)
