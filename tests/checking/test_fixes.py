"""Repairs: header fields alone, certain ones only, and once is enough."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from broken_files import DAMAGED_FIELDS, FILES
from files import LABEL, NUMBERS, sound, stated
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import IMOD, get, lay, put

from xarray_mrc import MrcError, MrcWarning, edit_header, open_mrc, validate
from xarray_mrc.checking.facts import examine
from xarray_mrc.checking.profiles import findings
from xarray_mrc.codec.checks import CHECKS, Facts, fixes
from xarray_mrc.codec.header import Header
from xarray_mrc.storage import open_source
from xarray_mrc.storage.compressed.decoders import container_of

SYMMETRY = b"X,Y,Z".ljust(80)


def facts_of(raw: bytes) -> Facts:
    return examine(open_source(raw), True)


def mended(raw: bytes) -> bytes:
    """Give the file with all repairs made."""
    facts = facts_of(raw)
    if not facts.has_header:
        return raw
    return facts.header.replace(**fixes(facts)).raw + raw[1024:]


def ids(raw: bytes) -> set[str]:
    return {check.id for check, _, _ in findings(facts_of(raw))}


MENDED = [
    (sound(map_id=b"MAP\0"), {"map_id": b"MAP "}),
    (sound(map_id=b"\0\0\0\0"), {"map_id": b"MAP "}),
    (sound(map_id=b" PAM"), {"map_id": b"MAP "}),
    (sound(machst=b"\x11\x11\0\0"), {"machst": b"\x44\x44\0\0"}),
    (sound(order=">", machst=b"\0\0\0\0"), {"machst": b"\x11\x11\0\0"}),
    (sound(machst=b"\x44\x41\1\1"), {"machst": b"\x44\x41\0\0"}),
    (sound(nversion=0), {"nversion": 20141}),
    (sound(NUMBERS.astype("f2"), nversion=20140), {"nversion": 20141}),
    (sound(ispg=0, nz=1, mz=0, trailing=b""), {"mz": 1}),
    (sound(cellb=(0.0, 0.0, 0.0)), {"cellb": (90.0, 90.0, 90.0)}),
    (sound(mapc=0, mapr=0, maps=0), {"mapc": 1, "mapr": 2, "maps": 3}),
    (sound(origin=(math.nan, 1.0, 0.0)), {"origin": (0.0, 0.0, 0.0)}),
    (sound(extended=SYMMETRY), {"exttyp": b"CCP4"}),
    (sound(nsymbt=160, exttyp=b"CCP4"), {"nsymbt": 0}),
    (sound(nsymbt=-4), {"nsymbt": 0}),
    (sound(nsymbt=10**6 + 4, exttyp=b"FEI1"), {"nsymbt": 0}),
    (sound(nlabl=3), {"nlabl": 1, "label_bytes": LABEL.ljust(80).ljust(800, b"\0")}),
    (
        sound(labels=(b"", b"one", b"", b"two"), nlabl=4),
        {"nlabl": 2, "label_bytes": b"one".ljust(80) + b"two".ljust(80) + b" " * 160 + bytes(480)},
    ),
    (sound(dmin=-9.0), stated(NUMBERS)),
    (sound(rms=0.0), stated(NUMBERS)),
]


@pytest.mark.parametrize(("raw", "expected"), MENDED)
def test_what_is_certain(raw, expected):
    if get(raw, "<", "nz") == 1:
        raw = raw[: 1024 + 48]
        raw = put(raw, "<", **stated(NUMBERS[0]))
    found = fixes(facts_of(raw))
    assert set(found) == set(expected)
    for name, value in expected.items():
        wanted = pytest.approx(value) if isinstance(value, float) else value
        assert found[name] == wanted
    assert mended(raw)[1024:] == raw[1024:]
    assert not ids(mended(raw))


LEFT = {
    "no right value is known": [
        sound(mapc=2), sound(nx=0), sound(mx=-4), sound(my=0), sound(cella=(6.0, -4.5, 3.0)),
        sound(cellb=(90.0, 200.0, 90.0), ispg=4), sound(ispg=300), sound(nxstart=999_999),
        sound(ispg=0), sound(mz=4), sound(labels=(b"\xcd label",)), sound()[:-1],
        sound(trailing=b"more"), sound(origin=(1.0, 2.0, 3.0), nxstart=1),
    ],
    "four characters that may be a number": [sound(map_id=b"\x3f\x80\0\0", machst=b"\x12\0\0\0")],
    "a version would turn the origin round": [
        sound(imod_stamp=IMOD, nversion=0, origin=(1.0, 1.0, 1.0))
    ],
    "a version would turn the rows round": [
        sound(np.arange(24, dtype="f2").reshape(2, 3, 4), extended=bytes(1536), exttyp=b"FEI1",
              nversion=20140)
    ],
    "a version would make bytes signed": [
        sound(np.arange(24, dtype="u1").reshape(2, 3, 4), nversion=0, dmin=0.0, dmax=200.0)
    ],
    "the bytes of the version are a matrix": [
        sound(lskflg=1, skew_matrix=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    ],
    "the statistics are those of the map that was scaled": [
        sound(np.arange(24, dtype="i1").reshape(2, 3, 4), imod_flags=-128, scale_top=127,
              dmin=-3.0, dmax=5.0, dmean=0.0, rms=-1.0)
    ],
}  # fmt: skip


@pytest.mark.parametrize("raw", [raw for some in LEFT.values() for raw in some])
def test_what_is_not_certain_is_left(raw):
    assert ids(raw)
    assert fixes(facts_of(raw)) == {}


def test_without_the_data_statistics_are_left():
    facts = examine(open_source(sound(dmin=-9.0, nversion=0)), False)
    assert fixes(facts) == {"nversion": 20141}


def test_statistics_of_numbers_that_are_not_finite_become_unknown():
    numbers = NUMBERS.copy()
    numbers[0, 0, 0] = math.inf
    raw = sound(numbers, dmin=-7.0, dmax=3.0, dmean=1.0, rms=1.0)
    assert fixes(facts_of(raw)) == {"dmin": 0.0, "dmax": -1.0, "dmean": -2.0, "rms": -1.0}
    assert ids(mended(raw)) == {"D04", "D05"}


PLAIN = [row for row in FILES if container_of(row[1][:1024]) is None]


@pytest.mark.parametrize(
    ("check", "raw", "also"), PLAIN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_once_is_enough(check, raw, also):
    first = mended(raw)
    assert first[1024:] == raw[1024:]
    assert mended(first) == first
    assert ids(first) <= {check} | also


def values_of(raw: bytes) -> tuple[object, ...]:
    """Give what a reader makes of a file; or that it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MrcWarning)
        try:
            data = open_mrc(raw, chunks=None)
        except MrcError:
            return ()
    places = tuple((name, tuple(data[name].values)) for name in data.dims if name in data.coords)
    return data.dims, data.dtype, data.values.tobytes(), places


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["int8", "uint8", "int16", "float32", "complex64", "float16"]),
    kind=st.sampled_from(["image", "image_stack", "volume", "volume_stack"]),
    order=st.sampled_from("<>"),
    changes=st.dictionaries(st.sampled_from(sorted(DAMAGED_FIELDS)), st.none(), max_size=4),
    draw=st.data(),
)
def test_repairs_change_nothing_that_is_read(form, kind, order, changes, draw):
    changes = {name: draw.draw(DAMAGED_FIELDS[name], label=name) for name in changes}
    raw = put(lay(form, kind, order, labels=(LABEL,)).raw, order, **changes)
    once = mended(raw)
    assert once[1024:] == raw[1024:]
    # What is behind a damaged header can be measured, and mended, only when that is sound.
    is_readable = facts_of(raw).layout is not None
    assert mended(once) == once if is_readable else mended(mended(once)) == mended(once)
    before, after = values_of(raw), values_of(once)
    if "mz" not in fixes(facts_of(raw)) and before:
        assert after == before
    if is_readable:
        # Statistics that were made unknown are said to be so; nothing else is new.
        assert ids(once) - ids(raw) <= {"D05"}


