"""A stand-in for the part of PyTorch that loads data, which is too large for the tests.

Workers follow one another in this process. Where PyTorch is installed, it is used itself.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np


class Worker(NamedTuple):
    """The worker that runs, as `get_worker_info` returns it."""

    id: int
    num_workers: int
    seed: int


class IterableDataset:
    """A data set that is iterated over."""


class DataLoader:
    """Yield what each worker yields."""

    def __init__(self, dataset, batch_size, num_workers=0):
        assert isinstance(dataset, IterableDataset)
        assert batch_size is None
        self.dataset, self.num_workers = dataset, num_workers

    def __iter__(self):
        global running
        if not self.num_workers:
            yield from self.dataset
        for number in range(self.num_workers):
            running = Worker(number, self.num_workers, 2**40 + number)
            try:
                yield from self.dataset
            finally:
                running = None


running = None
random = np.random.default_rng(3)


def randint(high, size):
    """Return random numbers; those of a process go on from one epoch to the next."""
    return random.integers(high, size=size)


def from_numpy(array):
    """Return a view of an array, as PyTorch does of those that it can take."""
    assert array.dtype.kind in "iuf"
    assert min(array.strides) > 0
    return memoryview(array)


def install(monkeypatch):
    """Make `import torch` find the stand-in, unless PyTorch is installed."""
    if find_spec("torch"):
        return
    torch, utils, data = ModuleType("torch"), ModuleType("torch.utils"), ModuleType("data")
    torch.utils, utils.data = utils, data
    torch.from_numpy, torch.randint = from_numpy, randint
    data.IterableDataset, data.DataLoader = IterableDataset, DataLoader
    data.get_worker_info = lambda: running
    monkeypatch.setitem(sys.modules, "torch", torch)
