"""Where maps of whole files are kept, and where they would count against a memory limit."""

import sys

import numpy as np
import pytest
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.storage import local

LAID = lay("float32", lengths=(256, 40, 20))


@pytest.fixture
def plane(tmp_path, monkeypatch):
    path = tmp_path / "a.mrc"
    path.write_bytes(LAID.raw)
    monkeypatch.setattr(local, "_kept", type(local._kept)())
    return xarray_mrc.open_mrc(path)[:, 7]


@pytest.mark.skipif(sys.platform == "win32", reason="no map is kept there")
def test_a_map_is_kept(plane):
    np.testing.assert_array_equal(plane, LAID.pixels[:, 7])
    assert len(local._kept) == 1


@pytest.mark.serial
def test_no_map_is_kept_for_a_worker_without_nanny(plane):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(processes=False, n_workers=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        np.testing.assert_array_equal(plane.compute(), LAID.pixels[:, 7])
    assert not local._kept
