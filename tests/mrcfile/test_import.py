"""What the import of the drop-in loads, in every order, in processes of its own."""

from __future__ import annotations

import pytest
from programs import run_program

HEAVY = ("xarray", "pandas", "dask", "zarr", "fsspec", "click", "urllib.request", "logging",
         "concurrent.futures", "xarray_mrc.checking", "xarray_mrc.dataset")  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        "from xarray_mrc import mrcfile",
        "import xarray_mrc.mrcfile as mrcfile",
        "import xarray_mrc; mrcfile = xarray_mrc.mrcfile",
    ],
)
def test_reading_loads_nothing_that_it_does_not_need(how, tmp_path):
    program = f"""
import sys
import numpy
before = set(sys.modules)
{how}
loaded = set(sys.modules) - before
assert not loaded & set({HEAVY!r}), sorted(loaded & set({HEAVY!r}))
assert "mrcfile" in dir(xarray_mrc) if "xarray_mrc" in globals() else True
import os
if os.path.exists(sys.argv[1]):
    assert mrcfile.read(sys.argv[1]).sum() == 6
    assert "xarray" not in sys.modules
else:
    mrcfile.write(sys.argv[1], numpy.ones((2, 3), "f4"))
    assert "xarray" not in sys.modules and "pandas" not in sys.modules
"""
    for _ in range(2):
        run_program(program, tmp_path / "a.mrc.gz")


@pytest.mark.parametrize("alias", ["", "mrcfile.install_alias()"])
@pytest.mark.parametrize("first", ["import xarray", "from xarray_mrc import mrcfile"])
def test_the_accessor_is_there_in_each_order(first, alias):
    program = f"""
{first}
from xarray_mrc import mrcfile
{alias}
import xarray
assert xarray.Dataset({{"data": (("y", "x"), [[1.0]])}}).mrc
"""
    run_program(program)


AT_THE_END = """
import atexit, sys
import numpy
from xarray_mrc import mrcfile

path = sys.argv[1]
numbers = numpy.arange(2**20, dtype="f4").reshape(16, 256, 256)

@atexit.register
def at_the_end():
    if sys.argv[2] == "write":
        mrcfile.write(path, numbers)
    print((mrcfile.read(path) == numbers).all())

assert "concurrent.futures.thread" not in sys.modules
"""


def test_the_end_of_python_with_no_thread_so_far(tmp_path):
    """Python loads no pool of threads any more when it is ending."""
    for job in ("write", "read"):
        assert run_program(AT_THE_END, tmp_path / "a.mrc.gz", job) == "True\n"
