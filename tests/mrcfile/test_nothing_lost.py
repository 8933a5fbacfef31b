"""What was in a file and was not meant to change is there afterwards.

Each of these loses data, or ends the process, with mrcfile 1.5.4, where the name does not say
otherwise. They run in processes of their own, because a map of a file that was cut off ends the
process that looks at it.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import run_forked
from mrcbytes import get, lay, put
from programs import run_program

from xarray_mrc import mrcfile

START = """
import sys, warnings
import numpy as np
from xarray_mrc import mrcfile
warnings.simplefilter("ignore")
path = sys.argv[1]
"""
VOLUME = lay("int16", lengths=(6, 5, 4), extended=bytes(range(48)))
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
UNPACKED = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}
every_container = pytest.mark.parametrize("suffix", PACKED, ids=lambda s: s or "plain")
OPENERS = ("open", "mmap")
every_opener = pytest.mark.parametrize("opener", OPENERS)
# Compressed files can't be mapped.
every_way = pytest.mark.parametrize(
    ("opener", "suffix"), [("open", ""), ("open", ".gz"), ("open", ".bz2"), ("mmap", "")]
)


def run(program: str, path: Path) -> str:
    return run_forked(START + program, path)


def place(tmp_path: Path, raw: bytes, suffix: str = "") -> Path:
    path = tmp_path / f"file.mrc{suffix}"
    path.write_bytes(PACKED[suffix](raw))
    return path


def content(path: Path) -> bytes:
    return UNPACKED[path.suffix if path.suffix in PACKED else ""](path.read_bytes())


def debris(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if name != path.name)


@every_container
def test_header_only_edit(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    run('with mrcfile.open(path, "r+", header_only=True) as mrc: mrc.header.ispg = 5', path)
    assert content(path) == put(VOLUME.raw, "<", ispg=5)
    assert not debris(path)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (VOLUME.raw[:-5], {"nz": 3}),
        (put(VOLUME.raw, "<", mode=101), {"mode": 1}),
        (put(VOLUME.raw, "<", nsymbt=100_000), {"nsymbt": 48}),
        (put(VOLUME.raw, "<", nsymbt=-1), {"nsymbt": 48}),
        (put(VOLUME.raw, "<", nx=-6), {"nx": 6}),
        (put(VOLUME.raw, "<", nx=0), {"nx": 6}),
        (put(VOLUME.raw, "<", nx=100_000, ny=100_000), {"nx": 6, "ny": 5}),
        (put(VOLUME.raw, "<", map_id=b"map "), {"map": b"MAP "}),
        (put(VOLUME.raw, "<", machst=bytes(4)), {"machst": [0x44, 0x44, 0, 0]}),
    ],
    ids=["cut off", "mode", "nsymbt", "nsymbt negative", "nx negative", "nx zero", "huge", "map",
         "stamp"],
)  # fmt: skip
@every_way
def test_repair_of_a_field(tmp_path, suffix, opener, raw, fields):
    path = place(tmp_path, raw, suffix)
    program = f"""
with mrcfile.{opener}(path, "r+", permissive=True) as mrc:
    for name, value in {fields!r}.items():
        mrc.header[name] = value
"""
    run(program, path)
    names = {"map": "map_id"}
    values = {names.get(k, k): bytes(v) if k == "machst" else v for k, v in fields.items()}
    assert content(path) == put(raw, "<", **values)
    if len(raw) == len(VOLUME.raw):
        assert (mrcfile.read(path) == VOLUME.pixels).all()


@pytest.mark.parametrize("permissive", [False, True])
@pytest.mark.parametrize("fields", [{}, {"nx": 100, "ny": 100_000, "nz": 100_000}], ids=str)
def test_a_mapped_file_does_not_grow(tmp_path, fields, permissive):
    raw = put(VOLUME.raw[:-5], "<", **fields)
    path = place(tmp_path, raw)
    program = f"""
try:
    mrc = mrcfile.mmap(path, "r+", permissive={permissive})
except ValueError as error:
    assert "mmap length is greater than file size" in str(error)
else:
    assert mrc.data is None
    mrc.close()
"""
    run(program, path)
    assert path.read_bytes() == raw


@every_way
def test_bytes_behind_the_data_stay(tmp_path, suffix, opener):
    path = place(tmp_path, VOLUME.raw + bytes(range(100)), suffix)
    program = f"""
with mrcfile.{opener}(path, "r+") as mrc:
    mrc.data[1, 2, 3] = 77
    mrc.set_data(mrc.data[::-1])
    mrc.set_extended_header(np.zeros(3, "u1"))
