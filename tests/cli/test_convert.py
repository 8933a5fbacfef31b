"""``xarray-mrc convert``: targets that other readers read, and what happens to those that exist."""

import gzip

import mrcfile
import numpy as np
import pytest
import xarray as xr
import zarr
from command import run, start
from files import NUMBERS, sound


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound())
    (tmp_path / "b.mrc").write_bytes(sound(NUMBERS * 2))
    return tmp_path


def read_zarr(path):
    return xr.open_zarr(path).data.values


def test_to_zarr_and_back(folder):
    done = run("convert", "a.mrc", "a.zarr")
    assert (done.status, done.out, done.err) == (0, "", "")
    np.testing.assert_array_equal(read_zarr("a.zarr"), NUMBERS)
    assert run("convert", "a.zarr", "back.mrc.gz", "--dtype", "float16").status == 0
    with mrcfile.open("back.mrc.gz") as mrc:
        np.testing.assert_array_equal(mrc.data, NUMBERS.astype("f2"))
        assert mrc.voxel_size.x == 1.5


def test_another_container(folder):
    assert run("convert", "a.mrc", "a.mrc.gz").status == 0
    assert gzip.decompress((folder / "a.mrc.gz").read_bytes()) == sound()


@pytest.mark.parametrize("target", ["a.zarr", "new.mrc"])
def test_a_target_that_exists(folder, target):
    assert run("convert", "a.mrc", target).status == 0
    done = run("convert", "b.mrc", target)
    assert done.status == 2
    assert done.error.startswith("b.mrc: ")
    assert target in done.error
    assert "--overwrite" in done.error
    assert "overwrite=" not in done.error
    assert run("convert", "--overwrite", "b.mrc", target).status == 0
    found = read_zarr(target) if target == "a.zarr" else mrcfile.read(target)
    np.testing.assert_array_equal(found, NUMBERS * 2)


def test_many_files_into_a_directory(folder):
    done = run("convert", "--suffix", ".zarr", "*.mrc", "missing.mrc", "out/")
    assert done.status == 2
    assert done.out == "a.mrc -> out/a.zarr\nb.mrc -> out/b.zarr\n"
    assert done.error == "missing.mrc: No such file or directory"
    np.testing.assert_array_equal(read_zarr("out/b.zarr"), NUMBERS * 2)
    found = run("convert", "--suffix", "mrc.gz", "--json", "out/*.zarr", "out").json
    assert found == [
        {"path": f"out/{name}.zarr", "target": f"out/{name}.mrc.gz"} for name in ("a", "b")
    ]


def test_two_files_with_one_target(folder):
    (folder / "a.mrc.gz").write_bytes(gzip.compress(sound()))
    done = run("convert", "--suffix", ".zarr", "a.mrc", "a.mrc.gz", "out/")
    assert done.status == 2
    assert "'a.mrc' and 'a.mrc.gz' would both be written to 'out/a.zarr'" in done.error


def test_a_directory_that_is_no_group(folder):
    (folder / "plain.zarr").mkdir()
    (folder / "plain.zarr" / "notes.txt").write_text("precious")
    done = run("convert", "a.mrc", "plain.zarr", "--overwrite")
    assert done.status == 2
    assert (folder / "plain.zarr" / "notes.txt").read_text() == "precious"
    done = run("convert", "plain.zarr", "x.mrc")
    assert done.status == 2
    assert done.error.startswith("plain.zarr: it is a directory, but not a Zarr group")


def test_other_options(folder):
    (folder / "u.mrc").write_bytes(sound(np.full((2, 3, 4), -1, "i1"), dmin=0.0, dmax=-1.0))
    options = ["--option", "signed=false", "--option", 'chunks={"z":1}', "--option", "shards=null"]
    assert run("convert", *options, "u.mrc", "u.zarr").status == 0
    array = xr.open_zarr("u.zarr").data
    assert int(array[0, 0, 0]) == 255
    assert array.encoding["chunks"][0] == 1
    done = run("convert", "--option", "sign=false", "u.mrc", "v.zarr")
    assert done.status == 2
    assert "did you mean 'signed'?" in done.error


def test_values_that_do_not_fit(folder):
    (folder / "a.mrc").write_bytes(sound(NUMBERS * 1e6))
    done = run("convert", "--dtype", "int8", "a.mrc", "x.mrc")
    assert done.status == 2
    assert done.error.startswith("a.mrc: ")
    assert not (folder / "x.mrc").exists()
    assert run("convert", "--dtype", "nonsense", "a.mrc", "x.mrc").status == 2


def test_no_scheduler(folder):
    done = start("convert", "--scheduler", "tcp://127.0.0.1:9", "a.mrc", "x.zarr")
    assert done.status == 2
    assert done.error.startswith("--scheduler tcp://127.0.0.1:9: no scheduler answers")
    done = start("convert", "--scheduler", "nonsense://host:1", "a.mrc", "x.zarr")
    assert done.status == 2
    assert "nonsense" in done.error
    done = run("convert", "--scheduler", "missing.json", "a.mrc", "x.zarr")
    assert (done.status, done.error) == (2, "--scheduler missing.json: there is no such file")
    assert not (folder / "x.zarr").exists()


@pytest.mark.serial
def test_a_cluster(folder):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        done = start("convert", "--scheduler", cluster.scheduler_address, "a.mrc", "a.zarr")
        assert (done.status, done.out, done.err) == (0, "", "")
    np.testing.assert_array_equal(read_zarr("a.zarr"), NUMBERS)


def test_ome_zarr(folder):
    assert (
        run("convert", "a.mrc", "a.ome.zarr", "--ome-version", "0.4", "--levels", "2").status == 0
    )
    image = zarr.open_group("a.ome.zarr", mode="r")
    assert sorted(image.array_keys()) == ["0", "1"]
    (multiscale,) = image.attrs["multiscales"]
    assert (multiscale["version"], multiscale["name"]) == ("0.4", "a")
    np.testing.assert_array_equal(image["0"][:], NUMBERS)
    assert run("convert", "--suffix", ".ome.zarr", "b.mrc", "out/").status == 0
    assert len(list(zarr.open_group("out/b.ome.zarr", mode="r").array_keys())) == 3
    for levels in ("2", "3"):  # 3 is the usual number
        done = run("convert", "a.mrc", "b.zarr", "--levels", levels)
        assert done.status == 2
        assert "--levels" in done.error
        assert "name it .ome.zarr" in done.error
    done = run("convert", "a.mrc", "c.ome.zarr", "--option", "ome_version=0.6")
    assert "expected --ome-version" in done.error
