"""The xarray engine ``"mrc"``: options in, a dataset out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from xarray_mrc.codec.containers import has_mrc_suffix
from xarray_mrc.dataset.from_file import build_dataset
from xarray_mrc.errors import MrcError
from xarray_mrc.reading.header_reading import decode_header
from xarray_mrc.reading.open_file import open_file
from xarray_mrc.reading.options import ReadingOptions
from xarray_mrc.storage import open_head
from xarray_mrc.storage.remote.urls import is_remote, path_of_url, path_text
from xarray_mrc.storage.source import Openable

__all__ = ["MrcBackendEntrypoint"]


def with_options(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function with `ReadingOptions` in place of its ``**options``."""
    signature = inspect.signature(function)
    own = list(signature.parameters.values())[:-1]
    options = inspect.signature(ReadingOptions).parameters.values()
    return signature.replace(parameters=[*own, *options])


class MrcBackendEntrypoint(BackendEntrypoint):
    """Opens MRC/CCP4 files (.mrc, .mrcs, .map, .ccp4, .st, .ali, .preali, .rec) in xarray.

    Notes
    -----
    Name the engine for a URL, because netCDF4's takes all that no engine is named for. With
    ``chunks=`` xarray names dask's tasks by the URL and the options. It cannot know when a remote
    file changes, unlike `xarray_mrc.open_mrc`, which puts ETag or Last-Modified into the names.
    Reading a changed file is an error in both.

    Examples
    --------
    >>> import xarray as xr
    >>> xr.open_dataset("tomo.mrc", engine="mrc", chunks={})  # doctest: +SKIP
    """

    description: ClassVar[str] = (
        "MRC/CCP4 images, tilt series, tomograms and maps of electron microscopy"
    )
    url: ClassVar[str] = "https://www.ccpem.ac.uk/mrc-format/mrc2014/"

    def open_dataset(  # type: ignore[override]  # no AbstractDataStore is taken
        self,
        filename_or_obj: Openable,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Open a file as a lazy dataset; `xarray_mrc.open_mrc` describes the parameters."""
        checked = ReadingOptions.from_names(options)
        dataset = build_dataset(open_file(filename_or_obj, checked), checked)
        if drop_variables is None:
            return dataset
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables
        return dataset.drop_vars(dropped, errors="ignore")

    # xarray and the user see the options by name.
    open_dataset.__signature__ = with_options(open_dataset)  # type: ignore[attr-defined]
    # Set, because xarray fills it in only for engines that are given by name.
    open_dataset_parameters = tuple(inspect.signature(open_dataset).parameters)[1:]

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return True if the name and, if they are at hand, the first bytes are of an MRC file."""
        if isinstance(filename_or_obj, str | os.PathLike) or is_remote(filename_or_obj):
            path = path_text(filename_or_obj)
            if path is None or not has_mrc_suffix(path_of_url(path)):
                return False
            if is_remote(filename_or_obj):
                return True
        position = None
        try:
            if hasattr(filename_or_obj, "tell"):
                position = filename_or_obj.tell()
            decode_header(open_head(filename_or_obj))
        except FileNotFoundError:
            return True
        except (MrcError, OSError, TypeError, ValueError):
            return False
        finally:
            if position is not None:
                filename_or_obj.seek(position)
        return True
