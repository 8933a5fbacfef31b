"""Virtual Zarr stores of local files: any reader of Zarr gets what the engine gives."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import struct
import time
import warnings
from itertools import product

import numpy as np
import pytest
import xarray as xr
from files import FILES
from mrcbytes import AXES, FORMS, KINDS, header, lay
from virtual_stores import assert_same, commit, open_parsed, open_references, registry

import xarray_mrc
from xarray_mrc import MrcError, MrcTruncatedError
from xarray_mrc.virtual import MrcParser, references

ACCEPTED = [form for form in FORMS.values() if not form.packed and form.mode != 3]
LAID = lay("int16", order=">", lengths=(6, 5, 8), nstart=(3, -2, 5), extended=bytes(160))


def save(folder, raw, name="a.mrc"):
    (folder / name).write_bytes(raw)
    return folder / name


def parsed(path, **options):
    return open_parsed(f"file://{path}", registry(), MrcParser(**options))


READERS = {
    "references": lambda path, **options: open_references(references(path, **options)),
    "parser": parsed,
}
reader = pytest.mark.parametrize("opened", READERS.values(), ids=READERS)


def tilt_series(count):
    """Lay down a stack with records of FEI: a time, a name and an angle for each image."""
    records = bytearray(768 * count)
    for i in range(count):
        struct.pack_into("<iiI", records, 768 * i, 768, 0, 1 | 2 | 1 << 7)
        struct.pack_into("<d", records, 768 * i + 12, 43000.25 + i)
        struct.pack_into("<16s", records, 768 * i + 20, f"Microscope {i}".encode())
        struct.pack_into("<d", records, 768 * i + 100, 3.0 * i - 3)
    return lay(kind="image_stack", lengths=(5, 4, count), extended=bytes(records), exttyp=b"FEI1")


@reader
def test_every_form_and_kind(opened, tmp_path):
    for form, kind in product(ACCEPTED, KINDS):
        path = save(tmp_path, lay(form, kind, ">" if form.mode % 4 else "<").raw, f"{form}{kind}")
        assert_same(opened(path), path)


@reader
@pytest.mark.parametrize("axes", AXES)
def test_axes_in_any_order(opened, axes, tmp_path):
    # Equal lengths, so that swapped axes are not found by their lengths.
    path = save(tmp_path, lay("int16", axes=axes, lengths=(4, 4, 4)).raw)
    assert_same(opened(path), path)


@reader
@pytest.mark.parametrize("sections", [1, 3])
@pytest.mark.parametrize("which", ["common", "all", "raw"])
def test_coordinates_of_images(opened, which, sections, tmp_path):
    path = save(tmp_path, tilt_series(sections).raw)
    options = {"kind": "image_stack", "extended_header": which}
    found = opened(path, **options)
    assert_same(found, path, **options)
    assert ("tilt_angle" in found.coords) == (which != "raw")
    if which != "raw":
        assert found.tilt_angle.values.tolist() == [-3, 0, 3][:sections]
    if which == "all":
        assert found.microscope_type.values[-1] == f"Microscope {sections - 1}"


@reader
def test_sidecars_and_options(opened, tmp_path):
    path = save(tmp_path, LAID.raw, "my series.st")
    (tmp_path / "my series.tlt").write_text("".join(f"{3 * i - 9}\n" for i in range(8)))
    found = opened(path, chunks={"image": 4}, default_name="density")
    assert_same(found, path, default_name="density")
    assert found.tilt_angle.values.tolist() == [3 * i - 9 for i in range(8)]
    assert found.density.encoding["chunks"] == (4, 5, 6)


@reader
@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_real_files(opened, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xarray_mrc.MrcWarning)
        try:
            array = xarray_mrc.open_mrc(path, chunks=None)
        except MrcError as error:  # not of MRC, or cut off
            with pytest.raises(type(error)):
                opened(path)
            return
        if path.suffix in (".gz", ".bz2"):
            with pytest.raises(MrcError, match="the file is compressed"):
                opened(path)
        else:
            assert array.encoding["mrc_mode"] in (0, 1, 2, 4, 6, 12)
            assert_same(opened(path), path)


@reader
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_files_are_refused(opened, pack, tmp_path):
    path = save(tmp_path, pack(LAID.raw))
    with pytest.raises(MrcError, match=r"a\.mrc: the file is compressed, .*convert\(path, 'plain"):
        opened(path)


@reader
def test_modes_without_a_data_type_are_refused(opened, tmp_path):
    for form in ("complex_int16", "four_bit", "half_width"):
        path = save(tmp_path, lay(form).raw)
        with pytest.raises(MrcError, match=r"a\.mrc: the data are .*no such data type"):
            opened(path)


@reader
def test_truncated_files(opened, tmp_path):
    path = save(tmp_path, LAID.raw[:-1])
    with pytest.raises(MrcTruncatedError, match="truncated='sections'"):
        opened(path)
    with pytest.warns(xarray_mrc.MrcWarning) as caught:
        found = opened(path, truncated="sections")
    assert len(caught) == 1
    assert found.sizes["z"] == 7
    np.testing.assert_array_equal(found.data, LAID.pixels[:7])


@reader
def test_options_that_mean_nothing(opened, tmp_path):
    path = save(tmp_path, LAID.raw)
    with pytest.raises(TypeError, match=r"preferred_chunks= was passed, .* chunks= instead"):
        opened(path, preferred_chunks={"z": 1})
    with pytest.raises(TypeError, match="local_copy= was passed"):
        opened(path, local_copy=tmp_path)
    with pytest.raises(TypeError, match="did you mean 'kind'"):
        opened(path, kinds="volume")
    with pytest.raises(ValueError, match="default_name='a/b' contains '/'"):
        opened(path, default_name="a/b")


def test_what_references_hold(tmp_path):
    path = save(tmp_path, LAID.raw)
    refs = references(path, chunks={"z": 2})
    assert refs == json.loads(json.dumps(refs))
    assert refs["version"] == 1
    start = 1024 + 160
    for i in range(4):
        assert refs["refs"][f"data/{i}.0.0"] == [str(path), start + 120 * i, 120]
    array = json.loads(refs["refs"]["data/.zarray"])
    assert {name: array[name] for name in ("dtype", "order", "fill_value", "compressor")} == {
        "dtype": ">i2", "order": "C", "fill_value": None, "compressor": None,
    }  # fmt: skip
    assert {key.partition("/")[0] for key in refs["refs"]} == {
        ".zgroup", ".zattrs", "data", "x", "y", "z",
    }  # fmt: skip


def test_the_address_of_a_file_that_will_be_published(tmp_path):
    refs = references(LAID.raw, url="s3://maps/a.mrc")["refs"]
    assert refs["data/0.0.0"][0] == "s3://maps/a.mrc"
    with pytest.raises(ValueError, match=r"no address that readers could open; pass url="):
        references(LAID.raw)


def test_permuted_axes_have_one_section_a_chunk_in_format_2(tmp_path):
    path = save(tmp_path, lay(axes=(1, 3, 2), lengths=(4, 4, 4)).raw)
    with pytest.raises(MrcError, match=r"permuted, .* leave out chunks=, or use MrcParser"):
        references(path, chunks={"y": 2})
    assert_same(parsed(path, chunks={"y": 2}), path)


def test_a_parser_can_be_pickled():
    parser = MrcParser(chunks={"z": 2}, kind="volume")
    assert pickle.loads(pickle.dumps(parser)) == parser
    assert repr(parser) == "MrcParser(chunks={'z': 2})"
    with pytest.raises(TypeError, match="storage_options= was passed to MrcParser"):
        MrcParser(storage_options={"anon": True})


def test_kerchunk_as_json_and_parquet(tmp_path):
    kerchunk = pytest.importorskip("kerchunk.df")
    path = save(tmp_path, LAID.raw)
    refs = references(path, chunks={"z": 2})
    (tmp_path / "a.json").write_text(json.dumps(refs))
    assert_same(xr.open_dataset(str(tmp_path / "a.json"), engine="kerchunk"), path)
    with warnings.catch_warnings():  # kerchunk uses fastparquet, which pandas does not like
        warnings.filterwarnings("ignore", "The 'fastparquet' engine is deprecated")
        kerchunk.refs_to_dataframe(refs, str(tmp_path / "a.parq"))
        assert_same(xr.open_dataset(str(tmp_path / "a.parq"), engine="kerchunk"), path)


def test_icechunk(tmp_path):
    stores = registry()
    import icechunk

    path = save(tmp_path, tilt_series(3).raw, "tilt series.mrc")
    prefix = f"file://{tmp_path}/"
    files = icechunk.local_filesystem_store(str(tmp_path))
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    access = icechunk.credentials.LocalFileSystemAccess
    open_again = commit(f"file://{path}", stores, storage, (prefix, files, access))
    assert_same(open_again(), path)
    # A file that was written after the commit is refused.
    os.utime(path, (time.time() + 100,) * 2)
    with pytest.raises(icechunk.IcechunkError, match="has changed"):
        open_again().load()


def test_the_kerchunk_writer_of_virtualizarr(tmp_path):
    stores = registry()
    from virtualizarr import open_virtual_dataset

    numbers = [1.0, 0.0, -0.0, float("nan")]
    path = save(tmp_path, lay(lengths=(4, 1, 1)).head + struct.pack("<4f", *numbers))
    dataset = open_virtual_dataset(f"file://{path}", stores, MrcParser())
    assert_same(open_references(dataset.vz.to_kerchunk(format="dict")), path)


@reader
def test_a_terabyte(opened, tmp_path):
    nx, ny, nz = 4096, 4096, 16384
    path, at = tmp_path / "a.mrc", (nz - 2, ny - 3, nx - 5)
    with open(path, "wb") as file:
        file.write(header(nx=nx, ny=ny, nz=nz, mx=nx, my=ny, mz=nz))
        file.seek(1024 + 4 * ((at[0] * ny + at[1]) * nx + at[2]))
        file.write(struct.pack("<f", 7.5))
        file.truncate(1024 + 2**40)
    opened(save(tmp_path, LAID.raw, "small.mrc"))  # imports what it needs
    start = time.process_time()
    found = opened(path)
    assert time.process_time() - start < 1
    assert found.data.shape == (nz, ny, nx)
    assert float(found.data[at]) == 7.5
