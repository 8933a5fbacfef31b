"""Genuine files of many producers, held against other readers and against their own bytes.

Whatever lies in the folder is tried: files that are named here are known in detail, of any other
the checks hold that need no knowledge of it. Each peer is asked only where it is right: mrcfile
and rosettasciio give the numbers as they are stored and know no axis order, rosettasciio takes all
bytes for unsigned, gemmi knows axis order and NSTART, but no ORIGIN and no big endian integers.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import struct
import warnings
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import gemmi
import mrcfile
import numpy as np
import pytest
import xarray as xr
from mrcbytes import decimals, get
from rsciio.mrc import file_reader

from xarray_mrc import MrcError, MrcFormatError, MrcTruncatedError, MrcWarning, read_header
from xarray_mrc.backend import MrcBackendEntrypoint

pytestmark = pytest.mark.corpus

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("XARRAY_MRC_CORPUS") or ROOT.parent / "shared" / "corpus")
OPENERS = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
NO_MRC = (".md", ".txt", ".json", ".csv")


def find_files() -> list[Path]:
    if not FOLDER.is_dir():
        return []
    found = sorted(path for path in FOLDER.iterdir() if path.is_file())
    return [path for path in found if path.suffix not in (*NO_MRC, ".zst")]


FILES = find_files()
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
every_plain_file = pytest.mark.parametrize(
    "path", [p for p in FILES if p.suffix not in OPENERS], ids=lambda path: path.name
)
every_compressed_file = pytest.mark.parametrize(
    "path", [p for p in FILES if p.suffix in OPENERS], ids=lambda path: path.name
)


def corpus_file(name: str) -> Path:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in the corpus")
    return path


def open_mrc(path: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine=MrcBackendEntrypoint, **options)


def open_quietly(path: Any, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MrcWarning)
        return open_mrc(path, **options)


def open_or_skip(path: Any) -> xr.Dataset:
    try:
        return open_quietly(path)
    except MrcError as error:
        pytest.skip(f"refused: {error}")


@dataclass(frozen=True)
class Told:
    """What a file's own bytes say, read with struct at the offsets of the format."""

    order: str
    n: tuple[int, int, int]
    m: tuple[int, int, int]
    axes: tuple[int, int, int]
    start: tuple[int, int, int]
    cella: tuple[float, float, float]
    cellb: tuple[float, float, float]
    mode: int
    ispg: int

    def to_zyx(self, stored: np.ndarray) -> np.ndarray:
        """Turn sections, rows and columns into z, y, x."""
        axes = self.axes[::-1]
        return stored.reshape(self.n[::-1]).transpose([axes.index(axis) for axis in (3, 2, 1)])

    def along(self, values: tuple[int, int, int]) -> tuple[int, int, int]:
        """Turn values by column, row and section into values along X, Y, Z."""
        x, y, z = (values[self.axes.index(axis)] for axis in (1, 2, 3))
        return (x, y, z)


@cache
def plain_bytes(path: Path) -> bytes:
    return OPENERS.get(path.suffix, bytes)(path.read_bytes())


def told(path: Path) -> Told:
    raw = plain_bytes(path)[:1024]
    order = "<" if get(raw, "<", "mode") in range(7000) else ">"

    def three(*names: str) -> Any:
        return tuple(get(raw, order, name) for name in names)

    axes = three("mapc", "mapr", "maps")
    return Told(
        order,
        three("nx", "ny", "nz"),
        three("mx", "my", "mz"),
        axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),
        three("nxstart", "nystart", "nzstart"),
        get(raw, order, "cella"),
        get(raw, order, "cellb"),
        get(raw, order, "mode"),
        get(raw, order, "ispg"),
    )


def volume_of(dataset: xr.Dataset) -> np.ndarray:
    """Give the data as z, y, x, whatever the kind is."""
    values = dataset.data.values
    return values.reshape(-1, *values.shape[-2:])


def assert_same(found: np.ndarray, stored: np.ndarray, file: Told) -> None:
    expected = file.to_zyx(stored)
    if file.mode == 0:  # peers do not agree with each other on the sign
        expected = np.ascontiguousarray(expected).astype(np.uint8)
        found = found.astype(np.uint8)
    assert found.shape == expected.shape
    assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


# Any file --------------------------------------------------------------------------------------


def open_or_say(path: Path) -> tuple[xr.DataArray | None, str]:
    try:
        return open_mrc(path).data.load(), ""
    except MrcError as error:
        return None, str(error)


