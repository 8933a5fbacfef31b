"""``xarray-mrc convert``: MRC files to Zarr and back, and from one container or type to another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from xarray_mrc.cli.files import FileType, Outcome, ParamType, expand, is_url, shown_name
from xarray_mrc.cli.output import json_option, print_json
from xarray_mrc.cli.progress import shown_progress
from xarray_mrc.cli.storage import PairType, options_of, storage_option

if TYPE_CHECKING:
    from xarray_mrc.conversion.partition import Partition

EPILOG = """\b
Examples:
  xarray-mrc convert tomo.mrc tomo.zarr
  xarray-mrc convert tomo.zarr tomo.mrc.gz
  xarray-mrc convert --dtype float16 tomo.mrc half.mrc
  xarray-mrc convert tomo.mrc tomo.ome.zarr              a pyramid for napari and neuroglancer
  xarray-mrc convert --suffix .zarr *.mrc zarrs/         each file into a directory
  xarray-mrc convert --option sidecar=mdoc tilts.zarr tilts.st
  xarray-mrc convert --scheduler tcp://node1:8786 tomo.mrc tomo.zarr
  xarray-mrc convert --storage profile=lab tomo.mrc s3://bucket/tomo.zarr
  xarray-mrc convert --partition 3/16 tomo.mrc tomo.zarr

The name of TARGET decides what is written: OME-Zarr for .ome.zarr, a Zarr group for .zarr,
otherwise an MRC file, which .gz, .bz2 and .zst compress. Memory is bounded at any size, and a
target appears when it is complete.

