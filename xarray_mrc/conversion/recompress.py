"""An MRC file to an MRC file: the same bytes in another container."""

from __future__ import annotations

from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage.protocol import StreamSource
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import path_of_url
from xarray_mrc.storage.source import Openable
from xarray_mrc.storage.target import NO_OPTIONS, open_target
from xarray_mrc.writing.copy_file import copy_file
from xarray_mrc.writing.target import Compression, choose_encoder

__all__ = ["recompress"]


def recompress(
    src: Openable,
    path: str,
    *,
    compression: Compression = "infer",
    compression_level: int | None = None,
    overwrite: bool = False,
    options: StorageOptions = NO_OPTIONS,
) -> None:
    """Write the header, extended header and data of a file to another file, byte by byte.

    Parameters
    ----------
    src : str, os.PathLike, bytes, memoryview or binary file object
        An MRC file, in any container.
    path : str
        Path or URL of the new file.
    compression : {"infer", "gzip", "bzip2", "zstd", None}
        Its container; None for a plain file, "infer" for the container that the suffix names.
    compression_level : int, optional
        As in `to_mrc`.
    overwrite : bool
        Whether an existing file may be replaced, even `src` itself.
    options : StorageOptions
        How the storage of a URL is reached.

    Raises
    ------
    OSError
        A file cannot be read or written, or exists and may not be replaced.
    MrcError
        `src` is not an MRC file, or its data cannot be read faithfully.
    """
    opened = open_file(src, ReadingOptions(extended_header="none"))
    source, layout = opened.array.source, opened.array.layout
    encoder = choose_encoder(compression, path_of_url(path), compression_level)
    with open_target(
        path,
        nbytes=0 if encoder else layout.end,
        overwrite=overwrite,
        in_any_order=encoder is not None,  # its size is not known before
        options=options,
    ) as target:
        receipt = copy_file(source, layout, target.sink, encoder)
        if isinstance(source, StreamSource):
            source.verify_trailer(layout.end)
        target.finish(receipts=[receipt])
