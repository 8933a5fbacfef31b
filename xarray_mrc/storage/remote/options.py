"""Options of a storage, which may hold secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["StorageOptions"]

MAX_REQUESTS = 8
TIMEOUT_SECONDS = 15.0
# Options that need no secret and lead to the same file: without others, a URL is enough.
HARMLESS = frozenset({"max_requests", "timeout"})


class StorageOptions:
    """Options of a storage: a hashable, picklable value whose repr shows only their names.

    Parameters
    ----------
    values : mapping of str to object, optional
        Options as fsspec names them, and ``max_requests`` and ``timeout``.

    Raises
    ------
    TypeError
        `values` is not a mapping with names as keys.
    ValueError
        ``max_requests`` or ``timeout`` is not a positive number.

    Examples
    --------
    >>> StorageOptions({"key": "AKIA", "secret": "s3cr3t"})
    StorageOptions(key=..., secret=...)
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        names: Any = [*values] if isinstance(values, Mapping) else [values]
        if values is not None and not all(isinstance(name, str) for name in names):
            raise TypeError(
                f"storage_options= is a {type(values).__name__}, expected a dict of options by name"
            )
        self._values = dict(values or {})
        limit = self._values.get("max_requests", MAX_REQUESTS)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"storage_options: max_requests={limit!r}, expected a number from 1")
        timeout = self._values.get("timeout", TIMEOUT_SECONDS)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise ValueError(f"storage_options: timeout={timeout!r}, expected seconds above 0")

    @property
    def max_requests(self) -> int:
        """Number of requests at a time to one host."""
        return int(self._values.get("max_requests", MAX_REQUESTS))

    @property
    def timeout(self) -> float:
        """Seconds to wait for a connection, and for the next byte of an answer."""
        return float(self._values.get("timeout", TIMEOUT_SECONDS))

    def others(self) -> dict[str, Any]:
        """Return the options without ``max_requests`` and ``timeout``."""
        return {name: value for name, value in self._values.items() if name not in HARMLESS}

    def limits(self) -> dict[str, Any]:
        """Return ``max_requests`` and ``timeout``, as far as they were set."""
        return {name: self._values[name] for name in HARMLESS if name in self._values}

    def only(self, names: Collection[str]) -> StorageOptions:
        """Return those of some names."""
        return StorageOptions({n: value for n, value in self._values.items() if n in names})

    def __repr__(self) -> str:
        return f"StorageOptions({', '.join(f'{name}=...' for name in self._values)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StorageOptions):
            return NotImplemented
        return self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values)))

    def __reduce__(self) -> tuple[type[StorageOptions], tuple[dict[str, Any]]]:
        return StorageOptions, (self._values,)
