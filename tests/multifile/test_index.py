"""The headers of many files as one table."""

import gzip
import os
import struct
import warnings

import mrcfile
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from files import FILES, sound
from mrcbytes import FIELDS, FORMS, KINDS, ORDERS, get, lay, put

import xarray_mrc
from xarray_mrc import index, open_mrc

PARTS = {
    "cella": "xyz",
    "cellb": ("alpha", "beta", "gamma"),
    "origin": "xyz",
    "skew_translation": "xyz",
    "skew_matrix": "123456789",
    "tilt_angles": "123456",
}


def rows(folder):
    """Return the table of a folder, by the names of the files."""
    table = index(folder)
    return table.assign_coords(file=[os.path.basename(path) for path in table.file.values])


def test_every_field_of_every_file(tmp_path):
    laid = {
        f"{order == '<'}-{form}-{kind}.mrc": lay(form, kind, order, labels=(b"one", b"two"))
        for order in ORDERS
        for form in FORMS
        for kind in KINDS
    }
    for name, file in laid.items():
        (tmp_path / name).write_bytes(file.raw)
    table = rows(tmp_path)
    assert list(table.file.values) == sorted(laid)
    for name, file in laid.items():
        row, order = table.sel(file=name), "<" if name.startswith("True") else ">"
        assert (row["problem"], row["byteorder"]) == ("", order)
        assert row["size"] == len(file.raw)
        assert abs(row["mtime"].values - np.datetime64("now")) < np.timedelta64(1, "h")
        for field, (_, code) in FIELDS.items():
            value = get(file.head, order, field)
            if code.endswith("f") and code != "f":
                is_imod = get(file.head, order, "imod_stamp") == 1146047817
                if field.startswith("skew") or (field == "tilt_angles" and not is_imod):
                    value = np.full(len(value), np.nan)
                found = [row[f"{field}_{part}"].item() for part in PARTS[field]]
                np.testing.assert_array_equal(found, value)
            elif code.endswith("s"):
                continue
            else:
                assert row[field].item() == value, field
        assert row["labels"] == "one\ntwo"
        assert row["machst"] == file.head[212:216].hex(" ")
        assert row["exttyp"].item().encode("latin-1") == file.head[104:108].rstrip(b"\0")


@pytest.mark.corpus
def test_genuine_files_are_as_when_they_are_opened_alone():
    table = index(FILES)
    assert list(table.file.values) == sorted(map(str, FILES))
    for path in FILES:
        row = table.sel(file=str(path))
        if row["problem"]:
            with pytest.raises(xarray_mrc.MrcError) as caught:
                open_mrc(path)
            assert str(caught.value) == f"{path}: {row['problem'].item()}"
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = open_mrc(path)
        header = xarray_mrc.read_header(path)
        assert row["problem"] == ""
        assert (row["kind"], row["dtype"]) == (array.attrs["mrc_kind"], array.dtype.name)
        assert (row["nx"], row["ny"], row["nz"]) == header.n
        found = [row[f"voxel_size_{axis}"].item() for axis in "xyz"]
        np.testing.assert_array_equal(found, header.voxel_size)


def test_files_that_differ_in_one_thing(tmp_path):
    """They agree in most of what a judgement depends on, which is found once for all that do."""
    stack = lay("float32", "image_stack", mz=2, ispg=0).raw
    volume = put(stack, "<", mz=2, ispg=1)
    unsigned = put(lay("int8", "volume", nversion=0).raw, "<", dmin=0.0, dmax=255.0)
    signed = put(unsigned, "<", dmin=-3.0, dmax=100.0)
    files = {
        "a.mrc": volume,
        "a.mrcs": volume,
        "b.mrc": put(stack, "<", mz=7),
        "b_rec.mrc": put(stack, "<", mz=7),
        "c.mrc": unsigned,
        "d.mrc": signed,
        "e.mrc": put(volume, "<", mode=2, nz=1000),
        "f.mrc": put(volume, "<", mode=77),
        "g.mrc": volume[:-1],
        "h.mrc": volume + b"more",
        "i.mrc": put(volume, "<", cella=(0.0, 0.0, 0.0)),
    }
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    table = rows(tmp_path)
    kinds = dict(zip(table.file.values, table["kind"].values, strict=True))
    assert kinds["a.mrc"] == "volume"
    assert kinds["a.mrcs"] == "image_stack"
    assert kinds["b.mrc"] == "image_stack"
    assert kinds["b_rec.mrc"] == "volume"
    assert table["dtype"].sel(file=["c.mrc", "d.mrc"]).values.tolist() == ["uint8", "int8"]
    problem = table["problem"]
    assert "cut off" in problem.sel(file="e.mrc").item()
    assert "mode is 77" in problem.sel(file="f.mrc").item()
    assert "cut off" in problem.sel(file="g.mrc").item()
    assert (problem.sel(file=["a.mrc", "h.mrc", "i.mrc"]) == "").all()
    assert np.isnan(table["voxel_size_x"].sel(file="i.mrc"))
    assert table["mode"].sel(file="f.mrc") == 77


