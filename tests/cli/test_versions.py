"""``xarray-mrc versions`` and `show_versions`."""

import io
import sys
from importlib.metadata import version

import pytest
from command import run

import xarray_mrc


@pytest.mark.parametrize("name", ["numpy", "xarray", "dask", "zarr"])
def test_versions(name):
    rows = dict(line.split(maxsplit=1) for line in run("versions").out.splitlines())
    assert rows[name] == version(name)
    assert rows["python"] == ".".join(map(str, sys.version_info[:3]))
    assert run("versions", "--json").json[name] == version(name)


def test_a_package_that_is_not_installed(monkeypatch):
    from xarray_mrc import installation

    monkeypatch.setattr(installation, "NEIGHBOURS", ("no-such-package",))
    rows = dict(line.split(maxsplit=1) for line in run("versions").out.splitlines())
    assert rows["no-such-package"] == "not installed"
    assert run("versions", "--json").json["no-such-package"] is None


def test_function():
    file = io.StringIO()
    assert xarray_mrc.show_versions(file) is None
    assert file.getvalue() == run("versions").out
