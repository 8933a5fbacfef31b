"""The command line on URLs: the same results as on local files, and no secrets."""

import json
import re

import mrcfile
import numpy as np
import pytest
from command import run
from remote_files import volume

RAW, PIXELS = volume((8, 30, 40))
COMMANDS = {
    "header": ["--json"],
    "validate": ["--json"],
    "stats": ["--json"],
    "show": [],
}


@pytest.fixture
def storage(place):
    """The options of the command line for a place."""
    values = [
        f"{key}={v if isinstance(v, str) else json.dumps(v)}" for key, v in place.options.items()
    ]
    return [word for value in values for word in ("--storage", value)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(RAW)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_reading(place, storage, folder, command):
    url = place.put("a.mrc", RAW)
    options = COMMANDS[command]
    remote = run(command, *options, *storage, url)
    local = run(command, *options, "a.mrc")
    assert (remote.status, remote.err) == (local.status, "")
    # Only the header of a local file can be mended.
    expected = re.sub("; edit_header.*corrects it", "", local.out)
    assert remote.out.replace(url, "a.mrc") == expected


def test_header_moves_little(place, storage):
    url = place.put("a.mrc", RAW)
    place.counts.requests.clear()
    assert run("header", "--field", "nx", *storage, url).out == "40\n"
    assert len(place.counts.requests) <= 2


def test_convert(place, storage, folder):
    url = place.put("a.mrc", RAW)
    assert run("convert", *storage, url, "b.mrc").status == 0
    assert (folder / "b.mrc").read_bytes() == RAW


@pytest.mark.parametrize("command", [*COMMANDS, "edit"])
def test_a_url_that_is_not_there(place, storage, folder, command):
    url = place.put("a.mrc", RAW).replace("a.mrc", "missing.mrc")
    options = ["--label", "x"] if command == "edit" else [*COMMANDS[command], *storage]
    done = run(command, *options, url)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert "missing.mrc" in done.error
    for secret in place.options.values():
        assert str(secret) not in done.err or not isinstance(secret, str) or "http" in secret


def test_a_secret_in_the_query(http_place, folder):
    url = http_place.put("a.mrc", RAW)
    done = run("header", "--json", f"{url}?token=s3cr3t")
    assert done.status == 0
    assert "s3cr3t" not in done.out
    missing = url.replace("a.mrc", "missing.mrc")
    for command in COMMANDS:
        done = run(command, f"{missing}?token=s3cr3t")
        assert done.status == 2
        assert "s3cr3t" not in done.out + done.err


def test_wrong_usage(folder):
    done = run("header", "--storage", "s3cr3t", "s3://maps/a.mrc")
    assert done.status == 2
    assert "expected NAME=VALUE" in done.error
    assert "s3cr3t" not in done.err


def test_a_path_has_no_storage(folder):
    assert run("header", "--field", "nx", "--storage", "anon=true", "a.mrc").out == "40\n"


@pytest.mark.servers
def test_convert_to_a_url(s3, folder):
    options = {**s3.options, "endpoint_url": s3.client.meta.endpoint_url}
    words = [word for key, v in options.items() for word in ("--storage", f"{key}={v}")]
    target = "s3://maps/line/a.zarr"
    for part in ("prepare", "0/2", "1/2", "finish"):
        done = run("convert", *words, "--partition", part, "a.mrc", target)
        assert (done.status, done.err) == (0, "")
    assert run("convert", *words, target, "b.mrc").status == 0
    np.testing.assert_array_equal(mrcfile.read("b.mrc"), PIXELS)
    done = run("convert", *words, "--suffix", ".mrc", "a.mrc", "b.mrc", "s3://maps/line/")
    assert (done.status, done.err) == (0, "")
    assert s3.client.get_object(Bucket="maps", Key="line/a.mrc")["Body"].read() == RAW
    # Options of the target are none of a source on another server.
    assert run("convert", *words, "--source-storage", "x=1", target, "c.mrc").status == 2


@pytest.mark.parametrize("part", ["first", "2/2", "-1/2", "1", "1/", "a/b"])
def test_no_partition(folder, part):
    done = run("convert", "--partition", part, "a.mrc", "a.zarr")
    assert done.status == 2
    assert "expected prepare, finish, or K/N" in done.err
