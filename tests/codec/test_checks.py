"""The table of checks: for each one a header that breaks it, and it alone."""

import math

import pytest

from xarray_mrc.codec import checks
from xarray_mrc.codec.checks import CHECKS, Check, Facts, reading_notes
from xarray_mrc.codec.header import IMOD_STAMP, Header
from xarray_mrc.codec.layout import Layout
from xarray_mrc.codec.statistics import StatedStatistics, Statistics, stated_statistics
from xarray_mrc.errors import MrcError

LABEL = b"a label".ljust(80)
SOUND = {
    "nx": 4, "ny": 3, "nz": 2, "mx": 4, "my": 3, "mz": 2, "mode": 2,
    "cella": (4.0, 3.0, 2.0), "dmin": -1.0, "dmax": 3.0, "dmean": 1.0, "rms": 0.5,
    "nlabl": 1, "label_bytes": LABEL.ljust(800),
}  # fmt: skip


def statistics(low=-1.0, high=3.0, mean=1.0, rms=0.5, nans=0):
    return Statistics(4, low, high, mean, 4 * rms**2, nans)


def facts(header, **known):
    try:
        layout = Layout.from_header(header, known.get("size"))
    except MrcError:
        layout = None
    return Facts(header, layout, **known)


def findings(found):
    return {check.id for check, _, _ in checks.findings(found)}


def header(**changes):
    return Header.blank().replace(**(SOUND | changes))


def test_a_sound_file_has_no_finding():
    assert findings(facts(header(), size=1024 + 96, data=statistics())) == set()


HEADERS = [
    ("H02", {"map_id": b"\0\0\0\0"}),
    ("H33", {"map_id": b"MAP\0"}),
    ("H03", {"machst": b"\0\0\0\0"}),
    ("H03", {"machst": b"\x44\x44\x01\0"}),
    ("H04", {"machst": b"\x11\x11\0\0"}),
    ("H05", {"mode": 7}),
    ("H34", {"mode": 16}),
    ("H06", {"nversion": 0}),
    ("H39", {"nversion": 20140, "mode": 12}),
    ("H08", {"mx": -4}),
    ("H35", {"my": 0}),
    ("H09", {"cella": (4.0, -3.0, 2.0)}),
    ("H09", {"cella": (math.nan, 3.0, 2.0)}),
    ("H40", {"cella": (4.0, 3.0, 0.0)}),
    ("H10", {"cellb": (90.0, 200.0, 90.0), "ispg": 4}),
    ("H41", {"cellb": (90.0, 100.0, 90.0)}),
    ("H11", {"mapc": 2}),
    ("H12", {"mapc": 2, "mapr": 1, "ispg": 401}),
    ("H13", {"ispg": 300}),
    ("H14", {"ispg": 401, "nz": 3}),
    ("H16", {"mz": 4}),
    ("H18", {"nxstart": 999_999}),
    ("H19", {"origin": (math.inf, 0.0, 0.0)}),
    ("H36", {"origin": (1.0, 2.0, 3.0), "nxstart": 1}),
    ("H20", {"origin": (2.0, 1.5, 0.5)}),
    ("H22", {"mode": 0, "dmax": 200.0}),
    ("H23", {"lskflg": 1 << 16}),
    ("H30", {"lskflg": 1, "exttyp": b"CCP4"}),
    ("H42", {"lskflg": 1, "skew_translation": (1.0, 0.0, 0.0)}),
    ("L01", {"nlabl": 262146}),
    ("L02", {"nlabl": 2}),
    ("L03", {"label_bytes": b"\xcd label".ljust(800)}),
]


@pytest.mark.parametrize(("check", "changes"), HEADERS)
def test_one_header_for_each(check, changes):
    found = findings(facts(header(**changes)))
    # A rule can't be broken without some others: no negative grid is a set one, say.
    also = {"L01": {"L02"}, "H30": {"H42"}, "H23": set(), "H11": set(), "H12": set()}
    assert check in found
    assert found - {check} <= also.get(check, set())


