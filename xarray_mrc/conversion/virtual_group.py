"""A plain file as a Zarr group: its data by reference, metadata and coordinates as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.conversion.group_layout import ZarrFormat
from xarray_mrc.conversion.virtual_chunks import VirtualChunks, virtual_chunks
from xarray_mrc.dataset.from_file import build_dataset
from xarray_mrc.errors import MrcError
from xarray_mrc.reading.header_reading import named
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import Source
from xarray_mrc.storage.protocol import StreamSource
from xarray_mrc.storage.source import Openable

__all__ = ["VirtualGroup", "open_virtual_group"]


@dataclass(frozen=True, slots=True)
class VirtualGroup:
    """A file as a Zarr group.

    Attributes
    ----------
    source : Source
        The file.
    name : str
        Name of the array whose chunks lie in the file.
    chunks : VirtualChunks
        Where they lie.
    entries : dict of str to bytes
        All other keys of the group with their values: metadata, and the chunks of coordinates. One
        chunk is a whole coordinate, without compression.
    """

    source: Source
    name: str
    chunks: VirtualChunks
    entries: dict[str, bytes]


def open_virtual_group(
    path: Openable,
    options: ReadingOptions,
    chunks: Mapping[str, int] | None = None,
    zarr_format: ZarrFormat = 3,
) -> VirtualGroup:
    """Open a file, and describe it as a Zarr group; only its headers are read.

    Parameters
    ----------
    path : Openable
        The file.
    options : ReadingOptions
        How it is read.
    chunks : mapping of str to int, optional
        Lengths of a chunk by dimension, as in `virtual_chunks`.
    zarr_format : {2, 3}
        Version of the metadata.

    Returns
    -------
    VirtualGroup

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file, or Zarr cannot refer to its data.
    ValueError
        `chunks` are not possible.
    """
    if "/" in options.default_name:
        raise ValueError(
            f"default_name={options.default_name!r} contains '/', which separates groups in Zarr; "
            f"pass another default_name"
        )
    opened = open_file(path, options)
    source = opened.array.source
    with named(source):
        if isinstance(source, StreamSource):
            raise MrcError(
                "the file is compressed, and Zarr can only refer to plain data in a file; "
                "decompress it with xarray_mrc.convert(path, 'plain.mrc'), or write a Zarr group "
                "with xarray_mrc.convert(path, 'copy.zarr')"
            )
        found = virtual_chunks(opened.array.layout, chunks)
        if zarr_format == 2 and found.zarr_2_order is None:
            raise MrcError(
                f"the axes of the file are permuted, and Zarr format 2 of kerchunk has no order of "
                f"axes for chunks of {found.chunks}; leave out chunks=, or use MrcParser"
            )
    dataset = build_dataset(opened, options)
    return VirtualGroup(source, options.default_name, found, encode(dataset, found, zarr_format))


def encode(dataset: xr.Dataset, chunks: VirtualChunks, zarr_format: ZarrFormat) -> dict[str, bytes]:
    """Return the keys and values of the group, except the chunks of the data."""
    from zarr.storage import MemoryStore

    (name,) = map(str, dataset.data_vars)
    encoding: dict[str, Any] = {
        str(coord): {"compressors": None, **({"chunks": values.shape} if values.ndim else {})}
        for coord, values in dataset.coords.items()
    }
    stored: dict[str, Any] = {}
    dataset.drop_vars(name).to_zarr(
        MemoryStore(stored),
        consolidated=False,
        zarr_format=zarr_format,
        encoding=encoding,
        write_empty_chunks=True,  # those of zeros, too, which not all readers fill in
    )
    entries = {key: value.to_bytes() for key, value in stored.items()}
    describe = describe_in_zarr_2 if zarr_format == 2 else describe_in_zarr_3
    for key, document in describe(chunks, dataset[name].attrs).items():
        entries[f"{name}/{key}"] = json.dumps(document).encode()
    return entries


def describe_in_zarr_2(chunks: VirtualChunks, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata documents of the data in Zarr format 2, by key.

    Source: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html.
    """
    array = {
        "zarr_format": 2,
        "shape": chunks.shape,
        "chunks": chunks.chunks,
        "dtype": chunks.dtype,
        "order": chunks.zarr_2_order,
        "compressor": None,
        "filters": None,
        "fill_value": None,  # xarray reads another as missing
        "dimension_separator": ".",
    }
    return {".zarray": array, ".zattrs": {"_ARRAY_DIMENSIONS": chunks.dims, **attrs}}


def describe_in_zarr_3(chunks: VirtualChunks, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata documents of the data in Zarr format 3, by key.

    Source: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html.
    """
    dtype = np.dtype(chunks.dtype)
    endian = {} if dtype.itemsize == 1 else {"endian": "big" if dtype.str[0] == ">" else "little"}
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": endian}]
    if chunks.order != tuple(range(len(chunks.shape))):
        codecs.insert(0, {"name": "transpose", "configuration": {"order": chunks.order}})
    # VirtualiZarr turns the fill value into that of format 2, which xarray reads as missing. nan is
    # that anyhow.
    fill: Any = {"f": "NaN", "c": ["NaN", "NaN"]}.get(dtype.kind, 0)
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": chunks.shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks.chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": attrs,
        "dimension_names": chunks.dims,
        "storage_transformers": [],
    }
    return {"zarr.json": array}