"""
    run(program, path)
    changed = VOLUME.pixels.copy()
    changed[1, 2, 3] = 77
    assert content(path)[1024:] == bytes(3) + changed[::-1].tobytes() + bytes(range(100))
    run(f"with mrcfile.{opener}(path, 'r+') as mrc: mrc.set_data(mrc.data[1:])", path)
    assert content(path)[1027:] == changed[::-1][1:].tobytes()


@pytest.mark.parametrize("part", ["[2:]", "[1, 1:]", "[..., ::-1]", "[::2]", "[:, 1:]"])
def test_a_part_of_the_own_map(tmp_path, part):
    path = place(tmp_path, VOLUME.raw)
    program = f"""
mrc = mrcfile.mmap(path, "r+")
before = mrc.data
mrc.set_data(mrc.data{part})
assert type(mrc.data) is np.memmap
before.sum()
mrc.close()
"""
    run(program, path)
    expected = eval(f"VOLUME.pixels{part}")
    assert (mrcfile.read(path) == expected).all()
    assert not debris(path)


@every_opener
@pytest.mark.parametrize("size", [0, 3, 48, 4096, 65536 - 1024])
def test_another_extended_header(tmp_path, opener, size):
    path = place(tmp_path, VOLUME.raw)
    program = f"""
with mrcfile.{opener}(path, "r+") as mrc:
    mrc.set_extended_header(np.full({size}, 7, "u1"))
"""
    run(program, path)
    extended = bytes([7]) * size
    expected = put(VOLUME.raw[:1024], "<", nsymbt=size)
    assert path.read_bytes() == expected + extended + VOLUME.raw[1024 + 48 :]


@every_container
def test_another_extended_header_of_a_file_whose_data_were_not_read(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    program = """
with mrcfile.open(path, "r+", header_only=True) as mrc:
    mrc.set_extended_header(np.full(5, 7, "u1"))
"""
    run(program, path)
    expected = put(VOLUME.raw[:1024], "<", nsymbt=5)
    assert content(path) == expected + bytes([7]) * 5 + VOLUME.raw[1024 + 48 :]


REFUSED = {
    "float64": 'mrcfile.write(path, np.zeros((2, 3)), overwrite=True)',
    "int32": 'mrcfile.write(path, np.zeros((2, 3), "i4"), overwrite=True)',
    "bool": 'mrcfile.write(path, np.zeros((2, 3), bool), overwrite=True)',
    "1-D": 'mrcfile.write(path, np.zeros(3, "f4"), overwrite=True)',
    "voxel size": 'mrcfile.write(path, np.zeros((2, 3), "f4"), True, voxel_size="wide")',
    "new": 'mrcfile.new(path, np.zeros((2, 3)), overwrite=True)',
    "context": '''
with mrcfile.new(path, overwrite=True) as mrc:
    mrc.header.ispg = 7
    mrc.set_data(np.zeros((2, 3)))''',
    "mapped shape": 'mrcfile.new_mmap(path, (65536, 65536, 1, 1), overwrite=True)',
    "mapped mode": 'mrcfile.new_mmap(path, (2, 2), mrc_mode=3, overwrite=True)',
    "mapped dimensions": 'mrcfile.new_mmap(path, (2,), overwrite=True)',
    "mapped fill": 'mrcfile.new_mmap(path, (2, 2), fill="much", overwrite=True)',
}  # fmt: skip


@every_container
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_write(tmp_path, suffix, is_there, name):
    path = place(tmp_path, VOLUME.raw, suffix)
    before = path.read_bytes()
    if not is_there:
        path.unlink()
    lines = "\n    ".join(REFUSED[name].strip().splitlines())
    run(f"try:\n    {lines}\nexcept (ValueError, TypeError): pass\nelse: raise SystemExit(1)", path)
    assert path.exists() == is_there
    assert not is_there or path.read_bytes() == before
    assert not debris(path)


@every_container
def test_refused_data_leave_object_and_file_alone(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    program = """
mrc = mrcfile.open(path, "r+")
before, head = mrc.data, mrc.header.tobytes()
for data in (np.zeros(3, "f4"), np.zeros((2, 3)), np.zeros((1, 1, 1, 1, 2), "f4"),
             np.broadcast_to(np.int8(0), (65536, 65536, 1, 1))):
    try:
        mrc.set_data(data)
    except ValueError:
        assert mrc.data is before and mrc.header.tobytes() == head
    else:
        raise SystemExit(1)
