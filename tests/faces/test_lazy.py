"""Public names load on first use; the accessor is registered in every order of imports."""

from __future__ import annotations

import ast
import itertools
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from programs import run_program

import xarray_mrc

STATEMENTS = ("import xarray", "import xarray_mrc", "from xarray_mrc import mrcfile")
CHECK = """
import sys
import xarray
assert not [finder for finder in sys.meta_path if "xarray_mrc" in type(finder).__module__]
assert type(xarray.__loader__).__module__ == type(xarray.__spec__.loader).__module__
assert "xarray_mrc" not in type(xarray.__loader__).__module__
kind = xarray.open_zarr(sys.argv[1], consolidated=False).mrc.kind
print(kind, xarray.DataArray([0.0], dims="x").mrc.voxel_size)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("lazy") / "a.zarr"
    data = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("z", "y", "x"), name="data")
    data.to_dataset().to_zarr(path, consolidated=False)
    return path


def run(program, *arguments):
    return run_program("import warnings; warnings.simplefilter('error')\n" + program, *arguments)


@pytest.mark.parametrize("order", [*itertools.permutations(STATEMENTS)], ids=" then ".join)
def test_accessor_after_every_order_of_imports(order, store):
    assert run("\n".join(order) + CHECK, store) == "volume {}\n"


@pytest.mark.parametrize(
    "program",
    [
        "import xarray_mrc; import xarray.backends",
        "import xarray.backends; import xarray_mrc",
        "import xarray.core.indexing; from xarray_mrc import mrcfile",
        "from xarray_mrc import open_mrc",
        "import xarray_mrc.errors; from xarray import DataArray",
        # Somebody only asks whether xarray is installed.
        """
        import xarray_mrc, importlib.util, pkgutil
        assert importlib.util.find_spec("xarray").origin.endswith("__init__.py")
        assert pkgutil.get_loader("xarray") if sys.version_info < (3, 12) else True
        """,
        # The package is loaded again, before xarray and after it.
        """
        import importlib, xarray_mrc
        importlib.reload(xarray_mrc)
        import xarray
        importlib.reload(xarray_mrc)
        importlib.reload(xarray)
        """,
        # The first import of xarray fails.
        """
        import xarray_mrc
        sys.modules["pandas"] = None
        try:
            import xarray
        except ImportError:
            del sys.modules["pandas"]
        for name in [name for name in sys.modules if name.split(".")[0] == "xarray"]:
            del sys.modules[name]
        import xarray
        """,
        # xarray is being loaded, by this thread.
        """
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "xarray.core.dataarray":
                    import xarray_mrc
        sys.meta_path.insert(0, Finder())
        import xarray
        """,
        # Many threads load both. (Not xarray.backends: threads that load it and xarray at once can
        # meet a lock of Python's that gives up, with this package or without.)
        """
        import importlib, threading
        names = ["xarray", "xarray_mrc", "xarray_mrc.mrcfile"] * 4
        names += ["xarray_mrc.opening", "xarray_mrc.backend", "xarray_mrc.accessor"] * 2
        start = threading.Barrier(len(names))
        failed = []
        def load(name):
            start.wait()
            try:
                importlib.import_module(name)
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=load, args=(name,)) for name in names]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not failed, failed
        """,
    ],
)
def test_accessor_after_other_ways_to_load(program, store):
    assert run("import sys\n" + textwrap.dedent(program) + CHECK, store) == "volume {}\n"


def test_a_finder_of_somebody_else_is_asked(store):
    program = """
    import sys, xarray_mrc
    class Loader:
        def __init__(self, loader):
            self.loader = loader
        def create_module(self, spec):
            return self.loader.create_module(spec)
        def exec_module(self, module):
            self.loader.exec_module(module)
            module.seen = True
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "xarray":
                for finder in sys.meta_path[sys.meta_path.index(self) + 1:]:
                    if spec := finder.find_spec(name, path, target):
                        spec.loader = Loader(spec.loader)
                        return spec
    sys.meta_path.insert({}, Finder())
    import xarray
    print(xarray.seen, xarray.Dataset.mrc.__name__)
    """
    for place in (0, 1):
        assert run(textwrap.dedent(program.format(place))) == "True MrcAccessor\n"


def test_the_drop_in_loads_neither_xarray_nor_dask():
    program = """
    import sys
    from xarray_mrc import mrcfile
    import xarray_mrc
    assert xarray_mrc.mrcfile is mrcfile
    mrcfile.validator, mrcfile.command_line
    heavy = {"xarray", "pandas", "dask", "zarr", "numcodecs", "asyncio", "importlib.metadata"}
    heavy |= {"http", "email", "ssl", "urllib.request", "difflib", "html"}
    print(sorted(heavy & {*sys.modules}))
    """
    assert run(textwrap.dedent(program)) == "[]\n"


def test_submodule_by_attribute():
    assert run("import xarray_mrc; print(xarray_mrc.mrcfile.open.__name__)") == "open\n"


def test_names():
    assert {*xarray_mrc.__all__, "mrcfile"} <= {*dir(xarray_mrc)}
    for name in xarray_mrc.__all__:
        assert getattr(xarray_mrc, name) is getattr(xarray_mrc, name)
    with pytest.raises(AttributeError, match="module 'xarray_mrc' has no attribute 'opn_mrc'"):
        xarray_mrc.opn_mrc  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'opn_mrc'"):
        from xarray_mrc import opn_mrc  # noqa: F401


def test_type_checkers_see_the_modules_that_are_loaded():
    tree = ast.parse(Path(xarray_mrc.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {imported.pop(name) for name in ("mrcfile", "virtual")} == {"xarray_mrc"}
    assert imported == {name: f"xarray_mrc.{home}" for name, home in xarray_mrc.MODULES.items()}
    assert {*imported, "__version__"} == {*xarray_mrc.__all__}


def test_import_takes_little_longer_than_that_of_mrcfile(tmp_path, monkeypatch):
    # 1.3 times in processor time on a quiet core; the margin is for others.
    pytest.importorskip("mrcfile")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    program = """
    import sys, time
    start = time.process_time()
    exec(sys.argv[1])
    print(time.process_time() - start)
    """
    times = {"import mrcfile": [], "from xarray_mrc import mrcfile": []}
    for _ in range(6):  # the first compiles
        for statement, measured in times.items():
            measured.append(float(run(textwrap.dedent(program), statement)))
    theirs, ours = (min(measured[1:]) for measured in times.values())
    assert ours < 2 * theirs


def test_version_of_a_tree_that_is_not_installed():
    program = """
    import importlib.metadata as metadata
    def version(name):
        raise metadata.PackageNotFoundError(name)
    metadata.version = version
    import xarray_mrc
    print(xarray_mrc.__version__)
    """
    assert run(textwrap.dedent(program)) == "unknown\n"
