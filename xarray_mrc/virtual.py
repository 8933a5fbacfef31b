"""MRC files as Zarr without a copy: a parser for VirtualiZarr, and references for kerchunk.

A virtual Zarr store lists the byte ranges of another file as its chunks. It holds metadata and
coordinates itself, so readers need Zarr, but not this package.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_mrc.conversion.virtual_group import VirtualGroup, open_virtual_group
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import Source
from xarray_mrc.storage.remote.source import RemoteSource
from xarray_mrc.storage.remote.urls import has_secrets, is_remote, public_url
from xarray_mrc.storage.source import Openable, local_path

if TYPE_CHECKING:
    from virtualizarr.manifests import ManifestArray, ManifestStore

__all__ = ["MrcParser", "references"]

# A store refers to the file itself, at its own place, and by chunks of its own.
FOREIGN_OPTIONS = ("local_copy", "memmap", "preferred_chunks")


@dataclass(frozen=True, init=False)
class MrcParser:
    """A parser of VirtualiZarr for plain MRC files.

    It needs virtualizarr 2.8 or newer, which needs Python 3.12: ``pip install
    'xarray-mrc[virtual]'``. A parser can be pickled.

    Parameters
    ----------
    chunks : mapping of str to int, optional
        Lengths of a chunk by dimension, as in `references`.
    **options
        How a file is read: `truncated`, `signed`, `kind`, `origin`, `coords`, `extended_header`,
        `sidecar` and `default_name` as in `xarray_mrc.open_mrc`.

    Raises
    ------
    TypeError, ValueError
        There is no such option, or it cannot have such a value.

    See Also
    --------
    references : The same as a dict for kerchunk, without VirtualiZarr.

    Notes
    -----
    The store holds Zarr format 3, in the data types and the byte order of the file. Axes in another
    order than x, y, z take the codec ``transpose``, which Zarr and icechunk read, but
    VirtualiZarr's ``to_kerchunk`` does not. It also writes 0 as the fill value of integers, which
    xarray reads as missing. `references` has neither problem.

    Examples
    --------
    >>> from virtualizarr import open_virtual_dataset  # doctest: +SKIP
    >>> open_virtual_dataset(url, registry, MrcParser(chunks={"z": 8}))  # doctest: +SKIP
    >>> MrcParser(chunks={"z": 8}).chunks
    {'z': 8}
    """

    chunks: Mapping[str, int] | None
    options: ReadingOptions = field(repr=False)

    def __init__(self, *, chunks: Mapping[str, int] | None = None, **options: Any) -> None:
        if "storage_options" in options:
            raise TypeError(
                "storage_options= was passed to MrcParser, which reads through the registry; pass "
                "them where the store of the registry is made"
            )
        object.__setattr__(self, "chunks", chunks)
        object.__setattr__(self, "options", reading_options(options))

    def __call__(self, url: str, registry: Any) -> ManifestStore:
        """Parse a file; only its headers are read.

        Parameters
        ----------
        url : str
            URL of the file: ``file:///...``, ``s3://...``, ``https://...``.
        registry : obspec_utils.registry.ObjectStoreRegistry
            Stores by URL. The header of a local file is read by its path, with its sidecars.

        Returns
        -------
        virtualizarr.manifests.ManifestStore
            A Zarr store with the data by reference, and everything else in memory.

        Raises
        ------
        ImportError
            VirtualiZarr is not installed, or older than 2.8.
        OSError
            The file cannot be read.
        MrcError
            It is not an MRC file, or Zarr cannot refer to its data.
        ValueError
            The chunks are not possible.
        """
        try:
            from virtualizarr.manifests import ManifestGroup, ManifestStore
            from virtualizarr.manifests.manifest import INLINED_CHUNK_PATH  # noqa: F401  since 2.6.1
        except ImportError as error:
            raise ImportError(
                "MrcParser needs virtualizarr 2.8 or newer, on Python 3.12 or newer: pip install "
                "'xarray-mrc[virtual]'; xarray_mrc.virtual.references needs neither"
            ) from error
        path: Openable
        if is_remote(url):
            path, target = registry.resolve(url), url
        else:  # VirtualiZarr resolves no escapes in file://, so the path is written as it is
            path = local_path(url)
            target = f"file://{path}"
        group = open_virtual_group(path, self.options, self.chunks, zarr_format=3)
        suffix = "/zarr.json"
        names = [key.removesuffix(suffix) for key in group.entries if key.endswith(suffix)]
        arrays = {
            name: data_array(group, target) if name == group.name else inlined_array(group, name)
            for name in names
        }
        attributes = json.loads(group.entries["zarr.json"])["attributes"]
        root = ManifestGroup(arrays=arrays, attributes=attributes)
        return ManifestStore(root, registry=registry)


def reading_options(options: Mapping[str, Any]) -> ReadingOptions:
    """Check options of reading; TypeError for one that has no meaning for references."""
    for name in FOREIGN_OPTIONS:
        if name in options:
            hint = "pass chunks= instead" if name == "preferred_chunks" else "leave it out"
            raise TypeError(
                f"{name}= was passed, but the data are only referred to, and readers choose how "
                f"they read them; {hint}"
            )
    return ReadingOptions.from_names(options)


def data_array(group: VirtualGroup, url: str) -> ManifestArray:
    """Return the array whose chunks are byte ranges of the file."""
    from virtualizarr.manifests import ChunkManifest

    offsets = np.ascontiguousarray(group.chunks.offsets())
    manifest = ChunkManifest.from_arrays(
        paths=np.full(offsets.shape, url, np.dtypes.StringDType()),
        offsets=offsets,
        lengths=np.full(offsets.shape, group.chunks.nbytes, np.uint64),
        validate_paths=False,
    )
    return manifest_array(group, group.name, manifest)


def inlined_array(group: VirtualGroup, name: str) -> ManifestArray:
    """Return an array whose one chunk is in memory."""
    from virtualizarr.manifests import ChunkManifest
    from virtualizarr.manifests.manifest import INLINED_CHUNK_PATH

    (chunk,) = (value for key, value in group.entries.items() if key.startswith(f"{name}/c"))
    grid = (1,) * len(json.loads(group.entries[f"{name}/zarr.json"])["shape"])
    manifest = ChunkManifest.from_arrays(
        paths=np.full(grid, INLINED_CHUNK_PATH, np.dtypes.StringDType()),
        offsets=np.zeros(grid, np.uint64),
        lengths=np.full(grid, len(chunk), np.uint64),
        validate_paths=False,
        inlined={(0,) * len(grid): chunk},
    )
    return manifest_array(group, name, manifest)


def manifest_array(group: VirtualGroup, name: str, manifest: Any) -> ManifestArray:
    """Return an array of VirtualiZarr with the metadata of the group."""
    from virtualizarr.manifests import ManifestArray
    from zarr.core.metadata.v3 import ArrayV3Metadata

    metadata = json.loads(group.entries[f"{name}/zarr.json"])
    # A ManifestStore lists chunks by keys with dots only.
    metadata["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "."}}
    return ManifestArray(metadata=ArrayV3Metadata.from_dict(metadata), chunkmanifest=manifest)


def references(
    path: Openable,
    *,
    chunks: Mapping[str, int] | None = None,
    url: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return kerchunk references to a plain MRC file; only its headers are read.

    Parameters
    ----------
    path : str, os.PathLike, URL, fsspec.OpenFile, bytes, memoryview or binary file object
        The file, which is not compressed.
    chunks : mapping of str to int, optional
        Lengths of a chunk by dimension. Each divides the length of its dimension, and a chunk is
        one run of bytes: several sections, or several rows of one section. By default a chunk has
        as many whole sections as divide their number and take up to 16 MiB, but at least one. A
        section above 64 MiB is cut into runs of rows, and files with permuted axes have one section
        a chunk.
    url : str, optional
        The address under which readers find the file, if that is another one than `path`; for
        example the URL of a local file that will be published.
    **options
        How the file is read: `truncated`, `signed`, `kind`, `origin`, `coords`, `extended_header`,
        `sidecar`, `default_name` and `storage_options` as in `xarray_mrc.open_mrc`. The storage
        options are not written into the references.

    Returns
    -------
    dict
        References of version 1, in Zarr format 2: ``{"version": 1, "refs": {...}}``, which
        `json.dump` writes as it is. A terabyte has 65,536 chunks, which take about 5 MB of JSON.

    Raises
    ------
    OSError
        The file cannot be read.
    MrcError
        It is not an MRC file, or Zarr cannot refer to its data: they are compressed, in 4 bits,
        complex numbers of 16-bit integers, or in permuted axes with several sections a chunk.
    TypeError, ValueError
        An option or `chunks` is not possible, or the file has no address for readers.

    See Also
    --------
    MrcParser : The same for VirtualiZarr and icechunk.

    Notes
    -----
    Data modes become ``|i1`` or ``|u1`` (0), ``i2`` (1), ``f4`` (2), ``c8`` (4), ``u2`` (6), ``f2``
    (12) and ``|u1`` with a trailing axis ``rgb`` (16), in the byte order of the file.

    References do not know the version of the file: readers get other values, or an error, once it
    is changed. Icechunk refuses data that were changed after the references were stored.

    Source of the format: https://fsspec.github.io/kerchunk/spec.html.

    Examples
    --------
    >>> from xarray_mrc import Header
    >>> header = Header.blank().replace(nx=2, ny=2, nz=2, mz=2, mode=1)
    >>> refs = references(header.raw + bytes(16), url="https://example.org/a.mrc", chunks={"z": 1})
    >>> refs["refs"]["data/1.0.0"]
    ['https://example.org/a.mrc', 1032, 8]
    """
    group = open_virtual_group(path, reading_options(options), chunks, zarr_format=2)
    target = address_for_readers(group.source) if url is None else url
    refs: dict[str, Any] = {}
    for key, value in group.entries.items():
        is_metadata = key.rpartition("/")[2].startswith(".z")
        text = value if is_metadata else b"base64:" + base64.b64encode(value)
        refs[key] = text.decode("utf-8")
    prefix, nbytes = f"{group.name}/", group.chunks.nbytes
    numbers = product(*(map(str, range(count)) for count in group.chunks.grid))
    for number, offset in zip(numbers, group.chunks.offsets().ravel().tolist(), strict=True):
        refs[prefix + ".".join(number)] = [target, offset, nbytes]
    return {"version": 1, "refs": refs}


def address_for_readers(source: Source) -> str:
    """Return the path or URL to put into references; ValueError if it may not, or has none."""
    if source.local_path is not None:
        return source.local_path
    url: str | None = getattr(getattr(source, "adapter", None), "url", None)
    if url is None:
        raise ValueError(
            f"{source.uri}: it has no address that readers could open; pass url=, the address "
            f"under which they find the file"
        )
    if isinstance(source, RemoteSource) and not source.has_ranges:
        raise ValueError(
            f"{source.uri}: the server sends no parts of files, and readers ask for parts; publish "
            f"the file on another server, and pass url=, its URL there"
        )
    if has_secrets(url):
        raise ValueError(
            f"{public_url(url)}: its URL holds a user or a query, which may be secret, and "
            f"references are shared; pass url=, the URL to write into them"
        )
    return url