def test_more_headers():
    stack = {"ispg": 0, "nz": 5, "mz": 3, "cella": (4.0, 3.0, 3.0)}
    assert findings(facts(header(**stack))) == {"H15"}
    volume = {"ispg": 0}
    assert findings(facts(header(**volume))) == {"H15", "H17"}
    imod = {"imod_stamp": IMOD_STAMP, "nversion": 0, "origin": (1.0, 1.0, 1.0)}
    assert findings(facts(header(**imod))) == {"H06", "H21"}
    unsigned = {"imod_stamp": IMOD_STAMP, "mode": 0}
    assert findings(facts(header(**unsigned))) == {"H37"}
    scaled = {"mode": 0, "imod_flags": -128, "scale_top": 127}
    assert findings(facts(header(**scaled))) == {"H31"}
    packed = {"mode": 0, "nx": 3838, "ny": 7420, "mx": 3838, "my": 7420, "nz": 1, "mz": 1,
              "label_bytes": b"4 bits packed".ljust(800)}  # fmt: skip
    assert findings(facts(header(**packed))) == {"H32"}
    transform = {"mode": 4, "mx": 8}
    assert findings(facts(header(**transform))) == {"D06"}


def test_sizes():
    assert findings(facts(header(), size=1024 + 97)) == {"S03"}
    claims = header(nsymbt=160, exttyp=b"CCP4")
    assert findings(facts(claims, size=1024 + 96)) == {"S02"}
    assert findings(facts(header(nsymbt=-1))) == {"H24"}
    assert findings(facts(header(nsymbt=10**6, exttyp=b"CCP4"), size=2000)) == {"H24"}
    part = Layout.from_header(header(), 1024 + 60, truncated="sections")
    assert findings(Facts(header(), part, 1024 + 60)) == {"S01"}


@pytest.mark.parametrize(
    ("exttyp", "check"),
    [(b"CCP4", "H26"), (b"FEI1", "H27"), (b"FEI2", "H27"), (b"SERI", "H28"), (b"AGAR", "H29"),
     (b"HDF5", "H38")],
)  # fmt: skip
def test_extended_headers(exttyp, check):
    found = facts(header(nsymbt=80, exttyp=exttyp), extended_problem="it is none")
    assert findings(found) == {check}
    assert reading_notes(found) == ["it is none"]


def test_unknown_type_of_extended_header():
    assert findings(facts(header(nsymbt=80))) == {"H25"}


def test_containers():
    assert findings(facts(header(), container="gzip", suffix=".mrc")) == {"C01"}
    assert findings(facts(header(), container="gzip", suffix=".GZ")) == set()
    assert findings(facts(header(), container="", suffix=".gz")) == {"C01"}


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (statistics(-1.5, 3.0, 1.0, 0.5), {"D01"}),
        (statistics(-1.0, 3.5, 1.0, 0.5), {"D07"}),
        (statistics(-1.0, 3.0, 1.1, 0.5), {"D02"}),
        (statistics(-1.0, 3.0, 1.0, 0.6), {"D03"}),
        (statistics(nans=2), {"D04"}),
        (statistics(-1.0, 3.0, 1.0001, 0.5001), set()),
    ],
)
def test_data(data, check):
    assert findings(facts(header(), data=data)) == check


def test_unstated_statistics():
    assert findings(facts(header(rms=-1.0))) == {"D05"}


@pytest.mark.parametrize(
    ("low", "high", "mean", "rms", "expected"),
    [
        (0, -1, -2, -1, (None, None, None, None)),  # this package, mrcfile
        (-1, -2, -3, -1, (None, None, None, None)),  # cryoDRGN
        (2, 1, 0, -1, (None, None, None, None)),  # Direct Electron
        (1e38, -1e38, 0, -1, (None, None, None, None)),  # SerialEM
        (0, 0, 0, 0, (None, None, None, None)),  # Xmipp
        (0, 1, 0.5, 0, (0, 1, 0.5, None)),  # Chimera, which computes no RMS
        (5, 5, 5, 0, (5, 5, 5, 0)),  # a constant
        (0, 1, math.nan, 0.25, (0, 1, None, 0.25)),
        (0, math.inf, 0.5, 0.25, (None, None, None, 0.25)),
    ],
)
def test_stated_statistics(low, high, mean, rms, expected):
    stated = stated_statistics(header(dmin=low, dmax=high, dmean=mean, rms=rms))
    assert stated == StatedStatistics(*expected)


def test_the_table_itself():
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(check, Check) and check.title for check in CHECKS)
    assert {c.severity for c in CHECKS if c.id in ("H08", "H04")} == {"error"}
