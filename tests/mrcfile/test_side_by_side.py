"""The drop-in and mrcfile itself, asked the same of the same files.

What they give, raise and warn of has to be the same, but for the cases that are named here as
mrcfile's faults; docs/mrcfile.md lists them.
"""

from __future__ import annotations
import __future__

import bz2
import gzip
import io
import os
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile as peer
import mrcfile.command_line
import numpy as np
import pytest
from mrcbytes import FORMS, KINDS, ORDERS, header, lay, put

from xarray_mrc import mrcfile as ours
from xarray_mrc import validate
from xarray_mrc.checking import measurement
from xarray_mrc.storage.compressed import blocks

# mrcfile sets a dtype in place, which numpy 2.5 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(os.environ.get("XARRAY_MRC_CORPUS") or ROOT.parent / "shared" / "corpus")
MODULES = {"mrcfile": peer, "ours": ours}


def seen(mrc: Any) -> dict[str, Any]:
    """Give all that an open file shows."""
    found = {
        "repr": repr(mrc),
        "header": mrc.header.tobytes(),
        "order": mrc.header.mode.dtype.byteorder,
        "shown": [repr(mrc.header.nx), type(mrc.header.cella).__name__, repr(mrc.header.dtype)],
        "writeable": mrc.header.flags.writeable,
        "extended": mrc.extended_header,
        "data": mrc.data,
        "labels": mrc.get_labels(),
        "nstart": mrc.nstart,
        "voxel_size": mrc.voxel_size,
    }
    for name in ("extended", "data"):
        array = found[name]
        if array is not None:
            facts = (array.dtype.str, array.shape, array.flags.writeable, type(array).__name__)
            found[name] = (*facts, array.flags.c_contiguous, array.tobytes())
    for name in ("nstart", "voxel_size"):
        record = found[name]
        found[name] = (record.dtype, record.tobytes(), record.flags.writeable)
    if mrc.data is not None:
        kinds = (mrc.is_single_image, mrc.is_image_stack, mrc.is_volume, mrc.is_volume_stack)
        found["kinds"] = [bool(kind()) for kind in kinds]
    text = io.StringIO()
    mrc.print_header(text)
    found["printed"] = text.getvalue()
    return found


def outcome(call: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Say what a call gives or raises, and of what it warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Numpy 2.5 says so of mrcfile's own code.
        warnings.filterwarnings("ignore", "Setting the dtype", DeprecationWarning)
        try:
            result = call()
        except Exception as error:
            result = (type(error).__name__, str(error))
    return result, [(type(w.message).__name__, str(w.message)) for w in caught]


def open_as(module: Any, how: str, path: Path, permissive: bool) -> Any:
    if how == "mmap":
        return module.mmap(path, permissive=permissive)
    mode, _, rest = how.partition(" ")
    return module.open(path, mode, permissive=permissive, header_only=rest == "header only")


def both(path: Path, how: str, permissive: bool) -> list[Any]:
    """Open a file with each of the two, and say what came of it."""

    def look(module: Any) -> Any:
        mrc = open_as(module, how, path, permissive)
        try:
            return seen(mrc)
        finally:
            mrc.close()

    return [outcome(lambda module=module: look(module)) for module in MODULES.values()]


# With these texts of numpy mrcfile fails, also in permissive mode, where lengths are negative.
FAILURES = ("negative count", "negative dimensions are not allowed")


def same(path: Path, how: str, permissive: bool) -> None:
    peers, mine = both(path, how, permissive)
    if peers[0] in [("ValueError", text) for text in FAILURES]:
        assert "is negative" in str(mine[1] if permissive else mine[0])
        return
    assert mine == peers


WAYS = ("r", "r header only", "mmap")
every_way = pytest.mark.parametrize("how", WAYS)
either = pytest.mark.parametrize("permissive", [False, True], ids=["strict", "permissive"])


def corpus_files() -> list[Path]:
    found = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []
    return [path for path in found if path.is_file() and path.suffix != ".md"]


@pytest.mark.corpus
@either
@every_way
@pytest.mark.parametrize("path", corpus_files(), ids=lambda path: path.name)
def test_genuine_files(path, how, permissive):
    same(path, how, permissive)


@either
@every_way
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [f for f in FORMS.values() if not f.flags], ids=str)
def test_every_mode_and_kind(form, kind, order, how, permissive, tmp_path):
    path = tmp_path / "laid.mrc"
    path.write_bytes(lay(form, kind, order, extended=bytes(range(40))).raw)
    same(path, how, permissive)


