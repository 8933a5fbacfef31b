"""The checks of facts that no file need be laid down for; tests/checking has one for each."""

import math

import pytest

from xarray_mrc.codec import checks
from xarray_mrc.codec.checks import Facts, reading_notes
from xarray_mrc.codec.extended import Extended, operator_counts
from xarray_mrc.codec.header import Header
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
    return {check.id for check in checks.CHECKS if check.severity and check.test(found)}


def header(**changes):
    return Header.blank().replace(**(SOUND | changes))


def test_a_sound_file_has_no_finding():
    assert findings(facts(header(), size=1024 + 96, data=statistics())) == set()


@pytest.mark.parametrize(
    ("exttyp", "check"),
    [(b"CCP4", "H26"), (b"FEI1", "H27"), (b"FEI2", "H27"), (b"SERI", "H28"), (b"AGAR", "H29"),
     (b"HDF5", "H38")],
)  # fmt: skip
def test_extended_headers(exttyp, check):
    problem = Extended("unknown", problem="it is none")
    found = facts(header(nsymbt=80, exttyp=exttyp), extended=problem)
    assert findings(found) == {check}
    assert reading_notes(found) == ["it is none"]


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


def test_operators_of_all_space_groups():
    gemmi = pytest.importorskip("gemmi")
    for setting in gemmi.spacegroup_table():
        count = len(list(setting.operations()))
        if setting.number > 1 and not count % len(list(setting.operations().sym_ops)):
            assert count in [*operator_counts(setting.number), 64]  # which no program writes
    for number in range(1, 231):
        standard = gemmi.find_spacegroup_by_number(number)
        assert len(list(standard.operations())) in operator_counts(number)
        assert len(standard.operations().sym_ops) == operator_counts(number)[0]