mrc.close()
"""
    run(program, path)
    assert content(path) == VOLUME.raw


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@every_container
def test_a_killed_writer_leaves_the_old_file(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    before = path.read_bytes()
    names = {"": None, ".gz": "gzip", ".bz2": "bzip2"}
    program = f"""
import os
from xarray_mrc.storage import local_sink as sink
mrc = mrcfile.new(path, compression={names[suffix]!r}, overwrite=True)
mrc.set_data(np.ones((20, 500, 500), "f4"))
real = sink.write_at
def write(descriptor, offset, data):
    if offset == 0:  # the nonce
        return real(descriptor, offset, data)
    real(descriptor, offset, bytes(data)[:10])
    os.kill(os.getpid(), 9)
sink.write_at = write
mrc.flush()
"""
    with pytest.raises(AssertionError, match=f"exit status -{signal.SIGKILL:d}"):
        run(program, path)
    assert path.read_bytes() == before
    mrcfile.write(path, VOLUME.pixels, overwrite=True)
    assert (mrcfile.read(path) == VOLUME.pixels).all()
    assert not debris(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("what", ["np.ones((4, 5, 6), 'f2')", "np.ones((6, 5, 4), 'i2')"])
def test_killed_while_data_of_another_kind_are_written(tmp_path, what):
    """They have the size of the old ones, but half of each could not be read."""
    path = place(tmp_path, VOLUME.raw)
    change = f"mrc = mrcfile.open(path, 'r+'); mrc.set_data({what}); "
    program = f"""
import os
from xarray_mrc.mrcfile import mrcinterpreter
from xarray_mrc.storage import local_sink as sink
def killed(real, from_offset):
    def write(target, offset, data):
        real(target, offset, data)
        if offset >= from_offset:
            mrc._iostream.flush()
            os.kill(os.getpid(), 9)
    return write
