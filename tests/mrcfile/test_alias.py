"""`install_alias`: the drop-in under the name mrcfile, in processes of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import mrcfile as peer
import numpy as np
import pytest
from mrcbytes import lay, put

START = """
import importlib, pickle, sys, warnings
from xarray_mrc import mrcfile as ours
ours.install_alias()
import mrcfile
"""
MODULES = ("bzip2mrcfile", "command_line", "constants", "dtypes", "future_mrcfile", "gzipmrcfile",
           "load_functions", "mrcfile", "mrcinterpreter", "mrcmemmap", "mrcobject", "utils",
           "validator", "version")  # fmt: skip


def run(program: str, *arguments: object, start: str = START) -> str:
    source = start + textwrap.dedent(program)
    command = [sys.executable, "-P", "-W", "error", "-c", source, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def valid(tmp_path):
    path = tmp_path / "valid.mrc"
    peer.write(path, np.ones((2, 3), "i2"))
    return path


def test_names_and_specs():
    run(f"""
        assert mrcfile is ours
        for name in {MODULES!r}:
            module = importlib.import_module(f"mrcfile.{{name}}")
            assert module is importlib.import_module(f"xarray_mrc.mrcfile.{{name}}")
            assert module is getattr(mrcfile, name)
            assert module.__name__ == module.__spec__.name == f"mrcfile.{{name}}"
            assert module.__package__ == "mrcfile"
        assert (mrcfile.__name__, mrcfile.__package__) == ("mrcfile", "mrcfile")
        from mrcfile.mrcfile import MrcFile
        from mrcfile import validate, mrcobject
        assert MrcFile is ours.mrcfile.MrcFile
        try:
            import mrcfile.nothing
        except ModuleNotFoundError as error:
            assert error.name == "mrcfile.nothing"
        before = dict(sys.modules)
        ours.install_alias()
        assert sys.modules == before
    """)


@pytest.mark.parametrize(
    "first",
    [
        "import mrcfile.validator",
        "import xarray_mrc.mrcfile.validator",
        "from mrcfile import validator",
    ],
)
def test_modules_that_are_imported_late(first):
    run(f"""
        {first}
        import mrcfile.validator, xarray_mrc.mrcfile.validator
        assert sys.modules["mrcfile.validator"] is sys.modules["xarray_mrc.mrcfile.validator"]
        assert mrcfile.validate is mrcfile.validator.validate
    """)


def test_after_mrcfile_itself():
    run(
        """
        assert mrcfile is ours
        assert mrcfile.mrcobject.MrcObject is ours.mrcobject.MrcObject
        """,
        start="import mrcfile, mrcfile.mrcobject" + START,
    )


def test_filters_by_module(tmp_path):
    path = tmp_path / "odd.mrc"
    raw = put(lay("int16").raw, "<", map_id=bytes(4), machst=bytes(4), nsymbt=0)
    path.write_bytes(raw + b"more")
    run(
        """
        import numpy as np
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="mrcfile")
        for opener in (mrcfile.open, mrcfile.mmap):
            with opener(sys.argv[1], permissive=True) as mrc:
                assert mrc.data is not None
        mrc = mrcfile.mrcobject.MrcObject()
        mrc._create_default_attributes()
        mrc.set_data(np.array([[np.nan, 1]], "f4"))
        mrc.update_header_stats()
        """,
        path,
    )


def test_modules_run_as_programs(valid):
    program = """
        import runpy
        sys.argv = ["program", {path!r}]
        try:
            runpy.run_module("mrcfile.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as error:
            assert error.code == 0
    """
    assert "appears to be valid" in run(program.format(path=str(valid), name="validator"))
    assert "nx              : 3" in run(program.format(path=str(valid), name="command_line"))


def test_modules_run_by_the_interpreter(valid, tmp_path):
    """The alias is installed when Python starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "from xarray_mrc import mrcfile\nmrcfile.install_alias()\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), *sys.path]
    command = [sys.executable, "-P", "-W", "error", "-m", "mrcfile.validator", str(valid)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("File appears to be valid.\n")


def test_reloading(valid):
    run(
        f"""
        for name in {MODULES!r}:
            module = importlib.import_module(f"mrcfile.{{name}}")
            assert importlib.reload(module) is module
            assert module.__name__ == module.__spec__.name == f"mrcfile.{{name}}"
            assert module is sys.modules[f"xarray_mrc.mrcfile.{{name}}"]
        mrcfile.CHANGED = True
        assert importlib.reload(mrcfile) is ours
        assert mrcfile.read(sys.argv[1]).sum() == 6
        assert mrcfile.open.__module__ == "mrcfile.load_functions"
        """,
        valid,
    )


def test_pickles(tmp_path):
    """Those of mrcfile are read under the alias; those made under the alias are read without."""
    there = peer.mrcobject.MrcObject()
    there._create_default_attributes()
    there.set_data(np.arange(6, dtype="i2").reshape(2, 3))
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.write_bytes(pickle.dumps([there, peer.read, peer.mrcmemmap.MrcMemmap]))
    run(
        """
        from pathlib import Path
        there, read, memmap = pickle.loads(Path(sys.argv[1]).read_bytes())
        assert type(there) is ours.mrcobject.MrcObject
        assert there.data.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert there.is_single_image()
        assert read is ours.read and memmap is ours.mrcmemmap.MrcMemmap
        Path(sys.argv[2]).write_bytes(pickle.dumps([there, read, memmap]))
        """,
        theirs,
        mine,
    )
    run(
        """
        import pickle, sys
        from pathlib import Path
        there, read, memmap = pickle.loads(Path(sys.argv[1]).read_bytes())
        assert read.__module__ == "xarray_mrc.mrcfile.load_functions"
        assert there.data.sum() == 15
        """,
        mine,
        start="",
    )


def test_a_program_that_knows_mrcfile_only(valid, tmp_path):
    script = Path(tmp_path, "script.py")
    script.write_text(
        "import mrcfile\n"
        "from mrcfile.command_line import print_headers\n"
        "import sys\n"
        "with mrcfile.open(sys.argv[1], 'r+') as mrc:\n"
        "    mrc.voxel_size = 2\n"
        "print(mrcfile.validate(sys.argv[1]))\n"
    )
    program = "import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
    printed = run(f"sys.argv = sys.argv[1:]; {program.replace('sys.argv[1]', 'sys.argv[0]')}",
                  script, valid)  # fmt: skip
    assert printed.endswith("True\n")
