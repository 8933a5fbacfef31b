"""The profile "mrcfile" against mrcfile itself: the same verdict, and the same words.

Two verdicts of mrcfile are wrong, and are not followed: it computes the RMS of float16 in float16
and that of float32 in float32, where it overflows or is that of the rounding, and a machine stamp
that the numbers contradict is just a warning there.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import re
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from files import FILES, NUMBERS, sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcbytes import header, lay, put

from xarray_mrc import mrcfile as drop_in
from xarray_mrc import validate
from xarray_mrc.checking.measurement import NumpyStatistics
from xarray_mrc.checking.mrcfile_rules import MrcfileView, inaccurate, mrcfile_problems
from xarray_mrc.codec.header import Header

NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+")
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def ask_mrcfile(path: Path, peer=mrcfile) -> tuple[bool, list[str]]:
    """Give mrcfile's verdict and its texts; those of a traceback as one."""
    out = io.StringIO()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        verdict = peer.validate(path, out)
    lines = out.getvalue().splitlines()[1:]
    if any(line.startswith("Traceback") for line in lines):
        return verdict, ["Traceback"]
    return verdict, [] if verdict else lines


def split(text: str) -> tuple[str, list[float]]:
    """Cut a text into its words and its numbers."""
    return NUMBER.sub("#", text), [float(found) for found in NUMBER.findall(text)]


