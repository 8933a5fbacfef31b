"""Secrets of URLs and storage_options never appear: each text that a person may see is searched."""

import base64
import gc
import itertools
import logging
import pickle
import traceback
import warnings

import dask
import fault_server
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize
from fault_server import FaultServer
from remote_files import volume

import xarray_mrc
from xarray_mrc.storage import open_head

RAW, PIXELS = volume((4, 5, 6))
SECRET = "s3cr3t-Zq9xK7"
FORMS = [
    SECRET,
    base64.b64encode(SECRET.encode()).decode().rstrip("="),
    base64.b64encode(f"reader:{SECRET}".encode()).decode().rstrip("="),
    SECRET.encode().hex(),
]

# How a secret gets into a call: a function of the URL, and storage_options.
WAYS = {
    "user": (lambda url: url.replace("//", f"//reader:{SECRET}@"), None),
    "token as user": (lambda url: url.replace("//", f"//{SECRET}@"), None),
    "query": (lambda url: f"{url}?X-Amz-Signature={SECRET}&Expires=9", None),
    "fragment": (lambda url: f"{url}#{SECRET}", None),
    "auth": (lambda url: url, {"auth": ("reader", SECRET)}),
    "headers": (lambda url: url, {"headers": {"Authorization": f"Bearer {SECRET}"}}),
    "own header": (lambda url: url, {"headers": {"X-Api-Key": SECRET}}),
    "cookies": (lambda url: url, {"cookies": {"session": SECRET}}),
    "client_kwargs": (lambda url: url, {"client_kwargs": {"auth": ("reader", SECRET)}}),
}


def assert_clean(*texts):
    for text in texts:
        for form in FORMS:
            assert form not in str(text)


def chain_of(error):
    """Return an error, its causes and contexts, and the parts of groups."""
    found, rest = [], [error]
    while rest:
        one = rest.pop()
        if one is None or one in found:
            continue
        found.append(one)
        rest += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        rest += [value for value in one.args if isinstance(value, BaseException)]
    return found


def assert_clean_error(error):
    for one in chain_of(error):
        assert_clean(str(one), repr(one), one.args, vars(one), getattr(one, "__notes__", ()))
        assert_clean("".join(traceback.format_exception(one)))


