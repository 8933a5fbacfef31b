"""Memory for results, used again when the last array over it is gone.

New memory is given by the system page by page, each of which is filled with zeros first. In a loop
over the sections of a stack that takes longer than the reading.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["empty"]

# Less is given quickly by any allocator; more is not worth holding back.
LEAST_NBYTES, MOST_NBYTES = 2**20, 64 * 2**20
MOST_FREE_NBYTES = 128 * 2**20

_free: deque[NDArray[np.uint8]] = deque()
_lock = threading.RLock()  # a block may come back in the middle of anything, on the same thread


class Lease:
    """What the arrays over a block hold on to: it dies with the last of them."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, block: NDArray[np.uint8]) -> None:
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
    if not LEAST_NBYTES <= nbytes <= MOST_NBYTES:
        return np.empty(shape, dtype)
    block = take(nbytes)
    lease = Lease(block)
    weakref.finalize(lease, give_back, block).atexit = False
    return np.asarray(lease).view(dtype).reshape(shape)


def take(nbytes: int) -> NDArray[np.uint8]:
    """Give a block of just this size, the one that was used last if there is one."""
    with _lock:
        for i in range(len(_free) - 1, -1, -1):
            if _free[i].nbytes == nbytes:
                block = _free[i]
                del _free[i]
                return block
    return np.empty(nbytes, np.uint8)


def give_back(block: NDArray[np.uint8]) -> None:
    """Keep a block for the next one, and let go of those that were not used for longest."""
    with _lock:
        _free.append(block)
        while sum(b.nbytes for b in _free) > MOST_FREE_NBYTES:
            _free.popleft()
