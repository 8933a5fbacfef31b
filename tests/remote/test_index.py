"""The headers of remote files as a table."""

import gzip

import numpy as np
import pytest
from files import NUMBERS, sound
from s3_server import BUCKET

from xarray_mrc import MrcWarning, index, open_collection, open_stack

pytestmark = pytest.mark.servers


def test_files_of_a_server_and_of_this_computer(server, tmp_path):
    for number in range(20):
        server.put(f"/{number:02d}.mrc", sound(nzstart=number))
    server.put("/20.map.gz", gzip.compress(sound(nzstart=20)))
    (tmp_path / "21.mrc").write_bytes(sound(nzstart=21))
    urls = [server.url(f"/{number:02d}.mrc?token=secret") for number in range(20)]
    urls += [server.url("/20.map.gz"), server.url("/none.mrc")]
    table = index([*urls, tmp_path])
    assert "secret" not in str(table.to_dict())
    assert len(table.file) == 23
    assert sorted(table["nzstart"].values.tolist()) == [0, *range(22)]
    (missing,) = table.file.values[table["problem"].values != ""].tolist()
    assert missing.endswith("/none.mrc")
    assert (table["kind"].values[table["problem"].values == ""] == "volume").all()
    known = [path for path in table.file.values if path.endswith(".map.gz")]
    assert table["size"].sel(file=known[0]) == len(gzip.compress(sound(nzstart=20)))
    assert sum(1 for request in server.requests) == 22
    assert len({request.connection for request in server.requests}) <= 9


def test_a_folder_of_s3(s3):
    for name in ("a/1.mrc", "a/b/2.mrcs", "a/notes.txt", "c.mrc"):
        s3.put(f"many/{name}", sound())
    table = index(f"s3://{BUCKET}/many/a", storage_options=s3.options)
    expected = [f"s3://{BUCKET}/many/a/1.mrc", f"s3://{BUCKET}/many/a/b/2.mrcs"]
    assert table.file.values.tolist() == expected
    assert table["kind"].values.tolist() == ["volume", "image_stack"]
    assert not np.isnat(table["mtime"]).any()
    found = index(f"s3://{BUCKET}/many/**/*.mrc", storage_options=s3.options)
    assert [path.rpartition("/")[2] for path in found.file.values] == ["1.mrc", "c.mrc"]
    with pytest.raises(FileNotFoundError, match="no MRC file"):
        index(f"s3://{BUCKET}/many/*.map", storage_options=s3.options)


def test_a_stack_of_remote_files(server):
    for number in range(2):
        server.put(f"/{number}.mrcs", sound(NUMBERS + number))
    found = open_stack([server.url("/1.mrcs"), "2@" + server.url("/0.mrcs")])
    np.testing.assert_array_equal(found, np.concatenate([NUMBERS + 1, NUMBERS[1:]]))


def test_a_stack_of_a_storage_with_options(s3, tmp_path):
    pytest.importorskip("starfile")
    for number in range(3):
        s3.put(f"stack/job/{number}.mrcs", sound(NUMBERS + number))
    found = open_stack(f"s3://{BUCKET}/stack/job/*.mrcs", storage_options=s3.options)
    np.testing.assert_array_equal(found, np.concatenate([NUMBERS + n for n in range(3)]))
    table = tmp_path / "p.star"
    table.write_text("data_\n\nloop_\n_rlnImageName #1\n2@job/2.mrcs\n1@job/0.mrcs\n")
    options = {"root": f"s3://{BUCKET}/stack", "storage_options": s3.options}
    for check in (True, False):
        images = open_stack(table, check=check, **options)
        np.testing.assert_array_equal(images, np.stack([NUMBERS[1] + 2, NUMBERS[0]]))
        boxes = images.mrc.extract({"x": [3.0], "y": [1.5], "image": [1]}, 2)
        np.testing.assert_array_equal(boxes, NUMBERS[:1, :2, 1:3])


def test_a_tree_of_remote_files(server, s3, tmp_path):
    for name in ("TS_1/tilts.st", "TS_1/tilts.rec", "TS_2/tilts.st"):
        server.put(f"/data/{name}", sound())
        s3.put(f"tree/{name}", sound(NUMBERS + 1))
    urls = [server.url(f"/data/TS_{n}/tilts.st?token=secret") for n in (1, 2)]
    with pytest.warns(MrcWarning, match="TS_1/none.mrc was left out: ") as caught:
        tree = open_collection([*urls, server.url("/data/TS_1/none.mrc")])
    assert "secret" not in str(caught[0].message)
    assert sorted(tree) == ["TS_1", "TS_2"]
    np.testing.assert_array_equal(tree["TS_2/tilts.st"].data, NUMBERS)
    found = open_collection(f"s3://{BUCKET}/tree", storage_options=s3.options)
    assert sorted(found["TS_1"]) == ["tilts.rec", "tilts.st"]
    np.testing.assert_array_equal(found["TS_1/tilts.rec"].data, NUMBERS + 1)
    (tmp_path / "own.mrc").write_bytes(sound())
    mixed = open_collection([urls[0], tmp_path / "own.mrc"])
    assert [node.path.rpartition("/")[2] for node in mixed.leaves].count("own.mrc") == 1
    assert len(mixed.leaves) == 2
