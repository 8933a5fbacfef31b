"""The profile "mrcfile" against mrcfile itself: the same verdict, and the same words.

Two verdicts of mrcfile are wrong, and are not followed: it computes the RMS of float16 in float16
and that of float32 in float32, where it overflows, and a machine stamp that the numbers contradict
is just a warning there.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcbytes import lay, put

from xarray_mrc.validator import validate

NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+")
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def ask_mrcfile(path: Path) -> tuple[bool, list[str]]:
    """Give mrcfile's verdict and its texts; those of a traceback as one."""
    out = io.StringIO()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        verdict = mrcfile.validate(path, out)
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
    if any("does not match the apparent byte order" in text for text in ours):
        assert not report
        return
    assert bool(report) == verdict, (ours, theirs)
    if any("RMS deviation is inf" in text for text in theirs):
        return
    # Where the stamp says nothing mrcfile reads little endian, whatever the numbers are.
    if theirs == ["Traceback"] or any(text.startswith("Invalid machine") for text in ours):
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
    "exttyp": st.sampled_from([b"CCP4", b"SERI", b"FEI1", b"FEI2", b"HDF5", b"MRC\0", b"\xff\0\0a"]),
    "map_id": st.sampled_from([b"MAP ", b"MAP\0", b"\0\0\0\0", b" PAM", b"map "]),
    "machst": st.sampled_from(
        [b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x11\x11\0\0", b"\x44\x44\1\1", b"\0\0\0\0"]
    ),
    **dict.fromkeys(["mapc", "mapr", "maps"], st.sampled_from([-1, 0, 1, 2, 3, 4])),
    **dict.fromkeys(["dmin", "dmax", "dmean", "rms"], FLOATS),
    "cella": st.tuples(FLOATS, FLOATS, FLOATS),
    "label_bytes": st.lists(
        st.sampled_from([b"", b"text", b"\0", b"\t", b"\0 ", b"\0a", b" x"]), min_size=10, max_size=10
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