def assert_same(path: Path) -> None:
    verdict, theirs = ask_mrcfile(path)
    report = validate(path, "mrcfile")
    ours = [finding.text for finding in report.findings]
    assert ask_mrcfile(path, drop_in)[0] == bool(report)
    if any("does not match the apparent byte order" in text for text in ours):
        assert not report
        return
    assert bool(report) == verdict, (ours, theirs)
    if any("RMS deviation is inf" in text for text in theirs):
        return
    # Where the stamp says nothing mrcfile reads little endian, whatever the numbers are.
    if theirs == ["Traceback"] or any(text.startswith("Invalid machine") for text in ours):
        return
    # A volume stack without a length: mrcfile divides by zero, with what comes of it.
    if any(text.endswith("mz = 0)") for text in ours):
        return
    assert [split(text)[0] for text in ours] == [split(text)[0] for text in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert split(our)[1] == pytest.approx(split(their)[1], rel=1e-4, abs=1e-6, nan_ok=True)


def stated(pixels: np.ndarray) -> dict[str, float]:
    """Give the statistics that a header should state."""
    if pixels.dtype.kind == "c":
        return {"rms": float(pixels.std())}
    wide = pixels.astype("f8")
    return {
        "dmin": float(wide.min()), "dmax": float(wide.max()), "dmean": float(wide.mean()),
        "rms": float(wide.std()),
    }  # fmt: skip


SMALL = st.sampled_from([-(2**31), -7, -1, 0, 1, 2, 3, 4, 5, 17, 2000])
FLOATS = st.sampled_from([-1e30, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.5, 1e30, np.nan, np.inf])
CHANGES = {
    **dict.fromkeys(["nx", "ny", "nz", "mx", "my", "mz"], SMALL),
    "mode": st.sampled_from([0, 1, 2, 3, 4, 6, 16, 101, -1, 5, 7]),
    "ispg": st.sampled_from([-1, 0, 1, 4, 230, 231, 400, 401, 630, 631]),
    "nlabl": st.sampled_from([-1, 0, 1, 2, 3, 10, 11]),
    "nversion": st.sampled_from([0, 20139, 20140, 20141, 20142]),
    "nsymbt": st.sampled_from([-80, 0, 1, 4, 80, 160, 5000]),
    "exttyp": st.sampled_from([b"CCP4", b"SERI", b"FEI1", b"HDF5", b"MRC\0", b"\xff\0\0a"]),
    "map_id": st.sampled_from([b"MAP ", b"MAP\0", b"\0\0\0\0", b" PAM", b"map "]),
    "machst": st.sampled_from(
        [b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x11\x11\0\0", b"\x44\x44\1\1", b"\0\0\0\0"]
    ),
    **dict.fromkeys(["mapc", "mapr", "maps"], st.sampled_from([-1, 0, 1, 2, 3, 4])),
    **dict.fromkeys(["dmin", "dmax", "dmean", "rms"], FLOATS),
    "cella": st.tuples(FLOATS, FLOATS, FLOATS),
    "label_bytes": st.lists(
        st.sampled_from([b"", b"text", b"\0", b"\t", b"\0 ", b"\0a", b" x"]),
        min_size=10,
        max_size=10,
    ).map(lambda texts: b"".join(text.ljust(80, b" " if text else b"\0") for text in texts)),
}  # fmt: skip
FORMS = ["int8", "int16", "float32", "complex64", "uint16", "float16"]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Lay down a sound file and change a few fields and its length."""
    order = draw(st.sampled_from("<>"))
    form = draw(st.sampled_from(FORMS))
    kind = draw(st.sampled_from(["image", "image_stack", "volume", "volume_stack"]))
    laid = lay(form, kind, order, labels=(b"made by hand",), seed=draw(st.integers(0, 3)))
    finite = np.nan_to_num(laid.pixels, nan=1.5, posinf=2.5, neginf=-2.5)
    finite = np.clip(finite.real, -1e4, 1e4).astype(laid.pixels.dtype)
    if not draw(st.booleans()):
        body = finite.astype(finite.dtype.newbyteorder(order)).tobytes()
        raw = laid.raw[:1024] + body
        if form != "float16":
            raw = put(raw, order, **stated(finite))
    else:
        raw = laid.raw
    names = draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True))
    changes = {name: draw(CHANGES[name]) for name in names}
    if form == "float16":
        changes.pop("rms", None)
    raw = put(raw, order, **changes)
    cut = draw(st.sampled_from([0, 0, 0, 0, 1, -1, 80, -80, -1100]))
    return raw + bytes(cut) if cut >= 0 else raw[:cut]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=mutants(), suffix=st.sampled_from(["", "", "", ".gz", ".bz2"]))
def test_mutated_files(tmp_path, raw, suffix):
    path = tmp_path / f"mutant.mrc{suffix}"
    path.write_bytes(PACK[suffix](raw))
    assert_same(path)


def test_numbers_of_float16_do_not_overflow(tmp_path):
    numbers = np.linspace(-3e4, 3e4, 64 * 64).reshape(1, 64, 64).astype("f2")
    path = tmp_path / "half.mrc"
    path.write_bytes(sound(numbers))
    assert ask_mrcfile(path) == (
        False,
        [inaccurate("RMS deviation", np.inf, float(np.float32(numbers.astype("f8").std())))],
    )
    assert validate(path, "mrcfile")


@pytest.mark.parametrize("value", [0.1, 1.7, 12345.6])
@pytest.mark.parametrize("size", [16, 100])
def test_a_constant_has_the_rms_of_rounding_in_float32(tmp_path, value, size):
    path = tmp_path / "constant.mrc"
    mrcfile.write(path, np.full((size, size, size), value, "f4"))
    with mrcfile.open(path, header_only=True) as mrc:
        assert mrc.header.rms > 0
    assert_same(path)
    assert validate(path, "mrcfile")
    assert "D03" not in str(validate(path))
    path.write_bytes(sound(np.full((2, 3, 4), value, "f4"), rms=1e-5 * value))
    assert not validate(path, "mrcfile")
    assert "D03" in str(validate(path))


@pytest.mark.parametrize(("mean", "spread"), [(1e6, 0.5), (1e4, 0.01), (3000, 0.005)])
def test_the_rms_of_data_far_from_zero(tmp_path, mean, spread):
    path = tmp_path / "far.mrc"
    noise = np.random.default_rng(0).standard_normal((16, 16, 16))
    mrcfile.write(path, (mean + spread * noise).astype("f4"))
    assert ask_mrcfile(path)[0]
    assert validate(path, "mrcfile")
    assert "D03" not in str(validate(path))
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.rms *= 1.5
    assert not ask_mrcfile(path)[0]
    assert not validate(path, "mrcfile")
    assert "D03" in str(validate(path))


@pytest.mark.parametrize("order", "<>")
def test_a_stamp_that_lies_is_a_problem(tmp_path, order):
    stamp = {"<": b"\x11\x11\0\0", ">": b"\x44\x44\0\0"}[order]
    path = tmp_path / "liar.mrc"
    path.write_bytes(sound(order=order, machst=stamp))
    assert ask_mrcfile(path) == (True, [])
    (found,) = validate(path, "mrcfile").findings
    assert found.id == "H04"
    assert "does not match the apparent byte order" in found.text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"short",
        sound()[:1000],
        b"\x89PNG" + bytes(range(256)) * 8,
        lzma.compress(sound()),
        gzip.compress(sound())[:-9],
        gzip.compress(sound()) + b"garbage",
        gzip.compress(sound()) + bytes(100),
        gzip.compress(sound()[:500]) + gzip.compress(sound()[500:]),
        bz2.compress(sound()) + b"garbage",
        bz2.compress(sound())[:-9],
        gzip.compress(sound()[:-1]),
        gzip.compress(sound(trailing=b"more")),
        sound(nsymbt=-5),
        sound(ispg=401, mz=0),
        sound(nsymbt=4, extended=b"\xff\xfe\xfd\xfc", exttyp=b"\xff\xfe\xfd\xfc"),
    ],
)
def test_what_mrcfile_fails_at(tmp_path, raw):
    path = tmp_path / "file.mrc"
    path.write_bytes(raw)
    assert_same(path)


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_corpus(path):
    assert_same(path)


# Objects in memory, for which there is no file to compare sizes with.

IN_MEMORY = [
    ({}, NUMBERS),
    ({"dmin": -7.0, "rms": 3.0}, NUMBERS),
    ({"dmin": -7.0, "mode": 1}, (10 * NUMBERS).astype("i2")),
    ({"dmin": -7.0, "dmax": 7.0, "mode": 4, "dmean": 8.0, "rms": 1.0}, (NUMBERS + 1j).astype("c8")),
    ({"dmin": -math.inf, "dmax": 3.0, "dmean": 0.0}, np.array([[[-math.inf, 3.0]]], "f4")),
    ({"dmin": -1.0, "dmax": 3.0, "dmean": 0.0, "rms": 1.0}, np.array([[[math.nan, 3.0]]], "f4")),
    ({"map_id": b"MAP\0", "machst": b"\1\2\3\4", "nlabl": -1}, NUMBERS),
]


@pytest.mark.parametrize(("changes", "numbers"), IN_MEMORY)
def test_objects_in_memory(changes, numbers):
    raw = header(labels=(b"text",), **{"ispg": 1} | changes)
    peer = mrcfile.mrcinterpreter.MrcInterpreter()
    peer._header = np.frombuffer(bytearray(raw), mrcfile.dtypes.HEADER_DTYPE)[0].view(np.recarray)
    peer._data = numbers
    out = io.StringIO()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.validate(out)
    theirs = out.getvalue().splitlines()
    ours = mrcfile_problems(MrcfileView(Header(raw, "<"), NumpyStatistics.of(numbers)))
    assert [split(text)[0] for text in ours] == [split(text)[0] for text in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert split(our)[1] == pytest.approx(split(their)[1], rel=1e-5)


def test_an_object_without_data():
    held = MrcfileView(Header(header(dmin=1.0, dmax=2.0), "<"), None)
    assert mrcfile_problems(held) == [
        "Data statistics appear to be inaccurate: minimum is 0 but the value in the header is 1.0",
        "Data statistics appear to be inaccurate: maximum is 0 but the value in the header is 2.0",
    ]
