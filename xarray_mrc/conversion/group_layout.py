"""The metadata of a new Zarr group, made in memory before a task writes the first chunk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xarray_mrc.conversion.grid import Grid

__all__ = [
    "GroupLayout",
    "ZarrFormat",
    "choose_compressors",
    "lay_out",
    "layout_of",
    "target_dtype",
]

ZarrFormat = Literal[2, 3]

# Bitshuffle reaches the density of the byte shuffle at twice the speed. Blosc's own blocks are
# smaller; in blocks of this size level 1 compresses as well as level 3, in half the time.
ZSTD_LEVEL, BLOCK_NBYTES = 1, 2**18
# Files with the metadata of all arrays, and where in them these are.
CONSOLIDATED = (("zarr.json", "consolidated_metadata", "metadata"), (".zmetadata", "metadata"))


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """All of a group but the chunks of its data.

    Attributes
    ----------
    documents : dict of str to bytes
        Content of the files by key: metadata, and the chunks of coordinates.
    arrays : dict of str to object
        Metadata (`zarr.core.metadata`) of the arrays for the data, by path in the group.
    """

    documents: dict[str, bytes]
    arrays: dict[str, Any]


def target_dtype(found: np.dtype[Any], wanted: DTypeLike | None) -> np.dtype[Any]:
    """Return the data type of the group; raise ValueError if data cannot be cast to it."""
    dtype = found if wanted is None else np.dtype(wanted).newbyteorder("=")
    if dtype.kind not in ("c" if found.kind == "c" else "iufc"):
        expected = "complex" if found.kind == "c" else "integer, floating or complex"
        raise ValueError(f"dtype={dtype}, but the data are {found}; expected a {expected} type")
    return dtype


def choose_compressors(compression: Any, zarr_format: ZarrFormat, itemsize: int) -> Any:
    """Return the compressors of a chunk; raise ValueError if they are not of this format."""
    if compression is None:
        return None
    if zarr_format == 2:
        from numcodecs import Blosc
        from numcodecs.abc import Codec

        default = Blosc("zstd", ZSTD_LEVEL, Blosc.BITSHUFFLE, BLOCK_NBYTES)
    else:
        from zarr.abc.codec import BytesBytesCodec as Codec
        from zarr.codecs import BloscCodec

        default = BloscCodec(
            typesize=itemsize,
            cname="zstd",
            clevel=ZSTD_LEVEL,
            shuffle="bitshuffle",
            blocksize=BLOCK_NBYTES,
        )
    if isinstance(compression, str) and compression == "infer":
        return default
    codecs = compression if isinstance(compression, list | tuple) else [compression]
    if not all(isinstance(codec, Codec) for codec in codecs):
        raise ValueError(
            f"compression={compression!r} for a Zarr group, expected 'infer', None or a compressor "
            f"of zarr.codecs (of numcodecs for Zarr format 2)"
        )
    return compression


def lay_out(
    dataset: xr.Dataset,
    name: str,
    dtype: np.dtype[Any],
    grid: Grid,
    encoding: dict[str, Any],
    zarr_format: ZarrFormat,
) -> GroupLayout:
    """Lay out everything but the data through xarray.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset with one lazy data variable.
    name : str
        The name of the variable.
    dtype : dtype
        Data type of the array in the group.
    grid : Grid
        Its chunks and shards.
    encoding : dict
        How xarray encodes it.
    zarr_format : {2, 3}
        Version of the format.
    """
    import dask.array
    from zarr.storage import MemoryStore

    variable = dataset[name].variable
    # Never computed: it stands for the data, in blocks of the size of the regions.
    empty = dask.array.empty(grid.shape, dtype=dtype, chunks=grid.steps)
    blank = xr.Variable(variable.dims, empty, variable.attrs)
    files: dict[str, Any] = {}
    store = MemoryStore(files)
    dataset.assign({name: blank}).to_zarr(
        store,
        mode="a",
        compute=False,
        consolidated=False,
        zarr_format=zarr_format,
        encoding={name: encoding},
    )
    return layout_of(files, [name], zarr_format)


def layout_of(files: dict[str, Any], names: Iterable[str], zarr_format: ZarrFormat) -> GroupLayout:
    """Return the layout of a group that was laid out in memory; consolidate its metadata.

    Parameters
    ----------
    files : dict
        The dictionary of a `zarr.storage.MemoryStore`, with a group without the data.
    names : iterable of str
        Paths of the arrays for the data.
    zarr_format : {2, 3}
        Version of the format.
    """
    import zarr
    from zarr.storage import MemoryStore

    store = MemoryStore(files)
    with warnings.catch_warnings():  # xarray expects it, but it is not part of format 3 yet
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, zarr_format=zarr_format)
    arrays = {
        name: zarr.open_array(store, path=name, mode="r", zarr_format=zarr_format).metadata
        for name in names
    }
    documents = {key: data.to_bytes() for key, data in files.items()}
    for key, *path in CONSOLIDATED:
        if key in documents:
            documents[key] = in_order_of_names(documents[key], path)
    return GroupLayout(documents, arrays)


def in_order_of_names(document: bytes, path: Sequence[str]) -> bytes:
    """Return a document whose consolidated metadata are in the order of their names.

    Zarr before 3.1 writes them in an order that differs from one process to the next.
    """
    whole = json.loads(document)
    inner = whole
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = dict(sorted(inner[path[-1]].items()))
    return json.dumps(whole, indent=2).encode()