def test_numbers_that_a_mark_announces(tmp_path):
    raw = lay("float32", "volume").raw
    skewed = put(raw, "<", lskflg=1, skew_matrix=tuple(range(9)), skew_translation=(1.0, 2.0, 3.0))
    tilted = put(raw, "<", imod_stamp=1146047817, tilt_angles=(0.0, 0.0, 0.0, 1.0, 2.0, 3.0))
    for name, bytes_ in (("a.mrc", raw), ("b.mrc", skewed), ("c.mrc", tilted)):
        (tmp_path / name).write_bytes(bytes_)
    table = rows(tmp_path)
    assert np.isnan(table["skew_matrix_9"]).values.tolist() == [True, False, True]
    assert table["skew_translation_z"].sel(file="b.mrc") == 3
    assert np.isnan(table["tilt_angles_6"]).values.tolist() == [True, True, False]
    assert table["tilt_angles_6"].sel(file="c.mrc") == 3


def test_a_sidecar_counts_for_its_own_file_only(tmp_path):
    raw = lay("float32", "volume", ispg=0, mz=9, mx=9, my=9).raw
    for name in ("a.mrc", "b.mrc", "c.mrc"):
        (tmp_path / name).write_bytes(put(raw, "<", mz=4))
    (tmp_path / "b.tlt").write_text("-1\n0\n1\n2\n")
    found = rows(tmp_path)["kind"]
    assert found.values.tolist() == ["volume", "image_stack", "volume"]


def test_what_cannot_be_read_is_a_row(tmp_path):
    (tmp_path / "empty.mrc").write_bytes(b"")
    (tmp_path / "text.mrc").write_text("no map at all\n" * 100)
    (tmp_path / "short.mrc").write_bytes(sound()[:500])
    (tmp_path / "cut.map.gz").write_bytes(gzip.compress(sound())[:60])
    (tmp_path / "whole.map.gz").write_bytes(gzip.compress(sound()))
    (tmp_path / "link.mrc").symlink_to(tmp_path / "nowhere.mrc")
    table = rows(tmp_path)
    problem = table["problem"].to_series()
    assert "0 bytes" in problem["empty.mrc"]
    assert "not an MRC file" in problem["text.mrc"]
    assert table["nx"].sel(file=["text.mrc", "short.mrc"]).values.tolist() == [0, 0]
    assert table["exttyp"].sel(file="text.mrc") == ""
    assert "500 bytes" in problem["short.mrc"]
    assert "cut off" in problem["cut.map.gz"]
    assert problem["whole.map.gz"] == ""
    assert table["nx"].sel(file="whole.map.gz") == 4
    assert problem["link.mrc"] == "No such file or directory"
    assert np.isnat(table["mtime"].sel(file="link.mrc"))
    assert table["size"].sel(file="whole.map.gz") == (tmp_path / "whole.map.gz").stat().st_size
    assert not any(str(tmp_path) in text for text in problem)


