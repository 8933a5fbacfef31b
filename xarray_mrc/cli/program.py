"""The program ``xarray-mrc``: the table of commands, and what holds for all of them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from xarray_mrc.cli.files import UNREADABLE, is_file_like, plain_text
from xarray_mrc.cli.output import (
    as_command,
    is_debugging,
    one_line,
    print_error,
    print_warning,
    printable,
)

__all__ = ["main", "program"]

# Commands in the order of the help text. Each is the object of this name in the module of this
# name, which is imported when the command is called.
COMMANDS = ("header", "index", "validate", "show", "stats", "edit", "convert", "versions")
DEFAULT_COMMAND = "header"
# The programs of mrcfile that a copy of this one, under their name, stands in for.
MRCFILE_PROGRAMS = ("mrcfile-header", "mrcfile-validate")

MRCFILE_FAILED = 1
INTERRUPTED = 130  # as shells count a program that Ctrl-C ended
BROKEN_PIPE = 141  # as shells count a program that wrote into a closed pipe

EPILOG = """\b
Examples:
  xarray-mrc tomo.mrc                            look at a header
  xarray-mrc show tomo.mrc                       three sections as pictures
  xarray-mrc validate --profile emdb *.map.gz
  xarray-mrc edit --voxel-size 1.35 --dry-run *.mrc
  xarray-mrc convert tomo.mrc tomo.zarr

\b
Exit status:
  0  done
  1  a finding: a file is not valid
  2  a file cannot be read, a target exists, or wrong usage

"xarray-mrc COMMAND --help" has the options of a command and more examples.
"""


class Program(click.Group):
    """A group whose commands are loaded when they are called, with one-line errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or return None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"xarray_mrc.cli.commands.{cmd_name}"), cmd_name
        )
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front of arguments that name none."""
        own = {name for parameter in self.params for name in parameter.opts}
        if args and args[0] not in (*COMMANDS, *own, *ctx.help_option_names):
            refuse_misspelled(args, ctx)
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "xarray-mrc",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = False,  # patterns are expanded by `files`
        **extra: Any,
    ) -> Any:
        """Run a command, and end with its exit status; every error is one line."""
        with warnings.catch_warnings():
            show_warnings_of_files()
            try:
                status = super().main(
                    args,
                    prog_name,
                    complete_var,
                    standalone_mode=False,
                    windows_expand_args=windows_expand_args,
                    **extra,
                )
                sys.stdout.flush()
            except click.ClickException as error:
                status = report_usage(error)
            except (click.Abort, KeyboardInterrupt):
                status = report_interrupt()
            except BrokenPipeError:
                status = leave_broken_pipe()
            except Exception as error:  # of no single file: a target that exists, no cluster
                if is_debugging():
                    raise
                print_error(as_command(one_line(plain_text(error))))
                status = UNREADABLE
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; click would end with status 1 after Ctrl-C and on closed pipes."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return report_interrupt()
        except BrokenPipeError:
            return leave_broken_pipe()


def print_version(ctx: click.Context, parameter: click.Parameter, is_wanted: bool) -> None:
    """Print the version and end, if it was asked for."""
    if is_wanted and not ctx.resilient_parsing:
        from xarray_mrc import __version__

        click.echo(f"xarray-mrc {__version__}")
        ctx.exit()


@click.group(
    cls=Program,
    invoke_without_command=True,
    options_metavar="",
    subcommand_metavar="[COMMAND] FILE... [OPTIONS]",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
@click.pass_context
def program(ctx: click.Context) -> int:
    """Look at, check, edit and convert MRC files of electron microscopy.

    A FILE is a path, a URL or a pattern such as "*.mrc", compressed or not. Without a COMMAND,
    "xarray-mrc FILE" shows the header.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def main() -> int:
    """Run the program with the arguments of the command line; return its exit status.

    Returns
    -------
    int
        0 done, 1 a finding, 2 a file that cannot be read, a target that exists, or wrong usage;
        130 interrupted, 141 nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console of Windows lacks many characters
            stream.reconfigure(errors="backslashreplace")
    called = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    if called in MRCFILE_PROGRAMS:
        try:
            return run_mrcfile_program(called)
        except BrokenPipeError:
            return leave_broken_pipe()
        except Exception as error:  # mrcfile's program ends with a traceback, and this status
            print_error(one_line(plain_text(error)))
            return MRCFILE_FAILED
    status = program.main(standalone_mode=False)
    return status if isinstance(status, int) else 0


def run_mrcfile_program(name: str) -> int:
    """Do what the program of mrcfile with this name does; return its exit status."""
    if name == "mrcfile-validate":
        from xarray_mrc.mrcfile.validator import main as validate_files

        return validate_files()
    from xarray_mrc.mrcfile.command_line import print_headers

    print_headers()
    return 0


def refuse_misspelled(args: list[str], ctx: click.Context) -> None:
    """Raise UsageError if the first argument is neither a command nor a file."""
    first = args[0]
    if first.startswith("-") or is_file_like(first):
        return
    import difflib

    close = difflib.get_close_matches(first, COMMANDS, 1)
    if close or (os.sep not in first and "." not in first):
        hint = f"did you mean {close[0]!r}?" if close else f"the commands are {list_of(COMMANDS)}"
        raise click.UsageError(f"{first!r} is neither a command nor a file; {hint}", ctx)


def list_of(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def report_usage(error: click.ClickException) -> int:
    """Print what is wrong with the arguments in one line; return the exit status."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    called = context.command_path if context else "xarray-mrc"
    text = one_line(error.format_message())
    text += "" if text.endswith((".", "?")) else "."
    if text[1:2].islower():  # a sentence of click, and not the name of an argument
        text = text[:1].lower() + text[1:]
    print_error(f"{text} See '{called} --help'.")
    return UNREADABLE


def report_interrupt() -> int:
    """Print that Ctrl-C ended the program, below the ^C of a terminal; return the exit status."""
    if sys.stderr.isatty():
        click.echo(err=True)
    print_error("interrupted")
    return INTERRUPTED


def leave_broken_pipe() -> int:
    """Drop the rest of the output, for which nobody waits; return the exit status."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the process ends
    return BROKEN_PIPE


def show_warnings_of_files() -> None:
    """Print the warnings of this package as lines, and no others."""
    from xarray_mrc.errors import MrcWarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, MrcWarning):  # some packages set filters when they are loaded
            print_warning(printable(str(message)))

    warnings.simplefilter("ignore")
    warnings.simplefilter("always", MrcWarning)
    warnings.showwarning = show
