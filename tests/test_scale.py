"""Files larger than memory, clusters, and what travels to their workers. All run alone."""

from __future__ import annotations

import pickle
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import xarray as xr
from mrcbytes import IMOD, lay, put
from programs import PEAK_MEMORY, run_program

import xarray_mrc

pytestmark = pytest.mark.serial

MIB, GIB, TIB = 2**20, 2**30, 2**40


def sparse(path: Path, shape: tuple[int, int, int], numbers=(), **fields) -> Path:
    """Lay down a file of zeros that takes no room, with a few numbers (z, y, x, value) in it."""
    nz, ny, nx = shape
    with path.open("wb") as file:
        file.write(put(lay().head, "<", nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz, **fields))
        try:
            file.truncate(1024 + 4 * nz * ny * nx)
        except OSError as error:
            pytest.skip(f"the file system takes no sparse file of that size: {error}")
        for z, y, x, value in numbers:
            file.seek(1024 + 4 * ((z * ny + y) * nx + x))
            file.write(np.array(value, "<f4").tobytes())
    return path


TIB_SHAPE = (16384, 4096, 4096)  # z, y, x

LOOK = (
    PEAK_MEMORY
    + """
import sys
import numpy as np, xarray as xr
path, chunks = sys.argv[1], eval(sys.argv[2])
data = xr.open_dataset(path, engine="mrc", chunks=chunks)["data"]
assert data.nbytes == 2**40
repr(data)
print(float(data[16383, 4095, 4095]), float(data[9000, 2048, 77]), float(data[0, 0, 0]))
plane = data[9000].load()
print(plane.shape, float(plane.sum()), float(plane[2048, 77]))
side = data[::64, 2048].load()
print(side.shape, float(side.sum()))
if chunks is None:
    column = data[::512, ::64, 77].load()
    print(column.shape, float(column.sum()))
    points = {dim: xr.DataArray(at, dims="p") for dim, at in
              {"z": [16383, 9000, 5], "y": [4095, 2048, 1], "x": [4095, 77, 2]}.items()}
    print(data.isel(points).values.tolist())
    print(float(data.transpose("x", "y", "z")[77, 2048, 9000]))
thin = data[8::1024, ::128, 5:2000:3].astype("f8").sum()
print(float(thin))
print(float(data[8200:9001:800].max()))
print(peak_nbytes())
"""
)


@pytest.mark.parametrize("chunks", [None, {}])
def test_one_tebibyte(tmp_path, chunks):
    numbers = [
        (16383, 4095, 4095, 1.5), (9000, 2048, 77, 2.5), (9000, 5, 6, 4.0), (8960, 2048, 9, 8.0),
        (8, 128, 8, 16.0), (8 + 1024, 0, 1997, 32.0), (8 + 1024, 0, 1998, 64.0),
    ]  # fmt: skip
    path = sparse(tmp_path / "huge.mrc", TIB_SHAPE, numbers)
    lines = run_program(LOOK, path, chunks).splitlines()
    wanted = ["1.5 2.5 0.0", "(4096, 4096) 6.5 2.5", "(256, 4096) 8.0"]
    if chunks is None:
        wanted += ["(32, 64) 0.0", "[1.5, 2.5, 0.0]", "2.5"]
    wanted += ["48.0", "4.0"]
    assert lines[:-1] == wanted
    assert int(lines[-1]) < 700 * MIB


def test_many_scattered_points_of_a_large_file(tmp_path):
    # One number each: not the box that all of them lie in.
    random = np.random.default_rng(0)
    where = random.integers(0, [1024, 2048, 2048], (400, 3))
    numbers = [(*map(int, at), float(i)) for i, at in enumerate(where)]
    path = sparse(tmp_path / "large.mrc", (1024, 2048, 2048), numbers)
    program = (
        PEAK_MEMORY
        + """
import sys
import numpy as np, xarray as xr
where = np.random.default_rng(0).integers(0, [1024, 2048, 2048], (400, 3))
data = xr.open_dataset(sys.argv[1], engine="mrc")["data"]
before = peak_nbytes()
points = {dim: xr.DataArray(at, dims="p") for dim, at in zip("zyx", where.T)}
print(data.isel(points).values.tolist() == list(range(400)))
print(peak_nbytes() - before)
"""
    )
    right, peak = run_program(program, path).split()
    assert right == "True"
    assert int(peak) < 64 * MIB


# What travels


def test_a_pickled_dataset_is_its_coordinates_and_little_more(tmp_path):
    labels = b"".join(f"label {i} ".encode().ljust(80, b".") for i in range(10))
    fields = {
        "nlabl": 10, "label_bytes": labels, "imod_stamp": IMOD, "imod_flags": 7,
        "origin": (1.5, -2.25, 3.1), "nxstart": 5, "cellb": (90.0, 90.0, 120.0),
    }  # fmt: skip
    folder = tmp_path / ("a folder of a rather long name " * 3)
    folder.mkdir()
    for name, shape in {"small": (4, 4, 4), "large": (65536, 2048, 2048)}.items():
        path = sparse(folder / f"{name}.mrc", shape, **fields)
        for chunks in (None, {}):
            dataset = xr.open_dataset(path, engine="mrc", chunks=chunks)
            coords = sum(coord.nbytes for coord in dataset.coords.values())
            graph = 300 * len(dataset["data"].chunks[0]) if chunks == {} else 0
            for dumps in (pickle.dumps, cloudpickle.dumps):
                assert len(dumps(dataset)) < coords + graph + 4096
                assert len(dumps(dataset["data"])) < coords + graph + 4096
                assert len(dumps(dataset["data"].variable)) < graph + 4096
    part = xr.open_dataset(path, engine="mrc").isel(z=slice(3), y=[1, 2], x=5)
    assert len(pickle.dumps(part)) < 8192
    assert len(pickle.dumps(part.drop_vars(list("zyx")))) < 4096


