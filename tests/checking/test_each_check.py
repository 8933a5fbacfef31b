"""For each check of the table a file that breaks it, and nothing that it need not break."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import struct

import numpy as np
import pytest
from files import LABEL, NUMBERS, sound, stated
from mrcbytes import IMOD, put

from xarray_mrc import validate
from xarray_mrc.checking.mrcfile_rules import MRCFILE
from xarray_mrc.checking.validator import PROFILES
from xarray_mrc.codec.checks import CHECKS

BYTES = np.arange(-12, 12, dtype="i1").reshape(2, 3, 4)
UNSIGNED = np.arange(24, dtype="u1").reshape(2, 3, 4)
COMPLEX = (NUMBERS + 1j).astype("c8")
SYMMETRY = b"X,Y,Z".ljust(80)
NAN = NUMBERS.copy()
NAN[0, 0, 1] = math.nan
RGB = np.arange(72, dtype="u1").reshape(2, 3, 12)
STACK = {"ispg": 0, "mz": 1, "cella": (6.0, 4.5, 1.5)}
RECORDS = bytes(80)
WARP = np.array([-3, 85, *(30 * [0]), 3, 85, *(30 * [0])], "<f4").tobytes()  # tilt, rotation

# Id, the file, and what it can't help breaking too.
FILES: list[tuple[str, bytes, set[str]]] = [
    ("H43", b"no such format".ljust(2000, b"."), set()),
    ("H01", sound()[:1000], set()),
    ("H02", sound(map_id=b"\0\0\0\0"), set()),
    ("H33", sound(map_id=b"MAP\0"), set()),
    ("H03", sound(machst=b"\0\0\0\0"), set()),
    ("H03", sound(machst=b"\x44\x44\1\0"), set()),
    ("H04", sound(machst=b"\x11\x11\0\0"), set()),
    ("H04", sound(order=">", machst=b"\x44\x44\0\0"), set()),
    ("H05", sound(mode=7), set()),
    ("H34", sound(RGB, mode=16, nx=4, mx=4, cella=(6.0, 4.5, 3.0)), set()),
    ("H06", sound(nversion=0), set()),
    ("H39", sound(NUMBERS.astype("f2"), nversion=20140), set()),
    ("H07", sound(nx=0), set()),
    ("H07", sound(nx=2**31 - 1, ny=2**31 - 1, nz=4, mz=4), {"S01"}),
    ("H08", sound(mx=-4), set()),
    ("H35", sound(my=0), set()),
    ("H09", sound(cella=(6.0, -4.5, 3.0)), set()),
    ("H09", sound(cella=(math.nan, 4.5, 3.0)), set()),
    ("H40", sound(cella=(6.0, 4.5, 0.0)), set()),
    ("H10", sound(cellb=(90.0, 200.0, 90.0), ispg=4), set()),
    ("H41", sound(cellb=(90.0, 100.0, 90.0)), set()),
    ("H41", sound(cellb=(0.0, 0.0, 0.0), ispg=4), set()),
    ("H11", sound(mapc=2), set()),
    ("H12", sound(ispg=401, mapc=2, mapr=1), set()),
    ("H13", sound(ispg=300), set()),
    ("H14", sound(ispg=401, mz=4), set()),
    ("H15", sound(ispg=0, mz=4), set()),
    ("H16", sound(mz=4), set()),
    ("H17", sound(ispg=0), {"H15"}),
    ("H18", sound(nxstart=999_999), set()),
    ("H19", sound(origin=(math.inf, 0.0, 0.0)), set()),
    ("H36", sound(origin=(1.0, 2.0, 3.0), nxstart=1), set()),
    ("H20", sound(cella=(4.0, 3.0, 2.0), origin=(2.0, 1.5, 0.5)), set()),
    ("H21", sound(imod_stamp=IMOD, nversion=0, origin=(1.0, 1.0, 1.0)), {"H06"}),
    ("H22", sound(BYTES, dmax=200.0), {"D07"}),
    ("H37", sound(UNSIGNED, imod_stamp=IMOD), set()),
    (
        "H31",
        sound(BYTES, imod_flags=-128, scale_top=127, dmin=-3.0, dmax=5.0, dmean=0.0, rms=-1.0),
        {"D01", "D07", "D02", "D05"},
    ),
    (
        "H32",
        sound(mode=0, nx=3838, ny=7420, nz=1, mx=3838, my=7420, mz=1, labels=(b"4 bits packed",)),
        {"S01"},
    ),
    ("H44", sound(UNSIGNED, imod_stamp=IMOD, imod_flags=17), set()),
    ("H23", sound(lskflg=1 << 16), set()),
    ("H23", sound()[:195] + b"\1" + sound()[196:], set()),
    ("H24", sound(nsymbt=-80), set()),
    ("H24", sound(nsymbt=10**6 + 4, exttyp=b"CCP4"), set()),
    ("H25", sound(extended=bytes(84)), set()),
    ("H26", sound(extended=b"no operator".ljust(80), exttyp=b"CCP4"), set()),
    ("H45", sound(extended=SYMMETRY, exttyp=b"CCP4", ispg=4), set()),
    ("H45", sound(extended=SYMMETRY + SYMMETRY, exttyp=b"CCP4"), set()),
    ("H45", sound(extended=SYMMETRY, exttyp=b"CCP4", ispg=404), set()),
    ("H27", sound(extended=RECORDS, exttyp=b"FEI1"), set()),
    ("H27", sound(extended=RECORDS, exttyp=b"FEI2"), set()),
    ("H46", sound(extended=WARP, exttyp=b"FEI1"), set()),
    ("H46", sound(extended=2 * (struct.pack("<i", 768) + bytes(764)), exttyp=b"FEI2"), set()),
    ("H28", sound(extended=b"\1" * 80, exttyp=b"SERI", nint=7, nreal=3), set()),
    ("H47", sound(extended=WARP, exttyp=b"SERI", nreal=32), set()),
    ("H29", sound(extended=b"\1" * 80, exttyp=b"AGAR", nint=70, nreal=70), set()),
    ("H48", sound(extended=RECORDS, exttyp=b"AGAR"), set()),
    ("H38", sound(extended=RECORDS, exttyp=b"HDF5"), set()),
    ("H30", sound(lskflg=1, exttyp=b"CCP4"), {"H42"}),
    ("H42", sound(lskflg=1, skew_translation=(1.0, 0.0, 0.0)), set()),
    ("L01", sound(nlabl=11), {"L02"}),
    ("L02", sound(nlabl=2), set()),
    ("L02", sound(labels=(b"", LABEL), nlabl=1), set()),
    ("L03", sound(labels=(b"\xcd\xcd label",)), set()),
    ("S01", sound()[:-1], set()),
    ("S01", sound()[:1030], set()),
    ("S01", gzip.compress(sound()[:-1]), set()),
    ("S02", sound(nsymbt=160, exttyp=b"CCP4"), set()),
    ("S02", gzip.compress(sound(nsymbt=160, exttyp=b"CCP4")), set()),
    ("S03", sound(trailing=b"more"), set()),
    ("S03", bz2.compress(sound(trailing=b"more")), set()),
    ("D01", sound(dmin=-1.25), set()),
    ("D01", sound(dmin=float(np.nextafter(np.float32(-1), np.float32(0)))), set()),
    ("D07", sound(dmax=3.25), set()),
    ("D02", sound(dmean=1.1), set()),
    ("D03", sound(rms=1.5), set()),
    ("D04", sound(NAN, **stated(NAN[np.isfinite(NAN)])), set()),
    ("D05", sound(rms=-1.0), set()),
    ("D05", sound(rms=0.0), set()),
    ("D06", sound(COMPLEX, mx=8, cella=(12.0, 4.5, 3.0), dmax=2.0, dmean=1.0, rms=1.0), set()),
    ("C02", gzip.compress(sound())[:-9], set()),
    ("C02", gzip.compress(sound())[:100], set()),
    ("C02", lzma.compress(sound())[:-20], set()),
    ("C03", gzip.compress(sound()) + b"garbage", set()),
]  # fmt: skip


def ids(raw: bytes, profile: str = "mrc2014", data: bool = True) -> set[str]:
    return {finding.id for finding in validate(raw, profile, data).findings}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_sound_file_has_no_finding(order):
    for profile in PROFILES:
        report = validate(sound(order=order), profile)
        assert report
        assert not report.findings


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sound_files_of_all_modes(dtype, order):
    numbers = (10 * np.abs(NUMBERS)).astype(dtype)
    for pack in (bytes, gzip.compress, bz2.compress, lzma.compress):
        assert not ids(pack(sound(numbers, order=order)))


@pytest.mark.parametrize(("check", "raw", "also"), FILES, ids=lambda value: str(value)[:3])
def test_one_file_for_each(check, raw, also):
    assert ids(raw) == {check} | also


# What is asked of a path only, or by a profile only, has a test below.
ELSEWHERE = {"C01"} | {check.id for check in CHECKS if check.severity is None}


def test_every_check_has_a_file():
    assert {check for check, _, _ in FILES} | ELSEWHERE == {check.id for check in CHECKS}


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("a.mrc", sound(), set()),
        ("a.mrc.gz", gzip.compress(sound()), set()),
        ("a.MRC.GZ", gzip.compress(sound()), set()),
        ("a.mrc", gzip.compress(sound()), {"C01"}),
        ("a.mrc.gz", sound(), {"C01"}),
        ("a.mrc.gz", bz2.compress(sound()), {"C01"}),
    ],
)
def test_names_of_containers(tmp_path, name, raw, expected):
    path = tmp_path / name
    path.write_bytes(raw)
    assert ids(path) == expected
    with path.open("rb") as file:
        assert not ids(file)  # a name of a file object may be anything


EMDB = [
    ("P01", sound(**STACK)),
    ("P01", sound(ispg=401)),
    ("P02", lzma.compress(sound())),
    ("P03", sound(COMPLEX, mx=6, cella=(9.0, 4.5, 3.0), dmax=2.0, dmean=1.0, rms=1.0)),
    ("P04", sound(origin=(1.5, 3.0, 4.5))),
    ("P05", sound(np.ones((2, 3, 4), "f4"))),
    ("H40", sound(cella=(0.0, 0.0, 0.0))),
    ("S03", sound(trailing=b"more")),
]


@pytest.mark.parametrize(("check", "raw"), EMDB)
def test_emdb(check, raw):
    assert ids(raw, "emdb") == {check}
    assert bool(validate(raw, "emdb")) == (check in ("P04", "P05"))


PORTAL = [
    ("P06", sound(NUMBERS.astype("f2"))),
    ("P07", sound(mapc=2, mapr=1)),
    ("P08", sound(mx=8, cella=(12.0, 4.5, 3.0))),
    ("P08", sound(ispg=0)),
    ("P09", sound(cellb=(90.0, 100.0, 90.0))),
    ("P10", sound(origin=(1.5, 3.0, 4.5))),
    ("P11", sound(nzstart=-1)),
    ("P12", sound(ispg=4)),
    ("P14", sound(cella=(6.0, 4.6, 3.0))),
    ("H06", sound(nversion=0)),
    ("L02", sound(nlabl=3)),
]


@pytest.mark.parametrize(("check", "raw"), PORTAL)
def test_portal(check, raw):
    assert ids(raw, "cryoet-portal") == {check}
    assert not validate(raw, "cryoet-portal")


def test_portal_lets_a_little_follow():
    assert validate(sound(trailing=bytes(2**20)), "cryoet-portal")
    report = validate(sound(trailing=bytes(2**20 + 1)), "cryoet-portal")
    assert [finding.id for finding in report.findings] == ["P13", "S03"]
    assert validate(sound(**STACK), "cryoet-portal")


@pytest.mark.parametrize("at", [98, 103, 112, 127, 132, 151, 160, 164, 195])
def test_words_that_only_imod_uses(at):
    raw = sound()[:at] + b"\1" + sound()[at + 1 :]
    assert ids(raw) == {"H23"}
    imod = put(raw, "<", imod_stamp=IMOD, imod_flags=5)
    assert ids(imod) == ({"H23"} if at < 128 else set())


@pytest.mark.parametrize("at", [128, 131, 196])
def test_words_with_a_meaning(at):
    assert ids(sound()[:at] + b"\1" + sound()[at + 1 :]) == set()


def test_headers_only():
    wrong = sound(dmin=-7.0, trailing=b"more")
    assert ids(wrong, data=False) == {"S03"}
    assert ids(gzip.compress(wrong), data=False) == set()
    assert ids(wrong, "mrcfile", data=False) == {"S03"}
    assert ids(sound()[:-1], data=False) == {"S01"}


def test_the_table_itself():
    names = [check.id for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.title for check in CHECKS)
    assert set(MRCFILE) <= set(names)
    assert not [check.id for check in CHECKS if check.reading and check.severity is None]


def test_a_profile_that_is_none():
    with pytest.raises(ValueError, match="profile='strict', expected one of mrc2014"):
        validate(sound(), "strict")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        validate(tmp_path / "nothing.mrc")
