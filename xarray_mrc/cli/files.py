"""Files on the command line: patterns, URLs, and the loop over several of them."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xarray_mrc.cli.output import as_command, is_debugging, one_line, print_error, printable

__all__ = [
    "FileType",
    "Outcome",
    "ParamType",
    "check_output",
    "error_text",
    "expand",
    "files_argument",
    "is_file_like",
    "is_url",
    "plain_text",
    "shown_name",
]

FINDING, UNREADABLE = 1, 2
F = TypeVar("F", bound=Callable[..., Any])


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # not generic before click 8.2
    ParamType = click.ParamType


class FileType(ParamType):
    """A path, URL or pattern; shells complete it as a file."""

    name = "file"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Leave the completion to the shell."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


def files_argument(function: F) -> F:
    """Add the argument FILE... to a command, as the parameter `files`."""
    return click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FileType())(
        function
    )


def is_url(name: str) -> bool:
    """Return True if an argument is a URL, in which "?" and "*" are no patterns."""
    return "://" in name


def shown_name(name: str) -> str:
    """Return a file's name for output: of a URL without password, query and fragment.

    Parameters
    ----------
    name : str
        An argument of the command line.

    Returns
    -------
    str

    Examples
    --------
    >>> shown_name("https://me:secret@example.org/map.gz?token=secret")
    'https://example.org/map.gz'
    """
    if not is_url(name):
        return printable(name)
    from xarray_mrc.storage.remote.urls import public_url

    return printable(public_url(name))


def is_file_like(name: str) -> bool:
    """Return True if an argument can be meant as a file: it exists, is a URL or a pattern."""
    return is_url(name) or os.path.lexists(os.path.expanduser(name)) or glob.has_magic(name)


def expand(names: Iterable[str]) -> list[str]:
    """Replace patterns by the files that match, in the order of their names.

    Shells of Windows do not do this. A file whose name looks like a pattern is that file, and a
    pattern without a match is kept, so that the error names it.

    Parameters
    ----------
    names : iterable of str
        Arguments of the command line.

    Returns
    -------
    list of str

    Examples
    --------
    >>> expand(["https://example.org/map?id=3001", "no*such.mrc"])
    ['https://example.org/map?id=3001', 'no*such.mrc']
    """
    found: list[str] = []
    for name in names:
        path = os.path.expanduser(name)
        if is_url(name) or os.path.lexists(path) or not glob.has_magic(path):
            found.append(name)
        else:
            found += sorted(glob.glob(path, recursive=True)) or [name]
    return found


def check_output(path: str, *, overwrite: bool) -> None:
    """Raise OSError if a file cannot be written: it exists, or its directory does not."""
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path}: it exists already; pass --overwrite to replace it")
    if not os.path.isdir(os.path.dirname(path) or os.curdir):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def plain_text(error: BaseException) -> str:
    """Return the text of an error, that of the operating system as ``FILE: REASON``."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return name + error.strerror
    return str(error) or type(error).__name__


def error_text(error: BaseException, name: str) -> str:
    """Return an error in one line that starts with the name of the file.

    Parameters
    ----------
    error : Exception
        The error.
    name : str
        The file, as it was named on the command line.

    Returns
    -------
    str

    Examples
    --------
    >>> error_text(FileNotFoundError(2, "No such file or directory", "a.mrc"), "a.mrc")
    'a.mrc: No such file or directory'
    """
    text = plain_text(error)
    for start in (name, os.path.abspath(os.path.expanduser(name)), os.path.realpath(name)):
        if not is_url(name) and text.startswith((f"{start}: ", f"{start} ")):
            text = name + text[len(start) :]
    text = as_command(one_line(text))
    if not isinstance(error, OSError | ValueError | TypeError | ImportError | EOFError):
        text = f"{type(error).__name__}: {text}"
    shown = shown_name(name)
    text = text.replace(name, shown) if is_url(name) else text
    return text if text.startswith((f"{shown}: ", f"{shown} ")) else f"{shown}: {text}"


@dataclass(slots=True)
class Outcome:
    """The exit status of a command over many files, and the results for ``--json``.

    Attributes
    ----------
    status : int
        0 done, 1 a finding, 2 a file that cannot be read; the greatest one counts.
    results : list of dict
        One object for each file, in the order of the files.
    """

    status: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)

    def run(self, files: Iterable[str], action: Callable[[str], dict[str, Any] | None]) -> None:
        """Call a function for each file; one that fails does not stop the others.

        Parameters
        ----------
        files : iterable of str
            Their names, from `expand`.
        action : callable
            Takes the file, and returns its result for ``--json``.
        """
        for name in files:
            try:
                result = action(name)
            except (BrokenPipeError, click.ClickException):
                raise
            except Exception as error:
                if is_debugging():
                    raise
                text = error_text(error, name)
                print_error(text)
                self.status = UNREADABLE
                self.results.append({"path": shown_name(name), "error": text})
            else:
                if result is not None:
                    self.results.append(result)

    def add_finding(self) -> None:
        """Count a finding."""
        self.status = max(self.status, FINDING)
