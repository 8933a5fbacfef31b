"""Parameters of the engine, and of xarray's own functions over it."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import xarray as xr
from opened import LAID, expected, open_file
from xarray.testing import assert_equal, assert_identical

import xarray_mrc
from xarray_mrc.backend import MrcBackendEntrypoint
from xarray_mrc.reading.options import ReadingOptions


def test_open_dataset_parameters():
    signature = inspect.signature(MrcBackendEntrypoint().open_dataset)
    assert MrcBackendEntrypoint.open_dataset_parameters == tuple(signature.parameters)
    kinds = {p.kind for p in signature.parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_defaults_may_be_given(path):
    parameters = inspect.signature(MrcBackendEntrypoint.open_dataset).parameters
    defaults = {
        name: p.default
        for name, p in parameters.items()
        if p.default is not inspect.Parameter.empty
    }
    assert_identical(open_file(path, **defaults), open_file(path))
    del defaults["drop_variables"]
    assert_identical(open_file(path, backend_kwargs=defaults), open_file(path))


def test_engine_by_class(path):
    dataset = xr.open_dataset(path, engine=MrcBackendEntrypoint)
    assert_identical(dataset, open_file(path))
    for engine in ("mrc", MrcBackendEntrypoint):
        plain = xr.open_dataset(path, engine=engine, decode_cf=False)
        assert_identical(plain, dataset)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("orign", "did you mean 'origin'"), ("chunk", "did you mean 'chunks'"), ("nonsense", "file.")],
)
@pytest.mark.parametrize("opener", [open_file, xarray_mrc.open_mrc])
def test_unknown_parameter(path, opener, name, hint):
    with pytest.raises(TypeError, match=f"^{name}=1 is not an option") as found:
        opener(path, **{name: 1})
    assert hint in str(found.value)
    for field in dataclasses.fields(ReadingOptions):
        assert f" {field.name}, " in str(found.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("truncated", True), ("signed", "no"), ("origin", "center"), ("coords", None),
     ("extended_header", True), ("memmap", "r"), ("sidecar", "a.mdoc"), ("kind", "stack")],
)  # fmt: skip
def test_values_that_are_none_of_a_parameter(path, name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}, expected "):
        xr.open_dataset(path, engine="mrc", **{name: value})


def test_drop_variables(path):
    assert open_file(path, drop_variables="z").coords.keys() == {"y", "x"}
    assert open_file(path, drop_variables=["z", "nothing"]).coords.keys() == {"y", "x"}
    assert not open_file(path, drop_variables={"data"}).data_vars


def test_preferred_chunks_are_a_mapping(path):
    with pytest.raises(TypeError, match=r"preferred_chunks=16, expected a dict"):
        xarray_mrc.open_mrc(path, preferred_chunks=16)


def test_default_name(path):
    dataset = open_file(path, default_name="density", chunks={})
    assert list(dataset.data_vars) == ["density"]
    assert_equal(dataset, expected().rename(data="density"))
    assert xarray_mrc.open_mrc(path, default_name="density").name == "density"


@pytest.mark.parametrize(
    ("name", "options"), [("x", {}), ("z", {"coords": "none"}), ("image", {"kind": "image_stack"})]
)
def test_default_name_of_a_coordinate_or_dimension(path, name, options):
    with pytest.raises(
        ValueError, match=f"default_name='{name}' is the name .*pass another default_name"
    ):
        open_file(path, default_name=name, **options)


def test_open_dataarray(path):
    data = xr.open_dataarray(path, engine="mrc")
    assert_identical(data, open_file(path)["data"])
    assert_equal(data, expected()["data"])


@pytest.mark.parametrize("chunks", [None, {}, {"z": 20}])
def test_open_mrc(path, chunks):
    data = xarray_mrc.open_mrc(path, chunks=chunks)
    assert_identical(data, open_file(path)["data"])
    assert (data.chunks is None) == (chunks is None)
    assert xarray_mrc.open_mrc(path).chunks == ((20,), (6,), (7,))
    assert xarray_mrc.open_mrc(path, coords="none", drop_variables=[]).coords.keys() == set()


def test_without_default_indexes(path):
    dataset = open_file(path, create_default_indexes=False)
    assert not dataset.xindexes
    for dim in "zyx":
        assert dataset[dim].values.tolist() == LAID.positions(dim)
    assert_equal(dataset.set_xindex("z").set_xindex("y").set_xindex("x"), expected())


def test_open_datatree_is_refused_cleanly(path):
    # Everything is in one Dataset; a tree of groups makes no sense of it.
    with pytest.raises(NotImplementedError):
        xr.open_datatree(path, engine="mrc")
    with pytest.raises((NotImplementedError, ValueError)):
        xr.open_groups(path)


def test_engine_is_listed():
    engine = xr.backends.list_engines()["mrc"]
    assert isinstance(engine, MrcBackendEntrypoint)
    assert engine.description
    assert engine.url.startswith("https://")
    assert engine.description in repr(engine)
    assert engine.url in repr(engine)
