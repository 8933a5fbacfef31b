"""Batches of images: which images, in which order, how many are read ahead, and how they end."""

import multiprocessing
import os
import pickle
import threading
import time

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.storage.local import LocalSource

FILES, PER_FILE, ROWS, COLUMNS = 3, 7, 6, 4


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A STAR file of the images of three files, in mixed order, and their pixels in this order."""
    folder = tmp_path_factory.mktemp("particles")
    pixels = []
    for number in range(FILES):
        laid = lay("float32", "image_stack", lengths=(COLUMNS, ROWS, PER_FILE), seed=number)
        (folder / f"{number}.mrcs").write_bytes(laid.raw)
        pixels.append(laid.pixels)
    order = np.random.default_rng(3).permutation(FILES * PER_FILE)
    lines = [f"{n % PER_FILE + 1:06d}@{n // PER_FILE}.mrcs {n} {n % 3}" for n in order]
    head = "data_particles\n\nloop_\n_rlnImageName\n_rlnNumber\n_rlnClassNumber\n"
    (folder / "p.star").write_text(head + "\n".join(lines) + "\n")
    return folder / "p.star", np.concatenate(pixels)[order]


def no_threads_are_left():
    """Return True once the threads that read ahead have ended."""
    for _ in range(200):
        if not any("batches" in thread.name for thread in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False


FORMS = {
    "blocks": lambda path: xarray_mrc.open_stack(path),
    "small blocks": lambda path: xarray_mrc.open_stack(path, chunks={"image": 2}),
    "lazy": lambda path: xarray_mrc.open_stack(path, chunks=None),
    "dask": lambda path: xarray_mrc.open_stack(path, chunks=None).chunk(image=4),
    "numpy": lambda path: xarray_mrc.open_stack(path, chunks=None).load(),
    "arithmetic": lambda path: xarray_mrc.open_stack(path, chunks={"image": 5}) * 1,
}


@pytest.fixture(scope="module")
def opened(table):
    """Images of the table in all forms, and their numbers and pixels."""
    path, pixels = table
    forms = {name: form(path) for name, form in FORMS.items()}
    numbers = forms["numpy"].rlnNumber.values.tolist()
    return forms, dict(zip(numbers, pixels, strict=True))


@settings(deadline=None, max_examples=40)
@given(
    form=st.sampled_from(list(FORMS)),
    size=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    selection=st.sampled_from([slice(None), slice(None, None, -2), [9, 0, 3, 3, 20], "class"]),
    order=st.permutations(["image", "y", "x"]),
    window=st.sampled_from([slice(None), slice(1, 5)]),
)
def test_batches_are_what_isel_gives(
    opened, form, size, shuffle, drop_last, selection, order, window
):
    forms, source = opened
    classes = forms["numpy"].rlnClassNumber.values
    chosen = np.flatnonzero(classes == 2) if isinstance(selection, str) else selection
    p = forms[form][chosen].isel(y=window).transpose(*order)
    batches = p.mrc.batches(size, shuffle=shuffle, drop_last=drop_last)
    found = list(batches)
    count = p.sizes["image"]
    assert len(batches) == len(found) == (count // size if drop_last else -(-count // size))
    assert all(batch.sizes["image"] == size for batch in found[: count // size])
    assert all(isinstance(batch.variable._data, np.ndarray) for batch in found)
    assert all(batch.values.flags.c_contiguous for batch in found)  # PyTorch refuses other strides
    if not shuffle:
        whole = p.compute()
        for start, batch in zip(range(0, count, size), found, strict=False):
            part = {"image": slice(start, start + size)}
            xr.testing.assert_identical(batch, whole.isel(part))
    numbers = np.concatenate([batch.rlnNumber for batch in found]) if found else np.array([])
    if not drop_last:
        assert sorted(numbers) == sorted(p.rlnNumber.values)
    for batch in found:
        for number, image in zip(
            batch.rlnNumber.values, batch.transpose("image", "y", "x").values, strict=True
        ):
            np.testing.assert_array_equal(image, source[number][window])


def test_orders_of_passes(table):
    p = xarray_mrc.open_stack(table[0])

    def orders(batches, passes=2):
        return [[n for batch in batches for n in batch.rlnNumber.values] for _ in range(passes)]

    first = orders(p.mrc.batches(5, seed=1))
    assert first[0] != first[1]
    assert first == orders(p.mrc.batches(5, seed=1))
    assert first == orders(p.mrc.batches(5, seed=np.random.default_rng(1)))
    assert first != orders(p.mrc.batches(5, seed=[1, 2]))
    unseeded = p.mrc.batches(5)
    assert len({tuple(order) for order in orders(unseeded) + orders(p.mrc.batches(5))}) == 4
    again = pickle.loads(pickle.dumps(p.mrc.batches(5, seed=1)))
    assert orders(again) == first


def test_a_batch_reads_its_images_only_and_opens_each_file_once(table, monkeypatch):
    p = xarray_mrc.open_stack(table[0])
    reads = []
    original = LocalSource.read_ranges

    def counted(self, parts):
        reads.append((os.path.basename(self.path), sum(out.size for _, out in parts)))
        original(self, parts)

    monkeypatch.setattr(LocalSource, "read_ranges", counted)
    image_nbytes = ROWS * COLUMNS * 4
    for chosen in (p, p[p.rlnClassNumber != 1], p[::2].transpose("y", "image", "x")):
        reads.clear()
        for batch in chosen.mrc.batches(6):
            assert batch.size
        assert sum(nbytes for _, nbytes in reads) == chosen.sizes["image"] * image_nbytes
    reads.clear()
    (batch,) = p.mrc.batches(FILES * PER_FILE)
    assert sorted(name for name, _ in reads) == ["0.mrcs", "1.mrcs", "2.mrcs"]


def test_at_most_two_batches_are_read_ahead(table):
    p = xarray_mrc.open_stack(table[0])
    batches = p.mrc.batches(2)
    started = []
    read = batches._read
    batches._read = lambda part: started.append(part) or read(part)
    for number, _ in enumerate(batches):
        time.sleep(0.02)
        assert len(started) <= number + 3
    assert len(started) == len(batches)


def test_leaving_early_ends_the_threads(table):
    p = xarray_mrc.open_stack(table[0])
    for _ in p.mrc.batches(2):
        break
    assert no_threads_are_left()
    passing = iter(p.mrc.batches(2))
    next(passing)
    del passing
    assert no_threads_are_left()
    passing = iter(p.mrc.batches(2))
    next(passing)
    with pytest.raises(KeyboardInterrupt):
        passing.throw(KeyboardInterrupt)
    assert no_threads_are_left()


def test_errors_of_reading_name_the_file(table, tmp_path):
    path = tmp_path / "a.mrcs"
    laid = lay("float32", "image_stack", lengths=(COLUMNS, ROWS, PER_FILE))
    path.write_bytes(laid.raw)
    p = xarray_mrc.open_stack(path)
    os.truncate(path, len(laid.raw) - 1)
    with pytest.raises(xarray_mrc.MrcError, match=r"a\.mrcs had .* open it again"):
        list(p.mrc.batches(2))
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        list(p.mrc.batches(2))
    assert caught.value.filename == str(path)
    assert no_threads_are_left()


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="needs preadv")
def test_errors_of_the_system_name_the_file(table, monkeypatch):
    p = xarray_mrc.open_stack(table[0])

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(OSError, match=r"Input/output error: '.*\.mrcs'"):
        next(iter(p.mrc.batches(2)))


def going_on(passing, queue):
    queue.put([batch.rlnNumber.values.tolist() for batch in passing])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on(table):
    p = xarray_mrc.open_stack(table[0])
    passing = iter(p.mrc.batches(4, seed=1))
    next(passing)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=going_on, args=(passing, queue))
    child.start()
    there = queue.get(timeout=30)
    child.join(30)
    assert there == [batch.rlnNumber.values.tolist() for batch in passing]


def test_one_file_and_other_dimensions(tmp_path):
    laid = lay("int16", "image_stack", lengths=(COLUMNS, ROWS, PER_FILE))
    path = tmp_path / "tilts.mrcs"
    path.write_bytes(laid.raw)
    for opened in (
        xarray_mrc.open_mrc(path),
        xarray_mrc.open_mrc(path, chunks=None),
        xr.open_dataarray(path, engine="mrc", chunks={}),
    ):
        tilts = opened.rename(image="tilt")
        batches = tilts.mrc.batches(3, shuffle=False)
        found = xr.concat(list(batches), "tilt")
        np.testing.assert_array_equal(found, laid.pixels)
        assert "tilt" in repr(batches)
        assert batches._images.chunks is None
    boxes = xr.DataArray(np.zeros((5, 2, 2, 2)), dims=("image", "z", "y", "x"))
    assert [batch.shape for batch in boxes.mrc.batches(3)] == [(3, 2, 2, 2), (2, 2, 2, 2)]
    assert list(boxes[:0].mrc.batches(3)) == []


def test_wrong_arguments_are_named():
    images = xr.DataArray(np.zeros((3, 2, 2)), dims=("image", "y", "x"))
    with pytest.raises(ValueError, match="size=0, expected"):
        images.mrc.batches(0)
    with pytest.raises(TypeError):
        images.mrc.batches(2.5)
    with pytest.raises(ValueError, match=r"\('z', 'y', 'x'\), expected one beside"):
        images.rename(image="z").mrc.batches(2)
