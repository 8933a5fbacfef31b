"""Text and JSON for people, pipes and programs."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from typing import Any

import click

__all__ = [
    "as_command",
    "fitted",
    "is_debugging",
    "json_option",
    "jsonable",
    "one_line",
    "print_error",
    "print_json",
    "print_warning",
    "printable",
    "styled",
]

DEBUG_VARIABLE = "XARRAY_MRC_TRACEBACK"
COLORS = {"error": "red", "warning": "yellow", "info": "blue", "valid": "green"}

# Parameters of functions, and the options of commands that set them.
OPTIONS = {
    "overwrite": "--overwrite", "rewrite": "--rewrite", "fix": "--fix", "data": "--data",
    "kind": "--kind", "dtype": "--dtype", "tilt_angle": "--tilt-angles", "origin": "--origin",
    "ome_version": "--ome-version", "scale_factors": "--levels",
}  # fmt: skip
JSON_WORDS = {"True": "true", "False": "false"}
STORAGE = re.compile(r"storage_options=\{'(\w+)': '?([\w.]+)'?\}")
# Options of reading and writing that only `convert` takes.
CONVERT_OPTIONS = ("truncated", "signed", "format")
PARAMETER = re.compile(
    rf"\b({'|'.join([*OPTIONS, *CONVERT_OPTIONS])})=(True\b|False\b|'[^']*'|(?=[ ,]))"
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def is_debugging() -> bool:
    """Return True if errors are to be shown as tracebacks, for reports of faults."""
    return bool(os.environ.get(DEBUG_VARIABLE))


def printable(text: str) -> str:
    r"""Return a text with control characters and undecodable bytes escaped.

    Names of files and labels could otherwise send commands to the terminal.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    str

    Examples
    --------
    >>> print(printable("a\x1b[31m.mrc"))
    a\x1b[31m.mrc
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: str) -> str:
    """Return a text with its lines joined, and control characters escaped."""
    return printable(" ".join(text.split()))


def fitted(table: str) -> str:
    """Return a table with lines cut off where the terminal ends; pipes get all of it.

    The last column of a table explains, and may be cut. Labels are kept.
    """
    if not sys.stdout.isatty():
        return table
    width = shutil.get_terminal_size().columns
    lines = table.split("\n")
    return "\n".join(
        line if len(line) <= width or line.startswith("label") else line[: width - 3] + "..."
        for line in lines
    )


def is_colored(stream: Any) -> bool:
    """Return True if a stream is a terminal, and colours are wanted."""
    return not os.environ.get("NO_COLOR") and stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, severity: str, stream: Any = None) -> str:
    """Return a text in the colour of a severity, or of "valid", if the stream shows colours."""
    shows = is_colored(sys.stdout if stream is None else stream)
    return click.style(text, fg=COLORS[severity]) if shows else text


def print_error(text: str) -> None:
    """Print an error in one line, on the standard error stream."""
    click.echo(f"xarray-mrc: {styled('error', 'error', sys.stderr)}: {text}", err=True)


def print_warning(text: str) -> None:
    """Print a warning in one line, on the standard error stream."""
    label = styled("warning", "warning", sys.stderr)
    click.echo(f"xarray-mrc: {label}: {as_command(one_line(text))}", err=True)


def as_command(text: str) -> str:
    """Return a text of the library with commands and options instead of calls and parameters.

    Parameters
    ----------
    text : str
        The text of a finding, a warning or an error.

    Returns
    -------
    str

    Examples
    --------
    >>> as_command("nversion is 0; edit_header(path, fix=True, data=True) corrects it")
    "nversion is 0; 'xarray-mrc edit --fix --data FILE' corrects it"
    """

    def option(match: re.Match[str]) -> str:
        value = match[2].strip("'")
        if match[1] in CONVERT_OPTIONS:
            return f"'convert --option {match[1]}={JSON_WORDS.get(value, value)}'"
        return OPTIONS[match[1]] + (f" {value}" if value not in ("", "True") else "")

    def command(match: re.Match[str]) -> str:
        return f"'xarray-mrc edit {PARAMETER.sub(option, match[1]).replace(', ', ' ')} FILE'"

    def storage(match: re.Match[str]) -> str:
        return f"--storage {match[1]}={JSON_WORDS.get(match[2], match[2])}"

    text = STORAGE.sub(storage, text)
    return PARAMETER.sub(option, re.sub(r"edit_header\(path, ([^)]*)\)", command, text))


def jsonable(value: Any) -> Any:
    """Return a value in types of JSON, which has neither nan nor infinity.

    Parameters
    ----------
    value : Any
        Numbers, texts, bytes, numpy arrays, dates, and lists, tuples and dicts of them.

    Returns
    -------
    Any
        nan and infinity are None. A complex number is an object with ``real`` and ``imag``.

    Examples
    --------
    >>> jsonable({"rms": math.nan, "mean": 1 + 2j})
    {'rms': None, 'mean': {'real': 1.0, 'imag': 2.0}}
    """
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, complex):
        return {"real": jsonable(value.real), "imag": jsonable(value.imag)}
    if hasattr(value, "dtype"):  # of numpy, which this module does not load
        is_time = value.dtype.kind == "M"
        return jsonable((value.astype("datetime64[us]").astype(str) if is_time else value).tolist())
    return value


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(jsonable(value), indent=2, allow_nan=False))
