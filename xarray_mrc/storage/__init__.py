"""Where the bytes of a file come from: local, in memory, a file object.

Each source is a small value that can be pickled and holds nothing open.
"""

from xarray_mrc.storage.source import Source, open_head, open_source

__all__ = ["Source", "open_head", "open_source"]
