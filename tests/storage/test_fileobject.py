"""File objects of the caller."""

import io
import os

import numpy as np
import pytest
from waiting import wait_for_exit

from xarray_mrc.storage import fileobject
from xarray_mrc.storage.fileobject import FileObjectSource


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("held", ["guard", "turn"])
def test_fork_while_another_thread_has_a_lock(held):
    """A lock that another thread held when the process forked is never released in the child."""
    file = io.BytesIO(bytes(range(100)))
    source = FileObjectSource(file)
    lock = fileobject._guard if held == "guard" else source._turn.lock
    with lock:
        child = os.fork()
        if child == 0:
            out = np.empty(10, np.uint8)
            FileObjectSource(file).read_ranges([(5, out)])
            os._exit(0 if out.tolist() == [*range(5, 15)] else 1)
        assert wait_for_exit(child, 10) == 0
