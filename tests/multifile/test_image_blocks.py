"""Images in dask's blocks: a selection reads only its images, and everything else is dask's."""

import copy
import pickle

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.storage.local import LocalSource

FILES, PER_FILE, ROWS, COLUMNS = 3, 7, 6, 4
COUNT = FILES * PER_FILE


def lay_files(folder, form="float32"):
    """Lay down three stacks; return references in mixed order, and the pixels in this order."""
    head = lay(form, "image_stack", lengths=(COLUMNS, ROWS, PER_FILE)).raw[:1024]
    random = np.random.default_rng(4)
    pixels = []
    for number in range(FILES):
        values = random.normal(20, 5, (PER_FILE, ROWS, COLUMNS)).astype(form)
        (folder / f"{number}.mrcs").write_bytes(head + values.tobytes())
        pixels.append(values)
    order = np.random.default_rng(5).permutation(COUNT)
    names = [f"{n % PER_FILE + 1}@{folder}/{n // PER_FILE}.mrcs" for n in order]
    return names, np.concatenate(pixels)[order]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return lay_files(tmp_path_factory.mktemp("stacks"))


@pytest.fixture
def reads(monkeypatch):
    """Bytes of every read."""
    found = []
    original = LocalSource.read_ranges

    def counted(self, parts):
        found.append(sum(out.size for _, out in parts))
        original(self, parts)

    monkeypatch.setattr(LocalSource, "read_ranges", counted)
    return found


@pytest.mark.parametrize("chunks", [{}, {"image": 4}])
def test_a_selection_reads_its_images_only(stack, reads, chunks):
    names, pixels = stack
    classes = np.arange(COUNT) % 4
    p = xarray_mrc.open_stack(names, chunks=chunks).assign_coords(kind=("image", classes))
    chosen = p[p.kind == 3]
    assert reads == []
    np.testing.assert_allclose(chosen.mean("image"), pixels[classes == 3].mean(0), rtol=1e-6)
    assert sum(reads) == chosen.nbytes
    for selected, expected in (
        (p.sortby("kind")[-3:], pixels[np.argsort(classes, kind="stable")][-3:]),
        (p.isel(image=[-1, 2]), pixels[[-1, 2]]),
        (p.chunk(image=5)[[3, 9]], pixels[[3, 9]]),
        (p[11], pixels[11]),
    ):
        reads.clear()
        np.testing.assert_array_equal(selected, expected)
        assert sum(reads) == expected.nbytes
    by_kind = p.groupby("kind").mean()
    expected = np.stack([pixels[classes == kind].mean(0) for kind in range(4)])
    np.testing.assert_allclose(by_kind.transpose("kind", ...), expected, rtol=1e-6)


INDEXES = st.one_of(
    st.slices(6), st.integers(-3, 3), st.lists(st.integers(-3, 3), min_size=0, max_size=5)
)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("isel"), st.sampled_from(["image", "y", "x"]), INDEXES),
            st.tuples(st.just("transpose"), st.permutations(["image", "y", "x"]), st.none()),
            st.tuples(st.just("chunk"), st.integers(1, 5), st.none()),
            st.tuples(st.just("copy"), st.booleans(), st.none()),
        ),
        max_size=4,
    )
)
def test_chains_are_those_of_memory(stack, steps):
    names, pixels = stack
    p = xarray_mrc.open_stack(names).drop_vars(["x", "y"])
    expected = xr.DataArray(pixels, dims=("image", "y", "x"))
    for step, how, index in steps:
        if step == "isel":
            if how not in p.dims or p.sizes[how] < 3 or (np.ndim(index) == 0 and index == 3):
                continue
            if isinstance(index, list):
                index = [min(n, 2) for n in index]
            p, expected = p.isel({how: index}), expected.isel({how: index})
        elif step == "transpose":
            order = [dim for dim in how if dim in p.dims]
            p, expected = p.transpose(*order), expected.transpose(*order)
        elif step == "chunk":
            p = p.chunk(how)
        else:
            p = pickle.loads(pickle.dumps(p)) if how else p.copy(deep=True)
    assert p.shape == expected.shape
    assert tuple(map(sum, p.chunks)) == p.shape
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("form", ["float32", "float16", "complex64", "int16"])
@pytest.mark.parametrize("dims", ["image", ("image", "x"), None])
def test_means_are_numpys(tmp_path, form, dims):
    names, pixels = lay_files(tmp_path, form)
    p = xarray_mrc.open_stack(names)
    for fill in (None, np.nan, np.inf):
        if fill is not None and pixels.dtype.kind not in "fc":
            break
        if fill is not None:  # in one of the files, at one pixel of all of its images
            path = tmp_path / "1.mrcs"
            raw = bytearray(path.read_bytes())
            inside = np.frombuffer(raw, pixels.dtype, offset=1024).reshape(PER_FILE, ROWS, COLUMNS)
            inside[:, 2, 1] = fill
            path.write_bytes(raw)
            p = xarray_mrc.open_stack(names)
        in_memory = p.compute().astype(np.complex128 if pixels.dtype.kind == "c" else float)
        mean = p.mean(dims)
        assert mean.dtype == (np.float64 if pixels.dtype.kind == "i" else pixels.dtype)
        tolerance = 1e-3 if form == "float16" else 1e-5
        scale = np.abs(in_memory.values[np.isfinite(in_memory.values)]).max()
        np.testing.assert_allclose(
            mean.values, in_memory.mean(dims), rtol=tolerance, atol=tolerance * scale
        )
        if fill is np.nan:
            assert np.isnan(p.mean(dims, skipna=False)).any()