def test_every_repair_is_tried():
    tried = set()
    for raw, _ in MENDED:
        facts = facts_of(raw)
        tried |= {check.id for check in CHECKS if check.fix and check.test(facts)}
    assert tried | {"L01"} >= {check.id for check in CHECKS if check.fix}
    assert validate(mended(sound(nlabl=11)))
    assert Header(mended(sound(nlabl=11))[:1024], "<").nlabl == 1


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
def test_statistics_are_mended_where_the_data_may_be_read(tmp_path, dtype):
    numbers = (10 * np.abs(NUMBERS)).astype(dtype)
    path = tmp_path / "a.mrc"
    path.write_bytes(sound(numbers, map_id=b"MAP\0", dmin=-9.0, dmean=7.0, rms=1e6))
    assert edit_header(path, fix=True).keys() == {"map_id"}
    assert [finding.id for finding in validate(path).findings] == ["D01", "D02", "D03"]
    assert edit_header(path, fix=True, data=True).keys() == {"dmin", "dmean", "rms"}
    assert path.read_bytes() == sound(numbers)
    assert not edit_header(path, fix=True, data=True)


def test_data_are_read_for_repairs_only(tmp_path):
    with pytest.raises(ValueError, match="without fix=True"):
        edit_header(tmp_path / "a.mrc", data=True)


def test_a_damaged_size_is_mended_beside_faults_that_stay(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(sound(nsymbt=-4, maps=2))
    assert edit_header(path, fix=True).keys() == {"nsymbt"}
    assert [finding.id for finding in validate(path).findings] == ["H11"]
    with pytest.raises(ValueError, match="the header would not be valid: byte 208"):
        edit_header(path, map_id=b"none")
