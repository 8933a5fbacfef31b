"""The strategies: files that other readers read the same, and ranges inside the file."""

import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from hypothesis import find, given, settings

from xarray_mrc import open_mrc
from xarray_mrc.testing import byte_ranges, mrc_files

UNTIMED = settings(deadline=None, max_examples=50)


@UNTIMED
@given(mrc_files())
def test_files(file):
    found = open_mrc(file.raw, chunks=None)
    assert found.dtype == file.pixels.dtype
    assert found.values.tobytes() == file.pixels.tobytes()


@settings(deadline=None, max_examples=10)
@given(mrc_files())
def test_mrcfile_reads_them(tmp_path_factory, file):
    path = tmp_path_factory.mktemp("files") / "a.mrc"
    path.write_bytes(file.raw)
    with mrcfile.open(path) as opened:
        np.testing.assert_array_equal(opened.data, file.pixels)


@UNTIMED
@given(byte_ranges(100, min_ranges=1, max_ranges=3))
def test_ranges(ranges):
    assert 1 <= len(ranges) <= 3
    assert all(0 <= offset <= offset + nbytes <= 100 for offset, nbytes in ranges)


@pytest.mark.parametrize(
    "sought",
    [
        lambda ranges: any(not nbytes for _, nbytes in ranges),
        lambda ranges: ranges != sorted(ranges),
        lambda ranges: any(a < c < a + b for (a, b) in ranges for (c, _) in ranges),
        lambda ranges: any(nbytes > 80 for _, nbytes in ranges),
    ],
)
def test_all_sorts_of_ranges(sought):
    assert sought(find(byte_ranges(100), sought))


@pytest.mark.parametrize("name", ["pytest", "hypothesis"])
def test_a_missing_package_is_named(name):
    program = f"import sys; sys.modules[{name!r}] = None; import xarray_mrc.testing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"ImportError: xarray_mrc.testing needs {name}: python -m pip install" in done.stderr


def test_nothing_else_needs_them():
    program = (
        "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "import xarray_mrc\n"
        "for name in xarray_mrc.__all__: getattr(xarray_mrc, name)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
