"""Sources and sinks of bytes: local files, memory, file objects; plain or compressed.

Each is a small value that can be pickled and holds nothing open.
"""

from xarray_mrc.storage.protocol import Head, Source
from xarray_mrc.storage.source import open_head, open_source

__all__ = ["Head", "Source", "open_head", "open_source"]
