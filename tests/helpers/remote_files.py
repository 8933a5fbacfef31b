"""Files for remote reading, and the places that they are read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from fault_server import FaultServer
from mrcbytes import header

from xarray_mrc.storage import Head, open_head

__all__ = ["VOXEL", "Place", "TracingAdapter", "trace", "volume"]

VOXEL = 1.5


def volume(
    shape: tuple[int, int, int] = (256, 256, 256), seed: int = 1, extended: bytes = b""
) -> tuple[bytes, np.ndarray]:
    """Return the bytes and the pixels of a volume of int16."""
    pixels = np.random.default_rng(seed).integers(-3000, 3000, shape, np.int16)
    nz, ny, nx = shape
    head = header(
        nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz, mode=1, nsymbt=len(extended),
        cella=(nx * VOXEL, ny * VOXEL, nz * VOXEL),
    )  # fmt: skip
    return head + extended + pixels.astype("<i2").tobytes(), pixels


@dataclass
class Place:
    """A storage on loopback, behind a server that counts.

    Attributes
    ----------
    put : callable
        Stores a file by its name and bytes, and returns its URL. Storing it again changes it.
    counts : FaultServer
        Counts the requests of readers.
    options : dict
        `storage_options` of a reader.
    """

    name: str
    put: Callable[[str, bytes], str]
    counts: FaultServer
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, url: Any, **options: Any) -> xr.DataArray:
        """Open a file lazily with xarray, without dask unless `chunks` is passed."""
        both = self.options | options.pop("storage_options", {})
        dataset = xr.open_dataset(url, engine="mrc", storage_options=both or None, **options)
        return dataset.data

    @property
    def reads(self) -> list[Any]:
        """Requests other than HEAD."""
        return [request for request in self.counts.requests if request.method != "HEAD"]


class TracingAdapter:
    """Sends requests by another adapter, and keeps their ranges."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self.opened = 0
        self.ranges: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    async def open(self) -> Any:
        self.opened += 1
        return await self.adapter.open()

    async def read(self, requests: Any, version: Any) -> None:
        self.ranges += [(request.offset, request.nbytes) for request in requests]
        await self.adapter.read(requests, version)


def trace(url: str, options: dict[str, Any] | None = None) -> tuple[Head, TracingAdapter]:
    """Open a file, and return it with an adapter that keeps the ranges of later requests."""
    head = open_head(url, storage_options=options)
    source: Any = head.source
    adapter = TracingAdapter(source.adapter)
    return replace(head, source=replace(source, adapter=adapter)), adapter