mrcinterpreter.patch = killed(mrcinterpreter.patch, 0)
sink.write_at = killed(sink.write_at, 1)  # behind the nonce
{change}mrc.close()
"""
    with pytest.raises(AssertionError, match=f"exit status -{signal.SIGKILL:d}"):
        run(program, path)
    assert path.read_bytes() == VOLUME.raw
    check = "data = mrc.data; mrc.close(); print(np.array_equal(mrcfile.read(path), data))"
    assert run(change + check, path) == "True\n"
    assert not debris(path)


@every_opener
def test_lengths_of_the_header_alone_are_written_in_place(tmp_path, opener):
    path = place(tmp_path, VOLUME.raw)
    inode = path.stat().st_ino
    with getattr(mrcfile, opener)(path, "r+") as mrc:
        mrc.header.nx, mrc.header.ny = 10, 3
    assert path.stat().st_ino == inode
    assert path.read_bytes()[1024:] == VOLUME.raw[1024:]
    assert mrcfile.read(path).shape == (4, 3, 10)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_map_of_nothing_after_a_map_of_something(tmp_path, is_new):
    """No fault of mrcfile's: what was mapped first does not come back."""
    path = place(tmp_path, VOLUME.raw)
    with (
        mrcfile.new_mmap(path, (2, 3), overwrite=True) if is_new else mrcfile.mmap(path, "r+") as m
    ):
        m.set_data(np.ones((3, 4, 5), "f4"))
        m.set_data(np.ones((3, 0, 5), "f4"))
        m.header.nxstart = 7
    found = path.read_bytes()
    assert len(found) == (1024 if is_new else 1024 + 48)
    assert [get(found, "<", name) for name in ("nx", "ny", "nxstart")] == [5, 0, 7]
    assert not debris(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource there")
@pytest.mark.parametrize("mapped", [False, True])
def test_a_full_disk(tmp_path, mapped):
    path = place(tmp_path, VOLUME.raw)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    program = f"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
{limit}
mrc = mrcfile.{"mmap" if mapped else "open"}(path, "r+")
try:
    mrc.set_data(np.ones((10, 100, 100), "f4"))
    mrc.flush()
except OSError:
    print("full")
mrc._read_only = True
"""
    assert run(program, path) == "full\n"
    assert path.read_bytes() == VOLUME.raw
    assert not debris(path)


@every_way
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_flush_can_be_tried_again(tmp_path, monkeypatch, suffix, opener, call):
    """No fault of mrcfile's: what could not be put into its place is not forgotten."""
    path = place(tmp_path, VOLUME.raw + b"extended_head", suffix)
    before = path.read_bytes()

    def refuse(*args: object) -> None:
        raise OSError("no room")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mrc = getattr(mrcfile, opener)(path, "r+")
    mrc.set_extended_header(np.zeros(100, "u1"))
    for _ in range(2):
        mrc.header.nxstart += 7
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            with pytest.raises(OSError, match="no room"):
                mrc.flush()
        assert path.read_bytes() == before
    mrc.flush()
    expected = mrc.header.tobytes() + bytes(100) + VOLUME.pixels.tobytes() + b"extended_head"
    assert content(path) == expected
    mrc.close()
    assert content(path) == expected
    assert not debris(path)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room can't be set aside")
def test_room_is_set_aside_before_it_is_filled(tmp_path, monkeypatch):
    """A full disk would end the process that fills the map."""

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "posix_fallocate", lambda _, start, nbytes: nbytes < 1024 or refuse())
    mrcfile.new_mmap(tmp_path / "zeros.mrc", (20, 30)).close()
    with pytest.raises(OSError, match="no room"):
        mrcfile.new_mmap(tmp_path / "ones.mrc", (20, 30), fill=1)
    assert os.listdir(tmp_path) == ["zeros.mrc"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_new_map_that_can_not_be_put_into_its_place(tmp_path, monkeypatch, call):
    path = place(tmp_path, VOLUME.raw)
    real, calls = getattr(os, call), []

    def refuse_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise OSError("no room")
        return real(*args)

    monkeypatch.setattr(os, call, refuse_once)
    with pytest.raises(OSError, match="no room"):
        mrcfile.new_mmap(path, (2, 3), overwrite=True)
    assert path.read_bytes() == VOLUME.raw
    assert not debris(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource there")
@every_opener
@pytest.mark.parametrize("size", [0, 64])
def test_a_disk_that_is_full_for_another_extended_header(tmp_path, opener, size):
    """No fault of mrcfile's: the data stay behind the old one, whatever is done afterwards."""
    path = place(tmp_path, lay("float32", lengths=(10, 50, 40), extended=bytes(range(48))).raw)
    before = path.read_bytes()
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
mrc = mrcfile.{opener}(path, "r+")
for step in (lambda: mrc.set_extended_header(np.ones({size}, "u1")), mrc.close):
    try:
        step()
    except OSError:
        print("full")
"""
    assert run(program, path) == "full\n"
    assert path.read_bytes() == before
    assert not debris(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource there")
@every_container
def test_a_disk_that_is_full_for_a_new_file(tmp_path, suffix):
    path = tmp_path / f"new.mrc{suffix}"
    program = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    mrcfile.write(path, np.random.default_rng(0).normal(size=(100, 100)).astype("f4"))
except OSError:
    print("full")
"""
    assert run(program, path) == "full\n"
    assert os.listdir(tmp_path) == []


@every_way
def test_a_file_that_was_replaced_meanwhile(tmp_path, suffix, opener):
    path = place(tmp_path, VOLUME.raw, suffix)
    program = f"""
first = mrcfile.{opener}(path, "r+")
mrcfile.write(path, np.ones((5, 6), "f4"), overwrite=True)
first.header.nxstart = 7
try:
    first.close()
except ValueError as error:
    print(str(error).rpartition("opened")[0])
"""
    assert run(program, path) == f"{path} was replaced by another file after it was \n"
    assert (mrcfile.read(path) == np.ones((5, 6))).all()
    assert not debris(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_a_compressed_file_that_is_cut_off_is_not_made_to_seem_whole(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    cut_off = path.read_bytes()[:-9]
    path.write_bytes(cut_off)
    program = """
try:
    with mrcfile.open(path, "r+", header_only=True) as mrc: mrc.header.ispg = 5
except EOFError:
    print("cut off")
"""
    assert run(program, path) == "cut off\n"
    assert path.read_bytes() == cut_off
    assert not debris(path)


@every_container
def test_nothing_is_written_where_nothing_changed(tmp_path, suffix):
    path = place(tmp_path, VOLUME.raw, suffix)
    before = path.stat()
    mrcfile.open(path, "r+").close()
    with mrcfile.open(path, "r+") as mrc:
        mrc.flush()
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.skipif(sys.platform != "linux", reason="counts written bytes")
@pytest.mark.parametrize(("how", "least"), [("header_only=True", 0), ("", 0)])
def test_a_header_edit_writes_the_header_only(tmp_path, how, least):
    path = tmp_path / "large.mrc"
    mrcfile.write(path, np.arange(2**22, dtype="f4").reshape(16, 512, 512))
    program = f"""
def written():
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))
with mrcfile.open(path, "r+", {how}) as mrc:
    before = written()
    mrc.header.ispg = 4
print(written() - before)
"""
    assert int(run(program, path)) == 1024
    assert get(path.read_bytes(), "<", "ispg") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="no mode 0o640 there")
def test_links_and_permissions_stay(tmp_path):
    path = place(tmp_path, VOLUME.raw)
    path.chmod(0o640)
    link = tmp_path / "link.mrc"
    link.symlink_to(path)
    with mrcfile.open(link, "r+") as mrc:
        mrc.set_data(np.zeros((2, 3), "f4"))
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert mrcfile.read(path).shape == (2, 3)


@every_container
def test_unclosed_compressed_objects_are_written(tmp_path, suffix):
    """This mrcfile does too; when Python ends no thread can be begun any more."""
    path = tmp_path / f"new.mrc{suffix}"
    name = {"": None, ".gz": "gzip", ".bz2": "bzip2"}[suffix]
    program = f"mrc = mrcfile.new(path, np.zeros((2, 3), 'f4'), {name!r}); mrc.data[1] = 1"
    run_program(START + program, path)
    assert mrcfile.read(path).tolist() == [[0, 0, 0], [1, 1, 1]]
    run_program(START + "mrc = mrcfile.open(path, 'r+'); mrc.header.nxstart = 7", path)
    assert get(content(path), "<", "nxstart") == 7


def test_unclosed_objects_are_written(tmp_path):
    """This mrcfile does too."""
    path = tmp_path / "new.mrc"
    program = "mrc = mrcfile.new(path); mrc.set_data(np.ones((2, 3), 'f4'))"
    run_program(START + program, path)
    assert (mrcfile.read(path) == 1).all()
    mapped = tmp_path / "mapped.mrc"
    run_program(
        START + "mrc = mrcfile.mmap(path, 'w+'); mrc.set_data(np.ones((2, 3), 'i1'))", mapped
    )
    assert (mrcfile.read(mapped) == 1).all()
    run_program(START + "mrc = mrcfile.open(path, 'r+'); mrc.data[:] = 2", mapped)
    assert (mrcfile.read(mapped) == 2).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes of this kind")
def test_a_forked_process_does_not_write_what_it_inherited(tmp_path):
    path = place(tmp_path, lay("int16", lengths=(600, 500, 1)).raw)
    program = """
import os
mrc = mrcfile.open(path, "r+")
reader, writer = os.pipe()
child = os.fork()
if not child:
    os.read(reader, 1)
    sys.exit()
mrc.data[:] = 5
mrc.close()
os.write(writer, b"x")
os.waitpid(child, 0)
"""
    run_program(START + program, path)
    assert (mrcfile.read(path) == 5).all()


def test_data_given_before_refused_data_are_kept(tmp_path):
    path = tmp_path / "new.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ones((2, 3), "f4"))
        with pytest.raises(ValueError, match="float64"):
            mrc.set_data(np.ones((2, 3)))
    assert (mrcfile.read(path) == 1).all()


def change(mrc: Any, step: int) -> None:
    """Change something, the size or not."""
    if step == 0:
        mrc.header.ispg = 3
    elif step == 1:
        mrc.data[0, 0] = 55
    elif step == 2:
        mrc.set_extended_header(np.arange(step, dtype="u1"))
    elif step == 3:
        mrc.set_data(np.full((3, 2, 4), 9, "i2"))
    elif step == 4:
        mrc.set_data(np.full((3, 3), 9, ">f4"))
    elif step == 5:
        mrc.flush()


@pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "mmap"])
@pytest.mark.parametrize("seed", range(12))
def test_any_changes_in_any_order(tmp_path, kind, seed):
    """As mrcfile does, the last state is in the file."""
    random = np.random.default_rng(seed)
    suffix = {"gz": ".gz", "bz2": ".bz2"}.get(kind, "")
    path = place(tmp_path, VOLUME.raw, suffix)
    with mrcfile.mmap(path, "r+") if kind == "mmap" else mrcfile.open(path, "r+") as mrc:
        for step in random.integers(0, 6, 6):
            change(mrc, step)
        expected = mrc.header.tobytes() + mrc.extended_header.tobytes() + mrc.data.tobytes()
    assert content(path) == expected
    assert not debris(path)
