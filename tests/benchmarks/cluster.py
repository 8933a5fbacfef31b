"""Reading of local files by a cluster of two processes, with one thread and 1 GiB each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client, LocalCluster
from harness import Case
from peers import SLAB, plane_of_file, sum_of_file


@contextmanager
def cases(path: Path) -> Iterator[Iterator[Case]]:
    """Start a cluster and yield the cases; at the end print how many workers were lost."""
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": "1GiB"}
    with (
        LocalCluster(processes=True, dashboard_address=":0", **options) as cluster,
        Client(cluster) as client,
    ):
        before = set(client.scheduler_info(n_workers=-1)["workers"])
        client.upload_file(str(Path(__file__).with_name("peers.py")))
        yield make_cases(client, path)
        after = set(client.scheduler_info(n_workers=-1)["workers"])
        print(f"  workers lost or restarted: {len(before - after)}")


def make_cases(client: Client, path: Path) -> Iterator[Case]:
    lazy = xr.open_dataset(path, engine="mrc", chunks={}).data.data
    slabs = [(z, min(z + SLAB, len(lazy))) for z in range(0, len(lazy), SLAB)]

    def sum_by_futures() -> float:
        futures = [client.submit(sum_of_file, str(path), *s, pure=False) for s in slabs]
        return float(sum(client.gather(futures)))

    def plane_by_futures() -> float:
        futures = [client.submit(plane_of_file, str(path), *s, 500, pure=False) for s in slabs]
        return float(np.concatenate(client.gather(futures)).sum(dtype="f8"))

    yield Case(
        "sum",
        lambda: float(lazy.sum(dtype="f8")),
        {"futures by hand": sum_by_futures},
        {"futures by hand": 1.8},
        runs=12,
    )
    yield Case(
        "yz-plane",
        lambda: float(lazy[:, :, 500].compute().sum(dtype="f8")),
        {"futures by hand": plane_by_futures},
        {"futures by hand": 1.8},
        runs=12,
    )