RAW = lay("int16", extended=bytes(24)).raw
TOO_LONG = RAW + b"1234567"
ODD = {
    "data cut off": RAW[:-3],
    "no data": RAW[: 1024 + 24],
    "extended header cut off": RAW[: 1024 + 7],
    "header only": RAW[:1024],
    "header cut off": RAW[:1000],
    "empty": b"",
    "longer": TOO_LONG,
    "nsymbt too large": put(RAW, "<", nsymbt=5000),
    "nsymbt beyond the file": put(RAW, "<", nsymbt=50_000_000),
    "mode 3": put(RAW, "<", mode=3),
    "mode 101": put(RAW, "<", mode=101),
    "mode unknown": put(RAW, "<", mode=-5),
    "map id of MotionCor": put(RAW, "<", map_id=b"MAP\0"),
    "map id missing": put(RAW, "<", map_id=bytes(4)),
    "stamp of zeros": put(RAW, "<", machst=bytes(4)),
    "stamp of CCP4": put(RAW, "<", machst=b"DA\0\0"),
    "stamp of the other order": put(RAW, "<", machst=b"\x11\x11\0\0"),
    "nothing right": put(RAW, "<", map_id=bytes(4), machst=b"    ", mode=77),
    "too many sections": put(RAW, "<", nz=50),
    "huge": put(RAW, "<", nx=2**31 - 1, ny=2**31 - 1, nz=2**31 - 1),
    "nlabl 20": put(RAW, "<", nlabl=20),
    "no grid": put(RAW, "<", mx=0, my=0, mz=0),
    "one section as volume": lay("int16", lengths=(4, 3, 1)).raw,
    "stack of RELION": put(lay("int16").raw, "<", ispg=0),
    "all zeros": header(nx=0, ny=0, nz=0, mx=0, my=0, mz=0, mode=0),
    "text": b"this is no MRC file, but some text that is long enough for a header" * 40,
}
# Where mrcfile is wrong: it runs into an error of numpy, or overflows, also in permissive mode.
MAPPED_HUGE = {("huge", "mmap")}


@either
@every_way
@pytest.mark.parametrize("name", ODD)
def test_odd_files(name, how, permissive, tmp_path):
    path = tmp_path / "odd.mrc"
    path.write_bytes(ODD[name])
    peers, mine = both(path, how, permissive)
    if (name, how) in MAPPED_HUGE:
        expected = (
            [("RuntimeWarning", "Error opening memmap")]
            if permissive
            else ("ValueError", "mmap length is greater than file size")
        )
        assert (mine[1] if permissive else mine[0]) == expected
        return
    assert mine == peers


@either
@pytest.mark.parametrize("how", ["r", "r header only"])
@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
@pytest.mark.parametrize("name", ODD)
def test_odd_files_within_a_container(name, suffix, how, permissive, tmp_path):
    path = tmp_path / f"odd.mrc{suffix}"
    path.write_bytes((gzip.compress if suffix == ".gz" else bz2.compress)(ODD[name]))
    same(path, how, permissive)


