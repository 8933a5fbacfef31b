"""Options of the form ``NAME=VALUE``: how a URL is reached, and any option of a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from xarray_mrc.cli.files import ParamType, is_url

__all__ = ["PairType", "options_of", "storage_option"]

F = TypeVar("F", bound=Callable[..., Any])


class PairType(ParamType):
    """A name and a value, which is JSON or a text."""

    name = "name=value"

    def __init__(self, example: str) -> None:
        self.example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Parse a value: true, 8 and {"a": 1} as JSON, everything else as text."""
        key, equals, text = value.partition("=")
        if not (key and equals):
            # The value may be a secret, which an error must not show.
            self.fail(f"expected NAME=VALUE, such as {self.example}", param, ctx)
        try:
            return key, json.loads(text)
        except ValueError:
            return key, text


def storage_option(function: F) -> F:
    """Add the option ``--storage`` to a command, as the parameter `storage`: pairs."""
    return click.option(
        "--storage",
        metavar="NAME=VALUE",
        multiple=True,
        type=PairType("anon=true"),
        help="How a URL is reached, such as anon=true for public S3; repeat it for more.",
    )(function)


def options_of(name: str, storage: tuple[tuple[str, Any], ...]) -> dict[str, Any] | None:
    """Return the storage options of a file; None for a path, which has none.

    Parameters
    ----------
    name : str
        An argument of the command line.
    storage : tuple of (str, object)
        The values of ``--storage``.

    Returns
    -------
    dict or None

    Examples
    --------
    >>> options_of("s3://maps/a.mrc", (("anon", True),)), options_of("a.mrc", (("anon", True),))
    ({'anon': True}, None)
    """
    return dict(storage) if storage and is_url(name) else None
