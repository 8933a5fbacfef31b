"""`ReadingOptions`: every option of opening a file, as one checked value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from xarray_mrc.codec.geometry import Origin
from xarray_mrc.codec.layout import Kind
from xarray_mrc.storage.source import MemMap

__all__ = ["Coords", "ExtendedHeader", "ReadingOptions", "Sidecar"]

Coords = Literal["physical", "index", "none"]
ExtendedHeader = Literal["common", "all", "raw", "none"]
Sidecar = bool | Literal["auto"]

CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "truncated": ("raise", "sections"),
    "signed": (None, True, False),
    "kind": ("auto", *get_args(Kind)),
    "origin": get_args(Origin),
    "coords": get_args(Coords),
    "extended_header": get_args(ExtendedHeader),
    "sidecar": ("auto", True, False),
    "memmap": ("auto", True, False),
}
DIM_NAMES = ("image", "volume", "z", "y", "x", "rgb")
# Options of `xarray.open_dataset` that a misspelled name may stand for.
XARRAY_NAMES = ("chunks", "cache", "drop_variables", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How to read a file; `xarray_mrc.open_mrc` describes the options.

    Parameters
    ----------
    truncated, signed, kind, origin, coords, extended_header, sidecar, memmap, preferred_chunks, \
default_name, storage_options, local_copy
        As in `xarray_mrc.open_mrc`.

    Raises
    ------
    TypeError, ValueError
        An option has a value that it cannot have.

    Examples
    --------
    >>> ReadingOptions(coords="index").coords
    'index'
    """

    truncated: Literal["raise", "sections"] = "raise"
    signed: bool | None = None
    kind: Kind | Literal["auto"] = "auto"
    origin: Origin = "auto"
    coords: Coords = "physical"
    extended_header: ExtendedHeader = "common"
    sidecar: Sidecar = "auto"
    memmap: MemMap = "auto"
    preferred_chunks: Mapping[str, int | tuple[int, ...]] | None = None
    default_name: str = "data"
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    local_copy: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                allowed = ", ".join(map(repr, choices))
                raise ValueError(f"{name}={value!r}, expected one of {allowed}")
            # 1 and numpy's True equal True, but are not `is True`.
            object.__setattr__(self, name, choices[choices.index(value)])
        if not isinstance(self.preferred_chunks, Mapping | None):
            raise TypeError(
                f"preferred_chunks={self.preferred_chunks!r}, expected a dict of numbers of pixels "
                f"by dimension, such as {{'z': 16}}"
            )
        for dim, size in (self.preferred_chunks or {}).items():
            if dim not in DIM_NAMES or not is_chunk(size):
                raise ValueError(
                    f"preferred_chunks={{{dim!r}: {size!r}}}, expected a number of pixels for one "
                    f"of {', '.join(DIM_NAMES)}"
                )
        if self.sidecar is True and self.extended_header not in ("common", "all"):
            raise ValueError(
                f"sidecar=True was passed with extended_header={self.extended_header!r}, which "
                f"leaves out metadata of sections: pass 'common' or 'all'"
            )

    @classmethod
    def from_names(cls, options: Mapping[str, Any]) -> ReadingOptions:
        """Check the names of options, and return their value.

        Parameters
        ----------
        options : mapping
            Options by name.

        Returns
        -------
        ReadingOptions

        Raises
        ------
        TypeError
            There is no option of such a name.
        ValueError
            An option has a value that it cannot have.

        Examples
        --------
        >>> ReadingOptions.from_names({"signed": True}).signed
        True
        """
        for name, value in options.items():
            if name not in cls.__slots__:
                import difflib

                names = [field.name for field in fields(cls)]
                close = difflib.get_close_matches(name, (*names, *XARRAY_NAMES), 1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                # A value of another type may be a secret under a misspelled name.
                shown = f"={value!r}" if isinstance(value, int | float | None) else "="
                raise TypeError(
                    f"{name}{shown} is not an option of opening an MRC file{hint} The options "
                    f"are {', '.join(names)}, and those of xarray.open_dataset"
                )
        return cls(**options)


def is_chunk(size: object) -> bool:
    """Return True if a value is the length of chunks, or the lengths of all."""
    if isinstance(size, tuple):
        return bool(size) and all(map(is_chunk, size))
    return isinstance(size, int) and not isinstance(size, bool) and size > 0
