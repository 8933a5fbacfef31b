"""Benchmark reading over HTTP and S3: ci/bench remote [--mib 128] [--milliseconds 10] ...

A server in its own process waits before each answer, as a distant one does. Beside ours: file
objects of fsspec with its default cache, obstore, and mrcfile on a file that is downloaded first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import fsspec
import mrcfile
import numpy as np
import xarray as xr
from fault_server import FaultServer
from harness import Case, machine, measure, print_rows
from mrcbytes import header
from run import BEGIN, END

import xarray_mrc

SIDE = 512
NBYTES = SIDE * SIDE * 4  # of a section
HEADER_NBYTES = 1024
CUBE = 256
CORNERS = list(product((0, 64), (0, 64, 128, 192), (0, 64, 128, 192)))


def serve(folder: Path, milliseconds: float) -> None:
    """Serve files until the input ends; a line "count" asks for the counts since the last one."""
    with FaultServer(latency=milliseconds / 1e3) as server:
        for path in folder.glob("*.mrc"):
            data = np.memmap(path, np.uint8, "r").data
            # As a file of a web server, and as an object of S3 in the bucket maps.
            server.put(f"/{path.name}", data, tag='"1"')
            server.put(f"/maps/{path.name}", data, tag='"1"')
        print(server.port, flush=True)
        for _ in sys.stdin:
            found = [len(server.requests), server.nbytes_sent]
            server.forget()
            print(json.dumps(found), flush=True)


class Served:
    """A running server, and the addresses of its files."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        host = f"http://127.0.0.1:{int(process.stdout.readline())}"
        self.url = f"{host}/a.mrc"
        self.host = host
        self.s3: dict[str, Any] = {"anon": True, "endpoint_url": host}

    def count(self) -> tuple[int, int]:
        """Return the numbers of requests and of bytes since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("count\n")
        self.process.stdin.flush()
        requests, nbytes = json.loads(self.process.stdout.readline())
        return requests, nbytes


@contextmanager
def serving(folder: Path, milliseconds: float) -> Iterator[Served]:
    command = [sys.executable, __file__, "--serve", folder, "--milliseconds", str(milliseconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Served(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def make_file(path: Path, sections: int) -> None:
    """Write a volume of float32, and one of 256 x 256 x 256 in int16 beside it."""
    random = np.random.default_rng(0)
    numbers = random.integers(-3000, 3000, (CUBE, CUBE, CUBE), "<i2")
    head = header(nx=CUBE, ny=CUBE, nz=CUBE, mx=CUBE, my=CUBE, mz=CUBE, mode=1)
    (path.parent / "cube.mrc").write_bytes(head + numbers.tobytes())
    noise = random.normal(size=(8, SIDE, SIDE)).astype("<f4")
    with path.open("wb") as file:
        file.write(header(nx=SIDE, ny=SIDE, nz=sections, mx=SIDE, my=SIDE, mz=sections))
        for section in range(sections):
            file.write((noise[section % 8] + section).astype("<f4").tobytes())


# Other readers


def fsspec_header(url: str) -> int:
    with fsspec.open(url) as file:
        return int.from_bytes(file.read(HEADER_NBYTES)[8:12], "little")


def fsspec_section(url: str, z: int) -> float:
    with fsspec.open(url) as file:
        file.read(HEADER_NBYTES)
        file.seek(HEADER_NBYTES + z * NBYTES)
        return float(np.frombuffer(file.read(NBYTES), "<f4").sum(dtype="f8"))


def fsspec_brick(url: str) -> float:
    total = 0.0
    with fsspec.open(url) as file:
        file.read(HEADER_NBYTES)
        for z in range(32, 96):
            file.seek(HEADER_NBYTES + z * NBYTES + 64 * SIDE * 4)
            rows = np.frombuffer(file.read(64 * SIDE * 4), "<f4").reshape(64, SIDE)
            total += float(rows[:, 64:128].sum(dtype="f8"))
    return total


def downloaded(url: str, folder: Path, use: Callable[[np.ndarray], float]) -> float:
    """Download the file, and read it with mrcfile."""
    path = folder / "downloaded"
    with urllib.request.urlopen(url) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file, 2**20)
    with mrcfile.mmap(path, permissive=True) as opened:
        return use(opened.data)


def obstore_store(host: str) -> Any:
    from obstore.store import HTTPStore

    return HTTPStore.from_url(host, client_options={"allow_http": True})


def obstore_brick(store: Any) -> float:
    import obstore

    starts = [HEADER_NBYTES + z * NBYTES + 64 * SIDE * 4 for z in range(32, 96)]
    found = obstore.get_ranges(store, "a.mrc", starts=starts, lengths=[64 * SIDE * 4] * 64)
    rows = (np.frombuffer(part, "<f4").reshape(64, SIDE)[:, 64:128] for part in found)
    return float(sum(part.sum(dtype="f8") for part in rows))


def obstore_section(store: Any, z: int) -> float:
    import obstore

    obstore.get_range(store, "a.mrc", start=0, length=HEADER_NBYTES)
    found = obstore.get_range(store, "a.mrc", start=HEADER_NBYTES + z * NBYTES, length=NBYTES)
    return float(np.frombuffer(found, "<f4").sum(dtype="f8"))


# Cases


def opened(served: Served, name: str = "a.mrc", *, s3: bool = False, limit: int = 8) -> Any:
    options = {"max_requests": limit, **(served.s3 if s3 else {})}
    url = f"s3://maps/{name}" if s3 else f"{served.host}/{name}"
    return xr.open_dataset(url, engine="mrc", storage_options=options).data


def total(array: Any) -> float:
    return float(np.asarray(array).sum(dtype="f8"))


def side_by_side(array: xr.DataArray, keys: list[Any]) -> float:
    async def load() -> list[xr.DataArray]:
        return await asyncio.gather(*(array[key].load_async() for key in keys))

    return sum(map(total, asyncio.run(load())))


def one_by_one(array: xr.DataArray, keys: list[Any]) -> float:
    return sum(total(array[key].values) for key in keys)


def cases(served: Served, folder: Path) -> Iterator[Case]:
    url, store = served.url, obstore_store(served.host)
    brick = (slice(32, 96), slice(64, 128), slice(64, 128))
    yield Case(
        "header",
        lambda: xarray_mrc.read_header(url).nz,
        {
            "fsspec file": lambda: fsspec_header(url),
            "download, mrcfile": lambda: downloaded(url, folder, len),
        },
        runs=5,
    )
    yield Case(
        "open, and one section",
        lambda: total(opened(served)[50]),
        {
            "fsspec file": lambda: fsspec_section(url, 50),
            "obstore": lambda: obstore_section(store, 50),
            "download, mrcfile": lambda: downloaded(url, folder, lambda data: total(data[50])),
        },
        runs=5,
    )
    yield Case(
        "open, and a brick of 64^3",
        lambda: total(opened(served)[brick]),
        {
            "fsspec file": lambda: fsspec_brick(url),
            "obstore": lambda: obstore_brick(store),
            "download, mrcfile": lambda: downloaded(url, folder, lambda data: total(data[brick])),
        },
        runs=5,
    )
    # Of 256 x 256 x 256 pixels, as in the limits.
    keys: list[Any] = list(range(64))
    bricks = [tuple(slice(start, start + 64) for start in corner) for corner in CORNERS]
    for name, s3 in (("HTTP", False), ("S3", True)):
        array = opened(served, "cube.mrc", s3=s3)
        single = opened(served, "cube.mrc", s3=s3, limit=1)
        yield Case(
            f"64 sections of 128 KiB by load_async, {name}",
            lambda array=array: side_by_side(array, keys),
            {"one by one": lambda array=array: one_by_one(array, keys)},
            {"one by one": 0.3},
            runs=5,
        )
        yield Case(
            f"32 bricks of 64^3, gathered, {name}",
            lambda array=array: side_by_side(array, bricks),
            {
                "one request after the other": lambda single=single: one_by_one(single, bricks),
                "brick after brick": lambda array=array: one_by_one(array, bricks),
            },
            {"one request after the other": 0.3},
            runs=1,
        )
    yield Case(
        "sum of all on dask's threads",
        lambda: float(xarray_mrc.open_mrc(url, chunks={"z": 8}).sum(dtype="f8")),
        {"download, mrcfile": lambda: downloaded(url, folder, total)},
        runs=3,
    )


def counted(served: Served) -> list[str]:
    """Return a table of requests and bytes of our reads."""
    lines = ["| what | requests | bytes |", "|---|---|---|"]
    for name, s3 in (("HTTP", False), ("S3", True)):
        served.count()
        array = opened(served, "cube.mrc", s3=s3)
        reads = {"open": lambda: None, "section": lambda a=array: a[50].load()}
        reads["brick of 64^3"] = lambda a=array: a[32:96, 64:128, 64:128].load()
        for what, read in reads.items():
            read()
            requests, nbytes = served.count()
            lines.append(f"| {what}, {name} | {requests} | {nbytes:,} |")
    print("\n".join(lines), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=128, help="size of the file")
    parser.add_argument("--milliseconds", type=float, default=10, help="before each answer")
    parser.add_argument("--write", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.milliseconds)
        return
    sections = options.mib * 2**20 // NBYTES
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name, "a.mrc")
        make_file(path, sections)
        with serving(folder, options.milliseconds) as served:
            found = counted(served)
            rows = map(measure, cases(served, folder))
            title = f"{options.milliseconds:g} ms before each answer, best of all runs"
            table = print_rows(title, rows)
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    made = (
        f"{options.mib} MiB of float32, {SIDE} x {SIDE} pixels a section; 256 x 256 x 256 pixels "
        f"of int16. {time.strftime('%Y-%m-%d')}, load averages {load}. {machine()}."
    )
    lines = [made, "", f"#{table[0]}", *table[1:], "", *found]  # below the heading of the page
    if options.write:
        before, rest = options.write.read_text("utf-8").split(BEGIN)
        text = "\n".join(lines)
        after = rest.split(END)[1]
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
