"""For each check of the table a file that breaks it, and nothing that it need not break."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest
from broken_files import COMPLEX, FILES, STACK
from files import NUMBERS, sound
from mrcbytes import IMOD, put

from xarray_mrc import validate
from xarray_mrc.checking.mrcfile_rules import MRCFILE_RULES
from xarray_mrc.checking.profiles import PROFILES
from xarray_mrc.codec.checks import CHECKS


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


@pytest.mark.parametrize(
    ("check", "raw", "also"), FILES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_one_file_for_each(check, raw, also):
    assert ids(raw) == {check} | also


# What is asked of a path only, or by a profile only, has a test below.
ELSEWHERE = {"C01", "H50"} | {check.id for check in CHECKS if check.severity is None}


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
    assert set(MRCFILE_RULES) <= set(names)
    assert not [check.id for check in CHECKS if check.reading and check.severity is None]


def test_a_profile_that_is_none():
    with pytest.raises(ValueError, match="profile='strict', expected one of mrc2014"):
        validate(sound(), "strict")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        validate(tmp_path / "nothing.mrc")
