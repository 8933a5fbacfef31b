"""Conformance suites for sources and sinks of bytes, and strategies of hypothesis.

Whoever writes a source or a sink of their own subclasses a suite in their tests, as the examples of
`SourceTests` and `SinkTests` show. These modules need pytest and hypothesis; nothing else of the
package does.
"""

try:
    import hypothesis  # noqa: F401
    import pytest
except ImportError as error:
    raise ImportError(
        f"xarray_mrc.testing needs {error.name}: python -m pip install pytest hypothesis",
        name=error.name,
    ) from error

# So that failed assertions of the suites show their values, as those of the caller's tests do.
pytest.register_assert_rewrite(
    *(f"xarray_mrc.testing.{name}" for name in ("sinks", "sources", "streams"))
)

from xarray_mrc.testing.sinks import SinkTests  # noqa: E402
from xarray_mrc.testing.sources import (  # noqa: E402
    AsyncSourceTests,
    MappedSourceTests,
    SourceTests,
)
from xarray_mrc.testing.strategies import MrcFile, byte_ranges, mrc_files  # noqa: E402
from xarray_mrc.testing.streams import StreamSourceTests  # noqa: E402

__all__ = [
    "AsyncSourceTests",
    "MappedSourceTests",
    "MrcFile",
    "SinkTests",
    "SourceTests",
    "StreamSourceTests",
    "byte_ranges",
    "mrc_files",
]
