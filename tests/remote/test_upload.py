"""MRC files written to S3, on threads and by workers that share no file system."""

import os
import pickle
import signal
import struct

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from relay import run_relay
from s3_server import BUCKET, SECRET

from xarray_mrc import MrcError, to_mrc
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.upload import MIN_PART_NBYTES, new_upload

pytestmark = pytest.mark.servers

RNG = np.random.default_rng(3)
VALUES = RNG.integers(-99, 99, (24, 512, 512)).astype("f4")  # 24 MiB
DIMS = ("z", "y", "x")


def volume(values=VALUES, chunks=None):
    data = values if chunks is None else da.from_array(values, chunks=chunks)
    coords = {dim: xr.Variable(dim, np.arange(n) * 1.5, {"units": "angstrom"})
              for dim, n in zip(DIMS, values.shape, strict=True)}  # fmt: skip
    return xr.DataArray(data, coords, DIMS)


def direct(s3):
    """Return options for the server itself: the proxy that counts does not take uploads."""
    return s3.options | {"endpoint_url": s3.client.meta.endpoint_url}


def names(s3):
    return [item["Key"] for item in s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def uploads(s3):
    return s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.fixture(autouse=True)
def nothing_is_left(s3):
    for name in names(s3):
        s3.client.delete_object(Bucket=BUCKET, Key=name)
    yield
    assert uploads(s3) == []


def stored(s3, name):
    return s3.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()


CHUNKS = [None, (1, 512, 512), (5, 512, 512), (24, 512, 512), (7, 100, 512), (24, 256, 100)]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_the_same_bytes_as_a_local_file(s3, tmp_path, chunks):
    array = volume(chunks=chunks)
    url = f"s3://{BUCKET}/a.mrc"
    to_mrc(array, tmp_path / "a.mrc")
    to_mrc(array, url, storage_options=direct(s3))
    assert stored(s3, "a.mrc") == (tmp_path / "a.mrc").read_bytes()


@pytest.mark.parametrize(
    ("shape", "dims", "chunks"),
    [
        ((3, 4), ("y", "x"), None),
        ((2000, 1500), ("y", "x"), (500, 1500)),
        ((5, 3, 4), ("image", "y", "x"), (1, 3, 4)),
        ((4, 3, 600, 400), ("volume", *DIMS), (1, 1, 600, 400)),
        ((3, 9, 600, 800), ("volume", *DIMS), (1, 2, 600, 800)),
        ((6, 700, 700), DIMS, (1, 700, 700)),
    ],
)
def test_any_shape(s3, tmp_path, shape, dims, chunks):
    values = RNG.normal(size=shape).astype("f4")
    array = xr.DataArray(values if chunks is None else da.from_array(values, chunks), dims=dims)
    to_mrc(array, tmp_path / "a.mrc")
    to_mrc(array, f"s3://{BUCKET}/b/a.mrc", storage_options=direct(s3))
    assert stored(s3, "b/a.mrc") == (tmp_path / "a.mrc").read_bytes()


def test_parts_go_up_as_they_are_computed(s3):
    to_mrc(volume(chunks=(6, 512, 512)), f"s3://{BUCKET}/a.mrc", storage_options=direct(s3))
    head = s3.client.head_object(Bucket=BUCKET, Key="a.mrc")
    assert head["ETag"].strip('"').endswith("-4")  # blocks of 6 MiB; the header is in the first


def test_a_compressed_file_and_a_sidecar(s3, tmp_path):
    tilts = xr.DataArray(
        VALUES[:5], {"tilt_angle": ("image", np.arange(5) * 3.0)}, ("image", "y", "x")
    )
    url = f"s3://{BUCKET}/tilts.mrc.gz"
    to_mrc(tilts, url, voxel_size=2.0, sidecar="rawtlt", storage_options=direct(s3))
    assert names(s3) == ["tilts.mrc.gz", "tilts.mrc.gz.rawtlt"]
    to_mrc(tilts, tmp_path / "tilts.mrc.gz", voxel_size=2.0, sidecar="rawtlt")
    assert stored(s3, "tilts.mrc.gz") == (tmp_path / "tilts.mrc.gz").read_bytes()
    assert stored(s3, "tilts.mrc.gz.rawtlt") == (tmp_path / "tilts.mrc.gz.rawtlt").read_bytes()


def test_an_existing_file(s3):
    url = f"s3://{BUCKET}/a.mrc"
    s3.client.put_object(Bucket=BUCKET, Key="a.mrc", Body=b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        to_mrc(volume(), url, storage_options=direct(s3))
    assert stored(s3, "a.mrc") == b"old"
    to_mrc(volume(), url, overwrite=True, storage_options=direct(s3))
    assert len(stored(s3, "a.mrc")) == 1024 + VALUES.nbytes


def test_a_block_that_fails_leaves_nothing(s3):
    s3.client.put_object(Bucket=BUCKET, Key="a.mrc", Body=b"old")

    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 2:
            raise ZeroDivisionError
        return block

    array = volume(chunks=(6, 512, 512))
    array = array.copy(data=array.data.map_blocks(fail, dtype="f4"))
    with pytest.raises(ZeroDivisionError):
        to_mrc(array, f"s3://{BUCKET}/a.mrc", overwrite=True, storage_options=direct(s3))
    assert stored(s3, "a.mrc") == b"old"
    assert uploads(s3) == []


def test_a_connection_that_breaks_leaves_nothing(s3, monkeypatch):
    port = int(s3.client.meta.endpoint_url.rpartition(":")[2])
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)
    with run_relay(port) as relay:
        relay.breaks_at = b"partNumber=3"
        options = s3.options | {"endpoint_url": f"http://127.0.0.1:{relay.port}"}
        options["config_kwargs"] = {"retries": {"max_attempts": 1}}
        with pytest.raises(OSError, match=r"a\.mrc: the storage refused a request, or could not"):
            to_mrc(volume(chunks=(6, 512, 512)), f"s3://{BUCKET}/a.mrc", storage_options=options)
    assert relay.broken > 1
    assert names(s3) == []


def kill_once(block, mark=""):
    """Kill the worker that is first to come here."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return block
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def test_a_killed_worker(s3, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        data = da.zeros(VALUES.shape, "f4", chunks=(4, 512, 512)) + 2
        data = data.map_blocks(
            kill_once, mark=str(tmp_path / "killed"), dtype="f4", meta=VALUES[:0]
        )
        to_mrc(xr.DataArray(data, dims=DIMS), f"s3://{BUCKET}/a.mrc", storage_options=direct(s3))
    assert stored(s3, "a.mrc")[1024:] == np.full(VALUES.shape, 2, "f4").tobytes()
    assert os.listdir(tmp_path) == ["killed"]


def test_workers_upload_their_parts(s3):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        rng = da.random.default_rng(5)
        data = rng.integers(-99, 99, VALUES.shape, chunks=(4, 512, 512)).astype("f4")
        array = xr.DataArray(data, dims=DIMS)
        to_mrc(array, f"s3://{BUCKET}/a.mrc", voxel_size=1.5, storage_options=direct(s3))
    raw = stored(s3, "a.mrc")
    expected = data.compute()
    assert raw[1024:] == expected.tobytes()
    assert struct.unpack_from("<3f", raw, 76)[:2] == (expected.min(), expected.max())


def test_what_can_only_be_done_locally(s3):
    url = f"s3://{BUCKET}/a.mrc"
    with pytest.raises(ValueError, match="region= was passed"):
        to_mrc(volume(), url, region={"z": 1}, storage_options=direct(s3))
    with pytest.raises(ValueError, match="compute=False was passed"):
        to_mrc(volume(), url, compute=False, storage_options=direct(s3))
    with pytest.raises(ValueError, match=r"\.tif names another format"):
        to_mrc(volume(), f"s3://{BUCKET}/a.tif", storage_options=direct(s3))
    assert names(s3) == []


def test_a_bucket_that_is_not_there_and_a_secret_that_stays_one(s3):
    with pytest.raises(OSError, match=r"s3://nowhere/a\.mrc") as caught:
        to_mrc(volume(), "s3://nowhere/a.mrc", storage_options=direct(s3))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_part_after_the_end_is_refused(s3):
    url, options = f"s3://{BUCKET}/a.mrc", StorageOptions(direct(s3))
    with new_upload(url, options, nbytes=10**7, overwrite=True) as new:
        sink = pickle.loads(pickle.dumps(new.sink))
        assert SECRET not in repr(sink)
    # S3 says that the upload does not exist; moto has an error of its own.
    with pytest.raises((MrcError, OSError), match=r"s3://maps/a\.mrc"):
        sink.write_ranges([(MIN_PART_NBYTES, bytes(MIN_PART_NBYTES))])
    with (
        new_upload(url, options, nbytes=10**7, overwrite=True) as new,
        pytest.raises(ValueError, match="missing in a block"),
    ):
        new.sink.write_ranges([(10**7, b"a"), (10**7 + 2, b"b")])
    assert names(s3) == []


def test_other_storages_of_fsspec(tmp_path):
    import fsspec

    to_mrc(volume(), "memory://folder/a.mrc")
    to_mrc(volume(), tmp_path / "a.mrc")
    files = fsspec.filesystem("memory")
    assert files.cat_file("folder/a.mrc") == (tmp_path / "a.mrc").read_bytes()
    with pytest.raises(FileExistsError):
        to_mrc(volume(), "memory://folder/a.mrc")

    def break_off(self, local, path, **_):
        self.pipe_file(path, b"half")
        raise OSError("the connection broke")

    before = files.cat_file("folder/a.mrc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(files), "put_file", break_off)
        with pytest.raises(OSError, match="memory://folder/a"):
            to_mrc(volume(), "memory://folder/a.mrc", overwrite=True)
    assert files.cat_file("folder/a.mrc") == before
    assert [name.rpartition("/")[2] for name in files.ls("folder", detail=False)] == ["a.mrc"]
    to_mrc(volume(VALUES + 1), "memory://folder/a.mrc", overwrite=True)
    assert files.cat_file("folder/a.mrc")[1024:] == (VALUES + 1).tobytes()
    files.rm("folder", recursive=True)
    assert os.listdir(tmp_path) == ["a.mrc"]
