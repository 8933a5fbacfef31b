"""What a file name says of its container."""

import pytest

from xarray_mrc.codec.containers import SUFFIX_OF, named_container, plain_name


@pytest.mark.parametrize(("container", "suffix"), SUFFIX_OF.items())
def test_by_suffix(container, suffix):
    for name in (f"a.mrc{suffix}", f"/b.gz/a.mrc{suffix.upper()}", f"a.b{suffix}"):
        assert named_container(name) == container
        assert plain_name(name) == name[: -len(suffix)]


@pytest.mark.parametrize("name", ["a.mrc", "gz", "/b.gz/a", "a.gz.mrc", "", ".gz", "a.zstd"])
def test_plain(name):
    assert named_container(name) is None
    assert plain_name(name) == name
