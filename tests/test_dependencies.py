"""The package imports what pyproject.toml declares, and nothing else."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, GROUPS = DECLARED["project"], DECLARED["dependency-groups"]
EXTRAS = PROJECT["optional-dependencies"]
# xarray saves to netCDF by these when a user asks for it.
IMPORTED_BY_OTHERS = {"h5netcdf", "h5py", "netCDF4"}


def names(requirements):
    """Return the names of distributions, without those of this project."""
    found = {re.match(r"[\w.-]+", requirement).group() for requirement in requirements}
    return found - {PROJECT["name"]}


# Third-party modules of each station, the folders of the package.
STATIONS = {
    "codec": {"numpy"},
    "storage": {"numpy", "isal", "zlib-ng", "backports.zstd", "fsspec", "aiohttp", "s3fs"},
    "reading": {"numpy"},
    "dataset": {"numpy", "xarray"},
    "checking": {"numpy", "xarray"},
    "writing": {"numpy", "xarray", "dask"},
    "conversion": {"numpy", "xarray", "dask", "zarr", "numcodecs"},
    "multifile": {"numpy", "xarray", "dask", "rich", "starfile", "pandas"},
    "pictures": {"numpy", "xarray", "dask", "matplotlib"},
    "mrcfile": {"numpy"},
    "cli": {"click", "rich", "dask", "distributed"},
    # Imported by nothing else; who uses it has the other two.
    "testing": {"numpy", "pytest", "hypothesis"},
}
FOR_TESTS = {"pytest", "hypothesis"}


def imported(station="."):
    """Return the third-party distributions that modules import; their names are the modules'."""
    modules = set()
    for path in (ROOT / "xarray_mrc" / station).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module)
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    heads = {module.split(".")[0] for module in modules}
    heads -= {*sys.stdlib_module_names, "xarray_mrc", "compression"}  # compression: Python 3.14
    # A namespace that several distributions share, and a module that is named unlike its own.
    names = {"backports": "backports.zstd", "zlib_ng": "zlib-ng"}
    return {names.get(head, head) for head in heads}


BASE = names(PROJECT["dependencies"])
OPTIONAL = names(requirement for extra in EXTRAS.values() for requirement in extra)


def test_each_import_is_declared():
    assert imported() <= BASE | OPTIONAL | FOR_TESTS
    assert names(GROUPS["test"]) >= FOR_TESTS
    for station in STATIONS.keys() - {"testing"}:
        assert not imported(station) & FOR_TESTS


def test_each_dependency_is_imported():
    assert imported() >= BASE
    assert OPTIONAL - imported() == IMPORTED_BY_OTHERS


@pytest.mark.parametrize("station", STATIONS)
def test_each_station_imports_its_own(station):
    assert imported(station) <= STATIONS[station]


def test_every_folder_is_a_station():
    folders = {path.parent.name for path in (ROOT / "xarray_mrc").glob("*/__init__.py")}
    assert folders == STATIONS.keys()


def test_the_extra_all_has_all_extras():
    (requirement,) = EXTRAS["all"]
    listed = re.fullmatch(r"xarray-mrc\[([\w,]+)\]", requirement).group(1).split(",")
    assert set(listed) == EXTRAS.keys() - {"all"}


def test_the_page_on_installing_has_all_extras():
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == EXTRAS.keys()


@pytest.mark.parametrize("name", sorted(BASE | OPTIONAL))
def test_each_floor_is_pinned(name):
    command = [sys.executable, str(ROOT / "ci" / "floors.py")]
    pins = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (pin,) = (line for line in pins.splitlines() if line.startswith(f"{name}=="))
    assert "[" not in pin