Without a dask cluster, the tasks of an array job share the work on a Zarr group: --partition
prepare is called once, then --partition K/N for each K from 0 to N - 1, at the same time, and
--partition finish at the end. Each call may be repeated.
"""
ZARR = ".zarr"
# Suffixes that are taken off a name before another one is put there: of containers, then of files.
CONTAINERS = (".gz", ".bz2", ".xz", ".zst")
CONNECT_SECONDS = 15
OWN_OPTIONS = {
    "overwrite": "--overwrite",
    "dtype": "--dtype",
    "partition": "--partition",
    "ome_version": "--ome-version",
    "scale_factors": "--levels",
}


class PartitionType(ParamType):
    """prepare, finish, or the number of a part and of all parts."""

    name = "partition"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Partition:
        """Parse a value; whether there is such a part is checked by `xarray_mrc.convert`."""
        if value in ("prepare", "finish"):
            found: Partition = value
            return found
        k, slash, n = str(value).partition("/")
        if not (slash and k.isdecimal() and n.isdecimal() and int(k) < int(n)):
            self.fail(
                f"{value!r} was passed, expected prepare, finish, or K/N with K from 0 to N - 1, "
                f"such as 0/16",
                param,
                ctx,
            )
        return int(k), int(n)


@click.command(epilog=EPILOG)
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=FileType())
@click.argument("target", metavar="TARGET", type=FileType())
@click.option("--dtype", metavar="TYPE", help="Data type of the target, such as float16 or int8.")
@click.option("--overwrite", is_flag=True, help="Replace targets that exist.")
@click.option(
    "--suffix",
    metavar="SUFFIX",
    help="Put each file into the directory TARGET, with this suffix: .zarr, .mrc, .mrc.gz, ...",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on a dask cluster: the address, or the .json file, of its scheduler.",
)
@click.option(
    "--option",
    "others",
    metavar="NAME=VALUE",
    multiple=True,
    type=PairType("signed=false"),
    help="Any other option of xarray_mrc.convert, such as signed=false; repeat it for more.",
)
@click.option(
    "--ome-version",
    type=click.Choice(["0.4", "0.5", "0.6"]),
    help="Version of OME-Zarr; 0.5 if it is left out.",
)
@click.option(
    "--levels",
    metavar="N",
    type=click.IntRange(1),
    help="Levels of the pyramid of OME-Zarr, each with half the voxels along an axis; usually 3.",
)
@click.option(
    "--partition",
    metavar="prepare|K/N|finish",
    type=PartitionType(),
    help="Prepare a Zarr group, write part K (from 0) of N of it, or complete it.",
)
@storage_option
@click.option(
    "--source-storage",
    metavar="NAME=VALUE",
    multiple=True,
    type=PairType("anon=true"),
    help="Instead of --storage: how the URLs of the sources are reached.",
)
@json_option
def convert(
    sources: tuple[str, ...],
    target: str,
    dtype: str | None,
    overwrite: bool,
    suffix: str | None,
    scheduler: str | None,
    others: Any,
    ome_version: str | None,
    levels: int | None,
    partition: Any,
    storage: Any,
    source_storage: Any,
    as_json: bool,
) -> int:
    """Convert MRC files to Zarr, OME-Zarr or MRC, and Zarr to MRC."""
    if not sources:  # click takes a single argument for the last one
        raise click.UsageError(f"{target!r} was passed, expected SOURCE and TARGET")
    for name, _ in others:
        if name in OWN_OPTIONS:
            raise click.UsageError(f"--option {name}=... was passed, expected {OWN_OPTIONS[name]}")
    image: dict[str, Any] = {} if ome_version is None else {"ome_version": ome_version}
    if levels is not None:
        image["scale_factors"] = tuple(2**level for level in range(1, levels))
    if partition is not None and scheduler is not None:
        raise click.UsageError("--partition works without dask: leave --scheduler out")
    outcome, paths = Outcome(), expand(sources)
    targets = name_targets(paths, target, suffix)

    def write(path: str) -> dict[str, Any]:
        from xarray_mrc.conversion.converter import convert

        destination = targets[path]
        with shown_progress(path, counts_tasks=scheduler is None):
            convert(
                path,
                destination,
                overwrite=overwrite,
                dtype=dtype,
                partition=partition,
                storage_options=options_of(destination, storage),
                source_storage_options=options_of(path, source_storage or storage),
                **image,
                **dict(others),
            )
        if not as_json and len(paths) > 1:
            click.echo(f"{shown_name(path)} -> {shown_name(destination)}")
        return {"path": shown_name(path), "target": shown_name(destination)}

    with connected(scheduler):
        outcome.run(paths, write)
    if as_json:
        print_json(outcome.results)
    return outcome.status


def name_targets(paths: list[str], target: str, suffix: str | None) -> dict[str, str]:
    """Return the target of each file; UsageError if two have the same, or it is not clear."""
    is_directory = not is_url(target) and not target.lower().rstrip("/").endswith(ZARR)
    is_directory = is_directory and (os.path.isdir(target) or target.endswith(("/", os.sep)))
    is_directory = is_directory or (is_url(target) and target.endswith("/") and suffix is not None)
    if suffix is None and len(paths) == 1 and not is_directory:
        return {paths[0]: target}
    if suffix is None:
        raise click.UsageError(
            f"TARGET is {target!r}: for a directory, or for several files, pass a directory and "
            f"the suffix of the names there, such as --suffix .zarr"
        )
    if not is_directory:
        raise click.UsageError(f"--suffix needs a directory as TARGET, but {target!r} is none")
    start = os.path.join(target, "")
    if is_url(target):
        start = target
    else:
        os.makedirs(target, exist_ok=True)
    ending = suffix if suffix.startswith(".") else f".{suffix}"
    named = {path: f"{start}{stem_of(path)}{ending}" for path in paths}
    taken: dict[str, str] = {}
    for path, place in named.items():
        if place in taken:
            raise click.UsageError(
                f"{taken[place]!r} and {path!r} would both be written to {place!r}"
            )
        taken[place] = path
    return named


def stem_of(path: str) -> str:
    """Return the name of a file without its suffix, and without that of a container."""
    name = os.path.basename(shown_name(path).rstrip("/"))
    stem, suffix = os.path.splitext(name)
    return os.path.splitext(stem)[0] if suffix.lower() in CONTAINERS else stem


@contextmanager
def connected(scheduler: str | None) -> Iterator[None]:
    """Let dask compute on the cluster of a scheduler."""
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "--scheduler needs the package distributed: pip install 'xarray-mrc[distributed]'"
        ) from None
    is_file = scheduler.endswith(".json")
    if is_file and not os.path.exists(scheduler):  # the client would wait until there is one
        raise FileNotFoundError(f"--scheduler {scheduler}: there is no such file")
    found = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
    try:
        client = Client(**found, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(f"--scheduler {scheduler}: no scheduler answers ({error})") from None
    with client:
        yield
