"""Many files as one dataset, and one dataset in many processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay
from opened import expected, save
from programs import run_program
from xarray.testing import assert_equal

from xarray_mrc.backend import MrcBackendEntrypoint


@pytest.mark.parametrize("engine", ["mrc", MrcBackendEntrypoint])
@pytest.mark.parametrize("parallel", [False, True])
def test_open_mfdataset(tmp_path, parallel, engine):
    laid = [lay(seed=seed) for seed in range(3)]
    paths = [save(tmp_path / f"{seed}.mrc", one) for seed, one in enumerate(laid)]
    dataset = xr.open_mfdataset(
        paths, engine=engine, combine="nested", concat_dim="run", parallel=parallel,
        join="exact", compat="equals", data_vars="all", coords="minimal",
        preprocess=lambda ds: ds.expand_dims(run=[Path(ds.encoding["source"]).name]),
    )  # fmt: skip
    assert dataset["data"].chunks[0] == (1, 1, 1)
    assert dataset["run"].values.tolist() == ["0.mrc", "1.mrc", "2.mrc"]
    np.testing.assert_array_equal(dataset["data"], np.stack([one.pixels for one in laid]))
    assert dataset["x"].values.tolist() == laid[0].positions("x")


def test_open_mfdataset_by_coords(tmp_path):
    # One volume in two files, told apart by where they start.
    laid = lay(lengths=(5, 4, 6))
    data = laid.raw[1024:]
    middle = len(data) // 2
    for name, start, part in (("b", 3, data[middle:]), ("a", 0, data[:middle])):
        head = laid.with_fields(nz=3, nzstart=start)[:1024]
        (tmp_path / f"{name}.mrc").write_bytes(head + part)
    parts = xr.open_mfdataset(
        str(tmp_path / "*.mrc"), engine="mrc", data_vars="minimal", coords="minimal",
        compat="override", join="outer",
    )  # fmt: skip
    assert_equal(parts, expected(laid))


PROCESSES = """
import multiprocessing
import sys
import xarray as xr

def total(dataset):
    return int(dataset["data"].sum())

if __name__ == "__main__":
    lazy = xr.open_dataset(sys.argv[1], engine="mrc")
    chunked = xr.open_dataset(sys.argv[1], engine="mrc", chunks={}, preferred_chunks={"z": 2})
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(*pool.map(total, [lazy, lazy.isel(z=slice(3)), chunked]))
"""


def test_multiprocessing(tmp_path):
    laid = lay("int16")
    path = save(tmp_path / "file.mrc", laid)
    whole, part = laid.pixels.sum(), laid.pixels[:3].sum()
    lines = run_program(PROCESSES, path, folder=tmp_path).splitlines()
    assert len(lines) >= 1
    assert lines == [f"{whole} {part} {whole}"] * len(lines)
