"""A pool of large result buffers, reused once no array refers to them.

The system hands out new memory page by page, and fills each page with zeros first. In a loop over
large blocks that takes longer than the reading.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["empty"]

# glibc keeps freed blocks below 32 MiB, and returns larger ones to the system. Measured with glibc
# 2.36 in a loop over sections of a cached file, processor time without this pool by that with it:
# 0.9 for 1 and 4 MiB, 0.9 to 1.0 for 16 MiB, 1.4 to 1.7 for 32 MiB, 1.9 to 2.1 for 64 MiB; on two
# threads 1.0 for 16 MiB and 2.2 for 32 MiB.
MIN_NBYTES, MAX_NBYTES = 32 * 2**20, 64 * 2**20
# The system copies 64 KiB from the page cache a tenth faster to a multiple of 64 bytes, and at half
# the speed to 16 bytes after the place in its page that they come from; those of numpy may be that.
ALIGNMENT = 4096
# One large block. With 128 MiB a dask worker whose blocks are not maps peaked at 490 MiB in
# tests/test_scale.py, which allows 450.
MAX_FREE_NBYTES = 64 * 2**20

# By identity, in the order in which the blocks were returned. There is no lock: a block can be
# returned in the middle of any statement, on the same thread too, so each change is one step of
# the dict.
_free: dict[int, NDArray[np.uint8]] = {}


class Lease:
    """Owner of a block for the arrays over it; it is deleted with the last of them.

    It refers to the block itself, because arrays may outlive the pool at the end of the process.
    """

    __slots__ = ("__array_interface__", "__weakref__", "block")

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self.block = block
        self.__array_interface__ = block.__array_interface__


def empty(
    shape: tuple[int, ...], dtype: np.dtype[Any], min_nbytes: int | None = None
) -> NDArray[Any]:
    """Return an array with arbitrary content, as `numpy.empty` does.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its data type.
    min_nbytes : int, optional
        Smaller arrays are not taken from the pool; by default 32 MiB.

    Returns
    -------
    ndarray
        C-contiguous. Nobody else gets its memory as long as it or any view of it exists.

    Examples
    --------
    >>> empty((2, 3), np.dtype("f4")).shape
    (2, 3)
    """
    nbytes = math.prod(shape) * dtype.itemsize
    least = MIN_NBYTES if min_nbytes is None else min_nbytes
    if not least <= nbytes <= MAX_NBYTES:
        return np.empty(shape, dtype)
    block = take_block(nbytes)
    lease = Lease(block)
    weakref.finalize(lease, return_block, block).atexit = False
    return np.asarray(lease).view(dtype).reshape(shape)


def take_block(nbytes: int) -> NDArray[np.uint8]:
    """Return a block of exactly this size: the one returned last, or a new one."""
    for block in reversed(list(_free.values())):
        if block.nbytes == nbytes and _free.pop(id(block), None) is not None:
            return block
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes]


def return_block(block: NDArray[np.uint8]) -> None:
    """Keep a block for reuse, and free those that were unused for longest."""
    _free[id(block)] = block
    blocks = list(_free.values())
    surplus = sum(b.nbytes for b in blocks) - MAX_FREE_NBYTES
    for old in blocks:
        if surplus <= 0:
            break
        _free.pop(id(old), None)
        surplus -= old.nbytes
