"""Guards of the parts of xarray that are not public: their names, and what is relied upon.

If one of these fails with a new release of xarray, look at `xarray_mrc/dataset/lazy_variable.py`.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay
from xarray.backends import BackendArray
from xarray.core import indexing

import xarray_mrc
from xarray_mrc.dataset import lazy_variable as _xarray
from xarray_mrc.reading import open_file as reader

PACKAGE = Path(xarray_mrc.__file__).parent
SHAPE = (4, 5, 6)
NUMBERS = np.arange(120, dtype="f4").reshape(SHAPE)


class Recorder(BackendArray):
    """Holds numbers, and keeps the indices that it is asked with."""

    def __init__(self):
        self.shape, self.dtype = SHAPE, NUMBERS.dtype
        self.keys, self.awaited = [], 0

    def __getitem__(self, key):
        self.keys.append(key)
        if not isinstance(key, indexing.OuterIndexer):
            return NUMBERS[key.tuple]
        found = NUMBERS
        for axis in reversed(range(3)):
            found = found[(slice(None),) * axis + (key.tuple[axis],)]
        return found

    async def async_getitem(self, key):
        self.awaited += 1
        return self[key]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def lazy(recorder):
    return xr.Variable(("z", "y", "x"), indexing.LazilyIndexedArray(recorder))


def imports_of_xarray(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("xarray."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xarray":
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_private_parts_are_touched_in_one_module():
    public = {"xarray.backends.BackendArray", "xarray.backends.BackendEntrypoint"}
    found = {
        path.name: set(imports_of_xarray(path)) - public for path in sorted(PACKAGE.rglob("*.py"))
    }
    found = {name: names for name, names in found.items() if names}
    assert found == {"lazy_variable.py": {"xarray.core.indexing"}}
    for path in PACKAGE.rglob("*.py"):
        private = [
            node.attr
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and isinstance(node.value, ast.Name)
            and node.value.id in ("xr", "ds", "da", "dataset", "variable")
        ]
        assert not private, path


def test_names_exist():
    tree = ast.parse(inspect.getsource(_xarray))
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "indexing"
    }
    assert {"LazilyIndexedArray", "VectorizedIndexer", "ExplicitIndexer"} <= names
    assert not {name for name in names if not hasattr(indexing, name)}
    # What is overridden has to be there to be overridden.
    for name, ours in vars(_xarray).items():
        if inspect.isclass(ours) and ours.__module__ == _xarray.__name__:
            parents = [c for c in ours.__mro__[1:] if c.__module__.startswith("xarray.")]
            if not parents:  # a protocol of our own
                continue
            parent = parents[0]
            own = {"__getitem__", "async_getitem", "__init__", "__slots__", "__module__", "__doc__"}
            if issubclass(ours, indexing.LazilyIndexedArray):
                methods = {n for n, value in vars(ours).items() if inspect.isfunction(value)}
                assert methods - own <= set(dir(parent)), name
    assert issubclass(BackendArray, indexing.ExplicitlyIndexed)


def test_keys_of_slices_and_integers(recorder, lazy):
    assert lazy[1, ::-2, 2:5].values.tolist() == NUMBERS[1, ::-2, 2:5].tolist()
    (key,) = recorder.keys
    assert type(key) is indexing.BasicIndexer
    assert [type(entry) for entry in key.tuple] == [int, slice, slice]
    assert isinstance(key, indexing.ExplicitIndexer)


def test_keys_of_lists(recorder, lazy):
    found = lazy[[3, 0], 1:4, [5, 5, 1]]
    assert recorder.keys == []
    assert found.values.tolist() == NUMBERS[[3, 0]][:, 1:4][:, :, [5, 5, 1]].tolist()
    (key,) = recorder.keys
    assert type(key) is indexing.OuterIndexer
    kinds = [np.ndarray, slice, np.ndarray]
    assert [type(entry) for entry in key.tuple] == kinds
    assert [entry.ndim for entry in key.tuple if isinstance(entry, np.ndarray)] == [1, 1]


def test_keys_of_points(recorder, lazy):
    where = {"z": xr.Variable("p", [3, 0]), "y": xr.Variable("p", [1, 4])}
    found = lazy.isel(where)
    assert recorder.keys == []
    assert found.values.tolist() == NUMBERS[[3, 0], [1, 4]].tolist()
    (key,) = recorder.keys
    assert type(key) is indexing.VectorizedIndexer
    # Slices are arrays by now, and each array has as many axes as the result.
    assert [type(entry) for entry in key.tuple] == [np.ndarray] * 3
    assert [entry.ndim for entry in key.tuple] == [2] * 3
    assert np.broadcast(*key.tuple).shape == (2, 6)


def test_chained_keys_are_one(recorder, lazy):
    found = pickle.loads(pickle.dumps(lazy))[1:][:, 2][..., ::-1][[0, 2]]
    assert found.values.tolist() == NUMBERS[1:, 2, ::-1][[0, 2]].tolist()
    assert recorder.keys == []
    found = lazy[1:][:, 2][..., ::-1][[0, 2]]
    assert found.values.tolist() == NUMBERS[1:, 2, ::-1][[0, 2]].tolist()
    assert len(recorder.keys) == 1
    assert len(recorder.keys[0].tuple) == 3


def test_parts_of_a_lazy_array(lazy):
    array = lazy[1, 2:][:, [0, 3]]._data
    assert type(array) is indexing.LazilyIndexedArray
    assert type(array.array) is Recorder
    assert isinstance(array.key, indexing.OuterIndexer)
    assert array.shape == (3, 2)
    again = type(array)(array.array, array.key)
    assert again.shape == array.shape
    assert again.get_duck_array().tolist() == NUMBERS[1, 2:][:, [0, 3]].tolist()


def test_async(recorder, lazy):
    data = xr.DataArray(lazy)[1:, [0, 3]]
    found = asyncio.run(data.load_async())
    assert found.values.tolist() == NUMBERS[1:, [0, 3]].tolist()
    assert recorder.awaited == 1


@pytest.mark.parametrize("cache", [True, False])
def test_wrappers_of_an_opened_dataset(cache):
    laid = lay()
    data = xr.open_dataset(laid.raw, engine="mrc", cache=cache)["data"].variable
    layers = []
    array = data._data
    while isinstance(array, indexing.ExplicitlyIndexed) and not isinstance(array, BackendArray):
        layers.append(type(array))
        array = array.array
    assert isinstance(array, _xarray.MrcBackendArray)
    assert issubclass(layers.pop(), indexing.LazilyIndexedArray)
    # Two copy when values are assigned: that of xarray, and that of `lazy_variable`.
    wanted = [indexing.MemoryCachedArray] * cache + [indexing.CopyOnWriteArray] * 2
    assert layers == wanted
    # Slicing and turning go down to the lazy array, and read nothing.
    for part in (data[1:], data[[0, 1]], data.transpose("x", "y", "z"), data[0].transpose()):
        assert not part._in_memory
    np.testing.assert_array_equal(data.transpose("x", "y", "z"), laid.pixels.transpose(2, 1, 0))


def test_a_variable_of_ours_is_lazy():
    laid = lay("four_bit", "volume_stack", ">")
    array = reader.open_file(laid.raw).array
    lazy = _xarray.lazy_variable(array, array.layout.dims, {"a": 1}, {"b": 2})
    assert not lazy._in_memory
    assert (lazy.dims, lazy.shape, lazy.dtype) == (laid.dims, laid.pixels.shape, np.uint8)
    assert (lazy.attrs, lazy.encoding) == ({"a": 1}, {"b": 2})
    assert type(lazy.values) is np.ndarray
    for key in ((0, 1, 2, 3), (..., 0), ([1, 0], 0)):
        np.testing.assert_array_equal(lazy[key].values, laid.pixels[key])
        assert type(lazy[key].values) is np.ndarray


def test_accessors_are_registered():
    for cls in (xr.Dataset, xr.DataArray):
        assert cls.mrc is importlib.import_module("xarray_mrc.accessor").MrcAccessor


def test_a_bare_dataset_is_whole():
    laid = lay("float32", "volume")
    for raw in (laid.raw, lay("float32", "image_stack").raw):
        for indexes in (True, False):
            dataset = xr.open_dataset(raw, engine="mrc", create_default_indexes=indexes)
            assert set(dataset.xindexes) == (set(dataset.coords) if indexes else set())
            xr.testing.assertions._assert_internal_invariants(dataset, indexes)
            rebuilt = xr.Dataset(
                {name: variable.variable for name, variable in dataset.data_vars.items()},
                xr.Coordinates({n: c.variable for n, c in dataset.coords.items()}, indexes={}),
            )
            xr.testing.assert_identical(dataset.drop_indexes(list(dataset.xindexes)), rebuilt)
            dataset["data"].attrs["mine"] = 1
            dataset.coords["x"].attrs["mine"] = 1
