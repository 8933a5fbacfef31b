"""What the classes promise to their users and to classes made from them."""

from __future__ import annotations

import copy
import gc
import gzip
import importlib
import io
import pickle
import pkgutil
import struct
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mrcbytes import get, lay, put

from xarray_mrc import mrcfile
from xarray_mrc.mrcfile.future_mrcfile import FutureMrcFile
from xarray_mrc.mrcfile.mrcinterpreter import MrcInterpreter
from xarray_mrc.mrcfile.mrcobject import MrcObject


@pytest.fixture
def mrc():
    made = MrcObject()
    made._create_default_attributes()
    return made


def test_identity(mrc):
    data, extended, header = np.zeros((2, 3, 4), "i2"), np.zeros(3), mrc.header
    mrc.set_data(data)
    mrc.set_extended_header(extended)
    assert mrc.data is data
    assert mrc.extended_header is extended
    assert mrc.header is header
    mrc.set_data(data.astype(">i2"))
    assert mrc.header is header
    assert header.nx.dtype.byteorder == ">"
    assert header.nx == 4
    assert bytes(header.machst) == b"\x11\x11\0\0"


def test_edits_after_set_data_go_to_the_file_and_not_to_the_statistics(tmp_path):
    """As in mrcfile: the array is kept, not copied."""
    path = tmp_path / "new.mrc"
    data = np.ones((2, 3), "f4")
    with mrcfile.new(path, data) as mrc:
        data[0, 0] = 5
    assert mrcfile.read(path)[0, 0] == 5
    with mrcfile.open(path) as mrc:
        assert mrc.header.dmax == 1


real = st.sampled_from(["i1", "i2", "u2", "f4", ">i2", ">f4", "f2"])
arrays = real.flatmap(
    lambda code: hnp.arrays(
        code,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=None if "f" not in code else {"allow_nan": False, "allow_infinity": False},
    )
)


@given(arrays)
def test_statistics_are_right(data):
    mrc = MrcObject()
    mrc._create_default_attributes()
    mrc.set_data(data)
    exact = data.astype("f8")
    assert mrc.header.dmin == exact.min()
    assert mrc.header.dmax == exact.max()
    scale = max(abs(float(exact.min())), abs(float(exact.max())))
    assert float(mrc.header.dmean) == pytest.approx(
        exact.mean(), rel=1e-5, abs=1e-6 * scale + 1e-44
    )
    assert float(mrc.header.rms) == pytest.approx(exact.std(), rel=1e-5, abs=1e-6 * scale + 1e-44)


def test_data_that_are_no_plain_array(mrc):
    values = np.array([[1, 2], [3, 6]], "f4")
    masked = np.ma.masked_array(values, [[1, 0], [0, 0]])
    for data in (masked, xr.DataArray(values), values.view(np.matrix), np.asfortranarray(masked)):
        mrc.set_data(data)
        assert type(mrc.data) is np.ndarray
        assert mrc.data.tolist() == values.tolist()
        assert (mrc.header.dmin, mrc.header.dmean) == (1, 3)


def test_statistics_beyond_float32s_squares(mrc):
    mrc.set_data(np.array([[1e20, -1e20]], "f4"))
    assert float(mrc.header.rms) == pytest.approx(1e20)
    mrc.set_data(np.full((300, 300), 60_000, "f2"))
    assert (mrc.header.dmean, mrc.header.rms) == (60_000, 0)
    assert mrc.validate()


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        ([1, np.nan, 3], "NaN", (np.nan,) * 4),
        ([1, np.inf, 3], "infinite", (1, np.inf, np.inf, np.nan)),
        ([1, np.inf, -np.inf], "infinite", (-np.inf, np.inf, np.nan, np.nan)),
        ([np.nan, np.inf, 3], "NaN", (np.nan,) * 4),
    ],
)
def test_statistics_of_what_is_not_finite(mrc, values, text, expected):
    with pytest.warns(RuntimeWarning, match=f"^Data array contains {text} values$") as caught:
        mrc.set_data(np.array([values], "f4"))
    assert len(caught) == 1
    stated = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    np.testing.assert_equal(stated, expected)


