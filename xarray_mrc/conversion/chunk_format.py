"""How the chunks of an array are stored, read from the metadata of Zarr.

Chunks in a usual format are encoded here with the codecs of numcodecs, which Zarr uses too: its own
pipeline takes twice the time, most of it for copies of chunks and shards.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkFormat", "find_format"]

SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
# Where a gzip member has its time of modification (RFC 1952, section 2.3).
GZIP_TIME = slice(4, 8)
INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkFormat:
    """How the chunks of an array are stored.

    Attributes
    ----------
    shape : tuple of int
        Lengths of the array.
    chunks : tuple of int
        Lengths of a chunk.
    shards : tuple of int or None
        Lengths of a shard, which is one file with its index at the end; None if each chunk is a
        file.
    dtype : dtype
        Data type of the stored values, with their byte order.
    codec : numcodecs.abc.Codec or None
        Compresses a chunk.
    fills_zeros : bool
        Whether a chunk of zeros need not be stored, because the fill value is 0.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: np.dtype[Any]
    codec: Any
    fills_zeros: bool

    @property
    def files(self) -> tuple[int, ...]:
        """Lengths of the part of the array that is one file."""
        return self.shards or self.chunks

    def chunks_in(self, position: tuple[int, ...]) -> int:
        """Return the number of chunks in a file, without those outside the array."""
        return math.prod(
            -(-min(length, whole - length * number) // chunk)
            for number, length, whole, chunk in zip(
                position, self.files, self.shape, self.chunks, strict=True
            )
        )

    def encode(self, values: NDArray[Any]) -> Any:
        """Return the stored bytes of a chunk; None if it need not be stored.

        Parameters
        ----------
        values : ndarray
            A whole chunk, contiguous and of the stored data type.

        Returns
        -------
        bytes or ndarray or None
        """
        # Bytes are looked at, because -0.0 is another number than the fill value.
        if self.fills_zeros and not values.reshape(-1).view(np.bool_).any():
            return None
        if self.codec is None:
            return values
        if threading.current_thread() is threading.main_thread():
            # Here Blosc would use threads of its own, and write its blocks in the order in which
            # these end: the same values would give other bytes each time.
            with ThreadPoolExecutor(1) as thread:
                data = thread.submit(self.codec.encode, values).result()
        else:
            data = self.codec.encode(values)
        if self.codec.codec_id == "gzip":  # without the time, for the same reason
            return data[: GZIP_TIME.start] + bytes(4) + data[GZIP_TIME.stop :]
        return data


def find_format(metadata: Any) -> ChunkFormat | None:
    """Return the format of an array that this package encodes itself; None for another one.

    Parameters
    ----------
    metadata : object
        Metadata (`zarr.core.metadata`) of the array.

    Returns
    -------
    ChunkFormat or None
        None if a codec is not one of Zarr's usual ones.

    Examples
    --------
    >>> import zarr
    >>> array = zarr.create_array({}, shape=(9, 9), chunks=(2, 2), shards=(4, 4), dtype="int16")
    >>> found = find_format(array.metadata)
    >>> found.chunks, found.shards, found.chunks_in((2, 2))
    ((2, 2), (4, 4), 1)
    """
    document = document_of(metadata)
    zeros = is_zero(document["fill_value"])
    shape = tuple(document["shape"])
    if document["zarr_format"] == 2:
        if document["filters"] or document["order"] != "C":
            return None
        dtype, codec = np.dtype(document["dtype"]), metadata.compressor
        return ChunkFormat(shape, tuple(document["chunks"]), None, dtype, codec, zeros)
    codecs, shards = list(document["codecs"]), None
    chunks = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    if codecs[0]["name"] == "sharding_indexed":
        sharding = codecs[0]["configuration"]
        if list(sharding["index_codecs"]) != INDEX_CODECS or sharding["index_location"] != "end":
            return None
        shards, chunks = chunks, tuple(sharding["chunk_shape"])
        codecs = list(sharding["codecs"])
    compressors = [codec_of(codec) for codec in codecs[1:]]
    if codecs[0]["name"] != "bytes" or len(compressors) > 1 or None in compressors:
        return None
    order = "<" if codecs[0].get("configuration", {}).get("endian", "little") == "little" else ">"
    dtype = np.dtype(document["data_type"]).newbyteorder(order)
    codec = compressors[0] if compressors else None
    return ChunkFormat(shape, chunks, shards, dtype, codec, zeros)


def document_of(metadata: Any) -> dict[str, Any]:
    """Return the metadata as the specifications of Zarr have them."""
    from zarr.core.buffer import default_buffer_prototype

    files = metadata.to_buffer_dict(default_buffer_prototype())
    document: dict[str, Any] = json.loads(files.get("zarr.json", files.get(".zarray")).to_bytes())
    return document


def is_zero(fill_value: Any) -> bool:
    """Return True if a fill value of the metadata is 0, also as a pair for a complex number."""
    parts = fill_value if isinstance(fill_value, list | tuple) else [fill_value]
    return all(isinstance(part, int | float) and part == 0 for part in parts)


def codec_of(codec: Mapping[str, Any]) -> Any:
    """Return the codec of numcodecs that Zarr uses for one of its own; None for another one."""
    from numcodecs import Blosc, GZip, Zstd

    options = dict(codec.get("configuration", {}))
    if codec["name"] == "blosc":
        options["shuffle"] = SHUFFLES[options["shuffle"]]
    classes = {"blosc": Blosc, "zstd": Zstd, "gzip": GZip}
    return classes[codec["name"]](**options) if codec["name"] in classes else None