def test_half_precision_does_not_overflow(tmp_path):
    names, _ = lay_files(tmp_path, "float16")
    for number in range(FILES):
        path = tmp_path / f"{number}.mrcs"
        head = path.read_bytes()[:1024]
        path.write_bytes(head + np.full((PER_FILE, ROWS, COLUMNS), 3e4, "f2").tobytes())
    mean = xarray_mrc.open_stack(names).mean("image")
    assert mean.dtype == np.float16
    np.testing.assert_array_equal(mean, np.float16(3e4))


def test_assignments_are_seen(stack):
    names, pixels = stack
    p, expected = xarray_mrc.open_stack(names), pixels.copy()
    kept = p.copy(deep=True)
    p[3] = 5.0
    expected[3] = 5.0
    np.testing.assert_array_equal(p[[3, 4]], expected[[3, 4]])
    np.testing.assert_allclose(p.mean("image"), expected.mean(0), rtol=1e-5)
    np.testing.assert_array_equal(np.concatenate(list(p.mrc.batches(5, False))), expected)
    np.testing.assert_array_equal(kept[[3, 4]], pixels[[3, 4]])
    np.testing.assert_array_equal(copy.deepcopy(p)[3], expected[3])


def test_other_dask_arrays_beside_them(stack, tmp_path):
    names, pixels = stack
    p = xarray_mrc.open_stack(names)
    other = xr.DataArray(dask.array.ones(COUNT, chunks=4), dims="image")
    both = xr.Dataset({"p": p, "weight": other})
    np.testing.assert_array_equal(both.compute().p, pixels)
    np.testing.assert_array_equal(both.persist().p, pixels)
    both.to_zarr(tmp_path / "both.zarr", zarr_format=2)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "both.zarr").p, pixels)
    weighted = xr.apply_ufunc(
        np.multiply, p, 2 * other, dask="parallelized", output_dtypes=[p.dtype]
    )
    np.testing.assert_array_equal(weighted, 2 * pixels)
    np.testing.assert_array_equal(xr.concat([p, p * 1], "image")[COUNT - 1 :][0], pixels[-1])
    np.testing.assert_array_equal((p - p.mean("image"))[2], pixels[2] - p.mean("image").values)
    assert isinstance(dask.compute(p.data)[0], np.ndarray)


def test_indexes_out_of_bounds_are_refused_at_once(stack):
    p = xarray_mrc.open_stack(stack[0])
    for index in ([COUNT], [-COUNT - 1], COUNT):
        with pytest.raises(IndexError):
            p.isel(image=index)
    with pytest.raises(NotImplementedError):  # numpy would take pairs of a row and a column
        p.data[:, [0, 1], [0, 1]]


def test_names_of_tasks_follow_from_what_is_read(tmp_path):
    names, _ = lay_files(tmp_path)
    p = xarray_mrc.open_stack(names)
    again = xarray_mrc.open_stack(names)
    assert p.data.name == again.data.name
    assert p[2:9].data.name == again[2:9].data.name
    assert p[[4, 1]].data.name == again[[4, 1]].data.name
    boxes = {"x": [2.7], "y": [5.0], "image": [0]}
    others = [
        p, p[2:9], p[3:9], p[[4, 1]], p[[1, 4]], p.chunk(image=2), p.T, p.mrc.extract(boxes, 2),
        p.mrc.extract(boxes, 4), p.mrc.extract({**boxes, "image": [1]}, 2),
        xarray_mrc.open_stack(names, pad=9), xarray_mrc.open_stack(names, pad=9, fill=1),
        xarray_mrc.open_stack(names[::-1]),
    ]  # fmt: skip
    path = tmp_path / "0.mrcs"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    others.append(xarray_mrc.open_stack(names))
    assert len({other.data.name for other in others}) == len(others)