def test_lists_patterns_folders_and_links(tmp_path, monkeypatch):
    for name in ("b.mrc", "a.mrc.gz", ".hidden.mrc", "notes.txt", "sub/c.MRCS", "sub/deep/d.map"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(sound()) if ".gz" in name else sound())
    (tmp_path / "sub" / "again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "sub")
    monkeypatch.chdir(tmp_path)
    own = [
        "a.mrc.gz",
        "b.mrc",
        "linked/c.MRCS",
        "linked/deep/d.map",
        "sub/c.MRCS",
        "sub/deep/d.map",
    ]
    assert index(".").file.values.tolist() == sorted(f"./{name}" for name in own)
    assert index("*.mrc*").file.values.tolist() == ["a.mrc.gz", "b.mrc"]
    assert index(tmp_path / "sub" / "deep").file.values.tolist() == [f"{tmp_path}/sub/deep/d.map"]
    assert index(["b.mrc", "sub/*.MRCS", "b.mrc"]).file.values.tolist() == ["b.mrc", "sub/c.MRCS"]
    assert index(["none.mrc"])["problem"].values.tolist() == ["No such file or directory"]
    (tmp_path / "[1].mrc").write_bytes(sound())
    assert index("[1].mrc").file.values.tolist() == ["[1].mrc"]
    for nothing in ("*.xyz", str(tmp_path / "sub" / "deep" / "none*"), "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match="no file"):
            index(nothing)
    assert index([]).sizes == {"file": 0}


def test_a_folder_with_the_name_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.mrc", "a.mrc/c.mrc", "a.mrc/sub.mrc/d.map", "a.mrc/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(sound())
    found = index(["b.mrc", "a.mrc"])
    assert found.file.values.tolist() == ["a.mrc/c.mrc", "a.mrc/sub.mrc/d.map", "b.mrc"]
    assert (found["problem"] == "").all()
    os.mkfifo("pipe.mrc")
    assert "expected a file" in index(["pipe.mrc"])["problem"].item()


def test_neighbours_with_other_labels(tmp_path):
    labels = [(b"one",), (b"one",), (b"two", b"lines"), (), (b"one",)]
    for number, own in enumerate(labels):
        raw = lay("float32", "image", ">" if number == 1 else "<", labels=own).raw
        (tmp_path / f"{number}.mrc").write_bytes(raw)
    (tmp_path / "1a.mrc").write_bytes(b"no header")
    found = rows(tmp_path)["labels"].values.tolist()
    assert found == ["one", "one", "", "two\nlines", "", "one"]


def test_a_table_of_pandas_and_back(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.mrc").write_bytes(put(sound(), "<", nzstart=number))
    frame = index(tmp_path).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame["nzstart"].tolist() == [0, 1, 2, 3, 4]
    assert frame["mode"].dtype == np.int32
    assert frame["dmax"].dtype == np.float32
    assert frame.query("problem == '' and voxel_size_x > 0").shape == frame.shape
    again = xr.Dataset.from_dataframe(frame)
    assert again["labels"].values.tolist() == ["made by hand"] * 5


def test_as_mrcfile_reads_them(tmp_path):
    values = np.arange(24, dtype="f4").reshape(2, 3, 4)
    for number in range(3):
        with mrcfile.new(tmp_path / f"{number}.mrcs") as mrc:
            mrc.set_data(values * number)
            mrc.set_image_stack()
            mrc.voxel_size = 1.1
    table = index(tmp_path)
    for number, path in enumerate(table.file.values):
        with mrcfile.open(path, header_only=True) as mrc:
            for name in ("nx", "nz", "mz", "ispg", "dmin", "dmax", "dmean", "rms", "nlabl"):
                assert table[name].values[number] == mrc.header[name]
    assert table["kind"].values.tolist() == ["image_stack"] * 3
    assert table["voxel_size_x"].values.tolist() == [1.1] * 3


def test_data_are_not_read(tmp_path):
    path = tmp_path / "large.mrc"
    side = 2**12
    path.write_bytes(lay("float32", "volume", lengths=(4, 4, 4)).head)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<3i", raw, 0, side, side, 2**14)
    with path.open("wb") as file:
        file.write(raw)
        file.truncate(1024 + side * side * 2**14 * 4)  # 1 TiB, of holes
    table = index(path)
    assert table["problem"].values.tolist() == [""]
    assert table["size"].item() == 1024 + 2**40


def test_the_progress_bar_is_not_part_of_the_output(tmp_path, capsys):
    (tmp_path / "a.mrc").write_bytes(sound())
    index(tmp_path, progress=True)
    assert capsys.readouterr().out == ""


def test_a_wrong_argument():
    with pytest.raises(TypeError):
        index(3)