def test_statistics_of_complex_data(mrc):
    mrc.set_data(np.array([[1 + 1j, 3 - 1j]], "c8"))
    assert float(mrc.header.rms) == pytest.approx(2**0.5)
    assert [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean")] == [0, -1, -2]


def test_set_data_makes_no_copy_to_measure(mrc):
    data = np.ones((128, 256, 256), ">f4")
    tracemalloc.start()
    mrc.set_data(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < data.nbytes / 8


def test_labels(mrc):
    for number in range(1, 10):
        mrc.add_label(f"label {number}")
    assert mrc.get_labels()[1:] == [f"label {number}" for number in range(1, 10)]
    with pytest.raises(IndexError):
        mrc.add_label("one more")
    mrc.header.nlabl = -1
    with pytest.raises(IndexError):
        mrc.add_label("before the first")
    assert mrc.get_labels() == []


def records(count: int, size: int = 768) -> np.ndarray:
    raw = bytearray(count * size)
    for i in range(count):
        struct.pack_into("<ii", raw, i * size, size, 0)
        struct.pack_into("<d", raw, i * size + 100, 3.5 * i)
    return np.frombuffer(raw, "V1")


def test_indexed_extended_header(mrc):
    mrc.set_data(np.zeros((3, 2, 2), "i1"))
    mrc.set_extended_header(records(5).copy())
    assert mrc.indexed_extended_header is None
    mrc.header.exttyp = b"FEI1"
    found = mrc.indexed_extended_header
    assert found["Alpha tilt"].tolist() == [0, 3.5, 7]
    found["Alpha tilt"][1] = 9
    assert mrc.indexed_extended_header["Alpha tilt"][1] == 9
    for exttyp in (b"CCP4", b"XXXX", b"\xff\xfe\0\0"):
        mrc.header.exttyp = exttyp
        assert mrc.indexed_extended_header is None


@pytest.mark.parametrize(
    ("raw", "sections", "exttyp"),
    [
        (records(2), 3, b"FEI1"),
        (records(3), 3, b"FEI2"),
        (np.zeros(0, "V1"), 1, b"FEI1"),
        (np.zeros(5000, "V1"), 3, b"FEI1"),
        (records(3), 2**31 - 1, b"FEI1"),
    ],
)
def test_indexed_extended_header_of_something_else(mrc, raw, sections, exttyp):
    mrc.set_extended_header(raw)
    mrc.header.exttyp = exttyp
    mrc.header.nz = sections
    text = (
        f"^The header has exttyp '{exttyp}' but the extended header cannot be interpreted "
        f"as that type$"
    )
    with pytest.warns(RuntimeWarning, match=text):
        assert mrc.indexed_extended_header is None


def test_interpreter_reads_from_where_the_stream_is():
    laid = lay("int16", extended=b"extended")
    stream = io.BytesIO(b"before" + laid.raw)
    stream.seek(6)
    with MrcInterpreter(stream) as mrc:
        assert (mrc.data == laid.pixels).all()
        mrc.header.ispg = 5
    assert stream.getvalue() == b"before" + put(laid.raw, "<", ispg=5)


@pytest.mark.parametrize("step", ["data", "extended header"])
def test_interpreter_keeps_what_it_did_not_read(step):
    laid = lay("int16", extended=b"extended")
    stream = io.BytesIO(laid.raw + b"extended_head")
    with warnings.catch_warnings(record=True), MrcInterpreter(stream, header_only=True) as mrc:
        if step == "data":
            mrc.header.ispg = 3
        else:
            mrc.set_extended_header(np.zeros(2, "u1"))
    raw = stream.getvalue()
    extended_head = laid.raw[1032:] + b"extended_head"
    assert raw[1024:] == (b"extended" if step == "data" else bytes(2)) + extended_head


class Pipe(io.RawIOBase):
    """A stream without places to go to, which gives little at a time."""

    def __init__(self, raw: bytes) -> None:
        self.rest = io.BytesIO(raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer):
        return self.rest.readinto(memoryview(buffer)[:10_000])


def test_interpreter_of_what_can_only_be_read(tmp_path):
    """The arrays belong to the caller; only writing to the stream is refused."""
    path = tmp_path / "a.mrc"
    pixels = np.arange(24, dtype="f4").reshape(2, 3, 4)
    path.write_bytes(lay("float32", lengths=(4, 3, 2)).raw[:1024] + pixels.tobytes())
    before = path.read_bytes()
    with path.open("rb") as file:
        mrc = MrcInterpreter(file)
    data = mrc.data
    data -= data.mean()
    mrc.voxel_size = 2.5
    mrc.set_data(data[:1])
    assert mrc.voxel_size.x == 2.5
    assert data.mean() == 0
    mrc.close()  # nothing can be written to a stream that is closed
    assert mrc.data is None
    with path.open("rb") as file:
        MrcInterpreter(file).close()
        file.seek(0)
        for change in ("mrc.header.ispg = 3", "mrc.data[:] = 1", "mrc.set_data(mrc.data[:1])"):
            mrc = MrcInterpreter(file)
            exec(change)
            for write in (mrc.flush, mrc.close):
                with pytest.raises(io.UnsupportedOperation, match="write"):
                    write()
            file.seek(0)
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_deleting_an_interpreter_reads_nothing_from_a_stream_that_cannot_be_written(tmp_path):
    class Counting(io.BytesIO):
        def writable(self):
            return False

        def readinto(self, buffer):
            reads.append(len(buffer))
            return super().readinto(buffer)

    reads = []
    mrc = MrcInterpreter(Counting(lay("int16").raw))
    mrc.data[:] = 1
    reads.clear()
    del mrc
    assert not reads


def test_an_interpreter_that_cannot_read_writes_nothing(tmp_path):
    """Deleting the object that failed would leave nothing but a header in the file."""
    path = tmp_path / "a.mrc"
    laid = lay("int16", extended=b"extended")
    for raw in (laid.raw[:-3], put(laid.raw, "<", mode=3), put(laid.raw, "<", nx=-1)):
        path.write_bytes(raw)
        with path.open("rb+") as file:
            with pytest.raises(ValueError, match=r"data block|mode"):
                MrcInterpreter(file)
            gc.collect()
        assert path.read_bytes() == raw


def test_reading_again_what_is_not_written_yet(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("int16").raw)
    with mrcfile.mmap(path, "r+") as mrc:
        mrc.set_data(np.ones((9, 9), "f4"))
        mrc._read()
        assert mrc.data.sum() == 81
    assert mrcfile.read(path).sum() == 81


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_close_of_a_file_whose_stream_is_closed(tmp_path, compression, mode):
    """Nothing is written, as in mrcfile."""
    path = tmp_path / "a.mrc"
    mrcfile.new(path, np.ones((2, 3), "i2"), compression).close()
    before = path.read_bytes()
    mrc = mrcfile.open(path, mode)
    if mode == "r+":
        mrc.data[:] = 5
    mrc._iostream.close()
    for use in (mrc._read, *([mrc.flush] if mode == "r+" else [])):
        with pytest.raises(ValueError, match="closed file"):
            use()
    mrc.close()
    mrc.close()
    assert mrc.header is None
    assert path.read_bytes() == before


def test_interpreter_of_a_pipe():
    laid = lay("float32", lengths=(600, 500, 3))  # more than is set aside at first
    assert MrcInterpreter(Pipe(laid.raw)).data.tobytes() == laid.pixels.tobytes()
    huge = put(laid.raw, "<", nx=30_000, ny=30_000, nz=30_000)
    with pytest.raises(ValueError, match=f"could only read {laid.pixels.nbytes}"):
        MrcInterpreter(Pipe(huge))


def test_interpreter_of_what_can_only_be_written(tmp_path):
    path = tmp_path / "a.mrc"
    with path.open("wb") as file, MrcInterpreter() as mrc:
        mrc._iostream = file
        mrc._create_default_attributes()
        mrc.set_data(np.ones((2, 3), "i2"))
        mrc.flush()
        mrc.header.nxstart = 7
        mrc.data[:] = 5
        mrc.flush()
    with mrcfile.open(path) as mrc:
        assert mrc.header.nxstart == 7
        assert (mrc.data == 5).all()


def test_a_subclass_whose_stream_has_no_readinto():
    class Reader:
        closed = False

        def __init__(self, raw):
            self.raw = io.BytesIO(raw)
            self.seek, self.tell = self.raw.seek, self.raw.tell

        def read(self, nbytes):
            return self.raw.read(nbytes)

    class Mine(MrcInterpreter):
        def _read_bytearray_from_stream(self, number_of_bytes):
            found = bytearray(self._iostream.read(number_of_bytes))
            return found, len(found)

    laid = lay("int16", extended=b"extended")
    mrc = Mine(Reader(laid.raw))
    assert (mrc.data == laid.pixels).all()
    assert mrc.extended_header.tobytes() == b"extended"
    assert mrc.data.flags.writeable
    with pytest.raises(ValueError, match="could only read"):
        Mine(Reader(laid.raw[:-1]))


def test_hooks_of_subclasses(tmp_path):
    calls = []

    class Mine(mrcfile.mrcfile.MrcFile):
        def _read_header(self):
            calls.append("header")
            super()._read_header()

        def _read_extended_header(self):
            calls.append("extended header")
            super()._read_extended_header()

        def _read_data(self, max_bytes=0):
            calls.append("data")
            super()._read_data(max_bytes)

        def _set_new_data(self, data):
            calls.append("new data")
            super()._set_new_data(data)

        def _check_writeable(self):
            calls.append("check")
            super()._check_writeable()

    with Mine(tmp_path / "new.mrc", mode="w+") as mrc:
        mrc.set_data(np.zeros((2, 3), "i1"))
    assert calls[:3] == ["new data", "check", "new data"]
    calls.clear()
    with Mine(tmp_path / "new.mrc") as mrc:
        assert mrc._read_only
        assert mrc._iostream.name.endswith("new.mrc")
        mrc._read()
    assert calls == ["header", "extended header", "data"] * 2


def test_a_subclass_that_opens_another_stream(tmp_path):
    class Zipped(mrcfile.mrcfile.MrcFile):
        def _open_file(self, name):
            self._iostream = zipfile.ZipFile(name).open("a.mrc")  # noqa: SIM115

    mrcfile.write(tmp_path / "a.mrc", np.full((2, 3), 5, "i1"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.mrc", "a.mrc")
    with Zipped(tmp_path / "a.zip") as mrc:
        assert (mrc.data == 5).all()


@pytest.mark.parametrize("module", ["mrcfile.MrcFile", "mrcmemmap.MrcMemmap"])
def test_a_subclass_that_opens_the_file_by_its_mode(tmp_path, module):
    """As mrcfile does it, with the mode that truncates an old file."""
    room, name = module.split(".")

    class Mine(getattr(getattr(mrcfile, room), name)):
        def _open_file(self, name):
            self._iostream = open(name, self._mode + "b")  # noqa: SIM115

    path, values = tmp_path / "a.mrc", np.arange(6, dtype="i2").reshape(2, 3)
    for overwrite in (False, True):
        with Mine(path, "w+", overwrite=overwrite) as mrc:
            mrc.set_data(values)
            mrc.flush()
            mrc.header.nxstart = 7
        with mrcfile.open(path) as mrc:
            assert (mrc.data == values).all()
            assert mrc.header.nxstart == 7
    with Mine(path, "r+") as mrc:
        mrc.set_data(np.tile(values, (3, 1)))
        mrc.set_extended_header(np.zeros(5, "u1"))
    assert (mrcfile.read(path) == np.tile(values, (3, 1))).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc"]


def test_a_subclass_that_writes_through_its_own_stream(tmp_path):
    class Flipped(io.BytesIO):
        def __init__(self, path):
            super().__init__(bytes(255 - byte for byte in path.read_bytes()))
            self.path = path

        def close(self):
            if not self.closed:
                self.path.write_bytes(bytes(255 - byte for byte in self.getvalue()))
            super().close()

    class Mine(mrcfile.mrcfile.MrcFile):
        def _open_file(self, name):
            self._iostream = Flipped(Path(name))

    path = tmp_path / "a.mrc"
    with Mine(path, "w+") as mrc:
        mrc.set_data(np.arange(6, dtype="i1").reshape(2, 3))
    assert bytes(255 - byte for byte in path.read_bytes())[1024:] == bytes(range(6))
    with Mine(path, "r+") as mrc:
        mrc.data[0, 0] = 9
        mrc.set_extended_header(np.full(2, 7, "u1"))
    assert bytes(255 - byte for byte in path.read_bytes())[1024:] == bytes([7, 7, 9, 1, 2, 3, 4, 5])


def test_room_made_in_a_new_mapped_file(tmp_path):
    """As programs do it that are older than `new_mmap`."""
    path = tmp_path / "a.mrc"
    with mrcfile.mmap(path, "w+") as mrc:
        mrc._open_memmap(np.float32, (2, 3, 4))
        mrc.update_header_from_data()
        mrc.data[1] = 5
    assert mrcfile.read(path).sum() == 60
    with (
        mrcfile.mmap(path, "r+") as mrc,
        pytest.raises(ValueError, match="already has content, but this call is for a new file"),
    ):
        mrc._open_memmap(np.float32, (3, 4))
    assert mrcfile.read(path).sum() == 60


def test_open_uses_the_classes(tmp_path, monkeypatch):
    path = tmp_path / "a.mrc.gz"
    mrcfile.write(path, np.zeros((2, 3), "i1"))

    def fail(*_args, **_kwargs):
        raise OSError("not today")

    monkeypatch.setattr(mrcfile.gzipmrcfile.GzipMrcFile, "__init__", fail)
    with pytest.raises(OSError, match="not today"):
        mrcfile.open(path)


def test_paths(tmp_path):
    path = tmp_path / "a.mrc"
    mrcfile.write(path, np.zeros((2, 3), "i1"))
    (entry,) = __import__("os").scandir(tmp_path)
    for name in (path, str(path), entry, str(path).encode()):
        assert mrcfile.read(name).shape == (2, 3)


def test_big_endian_bytes_with_a_stamp_of_the_other_order(tmp_path):
    """The mode, 0, is the same in both orders; mrcfile expects 10**23 bytes then."""
    laid = lay("int8", order=">")
    path = tmp_path / "a.mrc"
    path.write_bytes(put(laid.raw, ">", machst=b"\x44\x44\0\0"))
    with pytest.raises(ValueError, match=r"^Expected .* bytes in data block but limit is"):
        mrcfile.open(path)
    text = "^Machine stamp '0x44 0x44 0x00 0x00' does not match the apparent byte order '>'$"
    with pytest.warns(RuntimeWarning, match=text):
        assert (mrcfile.read(path) == laid.pixels).all()


@pytest.mark.parametrize("mz", [0, 3, -1])
def test_a_volume_stack_that_does_not_divide(tmp_path, mz):
    path = tmp_path / "a.mrc"
    laid = lay("int8", "volume_stack", volumes=2)
    path.write_bytes(laid.with_fields(mz=mz))
    with pytest.warns(RuntimeWarning, match=f"not a multiple of mz = {mz}: the data are"):
        data = mrcfile.read(path)
    assert data.tobytes() == laid.pixels.tobytes()
    assert data.ndim == 3


@pytest.mark.parametrize("opener", ["open", "mmap"])
@pytest.mark.parametrize(
    "fields", [{"nx": -4}, {"ny": -1, "nz": -1}, {"nsymbt": -8}, {"nx": 0}], ids=str
)
def test_impossible_lengths(tmp_path, fields, opener):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("int16").with_fields(**fields))
    name = next(iter(fields))
    text = f"Header field '{name}' is (negative|zero)"
    with pytest.raises(ValueError, match=text):
        getattr(mrcfile, opener)(path)
    with pytest.warns(RuntimeWarning, match=text):
        mrc = getattr(mrcfile, opener)(path, permissive=True)
    assert mrc.data is None
    assert mrc.header[name] == fields[name]
    with (
        pytest.warns(RuntimeWarning, match=text),
        pytest.raises(ValueError, match="cannot be read"),
    ):
        mrcfile.read(path)


def test_a_claim_is_held_against_the_file_before_memory_is_set_aside(tmp_path):
    plain, packed = tmp_path / "a.mrc", tmp_path / "a.mrc.gz"
    for fields in ({"nsymbt": 2**31 - 1}, {"nx": 30_000, "ny": 30_000}):
        raw = lay("int16").with_fields(**fields)
        plain.write_bytes(raw)
        packed.write_bytes(gzip.compress(raw))
        for path in (plain, packed):
            tracemalloc.start()
            with pytest.raises(ValueError, match=r"^Expected .* bytes in"):
                mrcfile.open(path)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 2**24


DAMAGES = {
    "cut off": lambda raw: raw[:-20],
    "no checksum": lambda raw: raw[:-8],
    "wrong checksum": lambda raw: raw[:-8] + bytes(4) + raw[-4:],
    "garbled": lambda raw: raw[:600] + bytes(50) + raw[650:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_gzip(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 999, (40, 50), np.int16)
    mrcfile.write(tmp_path / "a.mrc", noise)
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(DAMAGES[damage](gzip.compress((tmp_path / "a.mrc").read_bytes())))
    for expected in (ValueError, OSError, EOFError):
        with pytest.raises(expected):
            mrcfile.open(path)
    with pytest.warns(RuntimeWarning) as caught:
        mrc = mrcfile.open(path, permissive=True)
    assert len(caught) == 1
    assert mrc.header.nx == 50
    assert mrc.data is None or (mrc.data == noise).all()
    assert (mrc.data is None) == (damage != "no checksum")


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_bytes_behind_a_stream_are_said_each_time(tmp_path, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    mrcfile.write(path, np.ones((2, 3), np.int16))
    path.write_bytes(path.read_bytes() + b"no stream")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match=r"^The last 9 bytes of the file are not "):
            assert mrcfile.open(path).data.shape == (2, 3)
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        is_valid = mrcfile.validate(path, text)
    # mrcfile does not read a gzip file like this, but one of bzip2.
    assert is_valid == (suffix == ".bz2")
    assert ("the last 9 bytes of the file are not gzip data" in text.getvalue()) != is_valid


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
def test_open_files_are_not_copied(tmp_path, compression):
    """Two objects would write to one file."""
    with mrcfile.new(tmp_path / "a.mrc", np.ones((2, 3), np.int16), compression) as mrc:
        for call in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                call(mrc)


def test_an_extended_header_without_bytes(mrc):
    mrc.set_extended_header(np.arange(3))
    with pytest.raises(ValueError, match="dtype 'object' has no bytes"):
        mrc.set_extended_header(np.array([None]))
    assert mrc.header.nsymbt == 24


def test_what_is_not_compressed(tmp_path):
    (tmp_path / "a").write_bytes(b"no container")
    for permissive in (False, True):
        with pytest.raises(gzip.BadGzipFile, match=r"^Not a gzipped file \(b'no'\)$"):
            mrcfile.gzipmrcfile.GzipMrcFile(tmp_path / "a", permissive=permissive)
        with pytest.raises(OSError, match=r"^Invalid data stream$"):
            mrcfile.bzip2mrcfile.Bzip2MrcFile(tmp_path / "a", permissive=permissive)


def test_new_mmap(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new_mmap(
        path, (3, 4, 5), 2, fill=1.5, extended_header=np.zeros(3072, "u1"), exttyp="FEI1"
    ) as mrc:
        assert path.stat().st_size == 1024 + 3072 + 240
        assert mrc.header.exttyp == b"FEI1"
        assert mrc.header.dmax < mrc.header.dmin
        kept = mrc.data
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1
    assert (mrcfile.read(path) == 1.5).all()
    with pytest.raises(ValueError, match="already exists"):
        mrcfile.new_mmap(path, (3, 4))
    with mrcfile.new_mmap(path, (0, 4), overwrite=True) as mrc:
        assert mrc.data.shape == (0, 4)
    assert path.stat().st_size == 1024


def test_a_large_sparse_file(tmp_path):
    """More than 4 GiB, in which numbers of 32 bits overflow."""
    path = tmp_path / "a.mrc"
    with mrcfile.new_mmap(path, (2, 40_000, 60_000), 0) as mrc:
        mrc.data[1, -1, -1] = 5
    assert path.stat().st_size == 1024 + 2 * 40_000 * 60_000
    with mrcfile.mmap(path) as mrc:
        assert mrc.data[1, -1, -1] == 5


def test_future():
    entered, go = threading.Event(), threading.Event()

    def slow(*args, **kwargs):
        entered.set()
        go.wait(30)
        return args, kwargs

    future = FutureMrcFile(slow, (1, 2), {"a": 3})
    entered.wait(30)
    assert (future.running(), future.done()) == (True, False)
    assert (future.cancel(), future.cancelled()) == (False, False)
    for ask in (future.result, future.exception):
        with pytest.raises(RuntimeError, match=r"^Timed out waiting for result$"):
            ask(0.001)
        with pytest.raises(TimeoutError):
            ask(timeout=0)
    with pytest.raises(NotImplementedError):
        future.add_done_callback(print)
    go.set()
    assert future.result(30) == ((1, 2), {"a": 3})
    assert (future.running(), future.done()) == (False, True)
    failed = FutureMrcFile(lambda: 1 / 0)
    assert isinstance(failed.exception(30), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        failed.result()


def test_every_module_is_found_as_an_attribute():
    names = {"bzip2mrcfile", "command_line", "constants", "dtypes", "future_mrcfile",
             "gzipmrcfile", "load_functions", "mrcfile", "mrcinterpreter", "mrcmemmap",
             "mrcobject", "utils", "validator", "version"}  # fmt: skip
    there = {module.name for module in pkgutil.iter_modules(mrcfile.__path__)}
    assert names <= there
    for name in names:
        assert getattr(mrcfile, name) is importlib.import_module(f"xarray_mrc.mrcfile.{name}")
        assert name in dir(mrcfile)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mrcfile.nothing


def test_validate_is_told_of_what_cannot_be_read(tmp_path, capsys):
    assert not mrcfile.validate(tmp_path / "missing.mrc")
    assert "FileNotFoundError: " in capsys.readouterr().err
    Path(tmp_path, "short.mrc").write_bytes(b"too short")
    assert not mrcfile.validate(tmp_path / "short.mrc")
    assert "ValueError: Couldn't read enough bytes for MRC header" in capsys.readouterr().err


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
def test_validating_what_is_not_written_yet(tmp_path, compression):
    path = tmp_path / "a.mrc"
    mrcfile.write(path, np.zeros((9, 9), "f4"))
    with mrcfile.new(path, np.zeros((2, 3), "i2"), compression, overwrite=True) as mrc:
        text = io.StringIO()
        assert not mrc.validate(text)
        assert "Actual size: 0 bytes; expected size: 1036 bytes" in text.getvalue()
        mrc.flush()
        assert mrc.validate()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_extended_header_that_is_cut_off_and_no_data(tmp_path, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    raw = put(lay("int16").raw, "<", nsymbt=100_000, nx=0)
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    with pytest.warns(RuntimeWarning, match="100000 bytes in extended header"):
        mrc = mrcfile.open(path, "r+", permissive=True)
    assert mrc.extended_header is None
    mrc.close()
    assert (gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()) == raw


def test_a_changed_header_is_where_it_belongs(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(lay("int16", order=">").raw)
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.nxstart = -3
        mrc.header.origin = (1, 2, 3)
        mrc.header.exttyp = b"MRCO"
    raw = path.read_bytes()
    assert get(raw, ">", "nxstart") == -3
    assert get(raw, ">", "origin") == (1, 2, 3)
    assert get(raw, ">", "exttyp") == b"MRCO"


def test_the_compressed_file_itself(tmp_path):
    path = tmp_path / "a.mrc.gz"
    mrcfile.write(path, np.ones((2, 3), "i2"))
    with mrcfile.open(path) as mrc:
        file = mrc._fileobj
        assert file.name == str(path)
        assert file.read() == path.read_bytes()
    assert file.closed
    mrcfile.write(tmp_path / "a.mrc.bz2", np.ones((2, 3), "i2"))
    with mrcfile.open(tmp_path / "a.mrc.bz2") as mrc:
        assert mrc._fname == str(tmp_path / "a.mrc.bz2")


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "mmap"])
@pytest.mark.parametrize("how", ["renamed over it", "written into it"])
def test_a_file_that_another_writer_put_in_the_place_of_an_empty_one(tmp_path, compression, how):
    path, finished = tmp_path / "a.mrc", tmp_path / "b.mrc"
    mrcfile.write(finished, np.ones((2, 3), "i2"))
    raw = finished.read_bytes()
    if compression == "mmap":
        mrc = mrcfile.mrcmemmap.MrcMemmap(path, "w+")
    else:
        mrc = mrcfile.new(path, compression=compression)
    with pytest.raises(ValueError, match="float64"):
        mrc.set_data(np.zeros((2, 3)))
    if how == "renamed over it":
        finished.replace(path)
    else:
        path.write_bytes(raw)
    mrc.close()
    assert path.read_bytes() == raw


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "mmap"])
@pytest.mark.parametrize("mode", ["new", "r+"])
def test_a_new_file_does_not_replace_that_of_another_writer(tmp_path, compression, mode):
    path, finished = tmp_path / "a.mrc", tmp_path / "b.mrc"
    mrcfile.write(finished, np.ones((2, 3), "i2"))
    raw = finished.read_bytes()
    container = None if compression == "mmap" else compression
    if mode == "r+":
        mrcfile.new(path, np.ones((5, 6), "i2"), container).close()
        mrc = mrcfile.mmap(path, "r+") if compression == "mmap" else mrcfile.open(path, "r+")
    elif compression == "mmap":
        mrc = mrcfile.mrcmemmap.MrcMemmap(path, "w+")
    else:
        mrc = mrcfile.new(path, compression=compression)
    mrc.set_data(np.zeros((3, 4), "f4"))
    finished.replace(path)
    with pytest.raises(ValueError, match="was replaced by another file after it was opened"):
        mrc.close()
    assert path.read_bytes() == raw
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc"]


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "mmap"])
def test_of_two_writers_that_may_overwrite_the_last_one_wins(tmp_path, compression):
    """No fault of mrcfile's: parallel jobs may write the same result."""
    path = tmp_path / "a.mrc"
    mrcfile.write(path, np.ones((2, 3), "i2"))
    made = []
    for value in (1, 2):
        if compression == "mmap":
            made.append(mrcfile.mrcmemmap.MrcMemmap(path, "w+", overwrite=True))
        else:
            made.append(mrcfile.new(path, compression=compression, overwrite=True))
        made[-1].set_data(np.full((9, 9), value, "i2"))
    for value, mrc in enumerate(made, 1):
        mrc.close()
        assert (mrcfile.read(path) == value).all()


def test_warnings_point_into_the_package(mrc):
    """So that a filter by module finds them, as it does those of mrcfile."""
    data = np.array([[np.nan, 1]], "f4")
    for call in (lambda: mrc.set_data(data), mrc.update_header_stats):
        with pytest.warns(RuntimeWarning) as caught:
            call()
        assert {Path(warning.filename).parent.name for warning in caught} == {"mrcfile"}