def graph_nbytes(data: xr.DataArray) -> int:
    """Count the bytes of a graph as it goes to a scheduler, the larger of two ways."""
    graph = data.data.__dask_graph__()
    return max(len(cloudpickle.dumps(graph)), len(cloudpickle.dumps(dict(graph))))


@pytest.mark.parametrize("operation", ["open", "cut"])
def test_a_graph_is_small(tmp_path, operation):
    path = sparse(tmp_path / "large.mrc", (65536, 2048, 2048))
    sizes = {}
    for sections in (64, 16, 4):
        data = xarray_mrc.open_mrc(path, preferred_chunks={"z": sections})
        if operation == "cut":
            data = data[:, 100:200, ::2]
        sizes[65536 // sections] = graph_nbytes(data)
    (few, least), (some, more), (many, most) = sizes.items()
    layers = 2 if operation == "cut" else 1
    assert most < 300 * layers * many
    assert (most - least) / (many - few) < 300 * layers
    assert (more - least) / (some - few) < 300 * layers


# A cluster of processes


CLUSTER = (
    PEAK_MEMORY
    + """
import sys, warnings
from pathlib import Path
import numpy as np, xarray as xr

def main():
    from distributed import Client, LocalCluster
    path, out = sys.argv[1:]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, memory_limit="1GiB",
        dashboard_address=":0", local_directory=str(Path(out).parent),
    ) as cluster, Client(cluster) as client:
        before = max(client.run(peak_nbytes).values())
        # A graph that carries the data would be said here.
        warnings.filterwarnings("error", "Sending large graph")
        data = xr.open_dataset(path, engine="mrc", chunks={})["data"]
        print(float(data.mean(dtype="f8")))
        print(float(data[:, 100:200:3, ::7].mean(dtype="f8")))
        print(float(data.map_blocks(lambda block: block * 0 + 1).sum(dtype="f8")))
        data.to_dataset().to_zarr(out, consolidated=False)
        lazy = client.scatter(xr.open_dataset(path, engine="mrc"))
        print(client.submit(lambda ds: float(ds["data"][3].mean()), lazy).result())
        print(max(client.run(peak_nbytes).values()) - before)
        print(sum(worker["metrics"]["managed_bytes"] for worker in
              client.scheduler_info(n_workers=-1)["workers"].values()))

if __name__ == "__main__":
    main()
"""
)


def test_cluster_of_processes(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.standard_normal((320, 512, 512), "f4")  # 320 MiB: 5 blocks
    path = tmp_path / "tomogram.mrc"
    head = put(lay().head, "<", nx=512, ny=512, nz=320, mx=512, my=512, mz=320)
    with path.open("wb") as file:
        file.write(head)
        pixels.tofile(file)
    lines = run_program(CLUSTER, path, tmp_path / "out.zarr", folder=tmp_path).splitlines()
    mean, thin, ones, plane, peak, _ = map(float, lines)
    assert mean == pytest.approx(pixels.mean(dtype="f8"), rel=1e-12)
    assert thin == pytest.approx(pixels[:, 100:200:3, ::7].mean(dtype="f8"), rel=1e-12)
    assert ones == pixels.size
    assert plane == pytest.approx(pixels[3].mean(dtype="f8"), abs=1e-6)
    saved = xr.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None)["data"]
    for start in range(0, 320, 80):
        part = slice(start, start + 80)
        assert np.array_equal(saved[part], pixels[part])
    # Blocks of 64 MiB, some of them at a time, and never the file.
    assert peak < 450 * MIB


def test_reading_in_a_worker_that_lacks_the_file(tmp_path):
    # What a worker on another computer says, without another computer.
    path = sparse(tmp_path / "here.mrc", (8, 8, 8))
    sent = cloudpickle.dumps(xr.open_dataset(path, engine="mrc"))
    path.unlink()
    program = (
        "import pickle, sys\n"
        "try: pickle.loads(bytes.fromhex(sys.argv[1])).load()\n"
        "except FileNotFoundError as error: print(error)\n"
    )
    said = run_program(program, sent.hex())
    assert "not visible on" in said
    assert str(path) in said


def test_streaming_over_a_large_file_in_threads(tmp_path):
    numbers = [(z, 5, 7, float(z)) for z in range(0, 4096, 256)]
    path = sparse(tmp_path / "large.mrc", (4096, 1024, 1024), numbers)  # 16 GiB
    program = (
        PEAK_MEMORY
        + """
import sys
import dask
import xarray as xr
dask.config.set(scheduler="threads", num_workers=2)
data = xr.open_dataset(sys.argv[1], engine="mrc", chunks={})["data"][:512]
print(float(data.sum(dtype="f8")))
print(float(data.max(skipna=False)))
print(peak_nbytes())
"""
    )
    total, most, peak = map(float, run_program(program, path).split())
    assert (total, most) == (256, 256)
    assert peak < 700 * MIB
