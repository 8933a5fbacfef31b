"""The file that tests of the engine open, the dataset it must give, and small helpers."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import xarray as xr
from mrcbytes import Laid, lay

LAID = lay(lengths=(7, 6, 20), nstart=(3, -2, 5), labels=(b"made by hand",))
SPLITS = "ignore:The specified chunks separate the stored chunks:UserWarning"


def expected(laid: Laid = LAID) -> xr.Dataset:
    """Return the expected dataset of an opened file, without attributes."""
    coords = {dim: laid.positions(dim) for dim in laid.dims if dim in ("x", "y", "z")}
    return xr.Dataset({"data": (laid.dims, laid.pixels)}, coords)


def save(path: Path, laid: Laid | bytes = LAID) -> Path:
    path.write_bytes(laid if isinstance(laid, bytes) else laid.raw)
    return path


def open_file(path, **options) -> xr.Dataset:
    return xr.open_dataset(path, engine="mrc", **options)


class Counting(io.BytesIO):
    """A file in memory that counts the bytes read and can be slowed down."""

    nread = 0
    delay = 0.0

    def readinto(self, buffer):
        time.sleep(self.delay)
        count = super().readinto(buffer)
        self.nread += count
        return count


def points(values, dims="p"):
    return xr.DataArray(np.array(values, dtype=int), dims=dims)


def key_of(dataset):
    return dataset["data"].data.name


def can_hold(writer: str, form) -> bool:
    return not (writer == "netcdf4" and form.dtype in ("f2", "c8"))


def write(dataset: xr.Dataset, writer: str, target: Path) -> None:
    if writer.startswith("zarr"):
        dataset.to_zarr(target, zarr_format=int(writer[-1]), consolidated=False)
    else:
        dataset.to_netcdf(target, engine=writer)


def read(writer: str, target: Path) -> xr.Dataset:
    if writer.startswith("zarr"):
        return xr.open_zarr(target, consolidated=False, chunks=None).load()
    with xr.open_dataset(target, engine=writer) as dataset:
        return dataset.load()


WRITERS = ("zarr2", "zarr3", "netcdf4", "h5netcdf")
