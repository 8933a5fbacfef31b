"""File objects of the caller."""

import io
import os
import pickle

import numpy as np
import pytest
import xarray as xr
from mrcbytes import header
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


class Downloaded(io.BytesIO):
    """A file object whose path is a URL, as those of fsspec's file system for HTTP are."""

    path = "https://me:pw@example.org/a.mrc?token=abc"

    def __repr__(self):
        return f"<File-like object HTTPFileSystem, {self.path}>"


def test_secrets_of_a_url_are_not_shown():
    file = Downloaded(header(nx=4, ny=3, nz=2, mode=0) + bytes(24))
    source = FileObjectSource(file)
    assert source.uri == "https://example.org/a.mrc"
    with pytest.raises(TypeError, match="can't be pickled") as found:
        pickle.dumps(source)
    dataset = xr.open_dataset(file, engine="mrc")
    shown = f"{found.value} {dataset.encoding} {dataset.data.encoding} {dataset!r}"
    assert "abc" not in shown
    assert "pw" not in shown
