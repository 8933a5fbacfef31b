"""Metadata of a tilt series stay with their images through everything that is done to it."""

from __future__ import annotations

import itertools
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay

from xarray_mrc import open_mrc, to_mrc

COUNT = 5
IMAGES = range(COUNT)
# As they are stored in SerialEM's records, and what the numbers mean.
STORED = {
    "tilt_angle": [-6000, 33, 0, 4201, -33],
    "stage_x": [-32768, 1, 0, 3, 32767],
    "stage_y": [7, -7, 7, 25, 1],
    "magnification": [65535, 42, 1, 810, 42],
}
DOSES = {"dose": [(1, 0), (0, 5), (16384, -5 * 256), (3, 258), (32767, -10 * 256 - 255)]}
MEANT = {
    "tilt_angle": [n / 100 for n in STORED["tilt_angle"]],
    "stage_x": [n / 25 for n in STORED["stage_x"]],
    "stage_y": [n / 25 for n in STORED["stage_y"]],
    "magnification": [n * 100 for n in STORED["magnification"]],
    "dose": [256, 5, 16384 * 256 / 32, 1540, -1],
}
MEANT["dose"][4] = (32767 * 256 + 255) / 2**10
WRITTEN = {
    "TiltAngle": ["-60.0049", "0.30000000000000004", "1e-17", "42.01", "-0.3"],
    "StageZ": ["51.2", "-3", "0.1", "123456789.123", "0"],
    "Defocus": ["-3.512", "-2.75", "0", "1", "2"],
    "ExposureDose": ["2.7", "3.1", "2.9", "100", "0.001"],
    "PriorRecordDose": ["0", "2.7", "5.8", "8.7", "108.7"],
    "SubFramePath": [rf"X:\tilts\é[{n}] a=b.tif" for n in IMAGES],
    "DateTime": [f"07-May-2024  10:0{n}:59" for n in IMAGES],
    "TargetDefocus": ["-3.5"] * COUNT,
    "NavigatorLabel": ["007", "8", "", "a b", "1e5"],
    "Something": ["1.5", "", "-2", "3e300", "4"],
}
READ: dict[str, list[Any]] = {
    "tilt_angle": [float(text) for text in WRITTEN["TiltAngle"]],
    "stage_z": [float(text) for text in WRITTEN["StageZ"]],
    "defocus": [float(text) for text in WRITTEN["Defocus"]],
    "dose": [float(text) for text in WRITTEN["ExposureDose"]],
    "prior_dose": [float(text) for text in WRITTEN["PriorRecordDose"]],
    "sub_frame_path": WRITTEN["SubFramePath"],
    "timestamp": [np.datetime64(f"2024-05-07T10:0{n}:59", "ns") for n in IMAGES],
    "target_defocus": [-3.5] * COUNT,
    "navigator_label": WRITTEN["NavigatorLabel"],
    "something": [float(text or "nan") for text in WRITTEN["Something"]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tilt series with records, and one with a .mdoc; all pixels of image n are n."""
    home: Path = tmp_path_factory.mktemp("series")
    records = b"".join(
        struct.pack(">hhhH2h", *(STORED[name][n] for name in STORED), *DOSES["dose"][n])
        for n in IMAGES
    )
    fields = {"exttyp": b"SERI", "nint": 12, "nreal": 1 | 4 | 8 | 32, "extended": records}
    for name, also in (("records.st", fields), ("mdoc.st", {})):
        laid = lay("int16", "image_stack", ">", lengths=(4, 3, COUNT), **also)
        pixels = np.repeat(np.arange(COUNT, dtype=">i2"), 12).tobytes()
        (home / name).write_bytes(laid.raw[: -len(pixels)] + pixels)
    sections = (
        "".join(f"{key} = {texts[n]}\n" for key, texts in WRITTEN.items() if texts[n])
        for n in IMAGES
    )
    text = "".join(f"[ZValue = {n}]\n{section}\n" for n, section in enumerate(sections))
    (home / "mdoc.st.mdoc").write_text(text, "utf-8")
    return home


@st.composite
def chains(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    """Draw steps; the numbers say which images a step takes, modulo those that there are."""
    names = st.sampled_from(["take", "concat", "sort", "drop", "reverse", "mask", "rename"])
    return draw(st.lists(st.tuples(names, st.lists(st.integers(0, 9), max_size=6)), max_size=4))


def slow_of(array: xr.DataArray) -> Any:
    return array.dims[0]


def take(array: xr.DataArray, numbers: list[int]) -> xr.DataArray:
    size = array.shape[0]
    return array.isel({slow_of(array): [n % size for n in numbers] or [0]})


def concat(array: xr.DataArray, numbers: list[int]) -> xr.DataArray:
    return xr.concat([take(array, numbers), array[:2]], slow_of(array), join="exact")


def drop(array: xr.DataArray, numbers: list[int]) -> xr.DataArray:
    gone = {n % array.shape[0] for n in numbers[: array.shape[0] - 1]}
    return array.drop_isel({slow_of(array): [*gone]})


STEPS: dict[str, Callable[[xr.DataArray, list[int]], xr.DataArray]] = {
    "take": take,
    "concat": concat,
    "drop": drop,
    "sort": lambda array, numbers: array.sortby("tilt_angle", ascending=bool(numbers)),
    "reverse": lambda array, _: array[::-1],
    "mask": lambda array, _: (
        array[abs(array.tilt_angle) < 50] if (abs(array.tilt_angle) < 50).any() else array
    ),
    "rename": lambda array, _: array.rename({slow_of(array): "view"}),
}
SOURCES = {
    "records": ("records.st", MEANT, {}),
    "mdoc": ("mdoc.st", READ, {"extended_header": "all"}),
}
TARGETS = ["mrc", "zarr 2", "zarr 3"]
runs = itertools.count()


def assert_kept(found: xr.DataArray, metadata: dict[str, list[Any]]) -> None:
    """Compare the metadata of each image with those of the image that its pixels name."""
    numbers = found.values[:, 0, 0].astype(int).tolist()
    assert (found == found[:, :1, :1].values).all()
    for name, values in metadata.items():
        wanted = [values[n] for n in numbers]
        if name not in found.coords:  # nothing is known of these images
            assert all(value == "" or value != value for value in wanted)
            continue
        kept = found[name].values
        assert kept.shape == (len(numbers),)
        np.testing.assert_array_equal(kept, np.array(wanted, kept.dtype))


@pytest.mark.parametrize("source", SOURCES)
@settings(deadline=None, max_examples=12)
@given(chain=chains(), target=st.sampled_from(TARGETS))
def test_images_keep_their_metadata(folder, source, chain, target):
    name, metadata, options = SOURCES[source]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = open_mrc(folder / name, **options)
        for step, numbers in chain:
            array = STEPS[step](array, numbers)
        assert_kept(array, metadata)
        path = folder / f"{next(runs)}.st"
        sidecar = {"sidecar": "mdoc"} if source == "mdoc" else {}
        if target != "mrc":
            warnings.filterwarnings("ignore", "The (codec|dtype) ")  # of the oldest zarr
            store = path.with_suffix(".zarr")
            array.load().to_dataset(name="data").to_zarr(
                store, zarr_format=int(target[-1]), consolidated=False
            )
            array = xr.open_zarr(store, consolidated=False).data
            assert_kept(array, metadata)
        to_mrc(array, path, **sidecar)
        found = open_mrc(path, **options)
    assert_kept(found, metadata)
    np.testing.assert_array_equal(found, array)


def test_both_at_once(folder):
    """Images of a file with records and of one with a .mdoc share what both have."""
    parts = [open_mrc(folder / name) for name in ("records.st", "mdoc.st")]
    shared = set(parts[0].coords) & set(parts[1].coords)
    parts = [part.drop_vars(set(part.coords) - shared) for part in parts]
    both = xr.concat(parts, "image", join="exact")
    to_mrc(both, folder / "both.st", sidecar="mdoc")
    found = open_mrc(folder / "both.st")
    assert found.tilt_angle.values.tolist() == MEANT["tilt_angle"] + READ["tilt_angle"]
    assert found.dose.values.tolist() == MEANT["dose"] + READ["dose"]