@pytest.mark.parametrize("compress", [None, "gzip", "bzip2"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 2, 3, 4), (0, 3, 4), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("code", ["i1", "i2", "u1", "u2", "f2", "f4", "c8"])
def test_new_files_have_the_same_bytes(code, shape, order, compress, tmp_path, monkeypatch):
    monkeypatch.setattr(ours.constants, "CREATOR", "Created by mrcfile.py")
    numbers = np.random.default_rng(3).normal(size=(2, *shape)) * 50
    data = numbers[0].astype(code if code[1] == "1" else order + code)
    data = data + (1j * numbers[1]).astype(code) if code == "c8" else data
    raw = []
    for name, module in MODULES.items():
        with module.new(tmp_path / name, compression=compress) as mrc:
            mrc.set_extended_header(np.arange(3))
            mrc.set_data(data)
            mrc.voxel_size = (1.5, 2.5, 3.5)
            mrc.nstart = (-1, 2, -3)
            mrc.add_label("a label")
        opener: Any = {None: open, "gzip": gzip.open, "bzip2": bz2.open}[compress]
        with opener(tmp_path / name, "rb") as file:
            raw.append(bytearray(file.read()))
    for one in raw:
        one[224 + 58 : 224 + 80] = bytes(22)  # the time
    assert raw[1] == raw[0]


REFUSED = {
    "exists": lambda m, name: m.new(name),
    "exists, open": lambda m, name: m.open(name, "w+"),
    "exists, mode w": lambda m, name: m.open(name, "w"),
    "mode x": lambda m, name: m.open(name, "x"),
    "missing": lambda m, name: m.open("missing.mrc"),
    "missing, r+": lambda m, name: m.open("missing.mrc", "r+"),
    "missing, mmap": lambda m, name: m.mmap("missing.mrc"),
    "folder": lambda m, name: m.open("."),
    "compression": lambda m, name: m.new("new.mrc", compression="zip"),
    "shape too large": lambda m, name: m.new_mmap("new.mrc", (2**31, 1)),
    "mmap mode 3": lambda m, name: m.new_mmap("new.mrc", (2, 2), mrc_mode=3),
    "mmap 1-D": lambda m, name: m.new_mmap("new.mrc", (2,)),
    "mmap 1-D, mode 3": lambda m, name: m.new_mmap("new.mrc", (2,), mrc_mode=3),
    "mmap 1-D, exists": lambda m, name: m.new_mmap(name, (2,), mrc_mode=3),
    "float64": lambda m, name: m.new("new.mrc", np.zeros((2, 2))),
    "bool": lambda m, name: m.write("new.mrc", np.zeros((2, 2), bool)),
    "1-D": lambda m, name: m.new("new.mrc", np.zeros(2, "f4")),
    "5-D": lambda m, name: m.new("new.mrc", np.zeros((1,) * 5, "f4")),
    "data too large": lambda m, name: m.new("new.mrc", np.broadcast_to(np.int8(0), (2**31, 1))),
    "not gzip": lambda m, name: m.gzipmrcfile.GzipMrcFile(name),
    "not bzip2": lambda m, name: m.bzip2mrcfile.Bzip2MrcFile(name),
    "image as stack": lambda m, name: m.open(name, "r+").set_image_stack(),
    "image as volume": lambda m, name: m.open(name, "r+").set_volume(),
    "read-only data": lambda m, name: m.open(name).set_data(None),
    "read-only extended header": lambda m, name: m.open(name).set_extended_header(None),
    "read-only statistics": lambda m, name: m.open(name).reset_header_stats(),
    "read-only field": lambda m, name: setattr(m.open(name).header, "nx", 3),
    "read-only value": lambda m, name: m.open(name).data.__setitem__(0, 3),
    "read-only map": lambda m, name: m.mmap(name).data.__setitem__(0, 3),
    "voxel size is a copy": lambda m, name: setattr(m.open(name).voxel_size, "x", 3),
    "nstart is a copy": lambda m, name: setattr(m.open(name, "r+").nstart, "x", 3),
    "voxel size of text": lambda m, name: setattr(m.open(name, "r+"), "voxel_size", "a"),
    "voxel size of text, new": lambda m, name: m.write("new.mrc", voxel_size="a"),
    "nstart of nan": lambda m, name: setattr(m.open(name, "r+"), "nstart", np.nan),
    "nstart too large": lambda m, name: setattr(m.open(name, "r+"), "nstart", 2**31),
    "header is no setter": lambda m, name: setattr(m.open(name), "header", None),
    "data are no setter": lambda m, name: setattr(m.open(name), "data", None),
    "label too long": lambda m, name: m.open(name, "r+").add_label("x" * 81),
    "label of two lines": lambda m, name: m.open(name, "r+").add_label("a\nb"),
    "label of bytes": lambda m, name: m.open(name, "r+").add_label(b"a"),
    "async": lambda m, name: m.open_async("missing.mrc").result(),
    "extended header too large": lambda m, name: m.open(name, "r+").set_extended_header(
        np.broadcast_to(np.int8(0), 2**31)
    ),
    "modes": lambda m, name: m.utils.dtype_from_mode(np.array([1, 2])),
    "mode 3": lambda m, name: m.utils.dtype_from_mode(3),
    "mode 3.5": lambda m, name: m.utils.dtype_from_mode(np.float32(3.5)),
    "dtype of text": lambda m, name: m.utils.mode_from_dtype(np.dtype("S1")),
    "order": lambda m, name: m.utils.normalise_byte_order("|"),
    "stamp": lambda m, name: m.utils.byte_order_from_machine_stamp(bytearray(b"\x44\x40\0\0")),
    "records": lambda m, name: m.dtypes.get_ext_header_dtype(b"FEI1", "x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("image.mrc").write_bytes(lay("int16", "image").raw)
    peers, mine = (
        outcome(lambda module=module: REFUSED[name](module, "image.mrc"))
        for module in MODULES.values()
        if not Path("new.mrc").unlink(missing_ok=True)
    )
    assert isinstance(peers[0], tuple), "mrcfile does not refuse it"
    assert mine == peers


@pytest.mark.parametrize("orders", ["<>", "><", "><>", ">>", "<><"])
def test_byte_orders_one_after_the_other(orders):
    found = []
    for module in MODULES.values():
        mrc = module.mrcobject.MrcObject()
        mrc._create_default_attributes()
        for order in orders:
            mrc.set_data(np.arange(6, dtype=f"{order}i2").reshape(2, 3))
            found.append((mrc.header.mode.dtype.byteorder, repr(mrc.header.nx), mrc.data.dtype))
    assert found[: len(orders)] == found[len(orders) :]


RECORD = np.rec.array((4.0, 5.0, 6.0), dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])


@pytest.mark.parametrize(
    "value",
    [1, 2.5, True, "2", np.float32(0.1), np.array(2.0), (1, 2, 3), [1.1, np.int16(2), 3], RECORD],
    ids=str,
)
def test_what_stands_for_x_y_z(value):
    found = []
    for module in MODULES.values():
        mrc = module.mrcobject.MrcObject()
        mrc._create_default_attributes()
        mrc.set_data(np.zeros((2, 3, 4), "f4"))
        mrc.voxel_size = value
        mrc.nstart = value
        found.append((mrc.voxel_size.tolist(), mrc.nstart.tolist()))
    assert found[0] == found[1]


def test_tables():
    assert ours.dtypes.HEADER_DTYPE == peer.dtypes.HEADER_DTYPE
    assert ours.dtypes.VOXEL_SIZE_DTYPE == peer.dtypes.VOXEL_SIZE_DTYPE
    assert ours.dtypes.NSTART_DTYPE == peer.dtypes.NSTART_DTYPE
    for order in "<>=":
        for exttyp in (b"FEI1", b"FEI2", b"CCP4", b""):
            mine = ours.dtypes.get_ext_header_dtype(exttyp, order)
            assert mine == peer.dtypes.get_ext_header_dtype(exttyp, order)
    assert ours.__version__ == "1.5.4"


# How mrcfile gets from writing to reading again, and what its Future is made of.
INNER_ATTRIBUTES = {"_ensure_readable_gzip_stream", "_ensure_readable_bzip2_stream", "_get_result"}


def test_the_same_names():
    for module in ("", *ours.__all__):
        theirs = getattr(peer, module, None) if module else peer
        if not isinstance(theirs, type(os)):
            continue
        mine = getattr(ours, module) if module else ours
        for name, value in vars(theirs).items():
            of_python = isinstance(value, type(os) | __future__._Feature)
            if not name.startswith("_") and not of_python:
                assert hasattr(mine, name), f"{theirs.__name__}.{name}"
                if name == "fei_dtype_dict":
                    assert np.dtype(getattr(mine, name)) == np.dtype(value)
                elif not callable(value):
                    assert getattr(mine, name) == value, f"{theirs.__name__}.{name}"
            if isinstance(value, type) and value.__module__.startswith("mrcfile"):
                missing = set(dir(value)) - set(dir(getattr(mine, name))) - INNER_ATTRIBUTES
                assert all(one.startswith("__") for one in missing), f"{theirs.__name__}.{name}"
    for name in ("MAP_ID", "MAP_ID_OFFSET_BYTES", "IMAGE_STACK_SPACEGROUP", "VOLUME_SPACEGROUP",
                 "VOLUME_STACK_SPACEGROUP"):  # fmt: skip
        assert getattr(ours.constants, name) == getattr(peer.constants, name)
    assert ours.mrcobject.VOLUME_STACK_SPACEGROUP == 401


def test_methods_have_the_same_parameters():
    import inspect

    for module in ("mrcobject.MrcObject", "mrcfile.MrcFile", "mrcmemmap.MrcMemmap",
                   "gzipmrcfile.GzipMrcFile", "bzip2mrcfile.Bzip2MrcFile",
                   "mrcinterpreter.MrcInterpreter", "future_mrcfile.FutureMrcFile"):  # fmt: skip
        room, name = module.split(".")
        mine, theirs = (getattr(getattr(m, room), name) for m in (ours, peer))
        for method, function in inspect.getmembers(theirs, inspect.isfunction):
            if method.startswith("_") and method != "__init__":
                continue
            found = inspect.signature(getattr(mine, method)).parameters
            assert list(found) == list(inspect.signature(function).parameters), method


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("name", ODD)
def test_one_verdict_for_the_function_and_the_profile(name, suffix, tmp_path):
    path = tmp_path / f"odd.mrc{suffix}"
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[suffix]
    path.write_bytes(pack(ODD[name]))
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_valid = ours.validate(path, text)
    report = validate(path, profile="mrcfile")
    assert bool(report) == is_valid
    if "Traceback" not in text.getvalue():
        printed = text.getvalue().splitlines()[1:]
        found = [finding.text for finding in report.findings]
        assert printed == (found or ["File appears to be valid."])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_validating_takes_no_memory_for_the_data(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(measurement, "cores", lambda: 1)  # each thread has memory of its own
    monkeypatch.setattr(blocks, "MAX_AHEAD_NBYTES", 2**20)  # less than the data, as of larger files
    monkeypatch.setattr(blocks, "MAX_RECENT_NBYTES", 2**20)
    values = np.arange(-(2**21), 2**21, dtype="f4").reshape(4, 1024, 1024)
    path = tmp_path / "large.mrc"
    peer.write(path, values)
    path.write_bytes(pack(path.read_bytes()))
    for value in ("", "wrong"):
        if value:
            with peer.open(path, "r+") as mrc:
                mrc.header.rms = mrc.header.dmean = mrc.header.dmin = 3
        texts = [io.StringIO(), io.StringIO()]
        verdicts, validate_path = [peer.validate(path, texts[0])], ours.validate
        tracemalloc.start()
        try:
            verdicts.append(validate_path(path, texts[1]))
            # Several blocks of bzip2 are decompressed at a time.
            part = 1.5 if pack is bz2.compress else 3
            assert tracemalloc.get_traced_memory()[1] < values.nbytes / part
        finally:
            tracemalloc.stop()
        assert verdicts == [not value] * 2
        assert texts[1].getvalue() == texts[0].getvalue()


@pytest.mark.corpus
def test_what_goes_to_which_stream(tmp_path, capsys):
    """The traceback of a file that can't be read goes to the standard error."""
    path, found = tmp_path / "short.mrc", []
    path.write_bytes(b"too short")
    for module in MODULES.values():
        assert not module.validate(path)
        printed = capsys.readouterr()
        found.append((printed.out, printed.err.splitlines()[-1]))
    assert found[0] == found[1]


@pytest.mark.parametrize("path", corpus_files(), ids=lambda path: path.name)
def test_printed_headers(path):
    found = []
    for module in (mrcfile.command_line, ours.command_line):
        text = io.StringIO()
        shown = outcome(lambda m=module, t=text: m.print_headers([str(path)], t))
        found.append((shown, text.getvalue()))
    assert found[1] == found[0]
