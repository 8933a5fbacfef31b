"""Memory for results, used again when the last array over it is gone.

New memory is given by the system page by page, each of which is filled with zeros first. In a loop
over the sections of a stack that takes longer than the reading.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["empty"]

# Less is given quickly by any allocator; more is not worth holding back.
MIN_NBYTES, MAX_NBYTES = 2**20, 64 * 2**20
MAX_FREE_NBYTES = 128 * 2**20

# By identity, in the order in which they came back. Without a lock: a block may come back in the
# middle of anything, on the same thread too, so each change is one step of the dict.
_free: dict[int, NDArray[np.uint8]] = {}


class Lease:
    """What the arrays over a block hold on to: it dies with the last of them.

    It holds the block itself, because at the end of the process arrays may outlive all else.
    """

    __slots__ = ("__array_interface__", "__weakref__", "block")

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self.block = block
        self.__array_interface__ = block.__array_interface__


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give an array with any content, as `numpy.empty` does.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its data type.

    Returns
    -------
    ndarray
        C-contiguous and the caller's alone, for as long as it or any view of it lives.

    Examples
    --------
    >>> empty((2, 3), np.dtype("f4")).shape
    (2, 3)
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if not MIN_NBYTES <= nbytes <= MAX_NBYTES:
        return np.empty(shape, dtype)
    block = take(nbytes)
    lease = Lease(block)
    weakref.finalize(lease, give_back, block).atexit = False
    return np.asarray(lease).view(dtype).reshape(shape)


def take(nbytes: int) -> NDArray[np.uint8]:
    """Give a block of just this size, the one that was used last if there is one."""
    for block in reversed(list(_free.values())):
        if block.nbytes == nbytes and _free.pop(id(block), None) is not None:
            return block
    return np.empty(nbytes, np.uint8)


def give_back(block: NDArray[np.uint8]) -> None:
    """Keep a block for the next one, and let go of those that were not used for longest."""
    _free[id(block)] = block
    blocks = list(_free.values())
    surplus = sum(b.nbytes for b in blocks) - MAX_FREE_NBYTES
    for old in blocks:
        if surplus <= 0:
            break
        _free.pop(id(old), None)
        surplus -= old.nbytes
