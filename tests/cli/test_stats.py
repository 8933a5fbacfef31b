"""``xarray-mrc stats``: numbers that numpy computes, also where some are not finite."""

import numpy as np
import pytest
from command import run
from files import FILES, NUMBERS, sound


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_text(folder):
    (folder / "a.mrc").write_bytes(sound())
    mean, rms = NUMBERS.mean(dtype="f8"), NUMBERS.std(dtype="f8")
    text = f"minimum -1, maximum 3, mean {mean:.9g}, rms {rms:.9g} of 24 values"
    assert run("stats", "a.mrc").out == f"a.mrc: {text}\n"


def test_json(folder):
    numbers = NUMBERS.copy()
    numbers[0, 0, :3] = np.nan, np.inf, -np.inf
    (folder / "a.mrc").write_bytes(sound(numbers))
    (found,) = run("stats", "--json", "a.mrc").json
    finite = numbers[np.isfinite(numbers)].astype("f8")
    assert found == {
        "path": "a.mrc", "count": 21, "minimum": finite.min(), "maximum": 3.0,
        "mean": pytest.approx(finite.mean()), "rms": pytest.approx(finite.std()),
        "nans": 1, "infinities": 2,
    }  # fmt: skip


def test_json_without_a_finite_value(folder):
    (folder / "a.mrc").write_bytes(sound(np.full((2, 3, 4), np.nan, "f4"), dmin=0.0))
    (found,) = run("stats", "--json", "a.mrc").json
    assert [found[name] for name in ("minimum", "maximum", "mean", "rms")] == [None] * 4
    assert found["nans"] == 24


def test_json_of_complex_numbers(folder):
    (folder / "a.mrc").write_bytes(sound((NUMBERS + 2j).astype("c8")))
    (found,) = run("stats", "--json", "a.mrc").json
    assert found["mean"] == {"real": pytest.approx(1.0), "imag": pytest.approx(2.0)}
    assert found["minimum"] is None


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="XARRAY_MRC_CORPUS is not set")
def test_corpus():
    done = run("stats", "--json", *FILES)
    assert done.status == 2
    failed = [entry["path"].rpartition("/")[2] for entry in done.json if "error" in entry]
    assert failed == ["deltavision_toxo.dv", "exiftool_MRC.mrc"]