@pytest.fixture(autouse=True)
def no_secret_in_logs_or_warnings(caplog):
    """Search everything that is logged, by any package, and every warning."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert_clean(*(str(warning.message) for warning in caught))
    for record in caplog.records:
        assert_clean(record.getMessage(), record.exc_text)


@pytest.fixture
def no_pauses(monkeypatch):
    from xarray_mrc.storage.remote import retry

    monkeypatch.setattr(retry, "PAUSES", (0.0,) * len(retry.PAUSES))
    monkeypatch.setattr(retry, "MIN_BUSY_PAUSE", 0.0)


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def opened(server, way):
    """A dataset, opened with a secret that the server got."""
    change, options = way
    url = change(server.put("/a.mrc", RAW))
    dataset = xr.open_dataset(url, engine="mrc", storage_options=options)
    np.testing.assert_array_equal(dataset.data, PIXELS)
    return dataset


def assert_clean_dataset(dataset):
    for variable in (dataset, *dataset.variables.values()):
        assert_clean(variable, repr(variable), variable._repr_html_())
        assert_clean(variable.attrs, variable.encoding, *variable.encoding.values())
    assert_clean(dataset.to_dict(data=False, encoding=True))
    assert_clean(tokenize(dataset), pickle.dumps(tokenize(dataset)))


def test_a_dataset(opened):
    assert_clean_dataset(opened)
    assert_clean_dataset(opened[["data"]].isel(z=0) + 1)
    assert opened.encoding["source"].endswith("/a.mrc")
    assert "?" not in opened.encoding["source"]


def test_the_server_got_the_secret(opened, server, request):
    """So that the other tests are not empty."""
    seen = [[r.path, *r.headers.values()] for r in server.requests]
    if "fragment" not in request.node.name:  # which no client sends
        assert all(any(form in part for form in FORMS for part in parts) or
                   any(base64.b64encode(f"{SECRET}:".encode()).decode() in part for part in parts)
                   for parts in seen)  # fmt: skip


def test_objects_inside(server, way):
    """Each object that the dataset is made of, and what it holds."""
    change, options = way
    head = open_head(change(server.put("/a.mrc", RAW)), storage_options=options)
    source = head.source
    for one in (head, source, source.adapter, source.version, source.adapter.options):
        assert_clean(repr(one), str(one), f"{one}", f"{one!r:>10}")
        public = [name for name in dir(one) if name[0] != "_" and name not in ("url", "data")]
        assert_clean(*(repr(getattr(one, name)) for name in public))
    assert_clean(source.uri, source.fingerprint, tokenize(source), tokenize(head))


def test_a_dask_graph(server, way):
    change, options = way
    url = change(server.put("/a.mrc", RAW))
    array = xarray_mrc.open_mrc(url, chunks={"z": 1}, storage_options=options)
    assert_clean(array, repr(array), array._repr_html_(), array.encoding, array.data)
    graph = array.__dask_graph__()
    assert_clean(repr(graph), graph._repr_html_(), *array.__dask_keys__(), array.data.name)
    for key, task in itertools.islice(dict(graph).items(), 50):
        assert_clean(key, repr(task), str(task))
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(array, PIXELS)


def test_a_header_and_a_report(server, way):
    change, options = way
    url = change(server.put("/a.mrc", RAW))
    header = xarray_mrc.read_header(url, storage_options=options)
    assert_clean(header, repr(header), header._repr_html_())
    report = xarray_mrc.validate(url, storage_options=options)
    assert_clean(report, repr(report), report.path, *map(repr, report.findings))


def test_another_secret_is_another_token(server):
    """Files of two users at one URL are not taken for one another."""
    url = server.put("/a.mrc", RAW)
    names = set()
    for secret in ("one", "two", "two"):
        options = {"headers": {"Authorization": secret}}
        names.add(xarray_mrc.open_mrc(url, storage_options=options).data.name)
    assert len(names) == 2


FAULTS = {
    "truncated": fault_server.truncate(0),
    "reset": fault_server.reset(0),
    "closed": fault_server.hang_up,
    "stalled": fault_server.stall(),
    "busy": fault_server.status(503, Retry_After="0"),
    "404": fault_server.status(404),
    "403": fault_server.status(403, b"<Error>no</Error>"),
    "401": fault_server.status(401, WWW_Authenticate='Basic realm="maps"'),
    "418": fault_server.status(418),
    "500": fault_server.status(500),
    "range": fault_server.shifted_range(),
    "encoded": fault_server.encoded,
    "changed": fault_server.etag('"2"'),
    "whole": fault_server.ignore_ranges,
    "endless": fault_server.endless,
    "circle": fault_server.redirect("/a.mrc"),
    "elsewhere": fault_server.redirect("ftp://a/b"),
    "no URL": fault_server.redirect("http://[::1/b"),
    "refused": fault_server.redirect("http://127.0.0.1:9/a.mrc"),
}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["user", "query", "headers", "cookies"])
def test_errors(server, way, fault):
    change, options = WAYS[way]
    url = change(server.put("/a.mrc", RAW))
    options = {"timeout": 0.2, **(options or {})}
    array = xr.open_dataset(url, engine="mrc", storage_options=options).data
    server.put("/a.mrc", RAW, always=FAULTS[fault])
    with pytest.raises((OSError, xarray_mrc.MrcError)) as caught:
        array.load()
    assert_clean_error(caught.value)
    with pytest.raises((OSError, xarray_mrc.MrcError)) as caught:
        xr.open_dataset(url, engine="mrc", storage_options=options).data.load()
    assert_clean_error(caught.value)


@pytest.mark.usefixtures("no_pauses")
def test_a_redirect_that_repeats_the_secret(server):
    """Signed links are what many archives redirect to."""
    with FaultServer(host="localhost") as other:
        other.put("/b.mrc", RAW)
        target = other.url(f"/b.mrc?signature={SECRET}")
        url = server.put("/a.mrc", b"", always=fault_server.redirect(target))
        dataset = xr.open_dataset(url, engine="mrc", storage_options={"timeout": 0.2})
        np.testing.assert_array_equal(dataset.data, PIXELS)
        assert_clean_dataset(dataset)
        for fault in FAULTS.values():
            other.put("/b.mrc", RAW, always=fault)
            again = xr.open_dataset(url, engine="mrc", storage_options={"timeout": 0.2}) if (
                fault is FAULTS["changed"]) else dataset.copy()  # fmt: skip
            try:
                again.data.load()
            except (OSError, xarray_mrc.MrcError) as error:
                assert_clean_error(error)


WRONG_OPTIONS = [
    {"unknown": SECRET},
    {"auth": SECRET},
    {"auth": (SECRET,)},
    {"auth": 5, "headers": {"a": SECRET}},
    {"headers": SECRET},
    {"headers": {"X-Key": f"{SECRET}\r\nX-Other: 1"}},
    {"cookies": SECRET},
    {"client_kwargs": {"unknown": SECRET}},
    {"client_kwargs": SECRET},
    {"ssl": f"/nowhere/{SECRET}"},
    {SECRET.encode(): 1},
    SECRET,
    [SECRET],
]


@pytest.mark.parametrize("options", WRONG_OPTIONS, ids=range(len(WRONG_OPTIONS)))
def test_wrong_options(server, options):
    url = server.put("/a.mrc", RAW)
    with pytest.raises((OSError, TypeError, ValueError)) as caught:
        xr.open_dataset(url, engine="mrc", storage_options=options)
    assert_clean_error(caught.value)


WRONG_URLS = [
    f"http://reader:{SECRET}@127.0.0.1:9/a.mrc",
    f"http://reader:{SECRET}@127.0.0.1:x/a.mrc",
    f"http://reader:{SECRET}@127.0.0.1:99999/a.mrc",
    f"http://reader:{SECRET}@[::1/a.mrc",
    f"http://reader:{SECRET}@/a.mrc",
    f"http://reader:{SECRET}@host.invalid/a.mrc?token={SECRET}",
    f"ftp://reader:{SECRET}@127.0.0.1/a.mrc",
    f"nothing://reader:{SECRET}@127.0.0.1/a.mrc?{SECRET}",
]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("url", WRONG_URLS)
def test_wrong_urls(url):
    for call in (
        lambda: xr.open_dataset(url, engine="mrc"),
        lambda: xarray_mrc.open_mrc(url),
        lambda: xarray_mrc.read_header(url),
        lambda: xarray_mrc.statistics(url),
        lambda: xarray_mrc.validate(url),
        lambda: xarray_mrc.convert(url, "/nowhere/a.mrc"),
        lambda: xr.open_dataset(url, engine="mrc", unknown=1),
        lambda: xarray_mrc.edit_header(url, fix=True),
        lambda: xarray_mrc.to_mrc(xr.DataArray(PIXELS, dims=("z", "y", "x")), url),
    ):
        with pytest.raises((OSError, TypeError, ValueError, xarray_mrc.MrcError)) as caught:
            call()
        assert_clean_error(caught.value)


@pytest.mark.parametrize("raw", [b"", b"no MRC file" * 100, RAW[:1100], RAW + bytes(10)])
def test_files_that_are_wrong(server, way, raw):
    """Errors and warnings about the content name the file."""
    change, options = way
    url = change(server.put("/a.mrc", raw))
    if len(raw) < len(RAW):
        with pytest.raises(xarray_mrc.MrcError, match=r"/a\.mrc") as caught:
            xr.open_dataset(url, engine="mrc", storage_options=options)
        assert_clean_error(caught.value)
    else:
        with pytest.warns(xarray_mrc.MrcWarning, match=r"/a\.mrc"):
            xr.open_dataset(url, engine="mrc", storage_options=options)
    report = xarray_mrc.validate(url, storage_options=options)
    assert_clean(report, repr(report))


def test_written_files(opened, tmp_path):
    """Nothing of the URL goes into a file that is made from it."""
    opened.mrc.to_mrc(tmp_path / "b.mrc")
    opened.drop_encoding().to_zarr(tmp_path / "b.zarr")
    opened.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(form.encode() in content for form in FORMS), path
