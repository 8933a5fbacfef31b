"""What genuine files of many producers are found to be."""

from __future__ import annotations

import bz2
import gzip
import math
import struct
import warnings
from pathlib import Path

import pytest
from files import FILES, FOLDER
from mrcbytes import get

from xarray_mrc import MrcWarning, open_mrc, validate
from xarray_mrc.codec.checks import CHECKS

pytestmark = pytest.mark.corpus

OPENERS = {".gz": gzip.decompress, ".bz2": bz2.decompress}
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)

# Of old programs: no version, and a volume that is called an image stack.
CHIMERA = {"H06", "H15", "H17", "D05"}
MAESTRO = {"H03", "H06", "H12", "H15", "H17", "L02", "L03"}
KNOWN = {
    "ccpem_1ake_molmap45.mrc": CHIMERA,
    "ccpem_emd_21457_seg.mrc": CHIMERA,
    "cctbx_20_21_22_to_30_40_50.ccp4": {"H06", "L02"},
    "cctbx_D7.ccp4": {"H06"},
    "cctbx_mmma.ccp4": set(),
    "cctbx_tst_input.map": {"H06", "H25"},
    "czii_TS_run1.rec": set(),
    "czii_TS_run1.st": {"H50"},
    "czii_segmask.mrc": set(),
    "czii_signed_ints.mrc": set(),
    "czii_unsigned_ints.mrc": {"H22", "D07"},
    "deltavision_toxo.dv": {"H43"},
    "emdb_EMD-3001.map.bz2": {"H06", "H25"},
    "emdb_EMD-3197.map": {"H06"},
    "emdb_emd_3197.map.gz": {"H06"},
    "exiftool_MRC.mrc": {"S01", "H40", "H15", "H17", "D05"},
    "fei1_epu1.2_crop64.mrc": {"D05"},
    "fei2_epu2.9_crop64.mrc": {"D05"},
    "gemmi_5i55_tiny.ccp4": {"H06", "H25"},
    "gemmi_iota_yzx.ccp4.gz": {"H06", "H25", "D01"},
    "leginon_binned.mrc": set(),
    "leginon_holetemplate.mrc": {"H06", "D05"},
    "leginon_radpow.mrc": set(),
    "ngl_3pqr-mode0.ccp4": {"H06", "H31", "D01", "D07", "D02", "D03"},
    "ngl_3pqr.ccp4.gz": {"H06"},
    "pymol_h2o-elf-nstart-origin.mrc": MAESTRO | {"H36", "H23"},
    "pymol_h2o-elf-nstart-skwtrn.ccp4": MAESTRO | {"H42"},
}
INVALID = {
    "deltavision_toxo.dv", "exiftool_MRC.mrc", "pymol_h2o-elf-nstart-origin.mrc",
    "pymol_h2o-elf-nstart-skwtrn.ccp4",
}  # fmt: skip


def found(path: Path, **options: object) -> set[str]:
    return {finding.id for finding in validate(path, **options).findings}


@pytest.mark.parametrize("name", KNOWN)
def test_known_files(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in the corpus")
    report = validate(path)
    assert {finding.id for finding in report.findings} == KNOWN[name]
    assert bool(report) == (name not in INVALID)


@every_file
def test_against_its_own_bytes(path):
    raw = OPENERS.get(path.suffix, bytes)(path.read_bytes())
    ids = found(path)
    if "H43" in ids:
        pytest.skip("no MRC file")
    order = "<" if get(raw, "<", "mode") in range(7000) else ">"
    number = {name: get(raw, order, name) for name in ("nversion", "nlabl", "nsymbt")}
    labels = [raw[224 + 80 * i : 304 + 80 * i].strip(b" \0") for i in range(10)]
    assert ("H06" in ids) == (not 20140 <= number["nversion"] < 20500)
    assert ("H02" in ids) == (raw[208:211] != b"MAP")
    assert ("H33" in ids) == (raw[208:212] == b"MAP\0")
    stamps = (b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x11\x11\0\0")
    assert ("H03" in ids) == (raw[212:216] not in stamps)
    assert ("L01" in ids) == (not 0 <= number["nlabl"] <= 10)
    texts = [i for i, label in enumerate(labels) if label]
    assert ("L02" in ids) == (texts != list(range(number["nlabl"])))
    known = (b"CCP4", b"MRCO", b"SERI", b"AGAR", b"FEI1", b"FEI2", b"HDF5")
    assert ("H25" in ids) == (number["nsymbt"] > 0 and raw[104:108] not in known)
    is_image = get(raw, order, "ispg") == 0 and get(raw, order, "nz") == 1
    cell = struct.unpack_from(order + ("2f" if is_image else "3f"), raw, 40)
    assert ("H09" in ids) == any(v < 0 or not math.isfinite(v) for v in cell)
    assert ("H40" in ids) == (0 in cell)


@every_file
def test_only_errors_of_the_format_make_a_file_invalid(path):
    report = validate(path)
    errors = {f.id for f in report.findings if f.severity == "error"}
    # Rules of the format that a reader can't do without, H43 and C02 for what can't be opened.
    allowed = {"H01", "H02", "H03", "H04", "H05", "H07", "H08", "H09", "H11", "H14", "H19", "H24",
               "H27", "H44", "H46", "L01", "S01", "H43", "C02"}  # fmt: skip
    assert errors <= allowed
    assert bool(report) == (not errors)
    assert {check.id for check in CHECKS if check.severity == "error"} == allowed


@every_file
def test_headers_alone_find_no_other_thing(path):
    assert found(path, data=False) <= found(path)


@every_file
def test_the_reader_warns_of_what_is_found(path):
    report = validate(path, data=False)
    reading = {check.id for check in CHECKS if check.reading}
    texts = [finding.text for finding in report.findings if finding.id in reading]
    told = [text.partition("; edit_header(")[0] for text in texts]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MrcWarning)
        try:
            open_mrc(path)
        except ValueError:
            assert not report
            return
    message = "".join(str(warning.message) for warning in caught)
    assert message == (f"{path}: {'; '.join(told)}" if told else "")
