"""What the guide of mrcfile shows, with the drop-in in its place."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from mrcbytes import get

from xarray_mrc import mrcfile

IMAGE = np.arange(12, dtype=np.int8).reshape(3, 4)
VOLUME = np.linspace(-1000, 1000, 20, dtype=np.int16).reshape(2, 2, 5)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def image():
    mrcfile.write("image.mrc", IMAGE)
    return "image.mrc"


@pytest.fixture
def volume():
    mrcfile.write("volume.mrc", VOLUME)
    return "volume.mrc"


def test_new_and_open():
    with mrcfile.new("tmp.mrc") as mrc:
        mrc.set_data(IMAGE)
    with mrcfile.open("tmp.mrc") as mrc:
        assert repr(mrc.data) == repr(IMAGE)
        assert repr(mrc) == str(mrc) == "MrcFile('tmp.mrc', mode='r')"


def test_read_and_write():
    mrcfile.write("tmp.mrc", IMAGE)
    data = mrcfile.read("tmp.mrc")
    assert (data == IMAGE).all()
    assert data.flags.writeable
    assert data.flags.c_contiguous
    assert not data.flags.f_contiguous
    data[0] = 5
    assert (mrcfile.read("tmp.mrc") == IMAGE).all()


@pytest.mark.parametrize(
    ("compression", "name", "shown", "magic"),
    [("gzip", "a.gz", "GzipMrcFile", b"\x1f\x8b"), ("bzip2", "a.bz2", "Bzip2MrcFile", b"BZh")],
)
def test_compressed(compression, name, shown, magic):
    with mrcfile.new("plainly.named", compression=compression) as mrc:
        mrc.set_data(IMAGE * 2)
    mrcfile.write(name, IMAGE * 2)
    for path in ("plainly.named", name):
        assert Path(path).read_bytes().startswith(magic)
        with mrcfile.open(path) as mrc:
            assert (mrc.data == IMAGE * 2).all()
            assert repr(mrc) == f"{shown}('{path}', mode='r')"
        assert (mrcfile.read(path) == IMAGE * 2).all()


def test_classes(image):
    mrcfile.write("tmp.mrc.gz", IMAGE)
    mrcfile.write("tmp.mrc.bz2", IMAGE)
    for made, shown in (
        (mrcfile.mrcfile.MrcFile(image), "MrcFile('image.mrc', mode='r')"),
        (mrcfile.gzipmrcfile.GzipMrcFile("tmp.mrc.gz"), "GzipMrcFile('tmp.mrc.gz', mode='r')"),
        (mrcfile.bzip2mrcfile.Bzip2MrcFile("tmp.mrc.bz2"), "Bzip2MrcFile('tmp.mrc.bz2', mode='r')"),
        (mrcfile.mrcmemmap.MrcMemmap(image), "MrcMemmap('image.mrc', mode='r')"),
    ):
        with made as mrc:
            assert repr(mrc) == shown
            assert (mrc.data == IMAGE).all()
        mrc.close()


def test_closing_and_flushing(image):
    mrc = mrcfile.open(image, mode="r+")
    mrc.data[0, 0] = 9
    mrc.flush()
    assert mrcfile.read(image)[0, 0] == 9
    mrc.data[0, 1] = 8
    mrc.close()
    mrc.close()
    assert mrc.header is mrc.data is mrc.extended_header is None
    assert mrcfile.read(image)[0, :2].tolist() == [9, 8]


def test_modes(image):
    with mrcfile.open(image) as mrc, pytest.raises(ValueError, match=r"^MRC object is read-only$"):
        mrc.set_data(IMAGE)
    with mrcfile.open(image, mode="r+") as mrc:
        mrc.set_data(IMAGE)
        assert repr(mrc) == "MrcFile('image.mrc', mode='r+')"
    with mrcfile.open("empty.mrc", mode="w+") as mrc:
        assert repr(mrc.data) == "array([], dtype=int8)"
        assert Path("empty.mrc").exists()
    text = "File 'empty.mrc' already exists; set overwrite=True to overwrite it"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        mrcfile.new("empty.mrc")
    mrcfile.new("empty.mrc", overwrite=True).close()
    assert Path("empty.mrc").stat().st_size == 1024


def test_permissive_mode_and_repair():
    with mrcfile.new("invalid.mrc") as mrc:
        mrc.header.map = b"map "
    text = "^Map ID string not found - not an MRC file, or file is corrupt$"
    with pytest.raises(ValueError, match=text):
        mrcfile.open("invalid.mrc")
    with pytest.warns(RuntimeWarning, match=text) as caught:
        mrcfile.open("invalid.mrc", permissive=True).close()
    assert len(caught) == 1
    with pytest.warns(RuntimeWarning, match=text), mrcfile.open("invalid.mrc", "r+", True) as mrc:
        mrc.header.map = mrcfile.constants.MAP_ID
    mrcfile.open("invalid.mrc").close()


def test_arrays_can_be_changed_but_not_replaced(image):
    with mrcfile.open(image, mode="r+") as mrc:
        for name in ("data", "header", "extended_header", "indexed_extended_header"):
            with pytest.raises(AttributeError, match=r"can't set attribute|has no setter"):
                setattr(mrc, name, IMAGE)
        assert repr(mrc.extended_header) == "array([], dtype='|V1')"
        assert repr(mrc.header).startswith("rec.array((4, 3, 1, ")
        mrc.data[0, 0] = 10
    assert mrcfile.read(image)[0].tolist() == [10, 1, 2, 3]
    with mrcfile.open(image, mode="r+") as mrc:
        mrc.data[:] = 1
    assert (mrcfile.read(image) == 1).all()


def test_replacing_data_and_extended_header(image):
    text = np.array([b"any kind of array"])
    with mrcfile.open(image, mode="r+") as mrc:
        mrc.set_data(VOLUME)
        assert [repr(mrc.header[name]) for name in ("nx", "ny", "nz")] == [
            "array(5, dtype=int32)",
            "array(2, dtype=int32)",
            "array(2, dtype=int32)",
        ]
        mrc.set_extended_header(text)
        assert mrc.extended_header is text
        assert mrc.header.nsymbt == 17
    with mrcfile.open(image) as mrc:
        mrc.extended_header.dtype = "S17"
        assert mrc.extended_header.tolist() == [b"any kind of array"]
        assert mrc.data.tolist() == VOLUME.tolist()


test_replacing_data_and_extended_header.pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
]


def test_print_header(volume, capsys):
    with mrcfile.open(volume) as mrc:
        mrc.print_header()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "nx              : 5",
        "ny              : 2",
        "nz              : 2",
        "mode            : 1",
        "nxstart         : 0",
    ]
    assert lines[10] == "cella           : (0.0, 0.0, 0.0)"


def test_voxel_size(volume):
    with mrcfile.open(volume, mode="r+") as mrc:
        assert mrc.voxel_size.tolist() == (0, 0, 0)
        mrc.voxel_size = 1.0
        assert mrc.voxel_size.tolist() == (1, 1, 1)
        mrc.voxel_size = (1.0, 2.0, 3.0)
        assert mrc.voxel_size.tolist() == (1, 2, 3)
        record = np.rec.array((4.0, 5.0, 6.0), dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
        mrc.voxel_size = record
        assert repr(mrc.voxel_size) == repr(record)
        assert mrc.header.cella.tolist() == (20, 10, 12)
        mrc.header.cella.x = 10
        assert repr(mrc.voxel_size.x) == "array(2., dtype=float32)"
        with pytest.raises(ValueError, match="assignment destination is read-only"):
            mrc.voxel_size.x = 2.0
        size = mrc.voxel_size.copy()
        size.y = 7
        mrc.voxel_size = size
        assert mrc.voxel_size.tolist() == (2, 7, 6)
        mrc.set_data(IMAGE)
        assert mrc.voxel_size.tolist() == pytest.approx((2.5, 14 / 3, 12))


def test_header_follows_new_data_only(volume):
    with mrcfile.open(volume, mode="r+") as mrc:
        mrc.data[1] = 0
        assert mrc.header.dmax == 1000
        mrc.update_header_stats()
        assert mrc.header.dmax == mrc.data.max() == 0
        mrc.reset_header_stats()
        assert [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")] == [
            0,
            -1,
            -2,
            -1,
        ]


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_shape_in_place(volume):
    with mrcfile.open(volume, mode="r+") as mrc:
        mrc.data.shape = (5, 4)
        assert mrc.header.nx == 5
    with mrcfile.open(volume, mode="r+") as mrc:
        assert mrc.data.shape == (2, 2, 5)
        mrc.data.shape = (5, 4)
        mrc.update_header_from_data()
        assert mrc.header.nx == 4
        assert mrc.is_single_image()
    assert mrcfile.read(volume).shape == (5, 4)


def test_kinds_of_data(image):
    with mrcfile.open(image, mode="r+") as mrc:
        kinds = (mrc.is_single_image, mrc.is_image_stack, mrc.is_volume, mrc.is_volume_stack)
        assert [kind() for kind in kinds] == [True, False, False, False]
        mrc.set_data(VOLUME)
        assert [kind() for kind in kinds] == [False, True, False, False]
        assert (int(mrc.header.ispg), int(mrc.header.mz)) == (0, 1)
        mrc.set_volume()
        assert [kind() for kind in kinds] == [False, False, True, False]
        assert (int(mrc.header.ispg), int(mrc.header.mz)) == (1, 2)
        mrc.set_image_stack()
        assert mrc.is_image_stack()
        mrc.set_data(VOLUME[None])
        assert [kind() for kind in kinds] == [False, False, False, True]
        assert (int(mrc.header.ispg), int(mrc.header.mz), int(mrc.header.nz)) == (401, 2, 2)


@pytest.mark.parametrize(
    ("code", "mode", "stored"),
    [("f2", 12, "f2"), ("f4", 2, "f4"), ("i1", 0, "i1"), ("i2", 1, "i2"), ("u1", 6, "u2"),
     ("u2", 6, "u2"), ("c8", 4, "c8")],
)  # fmt: skip
def test_data_types(image, code, mode, stored):
    with mrcfile.open(image, mode="r+") as mrc:
        mrc.set_data(np.zeros((4, 5), code))
        assert mrc.header.mode == mode
    assert mrcfile.read(image).dtype == stored
    with (
        mrcfile.open(image, mode="r+") as mrc,
        pytest.raises(ValueError, match=r"^dtype 'float64' cannot be converted to an MRC file"),
    ):
        mrc.set_data(np.zeros((4, 5)))


def test_memory_mapped(image):
    with mrcfile.mmap(image, mode="r+") as mrc:
        assert repr(mrc.data[1:3]) == repr(IMAGE[1:3]).replace("array(", "memmap(").replace(
            "\n       ", "\n        "
        )
        mrc.data[1:3, 1:3] = 0
    assert mrcfile.read(image)[1].tolist() == [4, 0, 0, 7]
    mrc = mrcfile.new_mmap("mapped.mrc", shape=(3, 3, 4), mrc_mode=0)
    for value in range(len(mrc.data)):
        mrc.data[value] = value
    assert isinstance(mrc.data, np.memmap)
    mrc.close()
    assert mrcfile.read("mapped.mrc")[:, 0, 0].tolist() == [0, 1, 2]
    assert Path("mapped.mrc").stat().st_size == 1024 + 36


def test_asynchronous(image):
    mrcfile.write("tmp.mrc.gz", IMAGE * 2)
    first, second = mrcfile.open_async(image), mrcfile.open_async("tmp.mrc.gz")
    assert first.result().data.sum() == IMAGE.sum()
    assert second.result().data.max() == 22
    assert second.done()
    assert not second.running()
    assert second.exception() is None


def test_validate(image, capsys):
    mrcfile.write("tmp.mrc.gz", IMAGE)
    mrcfile.write("tmp.mrc.bz2", IMAGE)
    for name in (image, "tmp.mrc.gz", "tmp.mrc.bz2"):
        assert mrcfile.validate(name)
        start = f"Checking if {name} is a valid MRC2014 file...\n"
        assert capsys.readouterr().out == start + "File appears to be valid.\n"
    with mrcfile.open(image, mode="r+") as mrc:
        mrc.header.mz = -1
    output = io.StringIO()
    assert not mrcfile.validate(image, print_file=output)
    assert output.getvalue() == (
        f"Checking if {image} is a valid MRC2014 file...\nHeader field 'mz' is negative\n"
    )
    assert capsys.readouterr().out == ""


def run_module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-W", "error", "-m", f"xarray_mrc.mrcfile.{name}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_command_lines(image):
    mrcfile.write("old.mrc", IMAGE)
    with mrcfile.open("old.mrc", "r+") as mrc:
        mrc.header.nversion = 0
    done = run_module("validator", image)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("File appears to be valid.\n")
    done = run_module("validator", image, "old.mrc")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[3] == (
        "File does not declare MRC format version 20140 or 20141: nversion = 0"
    )
    done = run_module("command_line", image, "old.mrc")
    assert (done.returncode, done.stderr) == (0, "")
    assert "MRC header for old.mrc:\nnx              : 4\n" in done.stdout


def test_the_creator_is_a_setting(monkeypatch):
    before = datetime.now().replace(microsecond=0)
    mrcfile.new("ours.mrc").close()
    label = get(Path("ours.mrc").read_bytes(), "<", "label_bytes")[:80].decode()
    assert label[:40].rstrip() == "Created by xarray_mrc"
    made = datetime.strptime(label[40:].strip(), "%Y-%m-%d %H:%M:%S")
    assert before <= made <= datetime.now()
    assert label[60:79] == f"{made:%Y-%m-%d %H:%M:%S}"
    assert label[79] == " "
    monkeypatch.setattr(mrcfile.constants, "CREATOR", "Created by my program")
    mrcfile.new("mine.mrc").close()
    with mrcfile.open("mine.mrc") as mrc:
        assert mrc.get_labels()[0].startswith("Created by my program   ")