@every_file
def test_opens_or_says_why_not(path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data, refusal = open_or_say(path)
    if data is None:
        assert refusal.startswith(f"{path}: ")
        assert len(refusal) > len(str(path)) + 40
        return
    assert [warning.category for warning in caught] in ([], [MrcWarning])
    assert all(str(warning.message).startswith(f"{path}: ") for warning in caught)
    file = told(path)
    assert math.prod(data.shape[-3:] if "rgb" not in data.dims else data.shape[:-1]) > 0
    assert data.size == math.prod(file.n) * {16: 3}.get(file.mode, 1) or file.mode in (0, 101)
    assert data.dtype.isnative
    for dim in set(data.dims) & {"x", "y", "z"}:
        assert data[dim].dtype.kind in "if"
        assert np.isfinite(data[dim]).all()
        assert (data[dim].diff(dim) > 0).all()
    for value in data.attrs.values():
        assert isinstance(value, str | int | float | list)
    assert read_header(path).raw == plain_bytes(path)[:1024]


@every_plain_file
def test_numbers_as_mrcfile_reads_them(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as mrc:
                stored = None if mrc.data is None else mrc.data.copy()
    except (ValueError, OSError) as error:
        pytest.skip(f"mrcfile: {error}")
    if stored is None:
        pytest.skip("mrcfile reads no data")
    assert_same(volume_of(dataset), stored, file)
    if file.mode != 0:
        assert dataset.data.dtype == stored.dtype.newbyteorder("=")


@every_plain_file
def test_numbers_as_rosettasciio_reads_them(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    if file.order == ">" or file.mode in (3, 12, 101):
        pytest.skip("rosettasciio knows neither big endian nor this mode")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.array(file_reader(str(path))[0]["data"])
    except (ValueError, KeyError, OSError) as error:
        pytest.skip(f"rosettasciio: {error}")
    assert_same(volume_of(dataset), stored, file)


def read_with_gemmi(path: Path) -> gemmi.Ccp4Map:
    file = told(path)
    if file.order == ">" and file.mode != 2:
        pytest.skip("gemmi reads big endian numbers wrong in this mode")
    try:
        return gemmi.read_ccp4_map(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        pytest.skip(f"gemmi: {error}")


@every_plain_file
def test_numbers_as_gemmi_reads_them(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    grid = read_with_gemmi(path).grid
    stored = np.array(grid.array).transpose(2, 1, 0)
    assert_same(volume_of(dataset).astype(np.float32), stored, file)


@every_file
def test_voxel_size_and_place_by_the_bytes(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    source = dataset.data.attrs["mrc_origin_source"]
    for axis, dim in enumerate("xyz"):
        if dim not in dataset.coords:
            continue
        positions = dataset[dim].values
        if not (file.m[axis] > 0 and 0 < file.cella[axis] < math.inf):
            assert positions.tolist() == list(range(len(positions)))
            assert "units" not in dataset[dim].attrs
            continue
        voxel = file.cella[axis] / file.m[axis]
        assert dataset[dim].attrs["units"] == "angstrom"
        steps = positions - positions[0]
        assert np.allclose(steps, np.arange(len(positions)) * voxel, rtol=2e-7, atol=1.1e-6)
        if source == "origin":
            if dataset.data.attrs.get("mrc_cell_angles") is None:
                head = plain_bytes(path)[:1024]
                first = abs(get(head, file.order, "origin")[axis])
                if head[208:211] != b"MAP" and not any(head[212:216]):  # before 2000: z, x, y
                    first = abs(struct.unpack_from(file.order + "3f", head, 208)[axis - 2])
                assert abs(positions[0]) == pytest.approx(first, rel=1e-7, abs=1e-6)
        else:
            first = file.along(file.start)[axis] if source == "nstart" else 0
            assert positions[0] == pytest.approx(first * voxel, rel=2e-7, abs=1e-6)


def is_in_gemmis_way(dataset: xr.Dataset, file: Told) -> bool:
    """Whether the file is a volume in a known cell that begins at NSTART."""
    return (
        dataset.data.dims == ("z", "y", "x")
        and dataset.data.attrs["mrc_origin_source"] != "origin"
        and min(file.m) > 0
        and min(file.cella) > 0
        and "mrc_origin" not in dataset.data.attrs
    )


@every_plain_file
def test_positions_as_gemmi_gives_them(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    if not is_in_gemmis_way(dataset, file):
        pytest.skip("gemmi would put it elsewhere")
    if file.order == ">" and file.mode != 2:
        pytest.skip("gemmi reads big endian numbers wrong in this mode")
    values = volume_of(dataset)
    ordered = read_with_gemmi(path)
    ordered.setup(math.nan, gemmi.MapSetup.ReorderOnly)
    assert np.array_equal(np.array(ordered.grid.array).transpose(2, 1, 0), values)
    # Spread over the whole cell by the axes and NSTART. Where the map is larger than the cell its
    # ends fall on its beginnings.
    ccp4 = read_with_gemmi(path)
    ccp4.setup(math.nan, gemmi.MapSetup.NoSymmetry)
    grid, cell = ccp4.grid, ccp4.grid.unit_cell
    first = file.along(file.start)
    is_inside = all(n <= m for n, m in zip(file.along(file.n), file.m, strict=True))
    random = np.random.default_rng(3)
    places = [tuple(random.integers(0, values.shape)) for _ in range(500)]
    for z, y, x in places:
        point = [first[0] + x, first[1] + y, first[2] + z]
        if is_inside:
            assert grid.get_value(*map(int, point)) == values[z, y, x]
        expected = cell.orthogonalize(gemmi.Fractional(*np.divide(point, file.m)))
        along = [float(dataset["xyz"[i]][k]) for i, k in enumerate((x, y, z))]
        found = cell.orthogonalize(gemmi.Fractional(*np.divide(along, file.cella)))
        assert found.dist(expected) < 2e-5


@every_compressed_file
def test_compressed_file_reads_as_its_content(path: Path) -> None:
    try:
        expected = open_quietly(plain_bytes(path)).load()
    except MrcError as error:
        with pytest.raises(type(error)):
            open_quietly(path).load()
        return
    found = open_quietly(path)
    assert found.data[..., -1, -1].equals(expected.data[..., -1, -1])  # the end first
    xr.testing.assert_identical(found.load(), expected)
    assert read_header(path) == read_header(plain_bytes(path))
    assert found.data.encoding["source"] == str(path)


@every_compressed_file
def test_compressed_numbers_as_mrcfile_reads_them(path: Path) -> None:
    dataset, file = open_or_skip(path), told(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as mrc:
                stored = None if mrc.data is None else mrc.data.copy()
    except (ValueError, OSError) as error:
        pytest.skip(f"mrcfile: {error}")
    if stored is None:
        pytest.skip("mrcfile reads no data")
    assert_same(volume_of(dataset), stored, file)


# Files that are known --------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What must come out of a file; voxel size and start along X, Y, Z as decimals."""

    kind: str
    shape: tuple[int, ...]
    dtype: str
    voxel: tuple[str, ...] = ()
    start: tuple[str, ...] = ("0", "0", "0")
    source: str = "none"
    space_group: int = 1


PYMOL_VOXEL = "0.150000047683715825"
CLEAN: dict[str, Known] = {
    "czii_TS_run1.rec": Known("volume", (10, 8, 6), "i1", ("13.48",) * 3),
    # Named like a tilt series, of space group 1, which mrcfile writes for any three dimensions.
    "czii_TS_run1.st": Known("image_stack", (4, 10, 20), "i1", ("5.678",) * 2),
    "czii_segmask.mrc": Known("volume", (4, 4, 4), "f4", ("14.08",) * 3),
    "czii_signed_ints.mrc": Known("volume", (4, 4, 4), "i1", ("14.08",) * 3),
    # NVERSION 20141 declares the standard, in which bytes are signed.
    "czii_unsigned_ints.mrc": Known("volume", (4, 4, 4), "i1", ("14.08",) * 3),
    # Before 2000: zorg, xorg, yorg in place of MAP, and position = index * voxel - origin.
    "imod_pre2000_rec3D.rec": Known(
        "volume",
        (78, 64, 32),
        "u1",
        ("23.19995", "23.19995", "23.2"),
        ("0", "0", "-4640"),
        "origin",
        0,
    ),
    "emdb_EMD-3197.map": Known(
        "volume", (20, 20, 20), "f4", ("11.4",) * 3, ("-22.8", "0", "0"), "nstart"
    ),
    "emdb_emd_3197.map.gz": Known(
        "volume", (20, 20, 20), "f4", ("11.4",) * 3, ("-22.8", "0", "0"), "nstart"
    ),
    # Columns along Y, rows along Z, sections along X: n (1, 2, 4), NSTART (20, -3, 1).
    "gemmi_iota_yzx.ccp4.gz": Known(
        "volume", (2, 1, 4), "f4", ("30", "22", "20"), ("30", "440", "-60"), "nstart"
    ),
    "leginon_binned.mrc": Known("image", (128, 128), "f4", ("1", "1"), space_group=0),
    "leginon_radpow.mrc": Known("image", (1, 256), "f4", ("1", "1"), space_group=0),
    "leginon_holetemplate.mrc": Known(
        "image", (200, 200), "f4", ("4.66667",) * 2, ("-466.667",) * 2, "nstart", 0
    ),
    # Columns along Y, rows along X; ORIGIN and NSTART both set, and ORIGIN goes first. The cell
    # is 6.000002, four units in the last place above 40 times 0.15: the voxel size is the quotient.
    "pymol_h2o-elf-nstart-origin.mrc": Known(
        "volume", (40, 40, 40), "f4", (PYMOL_VOXEL,) * 3, ("1.2", "3.4", "5.6"), "origin", 0
    ),
    "pymol_h2o-elf-nstart-skwtrn.ccp4": Known(
        "volume",
        (40, 40, 40),
        "f4",
        (PYMOL_VOXEL,) * 3,
        tuple(str(n * Decimal(PYMOL_VOXEL)) for n in (4, 3, 5)),
        "nstart",
        0,
    ),
}
# Positions that are no short decimals: they are checked by the bytes above.
OTHERS: dict[str, Known] = {
    # Space group 0 with MZ = NZ, as Chimera writes volumes.
    "ccpem_1ake_molmap45.mrc": Known("volume", (49, 46, 48), "f4", source="origin", space_group=0),
    "ccpem_emd_21457_seg.mrc": Known("volume", (47, 40, 48), "f4", source="origin", space_group=0),
    "cctbx_20_21_22_to_30_40_50.ccp4": Known("volume", (29, 20, 11), "f4", source="nstart"),
    "cctbx_D7.ccp4": Known("volume", (45, 45, 45), "f4"),
    "cctbx_mmma.ccp4": Known("volume", (33, 42, 32), "f4", source="nstart"),
    "cctbx_tst_input.map": Known("volume", (16, 8, 16), "f4", space_group=5),
    "emdb_EMD-3001.map.bz2": Known("volume", (73, 25, 43), "f4", source="nstart", space_group=4),
    "fei1_epu1.2_crop64.mrc": Known("image", (64, 64), "u2", space_group=0),
    "fei2_epu2.9_crop64.mrc": Known("image", (64, 64), "u2", space_group=0),
    "gemmi_5i55_tiny.ccp4": Known("volume", (10, 8, 6), "f4", source="nstart", space_group=4),
    "ngl_3pqr-mode0.ccp4": Known("volume", (59, 69, 100), "i1", source="nstart", space_group=155),
    "ngl_3pqr.ccp4.gz": Known("volume", (59, 69, 100), "f4", source="nstart", space_group=155),
}
DIMS = {"image": ("y", "x"), "image_stack": ("image", "y", "x"), "volume": ("z", "y", "x")}


@pytest.mark.parametrize(("name", "known"), (CLEAN | OTHERS).items(), ids=(CLEAN | OTHERS).keys())
def test_known_file(name: str, known: Known) -> None:
    data = open_quietly(corpus_file(name)).data
    assert data.attrs["mrc_kind"] == known.kind
    assert data.dims == DIMS[known.kind]
    assert data.shape == known.shape
    assert data.dtype == known.dtype
    assert data.attrs["mrc_origin_source"] == known.source
    assert data.attrs["mrc_space_group"] == known.space_group
    for dim, voxel, start in zip("xyz", known.voxel, known.start, strict=False):
        assert data[dim].values.tolist() == decimals(start, voxel, data.sizes[dim])
        if data.sizes[dim] > 1:
            assert data.mrc.voxel_size[dim] == float(voxel)


def test_one_voxel_size_of_one_map() -> None:
    # Chimera computes in float32: the cell of 40 voxels is one unit in the last place below 42.
    found = read_header(corpus_file("ccpem_emd_21457_seg.mrc"))
    assert found.cella[1] == np.nextafter(np.float32(42), np.float32(0))
    assert found.voxel_size == (1.05, 1.05, 1.05)


# The rest of the known files opens silently: the stamp says little endian or nothing, the axes are
# a permutation, cell lengths, ORIGIN and NSTART are sound, and the size is that of header and data.
WARNED = {
    # Signed by NVERSION, against a greatest density of 255.
    "czii_unsigned_ints.mrc": ("255", "signed=False"),
    # -128 and 127 at bytes 156 and 160, where IMOD's flags would be if its stamp were at 152.
    "ngl_3pqr-mode0.ccp4": ("mapmode2to0", "density ="),
    # LSKFLG is 1, and the translation behind it is that of the ORIGIN of its sister file.
    "pymol_h2o-elf-nstart-skwtrn.ccp4": ("skew transformation", "1.2", "3.4", "5.6"),
}


@pytest.mark.parametrize("name", [*CLEAN, *OTHERS])
def test_what_is_said(name: str) -> None:
    path = corpus_file(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_mrc(path).load()
    assert len(caught) == (name in WARNED)
    for word in WARNED.get(name, ()):
        assert word in str(caught[0].message)


def test_deltavision_is_refused_by_name() -> None:
    path = corpus_file("deltavision_toxo.dv")
    for opener in (open_mrc, read_header):
        with pytest.raises(MrcFormatError, match="DeltaVision"):
            opener(path)


def test_header_without_data() -> None:
    path = corpus_file("exiftool_MRC.mrc")
    message = r"4096 x 4096 x 2 pixels in mode 6, .* 67108864 bytes from byte 2560, .* only 0 there"
    for truncated in ("raise", "sections"):
        with pytest.raises(MrcTruncatedError, match=message):
            open_mrc(path, truncated=truncated)
    assert read_header(path).n == (4096, 4096, 2)


def test_map_scaled_to_bytes_is_the_map() -> None:
    # The same map as bytes and as floats: the formula in the warning leads from one to the other.
    path = corpus_file("ngl_3pqr-mode0.ccp4")
    with pytest.warns(MrcWarning, match="density") as caught:
        scaled = open_mrc(path)
    formula = str(caught[0].message).split("density = ")[1]
    slope, base = (float(part.split(" ")[0]) for part in formula.split("+ "))
    exact = open_mrc(corpus_file("ngl_3pqr.ccp4.gz"))
    difference = scaled.data.astype("f8") * slope + base - exact.data
    assert difference.sizes == exact.data.sizes
    assert float(abs(difference).max()) < 0.5001 * slope
    for dim in "xyz":
        assert scaled[dim].identical(exact[dim])


def test_one_map_in_two_files() -> None:
    plain = open_mrc(corpus_file("emdb_EMD-3197.map"))
    packed = open_mrc(corpus_file("emdb_emd_3197.map.gz"))
    assert plain.data.equals(packed.data)
    origin = open_mrc(corpus_file("pymol_h2o-elf-nstart-origin.mrc"), origin="nstart")
    with pytest.warns(MrcWarning, match="a skew transformation is set"):
        skewed = open_mrc(corpus_file("pymol_h2o-elf-nstart-skwtrn.ccp4"))
    assert origin.data.equals(skewed.data)


def test_axes_of_the_file_without_a_readable_stamp() -> None:
    # mrcfile and gemmi refuse its stamp; rosettasciio reads it, sections, rows and columns.
    path = corpus_file("pymol_h2o-elf-nstart-origin.mrc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = np.array(file_reader(str(path))[0]["data"])
    data = open_mrc(path).data
    assert data.attrs["mrc_axes"] == [2, 1, 3]
    assert np.array_equal(data.values, stored.transpose(0, 2, 1))
    assert not np.array_equal(data.values, stored)


def test_symmetry_of_known_files() -> None:
    for name, operators in (
        ("cctbx_tst_input.map", "X,Y,Z\n-X,Y,-Z\nX+1/2,Y+1/2,Z\n-X+1/2,Y+1/2,-Z"),
        ("gemmi_5i55_tiny.ccp4", "X,Y,Z\n-X,Y+1/2,-Z"),
    ):
        attrs = open_mrc(corpus_file(name)).data.attrs
        assert attrs["mrc_symmetry"] == operators
        group = gemmi.find_spacegroup_by_number(attrs["mrc_space_group"])
        expected = {op.triplet() for op in group.operations()}
        assert {gemmi.Op(line).triplet() for line in operators.split("\n")} == expected
