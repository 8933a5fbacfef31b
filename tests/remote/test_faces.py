"""Everything that takes a path takes a URL."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
import xarray as xr
from files import sound
from remote_files import VOXEL, volume

import xarray_mrc

RAW, PIXELS = volume((8, 30, 40))


@pytest.fixture
def url(place):
    return place.put("a.mrc", RAW)


@pytest.fixture
def options(place):
    return place.options or None


@pytest.fixture
def path(tmp_path):
    """The same file on this computer."""
    path = tmp_path / "a.mrc"
    path.write_bytes(RAW)
    return path


def test_read_header(url, options, path):
    assert xarray_mrc.read_header(url, storage_options=options) == xarray_mrc.read_header(path)


def test_open(url, options, path):
    found = xr.open_dataset(url, engine="mrc", storage_options=options)
    xr.testing.assert_identical(found, xr.open_dataset(path, engine="mrc"))
    found = xarray_mrc.open_mrc(url, storage_options=options)
    xr.testing.assert_identical(found, xarray_mrc.open_mrc(path))
    assert float(found.x[1]) == VOXEL
    assert found.chunks is not None


def test_statistics(url, options, path):
    assert xarray_mrc.statistics(url, storage_options=options) == xarray_mrc.statistics(path)


def test_validate(place, options):
    url = place.put("sound.mrc", sound())
    report = xarray_mrc.validate(url, storage_options=options)
    assert report
    url = place.put("broken.mrc", sound(dmin=7.0, nlabl=99))
    report = xarray_mrc.validate(url, storage_options=options)
    assert not report
    assert {finding.id for finding in report.findings} == {
        finding.id for finding in xarray_mrc.validate(sound(dmin=7.0, nlabl=99)).findings
    }


@pytest.mark.parametrize("name", ["b.mrc", "b.mrc.gz", "b.zarr"])
def test_convert(url, options, tmp_path, name):
    xarray_mrc.convert(url, tmp_path / name, source_storage_options=options)
    if name == "b.mrc":
        assert xarray_mrc.read_header(tmp_path / name).n == (40, 30, 8)
    opened = (
        xr.open_zarr(tmp_path / name).data
        if name == "b.zarr"
        else xarray_mrc.open_mrc(tmp_path / name)
    )
    np.testing.assert_array_equal(opened, PIXELS)


def test_convert_a_compressed_map(place, options, tmp_path):
    url = place.put("a.map.gz", gzip.compress(RAW))
    xarray_mrc.convert(url, tmp_path / "b.mrc", source_storage_options=options)
    np.testing.assert_array_equal(xarray_mrc.open_mrc(tmp_path / "b.mrc"), PIXELS)


def test_write_from_a_url(url, options, tmp_path):
    array = xarray_mrc.open_mrc(url, storage_options=options)
    xarray_mrc.to_mrc(array[2:6], tmp_path / "b.mrc")
    np.testing.assert_array_equal(xarray_mrc.open_mrc(tmp_path / "b.mrc"), PIXELS[2:6])


def test_write_like_a_url(http_place, tmp_path):
    raw, _ = volume((8, 30, 40))
    from mrcbytes import put

    raw = put(raw, "<", nlabl=1, label_bytes=b"made by hand".ljust(80))
    url = http_place.put("a.mrc", raw)
    xarray_mrc.to_mrc(xr.DataArray(PIXELS, dims=("z", "y", "x")), tmp_path / "b.mrc", like=url)
    found = xarray_mrc.read_header(tmp_path / "b.mrc")
    assert found.labels[0] == "made by hand"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_maps(place, options, suffix):
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    url = place.put(f"a.map{suffix}", pack(RAW))
    array = place.open(url)
    np.testing.assert_array_equal(array[5], PIXELS[5])
    np.testing.assert_array_equal(array[2], PIXELS[2])
    np.testing.assert_array_equal(array, PIXELS)
    assert xarray_mrc.read_header(url, storage_options=options).n == (40, 30, 8)


def test_the_token_has_the_version(place, options):
    """open_mrc puts ETag or Last-Modified into the names of dask; other files get other names."""
    url = place.put("a.mrc", RAW)

    def name():
        return xarray_mrc.open_mrc(url, storage_options=options).data.name

    before = name()
    assert name() == before
    place.put("a.mrc", volume((8, 30, 40), seed=2)[0])
    assert name() != before


def test_an_fsspec_file_is_a_path(http_place):
    import fsspec

    file = fsspec.open(http_place.put("a.mrc", RAW))
    http_place.counts.forget()
    np.testing.assert_array_equal(xarray_mrc.open_mrc(file)[3], PIXELS[3])
    assert len(http_place.counts.requests) <= 3
    assert http_place.counts.nbytes_sent < 2 * 2**16 + PIXELS[3].nbytes


def test_storage_options_of_a_local_file(path):
    with pytest.raises(ValueError, match="storage_options= was passed"):
        xarray_mrc.open_mrc(path, storage_options={"key": "a"})


def test_guessing_the_engine(url, options):
    """xarray finds the engine by the suffix of a URL, without a request."""
    from xarray_mrc.backend import MrcBackendEntrypoint

    assert MrcBackendEntrypoint().guess_can_open(url)
    assert MrcBackendEntrypoint().guess_can_open(f"{url}?signature=a")
    assert not MrcBackendEntrypoint().guess_can_open(url.replace(".mrc", ".nc"))


def test_a_place_that_cannot_be_written(http_place):
    array = xr.DataArray(PIXELS, dims=("z", "y", "x"))
    with pytest.raises(OSError, match=r"^http://127\.0\.0\.1:9/a\.mrc: ") as caught:
        xarray_mrc.to_mrc(array, "http://127.0.0.1:9/a.mrc")
    assert type(caught.value) is OSError
    with pytest.raises(xarray_mrc.MrcError, match="not supported"):
        xarray_mrc.edit_header("http://127.0.0.1:9/a.mrc", origin=(0, 0, 0))


def test_written_to_s3(s3):
    """What workers upload is the file that they would write here."""
    array = xr.DataArray(PIXELS, dims=("z", "y", "x"))
    url = s3.put("written.mrc", b"")
    with pytest.raises(FileExistsError, match=r"written\.mrc"):
        xarray_mrc.to_mrc(array, url, storage_options=s3.options)
    xarray_mrc.to_mrc(array, url, overwrite=True, storage_options=s3.options)
    np.testing.assert_array_equal(xarray_mrc.open_mrc(url, storage_options=s3.options), PIXELS)
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.mrc"):
        xarray_mrc.to_mrc(array, "s3://nowhere/a.mrc", storage_options=s3.options)


def test_a_large_file_is_uploaded_in_parts(s3, large):
    _, pixels = large
    array = xr.DataArray(pixels, dims=("z", "y", "x")).chunk(z=50)
    url = "s3://maps/large.mrc"
    xarray_mrc.to_mrc(array, url, storage_options=s3.options)
    sent = [r.headers.get("content-length") for r in s3.proxy.requests if r.method == "PUT"]
    assert len(sent) > 3
    stored = s3.client.get_object(Bucket="maps", Key="large.mrc")["Body"].read()
    assert len(stored) == 1024 + pixels.nbytes
    assert np.array_equal(np.frombuffer(stored, "<i2", offset=1024), pixels.reshape(-1))
    assert not s3.client.list_multipart_uploads(Bucket="maps").get("Uploads")
